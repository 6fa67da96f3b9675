/* Random small clusters, decided twice: by the scheduler over its indexes, and by
 * the plainest code that follows the rules, which goes over all pods and nodes
 * each time. A node that is chosen must be one that the plain code allows, and
 * no node may be chosen only where it allows none.
 *
 *     test-scheduler-reference [SEED [CLUSTERS]]
 */
#include <stdlib.h>

#include "common/api/kinds.h"
#include "common/api/labels.h"
#include "common/api/make.h"
#include "controlplane/scheduler/node_rules.h"
#include "tests/unit/scheduler/bed.h"

enum { NODES = 6, STEPS = 60 };

static uint64_t seed_first = 1, clusters = 60;

static uint64_t below(struct bed *b, uint64_t n)
{
	return source_random_below(&b->w.source.base, n);
}

static const char *pick(struct bed *b, const char *const *of, size_t n)
{
	return of[below(b, n)];
}

#define PICK(b, ...)                                                                               \
	pick((b), (const char *const[]){ __VA_ARGS__ },                                            \
	     sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

/* --- The plain rules -------------------------------------------------------------------- */

struct plain {
	struct bed *b;
	struct view v;
	const struct object *pod;
	const CoreV1__PodSpec *spec;
	const struct object *const *nodes, *const *pods;
	size_t n_nodes, n_pods;
};

static const CoreV1__PodSpec *spec_of(struct plain *p, const struct object *pod)
{
	return ((const CoreV1__Pod *)view_message(&p->v, pod))->spec;
}

static const char *label_of(const void *object, const char *key)
{
	return object_label(object, key);
}

static bool is_on(const struct object *pod, const struct object *node)
{
	return strcmp(pod->facts.pod->node_name, node->name) == 0;
}

static bool same_place(const struct object *a, const struct object *b, const char *key)
{
	const char *x = object_label(a, key), *y = object_label(b, key);

	return x != NULL && y != NULL && strcmp(x, y) == 0;
}

static const struct object *node_of(struct plain *p, const struct object *pod)
{
	for (size_t i = 0; i < p->n_nodes; i++)
		if (is_on(pod, p->nodes[i]))
			return p->nodes[i];
	return NULL;
}

static bool own_labels(const struct object *speaker, const struct object *pod, char *const *keys,
		       size_t n, bool same)
{
	for (size_t i = 0; i < n; i++) {
		const char *mine = object_label(speaker, keys[i]);
		const char *its = object_label(pod, keys[i]);

		if (mine != NULL && (its != NULL && strcmp(mine, its) == 0) != same)
			return false;
	}
	return true;
}

static bool selects(struct plain *p, const MetaV1__LabelSelector *m, const struct object *o)
{
	struct label_selector s;

	return label_selector_of(m, p->v.arena, &s, NULL) == 0 &&
	       label_selector_matches(&s, label_of, o);
}

static bool speaks_of(struct plain *p, const CoreV1__PodAffinityTerm *t,
		      const struct object *speaker, const struct object *pod)
{
	const struct object *space = view_get(&p->v, "namespaces", "", pod->namespace);
	bool there = t->n_namespaces == 0 && t->namespaceselector == NULL &&
		     strcmp(speaker->namespace, pod->namespace) == 0;

	for (size_t i = 0; i < t->n_namespaces; i++)
		there = there || strcmp(t->namespaces[i], pod->namespace) == 0;
	if (t->namespaceselector != NULL)
		there = there || selects(p, t->namespaceselector, space);
	return there && selects(p, t->labelselector, pod) &&
	       own_labels(speaker, pod, t->matchlabelkeys, t->n_matchlabelkeys, true) &&
	       own_labels(speaker, pod, t->mismatchlabelkeys, t->n_mismatchlabelkeys, false);
}

static bool room_and_ports(struct plain *p, const struct object *node)
{
	const struct pod_facts *mine = p->pod->facts.pod;
	int64_t cpu = mine->cpu_milli, memory = mine->memory_bytes, pods = 1;

	for (size_t i = 0; i < p->n_pods; i++) {
		const struct pod_facts *f = p->pods[i]->facts.pod;

		if (!is_on(p->pods[i], node))
			continue;
		cpu += f->cpu_milli;
		memory += f->memory_bytes;
		pods++;
		for (size_t k = 0; k < f->n_host_ports; k++)
			for (size_t m = 0; m < mine->n_host_ports; m++)
				if (f->host_ports[k].port == mine->host_ports[m].port)
					return false;
	}
	return (mine->cpu_milli == 0 || cpu <= node->facts.node->cpu_milli) &&
	       (mine->memory_bytes == 0 || memory <= node->facts.node->memory_bytes) &&
	       pods <= node->facts.node->pods;
}

static bool affinity_holds(struct plain *p, const struct object *node)
{
	const CoreV1__PodAffinity *a = p->spec->affinity ? p->spec->affinity->podaffinity : NULL;
	size_t n = a ? a->n_requiredduringschedulingignoredduringexecution : 0;
	bool anywhere = false, all = true, self = true;

	for (size_t i = 0; i < n; i++) {
		const CoreV1__PodAffinityTerm *t =
			a->requiredduringschedulingignoredduringexecution[i];
		bool here = false;

		if (object_label(node, t->topologykey) == NULL)
			return false;
		self = self && speaks_of(p, t, p->pod, p->pod);
		for (size_t k = 0; k < p->n_pods; k++) {
			const struct object *there = node_of(p, p->pods[k]);
			bool every = there != NULL;

			for (size_t m = 0; every && m < n; m++)
				every = speaks_of(
					p, a->requiredduringschedulingignoredduringexecution[m],
					p->pod, p->pods[k]);
			if (!every || object_label(there, t->topologykey) == NULL)
				continue;
			anywhere = true;
			here = here || same_place(node, there, t->topologykey);
		}
		all = all && here;
	}
	return all || (!anywhere && self);
}

/* Whether one that speaks shuns the other, from node to node. */
static bool shuns(struct plain *p, const struct object *speaker, const struct object *from,
		  const struct object *other, const struct object *to)
{
	const CoreV1__Affinity *a = spec_of(p, speaker)->affinity;
	const CoreV1__PodAntiAffinity *no = a ? a->podantiaffinity : NULL;

	for (size_t i = 0; no && i < no->n_requiredduringschedulingignoredduringexecution; i++) {
		const CoreV1__PodAffinityTerm *t =
			no->requiredduringschedulingignoredduringexecution[i];

		if (same_place(from, to, t->topologykey) && speaks_of(p, t, speaker, other))
			return true;
	}
	return false;
}

static bool nobody_shuns(struct plain *p, const struct object *node)
{
	for (size_t k = 0; k < p->n_pods; k++) {
		const struct object *there = node_of(p, p->pods[k]);

		if (there != NULL && (shuns(p, p->pod, node, p->pods[k], there) ||
				      shuns(p, p->pods[k], there, p->pod, node)))
			return false;
	}
	return true;
}

/* Whether a node counts when pods are spread by t. */
static bool counts(struct plain *p, const CoreV1__TopologySpreadConstraint *t,
		   const struct object *node)
{
	for (size_t i = 0; i < p->spec->n_topologyspreadconstraints; i++) {
		const CoreV1__TopologySpreadConstraint *k = p->spec->topologyspreadconstraints[i];

		if (text_is(k->whenunsatisfiable, "DoNotSchedule") &&
		    object_label(node, k->topologykey) == NULL)
			return false;
	}
	return (text_is(t->nodeaffinitypolicy, "Ignore") || node_rules_affinity(p->spec, node)) &&
	       (!text_is(t->nodetaintspolicy, "Honor") ||
		node_rules_taints(p->spec, node->facts.node));
}

static int64_t pods_in(struct plain *p, const CoreV1__TopologySpreadConstraint *t,
		       const struct object *node)
{
	int64_t n = 0;

	for (size_t k = 0; k < p->n_pods; k++) {
		const struct object *there = node_of(p, p->pods[k]);

		n += there != NULL && same_place(there, node, t->topologykey) &&
		     counts(p, t, there) && p->pods[k]->facts.deleted_ns == 0 &&
		     strcmp(p->pods[k]->namespace, p->pod->namespace) == 0 &&
		     selects(p, t->labelselector, p->pods[k]) &&
		     own_labels(p->pod, p->pods[k], t->matchlabelkeys, t->n_matchlabelkeys, true);
	}
	return n;
}

static bool is_first_of_place(struct plain *p, const CoreV1__TopologySpreadConstraint *t, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (counts(p, t, p->nodes[k]) &&
		    same_place(p->nodes[k], p->nodes[i], t->topologykey))
			return false;
	return true;
}

static bool spread_holds(struct plain *p, const CoreV1__TopologySpreadConstraint *t,
			 const struct object *node)
{
	int64_t least = INT64_MAX, places = 0;
	bool self = selects(p, t->labelselector, p->pod);

	if (!text_is(t->whenunsatisfiable, "DoNotSchedule"))
		return true;
	if (object_label(node, t->topologykey) == NULL)
		return false;
	for (size_t i = 0; i < p->n_nodes; i++) {
		if (!counts(p, t, p->nodes[i]))
			continue;

		int64_t n = pods_in(p, t, p->nodes[i]);

		least = n < least ? n : least;
		places += is_first_of_place(p, t, i);
	}
	if (t->has_mindomains && places < t->mindomains)
		least = 0;
	return pods_in(p, t, node) + self - least <= t->maxskew;
}

static bool allows(struct plain *p, const struct object *node)
{
	static const struct taint cordon = { "node.kubernetes.io/unschedulable", "", "NoSchedule",
					     0 };

	if (node->facts.node->unschedulable && !node_rules_tolerates(p->spec, &cordon))
		return false;
	if (!node_rules_taints(p->spec, node->facts.node) || !node_rules_affinity(p->spec, node) ||
	    !room_and_ports(p, node))
		return false;
	for (size_t i = 0; i < p->spec->n_topologyspreadconstraints; i++)
		if (!spread_holds(p, p->spec->topologyspreadconstraints[i], node))
			return false;
	return affinity_holds(p, node) && nobody_shuns(p, node);
}

/* --- Random clusters ----------------------------------------------------------------------- */

static char *random_selector(struct bed *b)
{
	return arena_printf(&b->w.arena, "{'match%s}",
			    PICK(b, "Labels':{'app':'a'}", "Labels':{'app':'b'}", "Labels':{}",
				 "Expressions':[{'key':'tier','operator':'Exists'}]",
				 "Expressions':[{'key':'app','operator':'NotIn','values':['a']}]"));
}

static const char *random_key(struct bed *b)
{
	return PICK(b, "host", "zone", "zone", "rack");
}

static char *random_term(struct bed *b)
{
	return arena_printf(&b->w.arena, "{'labelSelector':%s,'topologyKey':'%s'%s}",
			    random_selector(b), random_key(b),
			    PICK(b, "", "", "", ",'namespaces':['other']",
				 ",'namespaceSelector':{}",
				 ",'namespaceSelector':{'matchLabels':{'team':'x'}}",
				 ",'matchLabelKeys':['tier']", ",'mismatchLabelKeys':['tier']"));
}

static char *random_affinity(struct bed *b)
{
	struct arena *a = &b->w.arena;
	char *pods = arena_strdup(a, ""), *no = pods, *node = pods;

	if (below(b, 4) == 0)
		pods = arena_printf(a,
				    ",'podAffinity':{'requiredDuringSchedulingIgnoredDuring"
				    "Execution':[%s%s%s]}",
				    random_term(b), below(b, 3) ? "" : ",", "");
	if (strstr(pods, ",]") != NULL)
		pods = arena_printf(a, "%.*s%s]}", (int)(strlen(pods) - 2), pods, random_term(b));
	if (below(b, 3) == 0)
		no = arena_printf(a,
				  ",'podAntiAffinity':{'requiredDuringSchedulingIgnoredDuring"
				  "Execution':[%s]}",
				  random_term(b));
	if (below(b, 5) == 0)
		node = arena_printf(
			a,
			",'nodeAffinity':{'requiredDuringSchedulingIgnoredDuring"
			"Execution':{'nodeSelectorTerms':[{'match%s}]}}",
			PICK(b,
			     "Expressions':[{'key':'zone','operator':'In','values':["
			     "'z0','z1']}]",
			     "Fields':[{'key':'metadata.name','operator':'In','values'"
			     ":['n1']}]",
			     "Expressions':[{'key':'rack','operator':'DoesNotExist'}]"));
	/* Something has to stand before the first comma. */
	return arena_printf(a, "'affinity':{'x':0%s%s%s}", pods, no, node);
}

static char *random_spread(struct bed *b)
{
	return arena_printf(
		&b->w.arena,
		",'topologySpreadConstraints':[{'maxSkew':%d,'topologyKey':'%s','whenUnsatisfiable':"
		"'%s','labelSelector':%s%s}]",
		1 + (int)below(b, 2), random_key(b),
		PICK(b, "DoNotSchedule", "DoNotSchedule", "ScheduleAnyway"), random_selector(b),
		PICK(b, "", "", ",'minDomains':3", ",'nodeTaintsPolicy':'Honor'",
		     ",'nodeAffinityPolicy':'Ignore'", ",'matchLabelKeys':['tier']"));
}

static void put_random_pod(struct bed *b, int i)
{
	struct arena *a = &b->w.arena;
	char *affinity = random_affinity(b), *empty = strstr(affinity, "'x':0,");

	/* The place holder goes. */
	if (empty != NULL)
		memmove(empty, empty + 6, strlen(empty + 6) + 1);
	else
		affinity = arena_strdup(a, "'restartPolicy':'Always'");
	world_put(
		&b->w,
		arena_printf(a,
			     "{'kind':'Pod','metadata':{'name':'p%d','namespace':'%s','labels':{"
			     "'app':'%s'%s}},'spec':{'schedulerName':'default-scheduler',%s%s%s%s,"
			     "'containers':[{'name':'a','image':'b'%s,'resources':{'requests':{"
			     "'cpu':'%s'}}}]},'status':{'phase':'Pending'}}",
			     i, PICK(b, "default", "default", "other"), PICK(b, "a", "b", "c"),
			     PICK(b, "", ",'tier':'1'", ",'tier':'2'"), affinity,
			     below(b, 3) == 0 ? random_spread(b) : "",
			     PICK(b, "", "", ",'nodeSelector':{'zone':'z1'}"),
			     PICK(b, "", "", ",'tolerations':[{'key':'t','operator':'Exists'}]"),
			     PICK(b, "", "", "",
				  ",'ports':[{'containerPort':80,'hostPort':80,'protocol':"
				  "'TCP'}]"),
			     PICK(b, "0", "500m", "1", "2")));
}

static void put_random_node(struct bed *b, int i)
{
	struct arena *a = &b->w.arena;

	bed_put_node(b, arena_printf(a, "n%d", i), PICK(b, "2", "4"),
		     arena_printf(a, "'host':'n%d'%s%s", i,
				  PICK(b, "", ",'zone':'z0'", ",'zone':'z1'", ",'zone':'z2'"),
				  PICK(b, "", ",'rack':'r0'", ",'rack':'r1'")),
		     PICK(b, "", "", "", "'unschedulable':true",
			  "'taints':[{'key':'t','value':'','effect':'NoSchedule'}]",
			  "'taints':[{'key':'t','value':'','effect':'PreferNoSchedule'}]"));
}

/* A pod that is there goes, gets other labels, or begins to end. */
static void change_a_pod(struct bed *b, int last)
{
	const char *name = arena_printf(&b->w.arena, "p%d", (int)below(b, (uint64_t)last + 1));
	const char *space = PICK(b, "default", "other");
	const struct object *o = world_get(&b->w, "pods", space, name);

	if (o == NULL)
		return;
	if (below(b, 2) == 0) {
		world_delete(&b->w, "pods", space, name, PICK(b, "", "g")[0] ? 30 : 0, NULL);
		return;
	}

	char *text = world_print(&b->w, o), *label = strstr(text, "\"app\":\"");

	if (label != NULL)
		label[strlen("\"app\":\"")] = "abc"[below(b, 3)];
	/* What messages say with it would be read as a quotation. */
	for (char *c = text; *c != '\0'; c++)
		*c = *c == '\'' ? '`' : *c;
	world_put(&b->w, arena_printf(&b->w.arena, "{\"kind\":\"Pod\",%s", text + 1));
}

static void put_space(struct bed *b, const char *name)
{
	world_put(&b->w, arena_printf(&b->w.arena,
				      "{'kind':'Namespace','metadata':{'name':'%s','labels':{%s"
				      "}}}",
				      name, PICK(b, "", "'team':'x'", "'team':'y'")));
}

/* --- Comparing ---------------------------------------------------------------------------------
 */

static struct plain plain_of(struct bed *b, const struct object *pod)
{
	struct plain p = { .b = b, .v = world_view(&b->w), .pod = pod };

	p.spec = spec_of(&p, pod);
	p.nodes = view_list(&p.v, "nodes", "", &p.n_nodes);
	p.pods = view_list(&p.v, "pods", NULL, &p.n_pods);
	return p;
}

static size_t nodes_allowed(struct plain *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_nodes; i++)
		n += allows(p, p->nodes[i]);
	return n;
}

