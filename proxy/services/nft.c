#include "proxy/services/nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proxy/services/nft_internal.h"

/* An attribute ends at 64 KiB; a list of elements is closed well before. */
#define LIST_BYTES_MAX 60000

/* nft's own numbers of data types, so that `nft list ruleset` can show our maps. */
enum { TYPE_ADDRESS = 7, TYPE_PROTOCOL = 12, TYPE_PORT = 13, TYPE_MARK = 19, TYPE_BITS = 6 };

#define CONCAT2(a, b) ((a) << TYPE_BITS | (b))
#define CONCAT3(a, b, c) (CONCAT2(a, b) << TYPE_BITS | (c))
#define CONCAT4(a, b, c, d) (CONCAT3(a, b, c) << TYPE_BITS | (d))

static const struct {
	uint32_t key_type, data_type, data_bytes;
} set_types[SETS_N] = {
	[SET_SVC] = { CONCAT3(TYPE_ADDRESS, TYPE_PROTOCOL, TYPE_PORT), NFT_DATA_VERDICT, 16 },
	[SET_EPS] = { CONCAT4(TYPE_ADDRESS, TYPE_PROTOCOL, TYPE_PORT, TYPE_MARK),
		      CONCAT2(TYPE_ADDRESS, TYPE_PORT), 8 },
	[SET_NP] = { CONCAT2(TYPE_PROTOCOL, TYPE_PORT), NFT_DATA_VERDICT, 16 },
	[SET_NEPS] = { CONCAT3(TYPE_PROTOCOL, TYPE_PORT, TYPE_MARK),
		       CONCAT2(TYPE_ADDRESS, TYPE_PORT), 8 },
	[SET_HAIRPIN] = { CONCAT2(TYPE_ADDRESS, TYPE_ADDRESS), 0, 0 },
};

void nft_message(struct netlink *n, unsigned type, uint16_t flags)
{
	struct nfgenmsg header = { .nfgen_family = NFPROTO_IPV4, .version = NFNETLINK_V0 };

	netlink_begin(n, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, &header,
		      sizeof(header));
}

static void batch_message(struct netlink *n, uint16_t type)
{
	struct nfgenmsg header = {
		.nfgen_family = AF_UNSPEC,
		.version = NFNETLINK_V0,
		.res_id = htons(NFNL_SUBSYS_NFTABLES),
	};

	netlink_begin(n, type, 0, &header, sizeof(header));
}

void nft_begin(struct netlink *n)
{
	batch_message(n, NFNL_MSG_BATCH_BEGIN);
}

/* The kernel answers before sending returns, so a question at the end of the batch that has to
 * be acknowledged tells that everything before it was taken. Making a table that is there
 * already changes nothing. */
int nft_commit(struct netlink *n)
{
	nft_message(n, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_ACK);
	netlink_put_str(n, NFTA_TABLE_NAME, NFT_TABLE);
	batch_message(n, NFNL_MSG_BATCH_END);
	return netlink_transact(n);
}

/* Making it first means that deleting never fails for want of a table. */
void nft_put_delete(struct netlink *n)
{
	nft_message(n, NFT_MSG_NEWTABLE, NLM_F_CREATE);
	netlink_put_str(n, NFTA_TABLE_NAME, NFT_TABLE);
	nft_message(n, NFT_MSG_DELTABLE, 0);
	netlink_put_str(n, NFTA_TABLE_NAME, NFT_TABLE);
}

int nft_remove_table(struct netlink *n)
{
	nft_begin(n);
	nft_message(n, NFT_MSG_DELTABLE, NLM_F_ACK);
	netlink_put_str(n, NFTA_TABLE_NAME, NFT_TABLE);
	batch_message(n, NFNL_MSG_BATCH_END);
	int rc = netlink_transact(n);

	return rc == -ENOENT ? 0 : rc;
}

