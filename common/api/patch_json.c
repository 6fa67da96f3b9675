#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/patch.h"
#include "common/base/cleanup.h"

/* RFC 6902 on a private copy of the document. A copy operation could double the
 * document again and again: the arena's budget ends that, and no operation may
 * nest values deeper than JSON may be read. */

#define TOKENS_MAX JSON_DEPTH_MAX

struct pointer {
	const char *text;
	char *tokens[TOKENS_MAX];
	size_t n;
};

struct patcher {
	struct arena *arena;
	struct value *doc;
	struct status *st;
};

static int too_large(struct patcher *p)
{
	return status_set(p->st, -EFBIG, "the patch makes the object too large");
}

static int refuse(struct patcher *p, const char *op, const char *path, const char *why)
{
	return status_set(p->st, -EINVAL, "%s operation does not apply: %s: %.200s", op, why, path);
}

static int parse_pointer(struct patcher *p, const char *text, struct pointer *ret)
{
	size_t len = strlen(text);
	char *copy = arena_try_alloc(p->arena, len + 1), *to = copy;

	if (copy == NULL)
		return too_large(p);
	*ret = (struct pointer){ .text = text };
	if (len > 0 && *text != '/')
		return status_set(p->st, -EBADMSG, "JSON patch: \"%.200s\" is not a JSON pointer",
				  text);
	for (; *text != '\0'; text++) {
		if (*text == '/') {
			if (ret->n == TOKENS_MAX)
				return status_set(p->st, -EINVAL, "JSON patch: a path is too long");
			if (ret->n > 0)
				*to++ = '\0';
			ret->tokens[ret->n++] = to;
		} else if (*text == '~') {
			text++;
			if (*text != '0' && *text != '1')
				return status_set(p->st, -EBADMSG,
						  "JSON patch: \"%.200s\" is not a JSON pointer",
						  ret->text);
			*to++ = *text == '0' ? '~' : '/';
		} else {
			*to++ = *text;
		}
	}
	*to = '\0';
	return 0;
}

/* An index below limit; SIZE_MAX when the token is none. */
static size_t parse_index(const char *token, size_t limit)
{
	size_t v = 0;

	if (*token == '\0' || (*token == '0' && token[1] != '\0'))
		return SIZE_MAX;
	for (; *token != '\0'; token++) {
		if (*token < '0' || *token > '9' || v > limit)
			return SIZE_MAX;
		v = v * 10 + (size_t)(*token - '0');
	}
	return v < limit ? v : SIZE_MAX;
}

static struct value *child(const struct value *v, const char *token)
{
	if (v->type == VALUE_MAP)
		return value_get(v, token);
	size_t i = v->type == VALUE_LIST ? parse_index(token, v->n) : SIZE_MAX;
	return i == SIZE_MAX ? NULL : v->items[i];
}

/* The value that n tokens lead to, or NULL. */
static struct value *walk(struct patcher *p, const struct pointer *at, size_t n)
{
	struct value *v = p->doc;

	for (size_t i = 0; i < n && v != NULL; i++)
		v = child(v, at->tokens[i]);
	return v;
}

static int add(struct patcher *p, const char *op, const struct pointer *at, struct value *value)
{
	if (at->n + value_depth(value) > JSON_DEPTH_MAX)
		return refuse(p, op, at->text, "values are nested too deeply");
	if (at->n == 0) {
		p->doc = value;
		return 0;
	}
	struct value *parent = walk(p, at, at->n - 1);
	const char *last = at->tokens[at->n - 1];
	if (parent == NULL || parent->type < VALUE_LIST)
		return refuse(p, op, at->text, "doc is missing path");
	if (parent->type == VALUE_MAP)
		return value_set(parent, p->arena, last, value) ? 0 : too_large(p);
	size_t i = strcmp(last, "-") == 0 ? parent->n : parse_index(last, (size_t)parent->n + 1);
	if (i == SIZE_MAX)
		return refuse(p, op, at->text, "index is out of bounds");
	return value_insert(parent, p->arena, i, value) ? 0 : too_large(p);
}

static int replace(struct patcher *p, const struct pointer *at, struct value *value)
{
	if (at->n + value_depth(value) > JSON_DEPTH_MAX)
		return refuse(p, "replace", at->text, "values are nested too deeply");
	if (at->n == 0) {
		p->doc = value;
		return 0;
	}
	struct value *parent = walk(p, at, at->n - 1);
	const char *last = at->tokens[at->n - 1];
	if (parent == NULL || child(parent, last) == NULL)
		return refuse(p, "replace", at->text, "doc is missing key");
	if (parent->type == VALUE_LIST)
		parent->items[parse_index(last, parent->n)] = value;
	else if (!value_set(parent, p->arena, last, value))
		return too_large(p);
	return 0;
}

