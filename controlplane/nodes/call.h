/* One request of a node's program, from its arrival to its one answer.
 *
 * A call may be parked: it then stands in a list of its holder until something
 * changes or its deadline passes. Answering frees it. When the connection is
 * lost the call is taken out of its list and freed at once; who keeps a pointer
 * to it elsewhere watches it. Loop thread only. */
#pragma once

#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/list.h"
#include "common/base/status.h"
#include "proto/sampan/node.pb-c.h"

struct nodes;
struct sp_request;

/* For one holder that answers later: told when the call went away without it. */
struct call_watch {
	void (*lost)(struct call_watch *watch);
};

struct call {
	struct list link; /* Where it is parked; an initialised link when it is not. */
	struct nodes *nodes;
	char *node; /* Who calls: the name in the certificate; in the arena. */
	struct arena arena;
	SampanNode__Request *request; /* In the arena. */
	struct sp_request *transport;
	uint64_t deadline_ms; /* Loop time at which a parked call is answered anyway. */
	size_t *parked_count; /* Counted down when the call ends; may be NULL. */
	struct call_watch *watch;
};

void call_watch(struct call *c, struct call_watch *watch);
/* Send the reply and free the call. */
void call_reply(struct call *c, const SampanNode__Reply *reply);
/* The same for a failure. */
void call_fail(struct call *c, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* -ESTALE with the leader, as far as it is known. */
void call_not_leader(struct call *c);