void nft_fingerprint(const struct nft_skeleton *s, char ret[96])
{
	snprintf(ret, 96, "sampan %d pods %08x/%08x services %08x/%08x", NFT_VERSION, s->pod_base,
		 s->pod_mask, s->service_base, s->service_mask);
}

static void put_set(struct netlink *n, enum nft_set set)
{
	bool map = set_types[set].data_bytes > 0;

	nft_message(n, NFT_MSG_NEWSET, NLM_F_CREATE);
	netlink_put_str(n, NFTA_SET_TABLE, NFT_TABLE);
	netlink_put_str(n, NFTA_SET_NAME, set_name(set));
	netlink_put_be32(n, NFTA_SET_FLAGS, map ? NFT_SET_MAP : 0);
	netlink_put_be32(n, NFTA_SET_KEY_TYPE, set_types[set].key_type);
	netlink_put_be32(n, NFTA_SET_KEY_LEN, (uint32_t)set_key_bytes(set));
	if (map) {
		netlink_put_be32(n, NFTA_SET_DATA_TYPE, set_types[set].data_type);
		netlink_put_be32(n, NFTA_SET_DATA_LEN, set_types[set].data_bytes);
	}
	netlink_put_be32(n, NFTA_SET_ID, set + 1u);
}

/* client . service address . protocol . port -> index; entries are made by packets and expire. */
static void put_sticky_map(struct netlink *n)
{
	nft_message(n, NFT_MSG_NEWSET, NLM_F_CREATE);
	netlink_put_str(n, NFTA_SET_TABLE, NFT_TABLE);
	netlink_put_str(n, NFTA_SET_NAME, NFT_SET_STICKY);
	netlink_put_be32(n, NFTA_SET_FLAGS, NFT_SET_MAP | NFT_SET_EVAL | NFT_SET_TIMEOUT);
	netlink_put_be32(n, NFTA_SET_KEY_TYPE,
			 CONCAT4(TYPE_ADDRESS, TYPE_ADDRESS, TYPE_PROTOCOL, TYPE_PORT));
	netlink_put_be32(n, NFTA_SET_KEY_LEN, 16);
	netlink_put_be32(n, NFTA_SET_DATA_TYPE, TYPE_MARK);
	netlink_put_be32(n, NFTA_SET_DATA_LEN, 4);
	size_t description = netlink_nest(n, NFTA_SET_DESC);

	netlink_put_be32(n, NFTA_SET_DESC_SIZE, 65536);
	netlink_nest_end(n, description);
	netlink_put_be32(n, NFTA_SET_ID, SETS_N + 1u);
}

