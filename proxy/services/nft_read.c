#include <errno.h>
#include <string.h>

#include "proxy/services/nft_internal.h"

#define DUMP_TRIES_MAX 5

static bool text_is(const struct nlattr *a, const char *want)
{
	size_t n = strlen(want) + 1;

	return a != NULL && netlink_bytes(a) >= n && memcmp(netlink_data(a), want, n) == 0;
}

/* --- The table -------------------------------------------------------------- */

struct probe {
	char fingerprint[96];
	int result;
};

static int on_table(void *arg, const struct nlmsghdr *message)
{
	const struct nlattr *attrs[NFTA_TABLE_MAX + 1];
	struct probe *probe = arg;

	if (netlink_parse_message(message, sizeof(struct nfgenmsg), attrs, NFTA_TABLE_MAX) < 0)
		return 0;
	if (text_is(attrs[NFTA_TABLE_NAME], NFT_TABLE))
		probe->result = text_is(attrs[NFTA_TABLE_USERDATA], probe->fingerprint);
	return 0;
}

/* The tables change under a dump whenever anybody commits anything: ask again then. */
static int dump(struct netlink *n, unsigned type, const char *set, netlink_message_fn *fn,
		void *arg)
{
	int rc = -EINTR;

	for (int i = 0; i < DUMP_TRIES_MAX && rc == -EINTR; i++) {
		nft_message(n, type, NLM_F_DUMP);
		if (set != NULL) {
			netlink_put_str(n, NFTA_SET_ELEM_LIST_TABLE, NFT_TABLE);
			netlink_put_str(n, NFTA_SET_ELEM_LIST_SET, set);
		}
		rc = netlink_dump(n, fn, arg);
	}
	return rc;
}

int nft_probe(struct netlink *n, const struct nft_skeleton *skeleton)
{
	struct probe probe = { .result = -ENOENT };
	int rc;

	nft_fingerprint(skeleton, probe.fingerprint);
	rc = dump(n, NFT_MSG_GETTABLE, NULL, on_table, &probe);
	return rc < 0 ? rc : probe.result;
}

/* --- Chains ----------------------------------------------------------------- */

struct chain_reader {
	nft_chain_fn *fn;
	void *arg;
};

static int on_chain(void *arg, const struct nlmsghdr *message)
{
	const struct nlattr *attrs[NFTA_CHAIN_MAX + 1];
	struct chain_reader *reader = arg;
	struct chain chain;
	char name[32];

	if (netlink_parse_message(message, sizeof(struct nfgenmsg), attrs, NFTA_CHAIN_MAX) < 0 ||
	    !text_is(attrs[NFTA_CHAIN_TABLE], NFT_TABLE) || attrs[NFTA_CHAIN_NAME] == NULL ||
	    netlink_bytes(attrs[NFTA_CHAIN_NAME]) > sizeof(name))
		return 0;
	memcpy(name, netlink_data(attrs[NFTA_CHAIN_NAME]), netlink_bytes(attrs[NFTA_CHAIN_NAME]));
	name[sizeof(name) - 1] = '\0';
	if (chain_parse(name, &chain))
		reader->fn(reader->arg, chain);
	return 0;
}

int nft_read_chains(struct netlink *n, nft_chain_fn *fn, void *arg)
{
	struct chain_reader reader = { fn, arg };

	return dump(n, NFT_MSG_GETCHAIN, NULL, on_chain, &reader);
}

/* --- Elements --------------------------------------------------------------- */

