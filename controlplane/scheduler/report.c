#include "controlplane/scheduler/report.h"

#include <stdlib.h>
#include <string.h>

#include "common/api/make.h"

/* --- Explanations ------------------------------------------------------------------- */

struct parts {
	struct arena *arena;
	char **texts;
	size_t n, cap;
};

static void part(struct parts *p, size_t count, const char *what, const char *name)
{
	if (count == 0)
		return;
	if (p->n == p->cap) {
		size_t cap = p->cap ? p->cap * 2 : 16;
		char **grown = arena_array(p->arena, char *, cap);

		if (p->n > 0)
			memcpy(grown, p->texts, p->n * sizeof(*grown));
		p->texts = grown;
		p->cap = cap;
	}
	p->texts[p->n++] = arena_printf(p->arena, "%zu %s%s", count, what, name);
}

static void lacking_parts(struct parts *p, const struct wish *w, const struct findings *f)
{
	const struct class *class = w->class;

	part(p, f->lacking[LACKS_PODS], "Too many pods", "");
	part(p, f->lacking[LACKS_CPU], "Insufficient cpu", "");
	part(p, f->lacking[LACKS_MEMORY], "Insufficient memory", "");
	part(p, f->lacking[LACKS_STORAGE], "Insufficient ephemeral-storage", "");
	for (unsigned i = 0; i < class->n_extended && LACKS_EXTENDED + i < LACKS_MAX; i++)
		part(p, f->lacking[LACKS_EXTENDED + i], "Insufficient ",
		     class->extended[i].resource->name);
	part(p, f->lacking[LACKS_MAX], "Insufficient other resources", "");
}

static void finding_parts(struct parts *p, const struct wish *w, const struct findings *f)
{
	for (int m = FITS + 1; m < MISFIT_COUNT; m++)
		if (misfit_text((enum misfit)m) != NULL)
			part(p, f->misfits[m], misfit_text((enum misfit)m), "");
	for (size_t i = 0; i < f->n_volume_whys; i++)
		part(p, f->n_volume_why[i], f->volume_whys[i], "");
	lacking_parts(p, w, f);
}

static int compare_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted as texts, so the order says nothing. */
static const char *sentence(struct parts *p, size_t nodes)
{
	auto_with(buf_fini) struct buf text = { 0 };

	buf_printf(&text, "0/%zu nodes are available", nodes);
	if (p->n > 1)
		qsort(p->texts, p->n, sizeof(*p->texts), compare_text);
	for (size_t i = 0; i < p->n; i++)
		buf_printf(&text, "%s %s", i == 0 ? ":" : ",", p->texts[i]);
	buf_put_byte(&text, '.');
	return arena_strdup(p->arena, buf_cstr(&text));
}

const char *explain(struct arena *arena, size_t nodes, const struct wish *w,
		    const struct findings *f)
{
	struct parts p = { .arena = arena };

	if (nodes == 0)
		return "no nodes available to schedule pods";
	if (f->why != NULL)
		return arena_printf(arena, "0/%zu nodes are available: %s.", nodes, f->why);
	finding_parts(&p, w, f);
	return sentence(&p, nodes);
}

const char *explain_preemption(struct arena *arena, size_t nodes, const struct wish *w,
			       const struct findings *f, size_t no_victims, size_t helpless)
{
	struct parts p = { .arena = arena };

	finding_parts(&p, w, f);
	part(&p, no_victims, "No preemption victims found for incoming pod", "");
	part(&p, helpless, "Preemption is not helpful for scheduling", "");
	return sentence(&p, nodes);
}

/* --- Conditions and events ------------------------------------------------------------ */

static CoreV1__PodStatus *status_of(struct arena *a, CoreV1__Pod *pod)
{
	if (pod->status == NULL)
		pod->status = make(a, CoreV1__PodStatus, core_v1__pod_status);
	return pod->status;
}

static CoreV1__PodCondition *condition(const CoreV1__PodStatus *status, const char *type)
{
	for (size_t i = 0; i < status->n_conditions; i++)
		if (text_is(status->conditions[i]->type, type))
			return status->conditions[i];
	return NULL;
}

static void set_condition(struct arena *a, CoreV1__PodStatus *status, const char *type,
			  const char *value, const char *reason, const char *message,
			  int64_t now_ns)
{
	CoreV1__PodCondition *c = condition(status, type);

	if (c == NULL) {
		c = make(a, CoreV1__PodCondition, core_v1__pod_condition);
		c->type = arena_strdup(a, type);
		make_append(a, status, conditions, c);
	}
	if (!text_is(c->status, value))
		c->lasttransitiontime = make_time(a, now_ns);
	c->status = arena_strdup(a, value);
	c->reason = arena_strdup(a, reason);
	c->message = arena_strdup(a, message);
}

void report_unschedulable(struct view *view, struct intents *intents, const struct object *pod,
			  const char *why, const char *nominated)
{
	struct arena *a = intents->arena;
	CoreV1__Pod *message = object_message(pod, a);
	CoreV1__PodStatus *status = status_of(a, message);
	const CoreV1__PodCondition *c = condition(status, "PodScheduled");

	if (c != NULL && text_is(c->status, "False") && text_is(c->reason, "Unschedulable") &&
	    text_is(c->message, why) && text_is(status->nominatednodename, nominated))
		return;
	set_condition(a, status, "PodScheduled", "False", "Unschedulable", why, view->now_ns);
	status->nominatednodename = nominated[0] != '\0' ? arena_strdup(a, nominated) : NULL;
	intend_update_status(intents, pod, &message->base);
	intend_event(intents, pod->facts.pod->scheduler_name, pod, "Warning", "FailedScheduling",
		     "%s", why);
}

void report_cleared(struct intents *intents, const struct object *pod)
{
	CoreV1__Pod *message = object_message(pod, intents->arena);

	if (message->status == NULL || text_empty(message->status->nominatednodename))
		return;
	message->status->nominatednodename = NULL;
	intend_update_status(intents, pod, &message->base);
}

void report_victim(struct view *view, struct intents *intents, const struct object *victim,
		   const struct object *by, const struct node *node)
{
	struct arena *a = intents->arena;
	CoreV1__Pod *message = object_message(victim, a);

	set_condition(a, status_of(a, message), "DisruptionTarget", "True", "PreemptionByScheduler",
		      arena_printf(a, "%s: preempting to accommodate a higher priority pod",
				   by->facts.pod->scheduler_name),
		      view->now_ns);
	intend_update_status(intents, victim, &message->base);
	intend_delete(intents, victim, -1, NULL);
	intend_event(intents, by->facts.pod->scheduler_name, victim, "Normal", "Preempted",
		     "Preempted by pod %s on node %s", by->facts.uid, node->name);
}
