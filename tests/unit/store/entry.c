#include "tests/unit/store/entry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/json.h"
#include "common/api/kinds.h"
#include "common/api/pack.h"

enum { MANY = 64 };

void entry_init(struct entry *e)
{
	arena_init(&e->arena, 0);
	entry_reset(e);
}

void entry_fini(struct entry *e)
{
	arena_fini(&e->arena);
}

void entry_reset(struct entry *e)
{
	arena_reset(&e->arena);
	sampan_store__entry__init(&e->message);
	e->message.plans = arena_array(&e->arena, SampanStore__Plan *, MANY);
}

SampanStore__Plan *entry_plan(struct entry *e)
{
	SampanStore__Plan *plan = arena_new(&e->arena, SampanStore__Plan);

	assert_true(e->message.n_plans < MANY);
	sampan_store__plan__init(plan);
	plan->preconditions = arena_array(&e->arena, SampanStore__Precondition *, MANY);
	plan->operations = arena_array(&e->arena, SampanStore__Operation *, MANY);
	e->message.plans[e->message.n_plans++] = plan;
	return plan;
}

static SampanStore__Key *make_key(struct entry *e, const char *resource, const char *namespace,
				  const char *name)
{
	SampanStore__Key *key = arena_new(&e->arena, SampanStore__Key);

	sampan_store__key__init(key);
	key->resource = arena_strdup(&e->arena, resource);
	key->namespace_ = arena_strdup(&e->arena, namespace);
	key->name = arena_strdup(&e->arena, name);
	return key;
}

static SampanStore__Precondition *condition(struct entry *e, SampanStore__Plan *plan,
					    SampanStore__Precondition__Type type)
{
	SampanStore__Precondition *p = arena_new(&e->arena, SampanStore__Precondition);

	assert_true(plan->n_preconditions < MANY);
	sampan_store__precondition__init(p);
	p->has_type = true;
	p->type = type;
	plan->preconditions[plan->n_preconditions++] = p;
	return p;
}

void plan_absent(struct entry *e, SampanStore__Plan *plan, const char *resource,
		 const char *namespace, const char *name)
{
	condition(e, plan, SAMPAN_STORE__PRECONDITION__TYPE__ABSENT)->key =
		make_key(e, resource, namespace, name);
}

void plan_present(struct entry *e, SampanStore__Plan *plan, const char *resource,
		  const char *namespace, const char *name, const char *uid, uint64_t revision)
{
	SampanStore__Precondition *p =
		condition(e, plan, SAMPAN_STORE__PRECONDITION__TYPE__PRESENT);

	p->key = make_key(e, resource, namespace, name);
	p->uid = (char *)uid;
	p->has_revision = revision != 0;
	p->revision = revision;
}

static SampanStore__Operation *operation(struct entry *e, SampanStore__Plan *plan,
					 SampanStore__Operation__Type type)
{
	SampanStore__Operation *op = arena_new(&e->arena, SampanStore__Operation);

	assert_true(plan->n_operations < MANY);
	sampan_store__operation__init(op);
	op->has_type = true;
	op->type = type;
	plan->operations[plan->n_operations++] = op;
	return op;
}

void put(struct entry *e, SampanStore__Plan *plan, const char *resource, const char *namespace,
	 const char *name, struct bytes packed, const char *const *claims)
{
	SampanStore__Operation *op = operation(e, plan, SAMPAN_STORE__OPERATION__TYPE__PUT);

	op->key = make_key(e, resource, namespace, name);
	op->has_object = true;
	op->object.data = arena_memdup(&e->arena, packed.data, packed.len);
	op->object.len = packed.len;
	op->claims = arena_array(&e->arena, char *, MANY);
	for (size_t i = 0; claims != NULL && claims[i] != NULL; i++)
		op->claims[op->n_claims++] = arena_strdup(&e->arena, claims[i]);
}

void del(struct entry *e, SampanStore__Plan *plan, const char *resource, const char *namespace,
	 const char *name)
{
	operation(e, plan, SAMPAN_STORE__OPERATION__TYPE__DELETE)->key =
		make_key(e, resource, namespace, name);
}

void session_open(struct entry *e, SampanStore__Plan *plan, uint64_t session, uint64_t ttl_ms)
{
	SampanStore__Operation *op =
		operation(e, plan, SAMPAN_STORE__OPERATION__TYPE__SESSION_OPEN);

	op->has_session = op->has_ttl_ms = true;
	op->session = session;
	op->ttl_ms = ttl_ms;
}

void session_close(struct entry *e, SampanStore__Plan *plan, uint64_t session)
{
	SampanStore__Operation *op =
		operation(e, plan, SAMPAN_STORE__OPERATION__TYPE__SESSION_CLOSE);

	op->has_session = true;
	op->session = session;
}

void plan_by(SampanStore__Plan *plan, uint64_t session, uint64_t sequence, uint64_t lowest)
{
	plan->has_session = plan->has_sequence = plan->has_lowest_outstanding = true;
	plan->session = session;
	plan->sequence = sequence;
	plan->lowest_outstanding = lowest;
}

struct bytes entry_pack(struct entry *e)
{
	size_t n = sampan_store__entry__get_packed_size(&e->message);
	uint8_t *packed = arena_alloc(&e->arena, n + 1);

	sampan_store__entry__pack(&e->message, packed);
	return bytes_of(packed, n);
}

const struct plan_result *entry_apply(struct entry *e, struct store *s)
{
	const struct plan_result *results;
	struct status st = { 0 };
	size_t n;

	if (store_apply(s, entry_pack(e), &results, &n, &st) < 0)
		fail_msg("entry refused: %s", st.message);
	assert_int_equal(n, e->message.n_plans);
	return results;
}

struct bytes packed_json(struct entry *e, const char *resource, const char *json)
{
	const struct kind *kind = kind_of_resource(resource);
	struct status st = { 0 };
	char *text = arena_strdup(&e->arena, json);
	void *message;

	assert_non_null(kind);
	for (char *c = text; *c != '\0'; c++)
		if (*c == '\'')
			*c = '"';
	if (json_read_message(kind->descriptor, bytes_str(text), &e->arena, NULL, &message, &st) <
	    0)
		fail_msg("%s: %s", json, st.message);
	return pack_message_in(&e->arena, message);
}
