#include "controlplane/budgets/disruption.h"

#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/make.h"
#include "common/api/scale.h"

typedef PolicyV1__PodDisruptionBudgetStatus__DisruptedPodsEntry disrupted_entry;

/* --- Selecting ----------------------------------------------------------------------- */

static const char *label_of(const void *labels, const char *key)
{
	return object_label(labels, key);
}

static bool read_selector(const PolicyV1__PodDisruptionBudget *budget, struct arena *arena,
			  struct label_selector *ret)
{
	return budget->spec != NULL &&
	       label_selector_of(budget->spec->selector, arena, ret, NULL) == 0;
}

bool disruption_selects(const PolicyV1__PodDisruptionBudget *budget, const struct object *pod,
			struct arena *arena)
{
	struct label_selector selector;

	return read_selector(budget, arena, &selector) &&
	       label_selector_matches(&selector, label_of, pod);
}

struct list_of {
	struct arena *arena;
	const void **items;
	size_t n, cap;
};

static void list_add(struct list_of *l, const void *item)
{
	if (l->n == l->cap) {
		size_t cap = l->cap > 0 ? l->cap * 2 : 16;
		const void **items = arena_alloc(l->arena, cap * sizeof(*items));

		if (l->n > 0)
			memcpy(items, l->items, l->n * sizeof(*items));
		l->items = items;
		l->cap = cap;
	}
	l->items[l->n++] = item;
}

struct counting {
	const struct budget_reader *reader;
	const char *namespace;
	const PolicyV1__PodDisruptionBudget *budget;
	struct arena *arena;
	int64_t now_ns;
	struct label_selector selector;
	struct list_of pods; /* pod_facts */
};

static bool on_pod(void *ctx, const struct object *o)
{
	struct counting *c = ctx;

	if (label_selector_matches(&c->selector, label_of, o))
		list_add(&c->pods, o->facts.pod);
	return true;
}

/* --- Pods that were let go already ------------------------------------------------------ */

static const struct pod_facts *find_pod(const struct counting *c, const char *name)
{
	for (size_t i = 0; i < c->pods.n; i++) {
		const struct pod_facts *p = c->pods.items[i];

		if (strcmp(p->object->name, name) == 0)
			return p;
	}
	return NULL;
}

static void keep_disrupted(struct counting *c, struct disruption *d)
{
	const PolicyV1__PodDisruptionBudgetStatus *status = c->budget->status;
	struct list_of overdue = { .arena = c->arena };
	size_t n = status != NULL ? status->n_disruptedpods : 0;

	d->disrupted = arena_array(c->arena, disrupted_entry *, n + 1);
	for (size_t i = 0; i < n; i++) {
		disrupted_entry *e = status->disruptedpods[i];
		const struct pod_facts *pod = find_pod(c, text_of(e->key));
		int64_t until_ns = time_ns_of(e->value) + DISRUPTION_TIMEOUT_NS;

		if (pod == NULL || pod->object->facts.deleted_ns != 0)
			continue;
		if (until_ns <= c->now_ns) {
			list_add(&overdue, pod->object);
			continue;
		}
		if (d->again_ns == 0 || until_ns < d->again_ns)
			d->again_ns = until_ns;
		d->disrupted[d->n_disrupted++] = e;
	}
	d->overdue = (const struct object *const *)overdue.items;
	d->n_overdue = overdue.n;
}

static bool is_disrupted(const struct disruption *d, const struct object *pod)
{
	for (size_t i = 0; i < d->n_disrupted; i++)
		if (text_is(d->disrupted[i]->key, pod->name))
			return true;
	return false;
}

static int32_t count_healthy(const struct counting *c, const struct disruption *d)
{
	int32_t healthy = 0;

	for (size_t i = 0; i < c->pods.n; i++) {
		const struct pod_facts *p = c->pods.items[i];

		healthy +=
			p->ready && p->object->facts.deleted_ns == 0 && !is_disrupted(d, p->object);
	}
	return healthy;
}

/* --- How many there should be -------------------------------------------------------------- */

static const struct object *find_owner(const struct counting *c, const struct owner_ref *ref)
{
	const struct kind *kind = kind_of_type(ref->api_version, ref->kind);
	const struct object *o =
		kind != NULL ? c->reader->get(c->reader->ctx, kind, c->namespace, ref->name) : NULL;

	return o != NULL && strcmp(o->facts.uid, ref->uid) == 0 ? o : NULL;
}

