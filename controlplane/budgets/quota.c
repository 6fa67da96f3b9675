#include "controlplane/budgets/quota.h"

#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/pack.h"
#include "common/api/resources.h"
#include "common/base/cleanup.h"

static const char storage_class_infix[] = ".storageclass.storage.k8s.io/";

static bool is_pod(const struct kind *kind)
{
	return kind->descriptor == &core_v1__pod__descriptor;
}

static bool is_service(const struct kind *kind)
{
	return kind->descriptor == &core_v1__service__descriptor;
}

static bool is_claim(const struct kind *kind)
{
	return kind->descriptor == &core_v1__persistent_volume_claim__descriptor;
}

bool quota_concerns(const struct kind *kind, bool created_or_deleted)
{
	return (kind->flags & KIND_NAMESPACED) &&
	       (created_or_deleted || is_pod(kind) || is_service(kind) || is_claim(kind));
}

/* --- What an object takes ---------------------------------------------------------------- */

/* How the object is counted: "count/deployments.apps", and the old names of a few. */
static void add_counts(struct amounts *a, const struct kind *kind)
{
	static const char *const plain[] = { "services",
					     "configmaps",
					     "secrets",
					     "persistentvolumeclaims",
					     "replicationcontrollers",
					     "resourcequotas" };

	amounts_add_number(a, arena_printf(a->arena, "count/%s", kind->resource), 1);
	for (size_t i = 0; i < array_size(plain); i++)
		if (strcmp(plain[i], kind->resource) == 0)
			amounts_add_number(a, plain[i], 1);
}

static bool is_plain_compute(const char *name)
{
	return strcmp(name, "cpu") == 0 || strcmp(name, "memory") == 0 ||
	       strcmp(name, "ephemeral-storage") == 0;
}

static void add_quantity(struct amounts *a, const char *name, const struct quantity *q)
{
	quantity_add(amounts_make(a, name), q);
}

/* "cpu" and "requests.cpu" are the same; of limits, only cpu, memory and ephemeral-storage. */
static void add_compute(struct amounts *a, const struct amounts *of, enum amount_of what)
{
	for (size_t i = 0; i < of->n; i++) {
		const char *name = of->items[i].name;
		const struct quantity *q = &of->items[i].quantity;

		if (what == AMOUNT_OF_LIMITS) {
			if (is_plain_compute(name))
				add_quantity(a, arena_printf(a->arena, "limits.%s", name), q);
			continue;
		}
		if (is_plain_compute(name) || strncmp(name, "hugepages-", 10) == 0)
			add_quantity(a, name, q);
		add_quantity(a, arena_printf(a->arena, "requests.%s", name), q);
	}
}

static void add_pod(struct amounts *a, const CoreV1__Pod *pod)
{
	static const enum amount_of both[] = { AMOUNT_OF_REQUESTS, AMOUNT_OF_LIMITS };
	const char *phase = pod->status != NULL ? text_of(pod->status->phase) : "";

	/* A finished pod still exists, but takes nothing. */
	if (strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0)
		return;
	amounts_add_number(a, "pods", 1);
	for (size_t i = 0; pod->spec != NULL && i < array_size(both); i++) {
		struct amounts of = { .arena = a->arena };

		amounts_of_pod(&of, pod->spec, both[i]);
		add_compute(a, &of, both[i]);
	}
}

static int64_t node_ports(const CoreV1__ServiceSpec *spec)
{
	int64_t n = 0;

	if (!spec->has_allocateloadbalancernodeports || spec->allocateloadbalancernodeports)
		return (int64_t)spec->n_ports;
	for (size_t i = 0; i < spec->n_ports; i++)
		n += spec->ports[i]->nodeport != 0;
	return n;
}

static void add_service(struct amounts *a, const CoreV1__Service *service)
{
	const CoreV1__ServiceSpec *spec = service->spec;

	amounts_add_number(a, "services.nodeports", 0);
	amounts_add_number(a, "services.loadbalancers", 0);
	if (spec != NULL && text_is(spec->type, "NodePort")) {
		amounts_add_number(a, "services.nodeports", (int64_t)spec->n_ports);
	} else if (spec != NULL && text_is(spec->type, "LoadBalancer")) {
		amounts_add_number(a, "services.nodeports", node_ports(spec));
		amounts_add_number(a, "services.loadbalancers", 1);
	}
}

