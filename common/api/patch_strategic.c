#include <errno.h>
#include <string.h>

#include "common/api/patch.h"
#include "common/base/cleanup.h"

/* Strategic merge patch: a merge patch that knows which lists are sets or maps.
 *
 *   {"$patch": "replace" | "merge" | "delete", ...}   in a map or an element
 *   {"$retainKeys": ["a", "b"], ...}                  other keys of the map go
 *   {"$setElementOrder/list": [{"name": "a"}, ...]}   the order of the result
 *   {"$deleteFromPrimitiveList/list": ["a"]}          members of a set that go
 *
 * A list of the document that the patch does not order keeps its own order as
 * far as the patch's order allows: see order_list(). */

/* Elements of one list that is merged; looking elements up is quadratic. */
#define LIST_MAX 2000
/* Elements looked at in one patch. */
#define WORK_MAX 50000000

static const char directive_patch[] = "$patch";
static const char directive_retain[] = "$retainKeys";
static const char prefix_order[] = "$setElementOrder/";
static const char prefix_delete[] = "$deleteFromPrimitiveList/";

struct merger {
	struct arena *arena;
	struct status *st;
	size_t work;
	int rc;
};

static struct value *fail(struct merger *m, int rc)
{
	m->rc = rc;
	return NULL;
}

static struct value *too_large(struct merger *m)
{
	return fail(m, status_set(m->st, -EFBIG, "the patch makes the object too large"));
}

static struct value *merge_map(struct merger *m, const struct schema *s, const struct value *doc,
			       const struct value *patch);

static bool starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool is_directive(const char *key)
{
	return strcmp(key, directive_patch) == 0 || strcmp(key, directive_retain) == 0 ||
	       starts_with(key, prefix_order) || starts_with(key, prefix_delete);
}

/* The field of a key, and the schema of what is inside it. NULL: nothing is known. */
static const struct schema_field *field_of(const struct schema *s, const char *key)
{
	return s != NULL && s->form == SCHEMA_FORM_OBJECT ? schema_find_flat(s, key, strlen(key))
							  : NULL;
}

static const struct schema *inside_of(const struct schema_field *f)
{
	return f != NULL && f->label != SCHEMA_MAP ? f->message : NULL;
}

/* The value of a patch where the document has nothing: without its directives and nulls. */
static struct value *clean(struct merger *m, const struct value *v)
{
	if (v->type == VALUE_MAP) {
		struct value *empty = value_new_map(m->arena);

		return empty ? merge_map(m, NULL, empty, v) : too_large(m);
	}
	if (v->type != VALUE_LIST)
		return value_copy_top(v, m->arena);
	struct value *out = value_new_list(m->arena);
	for (uint32_t i = 0; i < v->n && out != NULL; i++) {
		const char *directive = value_get_string(v->items[i], directive_patch);
		struct value *item;

		if (directive != NULL && (strcmp(directive, "delete") == 0 || v->items[i]->n == 1))
			continue;
		item = clean(m, v->items[i]);
		if (item == NULL)
			return NULL;
		if (!value_append(out, m->arena, item))
			return too_large(m);
	}
	return out ? out : too_large(m);
}

/* How elements are told apart: by the value of a key, or by themselves. */
static const struct value *identity(const struct value *item, const char *key)
{
	return key ? value_get(item, key) : item;
}

/* Only scalars identify: comparing them is cheap. */
static size_t find_item(struct merger *m, const struct value *list, const struct value *id,
			const char *key)
{
	if (id == NULL || list == NULL || id->type >= VALUE_LIST)
		return SIZE_MAX;
	m->work += list->n;
	for (uint32_t i = 0; i < list->n; i++)
		if (value_equal(identity(list->items[i], key), id))
			return i;
	return SIZE_MAX;
}

/* Whether document-only item a comes before ordered item b: only if the document says so. */
static bool goes_before(struct merger *m, const struct value *doc, const struct value *a,
			const struct value *b, const char *key)
{
	size_t at_a = find_item(m, doc, identity(a, key), key);
	size_t at_b = find_item(m, doc, identity(b, key), key);

	return at_a != SIZE_MAX && at_b != SIZE_MAX && at_a < at_b;
}

