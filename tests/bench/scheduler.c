/* The scheduler alone on one core, without network, log or disk: the workloads of
 * Kubernetes' own scheduler benchmark (scheduler_perf), each with the floor that
 * is published for it there, in decisions per second.
 *
 *     bench-scheduler [WORKLOAD]
 *
 * A workload puts nodes and pods that are there already into a store, then asks
 * for a decision about each of the pods measured. Every decision is told back as
 * the change that applying it would make; only CPU time of the scheduler counts:
 * to be told of pods, to decide, to be told of the outcome. */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/api/json.h"
#include "common/api/kinds.h"
#include "common/api/make.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "controlplane/scheduler/scheduler.h"
#include "proto/k8s/core_v1.pb-c.h"

struct bench {
	struct scheduler *scheduler;
	struct store *store; /* Empty: what the view shows beside the scheduler's own. */
	struct arena arena;
	uint64_t revision, spent_ns;
	const struct object **pods; /* By number, the newest version. */
	size_t n_pods, cap_pods;
	size_t bound, failed, preempted;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	/* Of this thread alone, so that others on the machine do not count. */
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* --- Objects ----------------------------------------------------------------------------- */

/* ' stands for ". */
static struct object *object_of(struct bench *b, const char *kind_name, char *text)
{
	const struct kind *kind = kind_named("", kind_name);
	struct json_read read = { .validation = FIELDS_STRICT };
	struct status st = { 0 };
	ProtobufCMessage *message;

	for (char *c = text; *c != '\0'; c++)
		*c = *c == '\'' ? '"' : *c;
	if (json_read_message(kind->descriptor, bytes_str(text), &b->arena, &read, &message, &st) <
	    0) {
		fprintf(stderr, "%s: %s\n", text, st.message);
		exit(1);
	}

	const MetaV1__ObjectMeta *meta = message_metadata(message);

