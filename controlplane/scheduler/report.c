#include "controlplane/scheduler/report.h"

#include <stdlib.h>
#include <string.h>

#include "common/api/make.h"

static int compare_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

char *explain_misfits(struct arena *arena, size_t nodes, const struct request *r,
		      const size_t misfits[MISFIT_COUNT])
{
	char *parts[MISFIT_COUNT], *text;
	size_t n = 0;

	if (nodes == 0)
		return arena_strdup(arena, "no nodes available to schedule pods");
	for (int m = FITS + 1; m < MISFIT_COUNT; m++) {
		if (misfits[m] == 0)
			continue;
		parts[n++] = m == MISFIT_EXTENDED ? arena_printf(arena, "%zu Insufficient %s",
								 misfits[m], r->extended)
						  : arena_printf(arena, "%zu %s", misfits[m],
								 misfit_text((enum misfit)m));
	}
	qsort(parts, n, sizeof(*parts), compare_text);
	text = arena_printf(arena, "0/%zu nodes are available:", nodes);
	for (size_t i = 0; i < n; i++)
		text = arena_printf(arena, "%s%s %s", text, i ? "," : "", parts[i]);
	return arena_printf(arena, "%s.", text);
}

void report_unschedulable(struct view *view, struct intents *intents, const struct object *pod,
			  const char *why)
{
	CoreV1__Pod *message = object_message(pod, intents->arena);
	CoreV1__PodStatus *status = message->status;
	CoreV1__PodCondition *c = NULL;

	if (status == NULL)
		status = message->status =
			make(intents->arena, CoreV1__PodStatus, core_v1__pod_status);
	for (size_t i = 0; i < status->n_conditions; i++)
		if (text_is(status->conditions[i]->type, "PodScheduled"))
			c = status->conditions[i];
	if (c != NULL && text_is(c->status, "False") && text_is(c->reason, "Unschedulable") &&
	    text_is(c->message, why))
		return;
	if (c == NULL) {
		c = make(intents->arena, CoreV1__PodCondition, core_v1__pod_condition);
		c->type = arena_strdup(intents->arena, "PodScheduled");
		make_append(intents->arena, status, conditions, c);
	}
	if (!text_is(c->status, "False"))
		c->lasttransitiontime = make_time(intents->arena, view->now_ns);
	c->status = arena_strdup(intents->arena, "False");
	c->reason = arena_strdup(intents->arena, "Unschedulable");
	c->message = arena_strdup(intents->arena, why);
	intend_update_status(intents, pod, &message->base);
	intend_event(intents, SCHEDULER_NAME, pod, "Warning", "FailedScheduling", "%s", why);
}
