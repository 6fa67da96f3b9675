#include "proxy/services/plan.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"

struct backends {
	uint64_t *items; /* Packed endpoints, sorted. */
	size_t n, cap;
};

static void backends_fini(struct backends *b)
{
	free(b->items);
}

/* --- Which endpoints -------------------------------------------------------- */

enum choice { CHOICE_READY, CHOICE_TERMINATING };

/* Which hints count. */
enum nearness { NEAR_ANY, NEAR_NODE, NEAR_ZONE };

static bool is_listed(const char *list, const char *name)
{
	size_t n = name != NULL ? strlen(name) : 0;

	for (const char *at = list; n > 0 && at != NULL && (at = strstr(at, name)) != NULL; at += n)
		if (at[-1] == ' ' && at[n] == ' ')
			return true;
	return false;
}

static bool is_near(const struct endpoint *e, const struct plan_context *ctx, enum nearness near)
{
	if (near == NEAR_NODE)
		return is_listed(e->nodes, ctx->node);
	return near == NEAR_ANY || is_listed(e->zones, ctx->zone);
}

/* Hints for our node, if a ready endpoint has one; else those for our zone, if every ready one has
 * hints and any is for it. */
static enum nearness nearness_of(const struct service *service, const struct plan_context *ctx)
{
	bool all_have_zones = true, zone = false;

	list_for_each (slice, &service->slices, struct slice, of_service) {
		for (size_t i = 0; i < slice->n_endpoints; i++) {
			const struct endpoint *e = &slice->endpoints[i];

			if (!e->ready)
				continue;
			if (is_listed(e->nodes, ctx->node))
				return NEAR_NODE;
			all_have_zones &= e->zones != NULL;
			zone |= is_listed(e->zones, ctx->zone);
		}
	}
	return all_have_zones && zone ? NEAR_ZONE : NEAR_ANY;
}

static bool fits(const struct endpoint *e, const char *only_node, enum choice choice)
{
	if (e->ip.len != 4 || (only_node != NULL && strcmp(e->node, only_node) != 0))
		return false;
	return choice == CHOICE_READY ? e->ready : e->serving && e->terminating;
}

static const struct slice_port *find_port(const struct slice *slice,
					  const struct service_port *want)
{
	for (size_t i = 0; i < slice->n_ports; i++) {
		const struct slice_port *p = &slice->ports[i];

		if (p->protocol == want->protocol && strcmp(p->name, want->name) == 0)
			return p;
	}
	return NULL;
}

static void gather(const struct service *service, const struct service_port *port,
		   const struct plan_context *ctx, bool only_here, enum choice choice,
		   struct backends *out)
{
	const char *only_node = only_here ? ctx->node : NULL;
	enum nearness near = NEAR_ANY;

	if (!only_here && choice == CHOICE_READY)
		near = nearness_of(service, ctx);
	list_for_each (slice, &service->slices, struct slice, of_service) {
		const struct slice_port *p = find_port(slice, port);

		for (size_t i = 0; p != NULL && i < slice->n_endpoints; i++) {
			const struct endpoint *e = &slice->endpoints[i];

			if (!fits(e, only_node, choice) || !is_near(e, ctx, near))
				continue;
			array_grow(out->items, out->n, out->cap);
			out->items[out->n++] = value_of_endpoint(e->ip.bytes, htons(p->port));
		}
	}
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Ready ones; where there are none, those that end but still serve. */
static void choose(const struct service *service, const struct service_port *port,
		   const struct plan_context *ctx, bool only_here, struct backends *out)
{
	size_t kept = 0;

	gather(service, port, ctx, only_here, CHOICE_READY, out);
	if (out->n == 0)
		gather(service, port, ctx, only_here, CHOICE_TERMINATING, out);
	if (out->n == 0)
		return;
	qsort(out->items, out->n, sizeof(*out->items), compare_u64);
	for (size_t i = 0; i < out->n; i++) {
		if (kept == 0 || out->items[kept - 1] != out->items[i])
			out->items[kept++] = out->items[i];
	}
	out->n = kept < BACKENDS_MAX ? kept : BACKENDS_MAX;
}

/* --- Their order ------------------------------------------------------------ */

static struct element indexed(const struct element *frontend, uint32_t index)
{
	struct element e = *frontend;

