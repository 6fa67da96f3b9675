#include "common/api/value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/json_scan.h"
#include "common/api/json_text.h"
#include "common/base/map.h"

/* Maps of more members than this are found through a hash, so that a hostile
 * document of many keys costs no more than its size. */
#define INDEX_FROM 12

static struct value *new_value(struct arena *a, enum value_type type)
{
	struct value *v = arena_try_alloc(a, sizeof(*v));

	if (v != NULL)
		*v = (struct value){ .type = type };
	return v;
}

static bool set_text(struct value *v, struct arena *a, const char *text, size_t len)
{
	char *copy = v ? arena_try_alloc(a, len + 1) : NULL;

	if (copy == NULL)
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	v->text = copy;
	v->len = len;
	return true;
}

struct value *value_new_null(struct arena *a)
{
	return new_value(a, VALUE_NULL);
}

struct value *value_new_bool(struct arena *a, bool v)
{
	struct value *value = new_value(a, VALUE_BOOL);

	if (value != NULL)
		value->boolean = v;
	return value;
}

struct value *value_new_int(struct arena *a, int64_t v)
{
	struct value *value = new_value(a, VALUE_NUMBER);
	char text[24];
	int n = snprintf(text, sizeof(text), "%lld", (long long)v);

	return set_text(value, a, text, (size_t)n) ? value : NULL;
}

struct value *value_new_string(struct arena *a, const char *s)
{
	struct value *value = new_value(a, VALUE_STRING);

	return set_text(value, a, s, strlen(s)) ? value : NULL;
}

struct value *value_new_list(struct arena *a)
{
	return new_value(a, VALUE_LIST);
}

struct value *value_new_map(struct arena *a)
{
	return new_value(a, VALUE_MAP);
}

static void *grow(struct arena *a, const void *old, uint32_t n, uint32_t cap, size_t size)
{
	void *grown = arena_try_alloc(a, cap * size);

	if (grown != NULL && n > 0)
		memcpy(grown, old, n * size);
	return grown;
}

/* The hash of keys is no secret, so it is stirred with an address that is: keys chosen to collide
 * here collide nowhere else. The order of members never depends on it. */
static uint32_t slot_of(const struct value *map, const char *key, size_t len)
{
	return (uint32_t)((hash_bytes(key, len) * map->index_key) >> 32) & map->index_mask;
}

static void index_put(struct value *map, uint32_t member)
{
	uint32_t i = slot_of(map, map->members[member].key, map->members[member].key_len);

	while (map->index[i] != 0)
		i = (i + 1) & map->index_mask;
	map->index[i] = member + 1;
}

static bool index_build(struct value *map, struct arena *a)
{
	uint32_t size = 32;

	while (size < map->cap * 2)
		size *= 2;
	map->index = arena_try_alloc(a, size * sizeof(*map->index));
	if (map->index == NULL)
		return false;
	memset(map->index, 0, size * sizeof(*map->index));
	map->index_mask = size - 1;
	map->index_key = ((uint64_t)(uintptr_t)map->index * 0x9E3779B97F4A7C15ull) | 1;
	for (uint32_t i = 0; i < map->n; i++)
		index_put(map, i);
	return true;
}

static struct value_member *find(const struct value *map, const char *key, size_t len)
{
	if (map->index != NULL) {
		for (uint32_t i = slot_of(map, key, len); map->index[i] != 0;
		     i = (i + 1) & map->index_mask) {
			struct value_member *m = &map->members[map->index[i] - 1];

			if (m->key_len == len && memcmp(m->key, key, len) == 0)
				return m;
		}
		return NULL;
	}
	for (uint32_t i = 0; i < map->n; i++)
		if (map->members[i].key_len == len && memcmp(map->members[i].key, key, len) == 0)
			return &map->members[i];
	return NULL;
}

/* The key must be in the arena already. */
static bool add_member(struct value *map, struct arena *a, const char *key, size_t len,
		       struct value *value)
{
	bool grows = map->n == map->cap;

	if (grows) {
		uint32_t cap = map->cap ? map->cap * 2 : 4;
		void *grown = grow(a, map->members, map->n, cap, sizeof(*map->members));

		if (grown == NULL)
			return false;
		map->members = grown;
		map->cap = cap;
	}
	map->members[map->n++] = (struct value_member){ key, len, value };
	if (map->n <= INDEX_FROM)
		return true;
	if (grows || map->index == NULL)
		return index_build(map, a);
	index_put(map, map->n - 1);
	return true;
}

static bool add_item(struct value *list, struct arena *a, struct value *item)
{
	if (list->n == list->cap) {
		uint32_t cap = list->cap ? list->cap * 2 : 4;
		void *grown = grow(a, list->items, list->n, cap, sizeof(*list->items));

		if (grown == NULL)
			return false;
		list->items = grown;
		list->cap = cap;
	}
	list->items[list->n++] = item;
	return true;
}

static bool parse(struct json_scan *s, struct value **ret);

