#include "proxy/dns/names.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

#define LABELS_MAX 6
#define ALIASES_MAX 8

struct question {
	const struct names *names;
	const struct dns_query *query;
	struct dns_reply reply;
	uint32_t rotate;
	bool exists;                   /* The name does, whatever its type. */
	char target[DNS_NAME_MAX + 1]; /* Where an alias leads; "" for none. */
};

static bool wants(const struct question *q, uint16_t type)
{
	return q->query->type == type || q->query->type == DNS_ANY;
}

static bool wants_family(const struct question *q, const struct ip *ip)
{
	return wants(q, ip->len == 4 ? DNS_A : DNS_AAAA);
}

/* --- Endpoints of headless Services ------------------------------------------ */

struct target {
	const struct endpoint *endpoint;
	const struct slice *slice;
};

struct targets {
	struct target *items;
	size_t n, cap;
};

static bool is_named(const struct service *s, const struct endpoint *e)
{
	return e->ready || s->publish_not_ready;
}

static void find_targets(const struct service *s, struct targets *out)
{
	list_for_each (slice, &s->slices, struct slice, of_service) {
		for (size_t i = 0; i < slice->n_endpoints; i++) {
			if (!is_named(s, &slice->endpoints[i]))
				continue;
			array_grow(out->items, out->n, out->cap);
			out->items[out->n++] = (struct target){ &slice->endpoints[i], slice };
		}
	}
}

/* The hostname or the address with dashes: 10-1-0-2. */
static void endpoint_label(const struct endpoint *e, char ret[64])
{
	if (e->hostname[0] != '\0' && strlen(e->hostname) < 64) {
		strcpy(ret, e->hostname);
		return;
	}
	ip_print(&e->ip, ret, 64);
	for (char *c = ret; *c != '\0'; c++) {
		if (*c == '.' || *c == ':')
			*c = '-';
	}
}

static bool seen_before(const struct targets *t, size_t i)
{
	for (size_t j = 0; j < i && t->n <= 64; j++) {
		if (ip_equal(&t->items[j].endpoint->ip, &t->items[i].endpoint->ip))
			return true;
	}
	return false;
}

/* --- Services --------------------------------------------------------------- */

static void answer_cluster_ips(struct question *q, const struct service *s, const char *name)
{
	for (size_t i = 0; i < s->n_cluster_ips; i++) {
		if (wants_family(q, &s->cluster_ips[i]))
			dns_put_address(&q->reply, name, NAMES_TTL_S, &s->cluster_ips[i]);
	}
}

/* label NULL: of all endpoints. */
static void answer_endpoints(struct question *q, const struct service *s, const char *label,
			     const char *name)
{
	struct targets t = { 0 };

	find_targets(s, &t);
	for (size_t k = 0; k < t.n; k++) {
		size_t i = (k + q->rotate) % t.n;
		char own[64];

		endpoint_label(t.items[i].endpoint, own);
		if ((label != NULL && strcmp(label, own) != 0) || seen_before(&t, i))
			continue;
		q->exists = true;
		if (wants_family(q, &t.items[i].endpoint->ip))
			dns_put_address(&q->reply, name, NAMES_TTL_S, &t.items[i].endpoint->ip);
	}
	free(t.items);
}

static void service_name(const struct question *q, const struct service *s, char *ret, size_t size)
{
	snprintf(ret, size, "%s.%s.svc.%s", s->name, s->namespace, q->names->zone);
}

static const char *protocol_label(uint8_t protocol)
{
	return protocol == PROTOCOL_TCP ? "_tcp" : protocol == PROTOCOL_UDP ? "_udp" : "_sctp";
}

/* port and protocol NULL: all named ports. */
static bool port_fits(const char *name, uint8_t protocol, const char *port_label,
		      const char *protocol_text)
{
	if (name[0] == '\0')
		return false;
	return port_label == NULL || (strcmp(port_label + 1, name) == 0 &&
				      strcmp(protocol_text, protocol_label(protocol)) == 0);
}

