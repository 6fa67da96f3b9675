/* The control plane under chaos: sim-cluster [--from SEED] [--to SEED] [--verbose]
 *
 * Clients create, scale, change and delete Deployments and write ConfigMaps on any
 * master; agents run what is bound to them; leaders are deposed and killed,
 * messages lost. Then everything heals, and what must hold is checked:
 * the same state on all masters (after every entry), acknowledged writes kept and
 * done once, no pod ever on two nodes, no address given twice, all work finished,
 * and then silence: not one entry more. */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/kinds.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "proto/k8s/apps_v1.pb-c.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "tests/sim/cluster/cluster.h"

#define CREATE SAMPAN_MASTER__WRITE_REQUEST__VERB__CREATE
#define PATCH SAMPAN_MASTER__WRITE_REQUEST__VERB__PATCH
#define DELETE SAMPAN_MASTER__WRITE_REQUEST__VERB__DELETE

enum { MASTERS = 3, NODES = 3, DEPLOYMENTS = 4, ROUNDS = 120, CONFIGS_MAX = 400 };

struct chaos {
	struct sim sim;
	bool verbose;
	/* ConfigMaps by number. */
	bool asked[CONFIGS_MAX], acknowledged[CONFIGS_MAX];
	unsigned n_configs;
	struct map nodes_of_pods; /* uid -> node name it was first bound to. */
	unsigned crashes, depositions, pods_seen;
};

static const char *const deployments[DEPLOYMENTS] = { "ada", "bob", "cyd", "dan" };

/* --- Requests ---------------------------------------------------------------------------- */

struct asked {
	struct chaos *chaos;
	int config; /* -1: not one. */
};

static unsigned any_master_up(struct chaos *c)
{
	unsigned i;

	do
		i = sim_draw(&c->sim, MASTERS);
	while (!c->sim.masters[i].up);
	return i;
}

static void on_done(void *ctx, const void *write_response)
{
	const SampanMaster__WriteResponse *r = write_response;
	struct asked *asked = ctx;
	struct chaos *c = asked->chaos;

	if (asked->config >= 0) {
		if (r->code == 201)
			c->acknowledged[asked->config] = true;
		else if (r->code != 504)
			fail_msg("seed %" PRIu64 ": config %d was answered with %d",
				 c->sim.seed, asked->config, r->code);
	}
}

static void submit(struct chaos *c, SampanMaster__WriteRequest *request, int config)
{
	struct asked *asked = arena_new(&c->sim.arena, struct asked);
	unsigned master = any_master_up(c);

	*asked = (struct asked){ c, config };
	writes_submit(c->sim.masters[master].writes, request, 30000, on_done, asked);
}

/* A crash takes the requests of its clients with it: nobody is told, the outcome is unknown. */
static void crash(struct chaos *c, unsigned master)
{
	unsigned others = 0;

	for (unsigned i = 0; i < MASTERS; i++)
		others += i != master && c->sim.masters[i].up;
	if (others < 2 || !c->sim.masters[master].up)
		return;
	sim_crash(&c->sim, master);
	c->crashes++;
}

static void create_config(struct chaos *c)
{
	char json[128];

	if (c->n_configs == CONFIGS_MAX)
		return;
	snprintf(json, sizeof(json), "{'metadata':{'name':'config-%u'},'data':{'k':'v'}}",
		 c->n_configs);
	c->asked[c->n_configs] = true;
	submit(c, sim_request(&c->sim, CREATE, "configmaps", "default", "", json),
	       (int)c->n_configs++);
}

