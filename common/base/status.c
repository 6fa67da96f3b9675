#include "common/base/status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"

/* clang-format off */
static const struct {
	int error;
	int http_code;
	const char *reason;
} table[] = {
	{ ENOENT,    404, "NotFound" },
	{ EEXIST,    409, "AlreadyExists" },
	{ ESTALE,    409, "Conflict" },
	{ EINVAL,    422, "Invalid" },
	{ EBADMSG,   400, "BadRequest" },
	{ EACCES,    401, "Unauthorized" },
	{ EPERM,     403, "Forbidden" },
	{ EFBIG,     413, "RequestEntityTooLarge" },
	{ ENOTSUP,   405, "MethodNotAllowed" },
	{ EAGAIN,    429, "TooManyRequests" },
	{ ETIMEDOUT, 504, "Timeout" },
	{ ESHUTDOWN, 503, "ServiceUnavailable" },
	{ ENOSPC,    507, "InsufficientStorage" },
	{ EKEYEXPIRED, 410, "Expired" },
	{ EPROTONOSUPPORT, 415, "UnsupportedMediaType" },
};
/* clang-format on */

int http_code_of_errno(int rc)
{
	for (size_t i = 0; i < array_size(table); i++)
		if (table[i].error == -rc)
			return table[i].http_code;
	return rc == 0 ? 200 : 500;
}

const char *reason_of_errno(int rc)
{
	for (size_t i = 0; i < array_size(table); i++)
		if (table[i].error == -rc)
			return table[i].reason;
	return rc == 0 ? "" : "InternalError";
}

void status_fini(struct status *st)
{
	if (st == NULL)
		return;
	free(st->message);
	free(st->name);
	free(st->group);
	free(st->kind);
	free(st->uid);
	for (size_t i = 0; i < st->n_causes; i++) {
		free(st->causes[i].type);
		free(st->causes[i].field);
		free(st->causes[i].message);
	}
	free(st->causes);
	*st = (struct status){ 0 };
}

int status_vset(struct status *st, int rc, const char *fmt, va_list args)
{
	if (st == NULL)
		return rc;

	char *message;
	if (vasprintf(&message, fmt, args) < 0)
		abort();
	free(st->message);
	st->message = message;
	st->rc = rc;
	st->http_code = http_code_of_errno(rc);
	st->reason = reason_of_errno(rc);
	return rc;
}

int status_set(struct status *st, int rc, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	status_vset(st, rc, fmt, args);
	va_end(args);
	return rc;
}

int status_prefix(struct status *st, const char *fmt, ...)
{
	if (st == NULL)
		return 0;

	autofree char *prefix = NULL;
	va_list args;

	va_start(args, fmt);
	int n = vasprintf(&prefix, fmt, args);
	va_end(args);
	if (n < 0)
		abort();
	char *message = xasprintf("%s: %s", prefix, st->message ? st->message : "");
	free(st->message);
	st->message = message;
	return st->rc;
}

int status_http(struct status *st, int http_code, const char *reason)
{
	if (st == NULL)
		return 0;
	st->http_code = http_code;
	st->reason = reason;
	return st->rc;
}

void status_cause(struct status *st, const char *type, const char *field, const char *fmt, ...)
{
	if (st == NULL)
		return;

	va_list args;
	char *message;

	va_start(args, fmt);
	int n = vasprintf(&message, fmt, args);
	va_end(args);
	if (n < 0)
		abort();
	array_grow(st->causes, st->n_causes, st->cap_causes);
	st->causes[st->n_causes++] = (struct status_cause){
		.type = xstrdup(type),
		.field = xstrdup(field),
		.message = message,
	};
}

static void replace(char **slot, const char *with)
{
	if (with == NULL)
		return;
	char *copy = xstrdup(with);
	free(*slot);
	*slot = copy;
}

void status_details(struct status *st, const char *group, const char *kind, const char *name)
{
	if (st == NULL)
		return;
	replace(&st->group, group);
	replace(&st->kind, kind);
	replace(&st->name, name);
}

void status_move(struct status *to, struct status *from)
{
	if (to != NULL) {
		status_fini(to);
		*to = *from;
		*from = (struct status){ 0 };
	} else {
		status_fini(from);
	}
}
