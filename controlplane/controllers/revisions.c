#include "controlplane/controllers/revisions.h"

#include <stdlib.h>
#include <string.h>

#include "common/api/json.h"
#include "common/api/value.h"
#include "common/base/cleanup.h"
#include "common/base/map.h"

static const char resource[] = "controllerrevisions.apps";

/* --- The data of a revision ------------------------------------------------------ */

static int compare_members(const void *x, const void *y)
{
	return strcmp(((const struct value_member *)x)->key, ((const struct value_member *)y)->key);
}

/* The tree is only printed after this: looking up keys would need their index made anew. */
static void sort_keys(struct value *v)
{
	for (uint32_t i = 0; i < v->n; i++)
		sort_keys(v->type == VALUE_MAP ? v->members[i].value : v->items[i]);
	if (v->type == VALUE_MAP && v->n > 0)
		qsort(v->members, v->n, sizeof(v->members[0]), compare_members);
}

static struct bytes print(struct arena *a, struct value *v)
{
	auto_with(buf_fini) struct buf text = { 0 };

	sort_keys(v);
	value_print(&text, v);
	return bytes_of(arena_memdup(a, text.data, text.len), text.len);
}

/* What we made ourselves can be read. */
static struct value *must_parse(struct arena *a, struct bytes text)
{
	struct value *v;

	if (value_parse(text, a, &v, NULL) < 0)
		abort();
	return v;
}

static struct bytes data_of_template(struct arena *a, const CoreV1__PodTemplateSpec *template)
{
	auto_with(buf_fini) struct buf json = { 0 };
	struct value *data = value_new_map(a), *spec = value_new_map(a), *t;

	json_put_message(&json, template, NULL);
	t = must_parse(a, buf_bytes(&json));
	value_set(t, a, "$patch", value_new_string(a, "replace"));
	value_set(spec, a, "template", t);
	value_set(data, a, "spec", spec);
	return print(a, data);
}

/* Whoever made the revision: its bytes as we would write them, or as they are. */
static struct bytes data_of_revision(struct arena *a, const AppsV1__ControllerRevision *r)
{
	struct bytes raw =
		r->data ? bytes_of(r->data->raw.data, r->data->raw.len) : bytes_of(NULL, 0);
	struct value *v;

	return raw.len > 0 && value_parse(raw, a, &v, NULL) == 0 ? print(a, v) : raw;
}

