/* The rules, expression by expression. Registers are the 4-byte ones, R(0) to R(15);
 * R(0..3) hold the key of a lookup. In nft's words a chain n3 is
 *
 *     dnat to ip daddr . meta l4proto . th dport . numgen random mod 3 map @eps
 *
 * which nft itself cannot write for a map of plain types (see docs/services.md). */
#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <string.h>
#include <sys/types.h>

#include "proxy/services/nft_internal.h"

#define R(i) (NFT_REG32_00 + (i))
/* Of the connection: its first packet needs the node's source address. */
#define MASQUERADE_MARK 0x4000u

enum { IP_SOURCE = 12, IP_DESTINATION = 16, PORT_DESTINATION = 2 };

struct nft_rule nft_rule_begin(struct netlink *n, const char *chain)
{
	nft_message(n, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
	netlink_put_str(n, NFTA_RULE_TABLE, NFT_TABLE);
	netlink_put_str(n, NFTA_RULE_CHAIN, chain);
	return (struct nft_rule){ netlink_nest(n, NFTA_RULE_EXPRESSIONS) };
}

void nft_rule_end(struct netlink *n, struct nft_rule rule)
{
	netlink_nest_end(n, rule.expressions);
}

struct expression {
	size_t elem, data;
};

static struct expression begin(struct netlink *n, const char *name)
{
	struct expression e = { .elem = netlink_nest(n, NFTA_LIST_ELEM) };

