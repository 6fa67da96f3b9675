#include "tests/sim/cluster/clients.h"

#include <string.h>

#include "common/api/kinds.h"
#include "common/api/make.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "controlplane/controllers/controller.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "proto/k8s/policy_v1.pb-c.h"
#include "tests/sim/cluster/oracle.h"

static const char *const namespaces[NAMESPACES] = { "default", "team-a", "team-b" };

/* --- Asking ------------------------------------------------------------------------------ */

struct asked {
	struct chaos *chaos;
	answered_cb *cb;
	void *ctx;
	const char *what;
};

/* A pod of two budgets cannot be evicted, as Kubernetes has it with a 500. */
static void may_be_confused(struct chaos *c, void *ctx, const SampanMaster__WriteResponse *r)
{
	struct figures *f = &c->figures;

	(void)ctx;
	f->drained += r->code == 201;
	f->withheld += r->code == 429;
}

static const char *reason_of(struct chaos *c, const SampanMaster__WriteResponse *r)
{
	const MetaV1__Status *status;

	if (!c->trace || !r->has_status)
		return "";
	status = unpack_stored(&meta_v1__status__descriptor,
			       bytes_of(r->status.data, r->status.len), &c->scratch);
	return arena_printf(&c->scratch, " (%s)", text_of(status->message));
}

static void on_done(void *ctx, const void *write_response)
{
	const SampanMaster__WriteResponse *r = write_response;
	struct asked *asked = ctx;
	struct chaos *c = asked->chaos;

	c->figures.refused += r->code >= 300 && r->code != 504;
	c->figures.unknown += r->code == 504;
	chaos_trace(c, "  answered %d%s: %s", r->code, reason_of(c, r), asked->what);
	if (r->code == 0 || (r->code == 500 && asked->cb != may_be_confused))
		chaos_fail(c, "code %d: %s", r->code, asked->what);
	if (asked->cb != NULL)
		asked->cb(c, asked->ctx, r);
}

void ask_with(struct chaos *c, unsigned master, SampanMaster__WriteRequest *request,
	      const char *what, answered_cb *cb, void *ctx)
{
	struct asked *asked = arena_new(&c->sim.arena, struct asked);

	*asked = (struct asked){ c, cb, ctx, what };
	c->figures.requests++;
	chaos_trace(c, "ask master %u: %s", master + 1, what);
	writes_submit(c->sim.masters[master].writes, request, 30000, on_done, asked);
}

void ask(struct chaos *c, const char *verb, const char *resource, const char *namespace,
	 const char *name, const char *json)
{
	bool create = verb[0] == 'c', patch = verb[0] == 'p';

	ask_with(c, chaos_master_up(c),
		 sim_request(&c->sim,
			     create  ? VERB(CREATE)
			     : patch ? VERB(PATCH)
				     : VERB(DELETE),
			     resource, namespace, name, json),
		 chaos_text(c, "%s %s %s/%s %s", verb, resource, namespace, name,
			    json != NULL ? json : ""),
		 NULL, NULL);
}

static void set_options(struct chaos *c, SampanMaster__WriteRequest *request,
			const MetaV1__DeleteOptions *options)
{
	struct bytes packed = pack_message_in(&c->scratch, options);

	request->has_delete_options = true;
	request->delete_options = (ProtobufCBinaryData){ packed.len, (uint8_t *)packed.data };
}

void ask_delete(struct chaos *c, const char *resource, const char *namespace, const char *name)
{
	static const char *const policies[] = { "Background", "Foreground", "Orphan" };
	MetaV1__DeleteOptions *options =
		make(&c->scratch, MetaV1__DeleteOptions, meta_v1__delete_options);
	SampanMaster__WriteRequest *request =
		sim_request(&c->sim, VERB(DELETE), resource, namespace, name, NULL);

	options->propagationpolicy = arena_strdup(&c->scratch, policies[sim_draw(&c->sim, 3)]);
	set_options(c, request, options);
	ask_with(c, chaos_master_up(c), request,
		 chaos_text(c, "delete %s %s/%s %s", resource, namespace, name,
			    options->propagationpolicy),
		 NULL, NULL);
}

void ask_force_delete(struct chaos *c, const struct object *pod)
{
	MetaV1__DeleteOptions *options =
		make(&c->scratch, MetaV1__DeleteOptions, meta_v1__delete_options);
	SampanMaster__WriteRequest *request =
		sim_request(&c->sim, VERB(DELETE), "pods", pod->namespace, pod->name, NULL);

	options->preconditions = make(&c->scratch, MetaV1__Preconditions, meta_v1__preconditions);
	options->preconditions->uid = arena_strdup(&c->scratch, pod->facts.uid);
	make_set(options, graceperiodseconds, 0);
	set_options(c, request, options);
	oracle_pod_asked(c, pod->facts.uid, true);
	c->figures.forced++;
	ask_with(c, chaos_master_up(c), request,
		 chaos_text(c, "delete pod %s/%s by force", pod->namespace, pod->name), NULL, NULL);
}

