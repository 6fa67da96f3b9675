#include "proxy/policies/plan.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/labels.h"
#include "common/api/make.h"
#include "common/base/alloc.h"
#include "common/base/cidr.h"
#include "common/base/cleanup.h"
#include "proto/k8s/networking_v1.pb-c.h"

/* --- Sets ------------------------------------------------------------------------------- */

static struct policy_set *find_set(const struct policy_plan *p, const char *name)
{
	for (size_t i = 0; i < p->n_sets; i++)
		if (strcmp(p->sets[i].name, name) == 0)
			return &p->sets[i];
	return NULL;
}

static size_t add_set(struct policy_plan *p, const char *name, const char *type, bool verdicts)
{
	if (p->n_sets == p->cap_sets) {
		p->cap_sets = p->cap_sets ? 2 * p->cap_sets : 16;
		p->sets = xreallocarray(p->sets, p->cap_sets, sizeof(*p->sets));
	}
	p->sets[p->n_sets] = (struct policy_set){
		.name = xstrdup(name),
		.type = type,
		.verdicts = verdicts,
	};
	return p->n_sets++;
}

static void add_element(struct policy_set *s, char *element)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 16;
		s->elements = xreallocarray(s->elements, s->cap, sizeof(*s->elements));
	}
	s->elements[s->n++] = element;
}

