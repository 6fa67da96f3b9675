/* ResourceQuotas are counted where writes are decided. Here they are counted
 * again, now and then, and when their status says something else than their spec. */
#include <string.h>

#include "controlplane/budgets/quota.h"
#include "controlplane/controllers/common.h"

#define RECOUNT_NS (300 * NS_PER_S)

static const struct object *read_get(void *ctx, const struct kind *kind, const char *namespace,
				     const char *name)
{
	const struct view *v = ctx;

	return store_get(v->store, kind, namespace, name);
}

static void read_walk(void *ctx, const struct kind *kind, const char *namespace, store_walk_cb *cb,
		      void *cb_ctx)
{
	const struct view *v = ctx;

	store_walk(v->store, kind, namespace, NULL, NULL, cb, cb_ctx);
}

static void reconcile(struct view *v, struct key key, struct intents *intents)
{
	const struct object *o = view_get(v, "resourcequotas", key.namespace, key.name);
	const struct budget_reader reader = { .ctx = v, .get = read_get, .walk = read_walk };

	if (o == NULL)
		return;

	const CoreV1__ResourceQuota *before = view_message(v, o);
	CoreV1__ResourceQuota *quota = changed(o, intents->arena);

	quota_count(&reader, quota, o->namespace, NULL, intents->arena);
	/* A quota that changed meanwhile is at another revision, and this is not taken. */
	if (before->status == NULL || !message_equal(before->status, quota->status))
		intend_update_status(intents, o, &quota->base);
	intend_again(intents, v->now_ns + RECOUNT_NS);
}

static bool says_the_same(const CoreV1__ResourceQuota *quota)
{
	size_t n = quota->spec != NULL ? quota->spec->n_hard : 0;
	const CoreV1__ResourceQuotaStatus *s = quota->status;

	if (s == NULL || s->n_hard != n || s->n_used != n)
		return n == 0;
	for (size_t i = 0; i < n; i++)
		if (!text_is(s->hard[i]->key, text_of(quota->spec->hard[i]->key)) ||
		    !message_equal(s->hard[i]->value, quota->spec->hard[i]->value))
			return false;
	return true;
}

static void on_change(const struct view *v, const struct object *old, const struct object *new,
		      struct keys *keys)
{
	if (!change_is_of(old, new, "resourcequotas"))
		return;
	/* Every object that comes or goes changes it: only what is odd is looked at. */
	if (old == NULL || (new != NULL && !says_the_same(object_message(new, v->arena))))
		keys_add_object(keys, old, new);
}

static void seed(const struct view *v, struct keys *keys)
{
	keys_add_all(keys, v, "resourcequotas", NULL);
}

const struct controller controller_quota = {
	.name = "resourcequota-controller",
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
};
