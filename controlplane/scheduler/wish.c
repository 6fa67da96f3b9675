#include "controlplane/scheduler/wish.h"

#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/make.h"
#include "common/base/alloc.h"
#include "controlplane/scheduler/class.h"
#include "controlplane/scheduler/fit.h"
#include "controlplane/scheduler/places.h"
#include "controlplane/scheduler/spaces.h"
#include "controlplane/scheduler/terms.h"
#include "controlplane/store/wire.h"
#include "proto/k8s/apps_v1.pb-c.h"

/* Wishes kept though no pod has them. */
enum { UNUSED_MAX = 1024 };

enum {
	SPEC_VOLUMES = 1,
	SPEC_CONTAINERS = 2,
	SPEC_NODE_SELECTOR = 7,
	SPEC_AFFINITY = 18,
	SPEC_INIT_CONTAINERS = 20,
	SPEC_TOLERATIONS = 22,
	SPEC_PRIORITY = 25,
	SPEC_PREEMPTION = 31,
	SPEC_SPREAD = 33,
	CONTAINER_IMAGE = 2,
	VOLUME_SOURCE = 2,
	SOURCE_HOST_PATH = 1,
	SOURCE_EMPTY_DIR = 2,
	SOURCE_SECRET = 6,
	SOURCE_DOWNWARD = 16,
	SOURCE_CONFIG_MAP = 19,
	SOURCE_PROJECTED = 26,
	SOURCE_EPHEMERAL = 29,
};

/* --- Key ---------------------------------------------------------------------------- */

static void put_field(struct buf *key, uint32_t number, struct bytes value)
{
	buf_put(key, &number, sizeof(number));
	key_put(key, value.data, value.len);
}

/* Volumes that are the same everywhere say nothing; what an ephemeral one is called follows from
 * the pod. */
static void put_volume(struct buf *key, const struct object *pod, struct bytes volume)
{
	struct bytes source = wire_find(volume, VOLUME_SOURCE);
	struct wire w = wire_of(source);
	struct wire_field f;

	while (wire_next(&w, &f)) {
		if (f.number == SOURCE_HOST_PATH || f.number == SOURCE_EMPTY_DIR ||
		    f.number == SOURCE_SECRET || f.number == SOURCE_DOWNWARD ||
		    f.number == SOURCE_CONFIG_MAP || f.number == SOURCE_PROJECTED)
			continue;
		put_field(key, SPEC_VOLUMES, source);
		if (f.number == SOURCE_EPHEMERAL)
			put_field(key, SPEC_VOLUMES, bytes_str(pod->facts.uid));
	}
}

static void put_spec(struct buf *key, const struct object *pod)
{
	struct wire w = wire_of(pod_spec_bytes(pod));
	struct wire_field f;

	while (wire_next(&w, &f)) {
		if (f.type == WIRE_VARINT && f.number == SPEC_PRIORITY)
			put_field(key, f.number, bytes_of(&f.value, sizeof(f.value)));
		if (f.type != WIRE_BYTES)
			continue;
		if (f.number == SPEC_VOLUMES)
			put_volume(key, pod, f.bytes);
		else if (f.number == SPEC_CONTAINERS || f.number == SPEC_INIT_CONTAINERS)
			put_field(key, f.number, wire_find(f.bytes, CONTAINER_IMAGE));
		else if (f.number == SPEC_NODE_SELECTOR || f.number == SPEC_AFFINITY ||
			 f.number == SPEC_TOLERATIONS || f.number == SPEC_PREEMPTION ||
			 f.number == SPEC_SPREAD)
			put_field(key, f.number, f.bytes);
	}
}

static const struct owner_ref no_owner = { .api_version = "", .kind = "", .name = "", .uid = "" };

static const struct owner_ref *owner_of(const struct pod *pod)
{
	const struct owner_ref *owner = object_controller(pod->object);

	return owner ? owner : &no_owner;
}

static void build_key(struct buf *key, const struct pod *pod)
{
	const struct owner_ref *owner = owner_of(pod);

	buf_put(key, &pod->class, sizeof(struct class *));
	key_put(key, owner->kind, strlen(owner->kind));
	key_put(key, owner->name, strlen(owner->name));
	put_spec(key, pod->object);
}

/* --- Node names ------------------------------------------------------------------------- */

