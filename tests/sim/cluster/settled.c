#include "tests/sim/cluster/settled.h"

#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/make.h"
#include "common/api/pack.h"
#include "common/base/cleanup.h"
#include "proto/k8s/apps_v1.pb-c.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "proto/k8s/discovery_v1.pb-c.h"

bool settled_wrong(struct settled *l, const struct object *o, const char *why)
{
	l->wrong = arena_printf(&l->chaos->sim.arena, "%s %s/%s: %s", o->kind->resource,
				o->namespace, o->name, why);
	return false;
}

void *settled_message(struct settled *l, const struct object *o)
{
	return unpack_stored(o->kind->descriptor, o->packed, &l->arena);
}

static bool is_orphan(struct settled *l, const struct object *o)
{
	const struct owner_ref *owner = object_controller(o);

	return owner != NULL && store_get_uid(l->store, owner->uid) == NULL;
}

static bool look_at_any(void *ctx, const struct object *o)
{
	struct settled *l = ctx;

	if (o->facts.deleted_ns != 0)
		return settled_wrong(l, o, "is still being deleted");
	if (is_orphan(l, o))
		return settled_wrong(l, o, "its owner is gone");
	if (o->namespace[0] != '\0' &&
	    store_get(l->store, kind_of_resource("namespaces"), "", o->namespace) == NULL)
		return settled_wrong(l, o, "its namespace is gone");
	return true;
}

static bool look_at_node(void *ctx, const struct object *o)
{
	struct settled *l = ctx;

	l->count++;
	if (o->facts.node->ready != 1)
		return settled_wrong(l, o, "is not ready");
	if (o->facts.node->n_taints > 0 || o->facts.node->unschedulable)
		return settled_wrong(l, o, "is closed");
	return true;
}

struct taken {
	uint16_t port;
	unsigned n;
};

static bool count_port(void *ctx, const struct object *o)
{
	struct taken *t = ctx;
	const struct pod_facts *f = o->facts.pod;

	t->n += f->scheduled && f->n_host_ports > 0 && f->host_ports[0].port == t->port &&
		f->phase != PHASE_FAILED && f->phase != PHASE_SUCCEEDED;
	return true;
}

/* Its port is taken on every node. */
static bool waits_for_port(struct settled *l, const struct object *o)
{
	struct taken taken = { 0 };

	if (o->facts.pod->n_host_ports == 0)
		return false;
	taken.port = o->facts.pod->host_ports[0].port;
	store_walk(l->store, o->kind, NULL, NULL, NULL, count_port, &taken);
	return taken.n >= l->chaos->agents.n;
}

static bool look_at_pod(void *ctx, const struct object *o)
{
	const struct pod_facts *pod = o->facts.pod;

	if (pod->phase == PHASE_FAILED || pod->phase == PHASE_SUCCEEDED)
		return true;
	if (!pod->scheduled)
		return waits_for_port(ctx, o) ? true : settled_wrong(ctx, o, "waits for a node");
	return pod->ready ? true : settled_wrong(ctx, o, "is not ready");
}

static bool count_active(void *ctx, const struct object *o)
{
	struct settled *l = ctx;
	const struct owner_ref *owner = object_controller(o);

	l->count += owner != NULL && strcmp(owner->uid, l->app) == 0 &&
		    o->facts.pod->phase != PHASE_FAILED && o->facts.pod->phase != PHASE_SUCCEEDED;
	return true;
}

static bool look_at_set(void *ctx, const struct object *o)
{
	struct settled *l = ctx;
	const AppsV1__ReplicaSet *set = settled_message(l, o);
	size_t wanted = (size_t)set->spec->replicas;

	l->count = 0;
	l->app = o->facts.uid;
	store_walk_owned(l->store, kind_of_resource("pods"), o->facts.uid, count_active, l);
	if (l->count != wanted)
		return settled_wrong(l, o,
				     l->count < wanted ? "has too few pods" : "has too many pods");
	if (set->status == NULL || set->status->observedgeneration != set->metadata->generation ||
	    set->status->replicas != set->spec->replicas ||
	    set->status->readyreplicas != set->spec->replicas ||
	    set->status->availablereplicas != set->spec->replicas)
		return settled_wrong(l, o, "its status is not as its pods");
	return true;
}

static bool look_at_controller(void *ctx, const struct object *o)
{
	struct settled *l = ctx;
	const CoreV1__ReplicationController *rc = settled_message(l, o);

	l->count = 0;
	l->app = o->facts.uid;
	store_walk_owned(l->store, kind_of_resource("pods"), o->facts.uid, count_active, l);
	if (l->count != (size_t)rc->spec->replicas)
		return settled_wrong(l, o, "has not as many pods as it wants");
	if (rc->status == NULL || rc->status->observedgeneration != rc->metadata->generation ||
	    rc->status->availablereplicas != rc->spec->replicas)
		return settled_wrong(l, o, "its status is not as its pods");
	return true;
}

static bool look_at_deployment(void *ctx, const struct object *o)
{
	const AppsV1__Deployment *d = settled_message(ctx, o);
	const AppsV1__DeploymentStatus *s = d->status;

	if (s == NULL || s->observedgeneration != d->metadata->generation ||
	    s->replicas != d->spec->replicas || s->updatedreplicas != d->spec->replicas ||
	    s->readyreplicas != d->spec->replicas || s->availablereplicas != d->spec->replicas)
		return settled_wrong(ctx, o, "its rollout is not complete");
	return true;
}

/* --- Services ---------------------------------------------------------------------------- */