static void change_deployment(struct chaos *c)
{
	unsigned i = sim_draw(&c->sim, DEPLOYMENTS), what = sim_draw(&c->sim, 8);
	char json[512];

	if (what < 3) {
		snprintf(json, sizeof(json),
			 "{'metadata':{'name':'%s'},'spec':{'replicas':%u,'selector':{'matchLabels':"
			 "{'app':'%s'}},'template':{'metadata':{'labels':{'app':'%s'}},'spec':"
			 "{'containers':[{'name':'c','image':'i:1','resources':{'requests':{'cpu':'100m'}}"
			 "}]}}}}",
			 deployments[i], sim_draw(&c->sim, 5), deployments[i], deployments[i]);
		submit(c, sim_request(&c->sim, CREATE, "deployments.apps", "default", "", json), -1);
	} else if (what < 5) {
		snprintf(json, sizeof(json), "{'spec':{'replicas':%u}}", sim_draw(&c->sim, 6));
		submit(c, sim_request(&c->sim, PATCH, "deployments.apps", "default", deployments[i],
				      json), -1);
	} else if (what < 7) {
		snprintf(json, sizeof(json),
			 "{'spec':{'template':{'metadata':{'annotations':{'v':'%u'}}}}}",
			 sim_draw(&c->sim, 5));
		submit(c, sim_request(&c->sim, PATCH, "deployments.apps", "default", deployments[i],
				      json), -1);
	} else {
		submit(c, sim_request(&c->sim, DELETE, "deployments.apps", "default", deployments[i],
				      NULL), -1);
	}
}

static void create_service(struct chaos *c)
{
	char json[256];

	snprintf(json, sizeof(json),
		 "{'metadata':{'name':'s%u'},'spec':{'selector':{'app':'%s'},'ports':[{'port':80}]}}",
		 sim_draw(&c->sim, 10), deployments[sim_draw(&c->sim, DEPLOYMENTS)]);
	if (sim_draw(&c->sim, 3) == 0)
		submit(c, sim_request(&c->sim, DELETE, "services", "default",
				      arena_printf(&c->sim.arena, "s%u", sim_draw(&c->sim, 10)), NULL),
		       -1);
	else
		submit(c, sim_request(&c->sim, CREATE, "services", "default", "", json), -1);
}

/* --- Agents -------------------------------------------------------------------------------- */

struct agent_turn {
	struct chaos *chaos;
	unsigned patience; /* Pods reported per turn. */
};

static bool on_agent_pod(void *ctx, const struct object *o)
{
	struct agent_turn *turn = ctx;
	struct chaos *c = turn->chaos;
	const struct pod_facts *pod = o->facts.pod;
	SampanMaster__WriteRequest *request;

	if (!pod->scheduled || turn->patience == 0)
		return turn->patience > 0;
	if (o->facts.deleted_ns != 0) {
		MetaV1__DeleteOptions *options = arena_new(&c->sim.arena, MetaV1__DeleteOptions);
		MetaV1__Preconditions *p = arena_new(&c->sim.arena, MetaV1__Preconditions);

		meta_v1__delete_options__init(options);
		meta_v1__preconditions__init(p);
		p->uid = arena_strdup(&c->sim.arena, o->facts.uid);
		options->preconditions = p;
		options->has_graceperiodseconds = true;

		struct bytes packed = pack_message_in(&c->sim.arena, options);

		request = sim_request(&c->sim, DELETE, "pods", o->namespace, o->name, NULL);
		request->has_delete_options = true;
		request->delete_options = (ProtobufCBinaryData){ packed.len, (uint8_t *)packed.data };
		submit(c, request, -1);
		turn->patience--;
	} else if (!pod->ready) {
		char json[512];

		snprintf(json, sizeof(json),
			 "{'status':{'phase':'Running','podIP':'10.244.9.%u','conditions':[{'type':"
			 "'PodScheduled','status':'True'},{'type':'Ready','status':'True',"
			 "'lastTransitionTime':'2026-01-01T00:00:00Z'}]}}",
			 sim_draw(&c->sim, 250) + 1);
		request = sim_request(&c->sim, PATCH, "pods", o->namespace, o->name, json);
		request->subresource = (char *)"status";
		submit(c, request, -1);
		turn->patience--;
	}
	return true;
}

static void agents_turn(struct chaos *c)
{
	struct agent_turn turn = { c, 5 };
	unsigned master = any_master_up(c);

	store_walk(c->sim.masters[master].store, kind_of_resource("pods"), NULL, NULL, NULL,
		   on_agent_pod, &turn);
}

/* --- Oracles -------------------------------------------------------------------------------- */

