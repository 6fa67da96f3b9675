/* What json_read.c and json_read_forms.c share; for use inside common/api. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/api/json.h"
#include "common/api/json_scan.h"
#include "common/api/schema.h"
#include "common/base/arena.h"
#include "common/base/buf.h"

struct json_reader {
	struct json_scan scan;
	struct json_read *read; /* May be NULL. */
	struct arena notes;     /* Complaints, until the end. */
	struct buf scratch;
};

/* Where the reader is: one frame per object. */
struct json_frame {
	const struct json_frame *up;
	const struct schema *schema;
	const char *name;
	size_t name_len;
	ptrdiff_t index; /* In a list; -1: in none. */
	const char *key; /* In a map, or NULL. */
};

/* A message that is not an object of its fields; m is empty. */
bool json_read_form(struct json_reader *r, const struct json_frame *at,
		    const struct schema_field *f, ProtobufCMessage *m);
bool json_read_object(struct json_reader *r, const struct json_frame *up, const struct schema *s,
		      ProtobufCMessage *m);
/* The next value has a type that the form does not take. Always false. */
bool json_form_fail(struct json_reader *r, const struct json_frame *at,
		    const struct schema_field *f);
bool json_integer(const char *p, size_t n, int64_t *ret);
bool json_base64(struct json_reader *r, const struct json_string *text, ProtobufCBinaryData *ret);
