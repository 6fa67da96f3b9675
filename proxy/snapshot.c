#include "proxy/snapshot.h"

#include <errno.h>

#include "common/api/json.h"
#include "common/api/kinds.h"
#include "common/api/message.h"
#include "common/api/pack.h"
#include "common/api/value.h"
#include "common/base/file.h"

#define SNAPSHOT_BYTES_MAX (256u << 20)

/* Each item is printed and read again as an object of its kind: simple, and fast enough for a file.
 */
static int take_item(struct world *w, const struct value *item, size_t i, struct status *st)
{
	auto_with(arena_fini) struct arena arena = { 0 };
	auto_with(buf_fini) struct buf text = { 0 };
	const char *api_version = value_get_string(item, "apiVersion");
	const char *name = value_get_string(item, "kind");
	const struct kind *kind =
		api_version != NULL && name != NULL ? kind_of_type(api_version, name) : NULL;
	ProtobufCMessage *message;

	arena_init(&arena, SNAPSHOT_BYTES_MAX);
	if (kind == NULL)
		return status_set(st, -EINVAL, "items[%zu] is of no known kind", i);
	value_print(&text, item);
	int rc = json_read_message(kind->descriptor, buf_bytes(&text), &arena, NULL, &message, st);

	if (rc < 0)
		return status_prefix(st, "items[%zu]", i);
	const MetaV1__ObjectMeta *meta = message_metadata(message);

	if (meta == NULL || meta->name == NULL)
		return status_set(st, -EINVAL, "items[%zu] has no name", i);
	struct bytes packed = pack_message_in(&arena, message);

	return world_apply(w, kind->resource, meta->namespace_ != NULL ? meta->namespace_ : "",
			   meta->name, &packed, st);
}

int snapshot_read(struct world *w, const char *path, struct status *st)
{
	auto_with(arena_fini) struct arena arena = { 0 };
	auto_with(buf_fini) struct buf text = { 0 };
	struct value *list;
	int rc;

	arena_init(&arena, 8 * (size_t)SNAPSHOT_BYTES_MAX);
	rc = file_read(path, SNAPSHOT_BYTES_MAX, &text, st);
	if (rc == 0)
		rc = value_parse(buf_bytes(&text), &arena, &list, st);
	if (rc < 0)
		return status_prefix(st, "%s", path);
	const struct value *items = value_get(list, "items");

	if (items == NULL || items->type != VALUE_LIST)
		return status_set(st, -EINVAL, "%s: not a List with items", path);
	world_full_begin(w);
	for (uint32_t i = 0; i < items->n && rc == 0; i++)
		rc = take_item(w, items->items[i], i, st);
	if (rc < 0)
		return status_prefix(st, "%s", path);
	world_full_end(w);
	return 0;
}
