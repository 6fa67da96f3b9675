/* A blocking client of the API, for tools that do one thing after the other.
 *
 * It owns a loop of its own; a call runs it until the answer is there or the
 * time is out. One thread. */
#pragma once

#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/status.h"
#include "sdk/c/kubeconfig.h"

struct client;

int client_open(const struct kubeconfig *k, struct client **ret_client, struct status *st);
/* For joining: trust the server whose chain holds a certificate with this SHA-256. */
int client_open_pinned(const char *host, int port, const uint8_t ca_sha256[32],
		       struct client **ret_client, struct status *st);
void client_close(struct client *c);

struct client_request {
	const char *method, *path;
	const char *content_type, *accept; /* NULL: JSON. */
	const char *bearer;                /* NULL: as the kubeconfig has it. */
	struct bytes body;
	unsigned timeout_ms; /* 0: 30,000 */
};

/* 0 with the answer's code and body when there was an answer, whatever its code; otherwise why there
 * was none. */
int client_call(struct client *c, const struct client_request *request, int *ret_code,
		struct buf *ret_body, struct status *st);
/* The same, where any code from 300 on is a failure told in the server's words. ret_body may be NULL. */
int client_must(struct client *c, const struct client_request *request, struct buf *ret_body,
		struct status *st);
