/* CronJobs: worlds and what is started, stopped and said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/times.h"
#include "common/base/cleanup.h"
#include "tests/unit/world/world.h"

extern const struct controller controller_cronjob;

#define NS_PER_S INT64_C(1000000000)

static struct zones *zones;

/* The CronJob c was made on 2026-11-24 at 12:00 UTC. Jobs are written NAME:STATE[:FLAGS...], STATE
 * is Running, Complete or Failed. Flags: sHH:MM is written sHHMM, the start on that day; m made by
 * hand; d being deleted. */
static const struct {
	const char *name, *spec;
	const char *status; /* NULL: none. */
	const char *jobs;
	const char *now;     /* On 2026-11-24. */
	const char *intents; /* With events, without the status. */
	const char *again;   /* "": nobody asks for it. */
} cases[] = {
	{ "not due yet", "'schedule':'*/10 * * * *'", NULL, "", "12:05:00", "", "12:10:00" },
	{ "due", "'schedule':'*/10 * * * *'", NULL, "", "12:10:00",
	  "create c-29925370\nNormal SuccessfulCreate: Created job: c-29925370\n", "12:20:00" },
	{ "due, and started already", "'schedule':'*/10 * * * *'",
	  "{'lastScheduleTime':'2026-11-24T12:10:00Z'}", "c-29925370:Running", "12:10:05", "",
	  "12:20:00" },
	{ "only the latest of those missed", "'schedule':'*/10 * * * *'",
	  "{'lastScheduleTime':'2026-11-24T12:10:00Z'}", "", "13:01:00",
	  "create c-29925420\nNormal SuccessfulCreate: Created job: c-29925420\n", "13:10:00" },
	{ "a hundred missed are told", "'schedule':'* * * * *'",
	  "{'lastScheduleTime':'2026-11-24T12:00:00Z'}", "", "13:41:00",
	  "Warning TooManyMissedTimes: too many missed start times. Set or decrease "
	  ".spec.startingDeadlineSeconds or check clock skew\n"
	  "create c-29925461\nNormal SuccessfulCreate: Created job: c-29925461\n",
	  "13:42:00" },
	{ "but not those that came too late anyway",
	  "'schedule':'* * * * *','startingDeadlineSeconds':60",
	  "{'lastScheduleTime':'2026-11-24T12:00:00Z'}", "", "13:41:00",
	  "create c-29925461\nNormal SuccessfulCreate: Created job: c-29925461\n", "13:42:00" },
	{ "too late", "'schedule':'0 * * * *','startingDeadlineSeconds':30",
	  "{'lastScheduleTime':'2026-11-24T12:00:00Z'}", "", "13:01:00",
	  "Warning MissSchedule: Missed scheduled time to start a job: 2026-11-24T13:00:00Z\n",
	  "14:00:00" },
	{ "just in time", "'schedule':'0 * * * *','startingDeadlineSeconds':30",
	  "{'lastScheduleTime':'2026-11-24T12:00:00Z'}", "", "13:00:30",
	  "create c-29925420\nNormal SuccessfulCreate: Created job: c-29925420\n", "14:00:00" },
	{ "suspended", "'schedule':'*/10 * * * *','suspend':true", NULL, "", "12:30:00", "", "" },
	{ "a name that is taken was started", "'schedule':'*/10 * * * *'", NULL,
	  "c-29925370:Running", "12:10:05", "", "12:20:00" },
	/* --- Concurrency ------------------------------------------------------------ */
	{ "Allow starts beside another", "'schedule':'*/10 * * * *'",
	  "{'lastScheduleTime':'2026-11-24T12:10:00Z'}", "c-29925370:Running", "12:20:00",
	  "create c-29925380\nNormal SuccessfulCreate: Created job: c-29925380\n", "12:30:00" },
	{ "Forbid waits", "'schedule':'*/10 * * * *','concurrencyPolicy':'Forbid'",
	  "{'lastScheduleTime':'2026-11-24T12:10:00Z'}", "c-29925370:Running", "12:20:00",
	  "Normal JobAlreadyActive: Not starting job because prior execution is running and "
	  "concurrency policy is Forbid\n",
	  "12:30:00" },
	{ "and starts when the other has ended",
	  "'schedule':'*/10 * * * *','concurrencyPolicy':'Forbid'",
	  "{'lastScheduleTime':'2026-11-24T12:10:00Z'}", "c-29925370:Complete", "12:24:00",
	  "create c-29925380\nNormal SuccessfulCreate: Created job: c-29925380\n", "12:30:00" },
	{ "what was started by hand is not in the way",
	  "'schedule':'*/10 * * * *','concurrencyPolicy':'Forbid'",
	  "{'lastScheduleTime':'2026-11-24T12:10:00Z'}", "hand:Running:m:s1215", "12:20:00",
	  "create c-29925380\nNormal SuccessfulCreate: Created job: c-29925380\n", "12:30:00" },
	{ "Replace makes room", "'schedule':'*/10 * * * *','concurrencyPolicy':'Replace'",
	  "{'lastScheduleTime':'2026-11-24T12:10:00Z'}", "c-29925370:Running", "12:20:00",
	  "delete c-29925370 Background\nNormal SuccessfulDelete: Deleted job: c-29925370\n"
	  "create c-29925380\nNormal SuccessfulCreate: Created job: c-29925380\n",
	  "12:30:00" },
	/* --- History ---------------------------------------------------------------- */
	{ "three that succeeded and one that failed are kept", "'schedule':'0 0 1 1 *'", NULL,
	  "a:Complete:s1201 b:Complete:s1202 d:Complete:s1204 e:Complete:s1203 f:Failed:s1205 "
	  "g:Failed:s1206",
	  "12:30:00",
	  "delete a Background\nNormal SuccessfulDelete: Deleted job: a\n"
	  "delete f Background\nNormal SuccessfulDelete: Deleted job: f\n",
	  "*" },
	{ "or none", "'schedule':'0 0 1 1 *','successfulJobsHistoryLimit':0", NULL,
	  "a:Complete:s1201", "12:30:00",
	  "delete a Background\nNormal SuccessfulDelete: Deleted job: a\n", "*" },
	{ "nobody is deleted twice", "'schedule':'0 0 1 1 *','failedJobsHistoryLimit':0", NULL,
	  "a:Failed:s1201:d", "12:30:00", "", "*" },
	/* --- Those that run ---------------------------------------------------------- */
	{ "an end is told", "'schedule':'0 0 1 1 *'",
	  "{'active':[{'kind':'Job','name':'a','uid':'uid-a'}]}", "a:Complete:s1201", "12:30:00",
	  "Normal SawCompletedJob: Saw completed job: a, condition: Complete\n", "*" },
	{ "a loss is told", "'schedule':'0 0 1 1 *'",
	  "{'active':[{'kind':'Job','name':'a','uid':'uid-a'}]}", "", "12:30:00",
	  "Normal MissingJob: Active job went missing: a\n", "*" },
	{ "a stranger is told", "'schedule':'0 0 1 1 *'", NULL, "a:New:m", "12:30:00",
	  "Warning UnexpectedJob: Saw a job that the controller did not create or forgot: a\n",
	  "*" },
	/* --- Schedules ---------------------------------------------------------------- */
	{ "in its zone", "'schedule':'30 13 * * *','timeZone':'Europe/Berlin'", NULL, "",
	  "12:30:00", "create c-29925390\nNormal SuccessfulCreate: Created job: c-29925390\n",
	  "*" },
	{ "a zone that is gone", "'schedule':'30 13 * * *','timeZone':'Europe/Atlantis'", NULL, "",
	  "12:30:00", "Warning UnknownTimeZone: invalid timeZone: Europe/Atlantis\n", "" },
	{ "a schedule that is none", "'schedule':'whenever'", NULL, "", "12:30:00",
	  "Warning UnparseableSchedule: unparseable schedule: \"whenever\" : expected exactly 5 "
	  "fields, found 1: [whenever]\n",
	  "" },
	{ "every so often", "'schedule':'@every 7m'", "{'lastScheduleTime':'2026-11-24T12:00:00Z'}",
	  "", "12:15:00", "create c-29925374\nNormal SuccessfulCreate: Created job: c-29925374\n",
	  "12:21:00" },
};