static void compare(struct bed *b, const struct intents *intents, const struct object *pod,
		    uint64_t seed)
{
	struct plain p = plain_of(b, pod);
	const char *chosen = intents->first->type == INTENT_BIND ? intents->first->node : NULL;

	if (chosen != NULL && !allows(&p, view_get(&p.v, "nodes", "", chosen)))
		fail_msg("seed %llu: %s must not be on %s: %s", (unsigned long long)seed, pod->name,
			 chosen, world_print(&b->w, pod));
	if (chosen == NULL && nodes_allowed(&p) > 0)
		fail_msg("seed %llu: %s finds none of its nodes: %s\n%s", (unsigned long long)seed,
			 pod->name, world_print(&b->w, pod), intents_print(intents, &b->w.arena));
}

/* Whoever still waits has no node: no change that helps was missed. */
static void nobody_waits_in_vain(struct bed *b, uint64_t seed)
{
	size_t n;
	struct view v = world_view(&b->w);
	const struct object *const *pods = view_list(&v, "pods", NULL, &n);

	for (size_t i = 0; i < n; i++) {
		struct plain p = plain_of(b, pods[i]);

		if (!pods[i]->facts.pod->scheduled && nodes_allowed(&p) > 0)
			fail_msg("seed %llu: %s sleeps though it has a node: %s",
				 (unsigned long long)seed, pods[i]->name,
				 world_print(&b->w, pods[i]));
	}
}