static void add_claim(struct amounts *a, const CoreV1__PersistentVolumeClaim *claim)
{
	const CoreV1__VolumeResourceRequirements *r = claim->spec ? claim->spec->resources : NULL;
	const char *class = claim->spec ? text_of(claim->spec->storageclassname) : "";
	struct quantity q = { 0 };

	if (r != NULL)
		q = resource_quantity(r->requests, r->n_requests, "storage");
	add_quantity(a, "requests.storage", &q);
	if (class[0] == '\0')
		return;
	add_quantity(a, arena_printf(a->arena, "%s%srequests.storage", class, storage_class_infix),
		     &q);
	amounts_add_number(
		a, arena_printf(a->arena, "%s%spersistentvolumeclaims", class, storage_class_infix),
		1);
}

static void usage_of(struct amounts *a, const struct kind *kind, const void *message)
{
	add_counts(a, kind);
	if (is_pod(kind))
		add_pod(a, message);
	else if (is_service(kind))
		add_service(a, message);
	else if (is_claim(kind))
		add_claim(a, message);
}

/* --- Differences -------------------------------------------------------------------------- */

static bool limits(const CoreV1__ResourceQuota *quota, const char *name)
{
	for (size_t i = 0; i < quota->spec->n_hard; i++)
		if (text_is(quota->spec->hard[i]->key, name))
			return true;
	return false;
}

void quota_difference(const CoreV1__ResourceQuota *quota, const struct kind *kind, const void *old,
		      const void *new, struct amounts *ret)
{
	struct amounts before = { .arena = ret->arena }, after = { .arena = ret->arena };

	if (quota->spec == NULL)
		return;
	if (old != NULL && quota_covers(quota, kind, old))
		usage_of(&before, kind, old);
	if (new != NULL && quota_covers(quota, kind, new))
		usage_of(&after, kind, new);
	for (size_t i = 0; i < before.n; i++)
		quantity_subtract(amounts_make(&after, before.items[i].name),
				  &before.items[i].quantity);
	for (size_t i = 0; i < after.n; i++)
		if (after.items[i].quantity.nano != 0 && limits(quota, after.items[i].name))
			*amounts_make(ret, after.items[i].name) = after.items[i].quantity;
}

static bool says(const CoreV1__Container *c, const char *name)
{
	enum amount_of what = AMOUNT_OF_REQUESTS;
	const CoreV1__ResourceRequirements *r = c->resources;

	if (strncmp(name, "limits.", 7) == 0)
		what = AMOUNT_OF_LIMITS;
	if (strchr(name, '.') != NULL)
		name = strchr(name, '.') + 1;
	if (r == NULL)
		return false;
	return (what == AMOUNT_OF_LIMITS ? resource_text(r->limits, r->n_limits, name)
					 : resource_text(r->requests, r->n_requests, name)) != NULL;
}

static const char *who_does_not_say(const CoreV1__PodSpec *spec, const char *name,
				    struct arena *arena)
{
	const char *who = "";

	for (size_t i = 0; i < spec->n_containers + spec->n_initcontainers; i++) {
		const CoreV1__Container *c = i < spec->n_containers
						     ? spec->containers[i]
						     : spec->initcontainers[i - spec->n_containers];

		if (!says(c, name))
			who = arena_printf(arena, "%s%s%s", who, who[0] ? "," : "",
					   text_of(c->name));
	}
	return who;
}

const char *quota_demand(const CoreV1__ResourceQuota *quota, const struct kind *kind,
			 const void *new, struct arena *arena)
{
	static const char *const names[] = { "cpu",    "limits.cpu",   "limits.memory",
					     "memory", "requests.cpu", "requests.memory" };
	const char *text = "";

	if (!is_pod(kind) || quota->spec == NULL || !quota_covers(quota, kind, new))
		return NULL;
	for (size_t i = 0; i < array_size(names); i++) {
		const char *who = "";

		if (limits(quota, names[i]))
			who = who_does_not_say(((const CoreV1__Pod *)new)->spec, names[i], arena);
		if (who[0] != '\0')
			text = arena_printf(arena, "%s%s%s for: %s", text, text[0] ? "; " : "",
					    names[i], who);
	}
	if (text[0] == '\0')
		return NULL;
	return arena_printf(arena, "failed quota: %s: must specify %s", quota->metadata->name,
			    text);
}

