/* Tables of what every cluster has (private to this folder). */
#pragma once

#include "controlplane/controllers/common.h"

struct builtin_role {
	const char *name;
	const char *part_of;    /* "edit": it is aggregated to the role edit; or "". */
	const char *aggregates; /* "edit": its rules are those of all parts of edit; or "". */
};

/* Lists separated by ";"; the core group is "-". */
struct builtin_rule {
	const char *role, *groups, *resources, *names, *urls, *verbs;
};

struct builtin_binding {
	const char *name, *role;
	const char *subjects; /* "Group:system:masters;ServiceAccount:kube-system/kube-dns" */
};

extern const struct builtin_role builtin_roles[];
extern const struct builtin_rule builtin_rules[];
extern const struct builtin_binding builtin_bindings[];
extern const size_t n_builtin_roles, n_builtin_rules, n_builtin_bindings;

/* builtin_rbac.c */
void ensure_cluster_roles(struct view *v, struct intents *intents);
void ensure_cluster_role_bindings(struct view *v, struct intents *intents);
