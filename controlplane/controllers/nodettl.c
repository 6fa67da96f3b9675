/* How long programs on a node may keep Secrets and ConfigMaps without asking: the
 * larger the cluster, the longer. Told by an annotation of each Node. Ranges
 * overlap, so that a cluster at a border does not go back and forth. */
#include <string.h>

#include "common/base/cleanup.h"
#include "controlplane/controllers/common.h"

static const char annotation[] = "node.alpha.kubernetes.io/ttl";

static const struct range {
	size_t min, max; /* Nodes. */
	const char *seconds;
} ranges[] = {
	{ 0, 100, "0" },     { 90, 500, "15" },         { 450, 1000, "30" },
	{ 900, 2000, "60" }, { 1800, SIZE_MAX, "300" },
};

/* What the node says stays as long as it fits. */
static const char *seconds_for(size_t n, const char *now)
{
	for (size_t i = 0; i < array_size(ranges); i++)
		if (now != NULL && strcmp(now, ranges[i].seconds) == 0 && n >= ranges[i].min &&
		    n <= ranges[i].max)
			return now;
	for (size_t i = 0; i < array_size(ranges); i++)
		if (n <= ranges[i].max)
			return ranges[i].seconds;
	return ranges[array_size(ranges) - 1].seconds;
}

static void reconcile(struct view *v, struct key key, struct intents *intents)
{
	const struct object *o = view_get(v, "nodes", "", key.name);
	size_t n;
	CoreV1__Node *node;

	if (o == NULL || o->facts.deleted_ns != 0)
		return;
	n = store_count(v->store, o->kind);
	node = changed(o, intents->arena);

	const char *now = meta_annotation(node->metadata, annotation);
	const char *wanted = seconds_for(n, now);

	if (wanted == now)
		return;
	meta_set_annotation(intents->arena, node->metadata, annotation, wanted);
	intend_update(intents, o, &node->base);
}

/* Whether one node more or less can matter to the others. */
static bool is_border(size_t n)
{
	for (size_t i = 0; i < array_size(ranges); i++)
		if (n == ranges[i].max + 1 || n + 1 == ranges[i].min)
			return true;
	return false;
}

static void on_change(const struct view *v, const struct object *old, const struct object *new,
		      struct keys *keys)
{
	if (!change_is_of(old, new, "nodes") || (old != NULL && new != NULL))
		return;
	if (is_border(store_count(v->store, (new ? new : old)->kind)))
		keys_add_all(keys, v, "nodes", NULL);
	else if (new != NULL)
		keys_add(keys, "", new->name);
}

static void seed(const struct view *v, struct keys *keys)
{
	keys_add_all(keys, v, "nodes", NULL);
}

const struct controller controller_nodettl = {
	.name = "ttl-controller",
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
};