	return object_create(&(struct object_values){
		.kind = kind,
		.namespace = text_of(meta->namespace_),
		.name = meta->name,
		.created_revision = ++b->revision,
		.revision = b->revision,
		.packed = pack_message_in(&b->arena, message),
	});
}

static void tell(struct bench *b, const struct object *old, const struct object *new)
{
	uint64_t begun = now_ns();

	scheduler_on_change(b->scheduler, old, new, 1);
	b->spent_ns += now_ns() - begun;
}

static void add_node(struct bench *b, int i)
{
	struct object *o = object_of(
		b, "Node",
		arena_printf(&b->arena,
			     "{'metadata':{'name':'node-%05d','uid':'node-%05d','labels':{"
			     "'kubernetes.io/hostname':'node-%05d','topology.kubernetes.io/zone':"
			     "'zone%d'}},'status':{'allocatable':{'cpu':'4','memory':'32Gi','pods':"
			     "'110'}}}",
			     i, i, i, i % 3 + 1));

	tell(b, NULL, o);
	object_unref(o);
	arena_reset(&b->arena);
}

/* labels and spec stand between their braces, node "" is none. */
static void add_pod(struct bench *b, const char *labels, const char *spec, const char *cpu,
		    const char *node)
{
	struct object *o = object_of(
		b, "Pod",
		arena_printf(
			&b->arena,
			"{'metadata':{'name':'pod-%06zu','namespace':'default','uid':'pod-%06zu',"
			"'labels':{%s}},'spec':{'schedulerName':'default-scheduler',%s%s%s%s"
			"'containers':[{'name':'pause','image':'registry.k8s.io/pause:3.10',"
			"'resources':{'requests':{'cpu':'%s','memory':'500Mi'}}}]},'status':{"
			"'phase':'%s'}}",
			b->n_pods, b->n_pods, labels, spec, node[0] ? "'nodeName':'" : "", node,
			node[0] ? "'," : "", cpu, node[0] ? "Running" : "Pending"));

	array_grow(b->pods, b->n_pods, b->cap_pods);
	b->pods[b->n_pods++] = o;
	tell(b, NULL, o);
	arena_reset(&b->arena);
}

/* --- Deciding ------------------------------------------------------------------------------- */

static size_t number_of(const struct object *pod)
{
	return (size_t)atol(pod->name + strlen("pod-"));
}

static void bound(struct bench *b, const struct object *pod, const char *node)
{
	size_t i = number_of(pod);
	const struct object *old = b->pods[i];
	CoreV1__Pod *message = object_message(old, &b->arena);

	message->metadata->resourceversion = NULL;
	message->spec->nodename = arena_strdup(&b->arena, node);
	b->pods[i] = object_create(&(struct object_values){
		.kind = old->kind,
		.namespace = old->namespace,
		.name = old->name,
		.created_revision = old->created_revision,
		.revision = ++b->revision,
		.packed = pack_message_in(&b->arena, message),
	});
	tell(b, old, b->pods[i]);
	object_unref((struct object *)old);
	b->bound++;
}

static void removed(struct bench *b, const struct object *pod)
{
	size_t i = number_of(pod);
	const struct object *old = b->pods[i];

	b->pods[i] = NULL;
	tell(b, old, NULL);
	object_unref((struct object *)old);
	b->preempted++;
}

/* Victims go at once, as they do where nothing runs. */
static void apply(struct bench *b, const struct intents *intents)
{
	b->failed += intents->first != NULL && intents->first->type != INTENT_BIND;
	for (const struct intent *i = intents->first; i != NULL; i = i->next) {
		if (i->type == INTENT_BIND)
			bound(b, i->base, i->node);
		else if (i->type == INTENT_DELETE && b->pods[number_of(i->base)] != NULL)
			removed(b, i->base);
	}
}

static void decide_all(struct bench *b)
{
	for (;;) {
		struct view v = { .store = b->store, .arena = &b->arena, .now_ns = 1 };
		uint64_t begun = now_ns();
		const struct object *pod;
		struct intents intents;

		intents_init(&intents, &b->arena);

		bool more = scheduler_next(b->scheduler, &v, &intents, &pod);

		b->spent_ns += now_ns() - begun;
		if (!more)
			return;
		apply(b, &intents);
		arena_reset(&b->arena);
	}
}

/* --- Workloads -------------------------------------------------------------------------------- */

#define TERM(color, key)                                                                           \
	"{'labelSelector':{'matchLabels':{'color':'" color "'}},'topologyKey':'" key "'}"
#define REQUIRED "'requiredDuringSchedulingIgnoredDuringExecution':["
#define PREFERRED "'preferredDuringSchedulingIgnoredDuringExecution':[{'weight':1,"
#define SPREAD(color, when)                                                                        \
	"'topologySpreadConstraints':[{'maxSkew':5,'topologyKey':'topology.kubernetes.io/zone',"   \
	"'whenUnsatisfiable':'" when "','labelSelector':{'matchLabels':{'color':'" color "'}}}],"

struct load {
	const char *labels, *spec, *cpu;
	int n;
};

static const struct workload {
	const char *name;
	int floor; /* Decisions per second; 0: none is published. */
	int nodes;
	struct load init, measured;
	bool pinned;   /* The measured pods name a node each, as those of a DaemonSet. */
	bool hopeless; /* The first pods fit nowhere. */
} workloads[] = {
	{ "Basic", 270, 5000, { "", "", "100m", 5000 }, { "", "", "100m", 10000 }, false, false },
	{ "NodeAffinity",
	  220,
	  5000,
	  { "", "", "100m", 5000 },
	  { "",
	    "'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':{"
	    "'nodeSelectorTerms':[{'matchExpressions':[{'key':'topology.kubernetes.io/zone',"
	    "'operator':'In','values':['zone1','zone2']}]}]}}},",
	    "100m", 10000 },
	  false,
	  false },
	{ "PodAntiAffinity",
	  60,
	  5000,
	  { "'color':'green'",
	    "'affinity':{'podAntiAffinity':{" REQUIRED TERM("green",
							    "kubernetes.io/hostname") "]}},",
	    "100m", 1000 },
	  { "'color':'green'",
	    "'affinity':{'podAntiAffinity':{" REQUIRED TERM("green",
							    "kubernetes.io/hostname") "]}},",
	    "100m", 3000 },
	  false,
	  false },
	{ "PodAffinity",
	  35,
	  5000,
	  { "'color':'blue'",
	    "'affinity':{'podAffinity':{" REQUIRED TERM("blue",
							"topology.kubernetes.io/zone") "]}},",
	    "100m", 5000 },
	  { "'color':'blue'",
	    "'affinity':{'podAffinity':{" REQUIRED TERM("blue",
							"topology.kubernetes.io/zone") "]}},",
	    "100m", 5000 },
	  false,
	  false },
	{ "PreferredPodAffinity",
	  0,
	  5000,
	  { "'color':'red'",
	    "'affinity':{'podAffinity':{" PREFERRED
	    "'podAffinityTerm':" TERM("red", "kubernetes.io/hostname") "}]}},",
	    "100m", 5000 },
	  { "'color':'red'",
	    "'affinity':{'podAffinity':{" PREFERRED
	    "'podAffinityTerm':" TERM("red", "kubernetes.io/hostname") "}]}},",
	    "100m", 5000 },
	  false,
	  false },
	{ "TopologySpreading",
	  85,
	  5000,
	  { "", "", "100m", 5000 },
	  { "'color':'blue'", SPREAD("blue", "DoNotSchedule"), "100m", 5000 },
	  false,
	  false },
	{ "PreferredTopologySpreading",
	  0,
	  5000,
	  { "", "", "100m", 5000 },
	  { "'color':'blue'", SPREAD("blue", "ScheduleAnyway"), "100m", 5000 },
	  false,
	  false },
	{ "Preemption",
	  160,
	  5000,
	  { "", "", "900m", 20000 },
	  { "", "'priority':10,", "3", 5000 },
	  false,
	  false },
	{ "Unschedulable",
	  140,
	  5000,
	  { "", "", "9", 200 },
	  { "", "", "100m", 10000 },
	  false,
	  true },
	{ "DaemonSet", 390, 15000, { "", "", "100m", 0 }, { "", "", "100m", 15000 }, true, false },
};

static void add_pinned(struct bench *b, int i)
{
	autofree char *spec = NULL;

	if (asprintf(&spec,
		     "'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuring"
		     "Execution':{'nodeSelectorTerms':[{'matchFields':[{'key':'metadata.name',"
		     "'operator':'In','values':['node-%05d']}]}]}}},",
		     i) > 0)
		add_pod(b, "", spec, "100m", "");
}

static void bench_begin(struct bench *b)
{
	*b = (struct bench){ 0 };
	b->store = store_create(&store_limits_default);
	b->scheduler = scheduler_create(&(struct scheduler_config){ .seed = 1 });
	arena_init(&b->arena, 0);
}

static void bench_end(struct bench *b)
{
	scheduler_destroy(b->scheduler);
	store_destroy(b->store);
	arena_fini(&b->arena);
	for (size_t i = 0; i < b->n_pods; i++)
		object_unref((struct object *)b->pods[i]);
	free(b->pods);
}

static void run(const struct workload *w)
{
	struct bench b;
	int bound_before;

	bench_begin(&b);
	for (int i = 0; i < w->nodes; i++)
		add_node(&b, i);
	for (int i = 0; i < w->init.n; i++)
		add_pod(&b, w->init.labels, w->init.spec, w->init.cpu, "");
	decide_all(&b);
	if (!w->hopeless && b.bound != (size_t)w->init.n) {
		fprintf(stderr, "%s: %zu of %d pods are in place\n", w->name, b.bound, w->init.n);
		exit(1);
	}
	bound_before = (int)b.bound;
	b.spent_ns = 0;
	for (int i = 0; i < w->measured.n; i++) {
		if (w->pinned)
			add_pinned(&b, i);
		else
			add_pod(&b, w->measured.labels, w->measured.spec, w->measured.cpu, "");
	}
	decide_all(&b);

	double rate = (double)w->measured.n / ((double)b.spent_ns / 1e9);

	printf("%-27s %6d nodes %6d pods %9.0f/s", w->name, w->nodes, w->measured.n, rate);
	if (w->floor > 0)
		printf("  %6.0f times the floor of %d/s", rate / w->floor, w->floor);
	if (b.preempted > 0)
		printf("; %zu made room", b.preempted);
	printf("\n");
	if (b.bound - (size_t)bound_before != (size_t)w->measured.n) {
		fprintf(stderr, "%s: %zu of %d pods were bound\n", w->name,
			b.bound - (size_t)bound_before, w->measured.n);
		exit(1);
	}
	bench_end(&b);
}

/* --- Memory --------------------------------------------------------------------------------------
 */

/* What the scheduler keeps of 150,000 pods on nodes, beside the objects that the store has. */
static void measure_memory(void)
{
	enum { NODES = 5000, PODS = 150000, GROUP = 30 };
	struct bench b;
	size_t before, nodes, pods;

	bench_begin(&b);
	before = mallinfo2().uordblks;
	for (int i = 0; i < NODES; i++)
		add_node(&b, i);
	nodes = mallinfo2().uordblks - before;
	pods = 0;
	for (int i = 0; i < PODS; i++) {
		char labels[64], node[32];

		snprintf(labels, sizeof(labels), "'app':'app-%d'", i / GROUP);
		snprintf(node, sizeof(node), "node-%05d", i % NODES);
		add_pod(&b, labels, "", "100m", node);
		pods += b.pods[i]->memory_bytes + 16;
	}
	malloc_trim(0);

	size_t all = mallinfo2().uordblks + mallinfo2().hblkhd - before - nodes -
		     b.cap_pods * sizeof(*b.pods);

	printf("memory: %zu bytes per node (its object included), %zu bytes per pod on a node (%d "
	       "pods in groups of %d)\n",
	       nodes / NODES, (all - pods) / PODS, PODS, GROUP);
	bench_end(&b);
}

int main(int argc, char **argv)
{
	for (size_t i = 0; i < array_size(workloads); i++)
		if (argc < 2 || strcmp(argv[1], workloads[i].name) == 0)
			run(&workloads[i]);
	if (argc < 2 || strcmp(argv[1], "memory") == 0)
		measure_memory();
	return 0;
}
