/* What the two writers of JSON (json_write.c, json_packed.c) share; for use
 * inside common/api. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/api/json.h"
#include "common/api/json_text.h"
#include "common/api/schema.h"
#include "common/base/buf.h"

static inline uint8_t *json_room(struct buf *out, size_t n)
{
	if (out->cap - out->len < n)
		return buf_reserve(out, n);
	return out->data + out->len;
}

static inline void json_raw(struct buf *out, const char *text, size_t n)
{
	memcpy(json_room(out, n), text, n);
	out->len += n;
}

static inline void json_byte(struct buf *out, char c)
{
	*json_room(out, 1) = (uint8_t)c;
	out->len++;
}

/* ,"name": without the comma before the first. */
static inline void json_key(struct buf *out, const struct schema_field *f, bool *first)
{
	size_t n = f->json_len;
	uint8_t *to = json_room(out, n + 4);

	if (!*first)
		*to++ = ',';
	*first = false;
	*to++ = '"';
	memcpy(to, f->json_name, n);
	to += n;
	*to++ = '"';
	*to++ = ':';
	out->len = (size_t)(to - out->data);
}

/* Where a revision goes: into metadata, as its resourceVersion. */
struct json_revision {
	const struct schema_field *field; /* resourceVersion, or NULL. */
	uint64_t value;
};

/* {"kind":...,"apiVersion":... ; *first tells whether nothing was put yet. */
void json_open_object(struct buf *out, const struct json_head *head, bool *first);
/* A field that is not set but always printed. */
void json_put_missing(struct buf *out, const struct schema *s, const struct schema_field *f,
		      bool *first);
/* The fields of an empty message that are printed all the same. */
void json_put_empty(struct buf *out, const struct schema *s, bool *first,
		    const struct json_revision *revision);
/* Inside the metadata field of the top level: what to put in. */
struct json_revision json_revision_of(const struct schema_field *f, const struct json_head *head);
void json_put_revision(struct buf *out, const struct json_revision *revision, bool *first);

void json_put_time(struct buf *out, int64_t seconds);
void json_put_microtime(struct buf *out, int64_t seconds, int32_t nanos);
void json_put_duration(struct buf *out, int64_t ns);