void ask_evict(struct chaos *c, const struct object *pod)
{
	ask_with(c, chaos_master_up(c),
		 sim_request_of(&c->sim, "eviction", "pods", pod->namespace, pod->name,
				arena_printf(&c->scratch,
					     "{'metadata':{'name':'%s','namespace':'%s'}}",
					     pod->name, pod->namespace)),
		 chaos_text(c, "evict %s/%s", pod->namespace, pod->name), may_be_confused, NULL);
}

/* --- Drawing ----------------------------------------------------------------------------- */

const char *draw_namespace(struct chaos *c)
{
	return namespaces[sim_draw(&c->sim, NAMESPACES)];
}

const char *draw_name(struct chaos *c, const char *prefix, unsigned n)
{
	return arena_printf(&c->scratch, "%s-%u", prefix, sim_draw(&c->sim, n));
}

struct drawing {
	struct chaos *chaos;
	const struct object *drawn;
	unsigned seen;
};

static bool on_drawn(void *ctx, const struct object *o)
{
	struct drawing *d = ctx;

	if (sim_draw(&d->chaos->sim, ++d->seen) == 0)
		d->drawn = o;
	return true;
}

const struct object *draw_object(struct chaos *c, const char *resource)
{
	struct drawing d = { .chaos = c };

	store_walk(c->sim.masters[chaos_master_up(c)].store, kind_of_resource(resource), NULL, NULL,
		   NULL, on_drawn, &d);
	return d.drawn;
}

struct listing {
	const struct object **objects;
	size_t n, cap;
};

static bool on_listed(void *ctx, const struct object *o)
{
	struct listing *l = ctx;

	l->objects[l->n++] = o;
	return l->n < l->cap;
}

/* Every field is there in every version, so that a patch with one makes exactly that one. */
const char *draw_template(struct chaos *c, const char *app, unsigned version, const char *how)
{
	static const char *const places[] = {
		"'nodeSelector':null,'tolerations':null,",
		"'nodeSelector':{'zone':'a'},'tolerations':null,",
		"'nodeSelector':null,'tolerations':[{'operator':'Exists'}],"
	};
	/* Some bear a lost node for five seconds only. */
	static const char *const hurry =
		"'nodeSelector':null,'tolerations':[{'key':'node.kubernetes.io/unreachable',"
		"'operator':'Exists','effect':'NoExecute','tolerationSeconds':5}],";
	const char *place = sim_draw(&c->sim, 2) ? hurry : places[sim_draw(&c->sim, 3)];

	return arena_printf(
		&c->scratch,
		"{'metadata':{'labels':{'app':'%s'},'annotations':{'v':'%u'}},'spec':{%s%s"
		"'terminationGracePeriodSeconds':%u,'containers':[{'name':'c','image':'i:%u',"
		"'resources':{'requests':{'cpu':'%um','memory':'%uMi'}}}]}}",
		app, version, place, how, 1 + sim_draw(&c->sim, 4) * 2, version,
		50 + 50 * sim_draw(&c->sim, 6), 64 * (1 + sim_draw(&c->sim, 8)));
}

const char *draw_version(struct chaos *c, const char *app, unsigned version, const char *how)
{
	struct seeded_source saved = c->sim.source;
	const char *template;

	seeded_source_init(&c->sim.source, c->sim.seed * 64 + version);
	c->sim.source.now_ns = saved.now_ns;
	template = draw_template(c, app, version, how);
	c->sim.source = saved;
	return template;
}

const char *draw_intstr(struct chaos *c, unsigned below)
{
	if (sim_draw(&c->sim, 3) == 0)
		return arena_printf(&c->scratch, "'%u%%'", 25 * (1 + sim_draw(&c->sim, 3)));
	return arena_printf(&c->scratch, "%u", sim_draw(&c->sim, below));
}

/* --- Turns ------------------------------------------------------------------------------- */