static int parse_goto(const struct nlattr *data, uint64_t *ret)
{
	const struct nlattr *attrs[NFTA_DATA_MAX + 1], *verdict[NFTA_VERDICT_MAX + 1];
	const struct nlattr *name;
	struct chain chain;
	char text[32] = "";

	if (netlink_parse(netlink_data(data), netlink_bytes(data), attrs, NFTA_DATA_MAX) < 0 ||
	    attrs[NFTA_DATA_VERDICT] == NULL ||
	    netlink_parse(netlink_data(attrs[NFTA_DATA_VERDICT]),
			  netlink_bytes(attrs[NFTA_DATA_VERDICT]), verdict, NFTA_VERDICT_MAX) < 0)
		return -EBADMSG;
	name = verdict[NFTA_VERDICT_CHAIN];
	if (name == NULL || netlink_bytes(name) >= sizeof(text))
		return -EBADMSG;
	memcpy(text, netlink_data(name), netlink_bytes(name));
	if (!chain_parse(text, &chain))
		return -EBADMSG;
	*ret = value_of_chain(chain);
	return 0;
}

static int parse_value(const struct nlattr *nest, void *to, size_t bytes)
{
	const struct nlattr *attrs[NFTA_DATA_MAX + 1];

	if (netlink_parse(netlink_data(nest), netlink_bytes(nest), attrs, NFTA_DATA_MAX) < 0 ||
	    attrs[NFTA_DATA_VALUE] == NULL || netlink_bytes(attrs[NFTA_DATA_VALUE]) != bytes)
		return -EBADMSG;
	memcpy(to, netlink_data(attrs[NFTA_DATA_VALUE]), bytes);
	return 0;
}

int nft_parse_element(const struct nlattr *elem, enum nft_set set, struct element *ret)
{
	const struct nlattr *attrs[NFTA_SET_ELEM_MAX + 1];
	struct element e = { .set = (uint8_t)set };
	int rc = 0;

	if (netlink_parse(netlink_data(elem), netlink_bytes(elem), attrs, NFTA_SET_ELEM_MAX) < 0 ||
	    attrs[NFTA_SET_ELEM_KEY] == NULL ||
	    parse_value(attrs[NFTA_SET_ELEM_KEY], e.key, set_key_bytes(set)) < 0)
		return -EBADMSG;
	if (set != SET_HAIRPIN && attrs[NFTA_SET_ELEM_DATA] == NULL)
		return -EBADMSG;
	if (set_leads_to_chains(set))
		rc = parse_goto(attrs[NFTA_SET_ELEM_DATA], &e.value);
	else if (set != SET_HAIRPIN)
		rc = parse_value(attrs[NFTA_SET_ELEM_DATA], &e.value, sizeof(e.value));
	if (rc == 0)
		*ret = e;
	return rc;
}

struct element_reader {
	enum nft_set set;
	nft_element_fn *fn;
	void *arg;
};

static int on_elements(void *arg, const struct nlmsghdr *message)
{
	const struct nlattr *attrs[NFTA_SET_ELEM_LIST_MAX + 1], *list;
	struct element_reader *reader = arg;
	struct element e;

	if (netlink_parse_message(message, sizeof(struct nfgenmsg), attrs, NFTA_SET_ELEM_LIST_MAX) <
	    0)
		return -EBADMSG;
	list = attrs[NFTA_SET_ELEM_LIST_ELEMENTS];
	if (list == NULL)
		return 0;
	const uint8_t *at = netlink_data(list);
	size_t left = netlink_bytes(list);

	while (left >= NLA_HDRLEN) {
		const struct nlattr *elem = (const struct nlattr *)(const void *)at;
		size_t step = NLA_ALIGN(elem->nla_len);

		if (elem->nla_len < NLA_HDRLEN || elem->nla_len > left ||
		    nft_parse_element(elem, reader->set, &e) < 0)
			return -EBADMSG;
		reader->fn(reader->arg, &e);
		if (step >= left)
			break;
		at += step;
		left -= step;
	}
	return 0;
}

int nft_read_elements(struct netlink *n, enum nft_set set, nft_element_fn *fn, void *arg)
{
	struct element_reader reader = { set, fn, arg };

	return dump(n, NFT_MSG_GETSETELEM, set_name(set), on_elements, &reader);
}
