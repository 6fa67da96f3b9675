#include "tests/unit/world/world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/json.h"
#include "common/api/kinds.h"
#include "common/api/make.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "controlplane/controllers/keys.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "proto/sampan/store.pb-c.h"

/* --- The store ---------------------------------------------------------------- */

static const struct object *get(void *ctx, const struct kind *kind, const char *namespace,
				const char *name)
{
	struct world *w = ctx;

	return store_get(w->store, kind, namespace, name);
}

static bool claim_taken(void *ctx, const char *claim)
{
	struct world *w = ctx;

	return store_claim(w->store, claim) != NULL;
}

static void walk(void *ctx, const struct kind *kind, const char *namespace, store_walk_cb *cb,
		 void *cb_ctx)
{
	struct world *w = ctx;

	store_walk(w->store, kind, namespace, NULL, NULL, cb, cb_ctx);
}

void world_init(struct world *w)
{
	*w = (struct world){
		.config = { .domain = "cluster.local",
			    .service_cidr = "10.96.0.0/16",
			    .pod_cidr = "10.244.0.0/16",
			    .node_prefix = 24,
			    .node_port_min = 30000,
			    .node_port_max = 32767,
			    .dns_address = "10.96.0.10" },
		.now_ns = INT64_C(1700000000) * 1000000000,
	};
	w->store = store_create(&store_limits_default);
	w->reader = (struct admission_reader){
		.ctx = w, .get = get, .claim_taken = claim_taken, .walk = walk
	};
	arena_init(&w->arena, 0);
	seeded_source_init(&w->source, 1);
}

void world_fini(struct world *w)
{
	store_destroy(w->store);
	arena_fini(&w->arena);
}

char *world_json(struct world *w, const char *text)
{
	char *json = arena_strdup(&w->arena, text);

	for (char *c = json; *c != '\0'; c++)
		if (*c == '\'')
			*c = '"';
	return json;
}

ProtobufCMessage *world_message(struct world *w, const char *text, const struct kind **ret_kind)
{
	char *json = world_json(w, text);
	const char *api_version = NULL, *name = NULL;
	struct json_read read = { .validation = FIELDS_STRICT };
	struct status st = { 0 };
	ProtobufCMessage *message = NULL;

	if (json_read_type(bytes_str(json), &w->arena, &api_version, &name, &st) < 0)
		fail_msg("%s: %s", json, st.message);

	const struct kind *kind = kind_of_type(api_version ? api_version : "v1", name);

	if (kind == NULL)
		fail_msg("%s: no kind %s", json, name);
	if (json_read_message(kind->descriptor, bytes_str(json), &w->arena, &read, &message, &st) <
	    0)
		fail_msg("%s: %s", json, st.message);
	*ret_kind = kind;
	return message;
}

struct change_plan {
	struct arena *arena;
	SampanStore__Plan message;
	size_t cap;
};

static SampanStore__Operation *add(struct change_plan *p, SampanStore__Operation__Type type,
				   const struct kind *kind, const char *namespace, const char *name)
{
	enum { OPERATIONS_MAX = 2048 };
	SampanStore__Operation *op = arena_new(p->arena, SampanStore__Operation);

	if (p->cap == 0) {
		p->cap = OPERATIONS_MAX;
		p->message.operations = arena_array(p->arena, SampanStore__Operation *, p->cap);
	}
	assert_true(p->message.n_operations < p->cap);
	sampan_store__operation__init(op);
	op->has_type = 1;
	op->type = type;
	op->key = arena_new(p->arena, SampanStore__Key);
	sampan_store__key__init(op->key);
	op->key->resource = arena_strdup(p->arena, kind->resource);
	op->key->namespace_ = arena_strdup(p->arena, namespace);
	op->key->name = arena_strdup(p->arena, name);
	p->message.operations[p->message.n_operations++] = op;
	return op;
}

static void add_put(struct change_plan *p, const struct kind *kind, const ProtobufCMessage *message,
		    const char **claims, size_t n_claims)
{
	const MetaV1__ObjectMeta *meta = message_metadata(message);
	SampanStore__Operation *op = add(p, SAMPAN_STORE__OPERATION__TYPE__PUT, kind,
					 text_of(meta->namespace_), meta->name);
	struct bytes packed = pack_message_in(p->arena, message);

	op->has_object = 1;
	op->object = (ProtobufCBinaryData){ packed.len, (uint8_t *)packed.data };
	op->n_claims = n_claims;
	op->claims = arena_memdup(p->arena, claims, n_claims * sizeof(*claims));
}

