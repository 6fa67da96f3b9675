/* One line of a story for each change: what a person would want to know of it. */
#include <inttypes.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/make.h"
#include "proto/k8s/apps_v1.pb-c.h"
#include "tests/sim/cluster/oracle.h"

static const char *describe_pod(struct chaos *c, const struct object *o)
{
	static const char *const phases[] = { "Pending", "Running", "Succeeded", "Failed",
					      "Unknown" };
	const struct pod_facts *f = o->facts.pod;

	return arena_printf(&c->oracle->work, "%s%s%s%s%s%s", phases[f->phase],
			    f->ready ? ", ready" : "", f->scheduled ? ", on " : ", unassigned",
			    f->node_name, o->facts.deleted_ns != 0 ? ", to be deleted" : "",
			    o->facts.n_finalizers > 0 ? ", with finalizers" : "");
}

static const char *describe_node(struct chaos *c, const struct object *o)
{
	const struct node_facts *f = o->facts.node;
	const char *taints = "";

	for (size_t i = 0; i < f->n_taints; i++)
		taints = arena_printf(&c->oracle->work, "%s, %s:%s", taints, f->taints[i].key,
				      f->taints[i].effect);
	return arena_printf(&c->oracle->work, "%s%s%s",
			    f->ready > 0    ? "ready"
			    : f->ready == 0 ? "not ready"
					    : "unknown",
			    f->unschedulable ? ", cordoned" : "", taints);
}

static const char *describe_deployment(struct chaos *c, const struct object *o)
{
	const AppsV1__Deployment *d = change_message(c, o);
	const AppsV1__DeploymentStatus *s = d->status;

	return arena_printf(&c->oracle->work, "wants %d, has %d, updated %d, available %d%s",
			    d->spec->replicas, s ? s->replicas : 0, s ? s->updatedreplicas : 0,
			    s ? s->availablereplicas : 0, d->spec->paused ? ", paused" : "");
}

static const char *describe_set(struct chaos *c, const struct object *o)
{
	const AppsV1__ReplicaSet *r = change_message(c, o);

	return arena_printf(&c->oracle->work, "wants %d, has %d, available %d", r->spec->replicas,
			    r->status ? r->status->replicas : 0,
			    r->status ? r->status->availablereplicas : 0);
}

static const char *describe_event(struct chaos *c, const struct object *o)
{
	const CoreV1__Event *e = change_message(c, o);

	return arena_printf(&c->oracle->work, "%s of %s: %s", text_of(e->reason),
			    e->involvedobject ? text_of(e->involvedobject->name) : "",
			    text_of(e->message));
}

static const struct {
	const char *resource;
	const char *(*describe)(struct chaos *c, const struct object *o);
} descriptions[] = {
	{ "deployments.apps", describe_deployment },
	{ "events", describe_event },
	{ "nodes", describe_node },
	{ "pods", describe_pod },
	{ "replicasets.apps", describe_set },
};

void trace_change(struct chaos *c, const struct change *change)
{
	const struct object *o = change_one(change);
	const char *verb = change->old == NULL ? "new" : change->new == NULL ? "gone" : "now";
	const char *how = o->facts.deleted_ns != 0 ? "to be deleted" : "";

	if (!c->trace)
		return;
	for (size_t i = 0; i < sizeof(descriptions) / sizeof(descriptions[0]); i++)
		if (strcmp(descriptions[i].resource, o->kind->resource) == 0)
			how = descriptions[i].describe(c, o);
	chaos_trace(c, "    %s %s %s/%s @%" PRIu64 "%s%s", verb, o->kind->singular, o->namespace,
		    o->name, change->revision, how[0] != '\0' ? ": " : "", how);
}