static void put_plain_chain(struct netlink *n, const char *name)
{
	nft_message(n, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
	netlink_put_str(n, NFTA_CHAIN_TABLE, NFT_TABLE);
	netlink_put_str(n, NFTA_CHAIN_NAME, name);
}

static void put_base_chain(struct netlink *n, const char *name, const char *type, unsigned hook,
			   int priority)
{
	put_plain_chain(n, name);
	netlink_put_str(n, NFTA_CHAIN_TYPE, type);
	size_t nest = netlink_nest(n, NFTA_CHAIN_HOOK);

	netlink_put_be32(n, NFTA_HOOK_HOOKNUM, hook);
	netlink_put_be32(n, NFTA_HOOK_PRIORITY, (uint32_t)priority);
	netlink_nest_end(n, nest);
}

void nft_put_skeleton(struct netlink *n, const struct nft_skeleton *skeleton)
{
	char fingerprint[96];

	nft_fingerprint(skeleton, fingerprint);
	nft_message(n, NFT_MSG_NEWTABLE, NLM_F_CREATE);
	netlink_put_str(n, NFTA_TABLE_NAME, NFT_TABLE);
	netlink_put_str(n, NFTA_TABLE_USERDATA, fingerprint);
	for (enum nft_set set = 0; set < SETS_N; set++)
		put_set(n, set);
	put_sticky_map(n);
	put_plain_chain(n, "reject");
	put_plain_chain(n, "drop");
	put_plain_chain(n, NFT_CHAIN_SERVICES);
	put_base_chain(n, "prerouting", "nat", NF_INET_PRE_ROUTING, -100);
	put_base_chain(n, "output", "nat", NF_INET_LOCAL_OUT, -100);
	put_base_chain(n, "postrouting", "nat", NF_INET_POST_ROUTING, 100);
	put_base_chain(n, "filter_forward", "filter", NF_INET_FORWARD, 0);
	put_base_chain(n, "filter_output", "filter", NF_INET_LOCAL_OUT, 0);
	nft_put_fixed_rules(n, skeleton);
}

void nft_put_chain(struct netlink *n, struct chain chain)
{
	char name[32];

	chain_print(chain, name);
	put_plain_chain(n, name);
	nft_put_chain_rules(n, chain, name);
}

/* --- Elements --------------------------------------------------------------- */

struct list {
	enum nft_set set;
	unsigned type;
	uint16_t flags;
	size_t nest; /* 0: closed. */
};

static void list_close(struct netlink *n, struct list *list)
{
	if (list->nest != 0)
		netlink_nest_end(n, list->nest);
	list->nest = 0;
}

static void list_open(struct netlink *n, struct list *list)
{
	nft_message(n, list->type, list->flags);
	netlink_put_str(n, NFTA_SET_ELEM_LIST_TABLE, NFT_TABLE);
	netlink_put_str(n, NFTA_SET_ELEM_LIST_SET, set_name(list->set));
	list->nest = netlink_nest(n, NFTA_SET_ELEM_LIST_ELEMENTS);
}

static void put_goto(struct netlink *n, uint64_t value)
{
	char name[32];
	size_t verdict = netlink_nest(n, NFTA_DATA_VERDICT);

	chain_print(chain_of_value(value), name);
	netlink_put_be32(n, NFTA_VERDICT_CODE, (uint32_t)NFT_GOTO);
	netlink_put_str(n, NFTA_VERDICT_CHAIN, name);
	netlink_nest_end(n, verdict);
}

static void put_element(struct netlink *n, struct list *list, const struct element *e,
			bool with_data)
{
	if (list->nest != 0 && netlink_nest_bytes(n, list->nest) > LIST_BYTES_MAX)
		list_close(n, list);
	if (list->nest == 0)
		list_open(n, list);
	size_t elem = netlink_nest(n, NFTA_LIST_ELEM);
	size_t key = netlink_nest(n, NFTA_SET_ELEM_KEY);

	netlink_put(n, NFTA_DATA_VALUE, e->key, set_key_bytes(e->set));
	netlink_nest_end(n, key);
	if (with_data && set_types[e->set].data_bytes > 0) {
		size_t data = netlink_nest(n, NFTA_SET_ELEM_DATA);

		if (set_leads_to_chains(e->set))
			put_goto(n, e->value);
		else
			netlink_put(n, NFTA_DATA_VALUE, &e->value, sizeof(e->value));
		netlink_nest_end(n, data);
	}
	netlink_nest_end(n, elem);
}

static void put_changes_of_set(struct netlink *n, enum nft_set set, bool add,
			       const struct rules_change *changes, size_t n_changes)
{
	struct list list = {
		.set = set,
		.type = add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM,
		.flags = add ? NLM_F_CREATE | NLM_F_EXCL : 0,
	};

	for (size_t i = 0; i < n_changes; i++) {
		if (changes[i].element.set == set && (add ? changes[i].add : changes[i].remove))
			put_element(n, &list, &changes[i].element, add);
	}
	list_close(n, &list);
}

/* A replaced element goes and comes in one transaction: no packet sees the gap. */
void nft_put_changes(struct netlink *n, const struct rules_change *changes, size_t n_changes)
{
	for (enum nft_set set = 0; set < SETS_N; set++)
		put_changes_of_set(n, set, false, changes, n_changes);
	for (enum nft_set set = 0; set < SETS_N; set++)
		put_changes_of_set(n, set, true, changes, n_changes);
}
