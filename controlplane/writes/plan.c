#include "controlplane/writes/plan.h"

#include <string.h>

#include "common/api/kinds.h"

/* What one more key, operation or precondition costs beyond its strings and bytes. */
#define OVERHEAD_BYTES 96

void plan_init(struct plan *p, struct arena *arena)
{
	*p = (struct plan){ .arena = arena };
	sampan_store__plan__init(&p->message);
}

static void *append(struct arena *a, void *array, size_t n, size_t *cap, void *item)
{
	void **items = array;

	if (n == *cap) {
		*cap = *cap > 0 ? *cap * 2 : 4;
		items = arena_alloc(a, *cap * sizeof(*items));
		if (n > 0)
			memcpy(items, array, n * sizeof(*items));
	}
	items[n] = item;
	return items;
}

static SampanStore__Key *make_key(struct plan *p, const struct kind *kind, const char *namespace,
				  const char *name)
{
	SampanStore__Key *key = arena_new(p->arena, SampanStore__Key);

	sampan_store__key__init(key);
	key->resource = (char *)kind->resource;
	key->namespace_ = namespace[0] != '\0' ? arena_strdup(p->arena, namespace) : NULL;
	key->name = arena_strdup(p->arena, name);
	p->bytes += OVERHEAD_BYTES + strlen(kind->resource) + strlen(namespace) + strlen(name);
	return key;
}

static SampanStore__Precondition *add_precondition(struct plan *p)
{
	SampanStore__Precondition *added = arena_new(p->arena, SampanStore__Precondition);

	sampan_store__precondition__init(added);
	p->message.preconditions = append(p->arena, p->message.preconditions,
					  p->message.n_preconditions, &p->cap_preconditions, added);
	p->message.n_preconditions++;
	added->has_type = true;
	return added;
}

static SampanStore__Operation *add_operation(struct plan *p, SampanStore__Operation__Type type)
{
	SampanStore__Operation *added = arena_new(p->arena, SampanStore__Operation);

	sampan_store__operation__init(added);
	p->message.operations = append(p->arena, p->message.operations, p->message.n_operations,
				       &p->cap_operations, added);
	p->message.n_operations++;
	added->has_type = true;
	added->type = type;
	return added;
}

void plan_require_absent(struct plan *p, const struct kind *kind, const char *namespace,
			 const char *name)
{
	SampanStore__Precondition *c = add_precondition(p);

	c->type = SAMPAN_STORE__PRECONDITION__TYPE__ABSENT;
	c->key = make_key(p, kind, namespace, name);
}

void plan_require(struct plan *p, const struct object *o)
{
	SampanStore__Precondition *c = add_precondition(p);

	c->type = SAMPAN_STORE__PRECONDITION__TYPE__PRESENT;
	c->key = make_key(p, o->kind, o->namespace, o->name);
	c->uid = arena_strdup(p->arena, o->facts.uid);
	c->has_revision = true;
	c->revision = o->revision;
}

void plan_put(struct plan *p, const struct kind *kind, const char *namespace, const char *name,
	      struct bytes packed, const char *const *claims, size_t n_claims)
{
	SampanStore__Operation *op = add_operation(p, SAMPAN_STORE__OPERATION__TYPE__PUT);

	op->key = make_key(p, kind, namespace, name);
	op->has_object = true;
	op->object = (ProtobufCBinaryData){ packed.len, (uint8_t *)packed.data };
	op->claims = (char **)claims;
	op->n_claims = n_claims;
	p->bytes += packed.len;
	for (size_t i = 0; i < n_claims; i++)
		p->bytes += strlen(claims[i]) + 4;
}

void plan_delete(struct plan *p, const struct kind *kind, const char *namespace, const char *name)
{
	add_operation(p, SAMPAN_STORE__OPERATION__TYPE__DELETE)->key =
		make_key(p, kind, namespace, name);
}

void plan_open_session(struct plan *p, uint64_t session, uint64_t ttl_ms)
{
	SampanStore__Operation *op = add_operation(p, SAMPAN_STORE__OPERATION__TYPE__SESSION_OPEN);

	op->has_session = op->has_ttl_ms = true;
	op->session = session;
	op->ttl_ms = ttl_ms;
	p->bytes += OVERHEAD_BYTES;
}
