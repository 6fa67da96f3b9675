#include "common/api/envelope.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/api/utf8.h"
#include "common/api/wire.h"

static const uint8_t magic[4] = { 'k', '8', 's', '\0' };

bool envelope_is(struct bytes body)
{
	return body.len >= sizeof(magic) && memcmp(body.data, magic, sizeof(magic)) == 0;
}

static bool take_text(const struct wire_field *f, struct arena *a, const char **ret)
{
	if (f->type != WIRE_BYTES || f->value > 1024 || !utf8_is_text(f->data, f->value))
		return false;
	char *text = arena_try_alloc(a, f->value + 1);
	if (text == NULL)
		return false;
	memcpy(text, f->data, f->value);
	text[f->value] = '\0';
	*ret = text;
	return true;
}

static bool read_type(struct wire w, struct arena *a, struct envelope *e)
{
	struct wire_field f;

	while (w.p < w.end) {
		if (!wire_next(&w, &f))
			return false;
		if (f.number == 1 && !take_text(&f, a, &e->api_version))
			return false;
		if (f.number == 2 && !take_text(&f, a, &e->kind))
			return false;
	}
	return true;
}

static bool read_unknown(struct wire w, struct arena *a, struct envelope *e)
{
	const char *encoding = "", *type = "";
	struct wire_field f;

	while (w.p < w.end) {
		if (!wire_next(&w, &f))
			return false;
		if (f.number >= 1 && f.number <= 4 && f.type != WIRE_BYTES)
			return false;
		if (f.number == 1 && !read_type(wire_inside(&f), a, e))
			return false;
		if (f.number == 2)
			e->raw = bytes_of(f.data, f.value);
		if (f.number == 3 && !take_text(&f, a, &encoding))
			return false;
		if (f.number == 4 && !take_text(&f, a, &type))
			return false;
	}
	return *encoding == '\0' &&
	       (*type == '\0' || strcmp(type, "application/vnd.kubernetes.protobuf") == 0);
}

int envelope_open(struct bytes body, struct arena *a, struct envelope *ret, struct status *st)
{
	struct envelope e = { .api_version = "", .kind = "", .raw = bytes_of("", 0) };

	if (!envelope_is(body))
		return status_set(st, -EBADMSG,
				  "provided data does not appear to be a protobuf message, "
				  "expected prefix [107 56 115 0]");
	struct wire w = { body.data + sizeof(magic), body.data + body.len };
	if (!read_unknown(w, a, &e))
		return status_set(st, -EBADMSG, "the protobuf envelope of the body is broken");
	*ret = e;
	return 0;
}

static size_t varint_size(uint64_t v)
{
	size_t n = 1;

	for (; v >= 0x80; v >>= 7)
		n++;
	return n;
}

static void put_varint(struct buf *out, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		buf_put_byte(out, (uint8_t)(v | 0x80));
	buf_put_byte(out, (uint8_t)v);
}

static size_t field_size(size_t len)
{
	return 1 + varint_size(len) + len;
}

static void put_header(struct buf *out, unsigned number, size_t len)
{
	buf_put_byte(out, (uint8_t)(number << 3 | WIRE_BYTES));
	put_varint(out, len);
}

static void put_field(struct buf *out, unsigned number, const void *data, size_t len)
{
	put_header(out, number, len);
	buf_put(out, data, len);
}

void envelope_put(struct buf *out, const char *api_version, const char *kind, struct bytes packed)
{
	size_t version_len = strlen(api_version), kind_len = strlen(kind);

	buf_reserve(out, packed.len + version_len + kind_len + 64);
	buf_put(out, magic, sizeof(magic));
	put_header(out, 1, field_size(version_len) + field_size(kind_len));
	put_field(out, 1, api_version, version_len);
	put_field(out, 2, kind, kind_len);
	put_field(out, 2, packed.data, packed.len);
	put_header(out, 3, 0);
	put_header(out, 4, 0);
}

/* metadata is field 1 of every kind, resourceVersion is field 6 of ObjectMeta. */
#define METADATA 1
#define RESOURCE_VERSION 6

void packed_put_revision(struct buf *out, struct bytes packed, uint64_t revision)
{
	const uint8_t *start = packed.len > 0 ? packed.data : (const uint8_t *)"";
	struct wire w = { start, start + packed.len };
	struct wire_field meta = { .data = start }, first, f;
	const uint8_t *rest = start, *split, *after;
	char text[24];

	if (revision == 0) {
		buf_put(out, packed.data, packed.len);
		return;
	}
	if (packed.len > 0 && *start == (METADATA << 3 | WIRE_BYTES) && wire_next(&w, &first)) {
		meta = first;
		rest = w.p;
	}
	w = (struct wire){ meta.data, meta.data + meta.value };
	split = after = w.p;
	while (w.p < w.end && wire_next(&w, &f) && f.number <= RESOURCE_VERSION) {
		after = w.p;
		if (f.number < RESOURCE_VERSION)
			split = w.p;
	}
	size_t before_len = (size_t)(split - meta.data);
	size_t after_len = (size_t)(meta.data + meta.value - after);
	size_t text_len =
		(size_t)snprintf(text, sizeof(text), "%llu", (unsigned long long)revision);

	put_header(out, METADATA, before_len + field_size(text_len) + after_len);
	buf_put(out, meta.data, before_len);
	put_field(out, RESOURCE_VERSION, text, text_len);
	buf_put(out, after, after_len);
	buf_put(out, rest, packed.len - (size_t)(rest - start));
}