static void answer_srv_of_service(struct question *q, const struct service *s, const char *port,
				  const char *protocol)
{
	char name[DNS_NAME_MAX + 64];

	service_name(q, s, name, sizeof(name));
	for (size_t i = 0; i < s->n_ports; i++) {
		if (!port_fits(s->ports[i].name, s->ports[i].protocol, port, protocol))
			continue;
		q->exists = true;
		if (wants(q, DNS_SRV))
			dns_put_srv(&q->reply, NAMES_TTL_S, s->ports[i].port, name);
	}
}

static void put_srv_of_endpoint(struct question *q, const struct service *s, const struct target *t,
				const struct slice_port *port)
{
	char name[DNS_NAME_MAX + 128], label[64];

	q->exists = true;
	if (!wants(q, DNS_SRV))
		return;
	endpoint_label(t->endpoint, label);
	snprintf(name, sizeof(name), "%s.%s.%s.svc.%s", label, s->name, s->namespace,
		 q->names->zone);
	dns_put_srv(&q->reply, NAMES_TTL_S, port->port, name);
}

static void answer_srv_of_endpoints(struct question *q, const struct service *s, const char *port,
				    const char *protocol)
{
	struct targets t = { 0 };

	find_targets(s, &t);
	for (size_t i = 0; i < t.n; i++) {
		for (size_t j = 0; j < t.items[i].slice->n_ports; j++) {
			const struct slice_port *p = &t.items[i].slice->ports[j];

			if (port_fits(p->name, p->protocol, port, protocol))
				put_srv_of_endpoint(q, s, &t.items[i], p);
		}
	}
	free(t.items);
}

static void answer_srv(struct question *q, const struct service *s, const char *port,
		       const char *protocol)
{
	if (s->headless)
		answer_srv_of_endpoints(q, s, port, protocol);
	else
		answer_srv_of_service(q, s, port, protocol);
}

/* An alias is the answer to every type. */
static void answer_alias(struct question *q, const struct service *s, const char *name)
{
	size_t n = strlen(s->external_name);

	q->exists = true;
	if (n == 0 || n > DNS_NAME_MAX - 2)
		return;
	for (size_t i = 0; i <= n; i++)
		q->target[i] = s->external_name[i] >= 'A' && s->external_name[i] <= 'Z'
				       ? (char)(s->external_name[i] + 32)
				       : s->external_name[i];
	if (q->target[n - 1] == '.')
		q->target[n - 1] = '\0';
	dns_put_name(&q->reply, name, DNS_CNAME, NAMES_TTL_S, q->target);
}

static void answer_service(struct question *q, const struct service *s, const char *name)
{
	if (s->external_name != NULL) {
		answer_alias(q, s, name);
	} else if (s->headless) {
		answer_endpoints(q, s, NULL, name);
		if (q->exists && wants(q, DNS_SRV))
			answer_srv(q, s, NULL, NULL);
	} else {
		q->exists = true;
		answer_cluster_ips(q, s, name);
		if (wants(q, DNS_SRV))
			answer_srv(q, s, NULL, NULL);
	}
}

/* --- Names below the zone --------------------------------------------------- */

static bool namespace_exists(const struct names *names, const char *namespace)
{
	char prefix[DNS_NAME_MAX + 2];
	int n = snprintf(prefix, sizeof(prefix), "%s/", namespace);
	const struct tree_node *node = tree_lower_bound(&names->world->services, prefix);

	return node != NULL &&
	       strncmp(container_of(node, struct service, node)->key, prefix, (size_t)n) == 0;
}

/* labels[0] is the leftmost; n of them stand before "svc". */
static void answer_below_svc(struct question *q, char **labels, size_t n, const char *name)
{
	const struct service *s;

	if (n == 0) {
		q->exists = true;
		return;
	}
	if (n == 1) {
		q->exists = namespace_exists(q->names, labels[0]);
		return;
	}
	s = world_service(q->names->world, labels[n - 1], labels[n - 2]);
	if (s == NULL || !s->exists)
		return;
	if (n == 2)
		answer_service(q, s, name);
	else if (n == 3 && s->headless)
		answer_endpoints(q, s, labels[0], name);
	else if (n == 4 && labels[0][0] == '_' && labels[1][0] == '_' && s->external_name == NULL)
		answer_srv(q, s, labels[0], labels[1]);
}

