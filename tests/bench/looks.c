/* What one look of a controller costs when there is much to look at, without log, network or disk:
 * a DaemonSet that is complete, one whose template has changed, and a Job amid its run.
 *
 *     bench-looks [NODES [PODS]]     15000 nodes and 100000 pods of others beside them
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "tests/unit/world/world.h"

extern const struct controller controller_daemonset, controller_job;

enum { LOOKS = 20 };

/* Of this process: what else the machine does is not counted. */
static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void look(struct world *w, const struct controller *c, const char *name, const char *what)
{
	uint64_t begun = cpu_ns(), took_ns;
	size_t count = 0;

	for (int i = 0; i < LOOKS; i++) {
		struct view v = world_view(w);
		struct intents intents;

		arena_reset(&w->arena);
		intents_init(&intents, &w->arena);
		c->reconcile(&v, (struct key){ "default", name }, &intents);
		count = intents.count;
	}
	took_ns = cpu_ns() - begun;
	printf("%s: %.2f ms of CPU a look, %zu intents, %.1f MB\n", what,
	       (double)took_ns / LOOKS / 1e6, count, (double)w->arena.used_bytes / 1e6);
}

static void put_pods(struct world *w, const char *kind, const char *owner, const char *finalizer,
		     const char *phase, int from, int to, bool on_nodes)
{
	for (int i = from; i < to; i++, arena_reset(&w->arena))
		world_put(w, arena_printf(
				     &w->arena,
				     "{'kind':'Pod','metadata':{'name':'%s-%06d','namespace':"
				     "'default','labels':{'app':'%s','controller-revision-hash':"
				     "'x'}%s,'ownerReferences':[{'apiVersion':'apps/v1','kind':"
				     "'%s','name':'%s','uid':'uid-%s','controller':true}]},'spec':{"
				     "'nodeName':'node-%05d','containers':[{'name':'c','image':"
				     "'registry.example/app:1'}]},'status':{'phase':'%s',"
				     "'conditions':[{'type':'Ready','status':'True',"
				     "'lastTransitionTime':'2023-11-14T21:00:00Z'}]}}",
				     owner, i, owner, finalizer, kind, owner, owner,
				     on_nodes ? i : i % 1000, phase));
}

static void bench_daemon_set(struct world *w, int nodes)
{
	world_put(w, "{'apiVersion':'apps/v1','kind':'DaemonSet','metadata':{'name':'d','namespace'"
		     ":'default'},'spec':{'selector':{'matchLabels':{'app':'d'}},'template':{"
		     "'metadata':{'labels':{'app':'d'}},'spec':{'containers':[{'name':'c','image':"
		     "'i'}]}},'updateStrategy':{'type':'OnDelete'}}}");
	for (int i = 0; i < nodes; i++, arena_reset(&w->arena))
		world_put(w, arena_printf(&w->arena,
					  "{'kind':'Node','metadata':{'name':'node-%05d','labels':{"
					  "'kubernetes.io/hostname':'node-%05d','zone':'%d'}}}",
					  i, i, i % 3));
	put_pods(w, "DaemonSet", "d", "", "Running", 0, nodes, true);
	look(w, &controller_daemonset, "d", "DaemonSet, a pod on every node");
	world_put(w, "{'apiVersion':'apps/v1','kind':'DaemonSet','metadata':{'name':'d','namespace'"
		     ":'default'},'spec':{'selector':{'matchLabels':{'app':'d'}},'template':{"
		     "'metadata':{'labels':{'app':'d'}},'spec':{'containers':[{'name':'c','image':"
		     "'i'}]}},'updateStrategy':{'type':'RollingUpdate','rollingUpdate':{"
		     "'maxUnavailable':'1%','maxSurge':0}}}}");
	look(w, &controller_daemonset, "d", "DaemonSet, a rolling update");
}

static void bench_job(struct world *w)
{
	enum { ENDED = 20000, RUNNING = 1000, TO_COUNT = 200 };
	const char *finalizer = ",'finalizers':['batch.kubernetes.io/job-tracking']";

	world_put(w, "{'apiVersion':'batch/v1','kind':'Job','metadata':{'name':'j','namespace':"
		     "'default'},'spec':{'manualSelector':true,'selector':{'matchLabels':{'app':'j'"
		     "}},'completions':100000,'parallelism':1200,'backoffLimit':6,'template':{"
		     "'metadata':{'labels':{'app':'j'}},'spec':{'restartPolicy':'Never',"
		     "'containers':[{'name':'c','image':'i'}]}}},'status':{'succeeded':20000,"
		     "'startTime':'2023-11-14T21:00:00Z'}}");
	put_pods(w, "Job", "j", "", "Succeeded", 0, ENDED, false);
	put_pods(w, "Job", "j", finalizer, "Running", ENDED, ENDED + RUNNING, false);
	look(w, &controller_job, "j", "Job, 20000 pods ended, 1000 run, 200 to be made");
	put_pods(w, "Job", "j", finalizer, "Succeeded", ENDED + RUNNING, ENDED + RUNNING + TO_COUNT,
		 false);
	look(w, &controller_job, "j", "Job, and 200 to be counted");
}

int main(int argc, char **argv)
{
	int nodes = argc > 1 ? atoi(argv[1]) : 15000, pods = argc > 2 ? atoi(argv[2]) : 100000;
	auto_with(world_fini) struct world w = { 0 };

	if (nodes < 1 || pods < 0) {
		fprintf(stderr, "usage: bench-looks [NODES [PODS]]\n");
		return 2;
	}
	world_init(&w);
	put_pods(&w, "ReplicaSet", "other", "", "Running", 0, pods, false);
	bench_daemon_set(&w, nodes);
	bench_job(&w);
	return 0;
}
