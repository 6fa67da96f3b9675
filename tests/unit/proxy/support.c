#include "tests/unit/proxy/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/api/json.h"
#include "common/api/kinds.h"
#include "common/api/message.h"
#include "common/api/pack.h"
#include "common/base/arena.h"
#include "common/base/cleanup.h"

void support_put(struct world *w, const char *json)
{
	auto_with(arena_fini) struct arena arena = { 0 };
	auto_with(status_fini) struct status st = { 0 };
	const char *api_version, *name;
	ProtobufCMessage *message;

	arena_init(&arena, 0);
	if (json_read_type(bytes_str(json), &arena, &api_version, &name, &st) < 0)
		fail_msg("%s", st.message);
	const struct kind *kind = kind_of_type(api_version, name);

	assert_non_null(kind);
	struct json_read strict = { .validation = FIELDS_STRICT };

	if (json_read_message(kind->descriptor, bytes_str(json), &arena, &strict, &message, &st) < 0)
		fail_msg("%s: %s", json, st.message);
	const MetaV1__ObjectMeta *meta = message_metadata(message);
	struct bytes packed = pack_message_in(&arena, message);

	if (world_apply(w, kind->resource, meta->namespace_, meta->name, &packed, &st) < 0)
		fail_msg("%s", st.message);
}

void support_delete(struct world *w, const char *resource, const char *namespace, const char *name)
{
	assert_int_equal(world_apply(w, resource, namespace, name, NULL, NULL), 0);
}
