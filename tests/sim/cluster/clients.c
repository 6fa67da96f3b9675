/* People and their tools: what they ask of any master, and what they were told.
 *
 * Every write of a ConfigMap carries a number of its own and lets the server choose
 * the name, so an executed repetition shows as a second object of that number.
 * Counters are changed by compare and swap: what was acknowledged is in the sum. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/make.h"
#include "common/api/pack.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "tests/sim/cluster/chaos.h"

static const char *const namespaces[NAMESPACES] = { "default", "team-a", "team-b" };
static const char *const apps[] = { "ada", "bob", "cyd", "dan" };
enum { APPS = sizeof(apps) / sizeof(apps[0]) };

struct asked {
	struct chaos *chaos;
	struct followed *created, *deleted;
	struct counter *counter;
	struct switched *switched;
	unsigned value; /* What it was to be set to. */
	uint64_t begin_ns;
	const char *what;
};

static const char *draw_namespace(struct chaos *c)
{
	return namespaces[sim_draw(&c->sim, NAMESPACES)];
}

static const char *draw_app(struct chaos *c)
{
	return apps[sim_draw(&c->sim, APPS)];
}

static char *name_of_response(struct chaos *c, const SampanMaster__WriteResponse *r)
{
	CoreV1__ConfigMap *m;

	if (!r->has_object)
		return NULL; /* Told by a leader that no longer remembers the object. */
	m = unpack_stored(&core_v1__config_map__descriptor, bytes_of(r->object.data, r->object.len),
			  &c->sim.arena);
	return m->metadata != NULL ? m->metadata->name : NULL;
}

/* A write that was acknowledged was in force at some time after it was asked for. */
static void check_switched(struct chaos *c, const struct asked *asked)
{
	const struct switched *s = asked->switched;

	for (size_t i = 0; i < s->n; i++) {
		uint64_t until_ns = i + 1 < s->n ? s->changes[i + 1].since_ns : UINT64_MAX;

		if (s->changes[i].value == asked->value && until_ns >= asked->begin_ns)
			return;
	}
	chaos_fail(c, "acknowledged and never in force: %s", asked->what);
}

static void on_done(void *ctx, const void *write_response)
{
	const SampanMaster__WriteResponse *r = write_response;
	struct asked *asked = ctx;
	struct chaos *c = asked->chaos;
	bool unknown = r->code == 504;

	c->figures.refused += r->code >= 300 && !unknown;
	c->figures.unknown += unknown;
	chaos_trace(c, "  answered %d: %s", r->code, asked->what);
	if (r->code == 500 || r->code == 0)
		chaos_fail(c, "code %d: %s", r->code, asked->what);
	if (asked->created != NULL) {
		if (r->code == 201) {
			asked->created->acknowledged = true;
			asked->created->name = name_of_response(c, r);
		} else if (!unknown && r->code != 429) {
			chaos_fail(c, "%s was answered with %d", asked->what, r->code);
		}
	}
	if (asked->switched != NULL && r->code == 200)
		check_switched(c, asked);
	if (asked->deleted != NULL && r->code == 200)
		asked->deleted->delete_acknowledged = true;
	if (asked->counter != NULL) {
		asked->counter->acknowledged += r->code == 200;
		asked->counter->unknown -= !unknown;
	}
}

static struct asked *submit(struct chaos *c, unsigned master, SampanMaster__WriteRequest *request,
			    const char *what)
{
	struct asked *asked = arena_new(&c->sim.arena, struct asked);

	*asked = (struct asked){ .chaos = c, .begin_ns = c->sim.now_ns, .what = what };
	c->figures.requests++;
	chaos_trace(c, "ask master %u: %s", master + 1, what);
	writes_submit(c->sim.masters[master].writes, request, 30000, on_done, asked);
	return asked;
}

void clients_submit(struct chaos *c, unsigned master, const char *verb, const char *resource,
		    const char *namespace, const char *name, const char *json)
{
	bool create = strcmp(verb, "create") == 0, patch = strcmp(verb, "patch") == 0;

	submit(c, master,
	       sim_request(&c->sim,
			   create  ? VERB(CREATE)
			   : patch ? VERB(PATCH)
				   : VERB(DELETE),
			   resource, namespace, name, json),
	       arena_printf(&c->sim.arena, "%s %s %s/%s %s", verb, resource, namespace, name,
			    json != NULL ? json : ""));
}

