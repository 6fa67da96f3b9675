#include "common/api/json_out.h"

#include <stdio.h>

#include "common/api/times.h"
#include "proto/k8s/meta_v1.pb-c.h"

void json_open_object(struct buf *out, const struct json_head *head, bool *first)
{
	*first = true;
	json_byte(out, '{');
	if (head == NULL || head->kind == NULL)
		return;
	json_raw(out, "\"kind\":", 7);
	json_put_cstring(out, head->kind);
	json_raw(out, ",\"apiVersion\":", 14);
	json_put_cstring(out, head->api_version ? head->api_version : "");
	*first = false;
}

struct json_revision json_revision_of(const struct schema_field *f, const struct json_head *head)
{
	struct json_revision none = { 0 };

	if (head == NULL || head->revision == 0 || f->message == NULL ||
	    (f->message->descriptor != &meta_v1__object_meta__descriptor &&
	     f->message->descriptor != &meta_v1__list_meta__descriptor))
		return none;
	return (struct json_revision){ schema_find(f->message, "resourceVersion", 15),
				       head->revision };
}

void json_put_revision(struct buf *out, const struct json_revision *revision, bool *first)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "\"%llu\"", (unsigned long long)revision->value);

	json_key(out, revision->field, first);
	json_raw(out, text, (size_t)n);
}

void json_put_empty(struct buf *out, const struct schema *s, bool *first,
		    const struct json_revision *revision)
{
	uint64_t left = s->always_mask | s->inline_mask;

	if (revision->field != NULL)
		left |= 1ull << (revision->field - s->fields);
	for (; left != 0; left &= left - 1) {
		const struct schema_field *f = &s->fields[__builtin_ctzll(left)];

		if (f == revision->field)
			json_put_revision(out, revision, first);
		else
			json_put_missing(out, s, f, first);
	}
}

static void put_zero_message(struct buf *out, const struct schema_field *f)
{
	const struct json_revision none = { 0 };
	bool first = true;

	switch ((enum schema_form)f->message->form) {
	case SCHEMA_FORM_OBJECT:
		json_byte(out, '{');
		json_put_empty(out, f->message, &first, &none);
		json_byte(out, '}');
		break;
	case SCHEMA_FORM_QUANTITY:
		json_raw(out, "\"0\"", 3);
		break;
	case SCHEMA_FORM_INT_OR_STRING:
		json_byte(out, '0');
		break;
	case SCHEMA_FORM_DURATION:
		json_raw(out, "\"0s\"", 4);
		break;
	default:
		json_raw(out, "null", 4);
	}
}

void json_put_missing(struct buf *out, const struct schema *s, const struct schema_field *f,
		      bool *first)
{
	const struct json_revision none = { 0 };

	if (f->flags & SCHEMA_INLINE) {
		json_put_empty(out, f->message, first, &none);
		return;
	}
	json_key(out, f, first);
	if (f->label == SCHEMA_LIST && s->is_kind && strcmp(f->json_name, "items") == 0)
		json_raw(out, "[]", 2);
	else if (f->label != SCHEMA_ONE || (f->flags & SCHEMA_POINTER) ||
		 f->type == PROTOBUF_C_TYPE_BYTES)
		json_raw(out, "null", 4);
	else if (f->type == PROTOBUF_C_TYPE_MESSAGE)
		put_zero_message(out, f);
	else if (f->type == PROTOBUF_C_TYPE_STRING)
		json_raw(out, "\"\"", 2);
	else if (f->type == PROTOBUF_C_TYPE_BOOL)
		json_raw(out, "false", 5);
	else
		json_byte(out, '0');
}

void json_put_time(struct buf *out, int64_t seconds)
{
	uint8_t *to = json_room(out, TIME_TEXT_MAX + 2);

	to[0] = '"';
	size_t n = time_print(seconds, (char *)to + 1);
	to[n + 1] = '"';
	out->len += n + 2;
}

void json_put_microtime(struct buf *out, int64_t seconds, int32_t nanos)
{
	uint8_t *to = json_room(out, TIME_TEXT_MAX + 2);

	to[0] = '"';
	size_t n = microtime_print(seconds, nanos, (char *)to + 1);
	to[n + 1] = '"';
	out->len += n + 2;
}

void json_put_duration(struct buf *out, int64_t ns)
{
	uint8_t *to = json_room(out, TIME_TEXT_MAX + 2);

	to[0] = '"';
	size_t n = duration_print(ns, (char *)to + 1);
	to[n + 1] = '"';
	out->len += n + 2;
}
