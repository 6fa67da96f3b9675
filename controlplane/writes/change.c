#include "controlplane/writes/change.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/make.h"
#include "common/api/message.h"
#include "common/api/pack.h"
#include "controlplane/admission/pod.h"
#include "controlplane/trust/sealing.h"
#include "controlplane/writes/charges.h"
#include "controlplane/writes/token_secrets.h"

int refuse_missing(struct status *st, const struct kind *kind, const char *name)
{
	status_set(st, -ENOENT, "%s \"%s\" not found", kind->resource, name);
	status_details(st, kind->group, kind->plural, name);
	return -ENOENT;
}

int refuse_existing(struct status *st, const struct kind *kind, const char *name)
{
	status_set(st, -EEXIST, "%s \"%s\" already exists", kind->resource, name);
	status_details(st, kind->group, kind->plural, name);
	return -EEXIST;
}

int refuse_stale(struct status *st, const struct kind *kind, const char *name)
{
	status_set(
		st, -ESTALE,
		"Operation cannot be fulfilled on %s \"%s\": the object has been modified; please "
		"apply your changes to the latest version and try again",
		kind->resource, name);
	status_details(st, kind->group, kind->plural, name);
	return -ESTALE;
}

static struct admission admission_of(struct write_change *c, struct admission_reader *reader,
				     const char *subresource)
{
	*reader = overlay_reader(c->context->overlay);
	return (struct admission){
		.arena = c->arena,
		.source = c->context->source,
		.now_ns = c->context->now_ns,
		.config = c->context->cluster,
		.reader = reader,
		.user = c->user != NULL ? c->user : "",
		.groups = c->groups,
		.n_groups = c->n_groups,
		.subresource = subresource,
		.dry_run = c->dry_run,
	};
}

struct bytes change_clear(const struct write_change *c, const struct object *o)
{
	if (c->context->trust == NULL || !sealing_applies(o->kind))
		return o->packed;
	return sealing_open(c->context->trust, o, c->arena);
}

/* The object as admission compares with it: a Secret in the clear. */
static struct object *clear_object(const struct write_change *c, const struct object *o)
{
	if (c->context->trust == NULL || !sealing_applies(o->kind))
		return object_ref(o);
	return object_create(&(struct object_values){
		.kind = o->kind,
		.namespace = o->namespace,
		.name = o->name,
		.created_revision = o->created_revision,
		.revision = o->revision,
		.packed = change_clear(c, o),
		.claims = o->claims,
		.n_claims = o->n_claims,
	});
}

static bool is_same(const struct object *old, struct bytes packed, const char *const *claims,
		    size_t n_claims)
{
	if (old == NULL || old->packed.len != packed.len || old->n_claims != n_claims)
		return false;
	for (size_t i = 0; i < n_claims; i++)
		if (strcmp(old->claims[i], claims[i]) != 0)
			return false;
	return packed.len == 0 || memcmp(old->packed.data, packed.data, packed.len) == 0;
}

static void keep_warnings(struct write_change *c, const struct admission *a)
{
	c->warnings = a->warnings;
	c->n_warnings = a->n_warnings;
}

void change_warn(struct write_change *c, const char *const *warnings, size_t n)
{
	const char **all = arena_alloc(c->arena, (c->n_warnings + n) * sizeof(*all) + 1);

	for (size_t i = 0; i < c->n_warnings; i++)
		all[i] = c->warnings[i];
	for (size_t i = 0; i < n; i++)
		all[c->n_warnings + i] = warnings[i];
	c->warnings = all;
	c->n_warnings += n;
}

static void require(struct write_change *c, const struct object *old)
{
	if (old->revision < c->first_revision)
		plan_require(c->plan, old);
}

int change_put_uncharged(struct write_change *c, const struct object *old,
			 ProtobufCMessage *message, struct status *st)
{
	struct object *held = object_ref(old);
	struct bytes packed = pack_message_in(c->arena, message);

	if (!c->dry_run && !is_same(held, packed, held->claims, held->n_claims)) {
		const char *namespace = arena_strdup(c->arena, held->namespace);
		const char *name = arena_strdup(c->arena, held->name);

		require(c, held);
		plan_put(c->plan, held->kind, namespace, name, packed, NULL, 0);
		overlay_put(c->context->overlay, c->batch, held->kind, namespace, name, packed,
			    NULL, 0);
	}
	object_unref(held);
	return 0;
}

/* Quotas of the namespace are asked, and charged before the object of a request is written. */
static int charge(struct write_change *c, const struct kind *kind, const char *namespace,
		  const struct object *old, const ProtobufCMessage *new, struct status *st)
{
	int rc = charges_note(c, kind, namespace, old, new, st);

	if (rc == 0 && !c->many)
		rc = charges_write(c, st);
	return rc;
}

int change_put(struct write_change *c, const struct kind *kind, const struct object *old,
	       const char *namespace, const char *name, ProtobufCMessage *message,
	       const char *const *claims, size_t n_claims, struct status *st)
{
	int charged = charge(c, kind, namespace, old, message, st);

	if (charged < 0)
		return charged;
	message_metadata_make(message, c->arena)->resourceversion = NULL;

	struct bytes clear = pack_message_in(c->arena, message), sealed = clear;

	c->namespace = arena_strdup(c->arena, namespace);
	c->name = arena_strdup(c->arena, name);
	c->packed = clear;
	c->changed = false;
	if (c->context->trust != NULL && sealing_applies(kind)) {
		int rc = sealing_seal(c->context->trust, namespace, name, clear, c->arena, &sealed,
				      st);

		if (rc < 0)
			return rc;
	}
	c->revision = old != NULL ? old->revision : 0;
	if (c->dry_run || is_same(old, sealed, claims, n_claims))
		return 0;

	if (old != NULL)
		require(c, old);
	else
		plan_require_absent(c->plan, kind, namespace, name);
	plan_put(c->plan, kind, c->namespace, c->name, sealed, claims, n_claims);
	c->revision = overlay_put(c->context->overlay, c->batch, kind, c->namespace, c->name,
				  sealed, claims, n_claims)
			      ->revision;
	c->changed = true;
	return 0;
}