	e.set = frontend->set == SET_SVC ? SET_EPS : SET_NEPS;
	memcpy(e.key + set_key_bytes(frontend->set), &index, sizeof(index));
	return e;
}

/* out[i] is set where the endpoint of index i stays; *taken tells which of want those are. */
static void keep_places(const struct element *frontend, const struct backends *want,
			const struct plan_context *ctx, uint64_t *out, bool *placed, bool *taken)
{
	for (uint32_t i = 0; i < want->n; i++) {
		struct element e = indexed(frontend, i);
		uint64_t value, *found;

		if (!ctx->lookup(ctx->arg, &e, &value))
			continue;
		found = bsearch(&value, want->items, want->n, sizeof(value), compare_u64);
		if (found == NULL || taken[found - want->items])
			continue;
		taken[found - want->items] = true;
		placed[i] = true;
		out[i] = value;
	}
}

static void put_backends(const struct element *frontend, const struct backends *want,
			 const struct plan_context *ctx, struct elements *out)
{
	autofree uint64_t *ordered = xcalloc(want->n + 1, sizeof(*ordered));
	autofree bool *placed = xcalloc(want->n + 1, sizeof(*placed));
	autofree bool *taken = xcalloc(want->n + 1, sizeof(*taken));
	size_t next = 0;

	keep_places(frontend, want, ctx, ordered, placed, taken);
	for (uint32_t i = 0; i < want->n; i++) {
		struct element e = indexed(frontend, i);

		if (!placed[i]) {
			while (taken[next])
				next++;
			ordered[i] = want->items[next++];
		}
		e.value = ordered[i];
		elements_add(out, &e);
	}
}

/* --- Frontends -------------------------------------------------------------- */

static void put_frontend(struct element frontend, const struct backends *b, struct chain chain,
			 enum chain_kind without_endpoints, const struct plan_context *ctx,
			 struct elements *out)
{
	chain.n = (unsigned)b->n;
	frontend.value =
		value_of_chain(b->n > 0 ? chain : (struct chain){ .kind = without_endpoints });
	elements_add(out, &frontend);
	put_backends(&frontend, b, ctx, out);
}

static void put_cluster_ips(const struct service *s, const struct service_port *port,
			    const struct backends *all, const struct backends *local,
			    const struct plan_context *ctx, struct elements *out)
{
	struct chain chain = { .kind = CHAIN_EPS };

	if (s->affinity_s > 0)
		chain = (struct chain){ .kind = CHAIN_EPS_STICKY, .sticky_s = s->affinity_s };
	for (size_t i = 0; i < s->n_cluster_ips; i++) {
		const struct ip *ip = &s->cluster_ips[i];

		if (ip->len != 4 || (port->port == 53 && ip_equal(ip, &ctx->dns)))
			continue;
		bool drop = s->local_internal && all->n > 0;

		put_frontend(element_svc(ip->bytes, port->protocol, port->port, -1),
			     s->local_internal ? local : all, chain,
			     drop ? CHAIN_DROP : CHAIN_REJECT, ctx, out);
	}
}

static void put_external(const struct service *s, const struct service_port *port,
			 const struct backends *all, const struct backends *local,
			 const struct plan_context *ctx, struct elements *out)
{
	const struct backends *b = s->local_external ? local : all;
	enum chain_kind none = s->local_external && all->n > 0 ? CHAIN_DROP : CHAIN_REJECT;

	for (size_t i = 0; i < s->n_external_ips; i++) {
		const struct ip *ip = &s->external_ips[i];
		struct chain chain = { .kind = s->local_external ? CHAIN_EPS : CHAIN_EPS_MASQ };

		if (ip->len == 4)
			put_frontend(element_svc(ip->bytes, port->protocol, port->port, -1), b,
				     chain, none, ctx, out);
	}
	if (port->node_port != 0) {
		struct chain chain = { .kind = s->local_external ? CHAIN_NEPS : CHAIN_NEPS_MASQ };

		put_frontend(element_np(port->protocol, port->node_port, -1), b, chain, none, ctx,
			     out);
	}
}

/* A pod that calls its own Service and meets itself needs another source address. */
static void put_hairpins(const struct service *s, const struct plan_context *ctx,
			 struct elements *out)
{
	list_for_each (slice, &s->slices, struct slice, of_service) {
		for (size_t i = 0; i < slice->n_endpoints; i++) {
			const struct endpoint *e = &slice->endpoints[i];

			if (e->ip.len != 4 || strcmp(e->node, ctx->node) != 0)
				continue;
			struct element hairpin = element_hairpin(e->ip.bytes);

			elements_add(out, &hairpin);
		}
	}
}

void plan_service(const struct service *s, const struct plan_context *ctx, struct elements *out)
{
	if (!s->exists || s->headless || s->external_name != NULL)
		return;
	for (size_t i = 0; i < s->n_ports; i++) {
		auto_with(backends_fini) struct backends all = { 0 };
		auto_with(backends_fini) struct backends local = { 0 };

		choose(s, &s->ports[i], ctx, false, &all);
		choose(s, &s->ports[i], ctx, true, &local);
		put_cluster_ips(s, &s->ports[i], &all, &local, ctx, out);
		put_external(s, &s->ports[i], &all, &local, ctx, out);
	}
	put_hairpins(s, ctx, out);
	elements_sort(out);
}

void plan_redirect(const uint8_t address[4], const uint8_t to[4], uint8_t protocol, uint16_t port,
		   struct elements *out)
{
	struct element frontend = element_svc(address, protocol, port, -1);
	struct element backend = element_svc(address, protocol, port, 0);

	frontend.value = value_of_chain((struct chain){ .kind = CHAIN_EPS, .n = 1 });
	backend.value = value_of_endpoint(to, htons(port));
	elements_add(out, &frontend);
	elements_add(out, &backend);
	elements_sort(out);
}

static void put_host_port(const struct world_pod *pod, const struct pod_port *port,
			  struct elements *out)
{
	bool everywhere = port->host_ip.len == 0;
	struct element frontend =
		everywhere ? element_np(port->protocol, port->host_port, -1)
			   : element_svc(port->host_ip.bytes, port->protocol, port->host_port, -1);
	struct element backend = indexed(&frontend, 0);
	struct element hairpin = element_hairpin(pod->ips[0].bytes);

	frontend.value = value_of_chain(
		(struct chain){ .kind = everywhere ? CHAIN_NEPS : CHAIN_EPS, .n = 1 });
	backend.value = value_of_endpoint(pod->ips[0].bytes, htons(port->port));
	elements_add(out, &frontend);
	elements_add(out, &backend);
	elements_add(out, &hairpin);
}

void plan_host_ports(const struct world *w, const struct plan_context *ctx, struct elements *out)
{
	tree_for_each (pod, &w->pods, struct world_pod, node) {
		if (strcmp(pod->host, ctx->node) != 0 || pod->ips[0].len != 4)
			continue;
		for (size_t i = 0; i < pod->n_ports; i++)
			if (pod->ports[i].host_port != 0 && pod->ports[i].host_ip.len != 16)
				put_host_port(pod, &pod->ports[i], out);
	}
	elements_sort(out);
}