static int remove_at(struct patcher *p, const char *op, const struct pointer *at)
{
	struct value *parent = at->n > 0 ? walk(p, at, at->n - 1) : NULL;
	const char *last = at->n > 0 ? at->tokens[at->n - 1] : "";

	if (parent == NULL || child(parent, last) == NULL)
		return refuse(p, op, at->text, "unable to remove nonexistent key");
	if (parent->type == VALUE_LIST)
		value_remove_at(parent, parse_index(last, parent->n));
	else
		value_remove(parent, last);
	return 0;
}

static int test(struct patcher *p, const struct pointer *at, const struct value *want)
{
	const struct value *is = walk(p, at, at->n);
	const struct value null = { .type = VALUE_NULL };

	if (value_equal(is ? is : &null, want))
		return 0;
	return status_set(p->st, -EINVAL, "testing value %.200s failed: test failed", at->text);
}

/* copy and move: both take a value from somewhere and add it. */
static int transfer(struct patcher *p, const char *op, const struct value *operation,
		    const struct pointer *to)
{
	const char *from_text = value_get_string(operation, "from");
	struct pointer from;

	if (from_text == NULL)
		return status_set(p->st, -EBADMSG, "JSON patch: %s needs \"from\"", op);
	int rc = parse_pointer(p, from_text, &from);
	if (rc < 0)
		return rc;
	struct value *v = walk(p, &from, from.n);
	if (v == NULL)
		return refuse(p, op, from_text, "doc is missing from path");
	if (strcmp(op, "copy") == 0) {
		v = value_copy(v, p->arena);
		return v ? add(p, op, to, v) : too_large(p);
	}
	size_t len = strlen(from_text);
	if (strcmp(from_text, to->text) == 0)
		return 0;
	if (strncmp(from_text, to->text, len) == 0 && to->text[len] == '/')
		return refuse(p, op, to->text, "a value cannot move into itself");
	rc = remove_at(p, op, &from);
	return rc < 0 ? rc : add(p, op, to, v);
}

static int apply(struct patcher *p, const struct value *operation)
{
	const char *op = value_get_string(operation, "op");
	const char *path = value_get_string(operation, "path");
	struct value *value = value_get(operation, "value");
	struct pointer at;

	if (op == NULL || path == NULL)
		return status_set(p->st, -EBADMSG,
				  "JSON patch: an operation needs \"op\" and \"path\"");
	int rc = parse_pointer(p, path, &at);
	if (rc < 0)
		return rc;
	if (strcmp(op, "remove") == 0)
		return remove_at(p, op, &at);
	if (strcmp(op, "move") == 0 || strcmp(op, "copy") == 0)
		return transfer(p, op, operation, &at);
	if (strcmp(op, "add") != 0 && strcmp(op, "replace") != 0 && strcmp(op, "test") != 0)
		return status_set(p->st, -EBADMSG, "JSON patch: unexpected operation \"%.40s\"",
				  op);
	if (value == NULL)
		return status_set(p->st, -EBADMSG, "JSON patch: %s needs \"value\"", op);
	if (strcmp(op, "test") == 0)
		return test(p, &at, value);
	/* Later operations may change it in place; the patch stays as it is. */
	value = value_copy(value, p->arena);
	if (value == NULL)
		return too_large(p);
	return strcmp(op, "add") == 0 ? add(p, op, &at, value) : replace(p, &at, value);
}

int patch_json(const struct value *doc, const struct value *patch, struct arena *a,
	       struct value **ret, struct status *st)
{
	struct patcher p = { .arena = a, .doc = value_copy(doc, a), .st = st };

	if (p.doc == NULL)
		return too_large(&p);
	if (patch->type != VALUE_LIST)
		return status_set(st, -EBADMSG,
				  "JSON patch: the body must be a list of operations");
	if (patch->n > PATCH_OPERATIONS_MAX)
		return status_set(st, -EFBIG,
				  "The allowed maximum operations in a JSON patch is %d, got %u",
				  PATCH_OPERATIONS_MAX, patch->n);
	for (uint32_t i = 0; i < patch->n; i++) {
		int rc = apply(&p, patch->items[i]);

		if (rc < 0)
			return rc;
	}
	*ret = p.doc;
	return 0;
}
