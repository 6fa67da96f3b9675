/* What each PodDisruptionBudget allows, written down for everybody to see. */
#include <string.h>

#include "controlplane/budgets/disruption.h"
#include "controlplane/controllers/common.h"

static const char component[] = "controllermanager";

static const struct object *read_get(void *ctx, const struct kind *kind, const char *namespace,
				     const char *name)
{
	const struct view *v = ctx;

	return store_get(v->store, kind, namespace, name);
}

static void read_walk(void *ctx, const struct kind *kind, const char *namespace, store_walk_cb *cb,
		      void *cb_ctx)
{
	const struct view *v = ctx;

	store_walk(v->store, kind, namespace, NULL, NULL, cb, cb_ctx);
}

/* --- The status ---------------------------------------------------------------------- */

static MetaV1__Condition *find_condition(const PolicyV1__PodDisruptionBudgetStatus *s)
{
	for (size_t i = 0; i < s->n_conditions; i++)
		if (text_is(s->conditions[i]->type, "DisruptionAllowed"))
			return s->conditions[i];
	return NULL;
}

static void set_condition(struct arena *a, PolicyV1__PodDisruptionBudgetStatus *s,
			  const struct disruption *d, int64_t generation, int64_t now_ns)
{
	MetaV1__Condition *c = find_condition(s);
	const char *value = d->failure == NULL && d->allowed > 0 ? "True" : "False";

	if (c == NULL) {
		c = make(a, MetaV1__Condition, meta_v1__condition);
		c->type = arena_strdup(a, "DisruptionAllowed");
		make_append(a, s, conditions, c);
	}
	if (!text_is(c->status, value))
		c->lasttransitiontime = make_time(a, now_ns);
	c->status = arena_strdup(a, value);
	c->reason = arena_strdup(a, d->failure != NULL ? "SyncFailed"
				    : d->allowed > 0   ? "SufficientPods"
						       : "InsufficientPods");
	c->message = arena_strdup(a, text_of(d->failure));
	make_set(c, observedgeneration, generation);
}

static void set_status(struct arena *a, PolicyV1__PodDisruptionBudget *b,
		       const struct disruption *d, int64_t now_ns)
{
	PolicyV1__PodDisruptionBudgetStatus *s = b->status;

	if (s == NULL)
		s = b->status = make(a, PolicyV1__PodDisruptionBudgetStatus,
				     policy_v1__pod_disruption_budget_status);
	s->disruptedpods = d->disrupted;
	s->n_disruptedpods = d->n_disrupted;
	make_set(s, disruptionsallowed, d->allowed);
	make_set(s, observedgeneration, b->metadata->generation);
	if (d->failure == NULL) {
		make_set(s, currenthealthy, d->current);
		make_set(s, desiredhealthy, d->desired);
		make_set(s, expectedpods, d->expected);
	}
	set_condition(a, s, d, b->metadata->generation, now_ns);
}

/* --- Events ---------------------------------------------------------------------------- */

static void tell(struct intents *intents, const struct object *o, const struct disruption *d,
		 const PolicyV1__PodDisruptionBudget *b)
{
	struct label_selector selector;

	if (d->failure != NULL)
		intend_event(intents, component, o, "Warning", "CalculateExpectedPodCountFailed",
			     "Failed to calculate the number of expected pods: %s", d->failure);
	else if (d->pods == 0)
		intend_event(intents, component, o, "Normal", "NoPods", "No matching pods found");
	if (d->n_unmanaged > 0 &&
	    label_selector_of(b->spec->selector, intents->arena, &selector, NULL) == 0)
		intend_event(intents, component, o, "Warning", "UnmanagedPods",
			     "Pods selected by this PodDisruptionBudget (selector: %s) were found "
			     "to be unmanaged. As a result, the status of the PDB cannot be "
			     "calculated correctly, which may result in undefined behavior. To "
			     "account for these pods please set \".spec.minAvailable\" field of "
			     "the PDB to an integer value.",
			     label_selector_print(&selector, intents->arena));
	for (size_t i = 0; i < d->n_overdue; i++)
		intend_event(intents, component, d->overdue[i], "Warning", "NotDeleted",
			     "Pod was expected by PDB %s/%s to be deleted but it wasn't",
			     o->namespace, o->name);
}