static int64_t at(const char *time)
{
	auto_with(arena_fini) struct arena a = { 0 };
	int64_t s;
	int32_t ns;

	arena_init(&a, 0);
	assert_int_equal(time_parse(bytes_str(arena_printf(&a, "2026-11-24T%sZ", time)), &s, &ns),
			 0);
	return s * NS_PER_S;
}

static void put_job(struct world *w, char *job)
{
	char *save = NULL, *name = strtok_r(job, ":", &save), *state = strtok_r(NULL, ":", &save);
	const char *deleted = "", *start = "12:10";
	const char *made = "'annotations':{'batch.kubernetes.io/cronjob-scheduled-timestamp':'x'},";
	bool ended = strcmp(state, "Complete") == 0 || strcmp(state, "Failed") == 0;

	for (char *f; (f = strtok_r(NULL, ":", &save)) != NULL;) {
		if (f[0] == 'm')
			made = "";
		else if (f[0] == 'd')
			deleted = "'deletionTimestamp':'2026-11-24T12:29:00Z',"
				  "'finalizers':['x.io/y'],";
		else
			start = arena_printf(&w->arena, "%.2s:%.2s", f + 1, f + 3);
	}
	world_put(w,
		  arena_printf(
			  &w->arena,
			  "{'apiVersion':'batch/v1','kind':'Job','metadata':{'name':'%s',%s%s"
			  "'namespace':'default','ownerReferences':[{'apiVersion':'batch/v1',"
			  "'kind':'CronJob','name':'c','uid':'uid-c','controller':true}]},'spec':"
			  "{'template':{}},'status':{%s%s%s%s%s}}",
			  name, made, deleted, strcmp(state, "New") ? "'startTime':" : "",
			  strcmp(state, "New")
				  ? arena_printf(&w->arena, "'2026-11-24T%s:00Z'", start)
				  : "",
			  ended ? ",'conditions':[{'status':'True','type':'" : "",
			  ended ? state : "", ended ? "'}]" : ""));
}