/* Arrange the merged list: the items named in order follow it; the others keep the document's
 * order and are put before the first ordered item that they precede there. */
static struct value *order_list(struct merger *m, const struct value *merged,
				const struct value *order, const struct value *doc, const char *key)
{
	struct value *ordered = value_new_list(m->arena), *others = value_new_list(m->arena);
	struct value *out = value_new_list(m->arena);
	bool ok = ordered && others && out;

	for (uint32_t i = 0; ok && i < order->n; i++) {
		const struct value *id = identity(order->items[i], key);
		size_t at = find_item(m, merged, id, key);

		if (at != SIZE_MAX && find_item(m, ordered, id, key) == SIZE_MAX)
			ok = value_append(ordered, m->arena, merged->items[at]);
	}
	for (uint32_t i = 0; ok && i < merged->n; i++)
		if (find_item(m, ordered, identity(merged->items[i], key), key) == SIZE_MAX)
			ok = value_append(others, m->arena, merged->items[i]);
	for (uint32_t i = 0, j = 0; ok && i + j < ordered->n + others->n;) {
		bool other = j == ordered->n ||
			     (i < others->n &&
			      goes_before(m, doc, others->items[i], ordered->items[j], key));

		ok = value_append(out, m->arena, other ? others->items[i++] : ordered->items[j++]);
	}
	return ok ? out : too_large(m);
}

static struct value *merge_set(struct merger *m, const struct value *doc, const struct value *patch,
			       const struct value *deleted)
{
	struct value *out = value_new_list(m->arena);
	const struct value *sources[] = { doc, patch };
	bool ok = out != NULL;

	for (size_t s = 0; s < array_size(sources); s++)
		for (uint32_t i = 0; ok && sources[s] != NULL && i < sources[s]->n; i++) {
			struct value *item = sources[s]->items[i];

			if (item->type >= VALUE_LIST)
				return fail(
					m, status_set(m->st, -EINVAL,
						      "a list of scalars contains something else"));
			bool gone = s == 0 && find_item(m, deleted, item, NULL) != SIZE_MAX;

			if (!gone && find_item(m, out, item, NULL) == SIZE_MAX)
				ok = value_append(out, m->arena, item);
		}
	return ok ? out : too_large(m);
}

/* {"$patch": "replace"} among the elements: the others are the new list. */
static bool list_replaces(const struct value *patch)
{
	for (uint32_t i = 0; i < patch->n; i++) {
		const char *directive = value_get_string(patch->items[i], directive_patch);

		if (directive != NULL && strcmp(directive, "replace") == 0)
			return true;
	}
	return false;
}

static void remove_items(struct merger *m, struct value *list, const struct value *id,
			 const char *key)
{
	for (size_t at; (at = find_item(m, list, id, key)) != SIZE_MAX;)
		value_remove_at(list, at);
}

/* One element of the patch into the list; false with rc set when it is refused. */
static bool merge_element(struct merger *m, const struct schema *s, struct value *out,
			  const struct value *item, const char *key)
{
	const char *directive = value_get_string(item, directive_patch);
	const struct value *id = value_get(item, key);

	if (item->type != VALUE_MAP)
		return fail(m, status_set(m->st, -EINVAL,
					  "unable to merge a list of objects with "
					  "something that is none")) != NULL;
	if (id == NULL || id->type >= VALUE_LIST)
		return fail(m,
			    status_set(
				    m->st, -EINVAL,
				    "an element of the patch does not contain declared merge key: %s",
				    key)) != NULL;
	if (directive != NULL && strcmp(directive, "delete") == 0) {
		remove_items(m, out, id, key);
		return true;
	}
	size_t at = find_item(m, out, id, key);
	struct value *merged =
		at == SIZE_MAX ? clean(m, item) : merge_map(m, s, out->items[at], item);
	if (merged == NULL)
		return false;
	if (at != SIZE_MAX) {
		out->items[at] = merged;
		return true;
	}
	return value_append(out, m->arena, merged) || too_large(m) != NULL;
}

