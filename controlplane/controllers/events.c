/* Events are kept for an hour after they were last seen, and the newest EVENTS_MAX of them at most: a pod
 * is two events and more, and they would outweigh the pods. */
#include <stdlib.h>
#include <string.h>

#include "controlplane/controllers/common.h"
#include "controlplane/controllers/events.h"

#define EVENT_LIFE_NS (3600 * NS_PER_S)
/* Looked at this often, so that many go in one plan. */
#define SWEEP_NS (60 * NS_PER_S)

static const char key_name[] = "events";

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

static int by_revision(const void *a, const void *b)
{
	const struct object *const *x = a, *const *y = b;

	return (*x)->revision < (*y)->revision ? -1 : (*x)->revision > (*y)->revision;
}

/* Those last written longest ago go first. */
static void delete_surplus(struct view *v, const struct object *const *events, size_t n,
			   struct intents *intents)
{
	const struct object **sorted = arena_array(v->arena, const struct object *, n);

	memcpy(sorted, events, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), by_revision);
	for (size_t i = 0; i < n - EVENTS_MAX && intents->count < BATCH_MAX; i++)
		intend_delete(intents, sorted[i], -1, NULL);
}

static void delete_expired(struct view *v, const struct object *const *events, size_t n,
			   struct intents *intents)
{
	for (size_t i = 0; i < n && intents->count < BATCH_MAX; i++)
		if (last_seen_ns(v, events[i]) + EVENT_LIFE_NS <= v->now_ns)
			intend_delete(intents, events[i], -1, NULL);
}

static void reconcile(struct view *v, struct key key, struct intents *intents)
{
	size_t n;
	const struct object *const *events = view_list(v, "events", NULL, &n);

	if (n > EVENTS_MAX)
		delete_surplus(v, events, n, intents);
	else
		delete_expired(v, events, n, intents);
	/* A full plan means that more are waiting. */
	intend_again(intents, intents->count >= BATCH_MAX ? v->now_ns : v->now_ns + SWEEP_NS);
}

/* Otherwise time alone wakes this one. */
static void on_change(const struct view *v, const struct object *old, const struct object *new,
		      struct keys *keys)
{
	if (old == NULL && strcmp(new->kind->resource, "events") == 0 &&
	    store_count(v->store, new->kind) >= EVENTS_MAX + BATCH_MAX)
		keys_add(keys, "", key_name);
}

static void seed(const struct view *v, struct keys *keys)
{
	keys_add(keys, "", key_name);
}

const struct controller controller_events = {
	.name = "event-expiry-controller",
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
};