static void answer_pod(struct question *q, const char *label, const char *name)
{
	char text[64];
	struct ip ip;

	if (strlen(label) >= sizeof(text))
		return;
	strcpy(text, label);
	for (char *c = text; *c != '\0'; c++) {
		if (*c == '-')
			*c = '.';
	}
	if (!ip_parse(text, &ip))
		return;
	q->exists = true;
	if (wants_family(q, &ip))
		dns_put_address(&q->reply, name, NAMES_TTL_S, &ip);
}

static size_t split(char *text, char **labels)
{
	size_t n = 0;

	for (char *at = text; at != NULL && *at != '\0'; n++) {
		if (n == LABELS_MAX)
			return LABELS_MAX + 1;
		labels[n] = at;
		at = strchr(at, '.');
		if (at != NULL)
			*at++ = '\0';
	}
	return n;
}

static void answer_top(struct question *q, const char *label, const char *name)
{
	if (strcmp(label, "dns-version") == 0) {
		q->exists = true;
		if (wants(q, DNS_TXT))
			dns_put_text(&q->reply, NAMES_TTL_S, "1.1.0");
	} else if (strcmp(label, "svc") == 0 || strcmp(label, "pod") == 0 ||
		   strcmp(label, "dns") == 0) {
		q->exists = true;
	}
}

/* below: what stands before the zone; changed. */
static void answer_in_zone(struct question *q, char *below, const char *name)
{
	char *labels[LABELS_MAX + 1];
	size_t n = split(below, labels);

	if (n > LABELS_MAX)
		return;
	if (n == 0) {
		q->exists = true;
		if (wants(q, DNS_SOA))
			dns_put_soa(&q->reply, q->names->zone, NAMES_TTL_S, 1);
		return;
	}
	const char *top = labels[n - 1];

	if (n == 1) {
		answer_top(q, top, name);
	} else if (strcmp(top, "svc") == 0) {
		answer_below_svc(q, labels, n - 1, name);
	} else if (strcmp(top, "pod") == 0 && n == 3) {
		if (namespace_exists(q->names, labels[1]))
			answer_pod(q, labels[0], name);
	} else if (strcmp(top, "pod") == 0 && n == 2) {
		q->exists = namespace_exists(q->names, labels[0]);
	} else if (strcmp(top, "dns") == 0 && n == 2 && strcmp(labels[0], "ns") == 0) {
		q->exists = true;
		if (q->names->address.len != 0 && wants_family(q, &q->names->address))
			dns_put_address(&q->reply, name, NAMES_TTL_S, &q->names->address);
	}
}

/* The length of what stands before the zone, or -1. */
static int below_zone(const char *name, const char *zone)
{
	size_t n = strlen(name), z = strlen(zone);

	if (n == z && strcmp(name, zone) == 0)
		return 0;
	if (n <= z || name[n - z - 1] != '.' || strcmp(name + n - z, zone) != 0)
		return -1;
	return (int)(n - z - 1);
}

/* Follows aliases that stay inside. False: the last one leads out. */
static bool answer_name(struct question *q)
{
	char name[DNS_NAME_MAX + 1], below[DNS_NAME_MAX + 1];
	const char *owner = NULL;

	strcpy(name, q->query->name);
	for (int i = 0; i < ALIASES_MAX; i++) {
		int n = below_zone(name, q->names->zone);

		if (n < 0)
			return false;
		memcpy(below, name, (size_t)n);
		below[n] = '\0';
		q->target[0] = '\0';
		answer_in_zone(q, below, owner);
		if (q->target[0] == '\0' || q->query->type == DNS_CNAME)
			return true;
		strcpy(name, q->target);
		owner = name;
	}
	return true;
}

/* --- Reverse names ---------------------------------------------------------- */

