#include "tests/unit/support/store_fill.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/json.h"
#include "common/api/kinds.h"
#include "common/api/message.h"
#include "common/api/pack.h"
#include "proto/sampan/store.pb-c.h"

struct store *store_new(void)
{
	return store_create(&store_limits_default);
}

static uint64_t apply(struct store *s, SampanStore__Operation *operation)
{
	SampanStore__Entry entry = SAMPAN_STORE__ENTRY__INIT;
	SampanStore__Plan plan = SAMPAN_STORE__PLAN__INIT, *plans[] = { &plan };
	SampanStore__Operation *operations[] = { operation };
	const struct plan_result *results;
	struct buf packed = { 0 };
	struct status st = { 0 };
	size_t n;

	plan.operations = operations;
	plan.n_operations = 1;
	entry.plans = plans;
	entry.n_plans = 1;
	packed.len = sampan_store__entry__pack(
		&entry, buf_reserve(&packed, sampan_store__entry__get_packed_size(&entry)));
	if (store_apply(s, buf_bytes(&packed), &results, &n, &st) < 0)
		fail_msg("entry refused: %s", st.message);
	buf_fini(&packed);
	assert_int_equal(n, 1);
	assert_int_equal(results[0].rc, 0);
	return results[0].revision;
}

static uint64_t operate(struct store *s, SampanStore__Operation__Type type, const char *resource,
			const char *namespace, const char *name, struct bytes packed)
{
	SampanStore__Operation operation = SAMPAN_STORE__OPERATION__INIT;
	SampanStore__Key key = SAMPAN_STORE__KEY__INIT;

	key.resource = (char *)resource;
	key.namespace_ = (char *)namespace;
	key.name = (char *)name;
	operation.has_type = true;
	operation.type = type;
	operation.key = &key;
	operation.has_object = packed.data != NULL;
	operation.object = (ProtobufCBinaryData){ packed.len, (uint8_t *)packed.data };
	return apply(s, &operation);
}

uint64_t store_put_packed(struct store *s, const char *resource, const char *namespace,
			  const char *name, struct bytes packed)
{
	return operate(s, SAMPAN_STORE__OPERATION__TYPE__PUT, resource, namespace, name, packed);
}

uint64_t store_put_json(struct store *s, const char *resource, const char *json)
{
	const struct kind *kind = kind_of_resource(resource);
	struct status st = { 0 };
	struct arena arena;
	void *message;

	arena_init(&arena, 0);
	if (kind == NULL)
		fail_msg("no kind %s", resource);
	if (json_read_message(kind->descriptor, bytes_str(json), &arena, NULL, &message, &st) < 0)
		fail_msg("%s: %s", json, st.message);
	const MetaV1__ObjectMeta *meta = message_metadata(message);
	assert_non_null(meta);
	uint64_t revision = store_put_packed(s, resource, meta->namespace_ ? meta->namespace_ : "",
					     meta->name, pack_message_in(&arena, message));
	arena_fini(&arena);
	return revision;
}

void store_delete(struct store *s, const char *resource, const char *namespace, const char *name)
{
	operate(s, SAMPAN_STORE__OPERATION__TYPE__DELETE, resource, namespace, name,
		bytes_of(NULL, 0));
}
