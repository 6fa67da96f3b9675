/* The one door: every change of the state becomes a plan here.
 *
 * On the leader a request is admitted (defaults, validation, allocation) and
 * planned over the store and the plans still in flight (the overlay), so two
 * requests of one turn never build on the same old state. All plans of one turn
 * become one log entry; results come back when it is applied. On a follower
 * requests go to the leader under the master's own session, and are repeated
 * after a failover until answered, exactly once. An answer that a plan in flight
 * led to ("exists already", "nothing changed") waits until that plan is applied.
 * Bounds: 20,000 requests open (then 429), 4 entries in flight, 1 MiB per entry
 * unless one write alone is larger. Reads no clock but its source. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/source.h"
#include "common/base/status.h"
#include "controlplane/admission/admission.h"
#include "controlplane/store/intents.h"
#include "controlplane/store/store.h"
#include "controlplane/writes/log_link.h"
#include "controlplane/writes/rpc.h"
#include "proto/sampan/master.pb-c.h"

struct trust;
struct writes;

/* All of it must outlive the door. */
struct writes_config {
	struct store *store;
	const struct log_link *link;
	struct rpc *rpc;
	struct source *source;
	const struct cluster_config *cluster;
	const struct trust *trust; /* NULL: Secrets are not sealed (tests). */
	uint64_t self;             /* Member id. */
};

struct writes *writes_create(const struct writes_config *config);
/* Requests still open are forgotten without an answer. */
void writes_destroy(struct writes *w);

/* From consensus. An entry that cannot be applied (-EBADMSG) is a reason to exit. */
int writes_apply(struct writes *w, struct bytes entry, struct status *st);
/* The store was restored from a snapshot. */
void writes_restored(struct writes *w);
void writes_leading(struct writes *w);
void writes_lost_leadership(struct writes *w);
/* Any change of term or leader. */
void writes_leader_changed(struct writes *w);
/* Below the low-water mark writes are refused with 507. */
void writes_storage_low(struct writes *w, bool low);

/* Once per turn of the loop, last: decides what is queued, proposes, repeats, times out. */
void writes_turn(struct writes *w);
/* When to call again at the latest, in the source's monotonic time; 0: at once, UINT64_MAX: never.
 */
uint64_t writes_deadline_ns(const struct writes *w);
/* Nothing of this master's clients is open. */
bool writes_idle(const struct writes *w);
/* The cluster's time. */
int64_t writes_now_ns(const struct writes *w);

/* response is borrowed. Its object is the stored object in the clear, without resourceVersion
 * (of subresources too: the object itself); revision is its version. */
typedef void writes_done_cb(void *ctx, const void *response /* SampanMaster__WriteResponse */);

/* Take a client's request (any master); it is copied, session fields are filled in here. done is
 * called once, never inside the call; after timeout_ms at the latest, then with a 504 whose outcome
 * is unknown. */
void writes_submit(struct writes *w, const void *request /* SampanMaster__WriteRequest */,
		   int timeout_ms, writes_done_cb *done, void *ctx);

/* Take the intents of one reconcile (leader only): one plan, all or nothing, decided inside the
 * call. 1: in flight, done(ctx, rc) follows; 0: they change nothing; a negative errno: refused,
 * with the reason in st and the intent in *ret_refused. rc is that of struct plan_result, or
 * -ESHUTDOWN when leadership was lost first. */
typedef void writes_intents_cb(void *ctx, int rc);
int writes_submit_intents(struct writes *w, const struct intents *intents, writes_intents_cb *done,
			  void *ctx, const struct intent **ret_refused, struct status *st);

struct writes_stats {
	uint64_t entries, plans, refused, repeated, forwarded;
	size_t open, queued, entries_in_flight;
};

void writes_stats(const struct writes *w, struct writes_stats *ret_stats);
