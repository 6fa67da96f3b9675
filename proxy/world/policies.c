/* NetworkPolicies, and the pods and namespaces they select. Pods are many: only what
 * selectors and rules ask for is kept. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/make.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "proto/k8s/networking_v1.pb-c.h"
#include "proxy/world/internal.h"

#define POLICY_BUDGET_BYTES (8u << 20)

static int compare_pod(const void *key, const struct tree_node *node)
{
	return strcmp(key, container_of(node, struct world_pod, node)->key);
}

static int compare_namespace(const void *key, const struct tree_node *node)
{
	return strcmp(key, container_of(node, struct world_namespace, node)->name);
}

static int compare_policy(const void *key, const struct tree_node *node)
{
	return strcmp(key, container_of(node, struct world_policy, node)->key);
}

void policies_init(struct world *w)
{
	tree_init(&w->pods, compare_pod);
	tree_init(&w->namespaces, compare_namespace);
	tree_init(&w->policies, compare_policy);
}

bool world_wants_change(struct world *w)
{
	bool wants = w->policies.count > 0;

	if (wants == w->with_pods)
		return false;
	w->with_pods = wants;
	return true;
}

/* --- Labels --------------------------------------------------------------------------- */

static struct string_entry **copy_labels(struct arena *a, const MetaV1__ObjectMeta *meta)
{
	struct string_entry **labels = arena_array(a, struct string_entry *, meta->n_labels + 1);

	for (size_t i = 0; i < meta->n_labels; i++) {
		labels[i] = arena_new(a, struct string_entry);
		labels[i]->key = arena_strdup(a, text_of(meta->labels[i]->key));
		labels[i]->value = arena_strdup(a, text_of(meta->labels[i]->value));
	}
	return labels;
}

static bool same_labels(struct string_entry *const *a, size_t n_a, struct string_entry *const *b,
			size_t n_b)
{
	if (n_a != n_b)
		return false;
	for (size_t i = 0; i < n_a; i++)
		if (strcmp(a[i]->key, b[i]->key) != 0 || strcmp(a[i]->value, b[i]->value) != 0)
			return false;
	return true;
}

/* --- Pods ------------------------------------------------------------------------------ */

static void mark_pod(struct world *w, const struct world_pod *p)
{
	w->policies_dirty = true;
	for (size_t i = 0; i < p->n_ports; i++)
		w->host_ports_dirty |= p->ports[i].host_port != 0;
}

static void pod_free(struct world *w, struct world_pod *p)
{
	mark_pod(w, p);
	tree_remove(&w->pods, &p->node);
	arena_fini(&p->arena);
	free(p->key);
	free(p);
}

static uint8_t protocol_of(const char *text)
{
	if (text_is(text, "UDP"))
		return PROTOCOL_UDP;
	return text_is(text, "SCTP") ? PROTOCOL_SCTP : PROTOCOL_TCP;
}

/* 0.0.0.0 and :: */
static bool is_any(const struct ip *ip)
{
	static const uint8_t zeros[16];

	return memcmp(ip->bytes, zeros, ip->len) == 0;
}

static void read_ports(struct world_pod *ret, const CoreV1__PodSpec *spec)
{
	size_t n = 0;

	for (size_t i = 0; i < spec->n_containers; i++)
		n += spec->containers[i]->n_ports;
	ret->ports = arena_array(&ret->arena, struct pod_port, n + 1);
	for (size_t i = 0; i < spec->n_containers; i++) {
		const CoreV1__Container *c = spec->containers[i];

		for (size_t k = 0; k < c->n_ports; k++) {
			struct pod_port *to = &ret->ports[ret->n_ports];

			if (text_empty(c->ports[k]->name) && c->ports[k]->hostport == 0)
				continue;
			*to = (struct pod_port){
				.name = arena_strdup(&ret->arena, text_of(c->ports[k]->name)),
				.protocol = protocol_of(c->ports[k]->protocol),
				.port = (uint16_t)c->ports[k]->containerport,
				.host_port = (uint16_t)c->ports[k]->hostport,
			};
			if (ip_parse(c->ports[k]->hostip, &to->host_ip) && is_any(&to->host_ip))
				to->host_ip.len = 0;
			ret->n_ports++;
		}
	}
}

static void add_ip(struct world_pod *ret, const char *text)
{
	struct ip ip;

	if (ret->n_ips < array_size(ret->ips) && ip_parse(text, &ip) &&
	    !(ret->n_ips == 1 && ip_equal(&ret->ips[0], &ip)))
		ret->ips[ret->n_ips++] = ip;
}

/* False: no policy is about it. */
static bool read_pod(struct world_pod *ret, const char *namespace, const CoreV1__Pod *in)
{
	const CoreV1__PodStatus *status = in->status;

	if (in->spec == NULL || in->metadata == NULL || status == NULL || in->spec->hostnetwork ||
	    text_is(status->phase, "Succeeded") || text_is(status->phase, "Failed"))
		return false;
	add_ip(ret, status->podip);
	for (size_t i = 0; i < status->n_podips; i++)
		add_ip(ret, status->podips[i]->ip);
	if (ret->n_ips == 0)
		return false;
	arena_init(&ret->arena, 0);
	ret->namespace = arena_strdup(&ret->arena, namespace);
	ret->host = arena_strdup(&ret->arena, text_of(in->spec->nodename));
	ret->labels = copy_labels(&ret->arena, in->metadata);
	ret->n_labels = in->metadata->n_labels;
	read_ports(ret, in->spec);
	return true;
}

