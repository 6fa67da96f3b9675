#include "proxy/services/services.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "proxy/services/conntrack.h"
#include "proxy/services/plan.h"

struct services {
	struct world *world;
	char *node, *zone;
	struct ip dns; /* Redirected; len 0: none. */
	struct nft_skeleton skeleton;
	struct netlink netlink;
	struct rules *rules;
	struct map chains; /* Names of the chains in the kernel. */
	struct rules_part redirects, host_ports;
	bool rebuild; /* The table is missing, foreign or in doubt. */
};

bool cidr_parse(const char *text, uint32_t *ret_base, uint32_t *ret_mask)
{
	char address[INET_ADDRSTRLEN];
	struct in_addr in;
	unsigned bits;
	int end = 0;

	if (text == NULL || sscanf(text, "%15[0-9.]/%2u%n", address, &bits, &end) != 2 ||
	    text[end] != '\0' || bits < 1 || bits > 32 || inet_pton(AF_INET, address, &in) != 1)
		return false;
	*ret_mask = UINT32_MAX << (32 - bits);
	*ret_base = ntohl(in.s_addr) & *ret_mask;
	return true;
}

static bool lookup(void *arg, const struct element *key, uint64_t *ret_value)
{
	return rules_lookup(((struct services *)arg)->rules, key, ret_value);
}

static void on_service_gone(void *arg, struct service *service)
{
	struct services *s = arg;
	struct rules_part *part = service->plan;
	struct elements none = { 0 };

	if (part == NULL)
		return;
	rules_set(s->rules, part, &none);
	elements_fini(&part->have);
	free(part);
	service->plan = NULL;
}

/* --- What the kernel holds -------------------------------------------------- */

static void on_chain(void *arg, struct chain chain)
{
	struct services *s = arg;
	char name[32];

	chain_print(chain, name);
	map_put(&s->chains, name, s);
}

static void on_element(void *arg, const struct element *e)
{
	rules_adopt(((struct services *)arg)->rules, e);
}

static int adopt(struct services *s)
{
	int rc = nft_read_chains(&s->netlink, on_chain, s);

	for (enum nft_set set = 0; set < SETS_N && rc == 0; set++)
		rc = nft_read_elements(&s->netlink, set, on_element, s);
	return rc;
}

static int find_table(struct services *s, struct status *st)
{
	int rc = nft_probe(&s->netlink, &s->skeleton);

	if (rc < 0 && rc != -ENOENT)
		return status_set(st, rc == -EPERM ? rc : -ENOTSUP,
				  "cannot use nf_tables of this kernel: %s", strerror(-rc));
	if (rc == 1 && adopt(s) == 0) {
		log_info("adopted the table of an earlier run", "chains=%zu", s->chains.count);
		return 0;
	}
	rules_forget_kernel(s->rules);
	s->rebuild = true;
	return 0;
}

static void plan_redirects(struct services *s, const struct services_config *config)
{
	struct elements want = { 0 };
	struct ip from, to;

	if (ip_parse(config->dns_address, &from) && ip_parse(config->dns_listen, &to) &&
	    from.len == 4 && to.len == 4) {
		s->dns = from;
		plan_redirect(from.bytes, to.bytes, PROTOCOL_UDP, 53, &want);
		plan_redirect(from.bytes, to.bytes, PROTOCOL_TCP, 53, &want);
	}
	rules_set(s->rules, &s->redirects, &want);
}

int services_create(const struct services_config *config, struct world *world,
		    struct services **ret, struct status *st)
{
	struct services *s = xcalloc(1, sizeof(*s));
	int rc;

	s->world = world;
	s->node = xstrdup(config->node);
	s->rules = rules_create();
	cidr_parse(config->pod_cidr, &s->skeleton.pod_base, &s->skeleton.pod_mask);
	cidr_parse(config->service_cidr, &s->skeleton.service_base, &s->skeleton.service_mask);
	world->on_gone = on_service_gone;
	world->on_gone_arg = s;
	rc = netlink_open(&s->netlink, NETLINK_NETFILTER);
	if (rc < 0)
		status_set(st, -ENOTSUP, "the kernel has no netfilter netlink: %s", strerror(-rc));
	else
		rc = find_table(s, st);
	if (rc < 0) {
		services_destroy(s);
		return rc;
	}
	plan_redirects(s, config);
	*ret = s;
	return 0;
}

void services_destroy(struct services *s)
{
	if (s == NULL)
		return;
	tree_for_each (service, &s->world->services, struct service, node)
		on_service_gone(s, service);
	s->world->on_gone = NULL;
	elements_fini(&s->redirects.have);
	elements_fini(&s->host_ports.have);
	netlink_close(&s->netlink);
	rules_destroy(s->rules);
	map_fini(&s->chains);
	free(s->node);
	free(s->zone);
	free(s);
}