static bool same(struct bytes a, struct bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

const CoreV1__PodTemplateSpec *revision_template(struct revisions *r, struct revision *revision)
{
	struct arena *a = r->intents->arena;
	const Runtime__RawExtension *raw = revision->message->data;
	auto_with(buf_fini) struct buf json = { 0 };
	CoreV1__PodTemplateSpec *template;
	struct value *v, *t;

	if (revision->cache != NULL || raw == NULL)
		return revision->cache;
	if (value_parse(bytes_of(raw->raw.data, raw->raw.len), a, &v, NULL) < 0)
		return NULL;
	t = value_get(value_get(v, "spec"), "template");
	if (t == NULL || t->type != VALUE_MAP)
		return NULL;
	value_remove(t, "$patch");
	value_print(&json, t);
	if (json_read_message(&core_v1__pod_template_spec__descriptor, buf_bytes(&json), a, NULL,
			      &template, NULL) < 0)
		return NULL;
	revision->cache = template;
	return template;
}

/* --- Which there are --------------------------------------------------------------- */

const char *revision_name(const struct revision *r)
{
	return text_of(r->message->metadata->name);
}

struct revision *revisions_find(const struct revisions *r, const char *name)
{
	for (size_t i = 0; i < r->n; i++)
		if (strcmp(revision_name(&r->list[i]), name) == 0)
			return &r->list[i];
	return NULL;
}

static int compare_revisions(const void *x, const void *y)
{
	const struct revision *a = x, *b = y;

	if (a->message->revision != b->message->revision)
		return a->message->revision < b->message->revision ? -1 : 1;
	if (a->object->facts.created_ns != b->object->facts.created_ns)
		return a->object->facts.created_ns < b->object->facts.created_ns ? -1 : 1;
	return strcmp(a->object->name, b->object->name);
}

static struct revision *add(struct revisions *r, const struct object *o)
{
	struct revision *revision = &r->list[r->n++];

	*revision = (struct revision){ .object = o, .message = changed(o, r->intents->arena) };
	return revision;
}

static void claim(struct revisions *r, const struct label_selector *selector)
{
	size_t n_mine, n_there;
	const struct object *const *mine =
		view_owned(r->view, resource, r->owner->facts.uid, &n_mine);
	const struct object *const *there =
		view_list(r->view, resource, r->owner->namespace, &n_there);

	/* One more than there are: the revision to be made. */
	r->list = arena_array(r->intents->arena, struct revision, n_mine + n_there + 1);
	for (size_t i = 0; i < n_mine; i++)
		if (mine[i]->facts.deleted_ns == 0)
			add(r, mine[i]);
	for (size_t i = 0; i < n_there; i++) {
		if (object_controller(there[i]) != NULL || there[i]->facts.deleted_ns != 0 ||
		    !selector_selects(selector, there[i]))
			continue;

		struct revision *adopted = add(r, there[i]);

		make_append(r->intents->arena, adopted->message->metadata, ownerreferences,
			    make_owner(r->intents->arena, r->owner));
		adopted->changed = true;
	}
	if (r->n > 0)
		qsort(r->list, r->n, sizeof(*r->list), compare_revisions);
}

/* --- The one of the template ---------------------------------------------------------- */

static char *hash_of(struct revisions *r, struct bytes data)
{
	uint64_t hash = hash_bytes(data.data, data.len);

	if (r->collisions > 0)
		hash = hash * 31 + (uint64_t)r->collisions;
	return suffix_of(r->intents->arena, (hash ^ hash >> 29) & 0xffffffffffff, 10);
}

/* A name nobody has: other data with the same hash counts as a collision. */
static char *free_hash(struct revisions *r, struct bytes data)
{
	for (;; r->collisions++) {
		char *hash = hash_of(r, data);
		const char *name = arena_printf(r->intents->arena, "%s-%s", r->owner->name, hash);

		if (view_get(r->view, resource, r->owner->namespace, name) == NULL)
			return hash;
	}
}

static void make_update(struct revisions *r, const CoreV1__PodTemplateSpec *template,
			struct bytes data, const char *hash_label)
{
	struct arena *a = r->intents->arena;
	const ProtobufCMessage *owner = view_message(r->view, r->owner);
	const MetaV1__ObjectMeta *from = message_metadata(owner);
	int64_t number = r->n > 0 ? r->list[r->n - 1].message->revision + 1 : 1;
	AppsV1__ControllerRevision *message =
		make(a, AppsV1__ControllerRevision, apps_v1__controller_revision);
	MetaV1__ObjectMeta *meta = message_metadata_make(message, a);
	char *hash = free_hash(r, data);

	meta->name = arena_printf(a, "%s-%s", r->owner->name, hash);
	meta->namespace_ = arena_strdup(a, r->owner->namespace);
	for (size_t i = 0; template->metadata != NULL && i < template->metadata->n_labels; i++)
		meta_set_label(a, meta, template->metadata->labels[i]->key,
			       text_of(template->metadata->labels[i]->value));
	meta_set_label(a, meta, hash_label, hash);
	/* kubernetes.io/change-cause among them. */
	for (size_t i = 0; from != NULL && i < from->n_annotations; i++)
		meta_set_annotation(a, meta, from->annotations[i]->key,
				    text_of(from->annotations[i]->value));
	make_append(a, meta, ownerreferences, make_owner(a, r->owner));
	message->data = make(a, Runtime__RawExtension, runtime__raw_extension);
	message->data->has_raw = true;
	message->data->raw = (ProtobufCBinaryData){ data.len, (uint8_t *)data.data };
	make_set(message, revision, number);

	r->list[r->n] = (struct revision){ .message = message, .cache = template, .changed = true };
	r->update = &r->list[r->n++];
}

/* The template has come back: its revision is the newest again. */
static void move_to_front(struct revisions *r, size_t i)
{
	struct revision moved = r->list[i];

	if (i + 1 < r->n) {
		make_set(moved.message, revision, r->list[r->n - 1].message->revision + 1);
		moved.changed = true;
		memmove(&r->list[i], &r->list[i + 1], (r->n - i - 1) * sizeof(*r->list));
		r->list[r->n - 1] = moved;
	}
	r->update = &r->list[r->n - 1];
}

struct revisions revisions_of(struct view *v, struct intents *intents, const struct object *owner,
			      const struct label_selector *selector,
			      const CoreV1__PodTemplateSpec *template, const char *hash_label,
			      int32_t collisions)
{
	struct revisions r = {
		.view = v, .intents = intents, .owner = owner, .collisions = collisions
	};
	struct bytes data = data_of_template(intents->arena, template);

	claim(&r, selector);
	for (size_t i = r.n; i > 0; i--)
		if (same(data_of_revision(intents->arena, r.list[i - 1].message), data)) {
			move_to_front(&r, i - 1);
			return r;
		}
	make_update(&r, template, data, hash_label);
	return r;
}

/* --- Writing ------------------------------------------------------------------------------ */

void revisions_trim(struct revisions *r, int32_t limit,
		    bool (*is_live)(void *ctx, const struct revision *revision), void *ctx)
{
	size_t old = 0, kept = limit > 0 ? (size_t)limit : 0;
	bool *dead = arena_array(r->intents->arena, bool, r->n + 1);

	for (size_t i = 0; i < r->n; i++) {
		dead[i] = &r->list[i] != r->update && !is_live(ctx, &r->list[i]);
		old += dead[i];
	}
	for (size_t i = 0; i < r->n && old > kept; i++) {
		/* Written already in this look: the next one deletes it. */
		if (!dead[i] || r->list[i].changed)
			continue;
		intend_delete(r->intents, r->list[i].object, -1, "Background");
		old--;
	}
}

void revisions_write(struct revisions *r)
{
	for (size_t i = 0; i < r->n; i++) {
		struct revision *revision = &r->list[i];

		if (!revision->changed)
			continue;
		if (revision->object == NULL)
			intend_create(r->intents, resource, r->owner->namespace,
				      &revision->message->base);
		else
			intend_update(r->intents, revision->object, &revision->message->base);
	}
}