/* --- Enough? -------------------------------------------------------------------------------- */

static const char *unknown(const CoreV1__ResourceQuota *quota, const struct amounts *difference,
			   struct arena *arena)
{
	const CoreV1__ResourceQuotaStatus *s = quota->status;
	const char *names = "";

	for (size_t i = 0; i < difference->n; i++) {
		const char *name = difference->items[i].name;

		if (s == NULL || resource_text(s->used, s->n_used, name) == NULL)
			names = arena_printf(arena, "%s%s%s", names, names[0] ? "," : "", name);
	}
	if (names[0] == '\0')
		return NULL;
	return arena_printf(arena, "status unknown for quota: %s, resources: %s",
			    quota->metadata->name, names);
}

const char *quota_excess(const CoreV1__ResourceQuota *quota, const struct amounts *difference,
			 struct arena *arena)
{
	struct amounts requested = { .arena = arena }, used = { .arena = arena },
		       limited = { .arena = arena };
	const char *why = unknown(quota, difference, arena);

	if (why != NULL)
		return why;
	for (size_t i = 0; i < difference->n; i++) {
		const char *name = difference->items[i].name;
		const CoreV1__ResourceQuotaStatus *s = quota->status;
		struct quantity now = resource_quantity(s->used, s->n_used, name), then = now;
		struct quantity hard =
			resource_quantity(quota->spec->hard, quota->spec->n_hard, name);

		if (difference->items[i].quantity.nano <= 0)
			continue;
		quantity_add(&then, &difference->items[i].quantity);
		if (quantity_compare(&then, &hard) <= 0)
			continue;
		*amounts_make(&requested, name) = difference->items[i].quantity;
		*amounts_make(&used, name) = now;
		*amounts_make(&limited, name) = hard;
	}
	if (requested.n == 0)
		return NULL;
	return arena_printf(arena, "exceeded quota: %s, requested: %s, used: %s, limited: %s",
			    quota->metadata->name, amounts_print(&requested), amounts_print(&used),
			    amounts_print(&limited));
}

void quota_charge(CoreV1__ResourceQuota *quota, const struct amounts *difference,
		  struct arena *arena)
{
	CoreV1__ResourceQuotaStatus *s = quota->status;

	for (size_t i = 0; s != NULL && i < s->n_used; i++) {
		const struct quantity *by = amounts_get(difference, text_of(s->used[i]->key));
		char text[QUANTITY_TEXT_MAX];
		struct quantity q;

		if (by == NULL)
			continue;
		q = resource_quantity(&s->used[i], 1, s->used[i]->key);
		quantity_add(&q, by);
		if (q.nano < 0)
			q.nano = 0;
		quantity_print(&q, text);
		s->used[i] =
			resource_entry_make(&core_v1__resource_quota_status__used_entry__descriptor,
					    s->used[i]->key, text, arena);
	}
}

/* --- Counting ------------------------------------------------------------------------------- */

struct counting {
	const struct kind *kind;
	const CoreV1__ResourceQuota *quota;
	struct amounts used;
	bool plain; /* Only the number of objects is of interest. */
	struct arena scratch;
};

static bool on_object(void *ctx, const struct object *o)
{
	struct counting *c = ctx;
	struct amounts one = { .arena = &c->scratch };
	const void *message = o;

	if (!c->plain)
		message = unpack_stored(o->kind->descriptor, o->packed, &c->scratch);
	if (quota_covers(c->quota, c->kind, message))
		usage_of(&one, c->kind, message);
	for (size_t i = 0; i < one.n; i++) {
		struct quantity *sum = amounts_get(&c->used, one.items[i].name);

		if (sum != NULL)
			quantity_add(sum, &one.items[i].quantity);
	}
	arena_reset(&c->scratch);
	return true;
}

