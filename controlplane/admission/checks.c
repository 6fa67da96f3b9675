#include "controlplane/admission/checks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/api/json.h"
#include "common/api/kinds.h"
#include "common/base/buf.h"
#include "common/base/cleanup.h"

static void print_path(struct buf *to, const struct field *f)
{
	if (f == NULL)
		return;
	print_path(to, f->parent);
	if (f->key != NULL)
		buf_printf(to, "[%s]", f->key);
	else if (f->name == NULL)
		buf_printf(to, "[%" PRId64 "]", f->index);
	else
		buf_printf(to, "%s%s", f->parent ? "." : "", f->name);
}

char *field_print(struct arena *arena, const struct field *f)
{
	auto_with(buf_fini) struct buf path = { 0 };

	print_path(&path, f);
	return arena_strdup(arena, buf_cstr(&path));
}

char *quoted(struct arena *arena, const char *s)
{
	auto_with(buf_fini) struct buf to = { 0 };

	buf_put_byte(&to, '"');
	for (; s != NULL && *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			buf_printf(&to, "\\%c", c);
		else if (c == '\n')
			buf_put_str(&to, "\\n");
		else if (c == '\t')
			buf_put_str(&to, "\\t");
		else if (c == '\r')
			buf_put_str(&to, "\\r");
		else if (c < 0x20 || c == 0x7f)
			buf_printf(&to, "\\x%02x", c);
		else
			buf_put_byte(&to, c);
	}
	buf_put_byte(&to, '"');
	return arena_strdup(arena, buf_cstr(&to));
}

static bool add(struct checks *c, const char *type, const struct field *f, const char *message)
{
	if (++c->n > CHECKS_MAX)
		return false;

	char *path = field_print(c->arena, f);

	status_cause(c->st, type, path, "%s", message);
	if (c->first == NULL)
		c->first = c->joined = arena_printf(c->arena, "%s: %s", path, message);
	else
		c->joined = arena_printf(c->arena, "%s, %s: %s", c->joined, path, message);
	return false;
}

/* "TITLE: detail", or "TITLE" when there is no detail. */
__attribute__((format(printf, 3, 0))) static char *with_detail(struct checks *c, const char *title,
							       const char *fmt, va_list args)
{
	char *detail = arena_vprintf(c->arena, fmt, args);

	return detail[0] ? arena_printf(c->arena, "%s: %s", title, detail)
			 : arena_strdup(c->arena, title);
}

bool check_required(struct checks *c, const struct field *f, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	char *message = with_detail(c, "Required value", fmt, args);
	va_end(args);
	return add(c, "FieldValueRequired", f, message);
}

__attribute__((format(printf, 4, 0))) static bool
invalid(struct checks *c, const struct field *f, const char *text, const char *fmt, va_list args)
{
	char *title = arena_printf(c->arena, "Invalid value: %s", text);

	return add(c, "FieldValueInvalid", f, with_detail(c, title, fmt, args));
}

bool check_invalid(struct checks *c, const struct field *f, const char *value, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	invalid(c, f, quoted(c->arena, value), fmt, args);
	va_end(args);
	return false;
}

bool check_invalid_int(struct checks *c, const struct field *f, int64_t value, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	invalid(c, f, arena_printf(c->arena, "%" PRId64, value), fmt, args);
	va_end(args);
	return false;
}

bool check_invalid_text(struct checks *c, const struct field *f, const char *text, const char *fmt,
			...)
{
	va_list args;

	va_start(args, fmt);
	invalid(c, f, text, fmt, args);
	va_end(args);
	return false;
}

bool check_invalid_message(struct checks *c, const struct field *f, const ProtobufCMessage *value,
			   const char *fmt, ...)
{
	auto_with(buf_fini) struct buf json = { 0 };
	va_list args;

	if (value != NULL)
		json_put_message(&json, value, NULL);
	va_start(args, fmt);
	invalid(c, f, value ? buf_cstr(&json) : "null", fmt, args);
	va_end(args);
	return false;
}

bool check_unsupported(struct checks *c, const struct field *f, const char *value,
		       const char *const *supported)
{
	char *message = arena_printf(c->arena, "Unsupported value: %s", quoted(c->arena, value));

	for (size_t i = 0; supported[i] != NULL; i++)
		message = arena_printf(
			c->arena, "%s%s%s", message,
			i ? ", " : ": supported values: ", quoted(c->arena, supported[i]));
	return add(c, "FieldValueNotSupported", f, message);
}

bool check_duplicate_text(struct checks *c, const struct field *f, const char *text)
{
	return add(c, "FieldValueDuplicate", f,
		   arena_printf(c->arena, "Duplicate value: %s", text));
}

bool check_duplicate(struct checks *c, const struct field *f, const char *value)
{
	return check_duplicate_text(c, f, quoted(c->arena, value));
}

bool check_not_found(struct checks *c, const struct field *f, const char *value)
{
	return add(c, "FieldValueNotFound", f,
		   arena_printf(c->arena, "Not found: %s", quoted(c->arena, value)));
}

bool check_forbidden(struct checks *c, const struct field *f, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	char *message = with_detail(c, "Forbidden", fmt, args);
	va_end(args);
	return add(c, "FieldValueForbidden", f, message);
}

bool check_too_long(struct checks *c, const struct field *f, size_t bytes_max)
{
	return add(c, "FieldValueTooLong", f,
		   arena_printf(c->arena, "Too long: may not be more than %zu bytes", bytes_max));
}

bool check_too_many(struct checks *c, const struct field *f, size_t n, size_t items_max)
{
	return add(
		c, "FieldValueTooMany", f,
		arena_printf(c->arena, "Too many: %zu: must have at most %zu items", n, items_max));
}

bool check_one_of(struct checks *c, const struct field *f, const char *value,
		  const char *const *supported)
{
	for (size_t i = 0; supported[i] != NULL; i++)
		if (value != NULL && strcmp(value, supported[i]) == 0)
			return true;
	return check_unsupported(c, f, value, supported);
}

bool check_not_negative(struct checks *c, const struct field *f, int64_t value)
{
	if (value >= 0)
		return true;
	return check_invalid_int(c, f, value, "must be greater than or equal to 0");
}

int checks_end(struct checks *c, const struct kind *kind, const char *name)
{
	if (c->n == 0)
		return 0;

	const char *dot = kind->group[0] ? "." : "";

	status_set(c->st, -EINVAL,
		   c->n == 1 ? "%s%s%s %s is invalid: %s%s" : "%s%s%s %s is invalid: [%s%s]",
		   kind->kind, dot, kind->group, quoted(c->arena, name), c->joined,
		   c->n > CHECKS_MAX ? ", and more" : "");
	status_details(c->st, kind->group, kind->kind, name);
	return -EINVAL;
}
