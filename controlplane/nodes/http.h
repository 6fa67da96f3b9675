/* Helpers of this folder's HTTP handlers. */
#pragma once

struct exchange;

/* Answer with a Kubernetes Status. */
void http_status(struct exchange *x, int code, const char *reason, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