static size_t decide_all(struct bed *b, uint64_t seed)
{
	for (size_t bound = 0;;) {
		struct view v = world_view(&b->w);
		struct intents intents;
		const struct object *pod;

		intents_init(&intents, &b->w.arena);
		if (scheduler_next(b->scheduler, &v, &intents, &pod)) {
			compare(b, &intents, pod, seed);
			bound += intents.first->type == INTENT_BIND;
			assert_int_equal(world_apply(&b->w, &intents, NULL), 0);
		} else if (scheduler_count(b->scheduler).backing_off > 0) {
			b->w.now_ns = scheduler_again_ns(b->scheduler);
		} else {
			return bound;
		}
	}
}

static size_t one_cluster(uint64_t seed)
{
	auto_with(bed_fini) struct bed b;
	size_t bound = 0;

	bed_init(&b);
	seeded_source_init(&b.w.source, seed);
	put_space(&b, "default");
	put_space(&b, "other");
	for (int i = 0; i < NODES; i++)
		put_random_node(&b, i);
	for (int i = 0; i < STEPS; i++) {
		put_random_pod(&b, i);
		if (below(&b, 3) == 0)
			change_a_pod(&b, i);
		if (below(&b, 6) == 0)
			put_random_node(&b, (int)below(&b, NODES));
		if (below(&b, 10) == 0)
			put_space(&b, PICK(&b, "default", "other"));
		if (below(&b, 20) == 0)
			scheduler_seed(b.scheduler, b.w.store, b.w.now_ns);
		b.w.now_ns += (int64_t)below(&b, 3) * S;
		bound += decide_all(&b, seed);
		nobody_waits_in_vain(&b, seed);
	}
	return bound;
}

static void both_find_the_same(void **state)
{
	size_t bound = 0;

	for (uint64_t i = 0; i < clusters; i++)
		bound += one_cluster(seed_first + i);
	/* Neither all nor none: the rules had something to decide. */
	assert_true(bound > clusters * STEPS / 10);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(both_find_the_same) };

	seed_first = argc > 1 ? strtoull(argv[1], NULL, 10) : seed_first;
	clusters = argc > 2 ? strtoull(argv[2], NULL, 10) : clusters;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