/* Who says how many: the pod's controller, or the Deployment that controls its ReplicaSet. */
static const struct object *find_scaled(const struct counting *c, const struct owner_ref *ref)
{
	const struct object *owner = find_owner(c, ref);
	const struct owner_ref *above = owner != NULL ? object_controller(owner) : NULL;

	if (above != NULL && strcmp(ref->kind, "ReplicaSet") == 0 &&
	    strcmp(above->kind, "Deployment") == 0)
		return find_owner(c, above);
	return owner;
}

static bool already_counted(const struct list_of *owners, const struct object *o)
{
	for (size_t i = 0; i < owners->n; i++)
		if (owners->items[i] == o)
			return true;
	return false;
}

static bool add_scale(struct counting *c, const struct pod_facts *pod, struct list_of *owners,
		      struct disruption *d)
{
	const struct owner_ref *ref = object_controller(pod->object);
	const struct object *scaled = find_scaled(c, ref);

	if (scaled == NULL) {
		d->failure = arena_printf(c->arena, "found no controllers for pod \"%s\"",
					  pod->object->name);
		return false;
	}
	if (already_counted(owners, scaled))
		return true;

	AutoscalingV1__Scale *scale =
		kind_subresource(scaled->kind, "scale") != NULL
			? scale_from(scaled->kind, scaled->packed, 0, c->arena)
			: NULL;

	if (scale == NULL) {
		d->failure = arena_printf(c->arena, "%s does not implement the scale subresource",
					  scaled->kind->resource);
		return false;
	}
	list_add(owners, scaled);
	d->expected += scale->spec != NULL ? scale->spec->replicas : 0;
	return true;
}

/* The sum over all controllers of the pods. */
static bool count_expected(struct counting *c, struct disruption *d)
{
	struct list_of owners = { .arena = c->arena }, unmanaged = { .arena = c->arena };
	bool known = true;

	d->expected = 0;
	for (size_t i = 0; known && i < c->pods.n; i++) {
		const struct pod_facts *p = c->pods.items[i];

		if (object_controller(p->object) == NULL)
			list_add(&unmanaged, p);
		else
			known = add_scale(c, p, &owners, d);
	}
	d->unmanaged = (const struct pod_facts *const *)unmanaged.items;
	d->n_unmanaged = unmanaged.n;
	return known;
}

/* Counts and percentages of total, rounded up. */
static int32_t scaled_up(const Intstr__IntOrString *v, int32_t total)
{
	if (v->type == 0)
		return v->intval;
	return (int32_t)((strtoll(text_of(v->strval), NULL, 10) * total + 99) / 100);
}

static bool count_wanted(struct counting *c, struct disruption *d)
{
	const PolicyV1__PodDisruptionBudgetSpec *spec = c->budget->spec;

	if (spec->maxunavailable != NULL) {
		if (!count_expected(c, d))
			return false;
		d->desired = d->expected - scaled_up(spec->maxunavailable, d->expected);
	} else if (spec->minavailable != NULL && spec->minavailable->type == 0) {
		d->expected = (int32_t)c->pods.n;
		d->desired = spec->minavailable->intval;
	} else if (spec->minavailable != NULL) {
		if (!count_expected(c, d))
			return false;
		d->desired = scaled_up(spec->minavailable, d->expected);
	}
	if (d->desired < 0)
		d->desired = 0;
	return true;
}

void disruption_count(const struct budget_reader *reader, const char *namespace,
		      const PolicyV1__PodDisruptionBudget *budget, int64_t now_ns,
		      struct arena *arena, struct disruption *ret)
{
	struct counting c = {
		.reader = reader,
		.namespace = namespace,
		.budget = budget,
		.arena = arena,
		.now_ns = now_ns,
		.pods = { .arena = arena },
	};
	struct disruption d = { 0 };

	if (read_selector(budget, arena, &c.selector))
		reader->walk(reader->ctx, kind_of_resource("pods"), namespace, on_pod, &c);
	d.pods = c.pods.n;
	keep_disrupted(&c, &d);
	d.current = count_healthy(&c, &d);
	if (budget->spec != NULL && !count_wanted(&c, &d))
		d.expected = d.desired = 0;
	else if (d.expected > 0 && d.current > d.desired)
		d.allowed = d.current - d.desired;
	*ret = d;
}
