/* Watches of whole kinds for proxies, from this master's own history.
 *
 * A reply is either the changes after a revision, newest state of each object
 * only, or everything in pages; a parked watch ends with a bookmark. */
#include <errno.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/make.h"
#include "common/api/pack.h"
#include "common/base/map.h"
#include "controlplane/nodes/internal.h"
#include "controlplane/trust/sealing.h"
#include "proto/k8s/core_v1.pb-c.h"

#define RESOURCES_MAX 16
#define WATCHES_MAX 20000
#define REPLY_BYTES_MAX (4u << 20)

/* What a proxy may watch. */
static const char *const watchable[] = { "services",
					 "endpointslices.discovery.k8s.io",
					 "nodes",
					 "ingresses.networking.k8s.io",
					 "ingressclasses.networking.k8s.io",
					 "namespaces",
					 "networkpolicies.networking.k8s.io",
					 "pods" /* What policies ask about: see lean_pod(). */,
					 "secrets" /* Certificates alone: see hidden(). */ };

struct answer {
	const char *node; /* Who asks. */
	const struct trust *trust;
	const SampanNode__WatchRequest *request;
	struct arena *arena;
	SampanNode__Change **items;
	size_t n, cap, bytes;
	struct map latest; /* "resource/namespace/name" -> SampanNode__Change */
	char *continue_key;
	const char *resource; /* Being walked. */
};

static bool may_watch(const char *resource)
{
	for (size_t i = 0; i < array_size(watchable); i++)
		if (strcmp(watchable[i], resource) == 0)
			return kind_of_resource(resource) != NULL;
	return false;
}

/* Of Secrets, proxies see certificates only: those that Ingresses may name; of pods, their own
 * unless they need all. */
static bool hidden(struct answer *a, const struct object *o)
{
	if (o->facts.pod != NULL && a->request->own_pods)
		return strcmp(o->facts.pod->node_name, a->node) != 0;
	if (strcmp(o->kind->resource, "secrets") != 0)
		return false;

	const CoreV1__Secret *s = unpack_stored(&core_v1__secret__descriptor, o->packed, a->arena);

	return s == NULL || s->type == NULL || strcmp(s->type, "kubernetes.io/tls") != 0;
}

static bool wanted(struct answer *a, const struct object *o)
{
	for (size_t i = 0; i < a->request->n_resources; i++)
		if (strcmp(a->request->resources[i], o->kind->resource) == 0)
			return !hidden(a, o);
	return false;
}

static SampanNode__Change *answer_add(struct answer *a, const struct object *o)
{
	SampanNode__Change *item = arena_new(a->arena, SampanNode__Change);
	SampanNode__Held *key = arena_new(a->arena, SampanNode__Held);

	sampan_node__change__init(item);
	sampan_node__held__init(key);
	item->key = key;
	/* The history and the store may let go of o before the reply is packed. */
	key->resource = (char *)o->kind->resource;
	key->namespace_ = arena_strdup(a->arena, o->namespace);
	key->name = arena_strdup(a->arena, o->name);
	if (a->n == a->cap) {
		size_t cap = a->cap ? a->cap * 2 : 64;
		SampanNode__Change **items = arena_array(a->arena, SampanNode__Change *, cap);

		if (a->n > 0)
			memcpy(items, a->items, a->n * sizeof(items[0]));
		a->items = items;
		a->cap = cap;
	}
	a->items[a->n++] = item;
	return item;
}

/* Proxies that enforce policies learn of every pod of the cluster, but only what policies ask. */
static struct bytes lean_pod(const struct object *o, struct arena *a)
{
	CoreV1__Pod *pod = unpack_stored(&core_v1__pod__descriptor, o->packed, a);
	MetaV1__ObjectMeta meta = META_V1__OBJECT_META__INIT;
	CoreV1__PodSpec spec = CORE_V1__POD_SPEC__INIT;
	CoreV1__PodStatus status = CORE_V1__POD_STATUS__INIT;
	CoreV1__Pod lean = CORE_V1__POD__INIT;

