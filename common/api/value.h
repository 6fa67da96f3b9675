/* Any JSON as a tree in an arena, numbers kept as their text.
 *
 * For patches, apply, and objects without a message. Maps keep the order of
 * their keys (large ones only until a key is removed); a key occurs once. Bounded like json.h.
 * Values may be shared between trees as long as nobody changes them. What allocates returns NULL or
 * false beyond the arena's budget, never in an arena without one. One thread per
 * tree. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/status.h"

enum value_type { VALUE_NULL, VALUE_BOOL, VALUE_NUMBER, VALUE_STRING, VALUE_LIST, VALUE_MAP };

struct value_member {
	const char *key;
	size_t key_len;
	struct value *value;
};

struct value {
	enum value_type type;
	bool boolean;
	uint32_t n, cap;  /* Elements or members. */
	const char *text; /* Of numbers and strings, terminated; */
	size_t len;
	struct value **items;
	struct value_member *members;
	uint32_t *index; /* Hash of large maps. */
	uint64_t index_key;
	uint32_t index_mask;
};

int value_parse(struct bytes text, struct arena *a, struct value **ret, struct status *st);
void value_print(struct buf *out, const struct value *v);
struct value *value_copy(const struct value *v, struct arena *a);
/* A list or map of its own with the same items. */
struct value *value_copy_top(const struct value *v, struct arena *a);
/* 0 for scalars, 1 for an empty list or map. */
size_t value_depth(const struct value *v);
/* Numbers are equal when they are the same number. Maps ignore the order of keys. */
bool value_equal(const struct value *a, const struct value *b);

struct value *value_new_null(struct arena *a);
struct value *value_new_bool(struct arena *a, bool v);
struct value *value_new_int(struct arena *a, int64_t v);
struct value *value_new_string(struct arena *a, const char *s);
struct value *value_new_list(struct arena *a);
struct value *value_new_map(struct arena *a);

/* NULL when v is NULL, no map, or has no such key. */
struct value *value_get(const struct value *v, const char *key);
struct value *value_get_n(const struct value *v, const char *key, size_t len);
/* The string of a key, or NULL. */
const char *value_get_string(const struct value *v, const char *key);
/* The key is copied, the value shared. */
bool value_set(struct value *map, struct arena *a, const char *key, struct value *value);
bool value_remove(struct value *map, const char *key);
bool value_append(struct value *list, struct arena *a, struct value *item);
bool value_insert(struct value *list, struct arena *a, size_t at, struct value *item);
void value_remove_at(struct value *list, size_t at);
