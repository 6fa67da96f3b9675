/* What quotas cost the leader: creating pods through the door of one master on
 * virtual time, in a namespace without a quota, with one, and with one beside many
 * pods; and counting these.
 *
 *     bench-quota [PODS [BESIDE]]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/api/kinds.h"
#include "controlplane/controllers/controller.h"
#include "tests/sim/cluster/cluster.h"

#define CREATE SAMPAN_MASTER__WRITE_REQUEST__VERB__CREATE

extern const struct controller controller_quota;

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void on_done(void *ctx, const void *response)
{
	if (((const SampanMaster__WriteResponse *)response)->code != 201) {
		fprintf(stderr, "a write was refused\n");
		exit(1);
	}
	++*(size_t *)ctx;
}

struct waiting {
	size_t done, wanted;
};

static bool all_done(struct sim *sim, void *ctx)
{
	const struct waiting *w = ctx;

	(void)sim;
	return w->done >= w->wanted;
}

/* Nanoseconds of CPU for each of n creates. */
static uint64_t create(struct sim *sim, const char *resource, const char *namespace,
		       const char *name, const char *rest, size_t n)
{
	SampanMaster__WriteRequest **requests =
		arena_array(&sim->arena, SampanMaster__WriteRequest *, n);
	struct waiting w = { .wanted = n };
	uint64_t began;

	for (size_t i = 0; i < n; i++)
		requests[i] =
			sim_request(sim, CREATE, resource, namespace, "",
				    arena_printf(&sim->arena, "{'metadata':{'name':'%s%zu'}%s}",
						 name, i, rest));
	began = cpu_ns();
	for (size_t i = 0; i < n; i++) {
		writes_submit(sim->masters[0].writes, requests[i], 600000, on_done, &w.done);
		if (i % 500 == 499)
			sim_run(sim, 5000);
	}
	sim_until(sim, all_done, &w, 600, "the writes");
	return (cpu_ns() - began) / n;
}

static void recount(struct sim *sim, const char *namespace)
{
	struct view v = { .store = sim->masters[0].store, .arena = &sim->arena, .now_ns = 1 };
	struct intents intents;
	uint64_t began = cpu_ns();

	intents_init(&intents, &sim->arena);
	controller_quota.reconcile(&v, (struct key){ namespace, "q0" }, &intents);
	printf("counting all of them again          %8.1f ms\n", (double)(cpu_ns() - began) / 1e6);
}

int main(int argc, char **argv)
{
	static const char pod[] =
		",'spec':{'automountServiceAccountToken':false,'serviceAccountName':'default0','containers':[{"
		"'name':'c','image':'i','resources':{'requests':{'cpu':'1m',"
		"'memory':'1Mi'},'limits':{'cpu':'1','memory':'1Gi'}}}]}";
	static const char quota[] =
		",'spec':{'hard':{'pods':'1M','requests.cpu':'1M','requests.memory':'1Pi',"
		"'limits.cpu':'1M','limits.memory':'1Pi','count/configmaps':'1M'}}";
	size_t n = argc > 1 ? (size_t)atoi(argv[1]) : 2000;
	size_t beside = argc > 2 ? (size_t)atoi(argv[2]) : 20000;
	static struct sim sim;
	uint64_t none, one, full;

	sim_init(&sim, 1, &(struct sim_options){ .masters = 1, .commit_us_max = 100 });
	sim_elect(&sim, 0);
	/* Names end in a number: none0, one0, full0. */
	create(&sim, "namespaces", "", "none", "", 1);
	create(&sim, "namespaces", "", "one", "", 1);
	create(&sim, "namespaces", "", "full", "", 1);
	create(&sim, "serviceaccounts", "none0", "default", "", 1);
	create(&sim, "serviceaccounts", "one0", "default", "", 1);
	create(&sim, "serviceaccounts", "full0", "default", "", 1);
	create(&sim, "resourcequotas", "one0", "q", quota, 1);
	create(&sim, "pods", "full0", "old", pod, beside);
	create(&sim, "resourcequotas", "full0", "q", quota, 1);
	none = create(&sim, "pods", "none0", "p", pod, n);
	one = create(&sim, "pods", "one0", "p", pod, n);
	full = create(&sim, "pods", "full0", "p", pod, n);
	printf("a pod without a quota               %8.1f us\n", (double)none / 1e3);
	printf("a pod with a quota                  %8.1f us\n", (double)one / 1e3);
	printf("a pod with a quota and %6zu others %8.1f us\n", beside, (double)full / 1e3);
	recount(&sim, "full0");
	sim_fini(&sim);
	return 0;
}
