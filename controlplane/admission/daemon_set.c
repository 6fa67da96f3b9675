/* DaemonSets at the door. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "controlplane/admission/workloads.h"
#include "proto/k8s/apps_v1.pb-c.h"

/* The number of the template, as older clients know it; it counts changes of the template. */
static const char generation_key[] = "deprecated.daemonset.template.generation";

static int64_t generation_of(const MetaV1__ObjectMeta *meta)
{
	int64_t n = strtoll(text_of(meta_annotation(meta, generation_key)), NULL, 10);

	return n < 1 ? 1 : n;
}

static void prepare(struct admission *a, ProtobufCMessage *message, ProtobufCMessage *old)
{
	AppsV1__DaemonSet *set = (AppsV1__DaemonSet *)message, *was = (AppsV1__DaemonSet *)old;
	int64_t generation = generation_of(was ? was->metadata : set->metadata);

	if (was != NULL && was->spec != NULL && set->spec != NULL && generation < INT64_MAX) {
		const CoreV1__PodTemplateSpec *x = set->spec->template_, *y = was->spec->template_;

		if (x != NULL && y != NULL)
			generation += !message_equal(x, y);
	}
	meta_set_annotation(a->arena, set->metadata, generation_key,
			    arena_printf(a->arena, "%" PRId64, generation));
}

static bool is_zero(const Intstr__IntOrString *v, int amount)
{
	return v == NULL || amount == 0;
}

static void check_share(struct checks *c, const struct field *f, const Intstr__IntOrString *v,
			int amount, bool percent)
{
	if (percent && amount > 100)
		check_invalid(c, f, v->strval, "must not be greater than 100%%");
}

static void check_rolling(struct checks *c, const struct field *f,
			  const AppsV1__RollingUpdateDaemonSet *r)
{
	const struct field *down_at = FIELD(f, "maxUnavailable"), *surge_at = FIELD(f, "maxSurge");
	bool down_percent, surge_percent;
	int down = check_amount(c, down_at, r->maxunavailable, &down_percent);
	int surge = check_amount(c, surge_at, r->maxsurge, &surge_percent);
	bool no_down = is_zero(r->maxunavailable, down), no_surge = is_zero(r->maxsurge, surge);

	check_share(c, down_at, r->maxunavailable, down, down_percent);
	check_share(c, surge_at, r->maxsurge, surge, surge_percent);
	if (no_down && no_surge)
		check_required(c, down_at, "cannot be 0 when maxSurge is 0");
	else if (!no_down && !no_surge && surge_percent)
		check_invalid(c, surge_at, r->maxsurge->strval,
			      "may not be set when maxUnavailable is non-zero");
	else if (!no_down && !no_surge)
		check_invalid_int(c, surge_at, surge,
				  "may not be set when maxUnavailable is non-zero");
}

static void check_strategy(struct checks *c, const struct field *f,
			   const AppsV1__DaemonSetUpdateStrategy *s)
{
	if (s == NULL || text_is(s->type, "OnDelete"))
		return;
	/* The type itself is an enumeration, checked elsewhere. */
	if (s->rollingupdate == NULL)
		check_required(c, FIELD(f, "rollingUpdate"), "");
	else
		check_rolling(c, FIELD(f, "rollingUpdate"), s->rollingupdate);
}

static void validate(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const AppsV1__DaemonSetSpec *spec = ((AppsV1__DaemonSet *)message)->spec;
	const AppsV1__DaemonSetSpec *was = old ? ((AppsV1__DaemonSet *)old)->spec : NULL;
	const struct field *f = FIELD(NULL, "spec");

	if (spec == NULL) {
		check_required(c, FIELD(f, "selector"), "");
		return;
	}
	check_workload_selector(c, f, spec->selector, spec->template_, "daemonset");
	check_workload_template(c, FIELD(f, "template"), spec->template_, "DaemonSet");
	check_not_negative(c, FIELD(f, "minReadySeconds"), spec->minreadyseconds);
	check_not_negative(c, FIELD(f, "revisionHistoryLimit"), spec->revisionhistorylimit);
	check_strategy(c, FIELD(f, "updateStrategy"), spec->updatestrategy);
	if (was != NULL)
		check_immutable(c, FIELD(f, "selector"), spec->selector, was->selector);
}

static void validate_status(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const AppsV1__DaemonSetStatus *s = ((AppsV1__DaemonSet *)message)->status;
	const struct field *f = FIELD(NULL, "status");

	if (s == NULL)
		return;
	check_not_negative(c, FIELD(f, "currentNumberScheduled"), s->currentnumberscheduled);
	check_not_negative(c, FIELD(f, "numberMisscheduled"), s->numbermisscheduled);
	check_not_negative(c, FIELD(f, "desiredNumberScheduled"), s->desirednumberscheduled);
	check_not_negative(c, FIELD(f, "numberReady"), s->numberready);
	check_not_negative(c, FIELD(f, "observedGeneration"), s->observedgeneration);
	check_not_negative(c, FIELD(f, "updatedNumberScheduled"), s->updatednumberscheduled);
	check_not_negative(c, FIELD(f, "numberAvailable"), s->numberavailable);
	check_not_negative(c, FIELD(f, "numberUnavailable"), s->numberunavailable);
	check_not_negative(c, FIELD(f, "collisionCount"), s->collisioncount);
}

const struct strategy strategy_daemon_set = {
	.descriptor = &apps_v1__daemon_set__descriptor,
	.prepare = prepare,
	.validate = validate,
	.validate_status = validate_status,
};