static void make_world(struct world *w, const char *spec, const char *status, const char *jobs)
{
	char *save = NULL, *copy;

	world_init(w);
	w->config.zones = zones;
	copy = arena_strdup(&w->arena, jobs);
	world_put(w, "{'kind':'Namespace','metadata':{'name':'default'}}");
	world_put(w,
		  arena_printf(
			  &w->arena,
			  "{'apiVersion':'batch/v1','kind':'CronJob','metadata':{'name':'c',"
			  "'namespace':'default','creationTimestamp':'2026-11-24T12:00:00Z'},"
			  "'spec':{%s%s%s%s,'jobTemplate':{'metadata':{'labels':{'a':'b'}},'spec'"
			  ":{'template':{'spec':{'restartPolicy':'Never','containers':[{'name':"
			  "'c','image':'i'}]}}}}}%s%s}",
			  strstr(spec, "concurrency") ? "" : "'concurrencyPolicy':'Allow',",
			  strstr(spec, "successfulJobs") ? "" : "'successfulJobsHistoryLimit':3,",
			  strstr(spec, "failedJobs") ? "" : "'failedJobsHistoryLimit':1,", spec,
			  status ? ",'status':" : "", status ? status : ""));
	for (char *job = strtok_r(copy, " ", &save); job != NULL; job = strtok_r(NULL, " ", &save))
		put_job(w, job);
}

static char *look(struct world *w, struct intents *intents)
{
	struct view v = world_view(w);
	char *text, *essence = arena_strdup(&w->arena, "");

	intents_init(intents, &w->arena);
	controller_cronjob.reconcile(&v, (struct key){ "default", "c" }, intents);
	text = arena_strdup(&w->arena, intents_print(intents, &w->arena));
	for (char *save = NULL, *line = strtok_r(text, "\n", &save); line != NULL;
	     line = strtok_r(NULL, "\n", &save)) {
		char *name = strchr(line, '/') + 1;

		if (strncmp(line, "status ", 7) == 0)
			continue;
		if (strncmp(line, "event ", 6) == 0)
			essence = arena_printf(&w->arena, "%s%s\n", essence, strchr(name, ' ') + 1);
		else
			essence = arena_printf(&w->arena, "%s%.*s %s\n", essence,
					       (int)strcspn(line, " "), line, name);
	}
	return essence;
}

