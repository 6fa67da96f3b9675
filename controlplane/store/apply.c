#include "controlplane/store/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/base/alloc.h"
#include "controlplane/store/arena_unpack.h"
#include "proto/sampan/store.pb-c.h"

/* The only place where the state changes. It knows operations and preconditions
 * and nothing else, so that masters of neighbouring versions stay equal: a plan is
 * first checked as a whole (nothing has changed yet), then done as a whole. */

typedef SampanStore__Plan Plan;
typedef SampanStore__Operation Operation;
typedef SampanStore__Precondition Precondition;
typedef SampanStore__Key Key;

static const struct kind *key_kind(const Key *key)
{
	return key != NULL && key->resource != NULL ? kind_of_resource(key->resource) : NULL;
}

static const char *text(const char *s)
{
	return s != NULL ? s : "";
}

static struct slot *key_slot(const struct store *s, const Key *key)
{
	return store_slot(s, key_kind(key), text(key->namespace_), text(key->name));
}

static bool keys_equal(const Key *a, const Key *b)
{
	return strcmp(text(a->resource), text(b->resource)) == 0 &&
	       strcmp(text(a->namespace_), text(b->namespace_)) == 0 &&
	       strcmp(text(a->name), text(b->name)) == 0;
}

static bool is_key_of(const Key *key, const struct object *o)
{
	return key_kind(key) == o->kind && strcmp(text(key->namespace_), o->namespace) == 0 &&
	       strcmp(text(key->name), o->name) == 0;
}

/* --- Checking ------------------------------------------------------------------ */

static int check_precondition(const struct store *s, const Precondition *p)
{
	const struct slot *slot = key_slot(s, p->key);

	if (p->type == SAMPAN_STORE__PRECONDITION__TYPE__ABSENT)
		return slot != NULL ? -EEXIST : 0;
	if (slot == NULL)
		return -ENOENT;
	if (p->uid != NULL && strcmp(p->uid, slot->object->facts.uid) != 0)
		return -ESTALE;
	if (p->has_revision && p->revision != slot->object->revision)
		return -ESTALE;
	return 0;
}

/* Whether an earlier operation of the plan gives up what o holds. */
static bool is_given_up(const Plan *plan, size_t before, const struct object *o)
{
	for (size_t i = 0; i < before; i++)
		if (plan->operations[i]->key != NULL && is_key_of(plan->operations[i]->key, o))
			return true;
	return false;
}

static bool names_claim(const Operation *op, const char *claim)
{
	for (size_t i = 0; i < op->n_claims; i++)
		if (strcmp(op->claims[i], claim) == 0)
			return true;
	return false;
}

/* An earlier operation of the same plan takes the claim for another key. */
static bool is_taken_within(const Plan *plan, size_t at, const char *claim)
{
	const Operation *op = plan->operations[at];

	for (size_t i = 0; i < at; i++)
		if (plan->operations[i]->type == SAMPAN_STORE__OPERATION__TYPE__PUT &&
		    !keys_equal(plan->operations[i]->key, op->key) &&
		    names_claim(plan->operations[i], claim))
			return true;
	return false;
}

static int check_claims(const struct store *s, const Plan *plan, size_t at)
{
	const Operation *op = plan->operations[at];

	for (size_t i = 0; i < op->n_claims; i++) {
		const struct object *holder = store_claim(s, op->claims[i]);

		if (holder != NULL && !is_key_of(op->key, holder) && !is_given_up(plan, at, holder))
			return -EADDRINUSE;
		if (is_taken_within(plan, at, op->claims[i]))
			return -EADDRINUSE;
	}
	return 0;
}

static int plan_check(const struct store *s, const Plan *plan, size_t *ret_failed)
{
	for (size_t i = 0; i < plan->n_preconditions; i++) {
		int rc = check_precondition(s, plan->preconditions[i]);

		*ret_failed = i;
		if (rc < 0)
			return rc;
	}
	for (size_t i = 0; i < plan->n_operations; i++) {
		const Operation *op = plan->operations[i];
		int rc = 0;

		if (op->type == SAMPAN_STORE__OPERATION__TYPE__PUT)
			rc = check_claims(s, plan, i);
		*ret_failed = i;
		if (rc < 0)
			return rc;
	}
	*ret_failed = 0;
	return 0;
}

