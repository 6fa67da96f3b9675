#include "tests/sim/cluster/oracle.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "tests/sim/cluster/clients.h"

const struct object *change_one(const struct change *change)
{
	return change->new != NULL ? change->new : change->old;
}

void *change_message(struct chaos *c, const struct object *o)
{
	return unpack_stored(o->kind->descriptor, o->packed, &c->oracle->work);
}

/* --- Values with a recent past ----------------------------------------------------------- */

void recent_set(struct recent *r, int32_t value, uint64_t now_ns)
{
	if (r->of[0].until_ns == UINT64_MAX && r->of[0].value == value)
		return;
	if (r->of[0].until_ns == UINT64_MAX)
		r->of[0].until_ns = now_ns;
	memmove(&r->of[1], &r->of[0], (RECENT_MAX - 1) * sizeof(r->of[0]));
	r->of[0].value = value;
	r->of[0].until_ns = UINT64_MAX;
}

static int32_t recent_extreme(const struct recent *r, uint64_t now_ns, bool most)
{
	int32_t found = r->of[0].value;

	for (size_t i = 1; i < RECENT_MAX; i++)
		if (r->of[i].until_ns != 0 && r->of[i].until_ns + GRACE_NS >= now_ns &&
		    (most ? r->of[i].value > found : r->of[i].value < found))
			found = r->of[i].value;
	return found;
}

int32_t recent_most(const struct recent *r, uint64_t now_ns)
{
	return recent_extreme(r, now_ns, true);
}

int32_t recent_least(const struct recent *r, uint64_t now_ns)
{
	return recent_extreme(r, now_ns, false);
}

/* --- Changes ----------------------------------------------------------------------------- */

static void look_at_config(struct chaos *c, const struct change *change)
{
	if (change->new != NULL && strncmp(change->new->name, "switch-", 7) == 0)
		truths_switched(c, change->new);
}

static const struct {
	const char *resource;
	void (*look)(struct chaos *c, const struct change *change);
} looks[] = {
	{ "configmaps", look_at_config },
	{ "services", claims_look_at_service },
	{ "nodes", nodes_look_at_node },
	{ "pods", pods_look_at_pod },
	{ "deployments.apps", rollouts_look_at_deployment },
	{ "replicasets.apps", rollouts_look_at_set },
	{ "deployments.apps", budgets_look_at_scale },
	{ "replicasets.apps", budgets_look_at_scale },
	{ "replicationcontrollers", budgets_look_at_scale },
	{ "statefulsets.apps", budgets_look_at_scale },
	{ "poddisruptionbudgets.policy", budgets_look_at_budget },
	{ "pods", budgets_look_at_pod },
	{ "statefulsets.apps", sets_look_at_statefulset },
	{ "daemonsets.apps", sets_look_at_daemonset },
	{ "pods", sets_look_at_pod },
	{ "cronjobs.batch", jobs_look_at_cronjob },
	{ "jobs.batch", jobs_look_at_job },
	{ "pods", jobs_look_at_pod },
	{ "resourcequotas", quotas_look_at_quota },
	{ "persistentvolumes", volumes_look_at_volume },
	{ "persistentvolumeclaims", volumes_look_at_claim },
};

static void on_change(void *ctx, const struct change *change)
{
	struct chaos *c = ctx;
	const struct object *o = change_one(change);

	if (change->revision <= c->oracle->revision)
		return; /* Another master was first. */
	if (change->revision != c->oracle->revision + 1)
		chaos_fail(c, "revision %" PRIu64 " follows %" PRIu64, change->revision,
			   c->oracle->revision);
	c->oracle->revision = change->revision;
	c->figures.changes++;
	trace_change(c, change);
	owners_look(c, change);
	for (size_t i = 0; i < array_size(looks); i++)
		if (strcmp(looks[i].resource, o->kind->resource) == 0)
			looks[i].look(c, change);
	pods_forget(c, change);
	quotas_look(c, change);
	agents_notice(c, o);
	arena_reset(&c->oracle->work);
}

void oracle_init(struct chaos *c)
{
	c->oracle = xcalloc(1, sizeof(*c->oracle));
	arena_init(&c->oracle->work, 0);
	rollouts_init(c);
	for (unsigned i = 0; i < MASTERS; i++)
		oracle_attach(c, i);
}

void oracle_attach(struct chaos *c, unsigned master)
{
	struct store_listener *l = &c->oracle->masters[master].listener;

	*l = (struct store_listener){ .cb = on_change, .ctx = c };
	store_listen(c->sim.masters[master].store, l);
}

void oracle_fini(struct chaos *c)
{
	pods_for_each (slot, c)
		object_unref((struct object *)((struct pod_book *)slot->value)->o);
	rollouts_fini(c);
	budgets_fini(c);
	quotas_fini(c);
	owners_fini(c);
	sets_fini(c);
	jobs_fini(c);
	volumes_fini(c);
	map_fini(&c->oracle->claims);
	map_fini(&c->oracle->nodes);
	map_fini(&c->oracle->pods);
	map_fini(&c->oracle->forced);
	arena_fini(&c->oracle->work);
	free(c->oracle);
}