static void worlds_and_intents(void **state)
{
	for (size_t i = 0; i < array_size(cases); i++) {
		auto_with(world_fini) struct world w = { 0 };
		struct intents intents;
		struct status st = { 0 };
		char *got;

		make_world(&w, cases[i].spec, cases[i].status, cases[i].jobs);
		w.now_ns = at(cases[i].now);
		got = look(&w, &intents);
		if (strcmp(got, cases[i].intents) != 0)
			fail_msg("%s: got\n%swanted\n%s", cases[i].name, got, cases[i].intents);
		if (strcmp(cases[i].again, "*") != 0 &&
		    intents.again_ns !=
			    (cases[i].again[0] ? at(cases[i].again) + NS_PER_S / 10 : 0))
			fail_msg("%s: looks again in %lld s", cases[i].name,
				 (long long)((intents.again_ns - w.now_ns) / NS_PER_S));
		if (world_apply(&w, &intents, &st) < 0)
			fail_msg("%s: %s", cases[i].name, st.message);
		/* Looked at again nothing is started twice. */
		look(&w, &intents);
		for (const struct intent *n = intents.first; n != NULL; n = n->next)
			if (n->type == INTENT_CREATE)
				fail_msg("%s: started twice", cases[i].name);
	}
}

static void the_job_that_is_started(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	struct intents intents;
	const char *job, *c;

	make_world(&w, "'schedule':'30 13 * * *','timeZone':'Europe/Berlin'", NULL, "");
	w.now_ns = at("12:30:01");
	look(&w, &intents);
	assert_int_equal(world_apply(&w, &intents, NULL), 0);
	job = world_print(&w, world_get(&w, "jobs.batch", "default", "c-29925390"));
	assert_non_null(strstr(job, "\"batch.kubernetes.io/cronjob-scheduled-timestamp\":"
				    "\"2026-11-24T13:30:00+01:00\""));
	assert_non_null(strstr(job, "\"labels\":{\"a\":\"b\"}"));
	assert_non_null(strstr(
		job,
		"\"kind\":\"CronJob\",\"name\":\"c\",\"uid\":\"uid-c\",\"apiVersion\":\"batch/v1\","
		"\"controller\":true,\"blockOwnerDeletion\":true"));
	/* As an object of its own it has its own defaults and labels. */
	assert_non_null(strstr(job, "\"completions\":1"));
	assert_non_null(strstr(job, "\"batch.kubernetes.io/job-name\":\"c-29925390\""));
	look(&w, &intents);
	assert_int_equal(world_apply(&w, &intents, NULL), 0);
	c = world_print(&w, world_get(&w, "cronjobs.batch", "default", "c"));
	assert_non_null(strstr(c, "\"lastScheduleTime\":\"2026-11-24T12:30:00Z\""));
	assert_non_null(strstr(c, "\"active\":[{\"kind\":\"Job\",\"namespace\":\"default\","
				  "\"name\":\"c-29925390\""));
}

static void the_last_success_is_noted(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	struct intents intents;

	make_world(&w, "'schedule':'0 0 1 1 *'",
		   "{'active':[{'kind':'Job','name':'a','uid':'uid-a'}]}", "");
	world_put(&w,
		  "{'apiVersion':'batch/v1','kind':'Job','metadata':{'name':'a','namespace':"
		  "'default','ownerReferences':[{'apiVersion':'batch/v1','kind':'CronJob','name'"
		  ":'c','uid':'uid-c','controller':true}]},'spec':{'template':{}},'status':{"
		  "'completionTime':'2026-11-24T12:20:00Z','conditions':[{'type':'Complete',"
		  "'status':'True'}]}}");
	w.now_ns = at("12:30:00");
	look(&w, &intents);
	assert_int_equal(world_apply(&w, &intents, NULL), 0);
	assert_non_null(strstr(world_print(&w, world_get(&w, "cronjobs.batch", "default", "c")),
			       "\"status\":{\"lastSuccessfulTime\":\"2026-11-24T12:20:00Z\"}"));
}

/* A Job that is refused is not noted as started. */
static void a_refused_job(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	struct intents intents;
	struct view v;

	make_world(&w, "'schedule':'*/10 * * * *'", NULL, "");
	w.now_ns = at("12:10:00");
	v = world_view(&w);
	intents_init(&intents, &w.arena);
	controller_cronjob.refused(&v, (struct key){ "default", "c" },
				   &(struct refusal){ .message = "no" }, &intents);
	assert_string_equal(intents_print(&intents, &w.arena), "");
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
		cmocka_unit_test(worlds_and_intents),
		cmocka_unit_test(the_job_that_is_started),
		cmocka_unit_test(the_last_success_is_noted),
		cmocka_unit_test(a_refused_job),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