static bool on_pod_bound(void *ctx, const struct object *o)
{
	struct chaos *c = ctx;
	const char *node = map_get(&c->nodes_of_pods, o->facts.uid);

	if (!o->facts.pod->scheduled)
		return true;
	if (node == NULL) {
		c->pods_seen++;
		map_put(&c->nodes_of_pods, o->facts.uid,
			arena_strdup(&c->sim.arena, o->facts.pod->node_name));
	} else if (strcmp(node, o->facts.pod->node_name) != 0) {
		fail_msg("seed %" PRIu64 ": pod %s moved from %s to %s", c->sim.seed, o->name, node,
			 o->facts.pod->node_name);
	}
	return true;
}

static void check_pods(struct chaos *c)
{
	for (unsigned i = 0; i < MASTERS; i++)
		if (c->sim.masters[i].up)
			store_walk(c->sim.masters[i].store, kind_of_resource("pods"), NULL, NULL, NULL,
				   on_pod_bound, c);
}

static bool no_request_open(struct sim *sim, void *ctx)
{
	for (unsigned i = 0; i < MASTERS; i++)
		if (!writes_idle(sim->masters[i].writes))
			return false;
	return true;
}

static bool on_service(void *ctx, const struct object *o)
{
	struct map *addresses = ctx;
	const CoreV1__Service *service;
	struct arena a;

	arena_init(&a, 0);
	service = unpack_stored(o->kind->descriptor, o->packed, &a);
	if (service->spec->clusterip != NULL && strcmp(service->spec->clusterip, "None") != 0 &&
	    map_put(addresses, service->spec->clusterip, (void *)"taken") != NULL)
		fail_msg("the address %s is given twice", service->spec->clusterip);
	arena_fini(&a);
	return true;
}

static bool on_unfinished_pod(void *ctx, const struct object *o)
{
	unsigned *unfinished = ctx;

	*unfinished += !o->facts.pod->ready || o->facts.deleted_ns != 0;
	return true;
}

struct deployment_check {
	unsigned wrong, pods;
};

static bool on_deployment(void *ctx, const struct object *o)
{
	struct deployment_check *check = ctx;
	const AppsV1__Deployment *d;
	struct arena a;

	arena_init(&a, 0);
	d = unpack_stored(o->kind->descriptor, o->packed, &a);
	check->pods += (unsigned)d->spec->replicas;
	check->wrong += d->status == NULL || d->status->observedgeneration != d->metadata->generation ||
			d->status->readyreplicas != d->spec->replicas ||
			d->status->updatedreplicas != d->spec->replicas ||
			d->status->replicas != d->spec->replicas;
	arena_fini(&a);
	return true;
}

/* All Deployments are as wanted, all pods run, nothing is on its way. */
static bool is_settled(struct sim *sim, void *ctx)
{
	struct chaos *c = ctx;
	const struct store *s = sim->masters[sim->leader].store;
	struct deployment_check check = { 0 };
	unsigned unfinished = 0;

	agents_turn(c);
	if (!no_request_open(sim, NULL))
		return false;
	store_walk(s, kind_of_resource("pods"), NULL, NULL, NULL, on_unfinished_pod, &unfinished);
	store_walk(s, kind_of_resource("deployments.apps"), NULL, NULL, NULL, on_deployment, &check);
	return unfinished == 0 && check.wrong == 0 && check.pods == store_count(s, kind_of_resource("pods"));
}

static void check_end(struct chaos *c)
{
	struct sim *sim = &c->sim;
	const struct store *s = sim->masters[sim->leader].store;
	struct map addresses = { 0 };
	size_t entries;

	for (unsigned i = 0; i < c->n_configs; i++) {
		char name[32];
		bool there;

		snprintf(name, sizeof(name), "config-%u", i);
		there = sim_get(sim, (unsigned)sim->leader, "configmaps", "default", name) != NULL;
		if (c->acknowledged[i] && !there)
			fail_msg("seed %" PRIu64 ": the acknowledged %s is lost", sim->seed, name);
	}
	store_walk(s, kind_of_resource("services"), NULL, NULL, NULL, on_service, &addresses);
	map_fini(&addresses);

	/* Silence: an idle cluster writes nothing. */
	sim_run(sim, 3 * 1000000);
	entries = sim->n_log;
	sim_run(sim, 60 * 1000000);
	if (sim->n_log != entries)
		fail_msg("seed %" PRIu64 ": %zu entries in an idle minute", sim->seed,
			 sim->n_log - entries);
	for (unsigned i = 0; i < MASTERS; i++)
		assert_int_equal(store_hash(sim->masters[i].store), store_hash(s));
}

