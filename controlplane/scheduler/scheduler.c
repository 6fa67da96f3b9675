/* Changes of the store on one side, decisions on the other. The life of a waiting
 * pod is drawn in queue.c. */
#include "controlplane/scheduler/scheduler.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/base/alloc.h"
#include "controlplane/scheduler/class.h"
#include "controlplane/scheduler/internal.h"
#include "controlplane/scheduler/node_facts.h"
#include "controlplane/scheduler/node_rules.h"
#include "controlplane/scheduler/report.h"
#include "controlplane/scheduler/spaces.h"
#include "controlplane/store/wire.h"

enum { SPEC_GATES = 38, STATUS_NOMINATED = 11 };

/* --- Pods that come and go ---------------------------------------------------------- */

static void place(struct scheduler *s, struct pod *pod, struct node *node, enum pod_state state)
{
	pod->state = (uint8_t)state;
	s->n_assumed += state == POD_ASSUMED;
	s->n_placed += state == POD_PLACED;
	cluster_place(&s->cluster, pod, node);
}

static void waiting_end(struct scheduler *s, struct pod *pod)
{
	if (pod->waiting == NULL)
		return;
	nominate(s, pod->waiting, NULL);
	wish_unref(&s->wishes, &s->cluster, pod->waiting->wish);
	free(pod->waiting);
	pod->waiting = NULL;
}

static void forget(struct scheduler *s, struct pod *pod)
{
	queue_remove(s, pod);
	waiting_end(s, pod);
	cluster_pod_remove(&s->cluster, pod);
}

/* The pod leaves its node, which stays known while others are told. */
static void leave(struct scheduler *s, struct pod *pod, bool gone, int64_t now_ns)
{
	struct node *node = pod->node;
	struct class *class = pod->class;
	bool claims = pod->object->facts.pod->claims != NULL;

	node->held++;
	class->refs++;
	if (gone)
		forget(s, pod);
	else
		cluster_displace(&s->cluster, pod);
	node->held--;
	hint_left(s, class, node, now_ns);
	/* A claim that only one pod may use is free. */
	if (claims)
		hint_volumes(s, now_ns);
	class_unref(&s->cluster, class);
	cluster_node_drop(&s->cluster, node);
}

static bool takes_room(const struct object *pod)
{
	const struct pod_facts *p = pod->facts.pod;

	return p->scheduled && p->phase != PHASE_SUCCEEDED && p->phase != PHASE_FAILED;
}

static bool is_ours(const struct scheduler *s, const struct object *pod)
{
	const struct pod_facts *p = pod->facts.pod;

	if (p->scheduled || pod->facts.deleted_ns != 0 || p->phase == PHASE_SUCCEEDED ||
	    p->phase == PHASE_FAILED)
		return false;
	for (size_t i = 0; s->config.names[i] != NULL; i++)
		if (strcmp(p->scheduler_name, s->config.names[i]) == 0)
			return true;
	return false;
}

static bool is_gated(const struct object *pod)
{
	return wire_count(pod_spec_bytes(pod), SPEC_GATES) > 0;
}

/* Room may have been made for it by an earlier leader. */
static void take_over_nomination(struct scheduler *s, struct pod *pod)
{
	struct bytes name = wire_find(pod_status_bytes(pod->object), STATUS_NOMINATED);
	char *text;

	if (name.len == 0)
		return;
	text = arena_strndup(&s->cluster.work, (const char *)name.data, name.len);
	nominate(s, pod->waiting, cluster_node(&s->cluster, text));
	arena_reset(&s->cluster.work);
}

static void begin_waiting(struct scheduler *s, struct pod *pod)
{
	pod->waiting = xcalloc(1, sizeof(*pod->waiting));
	pod->waiting->pod = pod;
	list_init(&pod->waiting->asleep);
	if (is_gated(pod->object)) {
		queue_add_gated(s, pod);
		return;
	}
	pod->waiting->wish = wish_ref(&s->wishes, &s->cluster, pod);
	take_over_nomination(s, pod);
	queue_add(s, pod);
}

