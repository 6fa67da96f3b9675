#include "controlplane/scheduler/neighbours.h"

#include <string.h>

#include "common/api/labels.h"
#include "common/api/make.h"

static const char *label_of(const void *object, const char *key)
{
	return object_label(object, key);
}

static struct place_rule *add_rule(struct neighbours *n, struct arena *a, enum neighbour_rule type,
				   const char *key)
{
	if (n->n == n->cap) {
		size_t cap = n->cap ? n->cap * 2 : 4;
		struct place_rule *grown = arena_array(a, struct place_rule, cap);

		if (n->n > 0)
			memcpy(grown, n->rules, n->n * sizeof(*grown));
		n->rules = grown;
		n->cap = cap;
	}
	n->rules[n->n] = (struct place_rule){ .type = type, .key = text_of(key) };
	return &n->rules[n->n++];
}

static void count(struct place_rule *rule, const char *value, size_t by)
{
	uintptr_t has = (uintptr_t)map_get(&rule->count, value);

	map_put(&rule->count, value, (void *)((has ? has : 1) + by));
	rule->total += by;
}

/* -1: no node there was counted. */
static int64_t counted(const struct place_rule *rule, const char *value)
{
	return (int64_t)(uintptr_t)map_get(&rule->count, value) - 1;
}

/* --- Terms -------------------------------------------------------------------------------- */

/* A term speaks of its pod's own namespace unless it names others; {} means all of them. */
static bool speaks_of(const CoreV1__PodAffinityTerm *t, const char *own, const char *namespace)
{
	const MetaV1__LabelSelector *all = t->namespaceselector;

	if (all != NULL && all->n_matchlabels == 0 && all->n_matchexpressions == 0)
		return true;
	for (size_t i = 0; i < t->n_namespaces; i++)
		if (text_is(t->namespaces[i], namespace))
			return true;
	return t->n_namespaces == 0 && strcmp(own, namespace) == 0;
}

static bool term_selects(const CoreV1__PodAffinityTerm *t, struct arena *a,
			 const struct object *speaker, const struct object *pod)
{
	struct label_selector s;

	return speaks_of(t, speaker->namespace, pod->namespace) &&
	       label_selector_of(t->labelselector, a, &s, NULL) == 0 &&
	       label_selector_matches(&s, label_of, pod);
}

static bool counts(const struct pod *pod)
{
	return pod->node != NULL && pod->node->object != NULL;
}

static void look_for_term(struct neighbours *n, struct arena *a, const struct cluster *c,
			  const struct pod *self, const CoreV1__PodAffinityTerm *t,
			  enum neighbour_rule type)
{
	struct place_rule *rule = add_rule(n, a, type, t->topologykey);
	struct label_selector s;

	rule->self = term_selects(t, a, self->object, self->object);
	if (label_selector_of(t->labelselector, a, &s, NULL) < 0)
		return;
	map_for_each (slot, &c->pods) {
		const struct pod *other = slot->value;

		if (other == self || !counts(other) ||
		    !speaks_of(t, self->object->namespace, other->object->namespace) ||
		    !label_selector_matches(&s, label_of, other->object))
			continue;

		const char *value = object_label(other->node->object, rule->key);

		if (value != NULL)
			count(rule, value, 1);
	}
}

static void look_for_affinity(struct neighbours *n, struct arena *a, const struct cluster *c,
			      const struct pod *self, const CoreV1__Affinity *affinity)
{
	const CoreV1__PodAffinity *wants = affinity ? affinity->podaffinity : NULL;
	const CoreV1__PodAntiAffinity *shuns = affinity ? affinity->podantiaffinity : NULL;

	for (size_t i = 0; wants && i < wants->n_requiredduringschedulingignoredduringexecution;
	     i++)
		look_for_term(n, a, c, self,
			      wants->requiredduringschedulingignoredduringexecution[i], RULE_WANT);
	for (size_t i = 0; shuns && i < shuns->n_requiredduringschedulingignoredduringexecution;
	     i++)
		look_for_term(n, a, c, self,
			      shuns->requiredduringschedulingignoredduringexecution[i], RULE_SHUN);
}

/* --- Those who shun this one ----------------------------------------------------------------- */

static struct place_rule *shunned_rule(struct neighbours *n, struct arena *a, const char *key)
{
	for (size_t i = 0; i < n->n; i++)
		if (n->rules[i].type == RULE_SHUNNED && strcmp(n->rules[i].key, text_of(key)) == 0)
			return &n->rules[i];
	return add_rule(n, a, RULE_SHUNNED, key);
}

