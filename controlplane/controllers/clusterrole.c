/* A ClusterRole with an aggregationRule has the rules of all ClusterRoles that its
 * selectors select, whatever somebody writes there. */
#include <string.h>

#include "controlplane/controllers/common.h"
#include "proto/k8s/rbac_v1.pb-c.h"

static const char resource[] = "clusterroles.rbac.authorization.k8s.io";

static bool is_selected(const RbacV1__AggregationRule *rule, const struct object *o,
			struct arena *a)
{
	for (size_t i = 0; i < rule->n_clusterroleselectors; i++) {
		struct label_selector s;

		if (label_selector_of(rule->clusterroleselectors[i], a, &s, NULL) == 0 &&
		    selector_selects(&s, o))
			return true;
	}
	return false;
}

static void add_rules(struct arena *a, RbacV1__ClusterRole *to, const RbacV1__ClusterRole *from)
{
	for (size_t i = 0; i < from->n_rules; i++) {
		bool there = false;

		for (size_t k = 0; !there && k < to->n_rules; k++)
			there = message_equal(to->rules[k], from->rules[i]);
		if (!there)
			make_append(a, to, rules, from->rules[i]);
	}
}

static void reconcile(struct view *v, struct key key, struct intents *intents)
{
	const struct object *o = view_get(v, resource, "", key.name);
	const RbacV1__ClusterRole *before = o != NULL ? view_message(v, o) : NULL;
	const struct object *const *all;
	RbacV1__ClusterRole *role;
	size_t n;

	if (o == NULL || o->facts.deleted_ns != 0 || before->aggregationrule == NULL)
		return;
	role = changed(o, intents->arena);
	role->n_rules = 0;
	role->rules = NULL;
	all = view_list(v, resource, NULL, &n);
	/* In the order of their names; never itself. */
	for (size_t i = 0; i < n; i++)
		if (all[i] != o && is_selected(before->aggregationrule, all[i], v->arena))
			add_rules(intents->arena, role, view_message(v, all[i]));
	if (!message_equal(before, role))
		intend_update(intents, o, &role->base);
}

/* A role that changes may be part of any that aggregates. */
static void on_change(const struct view *v, const struct object *old, const struct object *new,
		      struct keys *keys)
{
	const struct object *const *all;
	size_t n;

	if (!change_is_of(old, new, resource))
		return;
	all = view_list(v, resource, NULL, &n);
	for (size_t i = 0; i < n; i++) {
		const RbacV1__ClusterRole *role = object_message(all[i], v->arena);

		if (role->aggregationrule != NULL)
			keys_add(keys, "", all[i]->name);
	}
}

static void seed(const struct view *v, struct keys *keys)
{
	keys_add_all(keys, v, resource, NULL);
}

const struct controller controller_clusterrole = {
	.name = "clusterrole-aggregation-controller",
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
};