static void ask(struct chaos *c, const char *verb, const char *resource, const char *namespace,
		const char *name, const char *json)
{
	clients_submit(c, chaos_master_up(c), verb, resource, namespace, name, json);
}

/* --- Writes that are followed ------------------------------------------------------------- */

static void create_followed(struct chaos *c)
{
	struct followed *f = &c->writes[c->n_writes];
	const char *json;

	if (c->n_writes == WRITES_MAX)
		return;
	json = arena_printf(
		&c->sim.arena,
		"{'metadata':{'generateName':'w-','labels':{'write':'%u'}},'data':{'k':'v'}}",
		c->n_writes);
	submit(c, chaos_master_up(c),
	       sim_request(&c->sim, VERB(CREATE), "configmaps", "default", "", json),
	       arena_printf(&c->sim.arena, "create followed %u", c->n_writes))
		->created = f;
	c->n_writes++;
}

static void delete_followed(struct chaos *c)
{
	struct followed *f = c->n_writes > 0 ? &c->writes[sim_draw(&c->sim, c->n_writes)] : NULL;

	if (f == NULL || f->name == NULL || f->delete_asked)
		return;
	f->delete_asked = true;
	submit(c, chaos_master_up(c),
	       sim_request(&c->sim, VERB(DELETE), "configmaps", "default", f->name, NULL),
	       arena_printf(&c->sim.arena, "delete followed %s", f->name))
		->deleted = f;
}

static uint64_t count_of(struct chaos *c, const struct object *o)
{
	CoreV1__ConfigMap *m = unpack_stored(o->kind->descriptor, o->packed, &c->sim.arena);

	return m->n_data > 0 ? strtoull(m->data[0]->value, NULL, 10) : 0;
}

/* Read anywhere, maybe something old; write only if it is still so. */
static void count(struct chaos *c)
{
	unsigned i = sim_draw(&c->sim, COUNTERS), master = chaos_master_up(c);
	const char *name = arena_printf(&c->sim.arena, "counter-%u", i);
	const struct object *o = sim_get(&c->sim, master, "configmaps", "default", name);
	SampanMaster__WriteRequest *request;

	if (o == NULL)
		return;
	request = sim_request(&c->sim, VERB(UPDATE), "configmaps", "default", name,
			      arena_printf(&c->sim.arena,
					   "{'metadata':{'name':'%s','resourceVersion':'%" PRIu64
					   "'},'data':{'count':'%" PRIu64 "'}}",
					   name, o->revision, count_of(c, o) + 1));
	c->counters[i].unknown++;
	submit(c, chaos_master_up(c), request, arena_printf(&c->sim.arena, "count %s", name))
		->counter = &c->counters[i];
}

void clients_switched(struct chaos *c, const struct object *config)
{
	struct switched *s = &c->switches[config->name[strlen("switch-")] - '0'];

	if (s->n == SWITCH_CHANGES_MAX)
		chaos_fail(c, "%s changes too often", config->name);
	s->changes[s->n].since_ns = c->sim.now_ns;
	s->changes[s->n++].value = (unsigned)count_of(c, config);
}

static void turn_switch(struct chaos *c)
{
	unsigned i = sim_draw(&c->sim, SWITCHES), value = sim_draw(&c->sim, SWITCH_VALUES);
	const char *name = arena_printf(&c->sim.arena, "switch-%u", i);
	struct asked *asked =
		submit(c, chaos_master_up(c),
		       sim_request(&c->sim, VERB(PATCH), "configmaps", "default", name,
				   arena_printf(&c->sim.arena, "{'data':{'v':'%u'}}", value)),
		       arena_printf(&c->sim.arena, "set %s to %u", name, value));

	asked->switched = &c->switches[i];
	asked->value = value;
}

/* --- Workloads ----------------------------------------------------------------------------- */