static const struct work {
	const char *resource, *controller;
	unsigned weight;
	void (*on)(struct chaos *c);
} works[] = {
	{ "configmaps", NULL, 40, truths_turn },
	{ "cronjobs.batch", "cronjob-controller", 4, work_on_cronjob },
	{ "daemonsets.apps", "daemonset-controller", 7, work_on_daemonset },
	{ "deployments.apps", "deployment-controller", 26, work_on_deployment },
	{ "jobs.batch", "job-controller", 12, work_on_job },
	{ "namespaces", "namespace-controller", 4, work_on_namespace },
	{ "nodes", "node-controller", 5, work_on_node },
	{ "poddisruptionbudgets.policy", "disruption-controller", 8, work_on_budget },
	{ "pods", NULL, 6, work_on_pod },
	{ "poddisruptionbudgets.policy", "disruption-controller", 6, work_on_drain },
	{ "replicasets.apps", "replicaset-controller", 8, work_on_replicaset },
	{ "replicationcontrollers", "replication-controller", 4, work_on_replicationcontroller },
	{ "resourcequotas", "resourcequota-controller", 3, work_on_quota },
	{ "services", "endpoint-controller", 9, work_on_service },
	{ "statefulsets.apps", "statefulset-controller", 14, work_on_statefulset },
	{ "persistentvolumeclaims", "local-path-provisioner", 6, work_on_volume },
};

bool clients_have(const char *resource, const char *controller)
{
	const struct kind *kind = kind_of_resource(resource);

	if (kind == NULL || !(kind->flags & KIND_SERVED))
		return false;
	for (size_t i = 0; controller != NULL && controllers[i] != NULL; i++)
		if (strcmp(controllers[i]->name, controller) == 0)
			return true;
	return controller == NULL;
}

static unsigned weight_of(const struct work *w)
{
	return clients_have(w->resource, w->controller) ? w->weight : 0;
}

void clients_turn(struct chaos *c)
{
	static unsigned sum;
	unsigned what;

	if (sum == 0)
		for (size_t i = 0; i < array_size(works); i++)
			sum += weight_of(&works[i]);
	work_drain(c);
	what = sim_draw(&c->sim, sum);
	for (size_t i = 0; i < array_size(works); i++) {
		unsigned weight = weight_of(&works[i]);

		if (what < weight) {
			works[i].on(c);
			return;
		}
		what -= weight;
	}
}

/* By who made the cluster, one after the other. */
static void begin_with(struct chaos *c, const char *resource, const char *namespace,
		       const char *json)
{
	ask_with(c, 0, sim_request(&c->sim, VERB(CREATE), resource, namespace, "", json), json,
		 NULL, NULL);
	chaos_run(c, 50000);
}

void clients_begin(struct chaos *c)
{
	begin_with(c, "namespaces", "", "{'metadata':{'name':'default'}}");
	begin_with(c, "namespaces", "", "{'metadata':{'name':'kube-system'}}");
	begin_with(c, "secrets", "kube-system",
		   "{'metadata':{'name':'sampan-ca'},'data':{'tls.crt':'cGVt'}}");
	begin_with(c, "storageclasses.storage.k8s.io", "",
		   "{'metadata':{'name':'local-path','annotations':{"
		   "'storageclass.kubernetes.io/is-default-class':'true'}},"
		   "'provisioner':'sampan.io/local-path','reclaimPolicy':'Delete',"
		   "'volumeBindingMode':'WaitForFirstConsumer'}");
	truths_begin(c);
}

static void patch_all(struct chaos *c, const char *resource, const char *json)
{
	const struct object *objects[64];
	struct listing l = { .objects = objects, .cap = array_size(objects) };

	store_walk(chaos_store(c), kind_of_resource(resource), NULL, NULL, NULL, on_listed, &l);
	for (size_t i = 0; i < l.n; i++)
		ask(c, "patch", resource, objects[i]->namespace, objects[i]->name, json);
}

static void delete_all(struct chaos *c, const char *resource)
{
	const struct object *objects[64];
	struct listing l = { .objects = objects, .cap = array_size(objects) };

	store_walk(chaos_store(c), kind_of_resource(resource), NULL, NULL, NULL, on_listed, &l);
	for (size_t i = 0; i < l.n; i++)
		ask(c, "delete", resource, objects[i]->namespace, objects[i]->name, NULL);
}

void clients_heal(struct chaos *c)
{
	patch_all(c, "deployments.apps", "{'spec':{'paused':false}}");
	delete_all(c, "resourcequotas");
	if (clients_have("cronjobs.batch", "cronjob-controller"))
		patch_all(c, "cronjobs.batch",
			  arena_printf(&c->scratch, "{'spec':{'schedule':'%u */%u * * *'}}",
				       sim_draw(&c->sim, 60), 1 + sim_draw(&c->sim, 2)));
	c->draining = NULL;
	for (unsigned i = 0; i < c->agents.n; i++)
		ask(c, "patch", "nodes", "", c->agents.all[i].name,
		    "{'spec':{'unschedulable':false,'taints':[]}}");
}

void clients_rest(struct chaos *c)
{
	clients_heal(c);
	if (clients_have("cronjobs.batch", "cronjob-controller"))
		patch_all(c, "cronjobs.batch", "{'spec':{'suspend':true}}");
}
