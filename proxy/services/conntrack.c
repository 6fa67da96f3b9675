#include "proxy/services/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"

#define UDP 17
/* Of one change; more would mean that somebody floods a Service that just lost its endpoints. */
#define STALE_MAX 100000

struct search {
	const struct rules *rules;
	struct elements frontends; /* Keys of svc and np, sorted. */
	struct buf stale;          /* Tuples, as attributes one behind the other. */
	size_t n_stale;
};

static void message(struct netlink *n, unsigned type, uint16_t flags)
{
	struct nfgenmsg header = { .nfgen_family = AF_INET, .version = NFNETLINK_V0 };

	netlink_begin(n, (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type), flags, &header,
		      sizeof(header));
}

static int nested(const struct nlattr *nest, const struct nlattr **table, unsigned max)
{
	if (nest == NULL)
		return -EBADMSG;
	return netlink_parse(netlink_data(nest), netlink_bytes(nest), table, max);
}

static int copy_exactly(const struct nlattr *a, void *to, size_t bytes)
{
	if (a == NULL || netlink_bytes(a) != bytes)
		return -EBADMSG;
	memcpy(to, netlink_data(a), bytes);
	return 0;
}

int conntrack_parse(const struct nlmsghdr *m, struct conntrack_flow *ret)
{
	const struct nlattr *attrs[CTA_TUPLE_REPLY + 1], *original[CTA_TUPLE_PROTO + 1];
	const struct nlattr *reply[CTA_TUPLE_PROTO + 1], *ip[CTA_IP_V4_DST + 1];
	const struct nlattr *proto[CTA_PROTO_DST_PORT + 1];
	struct conntrack_flow flow = { 0 };

	if (netlink_parse_message(m, sizeof(struct nfgenmsg), attrs, CTA_TUPLE_REPLY) < 0 ||
	    nested(attrs[CTA_TUPLE_ORIG], original, CTA_TUPLE_PROTO) < 0 ||
	    nested(attrs[CTA_TUPLE_REPLY], reply, CTA_TUPLE_PROTO) < 0)
		return -EBADMSG;
	if (nested(original[CTA_TUPLE_IP], ip, CTA_IP_V4_DST) < 0 ||
	    copy_exactly(ip[CTA_IP_V4_DST], flow.to, 4) < 0 ||
	    nested(original[CTA_TUPLE_PROTO], proto, CTA_PROTO_DST_PORT) < 0 ||
	    copy_exactly(proto[CTA_PROTO_NUM], &flow.protocol, 1) < 0 ||
	    copy_exactly(proto[CTA_PROTO_DST_PORT], &flow.to_port_be, 2) < 0)
		return -EBADMSG;
	if (nested(reply[CTA_TUPLE_IP], ip, CTA_IP_V4_DST) < 0 ||
	    copy_exactly(ip[CTA_IP_V4_SRC], flow.from, 4) < 0 ||
	    nested(reply[CTA_TUPLE_PROTO], proto, CTA_PROTO_DST_PORT) < 0 ||
	    copy_exactly(proto[CTA_PROTO_SRC_PORT], &flow.from_port_be, 2) < 0)
		return -EBADMSG;
	flow.original = attrs[CTA_TUPLE_ORIG];
	*ret = flow;
	return 0;
}

/* --- What is stale ---------------------------------------------------------- */

static bool is_frontend(const struct search *s, const struct element *key)
{
	size_t low = 0, high = s->frontends.n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int c = element_compare(&s->frontends.items[middle], key);

		if (c == 0)
			return true;
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

static struct element key_of(const struct conntrack_flow *flow, bool node_port, int index)
{
	uint16_t port = ntohs(flow->to_port_be);

	return node_port ? element_np(flow->protocol, port, index)
			 : element_svc(flow->to, flow->protocol, port, index);
}

static bool leads_to_endpoint(const struct search *s, const struct conntrack_flow *flow,
			      bool node_port)
{
	uint64_t want = value_of_endpoint(flow->from, flow->from_port_be), value;

	for (int i = 0; i < BACKENDS_MAX; i++) {
		struct element e = key_of(flow, node_port, i);

		if (!rules_lookup(s->rules, &e, &value))
			return false;
		if (value == want)
			return true;
	}
	return false;
}

static int on_flow(void *arg, const struct nlmsghdr *m)
{
	struct search *s = arg;
	struct conntrack_flow flow;

	if (conntrack_parse(m, &flow) < 0 || flow.protocol != UDP || s->n_stale == STALE_MAX)
		return 0;
	for (int node_port = 0; node_port < 2; node_port++) {
		struct element key = key_of(&flow, node_port, -1);

		if (!is_frontend(s, &key) || leads_to_endpoint(s, &flow, node_port))
			continue;
		buf_put(&s->stale, flow.original, NLA_ALIGN(flow.original->nla_len));
		s->n_stale++;
		break;
	}
	return 0;
}

/* --- Forgetting ------------------------------------------------------------- */

static void find_frontends(struct elements *to, const struct rules_change *changes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct element e = changes[i].element;
		size_t protocol_at = e.set == SET_SVC || e.set == SET_EPS ? 4 : 0;

		if (e.set == SET_HAIRPIN || e.key[protocol_at] != UDP)
			continue;
		e.set = protocol_at == 4 ? SET_SVC : SET_NP;
		memset(e.key + set_key_bytes(e.set), 0, ELEMENT_KEY_MAX - set_key_bytes(e.set));
		e.value = 0;
		elements_add(to, &e);
	}
	elements_sort(to);
}

static void delete_stale(struct netlink *n, const struct buf *stale)
{
	for (size_t at = 0; at < stale->len;) {
		const struct nlattr *a = (const struct nlattr *)(const void *)(stale->data + at);

		message(n, IPCTNL_MSG_CT_DELETE, NLM_F_ACK);
		netlink_put(n, CTA_TUPLE_ORIG | NLA_F_NESTED, netlink_data(a), netlink_bytes(a));
		/* Each by itself: one that ended meanwhile is an error that concerns no other. */
		netlink_transact(n);
		at += NLA_ALIGN(a->nla_len);
	}
}

void conntrack_forget_stale(struct netlink *n, const struct rules *rules,
			    const struct rules_change *changes, size_t n_changes)
{
	struct search s = { .rules = rules };

	find_frontends(&s.frontends, changes, n_changes);
	if (s.frontends.n > 0) {
		message(n, IPCTNL_MSG_CT_GET, NLM_F_DUMP);
		netlink_dump(n, on_flow, &s);
		delete_stale(n, &s.stale);
	}
	elements_fini(&s.frontends);
	buf_fini(&s.stale);
}