/* The names that one term allows, when it says so by field; false: it does not. */
static bool term_pins(struct wish *w, const CoreV1__NodeSelectorTerm *t)
{
	bool pins = false;

	for (size_t i = 0; i < t->n_matchfields; i++) {
		const CoreV1__NodeSelectorRequirement *r = t->matchfields[i];

		if (!text_is(r->key, "metadata.name") || !text_is(r->operator_, "In"))
			continue;
		pins = true;
		for (size_t k = 0; k < r->n_values; k++)
			w->pins[w->n_pins++] = text_of(r->values[k]);
	}
	return pins;
}

static int compare_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* DaemonSets name the node in a field of each term: then nobody else is looked at. */
static void set_pins(struct wish *w)
{
	const CoreV1__NodeAffinity *a = w->spec->affinity ? w->spec->affinity->nodeaffinity : NULL;
	const CoreV1__NodeSelector *required =
		a ? a->requiredduringschedulingignoredduringexecution : NULL;
	size_t n = 0, kept = 0;

	if (required == NULL || required->n_nodeselectorterms == 0)
		return;
	for (size_t i = 0; i < required->n_nodeselectorterms; i++)
		for (size_t k = 0; k < required->nodeselectorterms[i]->n_matchfields; k++)
			n += required->nodeselectorterms[i]->matchfields[k]->n_values;
	w->pins = arena_array(&w->arena, const char *, n + 1);
	w->pinned = true;
	for (size_t i = 0; w->pinned && i < required->n_nodeselectorterms; i++)
		w->pinned = term_pins(w, required->nodeselectorterms[i]);
	if (w->n_pins > 1)
		qsort(w->pins, w->n_pins, sizeof(*w->pins), compare_text);
	for (size_t i = 0; i < w->n_pins; i++)
		if (i == 0 || strcmp(w->pins[i], w->pins[kept - 1]) != 0)
			w->pins[kept++] = w->pins[i];
	w->n_pins = kept;
}

/* --- Spreading ------------------------------------------------------------------------------ */

static const char hostname_key[] = "kubernetes.io/hostname";

static bool is_hard(const CoreV1__TopologySpreadConstraint *t)
{
	return text_is(t->whenunsatisfiable, "DoNotSchedule");
}

static struct constraint make_constraint(struct wish *w, struct cluster *c,
					 const CoreV1__TopologySpreadConstraint *t,
					 char *const *keys, size_t n_keys)
{
	const char *own[] = { w->class->space->name };
	bool per_node = text_is(t->topologykey, hostname_key), hard = is_hard(t);
	struct selection s = {
		.selector = t->labelselector,
		.same = t->matchlabelkeys,
		.n_same = t->n_matchlabelkeys,
		.namespaces = own,
		.n_namespaces = 1,
	};
	struct inclusion *inclusion =
		hard || !per_node
			? inclusion_ref(c, w->spec, !text_is(t->nodeaffinitypolicy, "Ignore"),
					text_is(t->nodetaintspolicy, "Honor"), keys, n_keys)
			: NULL;
	struct constraint made = {
		.term = term_ref_spread(c, w->class, text_of(t->topologykey), &s, inclusion, hard),
		.skew_max = t->maxskew,
		.places_min = t->has_mindomains ? t->mindomains : 1,
		.per_node = per_node,
	};

	made.self = term_speaks_of(made.term, w->class);
	inclusion_unref(c, inclusion);
	return made;
}

static void add_constraints(struct wish *w, struct cluster *c, bool hard, struct constraint *to,
			    size_t *n)
{
	const CoreV1__PodSpec *spec = w->spec;
	char **keys = arena_array(&c->work, char *, spec->n_topologyspreadconstraints + 1);
	size_t n_keys = 0;

	for (size_t i = 0; i < spec->n_topologyspreadconstraints; i++)
		if (is_hard(spec->topologyspreadconstraints[i]) == hard)
			keys[n_keys++] =
				(char *)text_of(spec->topologyspreadconstraints[i]->topologykey);
	for (size_t i = 0; i < spec->n_topologyspreadconstraints; i++)
		if (is_hard(spec->topologyspreadconstraints[i]) == hard)
			to[(*n)++] = make_constraint(w, c, spec->topologyspreadconstraints[i], keys,
						     n_keys);
}

