/* The one door: every change of the state becomes a plan here.
 *
 * On the leader a request is admitted (defaults, validation, allocation) and
 * planned over the store and the plans still in flight (the overlay), so two
 * requests of one turn never build on the same old state. All plans of one turn
 * become one Raft entry; results come back when it is applied. On a follower
 * requests go to the leader with the master's own session and sequence, and are
 * repeated after a failover until answered, exactly once. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/status.h"
#include "controlplane/store/intents.h"
#include "controlplane/store/store.h"

struct writes;
struct consensus;

/* sampan.master.v1 messages, generated. */
struct Sampan__Master__V1__WriteRequest;

typedef void writes_done_cb(void *ctx, const void *write_response /* WriteResponse, borrowed */);

/* Take a client's request (any master). done is called once, never inside the call; after
 * timeout_ms at the latest, then with a 504 whose outcome is unknown. */
void writes_submit(struct writes *w, const void *write_request /* WriteRequest, copied */,
		   int timeout_ms, writes_done_cb *done, void *ctx);

/* Take the intents of one reconcile (leader only): one plan, all or nothing. done(ctx, st): st is
 * NULL on success; borrowed. */
typedef void writes_intents_cb(void *ctx, const struct status *st);
void writes_submit_intents(struct writes *w, const struct intents *intents,
			   writes_intents_cb *done, void *ctx);