static const char *template_of(struct chaos *c, const char *app, unsigned version)
{
	static const char *const places[] = { "", "", "'nodeSelector':{'zone':'a'},",
					      "'tolerations':[{'operator':'Exists'}]," };
	/* Some bear a lost node for five seconds only. */
	static const char *const hurry =
		"'tolerations':[{'key':'node.kubernetes.io/unreachable','operator':'Exists','effect':"
		"'NoExecute','tolerationSeconds':5}],";
	const char *place = sim_draw(&c->sim, 2) ? hurry : places[sim_draw(&c->sim, 4)];

	return arena_printf(
		&c->sim.arena,
		"{'metadata':{'labels':{'app':'%s'},'annotations':{'v':'%u'}},'spec':{%s"
		"'terminationGracePeriodSeconds':%u,'containers':[{'name':'c','image':'i:1',"
		"'resources':{'requests':{'cpu':'%um','memory':'%uMi'}}}]}}",
		app, version, place, sim_draw(&c->sim, 4) * 2, 50 + 50 * sim_draw(&c->sim, 6),
		64 * (1 + sim_draw(&c->sim, 8)));
}

static const char *strategy(struct chaos *c)
{
	unsigned surge = sim_draw(&c->sim, 3), unavailable = sim_draw(&c->sim, 3);

	if (sim_draw(&c->sim, 5) == 0)
		return "{'type':'Recreate','rollingUpdate':null}";
	if (surge + unavailable == 0)
		surge = 1;
	return arena_printf(
		&c->sim.arena,
		"{'type':'RollingUpdate','rollingUpdate':{'maxSurge':%u,'maxUnavailable':%u}}",
		surge, unavailable);
}

static void change_deployment(struct chaos *c)
{
	const char *app = draw_app(c), *namespace = draw_namespace(c), *json = NULL;
	const char *verb = "patch";
	unsigned what = sim_draw(&c->sim, 20);

	if (what < 7) {
		verb = "create";
		json = arena_printf(
			&c->sim.arena,
			"{'metadata':{'name':'%s'},'spec':{'replicas':%u,%s'minReadySeconds':%u,"
			"'selector':{'matchLabels':{'app':'%s'}},'template':%s}}",
			app, sim_draw(&c->sim, 6),
			sim_draw(&c->sim, 2) ? "" : "'revisionHistoryLimit':2,",
			sim_draw(&c->sim, 3) ? 0 : 2, app, template_of(c, app, 0));
	} else if (what < 11) {
		json = arena_printf(&c->sim.arena, "{'spec':{'replicas':%u}}",
				    sim_draw(&c->sim, 8));
	} else if (what < 15) {
		json = arena_printf(&c->sim.arena, "{'spec':{'template':%s}}",
				    template_of(c, app, sim_draw(&c->sim, 4)));
	} else if (what < 17) {
		json = arena_printf(&c->sim.arena, "{'spec':{'strategy':%s}}", strategy(c));
	} else if (what < 18) {
		json = arena_printf(&c->sim.arena, "{'spec':{'paused':%s}}",
				    sim_draw(&c->sim, 2) ? "true" : "false");
	} else {
		verb = "delete";
	}
	ask(c, verb, "deployments.apps", namespace, verb[0] == 'c' ? "" : app, json);
}

static void delete_how(struct chaos *c, const char *resource, const char *namespace,
		       const char *name)
{
	static const char *const policies[] = { "Background", "Foreground", "Orphan" };
	MetaV1__DeleteOptions *options =
		make(&c->sim.arena, MetaV1__DeleteOptions, meta_v1__delete_options);
	SampanMaster__WriteRequest *request =
		sim_request(&c->sim, VERB(DELETE), resource, namespace, name, NULL);
	struct bytes packed;

	options->propagationpolicy = arena_strdup(&c->sim.arena, policies[sim_draw(&c->sim, 3)]);
	packed = pack_message_in(&c->sim.arena, options);
	request->has_delete_options = true;
	request->delete_options = (ProtobufCBinaryData){ packed.len, (uint8_t *)packed.data };
	submit(c, chaos_master_up(c), request,
	       arena_printf(&c->sim.arena, "delete %s %s/%s %s", resource, namespace, name,
			    options->propagationpolicy));
}