static void commit(struct world *w, struct change_plan *p)
{
	SampanStore__Entry entry = SAMPAN_STORE__ENTRY__INIT;
	SampanStore__Plan *plans[] = { &p->message };
	const struct plan_result *results;
	struct status st = { 0 };
	size_t n;

	if (p->message.n_operations == 0)
		return;
	entry.has_level = 1;
	entry.level = 1;
	entry.has_time_ns = 1;
	entry.time_ns = w->now_ns;
	entry.n_plans = 1;
	entry.plans = plans;

	size_t size = sampan_store__entry__get_packed_size(&entry);
	uint8_t *bytes = arena_alloc(p->arena, size);

	sampan_store__entry__pack(&entry, bytes);
	if (store_apply(w->store, bytes_of(bytes, size), &results, &n, &st) < 0)
		fail_msg("apply: %s", st.message);
	assert_int_equal(n, 1);
	assert_int_equal(results[0].rc, 0);
	w->writes++;
}

static void plan_begin(struct change_plan *p, struct arena *arena)
{
	*p = (struct change_plan){ .arena = arena };
	sampan_store__plan__init(&p->message);
}

const struct object *world_put(struct world *w, const char *text)
{
	const struct kind *kind;
	ProtobufCMessage *message = world_message(w, text, &kind);
	MetaV1__ObjectMeta *meta = message_metadata_make(message, &w->arena);
	struct change_plan plan;

	if (meta->uid == NULL)
		meta->uid = arena_printf(&w->arena, "uid-%s", meta->name);
	if (meta->creationtimestamp == NULL)
		meta->creationtimestamp = make_time(&w->arena, w->now_ns);
	plan_begin(&plan, &w->arena);
	add_put(&plan, kind, message, NULL, 0);
	commit(w, &plan);
	return store_get(w->store, kind, text_of(meta->namespace_), meta->name);
}

/* --- Admission ------------------------------------------------------------------ */

static struct admission make_admission(struct world *w, struct arena *arena)
{
	return (struct admission){ .arena = arena,
				   .source = &w->source.base,
				   .now_ns = w->now_ns,
				   .config = &w->config,
				   .reader = &w->reader,
				   .user = "admin",
				   .subresource = "" };
}

/* Objects of the quota's resource when the plan is applied. */
static size_t count_with(struct world *w, const struct change_plan *p)
{
	size_t n = world_count(w, w->quota_resource);

	for (size_t i = 0; i < p->message.n_operations; i++) {
		const SampanStore__Operation *op = p->message.operations[i];

		if (strcmp(op->key->resource, w->quota_resource) == 0 &&
		    world_get(w, op->key->resource, op->key->namespace_, op->key->name) == NULL)
			n++;
	}
	return n;
}

static int plan_create(struct world *w, struct change_plan *p, const struct kind *kind,
		       ProtobufCMessage *message, struct status *st)
{
	if (w->quota_resource != NULL && strcmp(kind->resource, w->quota_resource) == 0 &&
	    count_with(w, p) >= w->quota) {
		status_set(st, -EPERM, "%s \"%s\" is forbidden: exceeded quota: q", kind->plural,
			   message_metadata(message)->name);
		return status_http(st, 403, "Forbidden");
	}

	struct admission a = make_admission(w, p->arena);
	int rc = admit_create(&a, kind, message, st);

	if (rc == 0) {
		const MetaV1__ObjectMeta *meta = message_metadata(message);

		if (store_get(w->store, kind, text_of(meta->namespace_), meta->name) != NULL)
			return status_set(st, -EEXIST, "%s \"%s\" already exists", kind->resource,
					  meta->name);
		add_put(p, kind, message, a.claims, a.n_claims);
	}
	return rc;
}

static int plan_update(struct world *w, struct change_plan *p, const struct object *old,
		       ProtobufCMessage *message, const char *subresource, struct status *st)
{
	struct admission a = make_admission(w, p->arena);

	a.subresource = subresource;

	int rc = admit_update(&a, old->kind, old, message, st);

	if (rc == 0 && admission_is_finished(message))
		add(p, SAMPAN_STORE__OPERATION__TYPE__DELETE, old->kind, old->namespace, old->name);
	else if (rc == 0)
		add_put(p, old->kind, message, a.claims, a.n_claims);
	return rc;
}

static int plan_delete(struct world *w, struct change_plan *p, const struct object *o,
		       int64_t grace_s, const char *propagation, struct status *st)
{
	struct admission a = make_admission(w, p->arena);
	MetaV1__DeleteOptions options = META_V1__DELETE_OPTIONS__INIT;
	enum delete_outcome outcome;
	ProtobufCMessage *message;

	options.has_graceperiodseconds = grace_s >= 0;
	options.graceperiodseconds = grace_s;
	options.propagationpolicy = (char *)propagation;

	int rc = admit_delete(&a, o->kind, o, &options.base, &outcome, &message, st);

	if (rc == 0 && outcome == DELETE_REMOVES)
		add(p, SAMPAN_STORE__OPERATION__TYPE__DELETE, o->kind, o->namespace, o->name);
	else if (rc == 0 && outcome == DELETE_MARKS)
		add_put(p, o->kind, message, a.claims, a.n_claims);
	return rc;
}