static struct value *merge_objects(struct merger *m, const struct schema *s,
				   const struct value *doc, const struct value *patch,
				   const char *key)
{
	struct value *out = doc ? value_copy_top(doc, m->arena) : value_new_list(m->arena);

	if (out == NULL)
		return too_large(m);
	for (uint32_t i = 0; patch != NULL && i < patch->n; i++)
		if (!merge_element(m, s, out, patch->items[i], key))
			return NULL;
	return out;
}

/* A list with strategy merge. patch, order and deleted may each be NULL. */
static struct value *merge_list(struct merger *m, const struct schema_field *f,
				const struct value *doc, const struct value *patch,
				const struct value *order, const struct value *deleted)
{
	const char *key = f->extra ? f->extra->merge_key : NULL;
	const struct value *lists[] = { doc, patch, order, deleted };

	for (size_t i = 0; i < array_size(lists); i++)
		if (lists[i] != NULL && lists[i]->n > LIST_MAX)
			return fail(
				m, status_set(m->st, -EINVAL,
					      "%s: lists of more than %d elements cannot be merged",
					      f->json_name, LIST_MAX));
	if (m->work > WORK_MAX)
		return fail(m, status_set(m->st, -EFBIG, "the patch needs too much work"));
	if (f->type == PROTOBUF_C_TYPE_MESSAGE && key == NULL)
		return patch ? clean(m, patch) : value_copy_top(doc, m->arena);
	if (patch != NULL && key != NULL && list_replaces(patch))
		return clean(m, patch);
	struct value *merged = key ? merge_objects(m, f->message, doc, patch, key)
				   : merge_set(m, doc, patch, deleted);
	if (merged == NULL)
		return NULL;
	if (order == NULL)
		order = patch;
	return order ? order_list(m, merged, order, doc, key) : merged;
}

static struct value *list_or_null(struct value *v)
{
	return v != NULL && v->type == VALUE_LIST ? v : NULL;
}

/* "$prefix/key" of the patch. */
static struct value *directive_for(const struct value *patch, const char *prefix, const char *key)
{
	char name[256];
	size_t n = strlen(prefix), len = strlen(key);

	if (patch == NULL || n + len >= sizeof(name))
		return NULL;
	memcpy(name, prefix, n);
	memcpy(name + n, key, len + 1);
	return list_or_null(value_get(patch, name));
}

static struct value *merge_field(struct merger *m, const struct schema *s, const char *key,
				 struct value *doc, const struct value *value,
				 const struct value *patch)
{
	const struct schema_field *f = field_of(s, key);

	if (value->type == VALUE_MAP)
		return merge_map(m, inside_of(f),
				 doc != NULL && doc->type == VALUE_MAP ? doc : NULL, value);
	if (value->type == VALUE_LIST && f != NULL && f->label == SCHEMA_LIST &&
	    (f->flags & SCHEMA_MERGE))
		return merge_list(m, f, list_or_null(doc), value,
				  directive_for(patch, prefix_order, key),
				  directive_for(patch, prefix_delete, key));
	return clean(m, value);
}

/* Directives about lists that the patch does not mention otherwise. */
static bool apply_directive(struct merger *m, const struct schema *s, struct value *out,
			    const char *directive, const struct value *patch)
{
	const char *key = strchr(directive, '/');

	if (key == NULL || value_get(patch, key + 1) != NULL)
		return true;
	const struct schema_field *f = field_of(s, ++key);
	struct value *list = list_or_null(value_get(out, key));
	if (list == NULL || f == NULL || f->label != SCHEMA_LIST || !(f->flags & SCHEMA_MERGE))
		return true;
	struct value *merged = merge_list(m, f, list, NULL, directive_for(patch, prefix_order, key),
					  directive_for(patch, prefix_delete, key));
	if (merged == NULL)
		return false;
	return value_set(out, m->arena, key, merged) || too_large(m) != NULL;
}

