/* The ReplicaSets of a Deployment: whose they are, which one is new, what they
 * are called and what is written on them. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/pack.h"
#include "common/base/cleanup.h"
#include "common/base/map.h"
#include "controlplane/controllers/deployment.h"

static const char component[] = "deployment-controller";
static const char hash_label[] = "pod-template-hash";
static const char revision_key[] = "deployment.kubernetes.io/revision";
static const char history_key[] = "deployment.kubernetes.io/revision-history";
static const char desired_key[] = "deployment.kubernetes.io/desired-replicas";
static const char max_key[] = "deployment.kubernetes.io/max-replicas";

int32_t set_replicas(const struct set *set)
{
	return set->message->spec->replicas;
}

int32_t set_actual(const struct set *set)
{
	return set->message->status ? set->message->status->replicas : 0;
}

int32_t set_available(const struct set *set)
{
	return set->message->status ? set->message->status->availablereplicas : 0;
}

bool set_is_old(const struct rollout *r, const struct set *set)
{
	return set != r->current;
}

int32_t rollout_total(const struct rollout *r)
{
	int32_t total = 0;

	for (size_t i = 0; i < r->n_sets; i++)
		total += set_replicas(&r->sets[i]);
	return total;
}

int32_t rollout_available(const struct rollout *r)
{
	int32_t available = 0;

	for (size_t i = 0; i < r->n_sets; i++)
		available += set_available(&r->sets[i]);
	return available;
}

/* --- Which is the new one ----------------------------------------------------------- */

/* The template without the label that tells sets apart. */
static CoreV1__PodTemplateSpec *bare_template(const CoreV1__PodTemplateSpec *t, struct arena *a)
{
	CoreV1__PodTemplateSpec *bare = arena_memdup(a, t, sizeof(*t));

	if (t->metadata == NULL)
		return bare;
	bare->metadata = arena_memdup(a, t->metadata, sizeof(*t->metadata));
	bare->metadata->labels = arena_memdup(a, t->metadata->labels,
					      t->metadata->n_labels * sizeof(*t->metadata->labels));
	string_map_set(bare->metadata, "labels", hash_label, NULL, a);
	return bare;
}

static bool is_current(const struct rollout *r, const struct bytes *wanted, const struct set *set)
{
	struct bytes has = pack_message_in(
		r->view->arena, bare_template(set->message->spec->template_, r->view->arena));

	return has.len == wanted->len && memcmp(has.data, wanted->data, has.len) == 0;
}

static void find_current(struct rollout *r)
{
	struct bytes wanted = pack_message_in(
		r->view->arena, bare_template(r->deployment->spec->template_, r->view->arena));

	for (size_t i = 0; i < r->n_sets && r->current == NULL; i++)
		if (is_current(r, &wanted, &r->sets[i]))
			r->current = &r->sets[i];
}

static void add_set(struct rollout *r, const struct object *o)
{
	r->sets[r->n_sets++] = (struct set){
		.object = o,
		.message = changed(o, r->intents->arena),
	};
}

static int compare_age(const void *x, const void *y)
{
	const struct set *a = x, *b = y;

	if (a->object->facts.created_ns != b->object->facts.created_ns)
		return a->object->facts.created_ns < b->object->facts.created_ns ? -1 : 1;
	return strcmp(a->object->name, b->object->name);
}

void rollout_claim_sets(struct rollout *r)
{
	size_t n_mine, n_there;
	const struct object *const *mine =
		view_owned(r->view, "replicasets.apps", r->object->facts.uid, &n_mine);
	const struct object *const *there =
		view_list(r->view, "replicasets.apps", r->object->namespace, &n_there);
	struct label_selector selector;

	/* One more than there are: the set to be made. */
	r->sets = arena_array(r->view->arena, struct set, n_mine + n_there + 1);
	if (label_selector_of(r->deployment->spec->selector, r->view->arena, &selector, NULL) < 0)
		selector = (struct label_selector){ .nothing = true };
	for (size_t i = 0; i < n_mine; i++) {
		if (mine[i]->facts.deleted_ns != 0)
			continue;
		add_set(r, mine[i]);
		if (selector_selects(&selector, mine[i]))
			continue;

		/* Its labels were changed: it goes its own way. */
		struct set *gone = &r->sets[--r->n_sets];

		remove_owner(gone->message->metadata, r->object->facts.uid);
		intend_update(r->intents, gone->object, &gone->message->base);
	}
	for (size_t i = 0; i < n_there; i++) {
		if (object_controller(there[i]) != NULL || there[i]->facts.deleted_ns != 0 ||
		    !selector_selects(&selector, there[i]))
			continue;
		add_set(r, there[i]);

		struct set *adopted = &r->sets[r->n_sets - 1];

		make_append(r->intents->arena, adopted->message->metadata, ownerreferences,
			    make_owner(r->intents->arena, r->object));
		adopted->changed = true;
	}
	if (r->n_sets > 0)
		qsort(r->sets, r->n_sets, sizeof(*r->sets), compare_age);
	find_current(r);
}

