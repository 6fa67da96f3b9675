/* Replaces the pods of older templates node by node.
 *
 * Without surge an old pod is deleted, and the new one follows when it is gone;
 * with surge the new one is made first, and the old one goes when it is
 * available. A pod that is not available may always be replaced. */
#include "controlplane/controllers/daemonset.h"

bool daemon_pod_available(struct daemon *d, const struct daemon_pod *p)
{
	return pod_is_available(p->facts, d->spec->minreadyseconds, d->view->now_ns, &d->again_ns);
}

/* The limits of the strategy, as counts of nodes. */
struct limits {
	int32_t surge, unavailable;
};

static struct limits limits_of(const struct daemon *d)
{
	const AppsV1__RollingUpdateDaemonSet *r =
		d->spec->updatestrategy ? d->spec->updatestrategy->rollingupdate : NULL;
	struct limits l = { 0 };
	int32_t wanted = 0;

	for (size_t i = 0; i < d->n_nodes; i++)
		wanted += d->nodes[i].runs;
	if (r != NULL) {
		l.surge = scaled(r->maxsurge, wanted, true);
		l.unavailable = scaled(r->maxunavailable, wanted, true);
	}
	/* Percentages of few nodes must not add up to standing still. */
	if (wanted > 0 && l.surge == 0 && l.unavailable == 0)
		l.unavailable = 1;
	return l;
}

bool daemon_surges(const struct daemon *d)
{
	return limits_of(d).surge > 0;
}

/* The old and the new pod of a node; false when there are more of either. */
static bool pair_of(const struct daemon_node *n, struct daemon_pod **ret_old,
		    struct daemon_pod **ret_new)
{
	*ret_old = *ret_new = NULL;
	for (size_t i = 0; i < n->n_pods; i++) {
		struct daemon_pod *p = &n->pods[i], **to = p->new ? ret_new : ret_old;

		if (p->gone)
			continue;
		if (*to != NULL)
			return false;
		*to = p;
	}
	return true;
}

/* A node that takes no pod now, but keeps one that is not available: it may be back any time. */
static bool is_in_trouble(struct daemon *d, const struct daemon_node *n)
{
	if (n->object == NULL || !n->keeps || n->n_pods == 0)
		return false;
	for (size_t i = 0; i < n->n_pods; i++)
		if (!n->pods[i].gone && daemon_pod_available(d, &n->pods[i]))
			return false;
	return true;
}

static void replace_by_deleting(struct daemon *d, int32_t max)
{
	struct daemon_pod **candidates =
		arena_array(d->view->arena, struct daemon_pod *, d->n_nodes + 1);
	int32_t unavailable = 0;
	size_t n = 0;

	for (size_t i = 0; i < d->n_nodes; i++) {
		struct daemon_pod *old, *new;

		if (!d->nodes[i].runs) {
			unavailable += is_in_trouble(d, &d->nodes[i]);
			continue;
		}
		/* Where there is none, or more than one, somebody is being made or removed. */
		if (!pair_of(&d->nodes[i], &old, &new) || (old == NULL) == (new == NULL))
			unavailable++;
		else if (new != NULL)
			unavailable += !daemon_pod_available(d, new);
		else if (daemon_pod_available(d, old))
			candidates[n++] = old;
		else {
			/* It goes whatever the limit, but its node is without, too. */
			daemon_delete_pod(d, old);
			unavailable++;
		}
	}
	for (size_t i = 0; i < n && unavailable < max; i++, unavailable++)
		daemon_delete_pod(d, candidates[i]);
}

static void replace_by_surging(struct daemon *d, int32_t max)
{
	struct daemon_node **candidates =
		arena_array(d->view->arena, struct daemon_node *, d->n_nodes + 1);
	int32_t surging = 0;
	size_t n = 0;

	for (size_t i = 0; i < d->n_nodes; i++) {
		struct daemon_node *node = &d->nodes[i];
		struct daemon_pod *old, *new;

		if (!node->runs)
			continue;
		if (!pair_of(node, &old, &new))
			surging++;
		else if (old == NULL)
			continue;
		else if (new != NULL && daemon_pod_available(d, new))
			daemon_delete_pod(d, old);
		else if (new != NULL)
			surging++;
		else if (!daemon_pod_available(d, old))
			node->create = true;
		else
			candidates[n++] = node;
	}
	for (size_t i = 0; i < n && surging < max; i++, surging++)
		candidates[i]->create = true;
}

void daemon_roll(struct daemon *d)
{
	struct limits l = limits_of(d);

	if (!text_is(d->spec->updatestrategy ? d->spec->updatestrategy->type : NULL,
		     "RollingUpdate"))
		return;
	if (l.surge > 0)
		replace_by_surging(d, l.surge);
	else
		replace_by_deleting(d, l.unavailable);
}