/* The pod asks for something else now: it has its turn again. */
static void change_wish(struct scheduler *s, struct pod *pod, struct wish *wish)
{
	struct waiting *w = pod->waiting;
	bool waits = pod->state == POD_UNSCHEDULABLE || pod->state == POD_BACKOFF;

	if (waits)
		queue_remove(s, pod);
	wish_unref(&s->wishes, &s->cluster, w->wish);
	w->wish = wish;
	if (waits)
		queue_add(s, pod);
}

/* Newer bytes of a pod that waits. What our own report changes is nothing to it. */
static void on_waiting(struct scheduler *s, struct pod *pod, const struct object *new)
{
	bool same = class_is_same(pod->object, new);
	struct wish *wish;

	if (pod->state == POD_GATED && !is_gated(new)) {
		queue_remove(s, pod);
		waiting_end(s, pod);
		cluster_pod_update(&s->cluster, pod, new);
		begin_waiting(s, pod);
		return;
	}
	queue_update(s, pod, new);
	if (same || pod->state == POD_GATED)
		return;
	wish = wish_ref(&s->wishes, &s->cluster, pod);
	if (wish == pod->waiting->wish)
		wish_unref(&s->wishes, &s->cluster, wish);
	else
		change_wish(s, pod, wish);
}

/* With other labels or amounts it is as if one pod left and another came; one that ends is not
 * counted any more where pods are spread. */
static void update_placed(struct scheduler *s, struct pod *pod, const struct object *new,
			  int64_t now_ns)
{
	struct class *before = pod->class;
	bool was_dying = pod->dying;

	before->refs++;
	if (cluster_pod_update(&s->cluster, pod, new)) {
		hint_left(s, before, pod->node, now_ns);
		hint_came(s, pod->class, now_ns);
	} else if (pod->dying != was_dying) {
		hint_came(s, pod->class, now_ns);
	}
	class_unref(&s->cluster, before);
}

static void on_placed(struct scheduler *s, struct pod *pod, const struct object *new,
		      int64_t now_ns)
{
	struct node *node = cluster_node_make(&s->cluster, new->facts.pod->node_name);
	bool was_there = pod != NULL && pod->node == node;

	if (pod == NULL) {
		pod = cluster_pod_add(&s->cluster, new);
		place(s, pod, node, POD_PLACED);
	} else if (pod->state == POD_PLACED && was_there) {
		update_placed(s, pod, new, now_ns);
	} else {
		node->held++; /* Stays while the pod moves. */
		queue_remove(s, pod);
		waiting_end(s, pod);
		cluster_displace(&s->cluster, pod);
		cluster_pod_update(&s->cluster, pod, new);
		node->held--;
		place(s, pod, node, POD_PLACED);
	}
	if (!was_there)
		hint_came(s, pod->class, now_ns);
}

static void on_pod(struct scheduler *s, const struct object *old, const struct object *new,
		   int64_t now_ns)
{
	struct pod *pod = cluster_pod(&s->cluster, (new ? new : old)->facts.uid);
	bool placed = new != NULL &&takes_room(new), waits = new != NULL &&is_ours(s, new);

	if (placed)
		on_placed(s, pod, new, now_ns);
	else if (waits && pod != NULL && pod->state != POD_PLACED)
		on_waiting(s, pod, new);
	else if (pod != NULL && pod->node != NULL)
		leave(s, pod, true, now_ns);
	else if (pod != NULL)
		forget(s, pod);
	else if (waits)
		begin_waiting(s, cluster_pod_add(&s->cluster, new));
}

/* --- Other changes ---------------------------------------------------------------------- */

