/* What must be so of StatefulSets, DaemonSets and Jobs once the faults have stopped. */
#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/make.h"
#include "proto/k8s/apps_v1.pb-c.h"
#include "tests/sim/cluster/settled.h"

/* --- StatefulSets ------------------------------------------------------------------------ */

struct ordinals {
	int32_t first, end;
	uint64_t seen; /* A bit for each. */
	bool other, unready;
};

static bool take_ordinal(void *ctx, const struct object *o)
{
	struct ordinals *n = ctx;
	const char *dash = strrchr(o->name, '-');
	int32_t ordinal = dash != NULL ? atoi(dash + 1) : -1;

	if (ordinal < n->first || ordinal >= n->end || ordinal >= 64) {
		n->other = true;
		return false;
	}
	n->seen |= 1ull << ordinal;
	n->unready = n->unready || !o->facts.pod->ready;
	return true;
}

bool settled_look_at_statefulset(void *ctx, const struct object *o)
{
	struct settled *l = ctx;
	const AppsV1__StatefulSet *m = settled_message(l, o);
	const AppsV1__StatefulSetStatus *s = m->status;
	const AppsV1__RollingUpdateStatefulSetStrategy *rolling =
		m->spec->updatestrategy != NULL ? m->spec->updatestrategy->rollingupdate : NULL;
	struct ordinals n = { .first = m->spec->ordinals ? m->spec->ordinals->start : 0 };

	n.end = n.first + m->spec->replicas;
	store_walk_owned(l->store, kind_of_resource("pods"), o->facts.uid, take_ordinal, &n);
	if (n.other)
		return settled_wrong(l, o, "has a pod of no ordinal of its own");
	for (int32_t i = n.first; i < n.end; i++)
		if (!(n.seen & 1ull << i))
			return settled_wrong(l, o, "lacks a pod");
	if (n.unready)
		return settled_wrong(l, o, "has a pod that is not ready");
	if (s == NULL || s->observedgeneration != m->metadata->generation ||
	    s->replicas != m->spec->replicas || s->readyreplicas != m->spec->replicas ||
	    s->availablereplicas != m->spec->replicas)
		return settled_wrong(l, o, "its status is not as its pods");
	if (text_is(m->spec->updatestrategy->type, "RollingUpdate") &&
	    (rolling == NULL || rolling->partition == 0) &&
	    (!text_is(s->currentrevision, s->updaterevision) ||
	     s->updatedreplicas != m->spec->replicas))
		return settled_wrong(l, o, "is not updated");
	return true;
}

/* --- DaemonSets -------------------------------------------------------------------------- */

struct copies {
	unsigned on[AGENTS_MAX], n;
	bool unready;
};

static bool take_copy(void *ctx, const struct object *o)
{
	struct copies *n = ctx;
	const char *dash = strrchr(o->facts.pod->node_name, '-');
	unsigned node = dash != NULL ? (unsigned)atoi(dash + 1) : AGENTS_MAX;

	if (node < AGENTS_MAX)
		n->on[node]++;
	n->n++;
	n->unready = n->unready || !o->facts.pod->ready;
	return true;
}

bool settled_look_at_daemonset(void *ctx, const struct object *o)
{
	struct settled *l = ctx;
	const AppsV1__DaemonSet *m = settled_message(l, o);
	const AppsV1__DaemonSetStatus *s = m->status;
	bool half = m->spec->template_->spec->n_nodeselector > 0; /* Zone a: every second one. */
	struct copies n = { .n = 0 };
	int32_t wanted = 0;

	store_walk_owned(l->store, kind_of_resource("pods"), o->facts.uid, take_copy, &n);
	for (unsigned i = 0; i < l->chaos->agents.n; i++) {
		unsigned should = !half || i % 2 == 0;

		if (n.on[i] != should)
			return settled_wrong(l, o, "has not one pod on each of its nodes");
		wanted += (int32_t)should;
	}
	if (n.unready)
		return settled_wrong(l, o, "has a pod that is not ready");
	if (s == NULL || s->observedgeneration != m->metadata->generation ||
	    s->desirednumberscheduled != wanted || s->currentnumberscheduled != wanted ||
	    s->numberready != wanted || s->numberavailable != wanted)
		return settled_wrong(l, o, "its status is not as its pods");
	if (text_is(m->spec->updatestrategy->type, "RollingUpdate") &&
	    s->updatednumberscheduled != wanted)
		return settled_wrong(l, o, "is not updated");
	return true;
}

/* --- Jobs -------------------------------------------------------------------------------- */

bool settled_look_at_job(void *ctx, const struct object *o)
{
	struct settled *l = ctx;
	const char *why = jobs_why_not(l->chaos, o, settled_message(l, o));

	return why == NULL ? true : settled_wrong(l, o, why);
}

bool settled_look_at_cronjob(void *ctx, const struct object *o)
{
	struct settled *l = ctx;
	const char *why = jobs_cron_why_not(l->chaos, o, settled_message(l, o));

	return why == NULL ? true : settled_wrong(l, o, why);
}