/* --- One seed -------------------------------------------------------------------------------- */

static void make_cluster(struct chaos *c)
{
	static const char *const namespaces[] = { "default", "kube-system" };

	sim_elect(&c->sim, 0);
	for (size_t i = 0; i < 2; i++)
		submit(c, sim_request(&c->sim, CREATE, "namespaces", "", "",
				      arena_printf(&c->sim.arena, "{'metadata':{'name':'%s'}}",
						   namespaces[i])), -1);
	submit(c, sim_request(&c->sim, CREATE, "configmaps", "kube-system", "",
			      "{'metadata':{'name':'kube-root-ca.crt'},'data':{'ca.crt':'pem'}}"), -1);
	for (unsigned i = 0; i < NODES; i++)
		submit(c, sim_request(&c->sim, CREATE, "nodes", "", "",
				      arena_printf(&c->sim.arena,
						   "{'metadata':{'name':'node-%u'},'status':{'allocatable':"
						   "{'cpu':'4','memory':'8Gi','pods':'110'},'conditions':[{"
						   "'type':'Ready','status':'True'}]}}",
						   i)), -1);
	sim_until(&c->sim, no_request_open, c, 10, "the first objects");
}

static void chaos_turn(struct chaos *c)
{
	struct sim *sim = &c->sim;
	unsigned what = sim_draw(sim, 100);

	if (what < 30)
		create_config(c);
	else if (what < 55)
		change_deployment(c);
	else if (what < 65)
		create_service(c);
	else if (what < 68)
		crash(c, sim_draw(sim, MASTERS));
	else if (what < 72)
		sim_restart(sim, sim_draw(sim, MASTERS));
	else if (what < 75) {
		sim_depose(sim);
		c->depositions++;
	}
	if (sim->leader < 0 && sim_draw(sim, 3) == 0)
		sim_elect(sim, any_master_up(c));
	agents_turn(c);
	sim_run(sim, 1000 * (1 + sim_draw(sim, 200)));
	check_pods(c);
}

static void run_seed(uint64_t seed, bool verbose)
{
	struct chaos *c = xcalloc(1, sizeof(*c));

	sim_init(&c->sim, seed,
		 &(struct sim_options){ .masters = MASTERS,
					.controllers = true,
					.loss_percent = (unsigned)(seed % 3) * 5,
					.commit_us_max = 3000,
					.message_us_max = 1500 });
	make_cluster(c);
	for (unsigned i = 0; i < ROUNDS; i++)
		chaos_turn(c);
	for (unsigned i = 0; i < MASTERS; i++)
		sim_restart(&c->sim, i);
	if (c->sim.leader < 0)
		sim_elect(&c->sim, sim_draw(&c->sim, MASTERS));
	c->sim.options.loss_percent = 0;
	sim_until(&c->sim, is_settled, c, 120, "everything as wanted");
	check_pods(c);
	check_end(c);
	if (verbose)
		printf("# seed %" PRIu64 ": %zu entries, revision %" PRIu64
		       ", %u pods, %u crashes, %u depositions\n",
		       seed, c->sim.n_log, store_revision(c->sim.masters[0].store), c->pods_seen,
		       c->crashes, c->depositions);
	sim_fini(&c->sim);
	map_fini(&c->nodes_of_pods);
	free(c);
}

static uint64_t from = 1, to = 10;
static bool verbose;

static void test_seeds(void **state)
{
	for (uint64_t seed = from; seed <= to; seed++)
		run_seed(seed, verbose);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_seeds) };

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--from") == 0 && i + 1 < argc)
			from = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--to") == 0 && i + 1 < argc)
			to = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--verbose") == 0)
			verbose = true;
	}
	log_init("sim", LOG_ERROR);
	return cmocka_run_group_tests_name("cluster under chaos", tests, NULL, NULL);
}
