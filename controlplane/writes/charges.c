#include "controlplane/writes/charges.h"

#include <errno.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/make.h"
#include "common/api/pack.h"
#include "controlplane/budgets/quota.h"

/* A quota that the plan changes, as it will be. */
struct charge {
	struct charge *next;
	const char *namespace, *name;
	CoreV1__ResourceQuota *quota;
};

static const struct kind *quotas(void)
{
	static const struct kind *kind;

	if (kind == NULL)
		kind = kind_of(&core_v1__resource_quota__descriptor);
	return kind;
}

struct gathering {
	struct arena *arena;
	const struct object *except; /* The quota that the write itself is about. */
	const struct object **items;
	size_t n, cap;
};

static bool on_quota(void *ctx, const struct object *o)
{
	struct gathering *g = ctx;

	if (g->except != NULL && strcmp(g->except->name, o->name) == 0)
		return true;
	if (g->n == g->cap) {
		const struct object **grown;

		g->cap = g->cap > 0 ? g->cap * 2 : 4;
		grown = arena_array(g->arena, const struct object *, g->cap);
		if (g->n > 0)
			memcpy(grown, g->items, g->n * sizeof(*grown));
		g->items = grown;
	}
	g->items[g->n++] = o;
	return true;
}

static struct charge *find(const struct write_change *c, const struct object *quota)
{
	struct charge *charge = c->charges;

	while (charge != NULL && (strcmp(charge->name, quota->name) != 0 ||
				  strcmp(charge->namespace, quota->namespace) != 0))
		charge = charge->next;
	return charge;
}

/* One quota's part: what the write adds to it, if it may. */
struct part {
	const struct object *object;
	struct charge *charge; /* NULL: not noted yet. */
	CoreV1__ResourceQuota *quota;
	struct amounts difference;
};

static int ask(struct write_change *c, struct part *p, const struct kind *kind, const void *old,
	       const ProtobufCMessage *new, struct status *st)
{
	const MetaV1__ObjectMeta *meta = new != NULL ? message_metadata(new) : NULL;
	const char *why = NULL;

	p->charge = find(c, p->object);
	p->quota = p->charge != NULL ? p->charge->quota
				     : unpack_stored(&core_v1__resource_quota__descriptor,
						     p->object->packed, c->arena);
	p->difference = (struct amounts){ .arena = c->arena };
	quota_difference(p->quota, kind, old, new, &p->difference);
	if (new != NULL && old == NULL)
		why = quota_demand(p->quota, kind, new, c->arena);
	if (why == NULL && new != NULL)
		why = quota_excess(p->quota, &p->difference, c->arena);
	if (why == NULL)
		return 0;
	status_set(st, -EPERM, "%s \"%s\" is forbidden: %s", kind->resource,
		   meta != NULL ? text_of(meta->name) : "", why);
	status_details(st, kind->group, kind->plural, meta != NULL ? text_of(meta->name) : "");
	return -EPERM;
}

static void note(struct write_change *c, struct part *p)
{
	struct charge *charge = p->charge;

	if (p->difference.n == 0)
		return;
	if (charge == NULL) {
		charge = arena_new(c->arena, struct charge);
		charge->namespace = arena_strdup(c->arena, p->object->namespace);
		charge->name = arena_strdup(c->arena, p->object->name);
		charge->quota = p->quota;
		charge->next = c->charges;
		c->charges = charge;
	}
	quota_charge(charge->quota, &p->difference, c->arena);
}

int charges_note(struct write_change *c, const struct kind *kind, const char *namespace,
		 const struct object *old, const ProtobufCMessage *new, struct status *st)
{
	struct gathering g = { .arena = c->arena, .except = kind == quotas() ? old : NULL };
	const void *before = NULL;
	struct part *parts;

	if (namespace[0] == '\0' || !quota_concerns(kind, old == NULL || new == NULL))
		return 0;
	overlay_walk(c->context->overlay, quotas(), namespace, on_quota, &g);
	if (g.n == 0)
		return 0;
	/* Of what is only counted any message will do, sealed or not. */
	if (old != NULL)
		before = unpack_stored(kind->descriptor, old->packed, c->arena);
	parts = arena_array(c->arena, struct part, g.n);
	for (size_t i = 0; i < g.n; i++) {
		parts[i].object = g.items[i];

		int rc = ask(c, &parts[i], kind, before, new, st);

		if (rc < 0)
			return rc;
	}
	for (size_t i = 0; i < g.n; i++)
		note(c, &parts[i]);
	return 0;
}

int charges_write(struct write_change *c, struct status *st)
{
	struct charge *charge = c->charges;

	c->charges = NULL;
	for (; charge != NULL; charge = charge->next) {
		const struct object *o =
			overlay_get(c->context->overlay, quotas(), charge->namespace, charge->name);
		int rc;

		if (o == NULL)
			continue; /* The plan itself removes it. */
		rc = change_put_uncharged(c, o, &charge->quota->base, st);
		if (rc < 0)
			return rc;
	}
	return 0;
}
