#include "controlplane/controllers/common.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/map.h"

bool pod_is_active(const struct pod_facts *p)
{
	return p->phase != PHASE_SUCCEEDED && p->phase != PHASE_FAILED &&
	       p->object->facts.deleted_ns == 0;
}

bool pod_is_available(const struct pod_facts *p, int32_t min_ready_s, int64_t now_ns,
		      int64_t *again_ns)
{
	if (!p->ready)
		return false;
	if (min_ready_s == 0)
		return true;

	int64_t at_ns = p->ready_since_ns + min_ready_s * NS_PER_S;

	if (at_ns <= now_ns)
		return true;
	if (*again_ns == 0 || at_ns < *again_ns)
		*again_ns = at_ns;
	return false;
}

MetaV1__OwnerReference *make_owner(struct arena *a, const struct object *o)
{
	MetaV1__OwnerReference *ref = make(a, MetaV1__OwnerReference, meta_v1__owner_reference);

	ref->apiversion = arena_strdup(a, o->kind->api_version);
	ref->kind = arena_strdup(a, o->kind->kind);
	ref->name = arena_strdup(a, o->name);
	ref->uid = arena_strdup(a, o->facts.uid);
	make_set(ref, controller, 1);
	make_set(ref, blockownerdeletion, 1);
	return ref;
}

void remove_owner(MetaV1__ObjectMeta *meta, const char *uid)
{
	size_t kept = 0;

	for (size_t i = 0; i < meta->n_ownerreferences; i++)
		if (!text_is(meta->ownerreferences[i]->uid, uid))
			meta->ownerreferences[kept++] = meta->ownerreferences[i];
	meta->n_ownerreferences = kept;
}

const struct owner_ref *controlled_by(const struct object *o, const char *kind)
{
	const struct owner_ref *owner = o ? object_controller(o) : NULL;

	return owner != NULL && strcmp(owner->kind, kind) == 0 ? owner : NULL;
}

static const char *label_of_object(const void *labels, const char *key)
{
	return object_label(labels, key);
}

bool selector_selects(const struct label_selector *s, const struct object *o)
{
	return label_selector_matches(s, label_of_object, o);
}

void keys_add_owner(struct keys *keys, const struct object *o, const char *kind)
{
	const struct owner_ref *owner = controlled_by(o, kind);

	if (owner != NULL)
		keys_add(keys, o->namespace, owner->name);
}

void keys_add_all(struct keys *keys, const struct view *view, const char *resource,
		  const char *namespace)
{
	size_t n;
	const struct object *const *list = view_list(view, resource, namespace, &n);

	for (size_t i = 0; i < n; i++)
		keys_add(keys, list[i]->namespace, list[i]->name);
}

void keys_add_object(struct keys *keys, const struct object *old, const struct object *new)
{
	const struct object *o = new ? new : old;

	keys_add(keys, o->namespace, o->name);
}

bool change_is_of(const struct object *old, const struct object *new, const char *resource)
{
	return strcmp((new ? new : old)->kind->resource, resource) == 0;
}

char *suffix_of(struct arena *a, uint64_t number, size_t n)
{
	static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
	char *s = arena_zalloc(a, n + 1);

	for (size_t i = 0; i < n; i++, number /= sizeof(alphabet) - 1)
		s[i] = alphabet[number % (sizeof(alphabet) - 1)];
	return s;
}

char *free_name(const struct view *v, struct arena *a, const char *resource, const char *namespace,
		const char *base, const char *owner_uid, uint64_t index)
{
	enum { BASE_MAX = 58, SUFFIX_LEN = 5 };

	for (unsigned attempt = 0;; attempt++) {
		const char *seed = arena_printf(a, "%s/%llu/%llu/%u", owner_uid,
						(unsigned long long)store_revision(v->store),
						(unsigned long long)index, attempt);
		char *name = arena_printf(
			a, "%.*s%s", BASE_MAX, base,
			suffix_of(a, hash_bytes(seed, strlen(seed)) >> 16, SUFFIX_LEN));

		if (view_get(v, resource, namespace, name) == NULL)
			return name;
	}
}

int32_t scaled(const Intstr__IntOrString *v, int32_t total, bool round_up)
{
	if (v == NULL)
		return 0;
	if (v->type == 0)
		return v->intval;

	int64_t percent = strtol(text_of(v->strval), NULL, 10);

	return (int32_t)((percent * total + (round_up ? 99 : 0)) / 100);
}
