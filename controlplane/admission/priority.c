/* Which pods come first: PriorityClasses at the door, and what pods get from them. */
#include <errno.h>
#include <string.h>

#include "common/api/pack.h"
#include "common/base/cleanup.h"
#include "controlplane/admission/pod.h"
#include "controlplane/admission/strategy.h"
#include "proto/k8s/scheduling_v1.pb-c.h"

enum { USER_PRIORITY_MAX = 1000000000 };

/* What every cluster has, whether the objects exist yet or not. */
static const struct {
	const char *name;
	int32_t value;
} system_classes[] = {
	{ "system-cluster-critical", 2000000000 },
	{ "system-node-critical", 2000001000 },
};

static const struct kind *classes(void)
{
	return kind_of(&scheduling_v1__priority_class__descriptor);
}

static int system_class(const char *name)
{
	for (size_t i = 0; i < array_size(system_classes); i++)
		if (strcmp(system_classes[i].name, name) == 0)
			return (int)i;
	return -1;
}

bool priority_class_is_system(const char *name)
{
	return system_class(name) >= 0;
}

/* The default class; among several, which admission never lets happen, the lowest. */
struct default_search {
	struct arena *arena;
	const SchedulingV1__PriorityClass *found;
};

static bool on_class(void *ctx, const struct object *o)
{
	struct default_search *s = ctx;
	const SchedulingV1__PriorityClass *c =
		unpack_stored(&scheduling_v1__priority_class__descriptor, o->packed, s->arena);

	if (c->globaldefault && (s->found == NULL || c->value < s->found->value))
		s->found = c;
	return true;
}

static const SchedulingV1__PriorityClass *default_class(struct admission *a)
{
	struct default_search s = { .arena = a->arena };

	a->reader->walk(a->reader->ctx, classes(), NULL, on_class, &s);
	return s.found;
}

/* --- PriorityClass ---------------------------------------------------------------- */

static int admit_class(struct admission *a, const struct kind *kind, ProtobufCMessage *message,
		       ProtobufCMessage *old, struct status *st)
{
	const SchedulingV1__PriorityClass *p = (SchedulingV1__PriorityClass *)message;
	const char *name = text_of(p->metadata->name);

	if (!p->globaldefault)
		return 0;

	const SchedulingV1__PriorityClass *there = default_class(a);

	if (there == NULL || (old != NULL && text_is(there->metadata->name, name)))
		return 0;
	return forbid(st, kind, name,
		      "PriorityClass %s is already marked as default. Only one default can exist",
		      there->metadata->name);
}

static void check_system_class(struct checks *c, const SchedulingV1__PriorityClass *p)
{
	static const char reserved[] =
		"priority class names with 'system-' prefix are reserved for "
		"system use only. error: ";
	const struct field *f = FIELD(FIELD(NULL, "metadata"), "name");
	int i = system_class(p->metadata->name);

	if (i < 0)
		check_forbidden(c, f, "%s%s is not a known system priority class", reserved,
				p->metadata->name);
	else if (p->value != system_classes[i].value)
		check_forbidden(c, f, "%svalue of %s PriorityClass must be %d", reserved,
				p->metadata->name, system_classes[i].value);
	else if (p->globaldefault)
		check_forbidden(c, f, "%sglobalDefault of %s PriorityClass must be false", reserved,
				p->metadata->name);
}

static void validate_class(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const SchedulingV1__PriorityClass *p = (SchedulingV1__PriorityClass *)message;
	const SchedulingV1__PriorityClass *was = (SchedulingV1__PriorityClass *)old;

	if (strncmp(text_of(p->metadata->name), "system-", 7) == 0)
		check_system_class(c, p);
	else if (p->value > USER_PRIORITY_MAX)
		check_forbidden(c, FIELD(NULL, "value"),
				"maximum allowed value of a user defined priority is %d",
				USER_PRIORITY_MAX);
	if (was == NULL)
		return;
	if (p->value != was->value)
		check_forbidden(c, FIELD(NULL, "value"), "may not be changed in an update.");
	if (!text_is(p->preemptionpolicy, text_of(was->preemptionpolicy)))
		check_invalid(c, FIELD(NULL, "preemptionPolicy"), p->preemptionpolicy,
			      "field is immutable");
}

const struct strategy strategy_priority_class = {
	.descriptor = &scheduling_v1__priority_class__descriptor,
	.admit = admit_class,
	.validate = validate_class,
};

/* --- Pods --------------------------------------------------------------------------- */

struct priority {
	const char *name, *preemption;
	int32_t value;
};

/* What the pod's class says; -ENOENT when there is no such class. */
static int find_priority(struct admission *a, const char *wanted, struct priority *ret)
{
	const SchedulingV1__PriorityClass *found = NULL;
	int i = system_class(wanted);

	*ret = (struct priority){ .name = wanted, .preemption = "PreemptLowerPriority" };
	if (i >= 0) {
		ret->value = system_classes[i].value;
		return 0;
	}
	if (wanted[0] == '\0') {
		found = default_class(a);
	} else {
		const struct object *o = a->reader->get(a->reader->ctx, classes(), "", wanted);

		if (o == NULL)
			return -ENOENT;
		found = unpack_stored(&scheduling_v1__priority_class__descriptor, o->packed,
				      a->arena);
	}
	if (found == NULL)
		return 0;
	ret->name = found->metadata->name;
	ret->value = found->value;
	if (!text_empty(found->preemptionpolicy))
		ret->preemption = found->preemptionpolicy;
	return 0;
}

int admit_pod_priority(struct admission *a, const struct kind *kind, CoreV1__Pod *pod,
		       struct status *st)
{
	CoreV1__PodSpec *spec = pod->spec;
	const char *wanted = text_of(spec->priorityclassname);
	const char *name = text_of(pod->metadata->name);
	struct priority p;

	if (find_priority(a, wanted, &p) < 0)
		return forbid(st, kind, name, "no PriorityClass with name %s was found", wanted);
	if (spec->has_priority && spec->priority != p.value)
		return forbid(st, kind, name,
			      "the integer value of priority (%d) must not be provided in pod "
			      "spec; priority admission controller computed %d from the given "
			      "PriorityClass name",
			      spec->priority, p.value);
	if (spec->preemptionpolicy != NULL && !text_is(spec->preemptionpolicy, p.preemption))
		return forbid(st, kind, name,
			      "the string value of PreemptionPolicy (%s) must not be provided in "
			      "pod spec; priority admission controller computed %s from the given "
			      "PriorityClass name",
			      spec->preemptionpolicy, p.preemption);
	spec->priorityclassname = p.name[0] != '\0' ? arena_strdup(a->arena, p.name) : NULL;
	make_set(spec, priority, p.value);
	spec->preemptionpolicy = arena_strdup(a->arena, p.preemption);
	return 0;
}

void keep_pod_priority(CoreV1__PodSpec *spec, const CoreV1__PodSpec *old)
{
	if (!spec->has_priority && old->has_priority)
		make_set(spec, priority, old->priority);
	if (spec->preemptionpolicy == NULL)
		spec->preemptionpolicy = old->preemptionpolicy;
}
