#include "common/api/message.h"

#include <stdlib.h>
#include <string.h>

#include "common/api/fields_of.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"

void *message_new(const ProtobufCMessageDescriptor *descriptor, struct arena *a)
{
	ProtobufCMessage *m = message_try_new(descriptor, a);

	if (m == NULL)
		abort();
	return m;
}

void *message_copy(const void *message, struct arena *a)
{
	const ProtobufCMessage *m = message;
	auto_with(buf_fini) struct buf packed = { 0 };

	pack_message(&packed, m);
	return unpack_stored(m->descriptor, buf_bytes(&packed), a);
}

bool message_equal(const void *a, const void *b)
{
	const ProtobufCMessage *left = a, *right = b;
	auto_with(buf_fini) struct buf x = { 0 };
	auto_with(buf_fini) struct buf y = { 0 };

	if (a == b)
		return true;
	if (a == NULL || b == NULL || left->descriptor != right->descriptor)
		return false;
	pack_message(&x, a);
	pack_message(&y, b);
	return x.len == y.len && (x.len == 0 || memcmp(x.data, y.data, x.len) == 0);
}

static const struct schema_field *child_field(const ProtobufCMessage *m, const char *json_name)
{
	const struct schema *s = schema_of(m->descriptor);
	const struct schema_field *f = s ? schema_find(s, json_name, strlen(json_name)) : NULL;

	return f != NULL && f->label == SCHEMA_ONE && f->type == PROTOBUF_C_TYPE_MESSAGE ? f : NULL;
}

ProtobufCMessage *message_child(const void *message, const char *json_name)
{
	const struct schema_field *f = child_field(message, json_name);

	return f ? MEMBER(ProtobufCMessage *, message, f->offset) : NULL;
}

bool message_child_set(void *message, const char *json_name, ProtobufCMessage *child)
{
	const struct schema_field *f = child_field(message, json_name);

	if (f == NULL || (child != NULL && child->descriptor != f->message->descriptor))
		return false;
	MEMBER(ProtobufCMessage *, message, f->offset) = child;
	return true;
}

/* Field 1 called metadata, where it is an ObjectMeta. */
static const struct schema_field *metadata_field(const void *message)
{
	const struct schema_field *f = child_field(message, "metadata");

	return f && f->message->descriptor == &meta_v1__object_meta__descriptor ? f : NULL;
}

MetaV1__ObjectMeta *message_metadata(const void *message)
{
	const struct schema_field *f = metadata_field(message);

	return f ? MEMBER(MetaV1__ObjectMeta *, message, f->offset) : NULL;
}

MetaV1__ObjectMeta *message_metadata_make(void *message, struct arena *a)
{
	const struct schema_field *f = metadata_field(message);

	if (f == NULL)
		abort();
	MetaV1__ObjectMeta **slot = &MEMBER(MetaV1__ObjectMeta *, message, f->offset);
	if (*slot == NULL)
		*slot = message_new(&meta_v1__object_meta__descriptor, a);
	return *slot;
}

const char *string_map_get(struct string_entry *const *entries, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(entries[i]->key, key) == 0)
			return entries[i]->value ? entries[i]->value : "";
	return NULL;
}

void string_map_set(void *message, const char *json_name, const char *key, const char *value,
		    struct arena *a)
{
	const struct schema *s = schema_of(((ProtobufCMessage *)message)->descriptor);
	const struct schema_field *f = schema_find(s, json_name, strlen(json_name));

	if (f == NULL || f->label != SCHEMA_MAP ||
	    f->message->fields[1].type != PROTOBUF_C_TYPE_STRING)
		abort();

	struct string_entry **entries = MEMBER(struct string_entry **, message, f->offset);
	size_t *n = field_count(message, f), i = 0;

	while (i < *n && strcmp(entries[i]->key, key) != 0)
		i++;
	if (value == NULL) {
		if (i < *n)
			memmove(&entries[i], &entries[i + 1], (--*n - i) * sizeof(entries[0]));
		return;
	}
	if (i == *n) {
		struct string_entry **grown = arena_alloc(a, (*n + 1) * sizeof(entries[0]));

		if (*n > 0)
			memcpy(grown, entries, *n * sizeof(entries[0]));
		grown[i] = message_new(f->message->descriptor, a);
		grown[i]->key = arena_strdup(a, key);
		MEMBER(struct string_entry **, message, f->offset) = grown;
		entries = grown;
		(*n)++;
	}
	entries[i]->value = arena_strdup(a, value);
}

struct sort_slot {
	struct any_entry *entry;
	size_t at;
};

static int compare_slots(const void *a, const void *b)
{
	const struct sort_slot *x = a, *y = b;
	int order = strcmp(x->entry->key, y->entry->key);

	return order != 0 ? order : (x->at > y->at) - (x->at < y->at);
}

size_t map_entries_sort(struct any_entry **entries, size_t n,
			void (*dropped)(void *ctx, const char *key), void *ctx)
{
	size_t i = 1, left = 0;

	while (i < n && strcmp(entries[i - 1]->key, entries[i]->key) < 0)
		i++;
	if (i >= n)
		return n;
	autofree struct sort_slot *slots = xreallocarray(NULL, n, sizeof(*slots));
	for (i = 0; i < n; i++)
		slots[i] = (struct sort_slot){ entries[i], i };
	qsort(slots, n, sizeof(*slots), compare_slots);
	for (i = 0; i < n; i++) {
		if (i + 1 < n && strcmp(slots[i].entry->key, slots[i + 1].entry->key) == 0) {
			if (dropped != NULL)
				dropped(ctx, slots[i].entry->key);
			continue;
		}
		entries[left++] = slots[i].entry;
	}
	return left;
}