static void look_for_shunning(struct neighbours *n, struct view *view, const struct cluster *c,
			      const struct pod *self)
{
	if (c->n_shunning == 0)
		return;
	map_for_each (slot, &c->pods) {
		const struct pod *other = slot->value;

		if (other == self || !counts(other) || !other->object->facts.pod->shuns)
			continue;

		const CoreV1__Pod *message = view_message(view, other->object);
		const CoreV1__PodAntiAffinity *shuns = message->spec->affinity->podantiaffinity;

		for (size_t i = 0; i < shuns->n_requiredduringschedulingignoredduringexecution;
		     i++) {
			const CoreV1__PodAffinityTerm *t =
				shuns->requiredduringschedulingignoredduringexecution[i];
			const char *value =
				object_label(other->node->object, text_of(t->topologykey));

			if (value != NULL &&
			    term_selects(t, view->arena, other->object, self->object))
				count(shunned_rule(n, view->arena, t->topologykey), value, 1);
		}
	}
}

/* --- Spreading ----------------------------------------------------------------------------------
 */

static void look_for_spread(struct neighbours *n, struct arena *a, const struct cluster *c,
			    const struct pod *self, const CoreV1__PodSpec *spec,
			    const CoreV1__TopologySpreadConstraint *t)
{
	struct place_rule *rule = add_rule(n, a, RULE_SPREAD, t->topologykey);
	struct label_selector s;
	size_t places = 0;

	if (label_selector_of(t->labelselector, a, &s, NULL) < 0)
		s = (struct label_selector){ .nothing = true };
	rule->self = label_selector_matches(&s, label_of, self->object);
	rule->skew_max = t->maxskew;
	/* Places without any pod count: they are the emptiest. */
	for (size_t i = 0; i < c->n_nodes; i++) {
		const struct object *node = c->nodes[i]->object;
		const char *value = node ? object_label(node, rule->key) : NULL;

		if (value == NULL || !affinity_matches(spec, node) || counted(rule, value) >= 0)
			continue;
		count(rule, value, 0);
		places++;
	}
	map_for_each (slot, &c->pods) {
		const struct pod *other = slot->value;
		const char *value =
			counts(other) ? object_label(other->node->object, rule->key) : NULL;

		if (other != self && value != NULL && counted(rule, value) >= 0 &&
		    other->object->facts.deleted_ns == 0 &&
		    strcmp(other->object->namespace, self->object->namespace) == 0 &&
		    label_selector_matches(&s, label_of, other->object))
			count(rule, value, 1);
	}
	rule->least = INT64_MAX;
	map_for_each (slot, &rule->count)
		if (counted(rule, slot->key) < rule->least)
			rule->least = counted(rule, slot->key);
	if (t->has_mindomains && places < (size_t)t->mindomains)
		rule->least = 0;
}

/* --- The whole
 * ------------------------------------------------------------------------------------ */

bool neighbours_look(struct neighbours *n, struct view *view, const struct cluster *c,
		     const struct pod *pod, const CoreV1__PodSpec *spec)
{
	look_for_affinity(n, view->arena, c, pod, spec->affinity);
	look_for_shunning(n, view, c, pod);
	for (size_t i = 0; i < spec->n_topologyspreadconstraints; i++)
		if (text_is(spec->topologyspreadconstraints[i]->whenunsatisfiable, "DoNotSchedule"))
			look_for_spread(n, view->arena, c, pod, spec,
					spec->topologyspreadconstraints[i]);
	return n->n > 0;
}

static enum misfit rule_misfit(const struct place_rule *rule, const char *value)
{
	int64_t there = value ? counted(rule, value) : -1;

	switch (rule->type) {
	case RULE_WANT:
		/* The first of a group that wants its own kind has to begin somewhere. */
		if (value != NULL && rule->total == 0 && rule->self)
			return FITS;
		return there > 0 ? FITS : MISFIT_WANTED;
	case RULE_SHUN:
		return there > 0 ? MISFIT_SHUNNED : FITS;
	case RULE_SHUNNED:
		return there > 0 ? MISFIT_SHUNS : FITS;
	case RULE_SPREAD:
		return there >= 0 && there + rule->self - rule->least <= rule->skew_max
			       ? FITS
			       : MISFIT_SPREAD;
	}
	return FITS;
}

enum misfit neighbours_misfit(const struct neighbours *n, const struct object *node)
{
	for (size_t i = 0; i < n->n; i++) {
		enum misfit m = rule_misfit(&n->rules[i], object_label(node, n->rules[i].key));

		if (m != FITS)
			return m;
	}
	return FITS;
}

void neighbours_fini(struct neighbours *n)
{
	for (size_t i = 0; i < n->n; i++)
		map_fini(&n->rules[i].count);
}