static bool parse_reverse(const char *name, struct ip *ret)
{
	unsigned b[4];
	int end = 0;

	if (sscanf(name, "%3u.%3u.%3u.%3u.in-addr.arpa%n", &b[3], &b[2], &b[1], &b[0], &end) != 4 ||
	    end == 0 || name[end] != '\0')
		return false;
	*ret = (struct ip){ .len = 4 };
	for (int i = 0; i < 4; i++) {
		if (b[i] > 255)
			return false;
		ret->bytes[i] = (uint8_t)b[i];
	}
	return true;
}

static bool in_range(const struct ip *ip, uint32_t base, uint32_t mask)
{
	uint32_t address;

	memcpy(&address, ip->bytes, sizeof(address));
	return mask != 0 && (ntohl(address) & mask) == base;
}

static void name_endpoints_of(struct question *q, const struct service *s, const struct ip *ip)
{
	struct targets t = { 0 };

	find_targets(s, &t);
	for (size_t i = 0; i < t.n; i++) {
		char name[DNS_NAME_MAX + 128], label[64];

		if (!ip_equal(&t.items[i].endpoint->ip, ip))
			continue;
		endpoint_label(t.items[i].endpoint, label);
		snprintf(name, sizeof(name), "%s.%s.%s.svc.%s", label, s->name, s->namespace,
			 q->names->zone);
		q->exists = true;
		if (wants(q, DNS_PTR))
			dns_put_name(&q->reply, NULL, DNS_PTR, NAMES_TTL_S, name);
	}
	free(t.items);
}

static void answer_reverse(struct question *q, const struct ip *ip)
{
	tree_for_each (s, &q->names->world->services, struct service, node) {
		char name[DNS_NAME_MAX + 64];

		for (size_t i = 0; i < s->n_cluster_ips; i++) {
			if (!ip_equal(&s->cluster_ips[i], ip))
				continue;
			service_name(q, s, name, sizeof(name));
			q->exists = true;
			if (wants(q, DNS_PTR))
				dns_put_name(&q->reply, NULL, DNS_PTR, NAMES_TTL_S, name);
		}
		if (s->exists && s->headless)
			name_endpoints_of(q, s, ip);
	}
}

/* --- All of it -------------------------------------------------------------- */

static void finish(struct question *q, const char *zone)
{
	if (q->reply.counts[0] == 0 && !q->reply.truncated) {
		dns_reply_section(&q->reply, 1);
		dns_put_soa(&q->reply, zone, NAMES_TTL_S, 1);
	}
	/* An alias whose end does not exist is an answer nevertheless. */
	dns_reply_finish(&q->reply, q->query, q->exists ? DNS_NOERROR : DNS_NXDOMAIN, true);
}

enum names_result names_answer(const struct names *names, const struct dns_query *query,
			       size_t limit, uint32_t rotate, struct buf *out,
			       char ret_target[DNS_NAME_MAX + 1])
{
	struct question q = { .names = names, .query = query, .rotate = rotate };
	size_t start = out->len;
	struct ip ip;

	if (query->class != DNS_CLASS_IN)
		return NAMES_NOT_OURS;
	bool reverse = parse_reverse(query->name, &ip);

	if (reverse && !in_range(&ip, names->service_base, names->service_mask) &&
	    !in_range(&ip, names->pod_base, names->pod_mask))
		return NAMES_NOT_OURS;
	if (!reverse && below_zone(query->name, names->zone) < 0)
		return NAMES_NOT_OURS;
	if (!names->world->synced) {
		dns_put_error(out, query, DNS_SERVFAIL);
		return NAMES_ANSWERED;
	}
	dns_reply_begin(&q.reply, out, query, limit);
	if (reverse) {
		answer_reverse(&q, &ip);
		finish(&q, "in-addr.arpa");
		return NAMES_ANSWERED;
	}
	if (!answer_name(&q)) {
		out->len = start;
		strcpy(ret_target, q.target);
		return NAMES_LEADS_OUT;
	}
	finish(&q, names->zone);
	return NAMES_ANSWERED;
}
