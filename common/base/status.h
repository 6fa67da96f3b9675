/* Why something failed, in the words a user will read.
 *
 * Functions return 0 or a negative errno; where a person will read the reason
 * they also take a struct status and fill it with one sentence that names the
 * object, the field and the fix. It carries Kubernetes' reason, HTTP code and
 * causes, so that an API reply is made from it without guessing. Zero is empty
 * and means success. A NULL status is accepted everywhere and ignored. The one
 * who holds it calls status_fini(). */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct status_cause {
	char *type;    /* FieldValueRequired, FieldValueInvalid, ... */
	char *field;   /* spec.containers[0].name */
	char *message; /* What follows "field: ". */
};

struct status {
	int rc;             /* 0 or a negative errno. */
	int http_code;      /* Of the reply, e.g. 422. */
	const char *reason; /* Kubernetes' reason, a constant, e.g. "Invalid". */
	char *message;
	/* Status.details; each may be NULL. */
	char *name, *group, *kind, *uid;
	struct status_cause *causes;
	size_t n_causes, cap_causes;
	int retry_after_s; /* 0: none. */
};

void status_fini(struct status *st);
/* Record a failure; the errno gives reason and code (see status.c). Returns rc. */
int status_set(struct status *st, int rc, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int status_vset(struct status *st, int rc, const char *fmt, va_list args)
	__attribute__((format(printf, 3, 0)));
/* Put "prefix: " before the message, as an error travels up. Returns st->rc. */
int status_prefix(struct status *st, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Overrules the code and reason that the errno gave. reason must be a constant. Returns st->rc. */
int status_http(struct status *st, int http_code, const char *reason);
/* One field error; the caller sets the summary with status_set() afterwards. */
void status_cause(struct status *st, const char *type, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Fill details; NULL leaves a member as it is. */
void status_details(struct status *st, const char *group, const char *kind, const char *name);
void status_move(struct status *to, struct status *from);

/* 404 for ENOENT and so on; 500 for what the table does not know. */
int http_code_of_errno(int rc);
const char *reason_of_errno(int rc);
