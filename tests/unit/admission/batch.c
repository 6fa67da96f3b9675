/* Jobs, CronJobs and DaemonSets at the door: what is refused, filled in and kept. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/zones.h"
#include "common/base/cleanup.h"
#include "tests/unit/world/world.h"

#define POD "'containers':[{'name':'c','image':'i'}]"
#define RUN "'template':{'spec':{'restartPolicy':'Never'," POD "}}"
#define INDEXED "'completionMode':'Indexed','completions':5,'parallelism':2,"

static struct zones *zones;

static void setup(struct world *w)
{
	world_init(w);
	w->config.zones = zones;
	world_put(w, "{'kind':'Namespace','metadata':{'name':'default'}}");
	world_put(w,
		  "{'kind':'ServiceAccount','metadata':{'name':'default','namespace':'default'}}");
}

static const char *job(struct world *w, const char *name, const char *spec)
{
	return arena_printf(&w->arena,
			    "{'apiVersion':'batch/v1','kind':'Job','metadata':{'name':'%s',"
			    "'namespace':'default'},'spec':{%s}}",
			    name, spec);
}

static const char *cron_job(struct world *w, const char *name, const char *spec)
{
	return arena_printf(&w->arena,
			    "{'apiVersion':'batch/v1','kind':'CronJob','metadata':{'name':'%s',"
			    "'namespace':'default'},'spec':{%s}}",
			    name, spec);
}

static const char *daemon_set(struct world *w, const char *spec)
{
	return arena_printf(&w->arena,
			    "{'apiVersion':'apps/v1','kind':'DaemonSet','metadata':{'name':'d',"
			    "'namespace':'default'},'spec':{'selector':{'matchLabels':{'a':'b'}},"
			    "'template':{'metadata':{'labels':{'a':'b'}},'spec':{" POD "}}%s%s}}",
			    spec[0] ? "," : "", spec);
}

/* What of a Job's spec is wrong, and the words for it; NULL: nothing. */
static const struct {
	const char *spec, *refusal;
} jobs[] = {
	{ RUN, NULL },
	{ "'template':{'spec':{" POD "}}",
	  "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"" },
	{ "'parallelism':-1," RUN,
	  "spec.parallelism: Invalid value: -1: must be greater than or equal to 0" },
	{ "'completions':-1," RUN, "spec.completions: Invalid value: -1" },
	{ "'backoffLimit':-1," RUN, "spec.backoffLimit: Invalid value: -1" },
	{ "'activeDeadlineSeconds':-1," RUN, "spec.activeDeadlineSeconds: Invalid value: -1" },
	{ "'ttlSecondsAfterFinished':-1," RUN, "spec.ttlSecondsAfterFinished: Invalid value: -1" },
	{ "'completionMode':'Sorted'," RUN,
	  "spec.completionMode: Unsupported value: \"Sorted\": supported values: \"NonIndexed\", "
	  "\"Indexed\"" },
	{ "'completionMode':'Indexed','parallelism':1," RUN,
	  "spec.completions: Required value: when completion mode is Indexed" },
	{ "'completionMode':'Indexed','completions':1,'parallelism':100001," RUN,
	  "spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when "
	  "completion mode is Indexed" },
	{ "'selector':{'matchLabels':{'x':'y'}}," RUN, "`selector` not auto-generated" },
	{ "'manualSelector':true," RUN, "spec.selector: Required value" },
	{ "'manualSelector':true,'selector':{'matchLabels':{'x':'y'}}," RUN,
	  "`selector` does not match template `labels`" },
	{ "'managedBy':'me'," RUN, "spec.managedBy: Invalid value: \"me\"" },
	{ "'managedBy':'acme.io/me'," RUN, NULL },
	{ "'backoffLimitPerIndex':1," RUN,
	  "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode" },
	{ INDEXED "'backoffLimitPerIndex':1,'maxFailedIndexes':6," RUN,
	  "spec.maxFailedIndexes: Invalid value: 6: must be less than or equal to completions" },
	{ INDEXED "'maxFailedIndexes':1," RUN,
	  "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified" },
	{ "'completionMode':'Indexed','completions':100001,'parallelism':1,'backoffLimitPerIndex':1," RUN,
	  "spec.maxFailedIndexes: Required value: must be specified when completions is above 100000" },
	{ INDEXED "'backoffLimitPerIndex':1,'maxFailedIndexes':2," RUN, NULL },
	/* podFailurePolicy */
	{ "'podFailurePolicy':{'rules':[{'action':'FailJob'}]}," RUN,
	  "specifying one of OnExitCodes and OnPodConditions is required" },
	{ "'podFailurePolicy':{'rules':[{'action':'Explode','onPodConditions':[{'type':'X'}]}]}," RUN,
	  "spec.podFailurePolicy.rules[0].action: Unsupported value: \"Explode\"" },
	{ "'podFailurePolicy':{'rules':[{'action':'FailIndex','onPodConditions':[{'type':'X'}]}]}," RUN,
	  "requires the backoffLimitPerIndex to be set" },
	{ "'podFailurePolicy':{'rules':[{'action':'Count','onExitCodes':{'operator':'In','values':[0]"
	  "}}]}," RUN,
	  "spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for "
	  "the In operator" },
	{ "'podFailurePolicy':{'rules':[{'action':'Count','onExitCodes':{'operator':'In','values':[2,"
	  "1]}}]}," RUN,
	  "values[1]: Invalid value: 1: must be ordered" },
	{ "'podFailurePolicy':{'rules':[{'action':'Count','onExitCodes':{'operator':'In','values':[1,"
	  "1]}}]}," RUN,
	  "values[1]: Duplicate value: 1" },
	{ "'podFailurePolicy':{'rules':[{'action':'Count','onExitCodes':{'containerName':'z',"
	  "'operator':'In','values':[1]}}]}," RUN,
	  "containerName: Invalid value: \"z\": must be one of the container or initContainer names" },
	{ "'podFailurePolicy':{'rules':[]},'template':{'spec':{'restartPolicy':'OnFailure'," POD
	  "}}",
	  "only \"Never\" is supported when podFailurePolicy is specified" },
	{ "'podFailurePolicy':{'rules':[]},'podReplacementPolicy':'TerminatingOrFailed'," RUN,
	  "spec.podReplacementPolicy: Unsupported value: \"TerminatingOrFailed\": supported values: "
	  "\"Failed\"" },
	{ "'podFailurePolicy':{'rules':[{'action':'Ignore','onPodConditions':[{'type':"
	  "'DisruptionTarget'}]},{'action':'FailJob','onExitCodes':{'containerName':'c','operator':"
	  "'NotIn','values':[0,1]}}]}," RUN,
	  NULL },
	/* successPolicy */
	{ "'successPolicy':{'rules':[{'succeededCount':1}]}," RUN,
	  "requires indexed completion mode" },
	{ INDEXED "'successPolicy':{'rules':[]}," RUN, "spec.successPolicy.rules: Required value" },
	{ INDEXED "'successPolicy':{'rules':[{}]}," RUN,
	  "at least one of succeededCount or succeededIndexes must be specified" },
	{ INDEXED "'successPolicy':{'rules':[{'succeededIndexes':'3-5'}]}," RUN,
	  "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"3-5\"" },
	{ INDEXED "'successPolicy':{'rules':[{'succeededIndexes':'1,3','succeededCount':3}]}," RUN,
	  "must be less than or equal to 2 (the number of indexes in the specified "
	  "succeededIndexes field)" },
	{ INDEXED "'successPolicy':{'rules':[{'succeededIndexes':'1,3','succeededCount':2}]}," RUN,
	  NULL },
};

static void expect(const char *what, int rc, const struct status *st, const char *refusal)
{
	if (refusal == NULL && rc < 0)
		fail_msg("%s: %s", what, st->message);
	if (refusal != NULL && (rc == 0 || strstr(st->message, refusal) == NULL))
		fail_msg("%s: got %s, wanted %s", what, rc < 0 ? st->message : "no refusal",
			 refusal);
}

static void jobs_that_are_refused(void **state)
{
	for (size_t i = 0; i < array_size(jobs); i++) {
		auto_with(world_fini) struct world w = { 0 };
		auto_with(status_fini) struct status st = { 0 };

		setup(&w);
		expect(jobs[i].spec,
		       world_create(&w, job(&w, "j", jobs[i].spec), &st) != NULL ? 0 : -EINVAL, &st,
		       jobs[i].refusal);
	}
}

static void a_job_is_completed(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	auto_with(status_fini) struct status st = { 0 };
	const struct object *o;
	const char *text, *uid;

	setup(&w);
	o = world_create(&w, job(&w, "j", RUN), NULL);
	text = world_print(&w, o);
	uid = o->facts.uid;
	static const char *const parts[] = {
		"'parallelism':1",  "'completions':1",
		"'backoffLimit':6", "'completionMode':'NonIndexed'",
		"'suspend':false",  "'podReplacementPolicy':'TerminatingOrFailed'",
		"'generation':1",   "'batch.kubernetes.io/job-name':'j'",
		"'job-name':'j'",
	};

	for (size_t i = 0; i < array_size(parts); i++)
		if (strstr(text, world_json(&w, parts[i])) == NULL)
			fail_msg("no %s in %s", parts[i], text);
	assert_non_null(strstr(text, arena_printf(&w.arena,
						  "\"selector\":{\"matchLabels\":{"
						  "\"batch.kubernetes.io/controller-uid\":\"%s\"}}",
						  uid)));
	/* Another's labels are not taken for its own. */
	assert_null(world_create(&w,
				 job(&w, "k",
				     "'template':{'metadata':{'labels':{'controller-uid':'x'}},"
				     "'spec':{'restartPolicy':'Never'," POD "}}"),
				 &st));
	assert_non_null(strstr(st.message, "spec.template.metadata.labels[controller-uid]"));
	/* A host name must fit. */
	status_fini(&st);
	st = (struct status){ 0 };
	char longest[64] = "";

	memset(longest, 'x', 62);
	assert_null(world_create(&w, job(&w, longest, INDEXED RUN), &st));
	assert_non_null(strstr(st.message, "will not able to create pod with invalid DNS label"));
}

/* A Job's spec, another one, and what is said to the change; NULL: it is taken. */
static const struct {
	const char *was, *is, *refusal;
	bool started;
} changes[] = {
	{ "'parallelism':1,'completions':3,", "'parallelism':2,'completions':3,", NULL, true },
	{ "'parallelism':1,'completions':3,", "'parallelism':1,'completions':4,",
	  "spec.completions: Invalid value: 4: field is immutable", true },
	{ INDEXED, "'completionMode':'Indexed','completions':4,'parallelism':4,", NULL, true },
	{ INDEXED, "'completionMode':'Indexed','completions':4,'parallelism':2,",
	  "can only be modified in tandem with parallelism", true },
	{ INDEXED, "'completionMode':'NonIndexed','completions':5,'parallelism':2,",
	  "spec.completionMode: Invalid value: \"NonIndexed\": field is immutable", true },
	{ "",
	  "'podFailurePolicy':{'rules':[{'action':'Ignore','onPodConditions':[{'type':'X'}]}]},"
	  "'podReplacementPolicy':'Failed',",
	  "spec.podFailurePolicy: Invalid value", true },
	{ INDEXED, INDEXED "'successPolicy':{'rules':[{'succeededCount':1}]},",
	  "spec.successPolicy: Invalid value", true },
	{ INDEXED, INDEXED "'backoffLimitPerIndex':2,",
	  "spec.backoffLimitPerIndex: Invalid value: 2: field is immutable", true },
	{ "", "'managedBy':'acme.io/x',", "spec.managedBy: Invalid value", true },
	{ "",
	  "'suspend':true,'backoffLimit':9,'activeDeadlineSeconds':7,'ttlSecondsAfterFinished':1,",
	  NULL, true },
	{ "'suspend':true,", "+'suspend':true,", NULL, false },
	{ "'suspend':true,", "+'suspend':true,", "spec.template: Invalid value", true },
	{ "", "+", "spec.template: Invalid value", false },
	{ "'suspend':true,", "-'suspend':true,", "spec.template: Invalid value", false },
};

/* With + where its pods go differs, with - what they are. */
static const char *changed_job(struct world *w, const char *spec)
{
	const char *pod =
		spec[0] == '+'   ? "'nodeSelector':{'x':'y'},'tolerations':[{'key':'t','operator':"
				   "'Exists'}],'affinity':{'nodeAffinity':{"
				   "'preferredDuringSchedulingIgnoredDuringExecution':[{'weight':1,"
				   "'preference':{'matchExpressions':[{'key':'z','operator':"
				   "'Exists'}]}}]}}," POD
		: spec[0] == '-' ? "'containers':[{'name':'c','image':'other'}]"
				 : POD;

	spec += spec[0] == '+' || spec[0] == '-';
	return arena_printf(&w->arena,
			    "{'apiVersion':'batch/v1','kind':'Job','metadata':{'name':'j',"
			    "'namespace':'default'},'spec':{%s'manualSelector':true,'selector':{"
			    "'matchLabels':{'a':'b'}},'template':{'metadata':{'labels':{'a':'b'}},"
			    "'spec':{'restartPolicy':'Never',%s}}},'status':{'startTime':"
			    "'2023-11-14T22:00:00Z'}}",
			    spec, pod);
}

static void changes_of_jobs(void **state)
{
	for (size_t i = 0; i < array_size(changes); i++) {
		auto_with(world_fini) struct world w = { 0 };
		auto_with(status_fini) struct status st = { 0 };

		setup(&w);
		assert_non_null(world_create(&w, changed_job(&w, changes[i].was), NULL));
		if (changes[i].started)
			assert_int_equal(
				world_update(&w, changed_job(&w, changes[i].was), "status", NULL),
				0);
		expect(changes[i].is, world_update(&w, changed_job(&w, changes[i].is), "", &st),
		       &st, changes[i].refusal);
	}
}

static const char *job_status(struct world *w, const char *status)
{
	return arena_printf(&w->arena,
			    "{'apiVersion':'batch/v1','kind':'Job','metadata':{'name':'j',"
			    "'namespace':'default'},'status':{%s}}",
			    status);
}

static void a_job_stays_as_it_ended(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	auto_with(status_fini) struct status st = { 0 };
	const char *ended;

	setup(&w);
	ended = job_status(&w, "'conditions':[{'type':'Complete','status':'True'}]");
	world_create(&w, job(&w, "j", RUN), NULL);
	assert_int_equal(world_update(&w, ended, "status", NULL), 0);
	assert_true(world_update(&w, job_status(&w, "'succeeded':1"), "status", &st) < 0);
	assert_non_null(strstr(st.message, "status.conditions: Invalid value: \"Complete\": may not "
					   "be taken back"));
}

static const struct {
	const char *name, *spec, *refusal;
} crons[] = {
	{ "c", "'schedule':'* * * * *','jobTemplate':{'spec':{" RUN "}}", NULL },
	{ "c", "'schedule':'@every 5m','timeZone':'Europe/Berlin','jobTemplate':{'spec':{" RUN "}}",
	  NULL },
	{ "c", "'jobTemplate':{'spec':{" RUN "}}", "spec.schedule: Required value" },
	{ "c", "'schedule':'* * *','jobTemplate':{'spec':{" RUN "}}",
	  "spec.schedule: Invalid value: \"* * *\": expected exactly 5 fields, found 3: [* * *]" },
	{ "c", "'schedule':'CRON_TZ=UTC * * * * *','jobTemplate':{'spec':{" RUN "}}",
	  "cannot use TZ or CRON_TZ in schedule, use timeZone field instead" },
	{ "c", "'schedule':'@daily','timeZone':'','jobTemplate':{'spec':{" RUN "}}",
	  "spec.timeZone: Invalid value: \"\": timeZone must be nil or non-empty string" },
	{ "c", "'schedule':'@daily','timeZone':'Local','jobTemplate':{'spec':{" RUN "}}",
	  "spec.timeZone: Invalid value: \"Local\": unknown time zone Local" },
	{ "c", "'schedule':'@daily','concurrencyPolicy':'Maybe','jobTemplate':{'spec':{" RUN "}}",
	  "spec.concurrencyPolicy: Unsupported value: \"Maybe\"" },
	{ "c", "'schedule':'@daily','startingDeadlineSeconds':-1,'jobTemplate':{'spec':{" RUN "}}",
	  "spec.startingDeadlineSeconds: Invalid value: -1" },
	{ "c", "'schedule':'@daily','failedJobsHistoryLimit':-1,'jobTemplate':{'spec':{" RUN "}}",
	  "spec.failedJobsHistoryLimit: Invalid value: -1" },
	{ "c",
	  "'schedule':'@daily','jobTemplate':{'spec':{'selector':{'matchLabels':{'a':'b'}}," RUN
	  "}}",
	  "`selector` will be auto-generated" },
	{ "c", "'schedule':'@daily','jobTemplate':{'spec':{'manualSelector':true," RUN "}}",
	  "spec.jobTemplate.spec.manualSelector: Unsupported value" },
	{ "c", "'schedule':'@daily','jobTemplate':{'spec':{'template':{'spec':{" POD "}}}}",
	  "spec.jobTemplate.spec.template.spec.restartPolicy: Required value" },
	{ "this-name-has-fifty-three-characters-and-that-is-much",
	  "'schedule':'@daily','jobTemplate':{'spec':{" RUN "}}",
	  "must be no more than 52 characters" },
};

static void cron_jobs_that_are_refused(void **state)
{
	for (size_t i = 0; i < array_size(crons); i++) {
		auto_with(world_fini) struct world w = { 0 };
		auto_with(status_fini) struct status st = { 0 };

		setup(&w);
		expect(crons[i].spec,
		       world_create(&w, cron_job(&w, crons[i].name, crons[i].spec), &st) != NULL
			       ? 0
			       : -EINVAL,
		       &st, crons[i].refusal);
	}
}

static void a_cron_job_is_completed(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	const char *text;

	setup(&w);
	text = world_print(
		&w, world_create(&w,
				 cron_job(&w, "c",
					  "'schedule':'@daily','jobTemplate':{'spec':{" RUN "}}"),
				 NULL));
	assert_non_null(strstr(text, "\"concurrencyPolicy\":\"Allow\""));
	assert_non_null(strstr(text, "\"successfulJobsHistoryLimit\":3"));
	assert_non_null(strstr(text, "\"failedJobsHistoryLimit\":1"));
	/* The template is completed when a Job is made of it. */
	assert_null(strstr(text, "completionMode"));
	/* A zone that went away from the machine does not stop other changes. */
	world_put(&w,
		  cron_job(&w, "z",
			   "'schedule':'@daily','timeZone':'Old/Zone','jobTemplate':{'spec':{" RUN
			   "}}"));
	assert_int_equal(world_update(&w,
				      cron_job(&w, "z",
					       "'schedule':'@hourly','timeZone':'Old/Zone',"
					       "'jobTemplate':{'spec':{" RUN "}}"),
				      "", NULL),
			 0);
}

static const struct {
	const char *spec, *refusal;
} daemons[] = {
	{ "", NULL },
	{ "'minReadySeconds':-1", "spec.minReadySeconds: Invalid value: -1" },
	{ "'updateStrategy':{'type':'Slowly'}",
	  "spec.updateStrategy.type: Unsupported value: \"Slowly\"" },
	{ "'updateStrategy':{'type':'RollingUpdate','rollingUpdate':{'maxUnavailable':0}}",
	  "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when "
	  "maxSurge is 0" },
	{ "'updateStrategy':{'type':'RollingUpdate','rollingUpdate':{'maxUnavailable':1,'maxSurge':1}}",
	  "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when "
	  "maxUnavailable is non-zero" },
	{ "'updateStrategy':{'type':'RollingUpdate','rollingUpdate':{'maxUnavailable':'101%'}}",
	  "must not be greater than 100%" },
	{ "'updateStrategy':{'type':'RollingUpdate','rollingUpdate':{'maxUnavailable':0,'maxSurge':"
	  "'10%'}}",
	  NULL },
	{ "'updateStrategy':{'type':'OnDelete'}", NULL },
};

static void daemon_sets_that_are_refused(void **state)
{
	for (size_t i = 0; i < array_size(daemons); i++) {
		auto_with(world_fini) struct world w = { 0 };
		auto_with(status_fini) struct status st = { 0 };

		setup(&w);
		expect(daemons[i].spec,
		       world_create(&w, daemon_set(&w, daemons[i].spec), &st) != NULL ? 0 : -EINVAL,
		       &st, daemons[i].refusal);
	}
}

static bool shows(struct world *w, const char *part)
{
	return strstr(world_print(w, world_get(w, "daemonsets.apps", "default", "d")),
		      world_json(w, part)) != NULL;
}

/* The number of the template counts its changes, whatever the client sends. */
static void the_generation_of_templates(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_create(&w, daemon_set(&w, ""), NULL);
	assert_true(shows(&w, "'deprecated.daemonset.template.generation':'1'"));
	assert_true(shows(&w, "'maxUnavailable':1"));
	assert_true(shows(&w, "'maxSurge':0"));
	assert_true(shows(&w, "'revisionHistoryLimit':10"));
	assert_int_equal(world_update(&w, daemon_set(&w, "'minReadySeconds':5"), "", NULL), 0);
	assert_true(shows(&w, "'deprecated.daemonset.template.generation':'1'"));
	assert_int_equal(
		world_update(
			&w,
			"{'apiVersion':'apps/v1','kind':'DaemonSet','metadata':{'name':'d',"
			"'namespace':'default','annotations':{"
			"'deprecated.daemonset.template.generation':'77'}},'spec':{'selector':{"
			"'matchLabels':{'a':'b'}},'template':{'metadata':{'labels':{'a':'b'}},"
			"'spec':{'containers':[{'name':'c','image':'new'}]}}}}",
			"", NULL),
		0);
	assert_true(shows(&w, "'deprecated.daemonset.template.generation':'2'"));
}

/* DELETE without a propagation policy leaves the pods of a Job, and takes those of others. */
static void deleting_without_a_policy(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_create(&w, job(&w, "j", RUN), NULL);
	world_create(&w, job(&w, "k", RUN), NULL);
	world_create(&w, daemon_set(&w, ""), NULL);
	world_delete(&w, "jobs.batch", "default", "j", -1, NULL);
	assert_true(object_has_finalizer(world_get(&w, "jobs.batch", "default", "j"), "orphan"));
	world_delete(&w, "jobs.batch", "default", "k", -1, "Background");
	assert_null(world_get(&w, "jobs.batch", "default", "k"));
	world_delete(&w, "daemonsets.apps", "default", "d", -1, NULL);
	assert_null(world_get(&w, "daemonsets.apps", "default", "d"));
}

static int load(void **state)
{
	zones = zones_load("/usr/share/zoneinfo", 0);
	return 0;
}

static int unload(void **state)
{
	zones_destroy(zones);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(jobs_that_are_refused),
		cmocka_unit_test(a_job_is_completed),
		cmocka_unit_test(changes_of_jobs),
		cmocka_unit_test(a_job_stays_as_it_ended),
		cmocka_unit_test(cron_jobs_that_are_refused),
		cmocka_unit_test(a_cron_job_is_completed),
		cmocka_unit_test(daemon_sets_that_are_refused),
		cmocka_unit_test(the_generation_of_templates),
		cmocka_unit_test(deleting_without_a_policy),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