	if (pod == NULL || pod->metadata == NULL || pod->spec == NULL)
		return o->packed;
	meta.name = pod->metadata->name;
	meta.namespace_ = pod->metadata->namespace_;
	meta.labels = pod->metadata->labels;
	meta.n_labels = pod->metadata->n_labels;
	spec.nodename = pod->spec->nodename;
	spec.has_hostnetwork = pod->spec->has_hostnetwork;
	spec.hostnetwork = pod->spec->hostnetwork;
	spec.containers = arena_array(a, CoreV1__Container *, pod->spec->n_containers + 1);
	for (size_t i = 0; i < pod->spec->n_containers; i++) {
		CoreV1__Container *c = make(a, CoreV1__Container, core_v1__container);

		if (pod->spec->containers[i]->n_ports == 0)
			continue;
		c->ports = pod->spec->containers[i]->ports;
		c->n_ports = pod->spec->containers[i]->n_ports;
		spec.containers[spec.n_containers++] = c;
	}
	if (pod->status != NULL) {
		status.phase = pod->status->phase;
		status.podip = pod->status->podip;
		status.podips = pod->status->podips;
		status.n_podips = pod->status->n_podips;
	}
	lean.metadata = &meta;
	lean.spec = &spec;
	lean.status = &status;
	return pack_message_in(a, &lean.base);
}

static struct bytes shown(const struct answer *a, const struct object *o)
{
	if (strcmp(o->kind->resource, "pods") == 0)
		return lean_pod(o, a->arena);
	return sealing_open(a->trust, o, a->arena);
}

static void change_set(struct answer *a, SampanNode__Change *item, const struct object *o,
		       bool deleted, uint64_t revision)
{
	item->key->uid = arena_strdup(a->arena, o->facts.uid);
	item->key->has_revision = true;
	item->key->revision = revision;
	item->has_deleted = deleted;
	item->deleted = deleted;
	item->has_object = !deleted;
	if (!deleted) {
		struct bytes object = shown(a, o);

		item->object.len = object.len;
		item->object.data = arena_memdup(a->arena, object.data, object.len);
	}
	a->bytes += deleted ? 0 : item->object.len;
}

/* Several changes of one object become its last. */
static bool on_history(void *ctx, const struct change *change)
{
	struct answer *a = ctx;
	const struct object *o = change->new ? change->new : change->old;

	if (!wanted(a, o))
		return true;
	const char *key =
		arena_printf(a->arena, "%s/%s/%s", o->kind->resource, o->namespace, o->name);
	SampanNode__Change *item = map_get(&a->latest, key);
	if (item == NULL) {
		item = answer_add(a, o);
		map_put(&a->latest, key, item);
	}
	change_set(a, item, o, change->new == NULL, change->revision);
	return true;
}

static bool on_object(void *ctx, const struct object *o)
{
	struct answer *a = ctx;

	if (hidden(a, o))
		return true;
	change_set(a, answer_add(a, o), o, false, o->revision);
	if (a->bytes < REPLY_BYTES_MAX)
		return true;
	a->continue_key = arena_printf(a->arena, "%s/%s/%s", a->resource, o->namespace, o->name);
	return false;
}

static void answer_send(struct call *c, struct answer *a, SampanNode__WatchReply *watch)
{
	SampanNode__Reply reply = SAMPAN_NODE__REPLY__INIT;

	watch->has_revision = true;
	watch->revision = store_revision(c->nodes->config.store);
	watch->changes = a->items;
	watch->n_changes = a->n;
	watch->masters = members_list(c->nodes, &c->arena, &watch->n_masters);
	reply.watch = watch;
	map_fini(&a->latest);
	call_reply(c, &reply);
}