static int compare_elements(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_elements(struct policy_set *s)
{
	size_t kept = 0;

	if (s->n > 1)
		qsort(s->elements, s->n, sizeof(*s->elements), compare_elements);
	for (size_t i = 0; i < s->n; i++) {
		if (kept > 0 && strcmp(s->elements[kept - 1], s->elements[i]) == 0)
			free(s->elements[i]);
		else
			s->elements[kept++] = s->elements[i];
	}
	s->n = kept;
}

static int compare_sets(const void *a, const void *b)
{
	return strcmp(((const struct policy_set *)a)->name, ((const struct policy_set *)b)->name);
}

/* --- Whom selectors mean ------------------------------------------------------------------- */

struct planner {
	struct policy_plan *plan;
	const struct world *w;
	struct arena arena;
	struct map chains; /* Text of its making -> name. */
};

struct choice {
	struct label_selector pods, namespaces;
	const char *namespace; /* NULL: those that namespaces selects. */
};

/* What cannot be read selects nothing. */
static void read_selector(struct planner *p, const MetaV1__LabelSelector *in,
			  struct label_selector *ret)
{
	if (label_selector_of(in, &p->arena, ret, NULL) < 0)
		*ret = (struct label_selector){ .nothing = true };
}

static bool chooses(const struct planner *p, const struct choice *c, const struct world_pod *pod)
{
	const struct world_namespace *n;

	if (c->namespace != NULL) {
		if (strcmp(c->namespace, pod->namespace) != 0)
			return false;
	} else {
		n = tree_entry(tree_find(&p->w->namespaces, pod->namespace), struct world_namespace,
			       node);
		if (n == NULL ||
		    !label_selector_matches_map(&c->namespaces, n->labels, n->n_labels))
			return false;
	}
	return label_selector_matches_map(&c->pods, pod->labels, pod->n_labels);
}

static struct choice choice_of(struct planner *p, const struct world_policy *policy,
			       const NetworkingV1__NetworkPolicyPeer *peer)
{
	struct choice c = { .namespace = policy->namespace };

	if (peer->podselector != NULL)
		read_selector(p, peer->podselector, &c.pods);
	if (peer->namespaceselector != NULL) {
		c.namespace = NULL;
		read_selector(p, peer->namespaceselector, &c.namespaces);
	}
	return c;
}

static const char *choice_text(struct planner *p, const struct choice *c)
{
	return arena_printf(&p->arena, "%s|%d%s|%d%s", c->namespace ? c->namespace : "*",
			    c->namespaces.nothing, label_selector_print(&c->namespaces, &p->arena),
			    c->pods.nothing, label_selector_print(&c->pods, &p->arena));
}

static bool is_v6(const struct ip *ip)
{
	return ip->len == 16;
}

static char *print_ip(const struct ip *ip)
{
	char text[INET6_ADDRSTRLEN];

	return xstrdup(ip_print(ip, text, sizeof(text)));
}

/* "peers_<hash>_4" or "_6", made when it is asked for first. */
static const char *peer_set(struct planner *p, const struct choice *c, bool v6)
{
	const char *text = choice_text(p, c);
	const char *name =
		arena_printf(&p->arena, "peers_%016llx_%d",
			     (unsigned long long)hash_bytes(text, strlen(text)), v6 ? 6 : 4);
	struct policy_set *s;

	if (find_set(p->plan, name) != NULL)
		return name;
	s = &p->plan->sets[add_set(p->plan, name, v6 ? "ipv6_addr" : "ipv4_addr", false)];
	tree_for_each (pod, &p->w->pods, struct world_pod, node) {
		if (!chooses(p, c, pod))
			continue;
		for (size_t i = 0; i < pod->n_ips; i++)
			if (is_v6(&pod->ips[i]) == v6)
				add_element(s, print_ip(&pod->ips[i]));
	}
	return name;
}

/* A port by name is another number at each pod: pairs of address and port. */
static const char *named_port_set(struct planner *p, const struct choice *c, const char *port,
				  uint8_t protocol, bool v6)
{
	const char *text = arena_printf(&p->arena, "%s|%s/%u", choice_text(p, c), port, protocol);
	const char *name =
		arena_printf(&p->arena, "ports_%016llx_%d",
			     (unsigned long long)hash_bytes(text, strlen(text)), v6 ? 6 : 4);
	struct policy_set *s;

	if (find_set(p->plan, name) != NULL)
		return name;
	s = &p->plan->sets[add_set(p->plan, name,
				   v6 ? "ipv6_addr . inet_service" : "ipv4_addr . inet_service",
				   false)];
	tree_for_each (pod, &p->w->pods, struct world_pod, node) {
		if (!chooses(p, c, pod))
			continue;
		for (size_t i = 0; i < pod->n_ips; i++)
			for (size_t k = 0; k < pod->n_ports; k++) {
				autofree char *ip = print_ip(&pod->ips[i]);

				if (is_v6(&pod->ips[i]) == v6 &&
				    pod->ports[k].protocol == protocol &&
				    strcmp(pod->ports[k].name, port) == 0)
					add_element(s,
						    xasprintf("%s . %u", ip, pod->ports[k].port));
			}
	}
	return name;
}

/* --- Rules ------------------------------------------------------------------------------------ */

struct direction {
	bool ingress;
	const struct world_pod *pod; /* Whose ports have names, for ingress. */
};

static const char *protocol_name(const char *protocol)
{
	if (text_is(protocol, "UDP"))
		return "udp";
	return text_is(protocol, "SCTP") ? "sctp" : "tcp";
}

static uint8_t protocol_number(const char *protocol)
{
	if (text_is(protocol, "UDP"))
		return PROTOCOL_UDP;
	return text_is(protocol, "SCTP") ? PROTOCOL_SCTP : PROTOCOL_TCP;
}

/* Of a pod that is reached by the name of its port; NULL: it has none of that name. */
static const struct pod_port *named_port(const struct world_pod *pod, const char *name,
					 uint8_t protocol)
{
	for (size_t i = 0; i < pod->n_ports; i++)
		if (pod->ports[i].protocol == protocol && strcmp(pod->ports[i].name, name) == 0)
			return &pod->ports[i];
	return NULL;
}

/* What a rule asks of a packet's port. NULL: nothing passes. */
static const char *port_match(struct planner *p, const struct direction *d,
			      const NetworkingV1__NetworkPolicyPort *port)
{
	const char *protocol = protocol_name(port->protocol);
	const struct pod_port *named;

	if (port->port == NULL)
		return arena_printf(&p->arena, "meta l4proto %s", protocol);
	if (port->port->type != 0) {
		named = named_port(d->pod, text_of(port->port->strval),
				   protocol_number(port->protocol));
		return named != NULL ? arena_printf(&p->arena, "%s dport %u", protocol, named->port)
				     : NULL;
	}
	if (port->has_endport)
		return arena_printf(&p->arena, "%s dport %u-%u", protocol,
				    (uint16_t)port->port->intval, (uint16_t)port->endport);
	return arena_printf(&p->arena, "%s dport %u", protocol, (uint16_t)port->port->intval);
}

static void put_rule(struct buf *to, const char *peer, const char *port)
{
	buf_printf(to, "\t\t%s%s%s%sreturn\n", peer, peer[0] ? " " : "", port, port[0] ? " " : "");
}

/* Egress to a port by name, which every peer has its own number for. */
static void put_named_egress(struct planner *p, struct buf *to, const struct choice *c,
			     const NetworkingV1__NetworkPolicyPort *port)
{
	for (int v6 = 0; v6 < 2; v6++)
		buf_printf(to, "\t\t%s daddr . %s dport @%s return\n", v6 ? "ip6" : "ip",
			   protocol_name(port->protocol),
			   named_port_set(p, c, text_of(port->port->strval),
					  protocol_number(port->protocol), v6));
}

struct ports {
	NetworkingV1__NetworkPolicyPort *const *items;
	size_t n;
};

/* c: NULL for peers that are no pods. */
static void put_peer(struct planner *p, struct buf *to, const struct direction *d, const char *peer,
		     const struct choice *c, bool first_family, const struct ports *ports)
{
	if (ports->n == 0)
		put_rule(to, peer, "");
	for (size_t i = 0; i < ports->n; i++) {
		const NetworkingV1__NetworkPolicyPort *port = ports->items[i];
		const char *match;

		if (!d->ingress && port->port != NULL && port->port->type != 0) {
			if (c != NULL && first_family)
				put_named_egress(p, to, c, port);
			continue;
		}
		match = port_match(p, d, port);
		if (match != NULL)
			put_rule(to, peer, match);
	}
}

/* A range without its exceptions; "" for what is no range. */
static const char *block_match(struct planner *p, const struct direction *d,
			       const NetworkingV1__IPBlock *b)
{
	auto_with(buf_fini) struct buf text = { 0 };
	struct cidr outer, inner;

	if (!cidr_read(b->cidr, &outer))
		return "";

	const char *field = arena_printf(&p->arena, "%s %s", outer.v6 ? "ip6" : "ip",
					 d->ingress ? "saddr" : "daddr");

	buf_printf(&text, "%s %s", field, b->cidr);
	for (size_t i = 0; i < b->n_except; i++)
		if (cidr_read(b->except[i], &inner) && inner.v6 == outer.v6)
			buf_printf(&text, " %s != %s", field, b->except[i]);
	return arena_strdup(&p->arena, buf_cstr(&text));
}

static void put_peers(struct planner *p, struct buf *to, const struct direction *d,
		      const struct world_policy *policy,
		      NetworkingV1__NetworkPolicyPeer *const *peers, size_t n_peers,
		      const struct ports *ports)
{
	struct choice everybody = { .namespace = NULL };

	if (n_peers == 0)
		put_peer(p, to, d, "", &everybody, true, ports);
	for (size_t i = 0; i < n_peers; i++) {
		if (peers[i]->ipblock != NULL) {
			const char *match = block_match(p, d, peers[i]->ipblock);

			if (match[0] != '\0')
				put_peer(p, to, d, match, NULL, true, ports);
			continue;
		}

		struct choice c = choice_of(p, policy, peers[i]);

		for (int v6 = 0; v6 < 2; v6++)
			put_peer(p, to, d,
				 arena_printf(&p->arena, "%s %s @%s", v6 ? "ip6" : "ip",
					      d->ingress ? "saddr" : "daddr", peer_set(p, &c, v6)),
				 &c, v6 == 0, ports);
	}
}

static bool is_about(const NetworkingV1__NetworkPolicySpec *spec, const char *type)
{
	for (size_t i = 0; i < spec->n_policytypes; i++)
		if (text_is(spec->policytypes[i], type))
			return true;
	return spec->n_policytypes == 0 && strcmp(type, "Ingress") == 0;
}

static void put_policy(struct planner *p, struct buf *to, const struct direction *d,
		       const struct world_policy *policy)
{
	const NetworkingV1__NetworkPolicySpec *spec = policy->spec;

	for (size_t i = 0; d->ingress && i < spec->n_ingress; i++) {
		struct ports ports = { spec->ingress[i]->ports, spec->ingress[i]->n_ports };

		put_peers(p, to, d, policy, spec->ingress[i]->from, spec->ingress[i]->n_from,
			  &ports);
	}
	for (size_t i = 0; !d->ingress && i < spec->n_egress; i++) {
		struct ports ports = { spec->egress[i]->ports, spec->egress[i]->n_ports };

		put_peers(p, to, d, policy, spec->egress[i]->to, spec->egress[i]->n_to, &ports);
	}
}

/* --- Pods ---------------------------------------------------------------------------------------
 */

/* Equal rules are one chain, whoever they are for. NULL: no policy is about the pod. */
static const char *chain_of(struct planner *p, const struct direction *d)
{
	auto_with(buf_fini) struct buf rules = { 0 };
	bool isolated = false;
	const char *name;

	tree_for_each (policy, &p->w->policies, struct world_policy, node) {
		struct choice c = { .namespace = policy->namespace };

		if (!is_about(policy->spec, d->ingress ? "Ingress" : "Egress"))
			continue;
		if (policy->spec->podselector != NULL)
			read_selector(p, policy->spec->podselector, &c.pods);
		if (!chooses(p, &c, d->pod))
			continue;
		isolated = true;
		put_policy(p, &rules, d, policy);
	}
	if (!isolated)
		return NULL;

	const char *text =
		arena_printf(&p->arena, "%s:%s", d->ingress ? "in" : "out", buf_cstr(&rules));

	name = map_get(&p->chains, text);
	if (name != NULL)
		return name;
	name = arena_printf(&p->arena, "%s_%016llx", d->ingress ? "in" : "out",
			    (unsigned long long)hash_bytes(text, strlen(text)));
	map_put(&p->chains, text, (void *)name);
	buf_printf(&p->plan->chains, "\tchain %s {\n%s\t\tdrop\n\t}\n", name, buf_cstr(&rules));
	return name;
}

static void plan_pod(struct planner *p, const struct world_pod *pod)
{
	bool any = false;

	for (int ingress = 0; ingress < 2; ingress++) {
		struct direction d = { .ingress = ingress, .pod = pod };
		const char *chain = chain_of(p, &d);

		any |= chain != NULL;
		for (size_t i = 0; chain != NULL && i < pod->n_ips; i++) {
			autofree char *ip = print_ip(&pod->ips[i]);
			const char *map =
				arena_printf(&p->arena, "%s%d", ingress ? "ingress" : "egress",
					     is_v6(&pod->ips[i]) ? 6 : 4);

			add_element(find_set(p->plan, map), xasprintf("%s : jump %s", ip, chain));
		}
	}
	p->plan->n_pods += any;
}

void policy_plan_build(struct policy_plan *plan, const struct world *w, const char *node)
{
	struct planner p = { .plan = plan, .w = w };

	*plan = (struct policy_plan){ 0 };
	arena_init(&p.arena, 0);
	add_set(plan, "egress4", "ipv4_addr", true);
	add_set(plan, "egress6", "ipv6_addr", true);
	add_set(plan, "ingress4", "ipv4_addr", true);
	add_set(plan, "ingress6", "ipv6_addr", true);
	tree_for_each (pod, &w->pods, struct world_pod, node) {
		if (strcmp(pod->host, node) == 0)
			plan_pod(&p, pod);
	}
	for (size_t i = 0; i < plan->n_sets; i++)
		sort_elements(&plan->sets[i]);
	qsort(plan->sets, plan->n_sets, sizeof(*plan->sets), compare_sets);
	map_fini(&p.chains);
	arena_fini(&p.arena);
}

void policy_plan_fini(struct policy_plan *p)
{
	for (size_t i = 0; i < p->n_sets; i++) {
		for (size_t k = 0; k < p->sets[i].n; k++)
			free(p->sets[i].elements[k]);
		free(p->sets[i].elements);
		free(p->sets[i].name);
	}
	free(p->sets);
	buf_fini(&p->chains);
	*p = (struct policy_plan){ 0 };
}

/* --- Scripts
 * ---------------------------------------------------------------------------------------- */

static void put_elements(struct buf *to, char *const *elements, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_printf(to, "%s%s", i ? ", " : "", elements[i]);
}

static void put_set(struct buf *to, const struct policy_set *s)
{
	buf_printf(to, "\t%s %s {\n\t\ttype %s%s\n", s->verdicts ? "map" : "set", s->name, s->type,
		   s->verdicts ? " : verdict" : "");
	if (s->n > 0 && !s->verdicts) {
		buf_put_str(to, "\t\telements = { ");
		put_elements(to, s->elements, s->n);
		buf_put_str(to, " }\n");
	}
	buf_put_str(to, "\t}\n");
}

static void element_command(struct buf *to, const char *verb, const struct policy_set *s,
			    char *const *elements, size_t n)
{
	if (n == 0)
		return;
	buf_printf(to, "%s element inet sampan_policy %s { ", verb, s->name);
	put_elements(to, elements, n);
	buf_put_str(to, " }\n");
}

void policy_plan_print(const struct policy_plan *p, struct buf *to)
{
	buf_put_str(to, "table inet sampan_policy {\n}\ndelete table inet sampan_policy\n");
	if (p == NULL || p->n_pods == 0)
		return;
	buf_put_str(to, "table inet sampan_policy {\n");
	for (size_t i = 0; i < p->n_sets; i++)
		put_set(to, &p->sets[i]);
	buf_printf(to, "%s", buf_cstr((struct buf *)&p->chains));
	buf_put_str(to, "\tchain forward {\n"
			"\t\ttype filter hook forward priority 0; policy accept;\n"
			"\t\tct direction reply return\n"
			"\t\tct state related return\n"
			"\t\tip saddr vmap @egress4\n"
			"\t\tip6 saddr vmap @egress6\n"
			"\t\tip daddr vmap @ingress4\n"
			"\t\tip6 daddr vmap @ingress6\n"
			"\t}\n}\n");
	/* Chains are there only now. */
	for (size_t i = 0; i < p->n_sets; i++)
		if (p->sets[i].verdicts)
			element_command(to, "add", &p->sets[i], p->sets[i].elements, p->sets[i].n);
}

static void set_changes(const struct policy_set *from, const struct policy_set *to,
			struct buf *script)
{
	autofree char **gone = xcalloc(from->n + 1, sizeof(*gone));
	autofree char **come = xcalloc(to->n + 1, sizeof(*come));
	size_t f = 0, t = 0, n_gone = 0, n_come = 0;

	while (f < from->n || t < to->n) {
		int order = f == from->n ? 1
			    : t == to->n ? -1
					 : strcmp(from->elements[f], to->elements[t]);

		if (order < 0)
			gone[n_gone++] = from->elements[f];
		if (order > 0)
			come[n_come++] = to->elements[t];
		f += order <= 0;
		t += order >= 0;
	}
	/* One transaction: an address that changes its verdict is never without. */
	element_command(script, "delete", from, gone, n_gone);
	element_command(script, "add", to, come, n_come);
}

bool policy_plan_changes(const struct policy_plan *from, const struct policy_plan *to,
			 struct buf *script)
{
	if (from->n_pods == 0 || to->n_pods == 0 || from->n_sets != to->n_sets ||
	    from->chains.len != to->chains.len ||
	    (from->chains.len > 0 &&
	     memcmp(from->chains.data, to->chains.data, from->chains.len) != 0))
		return false;
	for (size_t i = 0; i < from->n_sets; i++)
		if (strcmp(from->sets[i].name, to->sets[i].name) != 0)
			return false;
	for (size_t i = 0; i < from->n_sets; i++)
		set_changes(&from->sets[i], &to->sets[i], script);
	return true;
}