/* --- Doing ---------------------------------------------------------------------- */

static void tell(struct store *s, const struct change *change)
{
	history_add(&s->history, change);
	for (struct store_listener *l = s->listeners; l != NULL; l = l->next)
		l->cb(l->ctx, change);
}

static bool is_unchanged(const struct object *old, const Operation *op)
{
	if (old->packed.len != op->object.len || old->n_claims != op->n_claims)
		return false;
	for (size_t i = 0; i < op->n_claims; i++)
		if (strcmp(old->claims[i], op->claims[i]) != 0)
			return false;
	return op->object.len == 0 ||
	       memcmp(old->packed.data, op->object.data, op->object.len) == 0;
}

/* Returns the revision of the object afterwards. */
static uint64_t do_put(struct store *s, const Operation *op)
{
	struct slot *slot = key_slot(s, op->key);
	struct object *old = slot != NULL ? object_ref(slot->object) : NULL;

	if (old != NULL && is_unchanged(old, op)) {
		uint64_t revision = old->revision;

		object_unref(old);
		return revision;
	}
	s->revision++;

	struct object *new = object_create(&(struct object_values){
		.kind = key_kind(op->key),
		.namespace = text(op->key->namespace_),
		.name = text(op->key->name),
		.created_revision = old != NULL ? old->created_revision : s->revision,
		.revision = s->revision,
		.packed = bytes_of(op->object.data, op->object.len),
		.claims = (const char *const *)op->claims,
		.n_claims = op->n_claims,
	});

	store_put_slot(s, slot, new);
	tell(s, &(struct change){ .revision = s->revision, .old = old, .new = new });
	object_unref(old);
	return s->revision;
}

static uint64_t do_delete(struct store *s, const Operation *op)
{
	struct slot *slot = key_slot(s, op->key);

	if (slot == NULL)
		return s->revision;

	struct object *old = object_ref(slot->object);

	s->revision++;
	store_put_slot(s, slot, NULL);
	tell(s, &(struct change){ .revision = s->revision, .old = old });
	object_unref(old);
	return s->revision;
}

static void plan_do(struct store *s, const Plan *plan, struct plan_result *result)
{
	for (size_t i = 0; i < plan->n_operations; i++) {
		const Operation *op = plan->operations[i];

		switch (op->type) {
		case SAMPAN_STORE__OPERATION__TYPE__PUT:
			result->revision = do_put(s, op);
			break;
		case SAMPAN_STORE__OPERATION__TYPE__DELETE:
			result->revision = do_delete(s, op);
			break;
		case SAMPAN_STORE__OPERATION__TYPE__SESSION_OPEN:
			if (store_sessions_open(&s->sessions, op->session, op->ttl_ms, s->time_ns) <
			    0)
				result->rc = -ENOSPC;
			break;
		case SAMPAN_STORE__OPERATION__TYPE__SESSION_CLOSE:
			store_sessions_close(&s->sessions, op->session);
			break;
		default:
			abort(); /* entry_check() lets nothing else through. */
		}
	}
}

/* Opens the session if the plan says so, before anything asks for it. */
static void plan_open_session(struct store *s, const Plan *plan)
{
	for (size_t i = 0; i < plan->n_operations; i++) {
		const Operation *op = plan->operations[i];

		if (op->type == SAMPAN_STORE__OPERATION__TYPE__SESSION_OPEN &&
		    op->session == plan->session)
			(void)store_sessions_open(&s->sessions, op->session, op->ttl_ms,
						  s->time_ns);
	}
}