static bool same_pod(const struct world_pod *a, const struct world_pod *b)
{
	if (a->n_ips != b->n_ips || a->n_ports != b->n_ports || strcmp(a->host, b->host) != 0 ||
	    !same_labels(a->labels, a->n_labels, b->labels, b->n_labels))
		return false;
	for (size_t i = 0; i < a->n_ips; i++)
		if (!ip_equal(&a->ips[i], &b->ips[i]))
			return false;
	return true; /* Ports of a pod do not change. */
}

int apply_pod(struct world *w, const char *namespace, const char *name, const struct bytes *packed,
	      struct arena *arena, struct status *st)
{
	autofree char *key = xasprintf("%s/%s", namespace, name);
	struct world_pod *p = tree_entry(tree_find(&w->pods, key), struct world_pod, node);
	struct world_pod read = { 0 };
	CoreV1__Pod *in = NULL;
	int rc = packed != NULL ? unpack_message(&core_v1__pod__descriptor, *packed, arena, &in, st)
				: 0;

	if (p != NULL)
		p->seen = w->generation;
	if (rc < 0)
		return rc;
	if (in == NULL || !read_pod(&read, namespace, in)) {
		if (p != NULL)
			pod_free(w, p);
		return 0;
	}
	if (p != NULL && same_pod(p, &read)) {
		arena_fini(&read.arena);
		return 0;
	}
	if (p != NULL)
		pod_free(w, p);
	p = xcalloc(1, sizeof(*p));
	*p = read;
	p->key = steal_ptr(&key);
	p->seen = w->generation;
	tree_insert(&w->pods, p->key, &p->node);
	mark_pod(w, p);
	return 0;
}

/* --- Namespaces ----------------------------------------------------------------------------- */

static void namespace_free(struct world *w, struct world_namespace *n)
{
	w->policies_dirty = true;
	tree_remove(&w->namespaces, &n->node);
	arena_fini(&n->arena);
	free(n->name);
	free(n);
}

int apply_namespace(struct world *w, const char *name, const struct bytes *packed,
		    struct arena *arena, struct status *st)
{
	struct world_namespace *n =
		tree_entry(tree_find(&w->namespaces, name), struct world_namespace, node);
	CoreV1__Namespace *in = NULL;
	int rc = packed != NULL
			 ? unpack_message(&core_v1__namespace__descriptor, *packed, arena, &in, st)
			 : 0;

	if (n != NULL)
		n->seen = w->generation;
	if (rc < 0)
		return rc;
	if (n != NULL)
		namespace_free(w, n);
	if (in == NULL || in->metadata == NULL)
		return 0;
	n = xcalloc(1, sizeof(*n));
	arena_init(&n->arena, 0);
	n->name = xstrdup(name);
	n->labels = copy_labels(&n->arena, in->metadata);
	n->n_labels = in->metadata->n_labels;
	n->seen = w->generation;
	tree_insert(&w->namespaces, n->name, &n->node);
	w->policies_dirty = true;
	return 0;
}

/* --- Policies ----------------------------------------------------------------------------------
 */

static void policy_free(struct world *w, struct world_policy *p)
{
	w->policies_dirty = true;
	tree_remove(&w->policies, &p->node);
	arena_fini(&p->arena);
	free(p->key);
	free(p);
}

int apply_policy(struct world *w, const char *namespace, const char *name,
		 const struct bytes *packed, struct status *st)
{
	autofree char *key = xasprintf("%s/%s", namespace, name);
	struct world_policy *p =
		tree_entry(tree_find(&w->policies, key), struct world_policy, node);
	struct arena arena = { 0 };
	NetworkingV1__NetworkPolicy *in = NULL;
	int rc = 0;

	if (packed != NULL) {
		arena_init(&arena, POLICY_BUDGET_BYTES);
		rc = unpack_message(&networking_v1__network_policy__descriptor, *packed, &arena,
				    &in, st);
	}
	if (p != NULL)
		p->seen = w->generation;
	if (rc < 0 || in == NULL || in->spec == NULL) {
		arena_fini(&arena);
		if (rc == 0 && p != NULL)
			policy_free(w, p);
		return rc;
	}
	if (p != NULL)
		policy_free(w, p);
	p = xcalloc(1, sizeof(*p));
	p->arena = arena;
	p->key = steal_ptr(&key);
	p->namespace = arena_strdup(&p->arena, namespace);
	p->spec = in->spec;
	p->seen = w->generation;
	tree_insert(&w->policies, p->key, &p->node);
	w->policies_dirty = true;
	return 0;
}

/* --- All of it -----------------------------------------------------------------------------------
 */

void policies_full_end(struct world *w)
{
	tree_for_each (p, &w->pods, struct world_pod, node) {
		if (p->seen != w->generation)
			pod_free(w, p);
	}
	tree_for_each (n, &w->namespaces, struct world_namespace, node) {
		if (n->seen != w->generation)
			namespace_free(w, n);
	}
	tree_for_each (p, &w->policies, struct world_policy, node) {
		if (p->seen != w->generation)
			policy_free(w, p);
	}
	w->policies_dirty |= !w->synced || w->pods_synced != w->with_pods;
	w->pods_synced = w->with_pods;
}

void policies_fini(struct world *w)
{
	w->generation++;
	policies_full_end(w);
}
