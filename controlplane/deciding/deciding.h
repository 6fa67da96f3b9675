/* What drives the controllers and the scheduler on the leader.
 *
 * A change marks keys dirty; once per turn of the loop each dirty key is
 * reconciled over the store as it is, and its intents become one plan. A key
 * whose plan is in flight waits for it. A refusal is told as an event and to
 * the controller (refused()), and backs the key off (50 ms doubling to 5 minutes,
 * or until the object of that name is edited or a quota of its namespace changes);
 * a plan that lost a race is tried again soon. A key whose look takes long rests afterwards. Followers keep nothing: leadership begins by marking every key. It
 * never runs when nothing is dirty and no time has come. Loop thread only. */
#pragma once

#include "controlplane/controllers/controller.h"
#include "controlplane/deciding/scheduling.h"
#include "controlplane/writes/writes.h"

struct deciding;

struct deciding_config {
	struct store *store;
	struct writes *writes;
	struct source *source;
	const struct controller *const *controllers; /* Ended by NULL. */
	bool scheduler; /* Without it pods wait for somebody else to bind them. */
	/* For views; may be NULL. */
	int64_t (*node_silence_ms)(void *ctx, const char *node);
	void *node_silence_ctx;
	const struct pod_usage *(*pod_usage)(void *ctx, const struct pod_facts *pod);
	void *pod_usage_ctx;
	struct bytes (*open_secret)(void *ctx, const struct object *o, struct arena *a);
	void *open_secret_ctx;
	const struct zones *zones;
};

struct deciding *deciding_create(const struct deciding_config *config);
void deciding_destroy(struct deciding *d);

/* From here on changes are followed and keys reconciled, until stop. */
void deciding_lead(struct deciding *d);
void deciding_stop(struct deciding *d);
/* Mark a key of the controller of that name: something happened that is not in the state. */
void deciding_mark(struct deciding *d, const char *controller, const char *namespace,
		   const char *name);

/* Once per turn of the loop, before writes_turn(). */
void deciding_turn(struct deciding *d);
/* When to call again at the latest, in the source's monotonic time; 0: at once, UINT64_MAX: never.
 */
uint64_t deciding_deadline_ns(const struct deciding *d);

struct deciding_stats {
	uint64_t reconciles, plans, refused;
	size_t dirty, in_flight;
};

void deciding_stats(const struct deciding *d, struct deciding_stats *ret_stats);
