/* POST pods/NAME/eviction: a pod goes if its budget lets it.
 *
 * The leader decides all writes in one order, over the store and the plans in
 * flight. The budget is counted anew there for each eviction, so that whoever
 * was let go in this turn is missing already when the next one asks; the status
 * of the budget, which others read, is written in the same plan as the pod. */
#include <errno.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/make.h"
#include "common/api/pack.h"
#include "controlplane/budgets/disruption.h"
#include "controlplane/writes/subresources.h"

/* More than this many evictions that nobody saw through: something is wrong. */
enum { DISRUPTED_PODS_MAX = 2000 };

static const struct kind *budgets(void)
{
	return kind_of_resource("poddisruptionbudgets.policy");
}

static const struct object *read_get(void *ctx, const struct kind *kind, const char *namespace,
				     const char *name)
{
	return overlay_get(ctx, kind, namespace, name);
}

static void read_walk(void *ctx, const struct kind *kind, const char *namespace, store_walk_cb *cb,
		      void *cb_ctx)
{
	overlay_walk(ctx, kind, namespace, cb, cb_ctx);
}

struct search {
	const struct object *pod;
	struct arena *arena;
	const struct object *found;
	PolicyV1__PodDisruptionBudget *budget;
	size_t n;
};

static bool on_budget(void *ctx, const struct object *o)
{
	struct search *s = ctx;
	PolicyV1__PodDisruptionBudget *b =
		unpack_stored(&policy_v1__pod_disruption_budget__descriptor, o->packed, s->arena);

	if (disruption_selects(b, s->pod, s->arena)) {
		s->found = o;
		s->budget = b;
		s->n++;
	}
	return true;
}

/* Whoever serves nobody is not missed. */
static bool needs_no_budget(const struct object *pod)
{
	const struct pod_facts *p = pod->facts.pod;

	return pod->facts.deleted_ns != 0 || p->phase == PHASE_PENDING ||
	       p->phase == PHASE_SUCCEEDED || p->phase == PHASE_FAILED;
}

/* A pod that is not ready does not count among the healthy ones. */
static bool may_go_unready(const struct object *pod, const PolicyV1__PodDisruptionBudget *b,
			   const struct disruption *d)
{
	if (pod->facts.pod->ready)
		return false;
	if (b->spec != NULL && text_is(b->spec->unhealthypodevictionpolicy, "AlwaysAllow"))
		return true;
	return d->current >= d->desired && d->desired > 0;
}

static int refuse_budget(struct status *st, const struct object *budget, const struct disruption *d)
{
	status_set(st, -EAGAIN,
		   "Cannot evict pod as it would violate the pod's disruption budget.");
	status_cause(st, "DisruptionBudget", "",
		     "The disruption budget %s needs %d healthy pods and has %d currently",
		     budget->name, d->desired, d->current);
	return -EAGAIN;
}

/* One disruption less, and whose it was. */
static int charge_budget(struct write_change *c, const struct object *pod, struct search *s,
			 const struct disruption *d, struct status *st)
{
	PolicyV1__PodDisruptionBudgetStatus *status = s->budget->status;
	PolicyV1__PodDisruptionBudgetStatus__DisruptedPodsEntry *e =
		make(c->arena, PolicyV1__PodDisruptionBudgetStatus__DisruptedPodsEntry,
		     policy_v1__pod_disruption_budget_status__disrupted_pods_entry);
	struct object *held = object_ref(s->found);
	int rc;

	if (status == NULL)
		status = s->budget->status = make(c->arena, PolicyV1__PodDisruptionBudgetStatus,
						  policy_v1__pod_disruption_budget_status);
	e->key = arena_strdup(c->arena, pod->name);
	e->value = make_time(c->arena, c->context->now_ns);
	status->disruptedpods = d->disrupted;
	status->n_disruptedpods = d->n_disrupted;
	make_append(c->arena, status, disruptedpods, e);
	make_set(status, disruptionsallowed, d->allowed - 1);
	rc = change_put(c, held->kind, held, held->namespace, held->name, &s->budget->base,
			held->claims, held->n_claims, st);
	object_unref(held);
	return rc;
}

/* Asks the budget, if there is one. */
static int pass_budget(struct write_change *c, const struct object *pod, struct status *st)
{
	const struct budget_reader reader = { .ctx = c->context->overlay,
					      .get = read_get,
					      .walk = read_walk };
	struct search s = { .pod = pod, .arena = c->arena };
	struct disruption d;

	overlay_walk(c->context->overlay, budgets(), pod->namespace, on_budget, &s);
	if (s.n == 0)
		return 0;
	if (s.n > 1) {
		status_set(st, -EPROTO,
			   "This pod has more than one PodDisruptionBudget, which the eviction "
			   "subresource does not support.");
		return status_http(st, 500, "InternalError");
	}
	disruption_count(&reader, pod->namespace, s.budget, c->context->now_ns, c->arena, &d);
	if (may_go_unready(pod, s.budget, &d))
		return 0;
	if (d.n_disrupted > DISRUPTED_PODS_MAX) {
		status_set(st, -EPERM,
			   "poddisruptionbudgets.policy \"%s\" is forbidden: DisruptedPods map too "
			   "big - too many evictions not confirmed by PDB controller",
			   s.found->name);
		status_details(st, s.found->kind->group, s.found->kind->plural, s.found->name);
		return -EPERM;
	}
	if (d.allowed == 0)
		return refuse_budget(st, s.found, &d);
	return charge_budget(c, pod, &s, &d, st);
}

static bool wants_dry_run(const MetaV1__DeleteOptions *options)
{
	for (size_t i = 0; options != NULL && i < options->n_dryrun; i++)
		if (text_is(options->dryrun[i], "All"))
			return true;
	return false;
}

int pod_evict(struct write_change *c, const struct object *pod, const PolicyV1__Eviction *eviction,
	      struct status *st)
{
	const MetaV1__DeleteOptions *options = eviction->deleteoptions;
	struct object *held = object_ref(pod);
	int rc = 0;

	c->dry_run = c->dry_run || wants_dry_run(options);
	if (!needs_no_budget(held))
		rc = pass_budget(c, held, st);
	if (rc == 0)
		rc = change_evict(c, held, options != NULL ? &options->base : NULL, st);
	object_unref(held);
	return rc;
}
