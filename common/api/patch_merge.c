#include <errno.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/patch.h"
#include "common/base/cleanup.h"

/* RFC 7386. What the patch does not name is shared with the document; both are
 * bounded in depth, and so is the recursion. NULL beyond the budget. */
static struct value *merge(const struct value *doc, const struct value *patch, struct arena *a)
{
	if (patch->type != VALUE_MAP)
		return value_copy_top(patch, a);
	struct value *out =
		doc != NULL && doc->type == VALUE_MAP ? value_copy_top(doc, a) : value_new_map(a);
	for (uint32_t i = 0; i < patch->n && out != NULL; i++) {
		const struct value_member *m = &patch->members[i];

		if (m->value->type == VALUE_NULL) {
			value_remove(out, m->key);
			continue;
		}
		struct value *v = merge(value_get_n(out, m->key, m->key_len), m->value, a);
		if (v == NULL || !value_set(out, a, m->key, v))
			return NULL;
	}
	return out;
}

int patch_merge(const struct value *doc, const struct value *patch, struct arena *a,
		struct value **ret, struct status *st)
{
	struct value *out = merge(doc, patch, a);

	if (out == NULL)
		return status_set(st, -EFBIG, "the patch makes the object too large");
	*ret = out;
	return 0;
}

static int apply(enum patch_type type, const ProtobufCMessageDescriptor *descriptor,
		 const struct value *doc, const struct value *patch, struct arena *a,
		 struct value **ret, struct status *st)
{
	if (type == PATCH_JSON)
		return patch_json(doc, patch, a, ret, st);
	if (patch->type != VALUE_MAP)
		return status_set(st, -EBADMSG, "the patch must be a JSON object");
	if (type == PATCH_MERGE)
		return patch_merge(doc, patch, a, ret, st);
	return patch_strategic(schema_of(descriptor), doc, patch, a, ret, st);
}

/* The patched text is no object of this kind: 422 with the patch as the wrong value. */
static int invalid(const ProtobufCMessageDescriptor *descriptor, const struct value *doc,
		   struct bytes patch, struct status *st)
{
	const struct kind *kind = kind_of(descriptor);
	const char *name = value_get_string(value_get(doc, "metadata"), "name");
	auto_with(buf_fini) struct buf why = { 0 };

	if (st == NULL)
		return -EINVAL;
	const char *text = strstr(st->message, ": "); /* Past "X in version ... handled as a X". */
	buf_put_str(&why, text ? text + 2 : st->message);
	return status_set(st, -EINVAL,
			  "%s%s%s \"%s\" is invalid: patch: Invalid value: \"%.*s\": %s",
			  kind ? kind->kind : descriptor->short_name,
			  kind && *kind->group ? "." : "", kind ? kind->group : "",
			  name ? name : "", (int)(patch.len < 1000 ? patch.len : 1000),
			  (const char *)patch.data, buf_cstr(&why));
}

static int patch_bounded(enum patch_type type, const ProtobufCMessageDescriptor *descriptor,
			 const struct json_head *head, struct bytes packed, struct bytes patch,
			 struct arena *a, struct json_read *read, void *ret_message,
			 struct status *st)
{
	auto_with(buf_fini) struct buf text = { 0 };
	struct value *doc, *change, *out;

	int rc = value_parse(patch, a, &change, st);
	if (rc < 0)
		return status_prefix(st, "error decoding patch"), rc;
	if (json_put_packed(&text, descriptor, packed, head) < 0)
		return status_set(st, -EIO, "a stored object cannot be read");
	rc = value_parse(buf_bytes(&text), a, &doc, st);
	if (rc == 0)
		rc = apply(type, descriptor, doc, change, a, &out, st);
	if (rc < 0)
		return rc;
	buf_clear(&text);
	value_print(&text, out); /* No part occurs twice, so the budget bounds the text too. */
	rc = json_read_message(descriptor, buf_bytes(&text), a, read, ret_message, st);
	bool strict = read != NULL && read->validation == FIELDS_STRICT && read->n_complaints > 0;
	return rc == -EBADMSG && !strict ? invalid(descriptor, doc, patch, st) : rc;
}

int patch_object(enum patch_type type, const ProtobufCMessageDescriptor *descriptor,
		 const char *api_version, const char *kind, uint64_t revision, struct bytes packed,
		 struct bytes patch, struct arena *a, struct json_read *read, void *ret_message,
		 struct status *st)
{
	const struct json_head head = { api_version, kind, revision };
	size_t budget = a->budget_bytes;

	if (budget == 0)
		a->budget_bytes = a->used_bytes + PATCH_BUDGET_BYTES;
	int rc = patch_bounded(type, descriptor, &head, packed, patch, a, read, ret_message, st);
	a->budget_bytes = budget;
	return rc;
}
