#include "controlplane/store/object.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "controlplane/store/facts.h"
#include "controlplane/store/hash.h"

/* One block of memory per object: the struct, then its facts, strings, claims and
 * packed bytes. */

static void object_fill(struct pen *pen, struct object *o, const struct object_values *v)
{
	o->namespace = pen_str(pen, bytes_str(v->namespace));
	o->name = pen_str(pen, bytes_str(v->name));

	const char **claims = pen_take(pen, v->n_claims * sizeof(*claims));

	for (size_t i = 0; i < v->n_claims; i++) {
		const char *claim = pen_str(pen, bytes_str(v->claims[i]));

		if (claims != NULL)
			claims[i] = claim;
	}
	o->claims = claims;
	o->n_claims = v->n_claims;

	uint8_t *packed = pen_take(pen, v->packed.len);

	if (packed != NULL && v->packed.len > 0)
		memcpy(packed, v->packed.data, v->packed.len);
	o->packed = packed != NULL ? bytes_of(packed, v->packed.len) : v->packed;
	facts_read(pen, o);
}

static uint64_t object_hash(const struct object *o)
{
	uint64_t hash = hash_add_str(0, o->kind->resource);

	hash = hash_add_str(hash, o->namespace);
	hash = hash_add_str(hash, o->name);
	hash = hash_add_u64(hash, o->created_revision);
	hash = hash_add_u64(hash, o->revision);
	hash = hash_add_u64(hash, o->n_claims);
	for (size_t i = 0; i < o->n_claims; i++)
		hash = hash_add_str(hash, o->claims[i]);
	return hash_add(hash, o->packed);
}

struct object *object_create(const struct object_values *v)
{
	struct object measured = { .kind = v->kind };
	struct pen pen = { 0 };

	object_fill(&pen, &measured, v);

	struct object *o = xmalloc(sizeof(*o) + pen.used);

	*o = (struct object){
		.kind = v->kind,
		.created_revision = v->created_revision,
		.revision = v->revision,
		.refs = 1,
		.memory_bytes = sizeof(*o) + pen.used,
	};
	pen = (struct pen){ .base = (char *)(o + 1) };
	object_fill(&pen, o, v);
	assert(sizeof(*o) + pen.used == o->memory_bytes);
	o->hash = object_hash(o);
	return o;
}

struct object *object_ref(const struct object *o)
{
	struct object *counted = (struct object *)o;

	if (counted != NULL)
		counted->refs++;
	return counted;
}

void object_unref(struct object *o)
{
	if (o == NULL)
		return;
	assert(o->refs > 0);
	if (--o->refs == 0)
		free(o);
}

const char *object_label(const struct object *o, const char *key)
{
	for (size_t i = 0; i < o->facts.n_labels; i++)
		if (strcmp(o->facts.labels[i].key, key) == 0)
			return o->facts.labels[i].value;
	return NULL;
}

const struct owner_ref *object_controller(const struct object *o)
{
	for (size_t i = 0; i < o->facts.n_owners; i++)
		if (o->facts.owners[i].controller)
			return &o->facts.owners[i];
	return NULL;
}

bool object_has_finalizer(const struct object *o, const char *name)
{
	for (size_t i = 0; i < o->facts.n_finalizers; i++)
		if (strcmp(o->facts.finalizers[i], name) == 0)
			return true;
	return false;
}