	netlink_put_str(n, NFTA_EXPR_NAME, name);
	e.data = netlink_nest(n, NFTA_EXPR_DATA);
	return e;
}

static void end(struct netlink *n, struct expression e)
{
	netlink_nest_end(n, e.data);
	netlink_nest_end(n, e.elem);
}

/* --- Expressions ------------------------------------------------------------ */

static void payload(struct netlink *n, uint32_t base, uint32_t offset, uint32_t bytes, uint32_t to)
{
	struct expression e = begin(n, "payload");

	netlink_put_be32(n, NFTA_PAYLOAD_DREG, to);
	netlink_put_be32(n, NFTA_PAYLOAD_BASE, base);
	netlink_put_be32(n, NFTA_PAYLOAD_OFFSET, offset);
	netlink_put_be32(n, NFTA_PAYLOAD_LEN, bytes);
	end(n, e);
}

static void load_address(struct netlink *n, uint32_t offset, uint32_t to)
{
	payload(n, NFT_PAYLOAD_NETWORK_HEADER, offset, 4, to);
}

static void load_protocol(struct netlink *n, uint32_t to)
{
	struct expression e = begin(n, "meta");

	netlink_put_be32(n, NFTA_META_DREG, to);
	netlink_put_be32(n, NFTA_META_KEY, NFT_META_L4PROTO);
	end(n, e);
}

static void load_protocol_and_port(struct netlink *n, uint32_t first)
{
	load_protocol(n, first);
	payload(n, NFT_PAYLOAD_TRANSPORT_HEADER, PORT_DESTINATION, 2, first + 1);
}

static void load_ct(struct netlink *n, uint32_t key, uint32_t to)
{
	struct expression e = begin(n, "ct");

	netlink_put_be32(n, NFTA_CT_DREG, to);
	netlink_put_be32(n, NFTA_CT_KEY, key);
	end(n, e);
}

static void store_ct_mark(struct netlink *n, uint32_t from)
{
	struct expression e = begin(n, "ct");

	netlink_put_be32(n, NFTA_CT_KEY, NFT_CT_MARK);
	netlink_put_be32(n, NFTA_CT_SREG, from);
	end(n, e);
}

static void put_value(struct netlink *n, uint16_t attribute, const void *value, size_t bytes)
{
	size_t nest = netlink_nest(n, attribute);

	netlink_put(n, NFTA_DATA_VALUE, value, bytes);
	netlink_nest_end(n, nest);
}

/* reg = (reg & mask) ^ flip, bytes as they lie in the register. */
static void bitwise(struct netlink *n, uint32_t reg, uint32_t mask, uint32_t flip)
{
	struct expression e = begin(n, "bitwise");

	netlink_put_be32(n, NFTA_BITWISE_SREG, reg);
	netlink_put_be32(n, NFTA_BITWISE_DREG, reg);
	netlink_put_be32(n, NFTA_BITWISE_LEN, 4);
	put_value(n, NFTA_BITWISE_MASK, &mask, 4);
	put_value(n, NFTA_BITWISE_XOR, &flip, 4);
	end(n, e);
}

static void compare(struct netlink *n, uint32_t reg, uint32_t op, const void *value, size_t bytes)
{
	struct expression e = begin(n, "cmp");

	netlink_put_be32(n, NFTA_CMP_SREG, reg);
	netlink_put_be32(n, NFTA_CMP_OP, op);
	put_value(n, NFTA_CMP_DATA, value, bytes);
	end(n, e);
}

static void compare_u32(struct netlink *n, uint32_t reg, uint32_t op, uint32_t value)
{
	compare(n, reg, op, &value, sizeof(value));
}

static void lookup(struct netlink *n, const char *set, uint32_t key)
{
	struct expression e = begin(n, "lookup");

	netlink_put_str(n, NFTA_LOOKUP_SET, set);
	netlink_put_be32(n, NFTA_LOOKUP_SREG, key);
	end(n, e);
}

/* to NFT_REG_VERDICT: the value is where to go. */
static void lookup_value(struct netlink *n, const char *set, uint32_t key, uint32_t to)
{
	struct expression e = begin(n, "lookup");

	netlink_put_str(n, NFTA_LOOKUP_SET, set);
	netlink_put_be32(n, NFTA_LOOKUP_SREG, key);
	netlink_put_be32(n, NFTA_LOOKUP_DREG, to);
	end(n, e);
}

static void verdict(struct netlink *n, int code, const char *chain)
{
	struct expression e = begin(n, "immediate");

	netlink_put_be32(n, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	size_t data = netlink_nest(n, NFTA_IMMEDIATE_DATA);
	size_t nest = netlink_nest(n, NFTA_DATA_VERDICT);

	netlink_put_be32(n, NFTA_VERDICT_CODE, (uint32_t)code);
	if (chain != NULL)
		netlink_put_str(n, NFTA_VERDICT_CHAIN, chain);
	netlink_nest_end(n, nest);
	netlink_nest_end(n, data);
	end(n, e);
}

static void random_below(struct netlink *n, uint32_t bound, uint32_t to)
{
	struct expression e = begin(n, "numgen");

	netlink_put_be32(n, NFTA_NG_DREG, to);
	netlink_put_be32(n, NFTA_NG_MODULUS, bound);
	netlink_put_be32(n, NFTA_NG_TYPE, NFT_NG_RANDOM);
	end(n, e);
}

/* Destination address in R(0), port in R(1). */
static void dnat(struct netlink *n)
{
	struct expression e = begin(n, "nat");

	netlink_put_be32(n, NFTA_NAT_TYPE, NFT_NAT_DNAT);
	netlink_put_be32(n, NFTA_NAT_FAMILY, NFPROTO_IPV4);
	netlink_put_be32(n, NFTA_NAT_REG_ADDR_MIN, R(0));
	netlink_put_be32(n, NFTA_NAT_REG_PROTO_MIN, R(1));
	end(n, e);
}

static void masquerade(struct netlink *n)
{
	end(n, begin(n, "masq"));
}

static void reject(struct netlink *n, uint32_t type, uint8_t code)
{
	struct expression e = begin(n, "reject");

	netlink_put_be32(n, NFTA_REJECT_TYPE, type);
	netlink_put(n, NFTA_REJECT_ICMP_CODE, &code, sizeof(code));
	end(n, e);
}

/* Is the destination an address of this node? */
static void require_local_destination(struct netlink *n)
{
	struct expression e = begin(n, "fib");

	netlink_put_be32(n, NFTA_FIB_DREG, R(0));
	netlink_put_be32(n, NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
	netlink_put_be32(n, NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
	end(n, e);
	compare_u32(n, R(0), NFT_CMP_EQ, 2 /* RTN_LOCAL */);
}

/* Remember index R(from) for the client whose key is in R(4..7). */
static void remember(struct netlink *n, uint32_t from, uint32_t sticky_s)
{
	struct expression e = begin(n, "dynset");
	uint64_t timeout_ms = (uint64_t)sticky_s * 1000;
	uint64_t be =
		(uint64_t)htonl((uint32_t)timeout_ms) << 32 | htonl((uint32_t)(timeout_ms >> 32));

	netlink_put_str(n, NFTA_DYNSET_SET_NAME, NFT_SET_STICKY);
	netlink_put_be32(n, NFTA_DYNSET_SET_ID, SETS_N + 1u);
	netlink_put_be32(n, NFTA_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
	netlink_put_be32(n, NFTA_DYNSET_SREG_KEY, R(4));
	netlink_put_be32(n, NFTA_DYNSET_SREG_DATA, from);
	netlink_put(n, NFTA_DYNSET_TIMEOUT, &be, sizeof(be));
	end(n, e);
}

/* --- Chains that elements lead to ------------------------------------------- */

static void mark_for_masquerade(struct netlink *n)
{
	load_ct(n, NFT_CT_MARK, R(0));
	bitwise(n, R(0), ~MASQUERADE_MARK, MASQUERADE_MARK);
	store_ct_mark(n, R(0));
}

static void choose_endpoint(struct netlink *n, struct chain chain, const char *name,
			    bool by_address, bool masq)
{
	struct nft_rule rule = nft_rule_begin(n, name);
	uint32_t next = R(0);

	if (masq)
		mark_for_masquerade(n);
	if (by_address)
		load_address(n, IP_DESTINATION, next++);
	load_protocol_and_port(n, next);
	random_below(n, chain.n, next + 2);
	lookup_value(n, by_address ? "eps" : "neps", R(0), R(0));
	dnat(n);
	nft_rule_end(n, rule);
}

/* The key of the client in R(4..7), the key of the endpoint in R(0..2). */
static void load_sticky_keys(struct netlink *n)
{
	load_address(n, IP_SOURCE, R(4));
	load_address(n, IP_DESTINATION, R(5));
	load_protocol_and_port(n, R(6));
	load_address(n, IP_DESTINATION, R(0));
	load_protocol_and_port(n, R(1));
}

/* A known client whose endpoint is still there; otherwise the rule ends early and the
 * next one chooses anew. */
static void choose_sticky_endpoint(struct netlink *n, struct chain chain, const char *name)
{
	struct nft_rule known = nft_rule_begin(n, name);

	load_sticky_keys(n);
	lookup_value(n, NFT_SET_STICKY, R(4), R(3));
	remember(n, R(3), chain.sticky_s);
	lookup_value(n, "eps", R(0), R(0));
	dnat(n);
	nft_rule_end(n, known);

	struct nft_rule fresh = nft_rule_begin(n, name);

	load_sticky_keys(n);
	random_below(n, chain.n, R(3));
	remember(n, R(3), chain.sticky_s);
	lookup_value(n, "eps", R(0), R(0));
	dnat(n);
	nft_rule_end(n, fresh);
}

void nft_put_chain_rules(struct netlink *n, struct chain chain, const char *name)
{
	switch (chain.kind) {
	case CHAIN_EPS:
		choose_endpoint(n, chain, name, true, false);
		return;
	case CHAIN_EPS_MASQ:
		choose_endpoint(n, chain, name, true, true);
		return;
	case CHAIN_EPS_STICKY:
		choose_sticky_endpoint(n, chain, name);
		return;
	case CHAIN_NEPS:
		choose_endpoint(n, chain, name, false, false);
		return;
	case CHAIN_NEPS_MASQ:
		choose_endpoint(n, chain, name, false, true);
		return;
	case CHAIN_REJECT:
	case CHAIN_DROP:
		return;
	}
}

/* --- Fixed rules ------------------------------------------------------------ */

static void put_reject_and_drop(struct netlink *n)
{
	static const uint8_t tcp = 6;
	struct nft_rule rule = nft_rule_begin(n, "reject");

	load_protocol(n, R(0));
	compare(n, R(0), NFT_CMP_EQ, &tcp, 1);
	reject(n, NFT_REJECT_TCP_RST, 0);
	nft_rule_end(n, rule);
	rule = nft_rule_begin(n, "reject");
	reject(n, NFT_REJECT_ICMP_UNREACH, 3 /* Port unreachable. */);
	nft_rule_end(n, rule);
	rule = nft_rule_begin(n, "drop");
	verdict(n, NF_DROP, NULL);
	nft_rule_end(n, rule);
}

static void put_dispatch(struct netlink *n)
{
	static const uint8_t loopback = 127;
	struct nft_rule rule = nft_rule_begin(n, NFT_CHAIN_SERVICES);

	load_address(n, IP_DESTINATION, R(0));
	load_protocol_and_port(n, R(1));
	lookup_value(n, "svc", R(0), NFT_REG_VERDICT);
	nft_rule_end(n, rule);

	rule = nft_rule_begin(n, NFT_CHAIN_SERVICES);
	require_local_destination(n);
	payload(n, NFT_PAYLOAD_NETWORK_HEADER, IP_DESTINATION, 1, R(0));
	compare(n, R(0), NFT_CMP_NEQ, &loopback, 1);
	load_protocol_and_port(n, R(0));
	lookup_value(n, "np", R(0), NFT_REG_VERDICT);
	nft_rule_end(n, rule);
}

static void put_jump(struct netlink *n, const char *from)
{
	struct nft_rule rule = nft_rule_begin(n, from);

	verdict(n, NFT_JUMP, NFT_CHAIN_SERVICES);
	nft_rule_end(n, rule);
}

static void require_prefix(struct netlink *n, uint32_t offset, uint32_t base, uint32_t mask,
			   uint32_t op)
{
	load_address(n, offset, R(0));
	bitwise(n, R(0), htonl(mask), 0);
	compare_u32(n, R(0), op, htonl(base));
}

static void put_postrouting(struct netlink *n, const struct nft_skeleton *s)
{
	struct nft_rule rule = nft_rule_begin(n, "postrouting");

	load_ct(n, NFT_CT_STATUS, R(0));
	bitwise(n, R(0), IPS_DST_NAT, 0);
	compare_u32(n, R(0), NFT_CMP_NEQ, 0);
	load_address(n, IP_SOURCE, R(0));
	load_address(n, IP_DESTINATION, R(1));
	lookup(n, "hairpin", R(0));
	masquerade(n);
	nft_rule_end(n, rule);

	rule = nft_rule_begin(n, "postrouting");
	load_ct(n, NFT_CT_MARK, R(0));
	bitwise(n, R(0), MASQUERADE_MARK, 0);
	compare_u32(n, R(0), NFT_CMP_EQ, MASQUERADE_MARK);
	masquerade(n);
	nft_rule_end(n, rule);

	if (s->pod_mask == 0)
		return;
	rule = nft_rule_begin(n, "postrouting");
	require_prefix(n, IP_SOURCE, s->pod_base, s->pod_mask, NFT_CMP_EQ);
	require_prefix(n, IP_DESTINATION, s->pod_base, s->pod_mask, NFT_CMP_NEQ);
	masquerade(n);
	nft_rule_end(n, rule);
}

/* What no Service took must not wander off to the default gateway. */
static void put_unknown_service(struct netlink *n, const char *chain, const struct nft_skeleton *s)
{
	if (s->service_mask == 0)
		return;
	struct nft_rule rule = nft_rule_begin(n, chain);

	require_prefix(n, IP_DESTINATION, s->service_base, s->service_mask, NFT_CMP_EQ);
	verdict(n, NFT_GOTO, "reject");
	nft_rule_end(n, rule);
}

void nft_put_fixed_rules(struct netlink *n, const struct nft_skeleton *s)
{
	put_reject_and_drop(n);
	put_dispatch(n);
	put_jump(n, "prerouting");
	put_jump(n, "output");
	put_postrouting(n, s);
	put_unknown_service(n, "filter_forward", s);
	put_unknown_service(n, "filter_output", s);
}