int change_create(struct write_change *c, const struct kind *kind, const char *namespace,
		  ProtobufCMessage *message, struct status *st)
{
	MetaV1__ObjectMeta *meta = message_metadata_make(message, c->arena);
	struct admission_reader reader;
	struct admission a = admission_of(c, &reader, "");
	bool generated = (meta->name == NULL || meta->name[0] == '\0');

	if (namespace[0] != '\0')
		meta->namespace_ = arena_strdup(c->arena, namespace);

	int rc = admit_create(&a, kind, message, st);

	keep_warnings(c, &a);
	if (rc < 0)
		return rc;
	token_secret_fill(c, message);
	if (overlay_get(c->context->overlay, kind, namespace, meta->name) != NULL) {
		refuse_existing(st, kind, meta->name);
		if (generated)
			status_set(
				st, -EEXIST,
				"%s \"%s\" already exists, the server was not able to generate a "
				"unique name for the object",
				kind->resource, meta->name);
		return -EEXIST;
	}
	return change_put(c, kind, NULL, namespace, meta->name, message, a.claims, a.n_claims, st);
}

static void change_remove(struct write_change *c, const struct object *old)
{
	c->namespace = arena_strdup(c->arena, old->namespace);
	c->name = arena_strdup(c->arena, old->name);
	c->revision = old->revision;
	c->removed = true;
	c->changed = !c->dry_run;
	/* What is given back cannot be refused. */
	(void)charge(c, old->kind, old->namespace, old, NULL, NULL);
	if (c->dry_run)
		return;
	require(c, old);
	plan_delete(c->plan, old->kind, old->namespace, old->name);
	overlay_delete(c->context->overlay, c->batch, old->kind, c->namespace, c->name);
}

static int update_admitted(struct write_change *c, const struct object *old,
			   const struct object *clear, ProtobufCMessage *message,
			   const char *subresource, struct status *st)
{
	struct admission_reader reader;
	struct admission a = admission_of(c, &reader, subresource);
	int rc = admit_update(&a, old->kind, clear, message, st);

	keep_warnings(c, &a);
	if (rc < 0)
		return rc;
	token_secret_fill(c, message);
	if (!admission_is_finished(message))
		return change_put(c, old->kind, old, old->namespace, old->name, message, a.claims,
				  a.n_claims, st);
	c->packed = pack_message_in(c->arena, message);
	change_remove(c, old);
	return 0;
}

int change_update(struct write_change *c, const struct object *old, ProtobufCMessage *message,
		  const char *subresource, struct status *st)
{
	struct object *held = object_ref(old), *clear = clear_object(c, old);
	int rc = update_admitted(c, held, clear, message, subresource, st);

	object_unref(clear);
	object_unref(held);
	return rc;
}

/* Says of a pod why it goes. */
static void set_evicted(struct write_change *c, ProtobufCMessage *message)
{
	CoreV1__Pod *pod = (CoreV1__Pod *)message;

	if (pod->status == NULL)
		pod->status = make(c->arena, CoreV1__PodStatus, core_v1__pod_status);

	CoreV1__PodCondition *condition = pod_set_condition(
		c->arena, pod->status, "DisruptionTarget", "True", c->context->now_ns);

	condition->reason = arena_strdup(c->arena, "EvictionByEvictionAPI");
	condition->message = arena_strdup(c->arena, "Eviction API: evicting");
}

static int delete_admitted(struct write_change *c, const struct object *old,
			   const ProtobufCMessage *options, bool evicted, struct status *st)
{
	struct object *held = object_ref(old);
	struct admission_reader reader;
	struct admission a = admission_of(c, &reader, "");
	enum delete_outcome outcome;
	ProtobufCMessage *message;
	int rc = admit_delete(&a, old->kind, old, options, &outcome, &message, st);

	if (rc == 0) {
		struct bytes was = change_clear(c, held);

		c->packed = bytes_of(arena_memdup(c->arena, was.data, was.len), was.len);
		c->namespace = arena_strdup(c->arena, held->namespace);
		c->name = arena_strdup(c->arena, held->name);
		c->revision = held->revision;
		c->changed = c->removed = false;
		if (outcome == DELETE_REMOVES)
			change_remove(c, held);
		else if (outcome == DELETE_MARKS && evicted)
			set_evicted(c, message);
		if (outcome == DELETE_MARKS)
			rc = change_put(c, held->kind, held, held->namespace, held->name, message,
					a.claims, a.n_claims, st);
	}
	object_unref(held);
	return rc;
}

int change_delete(struct write_change *c, const struct object *old, const ProtobufCMessage *options,
		  struct status *st)
{
	return delete_admitted(c, old, options, false, st);
}

int change_evict(struct write_change *c, const struct object *pod, const ProtobufCMessage *options,
		 struct status *st)
{
	return delete_admitted(c, pod, options, true, st);
}

int change_binding(struct write_change *c, const struct object *pod, const CoreV1__Binding *binding,
		   ProtobufCMessage **ret_message, struct status *st)
{
	struct admission_reader reader;
	struct admission a = admission_of(c, &reader, "binding");
	int rc = admit_binding(&a, pod, binding, ret_message, st);

	keep_warnings(c, &a);
	return rc;
}