static void on_node(struct scheduler *s, const struct object *old, const struct object *new,
		    int64_t now_ns)
{
	struct cluster *c = &s->cluster;
	struct node *node = cluster_node_make(c, new ? new->name : old->name);
	const struct object *before = node->object;
	bool moved = before == NULL || new == NULL || node_rules_move(before, new);
	bool helps = moved || node_facts_differ(before, new);

	if (before == NULL && new == NULL) {
		cluster_node_drop(c, node);
		return;
	}
	/* Nobody waits for a node that is gone. */
	while (new == NULL && node->n_nominated > 0) {
		struct waiting *w = node->nominated[0];

		if (w->pod->state == POD_UNSCHEDULABLE)
			queue_wake(s, w->pod, now_ns);
		nominate(s, w, NULL);
	}
	cluster_node_set(c, node, new);
	if (helps)
		hint_node(s, node, moved, now_ns);
	cluster_node_drop(c, node);
}

static void on_namespace(struct scheduler *s, const struct object *old, const struct object *new,
			 int64_t now_ns)
{
	bool labels = old == NULL || new == NULL || !node_rules_same_labels(old, new);

	spaces_on_namespace(&s->cluster, old, new);
	if (labels)
		hint_space(s, now_ns);
}

static void on_other(struct scheduler *s, const struct object *old, const struct object *new,
		     int64_t now_ns)
{
	const struct kind *kind = (new ? new : old)->kind;
	const struct volume_rules *volumes = s->config.volumes;

	if (kind == s->namespaces)
		on_namespace(s, old, new, now_ns);
	else if (kind == s->services)
		spaces_on_service(&s->cluster, old, new);
	else if (kind == s->budgets)
		spaces_on_budget(&s->cluster, old, new);
	else if (volumes != NULL && !list_empty(&s->wishes.stuck) &&
		 volumes->change_helps(old, new))
		hint_volumes(s, now_ns);
}

void scheduler_on_change(struct scheduler *s, const struct object *old, const struct object *new,
			 int64_t now_ns)
{
	const struct facts *f = &(new ? new : old)->facts;

	if (f->pod != NULL) {
		/* A name used again is another pod. */
		if (old != NULL && new != NULL && strcmp(old->facts.uid, new->facts.uid) != 0)
			on_pod(s, old, NULL, now_ns);
		on_pod(s, old, new, now_ns);
	} else if (f->node != NULL) {
		on_node(s, old, new, now_ns);
	} else {
		on_other(s, old, new, now_ns);
	}
}

/* --- Life --------------------------------------------------------------------------- */

static void begin(struct scheduler *s)
{
	cluster_init(&s->cluster);
	s->wishes.volume_rules = s->config.volumes;
	wishes_init(&s->wishes);
	row_cache_init(&s->row_cache);
	queue_init(s);
	s->n_assumed = s->n_placed = s->n_unschedulable = s->n_gated = 0;
	s->order = 0;
	s->next_node = 0;
}

static void end(struct scheduler *s)
{
	bag_for_each (pod, &s->cluster.pods, struct pod, link) {
		queue_remove(s, pod);
		waiting_end(s, pod);
	}
	wishes_fini(&s->wishes, &s->cluster);
	row_cache_fini(&s->row_cache);
	cluster_fini(&s->cluster);
}

struct scheduler *scheduler_create(const struct scheduler_config *config)
{
	static const char *const default_names[] = { "default-scheduler", NULL };
	struct scheduler *s = xcalloc(1, sizeof(*s));

	s->config = *config;
	if (s->config.names == NULL)
		s->config.names = default_names;
	s->seed = config->seed;
	s->namespaces = kind_named("", "Namespace");
	s->services = kind_named("", "Service");
	s->budgets = kind_named("policy", "PodDisruptionBudget");
	begin(s);
	return s;
}

void scheduler_destroy(struct scheduler *s)
{
	if (s == NULL)
		return;
	end(s);
	free(s->candidates);
	free(s->pinned_rows);
	free(s->place_marks);
	free(s);
}