/* All objects, from the start or after continue_key ("resource/namespace/name"). */
static void serve_full(struct call *c)
{
	SampanNode__WatchReply watch = SAMPAN_NODE__WATCH_REPLY__INIT;
	struct answer a = { .node = c->node,
			    .trust = c->nodes->config.trust,
			    .request = c->request->watch,
			    .arena = &c->arena };
	char *from = a.request->continue_key && a.request->continue_key[0]
			     ? arena_strdup(&c->arena, a.request->continue_key)
			     : NULL;
	char *namespace = from ? strchr(from, '/') : NULL;
	char *name = namespace ? strchr(namespace + 1, '/') : NULL;

	if (from != NULL && name == NULL) {
		call_fail(c, -EINVAL, "continue_key is not one of ours");
		return;
	}
	if (from != NULL) {
		*namespace ++ = '\0';
		*name++ = '\0';
	}
	for (size_t i = 0; i < a.request->n_resources && a.continue_key == NULL; i++) {
		const struct kind *kind = kind_of_resource(a.request->resources[i]);

		if (from != NULL && strcmp(from, kind->resource) != 0)
			continue; /* Sent by an earlier page. */
		a.resource = kind->resource;
		store_walk(c->nodes->config.store, kind, NULL, from ? namespace : NULL,
			   from ? name : NULL, on_object, &a);
		from = NULL;
	}
	watch.has_full = watch.full = true;
	watch.continue_key = a.continue_key;
	answer_send(c, &a, &watch);
}

/* Returns false when there is nothing to say yet. */
static bool serve_changes(struct call *c, bool force)
{
	SampanNode__WatchReply watch = SAMPAN_NODE__WATCH_REPLY__INIT;
	struct answer a = { .node = c->node,
			    .trust = c->nodes->config.trust,
			    .request = c->request->watch,
			    .arena = &c->arena };
	int rc = store_history(c->nodes->config.store, a.request->since_revision, on_history, &a);

	if (rc == -EKEYEXPIRED)
		watch.has_expired = watch.expired = true;
	else if (a.n == 0 && !force) {
		map_fini(&a.latest);
		return false;
	}
	/* A master that lags behind says so by its smaller revision; nothing is taken back. */
	answer_send(c, &a, &watch);
	return true;
}

void watch_serve(struct call *c)
{
	const SampanNode__WatchRequest *request = c->request->watch;
	struct nodes *nodes = c->nodes;

	if (request->n_resources == 0 || request->n_resources > RESOURCES_MAX) {
		call_fail(c, -EINVAL, "a watch names 1 to %d resources", RESOURCES_MAX);
		return;
	}
	for (size_t i = 0; i < request->n_resources; i++) {
		if (!may_watch(request->resources[i])) {
			call_fail(c, -EPERM, "%s cannot be watched here", request->resources[i]);
			return;
		}
	}
	if (request->since_revision == 0 || (request->continue_key && request->continue_key[0])) {
		serve_full(c);
		return;
	}
	if (serve_changes(c, false))
		return;
	if (nodes->n_watches >= WATCHES_MAX) {
		call_fail(c, -EAGAIN, "too many watches");
		return;
	}
	uint32_t park_ms = request->park_ms > PARK_MS_MAX * 4 ? PARK_MS_MAX * 4 : request->park_ms;
	c->deadline_ms = nodes_now_ms(nodes) + park_ms;
	c->parked_count = &nodes->n_watches;
	nodes->n_watches++;
	list_push_back(&nodes->watches, &c->link);
}

void watch_flush(struct nodes *nodes)
{
	if (!nodes->watches_dirty)
		return;
	nodes->watches_dirty = false;
	list_for_each (c, &nodes->watches, struct call, link)
		serve_changes(c, false);
}

void watch_tick(struct nodes *nodes, uint64_t now_ms)
{
	list_for_each (c, &nodes->watches, struct call, link)
		if (c->deadline_ms <= now_ms)
			serve_changes(c, true);
}
