/* CronJobs at the door: the schedule is read here once, so that it can be followed later. */
#include <string.h>

#include "common/api/cron.h"
#include "controlplane/admission/job.h"
#include "controlplane/admission/strategy.h"

/* What the Job's name adds: a dash and the minutes since 1970. */
enum { NAME_BYTES_MAX = 52 };

static void check_schedule(struct checks *c, const struct field *f, const char *schedule)
{
	struct cron cron;
	struct status why = { 0 };

	if (text_empty(schedule)) {
		check_required(c, f, "");
		return;
	}
	if (strstr(schedule, "TZ") != NULL)
		check_invalid(c, f, schedule,
			      "cannot use TZ or CRON_TZ in schedule, use timeZone "
			      "field instead");
	else if (cron_parse(schedule, &cron, &why) < 0)
		check_invalid(c, f, schedule, "%s", why.message);
	status_fini(&why);
}

static void check_job(struct checks *c, const struct field *f, const BatchV1__JobTemplateSpec *t)
{
	const struct field *spec = FIELD(f, "spec");

	if (t == NULL || t->spec == NULL) {
		check_required(c, FIELD(spec, "template"), "");
		return;
	}
	if (t->metadata != NULL)
		check_labels(c, FIELD(FIELD(f, "metadata"), "labels"),
			     (struct string_entry *const *)t->metadata->labels,
			     t->metadata->n_labels);
	if (t->spec->selector != NULL)
		check_invalid_message(c, FIELD(spec, "selector"), &t->spec->selector->base,
				      "`selector` will be auto-generated");
	if (t->spec->manualselector)
		check_unsupported(c, FIELD(spec, "manualSelector"), "true",
				  (const char *const[]){ "nil", "false", NULL });
	check_job_spec(c, spec, t->spec);
}

static void validate(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const BatchV1__CronJob *cron = (BatchV1__CronJob *)message;
	const BatchV1__CronJobSpec *spec = cron->spec;
	const struct field *f = FIELD(NULL, "spec");

	if (spec == NULL) {
		check_required(c, FIELD(f, "schedule"), "");
		return;
	}
	check_schedule(c, FIELD(f, "schedule"), spec->schedule);
	check_not_negative(c, FIELD(f, "startingDeadlineSeconds"), spec->startingdeadlineseconds);
	check_not_negative(c, FIELD(f, "successfulJobsHistoryLimit"),
			   spec->successfuljobshistorylimit);
	check_not_negative(c, FIELD(f, "failedJobsHistoryLimit"), spec->failedjobshistorylimit);
	check_job(c, FIELD(f, "jobTemplate"), spec->jobtemplate);
	if (old == NULL && strlen(text_of(cron->metadata->name)) > NAME_BYTES_MAX)
		check_invalid(c, FIELD(FIELD(NULL, "metadata"), "name"), cron->metadata->name,
			      "must be no more than %d characters", NAME_BYTES_MAX);
}

/* The zone must be one that this master can follow. It may have been known when it was set, so only
 * a change is looked at. */
static int admit(struct admission *a, const struct kind *kind, ProtobufCMessage *message,
		 ProtobufCMessage *old, struct status *st)
{
	const BatchV1__CronJob *cron = (BatchV1__CronJob *)message, *was = (BatchV1__CronJob *)old;
	const BatchV1__CronJobSpec *spec = cron->spec;
	const char *name = spec ? spec->timezone : NULL;
	const struct zone *zone;
	struct checks c = { .arena = a->arena, .st = st };

	if (name == NULL ||
	    (was != NULL && was->spec != NULL && text_is(was->spec->timezone, name)))
		return 0;

	const struct field *f = FIELD(FIELD(NULL, "spec"), "timeZone");

	if (name[0] == '\0')
		check_invalid(&c, f, name, "timeZone must be nil or non-empty string");
	else if (!zones_find(a->config->zones, name, &zone))
		check_invalid(&c, f, name, "unknown time zone %s", name);
	return checks_end(&c, kind, text_of(cron->metadata->name));
}

const struct strategy strategy_cron_job = {
	.descriptor = &batch_v1__cron_job__descriptor,
	.admit = admit,
	.validate = validate,
};