static bool parse_map(struct json_scan *s, struct value *v)
{
	struct json_string key;
	struct value *item;

	for (bool more = json_object_first(s); more; more = json_object_next(s)) {
		if (!json_scan_key(s, &key) || !parse(s, &item))
			return false;
		struct value_member *m = find(v, key.p, key.len);
		if (m != NULL) {
			m->value = item; /* As everywhere, the last one counts. */
			continue;
		}
		const char *own = json_own(s, &key);
		if (own == NULL || !add_member(v, s->arena, own, key.len, item))
			return json_out_of_memory(s);
	}
	return s->rc == 0;
}

static bool parse_list(struct json_scan *s, struct value *v)
{
	struct value *item;

	for (bool more = json_array_first(s); more; more = json_array_next(s)) {
		if (!parse(s, &item))
			return false;
		if (!add_item(v, s->arena, item))
			return json_out_of_memory(s);
	}
	return s->rc == 0;
}

static bool parse_text(struct json_scan *s, struct value *v)
{
	struct json_string text;

	if (v->type == VALUE_STRING ? !json_scan_string(s, &text) : !json_scan_number(s, &text))
		return false;
	v->text = json_own(s, &text);
	v->len = text.len;
	return v->text != NULL;
}

static bool parse(struct json_scan *s, struct value **ret)
{
	struct value *v = arena_try_alloc(s->arena, sizeof(*v));
	char c = json_peek(s);

	if (v == NULL)
		return json_out_of_memory(s);
	*v = (struct value){ .type = VALUE_NULL };
	*ret = v;
	switch (c) {
	case '{':
		v->type = VALUE_MAP;
		return parse_map(s, v);
	case '[':
		v->type = VALUE_LIST;
		return parse_list(s, v);
	case '"':
		v->type = VALUE_STRING;
		return parse_text(s, v);
	case 't':
	case 'f':
		v->type = VALUE_BOOL;
		v->boolean = c == 't';
		if (json_literal(s, "true", 4) || json_literal(s, "false", 5))
			return true;
		break;
	case 'n':
		if (json_take_null(s))
			return true;
		break;
	default:
		if (c != '-' && (c < '0' || c > '9'))
			break;
		v->type = VALUE_NUMBER;
		return parse_text(s, v);
	}
	return json_unexpected(s, "looking for beginning of value");
}

int value_parse(struct bytes text, struct arena *a, struct value **ret, struct status *st)
{
	struct json_scan s;
	struct value *v;

	json_scan_init(&s, text, a);
	if (!parse(&s, &v) || !json_scan_end(&s))
		return json_scan_status(&s, st);
	*ret = v;
	return 0;
}

void value_print(struct buf *out, const struct value *v)
{
	switch (v->type) {
	case VALUE_NULL:
		buf_put(out, "null", 4);
		break;
	case VALUE_BOOL:
		buf_put_str(out, v->boolean ? "true" : "false");
		break;
	case VALUE_NUMBER:
		buf_put(out, v->text, v->len);
		break;
	case VALUE_STRING:
		json_put_string(out, v->text, v->len);
		break;
	case VALUE_LIST:
		buf_put_byte(out, '[');
		for (uint32_t i = 0; i < v->n; i++) {
			if (i > 0)
				buf_put_byte(out, ',');
			value_print(out, v->items[i]);
		}
		buf_put_byte(out, ']');
		break;
	case VALUE_MAP:
		buf_put_byte(out, '{');
		for (uint32_t i = 0; i < v->n; i++) {
			if (i > 0)
				buf_put_byte(out, ',');
			json_put_string(out, v->members[i].key, v->members[i].key_len);
			buf_put_byte(out, ':');
			value_print(out, v->members[i].value);
		}
		buf_put_byte(out, '}');
		break;
	}
}

static struct value *copy_members(const struct value *v, struct value *copy, struct arena *a)
{
	for (uint32_t i = 0; i < v->n; i++) {
		const struct value *from =
			v->type == VALUE_LIST ? v->items[i] : v->members[i].value;
		struct value *item = value_copy(from, a);

		if (item == NULL)
			return NULL;
		if (v->type == VALUE_LIST ? !add_item(copy, a, item)
					  : !value_set(copy, a, v->members[i].key, item))
			return NULL;
	}
	return copy;
}

struct value *value_copy(const struct value *v, struct arena *a)
{
	struct value *copy = new_value(a, v->type);

	if (copy == NULL || (v->text != NULL && !set_text(copy, a, v->text, v->len)))
		return NULL;
	copy->boolean = v->boolean;
	return copy_members(v, copy, a);
}

struct value *value_copy_top(const struct value *v, struct arena *a)
{
	struct value *copy = new_value(a, v->type);

	if (copy == NULL)
		return NULL;
	*copy = *v;
	copy->n = copy->cap = 0;
	copy->items = NULL;
	copy->members = NULL;
	copy->index = NULL;
	for (uint32_t i = 0; i < v->n; i++)
		if (v->type == VALUE_LIST ? !add_item(copy, a, v->items[i])
					  : !add_member(copy, a, v->members[i].key,
							v->members[i].key_len, v->members[i].value))
			return NULL;
	return copy;
}