static void plan_apply(struct store *s, const Plan *plan, struct plan_result *result)
{
	struct session *session = NULL;
	const struct result *known;

	*result = (struct plan_result){ 0 };
	if (plan->session != 0) {
		plan_open_session(s, plan);
		session = store_sessions_get(&s->sessions, plan->session);
		if (session == NULL || plan->sequence < session->lowest_outstanding) {
			result->rc = -EKEYEXPIRED;
			return;
		}
		store_sessions_renew(&s->sessions, session, plan->lowest_outstanding, s->time_ns);
		known = session_result(session, plan->sequence);
		if (known != NULL) {
			result->rc = known->rc;
			result->revision = known->revision;
			return;
		}
		if (session_is_full(&s->sessions, session)) {
			result->rc = -ENOBUFS;
			return;
		}
	}

	result->rc = plan_check(s, plan, &result->failed);
	if (result->rc < 0)
		return;
	plan_do(s, plan, result);
	/* The plan may have closed its own session. */
	if (session != NULL && result->rc == 0 &&
	    store_sessions_get(&s->sessions, plan->session) == session)
		store_sessions_record(&s->sessions, session,
				      &(struct result){ .sequence = plan->sequence,
							.revision = result->revision });
}

/* --- Entries ---------------------------------------------------------------------- */

/* What apply relies on; nothing of an entry is done before all of it is seen to be well formed. */
static int entry_check(const struct store *s, const SampanStore__Entry *entry, struct status *st)
{
	if (entry->level > STORE_LEVEL)
		return status_set(st, -EBADMSG,
				  "the entry needs feature level %u, this build knows %u",
				  entry->level, STORE_LEVEL);
	for (size_t i = 0; i < entry->n_plans; i++) {
		const Plan *plan = entry->plans[i];

		for (size_t j = 0; j < plan->n_preconditions; j++)
			if (key_kind(plan->preconditions[j]->key) == NULL)
				return status_set(st, -EBADMSG,
						  "plan %zu, precondition %zu: unknown resource", i,
						  j);
		for (size_t j = 0; j < plan->n_operations; j++) {
			const Operation *op = plan->operations[j];
			bool object = op->type == SAMPAN_STORE__OPERATION__TYPE__PUT ||
				      op->type == SAMPAN_STORE__OPERATION__TYPE__DELETE;

			if ((int)op->type < 0 ||
			    op->type > SAMPAN_STORE__OPERATION__TYPE__SESSION_CLOSE)
				return status_set(st, -EBADMSG,
						  "plan %zu, operation %zu: unknown type %d", i, j,
						  (int)op->type);
			if (object && key_kind(op->key) == NULL)
				return status_set(st, -EBADMSG,
						  "plan %zu, operation %zu: unknown resource", i,
						  j);
		}
	}
	if (entry->checkpoint == NULL)
		return 0;
	if (entry->checkpoint->revision != s->revision || entry->checkpoint->hash != store_hash(s))
		return status_set(st, -EBADMSG,
				  "this master's state differs from the leader's: revision %llu "
				  "hash %016llx here, revision %llu hash %016llx there",
				  (unsigned long long)s->revision,
				  (unsigned long long)store_hash(s),
				  (unsigned long long)entry->checkpoint->revision,
				  (unsigned long long)entry->checkpoint->hash);
	return 0;
}

int store_apply(struct store *s, struct bytes bytes, const struct plan_result **ret_results,
		size_t *ret_n, struct status *st)
{
	const SampanStore__Entry *entry;
	int rc;

	arena_reset(&s->scratch);
	entry = arena_unpack(&s->scratch, &sampan_store__entry__descriptor, bytes);
	if (entry == NULL)
		return status_set(st, -EBADMSG, "an entry of the log cannot be read");
	rc = entry_check(s, entry, st);
	if (rc < 0)
		return rc;

	if (entry->time_ns > s->time_ns)
		s->time_ns = entry->time_ns;
	if (entry->level > s->level)
		s->level = entry->level;
	if (entry->n_plans > s->cap_results) {
		s->cap_results = entry->n_plans;
		s->results = xreallocarray(s->results, s->cap_results, sizeof(*s->results));
	}
	for (size_t i = 0; i < entry->n_plans; i++)
		plan_apply(s, entry->plans[i], &s->results[i]);
	/* Last, so that the first write after a quiet hour still finds its session. */
	store_sessions_expire(&s->sessions, s->time_ns);
	*ret_results = s->results;
	*ret_n = entry->n_plans;
	return 0;
}