/* --- Annotations --------------------------------------------------------------------- */

static int64_t revision_of(const MetaV1__ObjectMeta *meta)
{
	const char *text = meta ? meta_annotation(meta, revision_key) : NULL;

	return text ? strtoll(text, NULL, 10) : 0;
}

static int64_t newest_old_revision(const struct rollout *r)
{
	int64_t newest = 0;

	for (size_t i = 0; i < r->n_sets; i++) {
		int64_t revision = revision_of(r->sets[i].message->metadata);

		if (set_is_old(r, &r->sets[i]) && revision > newest)
			newest = revision;
	}
	return newest;
}

static bool annotate(struct rollout *r, MetaV1__ObjectMeta *meta, const char *key,
		     const char *value)
{
	const char *has = meta_annotation(meta, key);

	if (has != NULL && strcmp(has, value) == 0)
		return false;
	meta_set_annotation(r->intents->arena, meta, key, value);
	return true;
}

static bool is_own_annotation(const char *key)
{
	static const char *const own[] = {
		"kubectl.kubernetes.io/last-applied-configuration",
		revision_key,
		history_key,
		desired_key,
		max_key,
		"deprecated.deployment.rollback.to",
	};

	for (size_t i = 0; i < array_size(own); i++)
		if (strcmp(own[i], key) == 0)
			return true;
	return false;
}

/* A set whose number moves on remembers which ones it had: kubectl shows them. */
static void remember_revision(struct rollout *r, MetaV1__ObjectMeta *meta, int64_t before)
{
	enum { HISTORY_CHARS_MAX = 2000 };
	const char *history = meta_annotation(meta, history_key);
	char *text = history && history[0]
			     ? arena_printf(r->intents->arena, "%s,%" PRId64, history, before)
			     : arena_printf(r->intents->arena, "%" PRId64, before);

	while (strlen(text) > HISTORY_CHARS_MAX && strchr(text, ',') != NULL)
		text = strchr(text, ',') + 1;
	meta_set_annotation(r->intents->arena, meta, history_key, text);
}

/* What the Deployment says is written on its new set, its place in the history too. */
static bool annotate_current(struct rollout *r, struct set *set, int64_t revision)
{
	const MetaV1__ObjectMeta *from = r->deployment->metadata;
	MetaV1__ObjectMeta *meta = set->message->metadata;
	int64_t before = revision_of(meta);
	bool changes = false;

	for (size_t i = 0; i < from->n_annotations; i++)
		if (!is_own_annotation(text_of(from->annotations[i]->key)))
			changes |= annotate(r, meta, from->annotations[i]->key,
					    text_of(from->annotations[i]->value));
	if (before < revision) {
		if (before > 0)
			remember_revision(r, meta, before);
		annotate(r, meta, revision_key,
			 arena_printf(r->intents->arena, "%" PRId64, revision));
		changes = true;
	}
	return changes;
}

static bool annotate_replicas(struct rollout *r, struct set *set)
{
	struct arena *a = r->intents->arena;
	bool changes = annotate(r, set->message->metadata, desired_key,
				arena_printf(a, "%d", r->replicas));

	changes |= annotate(r, set->message->metadata, max_key,
			    arena_printf(a, "%d", r->replicas + r->surge));
	return changes;
}

/* --- Making the new set --------------------------------------------------------------- */

static char *template_hash(struct rollout *r)
{
	struct bytes packed = pack_message_in(
		r->view->arena, bare_template(r->deployment->spec->template_, r->view->arena));
	int32_t collisions = r->deployment->status ? r->deployment->status->collisioncount : 0;
	uint64_t hash = hash_bytes(packed.data, packed.len);

	if (collisions > 0)
		hash = hash * 31 + (uint64_t)collisions;
	/* Folded, so that all of it counts. */
	return suffix_of(r->intents->arena, (hash ^ hash >> 29) & 0xffffffffffff, 10);
}

static AppsV1__ReplicaSet *make_set_message(struct rollout *r, const char *hash)
{
	struct arena *a = r->intents->arena;
	const AppsV1__DeploymentSpec *from = r->deployment->spec;
	AppsV1__ReplicaSet *rs = make(a, AppsV1__ReplicaSet, apps_v1__replica_set);
	MetaV1__ObjectMeta *meta = message_metadata_make(rs, a);
	MetaV1__ObjectMeta *template_meta;

	rs->spec = make(a, AppsV1__ReplicaSetSpec, apps_v1__replica_set_spec);
	rs->spec->selector = message_copy(from->selector, a);
	rs->spec->template_ = message_copy(from->template_, a);
	make_set(rs->spec, minreadyseconds, from->minreadyseconds);
	template_meta = message_metadata_make(rs->spec->template_, a);
	meta_set_label(a, template_meta, hash_label, hash);
	string_map_set(rs->spec->selector, "matchLabels", hash_label, hash, a);

	meta->name = arena_printf(a, "%s-%s", r->object->name, hash);
	meta->namespace_ = arena_strdup(a, r->object->namespace);
	for (size_t i = 0; i < template_meta->n_labels; i++)
		meta_set_label(a, meta, template_meta->labels[i]->key,
			       text_of(template_meta->labels[i]->value));
	make_append(a, meta, ownerreferences, make_owner(a, r->object));
	return rs;
}

