#include "controlplane/apiserver/render.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/envelope.h"
#include "common/api/json.h"
#include "common/api/json_text.h"
#include "common/api/message.h"
#include "common/api/pack.h"
#include "common/base/cleanup.h"
#include "controlplane/apiserver/table.h"
#include "proto/k8s/meta_v1.pb-c.h"

void rendering_of_kind(struct rendering *r, const struct kind *kind, const struct media *media,
		       int64_t now_ns)
{
	*r = (struct rendering){
		.media = *media,
		.api_version = kind->api_version,
		.kind = kind->kind,
		.list_kind = kind->list_kind,
		.descriptor = kind->descriptor,
		.now_ns = now_ns,
	};
}

/* --- Pieces of protobuf -------------------------------------------------------------- */

static void put_varint(struct buf *out, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		buf_put_byte(out, (uint8_t)(v | 0x80));
	buf_put_byte(out, (uint8_t)v);
}

static void put_field(struct buf *out, unsigned number, struct bytes value)
{
	put_varint(out, number << 3 | 2);
	put_varint(out, value.len);
	buf_put(out, value.data, value.len);
}

/* The metadata of a packed object: its first field, tag included. */
static struct bytes metadata_field(struct bytes packed)
{
	uint64_t len = 0;
	size_t at = 1;

	if (packed.len < 2 || packed.data[0] != (1 << 3 | 2))
		return (struct bytes){ packed.data, 0 };
	for (unsigned shift = 0; at < packed.len && shift < 64; shift += 7) {
		uint8_t byte = packed.data[at++];

		len |= (uint64_t)(byte & 0x7f) << shift;
		if ((byte & 0x80) == 0)
			break;
	}
	return (struct bytes){ packed.data, len <= packed.len - at ? at + (size_t)len : 0 };
}

static const char *meta_version(const struct rendering *r)
{
	return strcmp(r->media.version, "v1beta1") == 0 ? "meta.k8s.io/v1beta1" : "meta.k8s.io/v1";
}

/* --- Objects ------------------------------------------------------------------------- */

static void put_json(struct buf *out, const ProtobufCMessageDescriptor *descriptor,
		     struct bytes packed, const struct json_head *head)
{
	/* Stored bytes are canonical: we made them. */
	if (json_put_packed(out, descriptor, packed, head) < 0)
		abort();
}

static void put_partial_json(struct buf *out, const struct rendering *r, const struct item *item)
{
	struct json_head head = { meta_version(r), "PartialObjectMetadata", item->revision };

	put_json(out, &meta_v1__partial_object_metadata__descriptor, metadata_field(item->packed),
		 &head);
}

static void put_row(struct buf *out, const struct rendering *r, const struct item *item)
{
	const struct table_columns *columns = table_columns_of(r->descriptor);
	auto_with(arena_fini) struct arena arena = { 0 };

	arena_init(&arena, 0);
	buf_put_str(out, "{\"cells\":");
	table_put_cells(out, columns, unpack_stored(r->descriptor, item->packed, &arena), r->now_ns,
			&arena);
	buf_put_str(out, ",\"object\":");
	if (r->include == INCLUDE_NONE) {
		buf_put_str(out, "null");
	} else if (r->include == INCLUDE_METADATA) {
		put_partial_json(out, r, item);
	} else {
		struct json_head head = { r->api_version, r->kind, item->revision };

		put_json(out, r->descriptor, item->packed, &head);
	}
	buf_put_byte(out, '}');
}

static void put_table_begin(struct buf *out, const struct rendering *r,
			    const struct list_head *head, bool with_columns)
{
	buf_printf(out, "{\"kind\":\"Table\",\"apiVersion\":\"%s\",\"metadata\":{",
		   meta_version(r));
	if (head->revision != 0)
		buf_printf(out, "\"resourceVersion\":\"%llu\"", (unsigned long long)head->revision);
	if (head->continue_token != NULL)
		buf_printf(out, ",\"continue\":\"%s\"", head->continue_token);
	buf_put_str(out, "},\"columnDefinitions\":");
	if (with_columns)
		table_put_columns(out, table_columns_of(r->descriptor));
	else
		buf_put_str(out, "null");
	buf_put_str(out, ",\"rows\":[");
}

/* The packed object with its revision; the buffer is the caller's. */
static struct bytes with_revision(struct buf *scratch, const struct rendering *r,
				  const struct item *item)
{
	struct bytes packed =
		r->media.view == MEDIA_PARTIAL ? metadata_field(item->packed) : item->packed;

	packed_put_revision(scratch, packed, item->revision);
	return buf_bytes(scratch);
}

void render_object(struct buf *out, const struct rendering *r, const struct item *item,
		   bool with_columns)
{
	struct json_head head = { r->api_version, r->kind, item->revision };

	if (r->media.format == MEDIA_PROTOBUF) {
		auto_with(buf_fini) struct buf scratch = { 0 };
		bool partial = r->media.view == MEDIA_PARTIAL;

		envelope_put(out, partial ? meta_version(r) : r->api_version,
			     partial ? "PartialObjectMetadata" : r->kind,
			     with_revision(&scratch, r, item));
	} else if (r->media.view == MEDIA_TABLE) {
		struct list_head table = { item->revision, NULL };

		put_table_begin(out, r, &table, with_columns);
		put_row(out, r, item);
		buf_put_str(out, "]}");
	} else if (r->media.view == MEDIA_PARTIAL) {
		put_partial_json(out, r, item);
	} else {
		put_json(out, r->descriptor, item->packed, &head);
	}
}

