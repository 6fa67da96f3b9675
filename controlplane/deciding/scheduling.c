#include "controlplane/deciding/scheduling.h"

#include <errno.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "controlplane/claims/scheduling.h"
#include "controlplane/scheduler/scheduler.h"

/* Pods decided in one turn. */
#define DECISIONS_MAX 1024
#define RETRY_NS (10ull * 1000000)

struct scheduling {
	const struct store *store;
	struct writes *writes;
	struct source *source;
	struct scheduler *scheduler; /* NULL while not leading. */
	uint64_t epoch;
	bool changed;      /* Since the last time next() had nothing. */
	uint64_t retry_ns; /* The door was full; 0: it was not. */
};

struct decided {
	struct scheduling *scheduling;
	uint64_t epoch;
	char *uid;
};

struct scheduling *scheduling_create(const struct store *store, struct writes *writes,
				     struct source *source)
{
	struct scheduling *s = xcalloc(1, sizeof(*s));

	s->store = store;
	s->writes = writes;
	s->source = source;
	return s;
}

void scheduling_stop(struct scheduling *s)
{
	scheduler_destroy(s->scheduler);
	s->scheduler = NULL;
	s->changed = false;
	s->retry_ns = 0;
	s->epoch++;
}

void scheduling_destroy(struct scheduling *s)
{
	if (s == NULL)
		return;
	scheduling_stop(s);
	free(s);
}

void scheduling_lead(struct scheduling *s)
{
	scheduling_stop(s);
	s->scheduler = scheduler_create(
		&(struct scheduler_config){ .seed = source_random_u64(s->source),
					    .volumes = &volume_rules });
	scheduler_seed(s->scheduler, s->store, writes_now_ns(s->writes));
	s->changed = true;
}

void scheduling_on_change(struct scheduling *s, const struct object *old, const struct object *new)
{
	if (s->scheduler == NULL)
		return;
	scheduler_on_change(s->scheduler, old, new, writes_now_ns(s->writes));
	s->changed = true;
}

static void decided_free(struct decided *d)
{
	free(d->uid);
	free(d);
}

static void on_plan(void *ctx, int rc)
{
	struct decided *d = ctx;
	struct scheduling *s = d->scheduling;

	if (d->epoch == s->epoch && s->scheduler != NULL) {
		if (rc < 0)
			scheduler_refused(s->scheduler, d->uid, writes_now_ns(s->writes));
		s->changed = true;
	}
	decided_free(d);
}

/* False when the door is full. */
static bool submit(struct scheduling *s, const struct object *pod, const struct intents *intents)
{
	struct decided *d = xcalloc(1, sizeof(*d));
	const struct intent *refused;

	*d = (struct decided){
		.scheduling = s,
		.epoch = s->epoch,
		.uid = xstrdup(pod->facts.uid),
	};

	int rc = writes_submit_intents(s->writes, intents, on_plan, d, &refused, NULL);

	if (rc > 0)
		return true;
	if (rc < 0)
		scheduler_refused(s->scheduler, d->uid, writes_now_ns(s->writes));
	decided_free(d);
	return rc != -EAGAIN;
}

void scheduling_turn(struct scheduling *s, struct view *view, uint64_t until_ns)
{
	uint64_t now = s->source->monotonic_ns(s->source);
	struct intents intents;
	const struct object *pod;

	if (s->scheduler == NULL || s->retry_ns > now)
		return;
	s->retry_ns = 0;
	for (size_t i = 0; i < DECISIONS_MAX && s->source->monotonic_ns(s->source) < until_ns; i++) {
		intents_init(&intents, view->arena);
		if (!scheduler_next(s->scheduler, view, &intents, &pod)) {
			s->changed = false;
			return;
		}
		if (!submit(s, pod, &intents)) {
			s->retry_ns = now + RETRY_NS;
			return;
		}
	}
}

uint64_t scheduling_deadline_ns(const struct scheduling *s)
{
	int64_t again_ns, in_ns;

	if (s->scheduler == NULL)
		return UINT64_MAX;
	if (s->retry_ns != 0)
		return s->retry_ns;
	if (s->changed)
		return 0;
	again_ns = scheduler_again_ns(s->scheduler);
	if (again_ns == 0)
		return UINT64_MAX;
	in_ns = again_ns - writes_now_ns(s->writes);
	return s->source->monotonic_ns(s->source) + (in_ns > 0 ? (uint64_t)in_ns : 0);
}
