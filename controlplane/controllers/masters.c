/* The Service `kubernetes` in the namespace default leads to the masters that
 * live. Which ones there are is written in ConfigMap kube-system/sampan-masters,
 * one entry per member: "name=N api=HOST:PORT rpc=... raft=... live=true". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/controllers/common.h"
#include "proto/k8s/discovery_v1.pb-c.h"

enum { MASTERS_MAX = 64 };

static const char registry[] = "sampan-masters";
static const char service_name[] = "kubernetes";
static const char slices[] = "endpointslices.discovery.k8s.io";

struct master {
	const char *host;
	int32_t port;
};

struct masters {
	struct master items[MASTERS_MAX];
	size_t n;
};

/* The value of key in "key=value key=value", in the arena; NULL when it is not there. */
static char *word(struct arena *a, const char *line, const char *key)
{
	size_t n = strlen(key);

	for (const char *p = line; *p != '\0';) {
		size_t len = strcspn(p, " ");

		if (len > n && strncmp(p, key, n) == 0 && p[n] == '=')
			return arena_strndup(a, p + n + 1, len - n - 1);
		p += len + strspn(p + len, " ");
	}
	return NULL;
}

/* What an Endpoints object may hold: four numbers, neither loopback nor link-local. */
static bool is_reachable(const char *host)
{
	unsigned a, b, c, d;
	char rest;

	return sscanf(host, "%3u.%3u.%3u.%3u%c", &a, &b, &c, &d, &rest) == 4 && a > 0 && a < 224 &&
	       a != 127 && !(a == 169 && b == 254) && b < 256 && c < 256 && d < 256;
}

static int compare_masters(const void *x, const void *y)
{
	const struct master *a = x, *b = y;

	return a->port != b->port ? (a->port < b->port ? -1 : 1) : strcmp(a->host, b->host);
}

static struct masters read_masters(struct view *v, const CoreV1__ConfigMap *map)
{
	struct masters m = { .n = 0 };

	for (size_t i = 0; i < map->n_data && m.n < MASTERS_MAX; i++) {
		const char *line = text_of(map->data[i]->value);
		char *live = word(v->arena, line, "live"), *api = word(v->arena, line, "api");
		char *colon = api ? strrchr(api, ':') : NULL;

		if (!text_is(live, "true") || colon == NULL)
			continue;
		*colon = '\0';

		long port = strtol(colon + 1, NULL, 10);

		if (port > 0 && port < 65536 && is_reachable(api))
			m.items[m.n++] = (struct master){ api, (int32_t)port };
	}
	qsort(m.items, m.n, sizeof(*m.items), compare_masters);
	return m;
}

/* How many of the masters from first on have its port. */
static size_t run_length(const struct masters *m, size_t first)
{
	size_t n = 1;

	while (first + n < m->n && m->items[first + n].port == m->items[first].port)
		n++;
	return n;
}

static void write_endpoints(struct view *v, const struct masters *m, struct intents *intents)
{
	struct arena *a = intents->arena;
	const struct object *there = view_get(v, "endpoints", "default", service_name);
	CoreV1__Endpoints *e =
		there ? changed(there, a) : make(a, CoreV1__Endpoints, core_v1__endpoints);
	MetaV1__ObjectMeta *meta = message_metadata_make(e, a);

	meta->name = arena_strdup(a, service_name);
	meta->namespace_ = arena_strdup(a, "default");
	/* Its slices are written here, too. */
	meta_set_label(a, meta, "endpointslice.kubernetes.io/skip-mirror", "true");
	e->n_subsets = 0;
	for (size_t i = 0, n; i < m->n; i += n) {
		CoreV1__EndpointSubset *s =
			make(a, CoreV1__EndpointSubset, core_v1__endpoint_subset);
		CoreV1__EndpointPort *p = make(a, CoreV1__EndpointPort, core_v1__endpoint_port);

		n = run_length(m, i);
		p->name = arena_strdup(a, "https");
		p->protocol = arena_strdup(a, "TCP");
		make_set(p, port, m->items[i].port);
		make_append(a, s, ports, p);
		for (size_t k = i; k < i + n; k++) {
			CoreV1__EndpointAddress *address =
				make(a, CoreV1__EndpointAddress, core_v1__endpoint_address);

			address->ip = arena_strdup(a, m->items[k].host);
			make_append(a, s, addresses, address);
		}
		make_append(a, e, subsets, s);
	}
	if (there == NULL)
		intend_create(intents, "endpoints", "default", &e->base);
	else if (!message_equal(e, view_message(v, there)))
		intend_update(intents, there, &e->base);
}