static void change_replicaset(struct chaos *c)
{
	const char *app = arena_printf(&c->sim.arena, "set-%u", sim_draw(&c->sim, 2));
	const char *namespace = draw_namespace(c);
	unsigned what = sim_draw(&c->sim, 8);

	if (what < 3)
		ask(c, "create", "replicasets.apps", namespace, "",
		    arena_printf(
			    &c->sim.arena,
			    "{'metadata':{'name':'%s'},'spec':{'replicas':%u,'selector':{'matchLabels':"
			    "{'app':'%s'}},'template':%s}}",
			    app, sim_draw(&c->sim, 5), app, template_of(c, app, 0)));
	else if (what < 6)
		ask(c, "patch", "replicasets.apps", namespace, app,
		    arena_printf(&c->sim.arena, "{'spec':{'replicas':%u}}", sim_draw(&c->sim, 6)));
	else
		delete_how(c, "replicasets.apps", namespace, app);
}

static void change_service(struct chaos *c)
{
	const char *name = arena_printf(&c->sim.arena, "s%u", sim_draw(&c->sim, 6));
	const char *namespace = draw_namespace(c);
	unsigned what = sim_draw(&c->sim, 9);
	const char *type = what < 2 ? "'type':'NodePort'," : what < 3 ? "'clusterIP':'None'," : "";

	if (what < 5)
		ask(c, "create", "services", namespace, "",
		    arena_printf(
			    &c->sim.arena,
			    "{'metadata':{'name':'%s'},'spec':{%s'selector':{'app':'%s'},'ports':[{'port':"
			    "80%s}]}}",
			    name, type, draw_app(c),
			    what == 0 ? arena_printf(&c->sim.arena, ",'nodePort':%u",
						     30000 + sim_draw(&c->sim, 6))
				      : ""));
	else if (what < 7)
		ask(c, "patch", "services", namespace, name,
		    arena_printf(&c->sim.arena, "{'spec':{'selector':{'app':'%s'}}}", draw_app(c)));
	else
		ask(c, "delete", "services", namespace, name, NULL);
}

static void change_namespace(struct chaos *c)
{
	const char *name = namespaces[1 + sim_draw(&c->sim, NAMESPACES - 1)];

	if (sim_draw(&c->sim, 3) == 0)
		ask(c, "delete", "namespaces", "", name, NULL);
	else
		ask(c, "create", "namespaces", "", "",
		    arena_printf(&c->sim.arena, "{'metadata':{'name':'%s'}}", name));
}

static void change_node(struct chaos *c)
{
	const char *node = arena_printf(&c->sim.arena, "node-%u", sim_draw(&c->sim, NODES));
	unsigned what = sim_draw(&c->sim, 12);

	if (what < 3)
		ask(c, "patch", "nodes", "", node, "{'spec':{'unschedulable':true}}");
	else if (what < 6)
		ask(c, "patch", "nodes", "", node, "{'spec':{'unschedulable':false}}");
	else if (what < 8)
		ask(c, "patch", "nodes", "", node,
		    "{'spec':{'taints':[{'key':'drill','effect':'NoSchedule'}]}}");
	else if (what < 10 || c->calm_nodes)
		ask(c, "patch", "nodes", "", node, "{'spec':{'taints':[]}}");
	else if (what < 11)
		ask(c, "patch", "nodes", "", node,
		    "{'spec':{'taints':[{'key':'drill','effect':'NoExecute'}]}}");
	else
		ask(c, "delete", "nodes", "", node, NULL);
}

struct draw_pod {
	struct chaos *chaos;
	const struct object *drawn;
	unsigned seen;
};

static bool on_pod_to_draw(void *ctx, const struct object *o)
{
	struct draw_pod *draw = ctx;

	if (sim_draw(&draw->chaos->sim, ++draw->seen) == 0)
		draw->drawn = o;
	return true;
}

static void delete_pod(struct chaos *c)
{
	struct draw_pod draw = { .chaos = c };

	store_walk(c->sim.masters[chaos_master_up(c)].store, kind_of_resource("pods"), NULL, NULL,
		   NULL, on_pod_to_draw, &draw);
	if (draw.drawn != NULL)
		delete_how(c, "pods", draw.drawn->namespace, draw.drawn->name);
}

/* --- Turns ----------------------------------------------------------------------------------- */