const struct object *world_create(struct world *w, const char *text, struct status *st)
{
	const struct kind *kind;
	ProtobufCMessage *message = world_message(w, text, &kind);
	struct change_plan plan;

	plan_begin(&plan, &w->arena);
	if (plan_create(w, &plan, kind, message, st) < 0)
		return NULL;
	commit(w, &plan);

	const MetaV1__ObjectMeta *meta = message_metadata(message);

	return store_get(w->store, kind, text_of(meta->namespace_), meta->name);
}

int world_update(struct world *w, const char *text, const char *subresource, struct status *st)
{
	const struct kind *kind;
	ProtobufCMessage *message = world_message(w, text, &kind);
	const MetaV1__ObjectMeta *meta = message_metadata(message);
	const struct object *old =
		store_get(w->store, kind, text_of(meta->namespace_), text_of(meta->name));
	struct change_plan plan;

	assert_non_null(old);
	plan_begin(&plan, &w->arena);

	int rc = plan_update(w, &plan, old, message, subresource, st);

	if (rc == 0)
		commit(w, &plan);
	return rc;
}

int world_delete(struct world *w, const char *resource, const char *namespace, const char *name,
		 int64_t grace_s, const char *propagation)
{
	const struct object *o = world_get(w, resource, namespace, name);
	struct change_plan plan;

	assert_non_null(o);
	plan_begin(&plan, &w->arena);

	int rc = plan_delete(w, &plan, o, grace_s, propagation, NULL);

	if (rc == 0)
		commit(w, &plan);
	return rc;
}

const struct object *world_get(struct world *w, const char *resource, const char *namespace,
			       const char *name)
{
	return store_get(w->store, kind_of_resource(resource), namespace, name);
}

char *world_print(struct world *w, const struct object *o)
{
	auto_with(buf_fini) struct buf json = { 0 };

	if (o == NULL)
		return arena_strdup(&w->arena, "");
	if (json_put_packed(&json, o->kind->descriptor, o->packed, NULL) < 0)
		fail_msg("%s/%s is not canonical", o->namespace, o->name);
	return arena_strdup(&w->arena, buf_cstr(&json));
}

size_t world_count(struct world *w, const char *resource)
{
	return store_count(w->store, kind_of_resource(resource));
}

/* --- Controllers ------------------------------------------------------------------ */

static int64_t node_silence(void *ctx, const char *node)
{
	struct world *w = ctx;

	return w->silent_node != NULL && strcmp(w->silent_node, node) == 0 ? w->silence_ms : 0;
}

struct view world_view(struct world *w)
{
	return (struct view){ .store = w->store,
			      .arena = &w->arena,
			      .now_ns = w->now_ns,
			      .node_silence_ms = node_silence,
			      .node_silence_ctx = w,
			      .zones = w->config.zones };
}

/* Without events. */
static char *print_shown(struct world *w, struct intents *intents)
{
	struct intents shown;

	intents_init(&shown, &w->arena);
	for (struct intent *i = intents->first, *next; i != NULL; i = next) {
		next = i->next;
		if (i->type == INTENT_EVENT)
			continue;
		i->next = NULL;
		*shown.last = i;
		shown.last = &i->next;
	}
	return intents_print(&shown, &w->arena);
}

char *world_reconcile(struct world *w, const struct controller *c, const char *namespace,
		      const char *name, bool events)
{
	struct view v = world_view(w);
	struct intents intents;

	intents_init(&intents, &w->arena);
	c->reconcile(&v, (struct key){ namespace, name }, &intents);
	return events ? intents_print(&intents, &w->arena) : print_shown(w, &intents);
}

char *world_refused(struct world *w, const struct controller *c, const char *namespace,
		    const char *name, size_t n)
{
	struct view v = world_view(w);
	struct intents plan, intents;
	struct refusal refusal = { .message = "pods \"x\" is forbidden: exceeded quota: q" };

	intents_init(&plan, &w->arena);
	c->reconcile(&v, (struct key){ namespace, name }, &plan);
	for (const struct intent *i = plan.first; i != NULL && refusal.intent == NULL; i = i->next)
		if (i->type == INTENT_CREATE && refusal.creates_before++ == n)
			refusal.intent = i;
	assert_non_null(refusal.intent);
	refusal.creates_before = n;
	intents_init(&intents, &w->arena);
	c->refused(&v, (struct key){ namespace, name }, &refusal, &intents);
	return print_shown(w, &intents);
}

static int plan_bind(struct world *w, struct change_plan *p, const struct intent *i,
		     struct status *st)
{
	struct admission a = make_admission(w, p->arena);
	CoreV1__Binding *binding = make(p->arena, CoreV1__Binding, core_v1__binding);
	ProtobufCMessage *message;

