#include "controlplane/scheduler/node_rules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/make.h"

/* --- Taints --------------------------------------------------------------------- */

static bool toleration_is_for(const CoreV1__Toleration *t, const struct taint *taint)
{
	if (!text_empty(t->effect) && !text_is(t->effect, taint->effect))
		return false;
	if (!text_empty(t->key) && !text_is(t->key, taint->key))
		return false;
	return text_is(t->operator_, "Exists") || text_is(t->value, taint->value);
}

bool node_rules_tolerates(const CoreV1__PodSpec *spec, const struct taint *taint)
{
	for (size_t i = 0; i < spec->n_tolerations; i++)
		if (toleration_is_for(spec->tolerations[i], taint))
			return true;
	return false;
}

size_t node_rules_untolerated(const CoreV1__PodSpec *spec, const struct node_facts *node,
			      const char *effect)
{
	size_t n = 0;

	for (size_t i = 0; i < node->n_taints; i++)
		n += strcmp(node->taints[i].effect, effect) == 0 &&
		     !node_rules_tolerates(spec, &node->taints[i]);
	return n;
}

bool node_rules_taints(const CoreV1__PodSpec *spec, const struct node_facts *node)
{
	for (size_t i = 0; i < node->n_taints; i++)
		if (strcmp(node->taints[i].effect, "PreferNoSchedule") != 0 &&
		    !node_rules_tolerates(spec, &node->taints[i]))
			return false;
	return true;
}

/* --- Node selector and affinity --------------------------------------------------- */

static bool value_listed(const CoreV1__NodeSelectorRequirement *r, const char *value)
{
	for (size_t i = 0; i < r->n_values; i++)
		if (text_is(r->values[i], value))
			return true;
	return false;
}

static bool read_integer(const char *text, long long *ret)
{
	char *end;

	errno = 0;
	*ret = strtoll(text, &end, 10);
	return errno == 0 && end != text && *end == '\0';
}

/* Gt and Lt: both sides are integers, or nothing matches. */
static bool bound_holds(const CoreV1__NodeSelectorRequirement *r, const char *value)
{
	long long have, bound;

	if (r->n_values != 1 || !read_integer(value, &have) ||
	    !read_integer(text_of(r->values[0]), &bound))
		return false;
	return text_is(r->operator_, "Gt") ? have > bound
					   : text_is(r->operator_, "Lt") && have < bound;
}

/* value is NULL when the node has no such label. */
static bool requirement_holds(const CoreV1__NodeSelectorRequirement *r, const char *value)
{
	const char *op = text_of(r->operator_);

	if (strcmp(op, "Exists") == 0)
		return value != NULL;
	if (strcmp(op, "DoesNotExist") == 0)
		return value == NULL;
	if (strcmp(op, "NotIn") == 0)
		return value == NULL || !value_listed(r, value);
	if (value == NULL)
		return false;
	return strcmp(op, "In") == 0 ? value_listed(r, value) : bound_holds(r, value);
}

bool node_rules_term(const CoreV1__NodeSelectorTerm *term, const struct object *node)
{
	if (term == NULL || term->n_matchexpressions + term->n_matchfields == 0)
		return false;
	for (size_t i = 0; i < term->n_matchexpressions; i++) {
		const CoreV1__NodeSelectorRequirement *r = term->matchexpressions[i];

		if (!requirement_holds(r, object_label(node, text_of(r->key))))
			return false;
	}
	for (size_t i = 0; i < term->n_matchfields; i++) {
		const CoreV1__NodeSelectorRequirement *r = term->matchfields[i];

		if (!requirement_holds(r, text_is(r->key, "metadata.name") ? node->name : NULL))
			return false;
	}
	return true;
}

bool node_rules_affinity(const CoreV1__PodSpec *spec, const struct object *node)
{
	for (size_t i = 0; i < spec->n_nodeselector; i++) {
		const char *value = object_label(node, text_of(spec->nodeselector[i]->key));

		if (value == NULL || !text_is(spec->nodeselector[i]->value, value))
			return false;
	}

	const CoreV1__NodeAffinity *a = spec->affinity ? spec->affinity->nodeaffinity : NULL;
	const CoreV1__NodeSelector *required =
		a ? a->requiredduringschedulingignoredduringexecution : NULL;

	if (required == NULL)
		return true;
	for (size_t i = 0; i < required->n_nodeselectorterms; i++)
		if (node_rules_term(required->nodeselectorterms[i], node))
			return true;
	return false;
}

/* --- What differs ---------------------------------------------------------------- */

bool node_rules_same_labels(const struct object *old, const struct object *new)
{
	const struct facts *a = &old->facts, *b = &new->facts;

	if (a->n_labels != b->n_labels)
		return false;
	for (size_t i = 0; i < a->n_labels; i++)
		if (strcmp(a->labels[i].key, b->labels[i].key) != 0 ||
		    strcmp(a->labels[i].value, b->labels[i].value) != 0)
			return false;
	return true;
}

static bool same_taints(const struct node_facts *a, const struct node_facts *b)
{
	if (a->n_taints != b->n_taints)
		return false;
	for (size_t i = 0; i < a->n_taints; i++)
		if (strcmp(a->taints[i].key, b->taints[i].key) != 0 ||
		    strcmp(a->taints[i].value, b->taints[i].value) != 0 ||
		    strcmp(a->taints[i].effect, b->taints[i].effect) != 0)
			return false;
	return true;
}

bool node_rules_move(const struct object *old, const struct object *new)
{
	return !node_rules_same_labels(old, new) || !same_taints(old->facts.node, new->facts.node);
}