struct seeding {
	struct scheduler *s;
	int64_t now_ns;
	const struct object **waiting; /* By age, so that the oldest come first. */
	size_t n, cap;
};

static bool seed_any(void *ctx, const struct object *o)
{
	struct seeding *seeding = ctx;

	scheduler_on_change(seeding->s, NULL, o, seeding->now_ns);
	return true;
}

static bool seed_pod(void *ctx, const struct object *o)
{
	struct seeding *seeding = ctx;

	if (is_ours(seeding->s, o)) {
		array_grow(seeding->waiting, seeding->n, seeding->cap);
		seeding->waiting[seeding->n++] = o;
	} else {
		on_pod(seeding->s, NULL, o, seeding->now_ns);
	}
	return true;
}

static int compare_age(const void *x, const void *y)
{
	const struct object *a = *(const struct object *const *)x;
	const struct object *b = *(const struct object *const *)y;

	return a->created_revision < b->created_revision
		       ? -1
		       : a->created_revision > b->created_revision;
}

void scheduler_seed(struct scheduler *s, const struct store *store, int64_t now_ns)
{
	struct seeding seeding = { .s = s, .now_ns = now_ns };
	const struct kind *const first[] = { s->namespaces, s->services, s->budgets,
					     kind_named("", "Node") };

	end(s);
	begin(s);
	for (size_t i = 0; i < array_size(first); i++)
		store_walk(store, first[i], NULL, NULL, NULL, seed_any, &seeding);
	store_walk(store, kind_named("", "Pod"), NULL, NULL, NULL, seed_pod, &seeding);
	if (seeding.n > 0)
		qsort(seeding.waiting, seeding.n, sizeof(*seeding.waiting), compare_age);
	for (size_t i = 0; i < seeding.n; i++)
		on_pod(s, NULL, seeding.waiting[i], now_ns);
	free(seeding.waiting);
}

/* --- Deciding ----------------------------------------------------------------------- */

static void bind(struct scheduler *s, struct look *look, struct view *view, struct intents *intents,
		 struct pod *pod, struct node *node)
{
	struct wish *wish = pod->waiting->wish;

	if (look->claims != NULL &&
	    !look->volume_rules->reserve(look->claims, view, node, intents)) {
		/* Its room is kept until its volumes are there. */
		nominate(s, pod->waiting, node);
		wish->reasons = UINT64_C(1) << MISFIT_VOLUME;
		queue_sleep(s, pod, view->now_ns);
		return;
	}
	nominate(s, pod->waiting, NULL);
	place(s, pod, node, POD_ASSUMED);
	intend_bind(intents, pod->object, node->name);
	intend_event(intents, pod->object->facts.pod->scheduler_name, pod->object, "Normal",
		     "Scheduled", "Successfully assigned %s/%s to %s", pod->object->namespace,
		     pod->object->name, node->name);
	hint_came(s, pod->class, view->now_ns);
	hint_success(s, wish, view->now_ns);
}

/* Whoever is less important and had room made there looks elsewhere. */
static void clear_less_important(struct scheduler *s, struct node *node, const struct wish *wish,
				 struct view *view, struct intents *intents)
{
	for (size_t i = node->n_nominated; i > 0; i--) {
		struct waiting *w = node->nominated[i - 1];

		if (w->pod->priority >= wish->priority)
			continue;
		report_cleared(intents, w->pod->object);
		if (w->pod->state == POD_UNSCHEDULABLE)
			queue_wake(s, w->pod, view->now_ns);
		nominate(s, w, NULL);
	}
}

static void remember_reasons(struct wish *wish, const struct findings *f)
{
	wish->reasons = f->why != NULL ? UINT64_C(1) << MISFIT_VOLUME : 0;
	for (int m = FITS + 1; m < MISFIT_COUNT; m++)
		if (f->misfits[m] > 0)
			wish->reasons |= UINT64_C(1) << m;
}

