/* The default roles and who has them. Who wants to change one for good sets its
 * annotation autoupdate to "false"; otherwise what is missing is added again. */
#include <string.h>

#include "controlplane/controllers/builtin.h"
#include "proto/k8s/rbac_v1.pb-c.h"

static const char autoupdate[] = "rbac.authorization.kubernetes.io/autoupdate";
static const char group[] = "rbac.authorization.k8s.io";
static const char roles[] = "clusterroles.rbac.authorization.k8s.io";
static const char bindings[] = "clusterrolebindings.rbac.authorization.k8s.io";

/* The items of "a;b;c". */
static void split(struct arena *a, const char *list, char ***ret_items, size_t *ret_n)
{
	char *copy = arena_strdup(a, list), *save = NULL;
	struct {
		char **items;
		size_t n_items;
	} found = { 0 };

	for (char *s = strtok_r(copy, ";", &save); s != NULL; s = strtok_r(NULL, ";", &save))
		make_append(a, &found, items, strcmp(s, "-") == 0 ? arena_strdup(a, "") : s);
	*ret_items = found.items;
	*ret_n = found.n_items;
}

static MetaV1__ObjectMeta *set_metadata(struct arena *a, void *message, const char *name)
{
	MetaV1__ObjectMeta *meta = message_metadata_make(message, a);

	meta->name = arena_strdup(a, name);
	meta_set_label(a, meta, "kubernetes.io/bootstrapping", "rbac-defaults");
	meta_set_annotation(a, meta, autoupdate, "true");
	return meta;
}

static char *part_label(struct arena *a, const char *role)
{
	return arena_printf(a, "%s/aggregate-to-%s", group, role);
}

/* --- Roles ----------------------------------------------------------------------------- */

static RbacV1__PolicyRule *make_rule(struct arena *a, const struct builtin_rule *r)
{
	RbacV1__PolicyRule *rule = make(a, RbacV1__PolicyRule, rbac_v1__policy_rule);

	split(a, r->verbs, &rule->verbs, &rule->n_verbs);
	split(a, r->groups, &rule->apigroups, &rule->n_apigroups);
	split(a, r->resources, &rule->resources, &rule->n_resources);
	split(a, r->names, &rule->resourcenames, &rule->n_resourcenames);
	split(a, r->urls, &rule->nonresourceurls, &rule->n_nonresourceurls);
	return rule;
}

static RbacV1__AggregationRule *make_aggregation(struct arena *a, const char *role)
{
	RbacV1__AggregationRule *rule = make(a, RbacV1__AggregationRule, rbac_v1__aggregation_rule);
	MetaV1__LabelSelector *selector = make(a, MetaV1__LabelSelector, meta_v1__label_selector);

	string_map_set(selector, "matchLabels", part_label(a, role), "true", a);
	make_append(a, rule, clusterroleselectors, selector);
	return rule;
}

/* Adds the rules that are missing; true when there were any. */
static bool add_rules(struct arena *a, RbacV1__ClusterRole *role)
{
	bool added = false;

	for (size_t i = 0; i < n_builtin_rules; i++) {
		RbacV1__PolicyRule *rule;
		bool there = false;

		if (strcmp(builtin_rules[i].role, role->metadata->name) != 0)
			continue;
		rule = make_rule(a, &builtin_rules[i]);
		for (size_t k = 0; !there && k < role->n_rules; k++)
			there = message_equal(role->rules[k], rule);
		if (there)
			continue;
		make_append(a, role, rules, rule);
		added = true;
	}
	return added;
}

static void create_role(const struct builtin_role *r, struct intents *intents)
{
	struct arena *a = intents->arena;
	RbacV1__ClusterRole *role = make(a, RbacV1__ClusterRole, rbac_v1__cluster_role);
	MetaV1__ObjectMeta *meta = set_metadata(a, role, r->name);

	if (r->part_of[0] != '\0')
		meta_set_label(a, meta, part_label(a, r->part_of), "true");
	if (r->aggregates[0] != '\0')
		role->aggregationrule = make_aggregation(a, r->aggregates);
	add_rules(a, role);
	intend_create(intents, roles, "", &role->base);
}

