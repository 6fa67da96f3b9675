/* What every cluster has from the beginning, and again should somebody remove
 * it. A key is a resource. */
#include <string.h>

#include "common/base/cleanup.h"
#include "controlplane/controllers/builtin.h"
#include "proto/k8s/scheduling_v1.pb-c.h"

/* --- Priorities ---------------------------------------------------------------------- */

static const struct {
	const char *name;
	int32_t value;
	const char *description;
} classes[] = {
	{ "system-cluster-critical", 2000000000,
	  "Used for system critical pods that must run in the cluster, but can be moved to another "
	  "node if necessary." },
	{ "system-node-critical", 2000001000,
	  "Used for system critical pods that must not be moved from their current node." },
};

static void ensure_classes(struct view *v, struct intents *intents)
{
	for (size_t i = 0; i < array_size(classes); i++) {
		if (view_get(v, "priorityclasses.scheduling.k8s.io", "", classes[i].name) != NULL)
			continue;

		SchedulingV1__PriorityClass *c = make(intents->arena, SchedulingV1__PriorityClass,
						      scheduling_v1__priority_class);

		message_metadata_make(c, intents->arena)->name =
			arena_strdup(intents->arena, classes[i].name);
		make_set(c, value, classes[i].value);
		c->description = arena_strdup(intents->arena, classes[i].description);
		intend_create(intents, "priorityclasses.scheduling.k8s.io", "", &c->base);
	}
}

/* --- The controller -------------------------------------------------------------------- */

static const struct {
	const char *resource;
	void (*ensure)(struct view *v, struct intents *intents);
} sets[] = {
	{ "clusterrolebindings.rbac.authorization.k8s.io", ensure_cluster_role_bindings },
	{ "clusterroles.rbac.authorization.k8s.io", ensure_cluster_roles },
	{ "priorityclasses.scheduling.k8s.io", ensure_classes },
};

static void reconcile(struct view *v, struct key key, struct intents *intents)
{
	for (size_t i = 0; i < array_size(sets); i++)
		if (strcmp(sets[i].resource, key.name) == 0)
			sets[i].ensure(v, intents);
}

static void on_change(const struct view *v, const struct object *old, const struct object *new,
		      struct keys *keys)
{
	for (size_t i = 0; i < array_size(sets); i++)
		if (old != NULL && change_is_of(old, new, sets[i].resource))
			keys_add(keys, "", sets[i].resource);
}

static void seed(const struct view *v, struct keys *keys)
{
	for (size_t i = 0; i < array_size(sets); i++)
		keys_add(keys, "", sets[i].resource);
}

const struct controller controller_builtin = {
	.name = "builtin-controller",
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
};