static void fail(struct scheduler *s, struct look *look, struct view *view, struct intents *intents,
		 struct pod *pod, const struct findings *f)
{
	struct waiting *w = pod->waiting;
	struct wish *wish = w->wish;
	const char *why = explain(view->arena, s->cluster.n_real, wish, f);
	struct preemption p = { 0 };

	remember_reasons(wish, f);
	if (f->why == NULL && s->cluster.n_real > 0)
		p = preempt_find(s, look, wish, w, view);
	if (p.why != NULL)
		why = arena_printf(view->arena, "%s preemption: %s", why, p.why);
	for (size_t i = 0; i < p.n_victims; i++)
		if (!p.victims[i]->dying)
			report_victim(view, intents, p.victims[i]->object, pod->object, p.node);
	if (p.node != NULL)
		clear_less_important(s, p.node, wish, view, intents);
	if (!p.keep)
		nominate(s, w, p.node);
	report_unschedulable(view, intents, pod->object, why,
			     w->nominated ? w->nominated->name : "");
	queue_sleep(s, pod, view->now_ns);
}

static void attempt(struct scheduler *s, struct view *view, struct intents *intents,
		    struct pod *pod)
{
	struct waiting *w = pod->waiting;
	struct wish *wish = w->wish;
	struct findings f = { 0 };
	struct node *node = NULL;
	struct look look;

	cluster_order(&s->cluster);
	wish_look_for_defaults(wish, &s->cluster, view);
	look_begin(&look, &s->cluster, wish, w);
	look.volume_rules = s->config.volumes;
	if (wish->volumes)
		look.claims = look.volume_rules->look(view, pod->object, wish->spec, &f.why);
	queue_remove(s, pod);
	w->attempts++;
	w->tried_ns = view->now_ns;
	if (f.why == NULL)
		node = decide(s, &look, wish, w, view->arena, &f);
	if (node != NULL)
		bind(s, &look, view, intents, pod, node);
	else
		fail(s, &look, view, intents, pod, &f);
}

bool scheduler_next(struct scheduler *s, struct view *view, struct intents *intents,
		    const struct object **ret_pod)
{
	struct pod *pod;

	queue_wake_due(s, view->now_ns);
	while ((pod = queue_first(s)) != NULL) {
		size_t before = intents->count;

		attempt(s, view, intents, pod);
		if (intents->count == before)
			continue;
		*ret_pod = pod->object;
		return true;
	}
	return false;
}

void scheduler_refused(struct scheduler *s, const char *uid, int64_t now_ns)
{
	struct pod *pod = cluster_pod(&s->cluster, uid);

	if (pod == NULL || pod->waiting == NULL || pod->state == POD_GATED)
		return;
	nominate(s, pod->waiting, NULL);
	if (pod->state == POD_ASSUMED) {
		queue_remove(s, pod);
		leave(s, pod, false, now_ns);
		queue_back_off(s, pod, now_ns);
	} else if (pod->state == POD_UNSCHEDULABLE) {
		queue_remove(s, pod);
		queue_back_off(s, pod, now_ns);
	}
}

int64_t scheduler_again_ns(const struct scheduler *s)
{
	const struct waiting *w = tree_entry(tree_first(&s->backoff), struct waiting, link);

	return w == NULL ? 0 : w->due_ns;
}

struct scheduler_counts scheduler_count(const struct scheduler *s)
{
	return (struct scheduler_counts){
		.nodes = s->cluster.n_real,
		.queued = s->queue.count,
		.backing_off = s->backoff.count - s->n_unschedulable,
		.unschedulable = s->n_unschedulable,
		.gated = s->n_gated,
		.assumed = s->n_assumed,
		.placed = s->n_placed,
		.classes = s->cluster.classes.n,
		.terms = s->cluster.terms.n,
		.wishes = s->wishes.table.n,
	};
}
