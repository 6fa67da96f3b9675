/* Rows of policy: priorities, budgets, quotas, and who may do what. */
#include <stdlib.h>
#include <string.h>

#include "controlplane/apiserver/columns/cells.h"
#include "proto/k8s/policy_v1.pb-c.h"
#include "proto/k8s/rbac_v1.pb-c.h"
#include "proto/k8s/scheduling_v1.pb-c.h"

/* --- PriorityClass ---------------------------------------------------------------- */

static void class_value(struct cells *c, const void *message)
{
	cell_int(c, ((const SchedulingV1__PriorityClass *)message)->value);
}

static void class_default(struct cells *c, const void *message)
{
	cell_bool(c, ((const SchedulingV1__PriorityClass *)message)->globaldefault);
}

static void class_preemption(struct cells *c, const void *message)
{
	cell_text(c, ((const SchedulingV1__PriorityClass *)message)->preemptionpolicy);
}

/* --- PodDisruptionBudget ------------------------------------------------------------ */

static void cell_int_or_percent(struct cells *c, const Intstr__IntOrString *v)
{
	if (v == NULL)
		cell_text(c, "N/A");
	else if (v->type == 0)
		cell_printf(c, "%d", v->intval);
	else
		cell_text(c, v->strval);
}

static void budget_min(struct cells *c, const void *message)
{
	const PolicyV1__PodDisruptionBudget *b = message;

	cell_int_or_percent(c, b->spec != NULL ? b->spec->minavailable : NULL);
}

static void budget_max(struct cells *c, const void *message)
{
	const PolicyV1__PodDisruptionBudget *b = message;

	cell_int_or_percent(c, b->spec != NULL ? b->spec->maxunavailable : NULL);
}

static void budget_allowed(struct cells *c, const void *message)
{
	const PolicyV1__PodDisruptionBudget *b = message;

	cell_int(c, b->status != NULL ? b->status->disruptionsallowed : 0);
}

/* --- ResourceQuota -------------------------------------------------------------------- */

static int by_key(const void *a, const void *b)
{
	const CoreV1__ResourceQuotaStatus__HardEntry *const *x = a, *const *y = b;

	return strcmp(text_of((*x)->key), text_of((*y)->key));
}

static const char *used_of(const CoreV1__ResourceQuotaStatus *status, const char *key)
{
	for (size_t i = 0; i < status->n_used; i++)
		if (strcmp(text_of(status->used[i]->key), key) == 0 &&
		    status->used[i]->value != NULL)
			return text_of(status->used[i]->value->string);
	return "0";
}

/* "cpu: 1/2, pods: 3/10": what begins with "limits.", or the rest. */
static void cell_usage(struct cells *c, const CoreV1__ResourceQuota *quota, bool limits)
{
	const CoreV1__ResourceQuotaStatus *status = quota->status;
	struct buf b = { 0 };

	if (status != NULL && status->n_hard > 1)
		qsort(status->hard, status->n_hard, sizeof(*status->hard), by_key);
	for (size_t i = 0; status != NULL && i < status->n_hard; i++) {
		const char *key = text_of(status->hard[i]->key);
		const Resource__Quantity *hard = status->hard[i]->value;

		if ((strncmp(key, "limits.", 7) == 0) == limits)
			buf_printf(&b, "%s%s: %s/%s", b.len > 0 ? ", " : "", key,
				   used_of(status, key),
				   hard != NULL ? text_of(hard->string) : "0");
	}
	cell_take(c, &b);
}

static void quota_request(struct cells *c, const void *message)
{
	cell_usage(c, message, false);
}

static void quota_limit(struct cells *c, const void *message)
{
	cell_usage(c, message, true);
}

/* --- Bindings of roles ------------------------------------------------------------------ */

/* Both kinds of binding have the same members. */
struct binding {
	const RbacV1__RoleRef *ref;
	RbacV1__Subject *const *subjects;
	size_t n;
};

static struct binding binding_of(const void *message)
{
	const ProtobufCMessage *m = message;

	if (m->descriptor == &rbac_v1__cluster_role_binding__descriptor) {
		const RbacV1__ClusterRoleBinding *b = message;

		return (struct binding){ b->roleref, b->subjects, b->n_subjects };
	}

	const RbacV1__RoleBinding *b = message;

	return (struct binding){ b->roleref, b->subjects, b->n_subjects };
}

static void binding_role(struct cells *c, const void *message)
{
	const struct binding b = binding_of(message);

	cell_printf(c, "%s/%s", b.ref != NULL ? text_of(b.ref->kind) : "",
		    b.ref != NULL ? text_of(b.ref->name) : "");
}

static void cell_subjects(struct cells *c, const void *message, const char *kind)
{
	const struct binding b = binding_of(message);
	struct buf out = { 0 };

	for (size_t i = 0; i < b.n; i++) {
		const RbacV1__Subject *s = b.subjects[i];

		if (strcmp(text_of(s->kind), kind) != 0)
			continue;
		buf_put_str(&out, out.len > 0 ? ", " : "");
		if (strcmp(kind, "ServiceAccount") == 0)
			buf_printf(&out, "%s/", text_of(s->namespace_));
		buf_put_str(&out, text_of(s->name));
	}
	cell_take(c, &out);
}

static void binding_users(struct cells *c, const void *message)
{
	cell_subjects(c, message, "User");
}

static void binding_groups(struct cells *c, const void *message)
{
	cell_subjects(c, message, "Group");
}

static void binding_accounts(struct cells *c, const void *message)
{
	cell_subjects(c, message, "ServiceAccount");
}

/* clang-format off */
static const struct column class[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Value", NUMBER, 0, class_value, "The priority of its pods; higher comes first." },
	{ "Global-Default", "boolean", "", 0, class_default, "Whether pods that name no class get it." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
	{ "PreemptionPolicy", TEXT, 0, class_preemption, "Whether its pods take the place of others." },
};
static const struct column budget[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Min Available", TEXT, 0, budget_min, "How many pods must stay." },
	{ "Max Unavailable", TEXT, 0, budget_max, "How many pods may be missing." },
	{ "Allowed Disruptions", NUMBER, 0, budget_allowed, "How many pods may be evicted now." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
};
static const struct column quota[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Request", TEXT, 0, quota_request, "Used and hard, of what is requested." },
	{ "Limit", TEXT, 0, quota_limit, "Used and hard, of limits." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
};
static const struct column binding[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Role", TEXT, 0, binding_role, "The role it gives." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
	{ "Users", TEXT, 1, binding_users, "Users who get it." },
	{ "Groups", TEXT, 1, binding_groups, "Groups who get it." },
	{ "ServiceAccounts", TEXT, 1, binding_accounts, "ServiceAccounts that get it." },
};

const struct table_columns columns_policy[] = {
	COLUMNS(scheduling_v1__priority_class, class),
	COLUMNS(policy_v1__pod_disruption_budget, budget),
	COLUMNS(core_v1__resource_quota, quota),
	COLUMNS(rbac_v1__role_binding, binding),
	COLUMNS(rbac_v1__cluster_role_binding, binding),
};
/* clang-format on */
const size_t n_columns_policy = sizeof(columns_policy) / sizeof(columns_policy[0]);
