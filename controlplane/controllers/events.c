/* Events are kept for an hour after they were last seen. */
#include <string.h>

#include "controlplane/controllers/common.h"

#define EVENT_LIFE_NS (3600 * NS_PER_S)
/* Looked at this often, so that many go in one plan. */
#define SWEEP_NS (60 * NS_PER_S)

static int64_t last_seen_ns(struct view *v, const struct object *o)
{
	/* Most expire by their creation; only a repeated one has to be read. */
	if (o->facts.created_ns + EVENT_LIFE_NS > v->now_ns)
		return o->facts.created_ns;

	const CoreV1__Event *e = view_message(v, o);
	int64_t last_ns = time_ns_of(e->lasttimestamp);

	if (e->series != NULL && e->series->lastobservedtime != NULL)
		last_ns = e->series->lastobservedtime->seconds * NS_PER_S;
	return last_ns > o->facts.created_ns ? last_ns : o->facts.created_ns;
}

static void reconcile(struct view *v, struct key key, struct intents *intents)
{
	size_t n;
	const struct object *const *events = view_list(v, "events", NULL, &n);

	for (size_t i = 0; i < n; i++) {
		if (last_seen_ns(v, events[i]) + EVENT_LIFE_NS > v->now_ns)
			continue;
		if (intents->count >= BATCH_MAX)
			break;
		intend_delete(intents, events[i], -1, NULL);
	}
	intend_again(intents, v->now_ns + SWEEP_NS);
}

/* Time alone wakes this one. */
static void on_change(const struct view *v, const struct object *old, const struct object *new,
		      struct keys *keys)
{
}

static void seed(const struct view *v, struct keys *keys)
{
	keys_add(keys, "", "events");
}

const struct controller controller_events = {
	.name = "event-expiry-controller",
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
};