	binding->target = make(p->arena, CoreV1__ObjectReference, core_v1__object_reference);
	binding->target->name = arena_strdup(p->arena, i->node);

	int rc = admit_binding(&a, i->base, binding, &message, st);

	if (rc == 0)
		add_put(p, i->base->kind, message, NULL, 0);
	return rc;
}

static int plan_intent(struct world *w, struct change_plan *p, const struct intent *i,
		       struct status *st)
{
	switch (i->type) {
	case INTENT_CREATE:
		return plan_create(w, p, kind_of_resource(i->resource), i->message, st);
	case INTENT_UPDATE:
		return plan_update(w, p, i->base, i->message, "", st);
	case INTENT_UPDATE_STATUS:
		return plan_update(w, p, i->base, i->message, "status", st);
	case INTENT_FINALIZE:
		return plan_update(w, p, i->base, i->message, "finalize", st);
	case INTENT_DELETE:
		return plan_delete(w, p, i->base, i->grace_s, i->propagation, st);
	case INTENT_BIND:
		return plan_bind(w, p, i, st);
	case INTENT_EVENT:
		return 0;
	}
	return 0;
}

/* *ret_refused is the intent that was refused, if one was. */
static int apply(struct world *w, const struct intents *intents, const struct intent **ret_refused,
		 struct status *st)
{
	struct change_plan plan;

	plan_begin(&plan, &w->arena);
	for (const struct intent *i = intents->first; i != NULL; i = i->next) {
		int rc = plan_intent(w, &plan, i, st);

		if (rc < 0) {
			*ret_refused = i;
			return rc;
		}
	}

	/* Two writes of one object in one plan would undo each other. */
	for (size_t i = 0; i < plan.message.n_operations; i++)
		for (size_t k = 0; k < i; k++) {
			const SampanStore__Key *a = plan.message.operations[i]->key;
			const SampanStore__Key *b = plan.message.operations[k]->key;

			if (strcmp(a->resource, b->resource) == 0 &&
			    strcmp(a->namespace_, b->namespace_) == 0 &&
			    strcmp(a->name, b->name) == 0)
				fail_msg("a plan writes %s %s/%s twice", a->resource, a->namespace_,
					 a->name);
		}
	commit(w, &plan);
	return 0;
}

int world_apply(struct world *w, const struct intents *intents, struct status *st)
{
	const struct intent *refused;

	return apply(w, intents, &refused, st);
}

/* As the driver does it: what the controller says to a refusal is a plan of its own. */
static int answer(struct world *w, const struct controller *c, struct view *v, struct key key,
		  const struct intents *plan, const struct intent *refused, struct status *st)
{
	struct refusal refusal = { .intent = refused, .message = st->message };
	struct intents intents;

	if (w->quota_resource == NULL || c->refused == NULL)
		return st->rc;
	w->refusals++;
	for (const struct intent *i = plan->first; i != refused; i = i->next)
		refusal.creates_before += i->type == INTENT_CREATE;
	intents_init(&intents, v->arena);
	c->refused(v, key, &refusal, &intents);
	return apply(w, &intents, &refused, st);
}

static bool run(struct world *w, const struct controller *c, struct key key, int64_t *again_ns)
{
	struct arena arena;
	struct view v = world_view(w);
	struct intents intents;
	const struct intent *refused;
	auto_with(status_fini) struct status st = { 0 };
	uint64_t before = store_revision(w->store);

	arena_init(&arena, 0);
	v.arena = &arena;
	intents_init(&intents, &arena);
	c->reconcile(&v, key, &intents);
	if (apply(w, &intents, &refused, &st) < 0 &&
	    answer(w, c, &v, key, &intents, refused, &st) < 0)
		fail_msg("%s %s/%s: %s\n%s", c->name, key.namespace, key.name, st.message,
			 intents_print(&intents, &arena));
	if (intents.again_ns != 0 && (*again_ns == 0 || intents.again_ns < *again_ns))
		*again_ns = intents.again_ns;
	arena_fini(&arena);
	return store_revision(w->store) != before;
}

int64_t world_settle(struct world *w)
{
	enum { ROUNDS_MAX = 200 };

	for (int round = 0; round < ROUNDS_MAX; round++) {
		bool changed = false;
		int64_t again_ns = 0;

		for (size_t i = 0; controllers[i] != NULL; i++) {
			struct view v = world_view(w);
			struct keys keys = { 0 };
			struct key key;

			controllers[i]->seed(&v, &keys);
			while (keys_next(&keys, NULL, &key)) {
				changed |= run(w, controllers[i], key, &again_ns);
				keys_remove(&keys, key.namespace, key.name);
			}
		}
		if (!changed)
			return again_ns;
	}
	fail_msg("the controllers never settle");
	return 0;
}