/* Something that pods take. */
static bool is_compute(const char *key)
{
	return is_plain_compute(key) || strncmp(key, "hugepages-", 10) == 0 ||
	       strncmp(key, "limits.", 7) == 0 ||
	       (strncmp(key, "requests.", 9) == 0 && strcmp(key, "requests.storage") != 0);
}

/* Whether anything the quota limits is of this kind. */
static bool limits_kind(const CoreV1__ResourceQuota *quota, const struct kind *kind,
			struct arena *arena)
{
	const char *count = arena_printf(arena, "count/%s", kind->resource);

	if (limits(quota, count) || limits(quota, kind->resource))
		return true;
	for (size_t i = 0; i < quota->spec->n_hard; i++) {
		const char *key = text_of(quota->spec->hard[i]->key);

		if ((is_pod(kind) && is_compute(key)) ||
		    (is_service(kind) && strncmp(key, "services.", 9) == 0) ||
		    (is_claim(kind) && (strcmp(key, "requests.storage") == 0 ||
					strstr(key, storage_class_infix) != NULL)))
			return true;
	}
	return false;
}

static void count_all(const struct budget_reader *reader, struct counting *c, const char *namespace,
		      const struct kind *extra, struct arena *arena)
{
	kinds_for_each(kind)
	{
		bool stored = (kind->flags & KIND_NAMESPACED) && !(kind->flags & KIND_VIRTUAL) &&
			      kind_stored(kind) == kind;

		if (!stored || !limits_kind(c->quota, kind, arena))
			continue;
		c->kind = kind;
		c->plain = !is_pod(kind) && !is_service(kind) && !is_claim(kind);
		reader->walk(reader->ctx, kind, namespace, on_object, c);
	}
	if (extra != NULL) {
		struct amounts one = { .arena = arena };

		if (quota_covers(c->quota, extra, c->quota))
			add_counts(&one, extra);
		for (size_t i = 0; i < one.n; i++) {
			struct quantity *sum = amounts_get(&c->used, one.items[i].name);

			if (sum != NULL)
				quantity_add(sum, &one.items[i].quantity);
		}
	}
}

void quota_count(const struct budget_reader *reader, CoreV1__ResourceQuota *quota,
		 const char *namespace, const struct kind *extra, struct arena *arena)
{
	struct counting c = { .quota = quota, .used = { .arena = arena } };
	CoreV1__ResourceQuotaStatus *status =
		make(arena, CoreV1__ResourceQuotaStatus, core_v1__resource_quota_status);

	quota->status = status;
	if (quota->spec == NULL)
		return;
	for (size_t i = 0; i < quota->spec->n_hard; i++)
		amounts_make(&c.used, text_of(quota->spec->hard[i]->key));
	arena_init(&c.scratch, 0);
	count_all(reader, &c, namespace, extra, arena);
	arena_fini(&c.scratch);
	for (size_t i = 0; i < quota->spec->n_hard; i++) {
		const char *key = text_of(quota->spec->hard[i]->key);
		char text[QUANTITY_TEXT_MAX];

		make_append(arena, status, hard,
			    resource_entry_make(
				    &core_v1__resource_quota_status__hard_entry__descriptor, key,
				    quota->spec->hard[i]->value
					    ? text_of(quota->spec->hard[i]->value->string)
					    : "0",
				    arena));
		quantity_print(amounts_get(&c.used, key), text);
		make_append(
			arena, status, used,
			resource_entry_make(&core_v1__resource_quota_status__used_entry__descriptor,
					    key, text, arena));
	}
}

bool quota_frees(const CoreV1__ResourceQuota *old, const CoreV1__ResourceQuota *new)
{
	const CoreV1__ResourceQuotaStatus *was = old->status, *is = new->status;

	if (!message_equal(old->spec, new->spec) || was == NULL || is == NULL)
		return true;
	for (size_t i = 0; i < was->n_used; i++) {
		const char *key = text_of(was->used[i]->key);
		struct quantity before = resource_quantity(was->used, was->n_used, key);
		struct quantity after = resource_quantity(is->used, is->n_used, key);

		if (quantity_compare(&after, &before) < 0)
			return true;
	}
	return false;
}