size_t value_depth(const struct value *v)
{
	size_t depth = 0;

	for (uint32_t i = 0; i < v->n; i++) {
		size_t inner =
			value_depth(v->type == VALUE_LIST ? v->items[i] : v->members[i].value);

		depth = inner > depth ? inner : depth;
	}
	return v->type >= VALUE_LIST ? depth + 1 : 0;
}

static bool numbers_equal(const struct value *a, const struct value *b)
{
	if (a->len == b->len && memcmp(a->text, b->text, a->len) == 0)
		return true;
	/* 1, 1.0 and 1e0 are one number; integers beyond 2^53 differ in their text already. */
	if (strpbrk(a->text, ".eE") == NULL && strpbrk(b->text, ".eE") == NULL)
		return false;
	return strtod(a->text, NULL) == strtod(b->text, NULL);
}

bool value_equal(const struct value *a, const struct value *b)
{
	if (a == b)
		return true;
	if (a == NULL || b == NULL || a->type != b->type || a->n != b->n)
		return false;
	switch (a->type) {
	case VALUE_NULL:
		return true;
	case VALUE_BOOL:
		return a->boolean == b->boolean;
	case VALUE_NUMBER:
		return numbers_equal(a, b);
	case VALUE_STRING:
		return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
	case VALUE_LIST:
		for (uint32_t i = 0; i < a->n; i++)
			if (!value_equal(a->items[i], b->items[i]))
				return false;
		return true;
	case VALUE_MAP:
		for (uint32_t i = 0; i < a->n; i++)
			if (!value_equal(a->members[i].value,
					 value_get_n(b, a->members[i].key, a->members[i].key_len)))
				return false;
		return true;
	}
	abort();
}

struct value *value_get_n(const struct value *v, const char *key, size_t len)
{
	if (v == NULL || v->type != VALUE_MAP)
		return NULL;
	struct value_member *m = find(v, key, len);
	return m ? m->value : NULL;
}

struct value *value_get(const struct value *v, const char *key)
{
	return value_get_n(v, key, strlen(key));
}

const char *value_get_string(const struct value *v, const char *key)
{
	const struct value *s = value_get(v, key);

	return s != NULL && s->type == VALUE_STRING ? s->text : NULL;
}

bool value_set(struct value *map, struct arena *a, const char *key, struct value *value)
{
	size_t len = strlen(key);
	struct value_member *m = find(map, key, len);

	if (m != NULL) {
		m->value = value;
		return true;
	}
	char *own = arena_try_alloc(a, len + 1);
	if (own == NULL)
		return false;
	memcpy(own, key, len + 1);
	return add_member(map, a, own, len, value);
}

/* Take the slot at i out of the index and close the gap it leaves in its run. */
static void index_remove(struct value *map, uint32_t i)
{
	uint32_t mask = map->index_mask;

	for (uint32_t k = (i + 1) & mask; map->index[k] != 0; k = (k + 1) & mask) {
		const struct value_member *m = &map->members[map->index[k] - 1];
		uint32_t home = slot_of(map, m->key, m->key_len);

		if (((k - home) & mask) >= ((k - i) & mask)) {
			map->index[i] = map->index[k];
			i = k;
		}
	}
	map->index[i] = 0;
}

static uint32_t index_slot(const struct value *map, uint32_t member)
{
	uint32_t i = slot_of(map, map->members[member].key, map->members[member].key_len);

	while (map->index[i] != member + 1)
		i = (i + 1) & map->index_mask;
	return i;
}

/* Large maps let the last member take the place of the removed one, so that removing many stays
 * cheap; small ones keep their order. */
bool value_remove(struct value *map, const char *key)
{
	struct value_member *m = find(map, key, strlen(key));

	if (m == NULL)
		return false;
	uint32_t at = (uint32_t)(m - map->members), last = map->n - 1;
	if (map->index == NULL) {
		memmove(m, m + 1, (last - at) * sizeof(*m));
		map->n--;
		return true;
	}
	index_remove(map, index_slot(map, at));
	if (at != last) {
		map->index[index_slot(map, last)] = at + 1;
		*m = map->members[last];
	}
	map->n--;
	return true;
}

bool value_append(struct value *list, struct arena *a, struct value *item)
{
	return add_item(list, a, item);
}

bool value_insert(struct value *list, struct arena *a, size_t at, struct value *item)
{
	if (!add_item(list, a, item))
		return false;
	memmove(&list->items[at + 1], &list->items[at],
		(list->n - 1 - at) * sizeof(list->items[0]));
	list->items[at] = item;
	return true;
}

void value_remove_at(struct value *list, size_t at)
{
	memmove(&list->items[at], &list->items[at + 1],
		(list->n - 1 - at) * sizeof(list->items[0]));
	list->n--;
}
