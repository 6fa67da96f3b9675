/* Statuses of small pods, as one line each: phase, then per container its state and counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/pods/qos.h"
#include "agent/pods/status.h"
#include "common/api/json.h"
#include "common/api/make.h"
#include "common/base/buf.h"
#include "common/base/cleanup.h"

#define S INT64_C(1000000000)

static CoreV1__Pod *read_pod(struct arena *a, const char *json)
{
	struct status st = { 0 };
	void *pod = NULL;

	if (json_read_message(&core_v1__pod__descriptor, bytes_str(json), a, NULL, &pod, &st) < 0)
		fail_msg("%s", st.message);
	return pod;
}

static const char one[] = "{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"u\"},"
			  "\"spec\":{\"restartPolicy\":\"%s\",%s\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}";

struct world {
	const char *name, *policy;
	bool init, sandbox, stop, released;
	enum container_phase init_phase, phase;
	int code;
	bool ready, started, backoff, oom;
	int attempt;
	const char *waiting;
	const char *wanted;
};

static const struct world worlds[] = {
	{ .name = "new", .policy = "Always", .wanted = "Pending c:ContainerCreating 0/0 Ready=False:ContainersNotReady" },
	{ .name = "image", .policy = "Always", .sandbox = true, .waiting = "ImagePullBackOff",
		.wanted = "Pending c:ImagePullBackOff 0/0 Ready=False:ContainersNotReady" },
	{ .name = "runs, unready", .policy = "Always", .sandbox = true, .phase = PHASE_RUNNING,
		.wanted = "Running c:running 0/0 Ready=False:ContainersNotReady" },
	{ .name = "ready", .policy = "Always", .sandbox = true, .phase = PHASE_RUNNING, .ready = true, .started = true,
		.attempt = 2, .wanted = "Running c:running 1/2 Ready=True:" },
	{ .name = "crash loop", .policy = "Always", .sandbox = true, .phase = PHASE_ENDED, .code = 1, .backoff = true,
		.attempt = 4, .wanted = "Running c:CrashLoopBackOff(Error 1) 0/4 Ready=False:ContainersNotReady" },
	{ .name = "killed for memory", .policy = "Never", .sandbox = true, .phase = PHASE_ENDED, .code = 137, .oom = true,
		.wanted = "Failed c:OOMKilled 137 0/0 Ready=False:PodFailed" },
	{ .name = "done", .policy = "Never", .sandbox = true, .phase = PHASE_ENDED, .released = true,
		.wanted = "Succeeded c:Completed 0 0/0 Ready=False:PodCompleted" },
	{ .name = "on failure, failed", .policy = "OnFailure", .sandbox = true, .phase = PHASE_ENDED, .code = 2,
		.wanted = "Running c:Error 2 0/0 Ready=False:ContainersNotReady" },
	{ .name = "init runs", .policy = "Always", .sandbox = true, .init = true, .init_phase = PHASE_RUNNING,
		.wanted = "Pending i:running 0/0 c:PodInitializing 0/0 Ready=False:ContainersNotReady" },
	{ .name = "deleted while running", .policy = "Always", .sandbox = true, .stop = true, .phase = PHASE_ENDED,
		.code = 143, .wanted = "Failed c:Error 143 0/0 Ready=False:PodFailed" },
};

static void print_one(struct buf *out, const CoreV1__ContainerStatus *s)
{
	buf_printf(out, " %s:", s->name);
	if (s->state->running)
		buf_put_str(out, "running");
	else if (s->state->terminated)
		buf_printf(out, "%s %d", s->state->terminated->reason, s->state->terminated->exitcode);
	else
		buf_put_str(out, s->state->waiting->reason);
	if (s->state->waiting && s->laststate->terminated)
		buf_printf(out, "(%s %d)", s->laststate->terminated->reason, s->laststate->terminated->exitcode);
	buf_printf(out, " %d/%d", s->ready, s->restartcount);
}

static void test_worlds(void **state)
{
	for (size_t i = 0; i < array_size(worlds); i++) {
		const struct world *w = &worlds[i];
		auto_with(arena_fini) struct arena a = { 0 };
		auto_with(buf_fini) struct buf out = { 0 };
		char json[512];

		arena_init(&a, 0);
		snprintf(json, sizeof(json), one, w->policy, w->init ? "\"initContainers\":[{\"name\":\"i\",\"image\":\"i\"}]," : "");
		CoreV1__Pod *pod = read_pod(&a, json);
		struct container_facts facts[2] = { { .kind = CONTAINER_INIT, .phase = w->init_phase, .image_ready = true },
			{ .kind = CONTAINER_MAIN, .phase = w->phase, .exit_code = w->code, .started = w->started,
				.image_ready = true, .not_before_ns = w->backoff ? 200 * S : 0 } };
		struct container_facts *used = w->init ? facts : facts + 1;
		struct pod_facts pf = { .now_ns = 100 * S, .sandbox = w->sandbox, .stop = w->stop, .released = w->released,
			.policy = strcmp(w->policy, "Always") == 0 ? RESTART_ALWAYS
				: strcmp(w->policy, "Never") == 0 ? RESTART_NEVER
								  : RESTART_ON_FAILURE,
			.containers = used, .n_containers = w->init ? 2 : 1 };
		struct container_report reports[2] = { { .spec = w->init ? pod->spec->initcontainers[0] : NULL, .facts = &facts[0] },
			{ .spec = pod->spec->containers[0], .facts = &facts[1],
				.current = { .id = "x", .attempt = w->attempt, .exit_code = w->code, .oom = w->oom,
					.started_ns = 50 * S, .finished_ns = 60 * S },
				.ready = w->ready, .in_backoff = w->backoff, .backoff_ns = 40 * S, .waiting_reason = w->waiting } };
		struct pod_plan plan;

		pod_decide(&pf, &plan);
		struct pod_report report = { .pod = pod, .plan = &plan, .facts = &pf,
			.containers = w->init ? reports : reports + 1, .started_ns = 10 * S, .host_ip = "10.0.0.1",
			.pod_ip = "10.1.0.2" };
		CoreV1__PodStatus *s = pod_status_build(&report, &a);

		buf_put_str(&out, s->phase);
		for (size_t k = 0; k < s->n_initcontainerstatuses; k++)
			print_one(&out, s->initcontainerstatuses[k]);
		for (size_t k = 0; k < s->n_containerstatuses; k++)
			print_one(&out, s->containerstatuses[k]);
		for (size_t k = 0; k < s->n_conditions; k++) {
			if (strcmp(s->conditions[k]->type, "Ready") == 0)
				buf_printf(&out, " Ready=%s:%s", s->conditions[k]->status, text_of(s->conditions[k]->reason));
		}
		if (strcmp(buf_cstr(&out), w->wanted) != 0)
			fail_msg("%s:\n%s\nwanted:\n%s", w->name, buf_cstr(&out), w->wanted);
	}
}

static void test_transition_times_stay(void **state)
{
	auto_with(arena_fini) struct arena a = { 0 };
	char json[512];

	arena_init(&a, 0);
	snprintf(json, sizeof(json), one, "Always", "");
	CoreV1__Pod *pod = read_pod(&a, json);
	struct container_facts c = { .kind = CONTAINER_MAIN, .phase = PHASE_RUNNING, .started = true };
	struct pod_facts facts = { .now_ns = 100 * S, .sandbox = true, .containers = &c, .n_containers = 1 };
	struct container_report r = { .spec = pod->spec->containers[0], .facts = &c, .ready = true };
	struct pod_plan plan;
	struct pod_report report = { .pod = pod, .plan = &plan, .facts = &facts, .containers = &r };

	pod_decide(&facts, &plan);
	report.before = pod_status_build(&report, &a);
	facts.now_ns = 200 * S;
	r.ready = false;
	CoreV1__PodStatus *after = pod_status_build(&report, &a);

	for (size_t i = 0; i < after->n_conditions; i++) {
		bool changed = strcmp(after->conditions[i]->status, "False") == 0;

		assert_int_equal(after->conditions[i]->lasttransitiontime->seconds, changed ? 200 : 100);
	}
}

static void test_qos(void **state)
{
	static const struct {
		const char *resources;
		enum qos_class wanted;
		int adj;
	} cases[] = {
		{ "{}", QOS_BEST_EFFORT, 1000 },
		{ "{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"},\"requests\":{\"cpu\":\"1\",\"memory\":\"1Gi\"}}",
			QOS_GUARANTEED, -997 },
		{ "{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"}}", QOS_GUARANTEED, -997 },
		{ "{\"requests\":{\"memory\":\"1Gi\"}}", QOS_BURSTABLE, 750 },
		{ "{\"requests\":{\"cpu\":\"10m\"}}", QOS_BURSTABLE, 999 },
	};

	for (size_t i = 0; i < array_size(cases); i++) {
		auto_with(arena_fini) struct arena a = { 0 };
		char json[512];

		arena_init(&a, 0);
		snprintf(json, sizeof(json),
			"{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":%s}]}}", cases[i].resources);
		CoreV1__Pod *pod = read_pod(&a, json);

		assert_int_equal(pod_qos(pod->spec), cases[i].wanted);
		assert_int_equal(container_oom_score_adj(pod->spec, pod->spec->containers[0], cases[i].wanted,
					 INT64_C(4) << 30), cases[i].adj);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_worlds),
		cmocka_unit_test(test_transition_times_stay), cmocka_unit_test(test_qos) };

	return cmocka_run_group_tests_name("agent-status", tests, NULL, NULL);
}