static bool take_slice(void *ctx, const struct object *o)
{
	struct settled *l = ctx;
	const DiscoveryV1__EndpointSlice *slice = settled_message(l, o);

	for (size_t i = 0; i < slice->n_endpoints; i++) {
		const DiscoveryV1__Endpoint *e = slice->endpoints[i];

		if (e->targetref == NULL || e->n_addresses != 1)
			return settled_wrong(l, o, "an endpoint that is no pod's");
		if (!e->conditions->ready)
			continue;
		if (map_put(&l->addresses, e->addresses[0], e->targetref->uid) != NULL)
			return settled_wrong(l, o, "an address is there twice");
	}
	return true;
}

/* What the slices show is taken off the map pod by pod; nothing may stay. */
static bool take_pod(void *ctx, const struct object *o)
{
	struct settled *l = ctx;
	const struct pod_facts *pod = o->facts.pod;
	const char *uid;

	if (!pod->ready || pod->phase == PHASE_FAILED || pod->phase == PHASE_SUCCEEDED)
		return true;
	uid = map_remove(&l->addresses, pod->ip);
	if (uid == NULL || strcmp(uid, o->facts.uid) != 0)
		return settled_wrong(l, l->service, "its slices lack a ready pod");
	l->count++;
	return true;
}

static bool look_at_service(void *ctx, const struct object *o)
{
	struct settled *l = ctx;
	const CoreV1__Service *service = settled_message(l, o);
	const struct object *endpoints;
	size_t shown = 0;

	if (service->spec->n_selector != 1)
		return true;
	l->service = o;
	l->count = 0;
	l->app = service->spec->selector[0]->value;
	store_walk_label(l->store, kind_of_resource("endpointslices.discovery.k8s.io"),
			 o->namespace, "kubernetes.io/service-name", o->name, take_slice, l);
	if (l->wrong == NULL)
		store_walk_label(l->store, kind_of_resource("pods"), o->namespace, "app", l->app,
				 take_pod, l);
	if (l->wrong == NULL && l->addresses.count > 0)
		settled_wrong(l, o, "its slices show what is no ready pod");
	map_fini(&l->addresses);
	l->addresses = (struct map){ 0 };
	if (l->wrong != NULL)
		return false;
	endpoints = store_get(l->store, kind_of_resource("endpoints"), o->namespace, o->name);
	if (endpoints == NULL)
		return settled_wrong(l, o, "has no Endpoints");

	const CoreV1__Endpoints *message = settled_message(l, endpoints);

	for (size_t i = 0; i < message->n_subsets; i++)
		shown += message->subsets[i]->n_addresses;
	return shown == l->count
		       ? true
		       : settled_wrong(l, endpoints, "not as many addresses as ready pods");
}

static bool slice_has_service(void *ctx, const struct object *o)
{
	struct settled *l = ctx;
	const char *service = object_label(o, "kubernetes.io/service-name");

	if (service == NULL ||
	    store_get(l->store, kind_of_resource("services"), o->namespace, service) == NULL)
		return settled_wrong(l, o, "its Service is gone");
	return true;
}

static bool endpoints_have_service(void *ctx, const struct object *o)
{
	struct settled *l = ctx;

	if (store_get(l->store, kind_of_resource("services"), o->namespace, o->name) == NULL)
		return settled_wrong(l, o, "its Service is gone");
	return true;
}

static bool namespace_is_complete(void *ctx, const struct object *o)
{
	struct settled *l = ctx;

	if (store_get(l->store, kind_of_resource("serviceaccounts"), o->name, "default") == NULL ||
	    store_get(l->store, kind_of_resource("configmaps"), o->name, "kube-root-ca.crt") ==
		    NULL)
		return settled_wrong(l, o, "lacks what every namespace has");
	return true;
}

/* --- All of it --------------------------------------------------------------------------- */

static const struct {
	const char *resource;
	store_walk_cb *look;
} looks[] = {
	{ "nodes", look_at_node },
	{ "pods", look_at_pod },
	{ "replicasets.apps", look_at_set },
	{ "replicationcontrollers", look_at_controller },
	{ "deployments.apps", look_at_deployment },
	{ "statefulsets.apps", settled_look_at_statefulset },
	{ "daemonsets.apps", settled_look_at_daemonset },
	{ "jobs.batch", settled_look_at_job },
	{ "cronjobs.batch", settled_look_at_cronjob },
	{ "services", look_at_service },
	{ "endpointslices.discovery.k8s.io", slice_has_service },
	{ "endpoints", endpoints_have_service },
	{ "namespaces", namespace_is_complete },
};

const char *settled_why_not(struct chaos *c)
{
	struct settled l = { .chaos = c };

	if (c->sim.leader < 0)
		return "nobody leads";
	for (unsigned i = 0; i < MASTERS; i++) {
		const struct sim_master *m = &c->sim.masters[i];

		if (!m->up || !writes_idle(m->writes) || m->applied != c->sim.n_log)
			return "requests are under way";
	}
	l.store = c->sim.masters[c->sim.leader].store;
	arena_init(&l.arena, 0);
	for (size_t i = 0; i < array_size(looks) && l.wrong == NULL; i++) {
		l.count = 0;
		store_walk(l.store, kind_of_resource(looks[i].resource), NULL, NULL, NULL,
			   looks[i].look, &l);
		if (i == 0 && l.wrong == NULL && l.count != c->agents.n)
			l.wrong = "nodes are missing";
		arena_reset(&l.arena);
	}
	kinds_for_each(kind) if (l.wrong == NULL && kind_stored(kind) == kind)
		store_walk(l.store, kind, NULL, NULL, NULL, look_at_any, &l);
	arena_fini(&l.arena);
	return l.wrong;
}