/* --- Planning --------------------------------------------------------------- */

static void plan(struct services *s, struct service *service)
{
	struct plan_context ctx = { s->node, s->zone, s->dns, lookup, s };
	struct rules_part *part = service->plan;
	struct elements want = { 0 };

	if (part == NULL)
		service->plan = part = xcalloc(1, sizeof(*part));
	unsigned before = part->n_conflicts;

	plan_service(service, &ctx, &want);
	rules_set(s->rules, part, &want);
	if (part->n_conflicts > before)
		log_warn("another Service has some of the addresses and ports of this one",
			 "service=%s conflicts=%u", log_quote(service->key), part->n_conflicts);
}

/* Another zone of our own changes what is near. */
static void follow_zone(struct services *s)
{
	const struct node *n = tree_entry(tree_find(&s->world->nodes, s->node), struct node, node);
	const char *zone = n != NULL ? n->zone : "";

	if (s->zone != NULL && strcmp(s->zone, zone) == 0)
		return;
	free(s->zone);
	s->zone = xstrdup(zone);
	world_mark_all(s->world);
}

static void follow_host_ports(struct services *s)
{
	struct plan_context ctx = { s->node, s->zone, s->dns, lookup, s };
	struct elements want = { 0 };

	if (!s->world->host_ports_dirty)
		return;
	s->world->host_ports_dirty = false;
	plan_host_ports(s->world, &ctx, &want);
	rules_set(s->rules, &s->host_ports, &want);
}

static void plan_dirty(struct services *s)
{
	struct service *service;

	follow_zone(s);
	follow_host_ports(s);

	while ((service = world_next_dirty(s->world)) != NULL)
		plan(s, service);
	if (!rules_freed(s->rules))
		return;
	tree_for_each (other, &s->world->services, struct service, node) {
		const struct rules_part *part = other->plan;

		if (part != NULL && part->n_conflicts > 0)
			plan(s, other);
	}
}

/* --- Writing ---------------------------------------------------------------- */

static void put_new_chains(struct services *s, const struct rules_change *changes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct chain chain = chain_of_value(changes[i].element.value);
		char name[32];

		if (!changes[i].add || !set_leads_to_chains(changes[i].element.set) ||
		    chain.kind == CHAIN_REJECT || chain.kind == CHAIN_DROP)
			continue;
		chain_print(chain, name);
		if (map_put(&s->chains, name, s) == NULL)
			nft_put_chain(&s->netlink, chain);
	}
}

static int write_changes(struct services *s)
{
	autofree struct rules_change *changes = NULL;
	size_t n = rules_changes(s->rules, &changes);

	if (n == 0 && !s->rebuild) {
		rules_committed(s->rules);
		return 0;
	}
	nft_begin(&s->netlink);
	if (s->rebuild) {
		nft_put_delete(&s->netlink);
		nft_put_skeleton(&s->netlink, &s->skeleton);
	}
	put_new_chains(s, changes, n);
	nft_put_changes(&s->netlink, changes, n);
	int rc = nft_commit(&s->netlink);

	if (rc < 0)
		return rc;
	s->rebuild = false;
	rules_committed(s->rules);
	conntrack_forget_stale(&s->netlink, s->rules, changes, n);
	log_debug("wrote Services", "changes=%zu elements=%zu", n, rules_count(s->rules));
	return 0;
}

int services_sync(struct services *s, struct status *st)
{
	int rc;

	if (!s->world->synced)
		return 0;
	plan_dirty(s);
	rc = write_changes(s);
	if (rc == 0)
		return 0;
	/* Somebody else changed the table, or we are wrong about it: begin anew. */
	log_warn("the kernel refused a change of Services, writing all of them", "error=%s",
		 log_quote(strerror(-rc)));
	map_fini(&s->chains);
	rules_forget_kernel(s->rules);
	s->rebuild = true;
	rc = write_changes(s);
	if (rc < 0) {
		map_fini(&s->chains);
		return status_set(st, rc, "cannot write the table of Services: %s", strerror(-rc));
	}
	return 0;
}

static void on_wanted(void *arg, const struct element *e)
{
	elements_add(arg, e);
}

void services_dump(const struct services *s, struct buf *to)
{
	auto_with(elements_fini) struct elements all = { 0 };

	rules_visit(s->rules, on_wanted, &all);
	elements_sort(&all);
	for (size_t i = 0; i < all.n; i++) {
		element_print(to, &all.items[i]);
		buf_put_byte(to, '\n');
	}
}

int services_check(struct services *s)
{
	int rc = nft_probe(&s->netlink, &s->skeleton);

	if (rc == 1 || !s->world->synced || s->rebuild)
		return 0;
	log_warn("somebody took our table away", "");
	map_fini(&s->chains);
	rules_forget_kernel(s->rules);
	s->rebuild = true;
	return services_sync(s, NULL);
}