static void set_constraints(struct wish *w, struct cluster *c)
{
	size_t n = w->spec->n_topologyspreadconstraints;

	w->by_default = n == 0;
	w->hard = arena_array(&w->arena, struct constraint, n + 1);
	w->soft = arena_array(&w->arena, struct constraint, n + 2);
	add_constraints(w, c, true, w->hard, &w->n_hard);
	add_constraints(w, c, false, w->soft, &w->n_soft);
	arena_reset(&c->work);
}

/* The selector of the controller called by o; NULL when it has none. In the arena. */
static const MetaV1__LabelSelector *selector_of(struct view *view, const struct object *o)
{
	const void *message = view_message(view, o);

	if (o->kind->descriptor == &apps_v1__replica_set__descriptor) {
		const AppsV1__ReplicaSet *m = message;

		return m->spec ? m->spec->selector : NULL;
	}
	if (o->kind->descriptor == &apps_v1__stateful_set__descriptor) {
		const AppsV1__StatefulSet *m = message;

		return m->spec ? m->spec->selector : NULL;
	}

	const CoreV1__ReplicationController *m = message;
	MetaV1__LabelSelector *all =
		make(view->arena, MetaV1__LabelSelector, meta_v1__label_selector);

	for (size_t i = 0; m->spec != NULL && i < m->spec->n_selector; i++)
		string_map_set(all, "matchLabels", text_of(m->spec->selector[i]->key),
			       text_of(m->spec->selector[i]->value), view->arena);
	return all->n_matchlabels > 0 ? all : NULL;
}

/* The selector of the controller that owns the pod, joined with those of Services. */
static MetaV1__LabelSelector *owner_selector(const struct wish *w, struct view *view,
					     MetaV1__LabelSelector *all)
{
	static const struct {
		const char *kind, *resource;
	} controllers[] = { { "ReplicaSet", "replicasets.apps" },
			    { "StatefulSet", "statefulsets.apps" },
			    { "ReplicationController", "replicationcontrollers" } };
	const struct object *o = NULL;
	const MetaV1__LabelSelector *own;

	for (size_t i = 0; i < array_size(controllers); i++)
		if (strcmp(w->owner_kind, controllers[i].kind) == 0)
			o = view_get(view, controllers[i].resource, w->class->space->name,
				     w->owner_name);
	own = o != NULL ? selector_of(view, o) : NULL;
	if (own == NULL)
		return all;
	if (all == NULL)
		return message_copy(own, view->arena);
	for (size_t i = 0; i < own->n_matchlabels; i++)
		string_map_set(all, "matchLabels", text_of(own->matchlabels[i]->key),
			       text_of(own->matchlabels[i]->value), view->arena);
	for (size_t i = 0; i < own->n_matchexpressions; i++)
		make_append(view->arena, all, matchexpressions, own->matchexpressions[i]);
	return all;
}

void wish_look_for_defaults(struct wish *w, struct cluster *c, struct view *view)
{
	static const struct {
		const char *key;
		int32_t skew_max;
	} defaults[] = { { hostname_key, 3 }, { "topology.kubernetes.io/zone", 5 } };
	const struct space *space = w->class->space;
	struct constraint old[2];
	size_t n_old = w->n_soft;

	if (!w->by_default || (w->defaults_known && w->defaults_version == space->services_version))
		return;
	memcpy(old, w->soft, n_old * sizeof(*old));
	w->n_soft = 0;

	MetaV1__LabelSelector *selector =
		owner_selector(w, view, space_services_of(space, view->arena, w->class));
	CoreV1__TopologySpreadConstraint t = CORE_V1__TOPOLOGY_SPREAD_CONSTRAINT__INIT;

	t.whenunsatisfiable = (char *)"ScheduleAnyway";
	t.labelselector = selector;
	for (size_t i = 0; selector != NULL && i < array_size(defaults); i++) {
		t.topologykey = (char *)defaults[i].key;
		t.maxskew = defaults[i].skew_max;
		w->soft[w->n_soft++] = make_constraint(w, c, &t, NULL, 0);
	}
	for (size_t i = 0; i < n_old; i++)
		term_unref(c, old[i].term);
	/* A controller that is not there yet may come. */
	w->defaults_known = selector != NULL || w->owner_name[0] == '\0';
	w->defaults_version = space->services_version;
	arena_reset(&c->work);
}

/* --- Life --------------------------------------------------------------------------------- */

