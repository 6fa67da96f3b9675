/* Nothing is created beyond a quota that was there before. */
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/make.h"
#include "common/api/quantity.h"
#include "tests/sim/cluster/oracle.h"

struct quota_book {
	const struct object *o;
	uint64_t since_ns; /* Of its spec. */
	int64_t generation;
	char *spec;
};

/* What a namespace holds of what is counted one by one. */
struct namespace_book {
	int64_t configmaps, services;
};

static struct namespace_book *namespace_book(struct chaos *c, const char *name)
{
	struct namespace_book *n = map_get(&c->oracle->namespaces, name);

	if (n == NULL) {
		n = arena_new(&c->sim.arena, struct namespace_book);
		map_put(&c->oracle->namespaces, name, n);
	}
	return n;
}

static int64_t used_milli(struct chaos *c, const char *namespace, const char *key)
{
	const struct namespace_book *n = namespace_book(c, namespace);
	int64_t sum = 0;

	if (strcmp(key, "configmaps") == 0)
		return n->configmaps * 1000;
	if (strcmp(key, "services") == 0)
		return n->services * 1000;
	pods_for_each (slot, c) {
		const struct pod_book *p = slot->value;

		if (p->o != NULL && !p->finished && strcmp(p->o->namespace, namespace) == 0)
			sum += strcmp(key, "pods") == 0 ? 1000 : p->o->facts.pod->cpu_milli;
	}
	return sum;
}

static void check(struct chaos *c, const struct object *created, const struct quota_book *q)
{
	const CoreV1__ResourceQuota *m = change_message(c, q->o);
	bool pod = created->facts.pod != NULL;

	for (size_t i = 0; i < m->spec->n_hard; i++) {
		const char *key = m->spec->hard[i]->key;
		int64_t hard = quantity_text_milli(m->spec->hard[i]->value->string), used;

		/* What is created does not change the others. */
		if (strcmp(key, created->kind->plural) != 0 &&
		    !(pod && strcmp(key, "requests.cpu") == 0))
			continue;
		used = used_milli(c, created->namespace, key);
		if (used > hard)
			chaos_fail(c, "%s %s/%s is created: %s is %.3f then, quota %s has %.3f",
				   created->kind->resource, created->namespace, created->name, key,
				   (double)used / 1000, q->o->name, (double)hard / 1000);
	}
}

/* After all other books. */
void quotas_look(struct chaos *c, const struct change *change)
{
	const struct object *o = change_one(change);
	struct namespace_book *n = namespace_book(c, o->namespace);
	int change_by = (change->new != NULL) - (change->old != NULL);

	if (strcmp(o->kind->resource, "configmaps") == 0)
		n->configmaps += change_by;
	else if (strcmp(o->kind->resource, "services") == 0)
		n->services += change_by;
	else if (o->facts.pod == NULL)
		return;
	if (change->old != NULL)
		return;
	map_for_each (slot, &c->oracle->quotas) {
		const struct quota_book *q = slot->value;

		if (q->o != NULL && strcmp(q->o->namespace, o->namespace) == 0 &&
		    q->since_ns + GRACE_NS < c->sim.now_ns)
			check(c, o, q);
	}
}

static char *spec_of(struct chaos *c, const struct object *o)
{
	const CoreV1__ResourceQuota *m = change_message(c, o);
	char *text = chaos_text(c, "%s", "");

	for (size_t i = 0; i < m->spec->n_hard; i++)
		text = chaos_text(c, "%s,%s=%s", text, m->spec->hard[i]->key,
				  m->spec->hard[i]->value->string);
	return text;
}

void quotas_look_at_quota(struct chaos *c, const struct change *change)
{
	const struct object *o = change_one(change);
	struct quota_book *q = map_get(&c->oracle->quotas, o->facts.uid);
	char *spec = spec_of(c, o);

	if (q == NULL) {
		q = arena_new(&c->sim.arena, struct quota_book);
		map_put(&c->oracle->quotas, o->facts.uid, q);
	}
	if (q->spec == NULL || strcmp(q->spec, spec) != 0)
		q->since_ns = c->sim.now_ns;
	q->spec = spec;
	object_unref((struct object *)q->o);
	q->o = change->new != NULL ? object_ref((struct object *)o) : NULL;
	if (change->new == NULL)
		map_remove(&c->oracle->quotas, o->facts.uid);
}

void quotas_fini(struct chaos *c)
{
	map_for_each (slot, &c->oracle->quotas) {
		struct quota_book *q = slot->value;

		object_unref((struct object *)q->o);
	}
	map_fini(&c->oracle->quotas);
	map_fini(&c->oracle->namespaces);
}