/* $retainKeys: the keys of the document that are not named go; the patch may only name such keys.
 */
static bool retain_keys(struct merger *m, struct value *out, const struct value *patch)
{
	const struct value *keep = value_get(patch, directive_retain);

	if (keep == NULL)
		return true;
	if (keep->type != VALUE_LIST || keep->n > LIST_MAX)
		return fail(m, status_set(m->st, -EBADMSG, "%s must be a list of keys",
					  directive_retain)) != NULL;
	for (uint32_t i = 0; i < patch->n; i++) {
		const struct value key = { .type = VALUE_STRING,
					   .text = patch->members[i].key,
					   .len = patch->members[i].key_len };

		if (!is_directive(key.text) && patch->members[i].value->type != VALUE_NULL &&
		    find_item(m, keep, &key, NULL) == SIZE_MAX)
			return fail(m,
				    status_set(
					    m->st, -EINVAL,
					    "%s must contain every key of the patch: %s is missing",
					    directive_retain, key.text)) != NULL;
	}
	for (uint32_t i = out->n; i-- > 0;) {
		const struct value key = { .type = VALUE_STRING,
					   .text = out->members[i].key,
					   .len = out->members[i].key_len };

		if (find_item(m, keep, &key, NULL) == SIZE_MAX)
			value_remove(out, key.text);
	}
	return true;
}

/* $patch of a map. Returns whether the map is decided by it; *ret is then the result or NULL. */
static bool replaced_by_directive(struct merger *m, const struct value *patch, struct value **ret)
{
	const struct value *directive = value_get(patch, directive_patch);
	struct value *rest;

	if (directive == NULL ||
	    (directive->type == VALUE_STRING && strcmp(directive->text, "merge") == 0))
		return false;
	*ret = NULL;
	if (directive->type == VALUE_STRING && strcmp(directive->text, "delete") == 0) {
		*ret = value_new_map(m->arena);
	} else if (directive->type == VALUE_STRING && strcmp(directive->text, "replace") == 0) {
		rest = value_copy_top(patch, m->arena);
		if (rest != NULL) {
			value_remove(rest, directive_patch);
			*ret = clean(m, rest);
		}
	} else {
		status_set(m->st, -EBADMSG, "Unknown patch type '%s' in map",
			   directive->type == VALUE_STRING ? directive->text : "?");
		m->rc = -EBADMSG;
	}
	if (*ret == NULL && m->rc == 0)
		too_large(m);
	return true;
}

static struct value *merge_map(struct merger *m, const struct schema *s, const struct value *doc,
			       const struct value *patch)
{
	struct value *out;

	if (replaced_by_directive(m, patch, &out))
		return out;
	out = doc ? value_copy_top(doc, m->arena) : value_new_map(m->arena);
	if (out == NULL)
		return too_large(m);
	if (!retain_keys(m, out, patch))
		return NULL;
	for (uint32_t i = 0; i < patch->n; i++) {
		const struct value_member *member = &patch->members[i];

		if (is_directive(member->key)) {
			if (!apply_directive(m, s, out, member->key, patch))
				return NULL;
			continue;
		}
		if (member->value->type == VALUE_NULL) {
			value_remove(out, member->key);
			continue;
		}
		struct value *v = merge_field(m, s, member->key, value_get(out, member->key),
					      member->value, patch);
		if (v == NULL)
			return NULL;
		if (!value_set(out, m->arena, member->key, v))
			return too_large(m);
	}
	return out;
}

int patch_strategic(const struct schema *schema, const struct value *doc, const struct value *patch,
		    struct arena *a, struct value **ret, struct status *st)
{
	struct merger m = { .arena = a, .st = st };

	if (patch->type != VALUE_MAP || doc->type != VALUE_MAP)
		return status_set(st, -EBADMSG, "a strategic merge patch must be a JSON object");
	struct value *out = merge_map(&m, schema, doc, patch);
	if (out == NULL)
		return m.rc;
	*ret = out;
	return 0;
}