static bool may_update(const MetaV1__ObjectMeta *meta)
{
	return text_is(meta_annotation(meta, autoupdate), "true");
}

void ensure_cluster_roles(struct view *v, struct intents *intents)
{
	for (size_t i = 0; i < n_builtin_roles; i++) {
		const struct object *o = view_get(v, roles, "", builtin_roles[i].name);
		RbacV1__ClusterRole *role;

		if (o == NULL) {
			create_role(&builtin_roles[i], intents);
			continue;
		}
		role = changed(o, intents->arena);
		if (may_update(role->metadata) && add_rules(intents->arena, role))
			intend_update(intents, o, &role->base);
	}
}

/* --- Bindings ------------------------------------------------------------------------------ */

/* "Group:system:masters", "ServiceAccount:kube-system/kube-dns" */
static RbacV1__Subject *make_subject(struct arena *a, char *text)
{
	RbacV1__Subject *subject = make(a, RbacV1__Subject, rbac_v1__subject);
	char *name = strchr(text, ':') + 1;

	subject->kind = arena_strndup(a, text, (size_t)(name - 1 - text));
	if (strcmp(subject->kind, "ServiceAccount") == 0) {
		char *slash = strchr(name, '/');

		subject->namespace_ = arena_strndup(a, name, (size_t)(slash - name));
		subject->apigroup = arena_strdup(a, "");
		name = slash + 1;
	} else {
		subject->apigroup = arena_strdup(a, group);
	}
	subject->name = arena_strdup(a, name);
	return subject;
}

static bool same_subject(const RbacV1__Subject *a, const RbacV1__Subject *b)
{
	return text_is(a->kind, text_of(b->kind)) && text_is(a->name, text_of(b->name)) &&
	       text_is(a->namespace_, text_of(b->namespace_));
}

static bool add_subjects(struct arena *a, RbacV1__ClusterRoleBinding *binding,
			 const struct builtin_binding *b)
{
	bool added = false;
	char **items;
	size_t n;

	split(a, b->subjects, &items, &n);
	for (size_t i = 0; i < n; i++) {
		RbacV1__Subject *subject = make_subject(a, items[i]);
		bool there = false;

		for (size_t k = 0; !there && k < binding->n_subjects; k++)
			there = same_subject(binding->subjects[k], subject);
		if (there)
			continue;
		make_append(a, binding, subjects, subject);
		added = true;
	}
	return added;
}

static void create_binding(const struct builtin_binding *b, struct intents *intents)
{
	struct arena *a = intents->arena;
	RbacV1__ClusterRoleBinding *binding =
		make(a, RbacV1__ClusterRoleBinding, rbac_v1__cluster_role_binding);

	set_metadata(a, binding, b->name);
	binding->roleref = make(a, RbacV1__RoleRef, rbac_v1__role_ref);
	binding->roleref->apigroup = arena_strdup(a, group);
	binding->roleref->kind = arena_strdup(a, "ClusterRole");
	binding->roleref->name = arena_strdup(a, b->role);
	add_subjects(a, binding, b);
	intend_create(intents, bindings, "", &binding->base);
}

void ensure_cluster_role_bindings(struct view *v, struct intents *intents)
{
	for (size_t i = 0; i < n_builtin_bindings; i++) {
		const struct object *o = view_get(v, bindings, "", builtin_bindings[i].name);
		RbacV1__ClusterRoleBinding *binding;

		if (o == NULL) {
			create_binding(&builtin_bindings[i], intents);
			continue;
		}
		binding = changed(o, intents->arena);
		if (may_update(binding->metadata) &&
		    add_subjects(intents->arena, binding, &builtin_bindings[i]))
			intend_update(intents, o, &binding->base);
	}
}
