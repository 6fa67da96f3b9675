/* Roles and their bindings at the door. They are kept and shown; nobody is asked
 * for them yet. */
#include <string.h>

#include "controlplane/admission/strategy.h"
#include "proto/k8s/rbac_v1.pb-c.h"

static const char group[] = "rbac.authorization.k8s.io";

/* --- Roles ------------------------------------------------------------------------------ */

static void check_rule(struct checks *c, const struct field *f, const RbacV1__PolicyRule *r,
		       bool namespaced)
{
	if (r->n_verbs == 0)
		check_required(c, FIELD(f, "verbs"), "verbs must contain at least one value");
	if (r->n_nonresourceurls > 0) {
		if (namespaced)
			check_invalid_text(c, FIELD(f, "nonResourceURLs"), "[]",
					   "namespaced rules cannot apply to non-resource URLs");
		if (r->n_apigroups > 0 || r->n_resources > 0 || r->n_resourcenames > 0)
			check_invalid_text(
				c, FIELD(f, "nonResourceURLs"), "[]",
				"rules cannot apply to both regular resources and non-resource URLs");
		return;
	}
	if (r->n_apigroups == 0)
		check_required(c, FIELD(f, "apiGroups"),
			       "resource rules must supply at least one api group");
	if (r->n_resources == 0)
		check_required(c, FIELD(f, "resources"),
			       "resource rules must supply at least one resource");
}

static void validate_role(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const RbacV1__Role *role = (RbacV1__Role *)message;

	for (size_t i = 0; i < role->n_rules; i++)
		check_rule(c, AT(FIELD(NULL, "rules"), i), role->rules[i], true);
}

static void validate_cluster_role(struct checks *c, ProtobufCMessage *message,
				  ProtobufCMessage *old)
{
	const RbacV1__ClusterRole *role = (RbacV1__ClusterRole *)message;
	const struct field *f = FIELD(FIELD(NULL, "aggregationRule"), "clusterRoleSelectors");

	for (size_t i = 0; i < role->n_rules; i++)
		check_rule(c, AT(FIELD(NULL, "rules"), i), role->rules[i], false);
	if (role->aggregationrule == NULL)
		return;
	if (role->aggregationrule->n_clusterroleselectors == 0)
		check_required(c, f,
			       "at least one clusterRoleSelector required if aggregationRule "
			       "is non-nil");
	for (size_t i = 0; i < role->aggregationrule->n_clusterroleselectors; i++)
		check_label_selector(c, AT(f, i), role->aggregationrule->clusterroleselectors[i]);
}

/* --- Bindings ----------------------------------------------------------------------------- */

/* Both kinds have the same members. */
struct binding {
	RbacV1__RoleRef *ref;
	RbacV1__Subject **subjects;
	size_t n;
};

static struct binding binding_of(const ProtobufCMessage *message)
{
	if (message == NULL)
		return (struct binding){ 0 };
	if (message->descriptor == &rbac_v1__cluster_role_binding__descriptor) {
		const RbacV1__ClusterRoleBinding *b = (const RbacV1__ClusterRoleBinding *)message;

		return (struct binding){ b->roleref, b->subjects, b->n_subjects };
	}

	const RbacV1__RoleBinding *b = (const RbacV1__RoleBinding *)message;

	return (struct binding){ b->roleref, b->subjects, b->n_subjects };
}

static void prepare_binding(struct admission *a, ProtobufCMessage *message, ProtobufCMessage *old)
{
	struct binding b = binding_of(message);

	if (b.ref != NULL && text_empty(b.ref->apigroup))
		b.ref->apigroup = arena_strdup(a->arena, group);
	for (size_t i = 0; i < b.n; i++)
		if (text_empty(b.subjects[i]->apigroup) &&
		    !text_is(b.subjects[i]->kind, "ServiceAccount"))
			b.subjects[i]->apigroup = arena_strdup(a->arena, group);
}

static void check_ref(struct checks *c, const struct field *f, const RbacV1__RoleRef *ref,
		      bool namespaced)
{
	static const char *const groups[] = { group, NULL };
	static const char *const any[] = { "Role", "ClusterRole", NULL };
	static const char *const wide[] = { "ClusterRole", NULL };
	const char *wrong;

	if (ref == NULL) {
		check_required(c, FIELD(f, "name"), "");
		return;
	}
	check_one_of(c, FIELD(f, "apiGroup"), text_of(ref->apigroup), groups);
	check_one_of(c, FIELD(f, "kind"), text_of(ref->kind), namespaced ? any : wide);
	if (text_empty(ref->name))
		check_required(c, FIELD(f, "name"), "");
	else if ((wrong = name_is_path_segment(ref->name)) != NULL)
		check_invalid(c, FIELD(f, "name"), ref->name, "%s", wrong);
}

static void check_subject(struct checks *c, const struct field *f, const RbacV1__Subject *s,
			  bool namespaced)
{
	static const char *const kinds[] = { "ServiceAccount", "User", "Group", NULL };
	static const char *const groups[] = { group, NULL };
	static const char *const core[] = { "", NULL };
	bool account = text_is(s->kind, "ServiceAccount");

	if (text_empty(s->name))
		check_required(c, FIELD(f, "name"), "");
	if (!check_one_of(c, FIELD(f, "kind"), text_of(s->kind), kinds))
		return;
	check_one_of(c, FIELD(f, "apiGroup"), text_of(s->apigroup), account ? core : groups);
	if (account && !namespaced && text_empty(s->namespace_))
		check_required(c, FIELD(f, "namespace"), "");
}

static void validate_binding(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	bool namespaced = message->descriptor == &rbac_v1__role_binding__descriptor;
	struct binding b = binding_of(message), was = binding_of(old);

	check_ref(c, FIELD(NULL, "roleRef"), b.ref, namespaced);
	for (size_t i = 0; i < b.n; i++)
		check_subject(c, AT(FIELD(NULL, "subjects"), i), b.subjects[i], namespaced);
	if (was.ref != NULL && b.ref != NULL && !message_equal(b.ref, was.ref))
		check_invalid_message(c, FIELD(NULL, "roleRef"), &b.ref->base,
				      "cannot change roleRef");
}

const struct strategy strategy_role = {
	.descriptor = &rbac_v1__role__descriptor,
	.name = name_is_path_segment,
	.validate = validate_role,
};
const struct strategy strategy_cluster_role = {
	.descriptor = &rbac_v1__cluster_role__descriptor,
	.name = name_is_path_segment,
	.validate = validate_cluster_role,
};
const struct strategy strategy_role_binding = {
	.descriptor = &rbac_v1__role_binding__descriptor,
	.name = name_is_path_segment,
	.prepare = prepare_binding,
	.validate = validate_binding,
};
const struct strategy strategy_cluster_role_binding = {
	.descriptor = &rbac_v1__cluster_role_binding__descriptor,
	.name = name_is_path_segment,
	.prepare = prepare_binding,
	.validate = validate_binding,
};