static void add_images(struct wish *w, struct cluster *c, CoreV1__Container *const *list, size_t n)
{
	enum { IMAGES_MAX = 32 };

	for (size_t i = 0; i < n && w->n_images < IMAGES_MAX; i++)
		if (!text_empty(list[i]->image))
			w->images[w->n_images++] =
				image_ref(c, image_full_name(&c->work, list[i]->image));
}

static void set_images(struct wish *w, struct cluster *c)
{
	w->n_containers = w->spec->n_containers + w->spec->n_initcontainers;
	w->images = arena_array(&w->arena, struct image *, w->n_containers + 1);
	add_images(w, c, w->spec->initcontainers, w->spec->n_initcontainers);
	add_images(w, c, w->spec->containers, w->spec->n_containers);
	arena_reset(&c->work);
}

static struct wish *wish_make(struct wishes *all, struct cluster *c, const struct pod *pod,
			      struct buf *key, uint64_t hash)
{
	struct wish *w = xcalloc(1, sizeof(*w));
	const struct owner_ref *owner = owner_of(pod);

	w->refs = 1;
	w->key = buf_steal(key, &w->key_len);
	w->class = pod->class;
	w->class->refs++;
	arena_init(&w->arena, 0);
	list_init(&w->unused);
	list_init(&w->stuck);
	list_init(&w->asleep);
	list_init(&w->nominees);

	const CoreV1__Pod *message = object_message(pod->object, &w->arena);

	w->spec =
		message->spec ? message->spec : make(&w->arena, CoreV1__PodSpec, core_v1__pod_spec);
	w->priority = pod->object->facts.pod->priority;
	w->preempts = !text_is(w->spec->preemptionpolicy, "Never");
	w->volumes = all->volume_rules != NULL && all->volume_rules->matter(w->spec);
	w->owner_kind = arena_strdup(&w->arena, owner->kind);
	w->owner_name = arena_strdup(&w->arena, owner->name);
	set_pins(w);
	set_constraints(w, c);
	set_images(w, c);
	bag_add(&all->table, &w->link, hash);
	return w;
}

static void wish_free(struct wishes *all, struct cluster *c, struct wish *w)
{
	bag_remove(&all->table, &w->link);
	list_remove(&w->unused);
	for (size_t i = 0; i < w->n_hard; i++)
		term_unref(c, w->hard[i].term);
	for (size_t i = 0; i < w->n_soft; i++)
		term_unref(c, w->soft[i].term);
	for (size_t i = 0; i < w->n_images; i++)
		image_unref(c, w->images[i]);
	rows_drop(w);
	class_unref(c, w->class);
	arena_fini(&w->arena);
	free(w->key);
	free(w);
}

void wishes_init(struct wishes *w)
{
	const struct volume_rules *rules = w->volume_rules;

	*w = (struct wishes){ .volume_rules = rules };
	list_init(&w->unused);
	list_init(&w->stuck);
}

void wishes_fini(struct wishes *w, struct cluster *c)
{
	list_for_each (wish, &w->unused, struct wish, unused)
		wish_free(w, c, wish);
	bag_fini(&w->table);
}

struct wish *wish_ref(struct wishes *all, struct cluster *c, const struct pod *pod)
{
	auto_with(buf_fini) struct buf key = { 0 };

	build_key(&key, pod);

	uint64_t hash = hash_bytes(key.data, key.len);

	for (struct bag_node *n = bag_first(&all->table, hash); n; n = bag_next(n)) {
		struct wish *w = container_of(n, struct wish, link);

		if (w->key_len != key.len || memcmp(w->key, key.data, key.len) != 0)
			continue;
		if (w->refs++ == 0) {
			list_remove(&w->unused);
			all->n_unused--;
		}
		return w;
	}
	return wish_make(all, c, pod, &key, hash);
}

void wish_unref(struct wishes *all, struct cluster *c, struct wish *w)
{
	if (w == NULL || --w->refs > 0)
		return;
	if (w->pinned) {
		/* Nobody else will be asked for the same node. */
		wish_free(all, c, w);
		return;
	}
	list_push_back(&all->unused, &w->unused);
	all->n_unused++;
	if (all->n_unused > UNUSED_MAX) {
		wish_free(all, c, list_first(&all->unused, struct wish, unused));
		all->n_unused--;
	}
}