static void write_slice(struct view *v, const char *name, const struct master *masters, size_t n,
			struct intents *intents)
{
	struct arena *a = intents->arena;
	const struct object *there = view_get(v, slices, "default", name);
	DiscoveryV1__EndpointSlice *s =
		there ? changed(there, a)
		      : make(a, DiscoveryV1__EndpointSlice, discovery_v1__endpoint_slice);
	DiscoveryV1__EndpointPort *p =
		make(a, DiscoveryV1__EndpointPort, discovery_v1__endpoint_port);
	MetaV1__ObjectMeta *meta = message_metadata_make(s, a);

	meta->name = arena_strdup(a, name);
	meta->namespace_ = arena_strdup(a, "default");
	meta_set_label(a, meta, "kubernetes.io/service-name", service_name);
	s->addresstype = arena_strdup(a, "IPv4");
	p->name = arena_strdup(a, "https");
	p->protocol = arena_strdup(a, "TCP");
	make_set(p, port, n > 0 ? masters[0].port : 0);
	s->n_ports = s->n_endpoints = 0;
	if (n > 0)
		make_append(a, s, ports, p);
	for (size_t i = 0; i < n; i++) {
		DiscoveryV1__Endpoint *e = make(a, DiscoveryV1__Endpoint, discovery_v1__endpoint);

		e->conditions =
			make(a, DiscoveryV1__EndpointConditions, discovery_v1__endpoint_conditions);
		make_set(e->conditions, ready, 1);
		make_append(a, e, addresses, arena_strdup(a, masters[i].host));
		make_append(a, s, endpoints, e);
	}
	if (there == NULL && n > 0)
		intend_create(intents, slices, "default", &s->base);
	else if (there != NULL && n == 0)
		intend_delete(intents, there, -1, NULL);
	else if (there != NULL && !message_equal(s, view_message(v, there)))
		intend_update(intents, there, &s->base);
}

/* One slice per port: "kubernetes", then "kubernetes-PORT". */
static void write_slices(struct view *v, const struct masters *m, struct intents *intents)
{
	size_t n_there;
	const struct object *const *there = view_list(v, slices, "default", &n_there);
	const char *names[MASTERS_MAX + 1] = { service_name };
	size_t n_names = 0;

	for (size_t i = 0, n; i < m->n; i += n) {
		n = run_length(m, i);
		names[n_names] = n_names == 0 ? service_name
					      : arena_printf(v->arena, "%s-%d", service_name,
							     m->items[i].port);
		write_slice(v, names[n_names++], &m->items[i], n, intents);
	}
	for (size_t i = 0; i < n_there; i++) {
		const char *of = object_label(there[i], "kubernetes.io/service-name");
		bool wanted = false;

		for (size_t k = 0; k < n_names; k++)
			wanted = wanted || strcmp(names[k], there[i]->name) == 0;
		if (of != NULL && strcmp(of, service_name) == 0 && !wanted)
			intend_delete(intents, there[i], -1, NULL);
	}
}

static void reconcile(struct view *v, struct key key, struct intents *intents)
{
	const struct object *map = view_get(v, "configmaps", "kube-system", registry);
	const struct object *service = view_get(v, "services", "default", service_name);

	if (map == NULL || service == NULL)
		return;

	struct masters m = read_masters(v, view_message(v, map));

	write_endpoints(v, &m, intents);
	write_slices(v, &m, intents);
}

static void on_change(const struct view *v, const struct object *old, const struct object *new,
		      struct keys *keys)
{
	const struct object *o = new ? new : old;
	bool ours = strcmp(o->namespace, "default") == 0 &&
		    (strncmp(o->name, service_name, strlen(service_name)) == 0) &&
		    (change_is_of(old, new, "services") || change_is_of(old, new, "endpoints") ||
		     change_is_of(old, new, slices));

	if (ours || (change_is_of(old, new, "configmaps") && strcmp(o->name, registry) == 0 &&
		     strcmp(o->namespace, "kube-system") == 0))
		keys_add(keys, "default", service_name);
}

static void seed(const struct view *v, struct keys *keys)
{
	keys_add(keys, "default", service_name);
}

const struct controller controller_masters = {
	.name = "masters-controller",
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
};