/* --- Lists --------------------------------------------------------------------------- */

static void put_list_meta_packed(struct buf *out, const struct list_head *head)
{
	MetaV1__ListMeta meta = META_V1__LIST_META__INIT;
	char revision[24];
	auto_with(buf_fini) struct buf packed = { 0 };

	snprintf(revision, sizeof(revision), "%llu", (unsigned long long)head->revision);
	if (head->revision != 0)
		meta.resourceversion = revision;
	meta.continue_ = (char *)head->continue_token;
	pack_message(&packed, &meta);
	put_field(out, 1, buf_bytes(&packed));
}

void render_list_begin(struct buf *out, const struct rendering *r, const struct list_head *head)
{
	bool partial = r->media.view == MEDIA_PARTIAL;

	if (r->media.format == MEDIA_PROTOBUF) {
		put_list_meta_packed(out, head);
		return;
	}
	if (r->media.view == MEDIA_TABLE) {
		put_table_begin(out, r, head, true);
		return;
	}
	buf_printf(out, "{\"kind\":\"%s\",\"apiVersion\":\"%s\",\"metadata\":{",
		   partial ? "PartialObjectMetadataList" : r->list_kind,
		   partial ? meta_version(r) : r->api_version);
	if (head->revision != 0)
		buf_printf(out, "\"resourceVersion\":\"%llu\"", (unsigned long long)head->revision);
	if (head->continue_token != NULL)
		buf_printf(out, ",\"continue\":\"%s\"", head->continue_token);
	buf_put_str(out, "},\"items\":[");
}

void render_list_item(struct buf *out, const struct rendering *r, const struct item *item,
		      bool first)
{
	struct json_head head = { NULL, NULL, item->revision };

	if (r->media.format == MEDIA_PROTOBUF) {
		auto_with(buf_fini) struct buf scratch = { 0 };

		put_field(out, 2, with_revision(&scratch, r, item));
		return;
	}
	if (!first)
		buf_put_byte(out, ',');
	if (r->media.view == MEDIA_TABLE)
		put_row(out, r, item);
	else if (r->media.view == MEDIA_PARTIAL)
		put_partial_json(out, r, item);
	else
		put_json(out, r->descriptor, item->packed, &head);
}

void render_list_end(struct buf *out, const struct rendering *r)
{
	if (r->media.format == MEDIA_JSON)
		buf_put_str(out, "]}\n");
}

void render_list_wrap(struct buf *out, const struct rendering *r, struct bytes list)
{
	if (r->media.view == MEDIA_PARTIAL)
		envelope_put(out, meta_version(r), "PartialObjectMetadataList", list);
	else
		envelope_put(out, r->api_version, r->list_kind, list);
}

/* --- Events -------------------------------------------------------------------------- */

/* A frame: its length in four bytes, then WatchEvent {type, RawExtension {raw}}. */
static void put_frame(struct buf *out, const char *type, struct bytes object)
{
	auto_with(buf_fini) struct buf extension = { 0 };
	auto_with(buf_fini) struct buf event = { 0 };

	put_field(&extension, 1, object);
	put_field(&event, 1, bytes_str(type));
	put_field(&event, 2, buf_bytes(&extension));

	uint8_t length[4] = { (uint8_t)(event.len >> 24), (uint8_t)(event.len >> 16),
			      (uint8_t)(event.len >> 8), (uint8_t)event.len };

	buf_put(out, length, sizeof(length));
	buf_put(out, event.data, event.len);
}

void render_event(struct buf *out, const struct rendering *r, const char *type,
		  const struct item *item, bool with_columns)
{
	if (r->media.format == MEDIA_PROTOBUF) {
		auto_with(buf_fini) struct buf object = { 0 };

		render_object(&object, r, item, false);
		put_frame(out, type, buf_bytes(&object));
		return;
	}
	buf_printf(out, "{\"type\":\"%s\",\"object\":", type);
	render_object(out, r, item, with_columns);
	buf_put_str(out, "}\n");
}

void render_event_status(struct buf *out, enum media_format format, struct bytes packed_status)
{
	if (format == MEDIA_PROTOBUF) {
		auto_with(buf_fini) struct buf object = { 0 };

		envelope_put(&object, "v1", "Status", packed_status);
		put_frame(out, "ERROR", buf_bytes(&object));
		return;
	}

	struct json_head head = { "v1", "Status", 0 };

	buf_put_str(out, "{\"type\":\"ERROR\",\"object\":");
	put_json(out, &meta_v1__status__descriptor, packed_status, &head);
	buf_put_str(out, "}\n");
}

void render_bookmark(struct buf *out, const struct rendering *r, uint64_t revision, bool initial)
{
	MetaV1__ObjectMeta meta = META_V1__OBJECT_META__INIT;
	MetaV1__ObjectMeta__AnnotationsEntry entry = META_V1__OBJECT_META__ANNOTATIONS_ENTRY__INIT;
	MetaV1__ObjectMeta__AnnotationsEntry *entries[] = { &entry };
	auto_with(buf_fini) struct buf packed_meta = { 0 };
	auto_with(buf_fini) struct buf packed = { 0 };

	entry.key = (char *)"k8s.io/initial-events-end";
	entry.value = (char *)"true";
	if (initial) {
		meta.n_annotations = 1;
		meta.annotations = entries;
	}
	pack_message(&packed_meta, &meta);
	put_field(&packed, 1, buf_bytes(&packed_meta));

	struct item item = { buf_bytes(&packed), revision };

	render_event(out, r, "BOOKMARK", &item, false);
}