void clients_turn(struct chaos *c)
{
	unsigned what = sim_draw(&c->sim, 100);

	/* Two that lead at once is what these are about. */
	for (unsigned i = c->stale >= 0 ? 6 : 1; i > 0; i--)
		turn_switch(c);
	if (what < 20)
		create_followed(c);
	else if (what < 27)
		delete_followed(c);
	else if (what < 42)
		count(c);
	else if (what < 68)
		change_deployment(c);
	else if (what < 76)
		change_replicaset(c);
	else if (what < 87)
		change_service(c);
	else if (what < 91)
		change_namespace(c);
	else if (what < 96)
		change_node(c);
	else
		delete_pod(c);
}

void clients_begin(struct chaos *c)
{
	clients_submit(c, 0, "create", "namespaces", "", "", "{'metadata':{'name':'default'}}");
	clients_submit(c, 0, "create", "namespaces", "", "", "{'metadata':{'name':'kube-system'}}");
	clients_submit(c, 0, "create", "configmaps", "kube-system", "",
		       "{'metadata':{'name':'kube-root-ca.crt'},'data':{'ca.crt':'pem'}}");
	for (unsigned i = 0; i < SWITCHES; i++)
		clients_submit(c, 0, "create", "configmaps", "default", "",
			       arena_printf(&c->sim.arena,
					    "{'metadata':{'name':'switch-%u'},'data':{'v':'0'}}",
					    i));
	for (unsigned i = 0; i < COUNTERS; i++)
		clients_submit(
			c, 0, "create", "configmaps", "default", "",
			arena_printf(&c->sim.arena,
				     "{'metadata':{'name':'counter-%u'},'data':{'count':'0'}}", i));
}

static bool resume(void *ctx, const struct object *o)
{
	ask(ctx, "patch", "deployments.apps", o->namespace, o->name, "{'spec':{'paused':false}}");
	return true;
}

void clients_heal(struct chaos *c)
{
	store_walk(c->sim.masters[c->sim.leader].store, kind_of_resource("deployments.apps"), NULL,
		   NULL, NULL, resume, c);
	for (unsigned i = 0; i < NODES; i++)
		clients_submit(c, chaos_master_up(c), "patch", "nodes", "",
			       arena_printf(&c->sim.arena, "node-%u", i),
			       "{'spec':{'unschedulable':false,'taints':[]}}");
}

/* --- What must have become of it ---------------------------------------------------------------
 */

struct found {
	struct chaos *chaos;
	unsigned times[WRITES_MAX];
};

static bool on_config(void *ctx, const struct object *o)
{
	struct found *found = ctx;
	const char *number = object_label(o, "write");

	if (number != NULL)
		found->times[strtoul(number, NULL, 10)]++;
	return true;
}

void clients_check(struct chaos *c)
{
	struct found found = { .chaos = c };

	store_walk(c->sim.masters[c->sim.leader].store, kind_of_resource("configmaps"), "default",
		   NULL, NULL, on_config, &found);
	for (unsigned i = 0; i < c->n_writes; i++) {
		const struct followed *f = &c->writes[i];

		if (found.times[i] > 1)
			chaos_fail(c, "write %u was executed %u times", i, found.times[i]);
		if (found.times[i] == 0 && f->acknowledged && !f->delete_asked)
			chaos_fail(c, "write %u was acknowledged and is lost", i);
		if (found.times[i] == 1 && f->delete_acknowledged)
			chaos_fail(c, "write %u was deleted, and is there again", i);
	}
	for (unsigned i = 0; i < COUNTERS; i++) {
		const struct object *o =
			sim_get(&c->sim, (unsigned)c->sim.leader, "configmaps", "default",
				arena_printf(&c->sim.arena, "counter-%u", i));
		uint64_t n = o != NULL ? count_of(c, o) : 0;

		if (n < c->counters[i].acknowledged ||
		    n > c->counters[i].acknowledged + c->counters[i].unknown)
			chaos_fail(c,
				   "counter %u is %" PRIu64 " after %" PRIu64
				   " acknowledged and %" PRIu64 " unknown",
				   i, n, c->counters[i].acknowledged, c->counters[i].unknown);
	}
}