static int32_t first_replicas(const struct rollout *r)
{
	const AppsV1__DeploymentStrategy *s = r->deployment->spec->strategy;
	int32_t room = r->replicas + r->surge - rollout_total(r);

	if (s == NULL || !text_is(s->type, "RollingUpdate") || r->replicas <= room)
		return r->replicas;
	return room > 0 ? room : 0;
}

static bool make_current(struct rollout *r)
{
	char *hash = template_hash(r);
	AppsV1__ReplicaSet *rs = make_set_message(r, hash);

	if (view_get(r->view, "replicasets.apps", r->object->namespace, rs->metadata->name) !=
	    NULL) {
		/* Another set has that name: the next look hashes with a higher count. */
		rollout_report_collision(r);
		return false;
	}

	int32_t replicas = first_replicas(r);
	struct set *set = &r->sets[r->n_sets++];

	*set = (struct set){ .message = rs, .changed = true };
	r->current = set;
	make_set(rs->spec, replicas, replicas);
	annotate_current(r, set, newest_old_revision(r) + 1);
	annotate_replicas(r, set);
	if (replicas > 0)
		intend_event(r->intents, component, r->object, "Normal", "ScalingReplicaSet",
			     "Scaled up replica set %s from 0 to %d", rs->metadata->name, replicas);
	return true;
}

bool rollout_ensure_current(struct rollout *r, bool make_missing)
{
	if (r->current == NULL && (!make_missing || !make_current(r)))
		return !make_missing;
	if (r->current->object != NULL) {
		r->current->changed |= annotate_current(r, r->current, newest_old_revision(r) + 1);
		if (r->current->message->spec->minreadyseconds !=
		    r->deployment->spec->minreadyseconds) {
			make_set(r->current->message->spec, minreadyseconds,
				 r->deployment->spec->minreadyseconds);
			r->current->changed = true;
		}
	}

	/* The Deployment carries the number of its newest set. */
	const char *revision = meta_annotation(r->current->message->metadata, revision_key);
	AppsV1__Deployment *message = changed(r->object, r->intents->arena);

	if (revision != NULL && annotate(r, message->metadata, revision_key, revision))
		intend_update(r->intents, r->object, &message->base);
	return true;
}

/* --- Changing them ---------------------------------------------------------------------- */

void rollout_scale(struct rollout *r, struct set *set, int32_t replicas)
{
	int32_t before = set_replicas(set);

	set->changed |= annotate_replicas(r, set);
	if (before == replicas)
		return;
	make_set(set->message->spec, replicas, replicas);
	set->changed = true;
	intend_event(r->intents, component, r->object, "Normal", "ScalingReplicaSet",
		     "Scaled %s replica set %s from %d to %d", replicas > before ? "up" : "down",
		     set->message->metadata->name, before, replicas);
}

static bool is_idle(const struct set *set)
{
	const AppsV1__ReplicaSetStatus *s = set->message->status;

	return set_actual(set) == 0 && set_replicas(set) == 0 && !set->changed &&
	       set->object != NULL &&
	       set->object->facts.generation <= (s ? s->observedgeneration : 0);
}

void rollout_trim_history(struct rollout *r)
{
	size_t old = 0, limit = (size_t)r->deployment->spec->revisionhistorylimit;

	for (size_t i = 0; i < r->n_sets; i++)
		old += set_is_old(r, &r->sets[i]);
	/* The oldest beyond the limit; one of them that is still in use stays, and no younger one
	 * goes in its place. */
	for (size_t i = 0; i < r->n_sets && old > limit; i++) {
		if (!set_is_old(r, &r->sets[i]))
			continue;
		if (is_idle(&r->sets[i]))
			intend_delete(r->intents, r->sets[i].object, -1, "Background");
		old--;
	}
}

void rollout_write_sets(struct rollout *r)
{
	for (size_t i = 0; i < r->n_sets; i++) {
		struct set *set = &r->sets[i];

		if (!set->changed)
			continue;
		if (set->object == NULL)
			intend_create(r->intents, "replicasets.apps", r->object->namespace,
				      &set->message->base);
		else
			intend_update(r->intents, set->object, &set->message->base);
	}
}