/* --- The controller ---------------------------------------------------------------------- */

static void reconcile(struct view *v, struct key key, struct intents *intents)
{
	const struct object *o =
		view_get(v, "poddisruptionbudgets.policy", key.namespace, key.name);
	const struct budget_reader reader = { .ctx = v, .get = read_get, .walk = read_walk };
	struct disruption d;

	if (o == NULL)
		return;

	const PolicyV1__PodDisruptionBudget *before = view_message(v, o);
	PolicyV1__PodDisruptionBudget *b = changed(o, intents->arena);

	disruption_count(&reader, o->namespace, b, v->now_ns, intents->arena, &d);
	set_status(intents->arena, b, &d, v->now_ns);
	if (d.again_ns != 0)
		intend_again(intents, d.again_ns);
	if (before->status != NULL && message_equal(before->status, b->status))
		return;
	/* Said when it changes, not whenever somebody looks. */
	intend_update_status(intents, o, &b->base);
	tell(intents, o, &d, b);
}

static bool has_budgets(const struct view *v, const char *namespace)
{
	size_t n;

	(void)view_list(v, "poddisruptionbudgets.policy", namespace, &n);
	return n > 0;
}

/* What a budget sees of a pod. */
static bool looks_the_same(const struct object *a, const struct object *b)
{
	const struct facts *x = &a->facts, *y = &b->facts;

	if (x->pod->ready != y->pod->ready || (x->deleted_ns != 0) != (y->deleted_ns != 0) ||
	    x->n_labels != y->n_labels || x->n_owners != y->n_owners || strcmp(x->uid, y->uid) != 0)
		return false;
	for (size_t i = 0; i < x->n_labels; i++)
		if (strcmp(x->labels[i].key, y->labels[i].key) != 0 ||
		    strcmp(x->labels[i].value, y->labels[i].value) != 0)
			return false;
	for (size_t i = 0; i < x->n_owners; i++)
		if (strcmp(x->owners[i].uid, y->owners[i].uid) != 0)
			return false;
	return true;
}

static void add_selecting(struct keys *keys, const struct view *v, const struct object *old,
			  const struct object *new)
{
	const char *namespace = (new ? new : old)->namespace;
	size_t n;
	const struct object *const *budgets =
		view_list(v, "poddisruptionbudgets.policy", namespace, &n);

	for (size_t i = 0; i < n; i++) {
		const PolicyV1__PodDisruptionBudget *b = object_message(budgets[i], v->arena);

		if ((old != NULL && disruption_selects(b, old, v->arena)) ||
		    (new != NULL &&disruption_selects(b, new, v->arena)))
			keys_add(keys, namespace, budgets[i]->name);
	}
}

static void on_change(const struct view *v, const struct object *old, const struct object *new,
		      struct keys *keys)
{
	const struct object *o = new ? new : old;

	if (change_is_of(old, new, "poddisruptionbudgets.policy")) {
		keys_add_object(keys, old, new);
		return;
	}
	if (o->facts.pod != NULL) {
		if (old == NULL || new == NULL || !looks_the_same(old, new))
			add_selecting(keys, v, old, new);
		return;
	}
	/* Who says how many pods there should be; its status is of no interest. */
	if (o->namespace[0] == '\0' || kind_subresource(o->kind, "scale") == NULL ||
	    (old != NULL && new != NULL && old->facts.generation == new->facts.generation))
		return;
	if (has_budgets(v, o->namespace))
		keys_add_all(keys, v, "poddisruptionbudgets.policy", o->namespace);
}

static void seed(const struct view *v, struct keys *keys)
{
	keys_add_all(keys, v, "poddisruptionbudgets.policy", NULL);
}

const struct controller controller_disruption = {
	.name = "disruption-controller",
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
};
