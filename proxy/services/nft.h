/* The table `sampan` in this network namespace: writing it and reading it back,
 * by netlink messages of our own. Blocking (a change takes about a millisecond); one thread. */
#pragma once

#include "common/base/status.h"
#include "common/netlink/netlink.h"
#include "proxy/services/rules.h"

/* What is fixed in the skeleton; a table with others is replaced. Prefixes in host order. */
struct nft_skeleton {
	uint32_t pod_base,
		pod_mask; /* All pods of the cluster; mask 0: no masquerading of their way out. */
	uint32_t service_base,
		service_mask; /* Unknown addresses of it are refused; mask 0: none are. */
};

/* Begin a transaction; everything up to nft_commit() happens at once or not at all. */
void nft_begin(struct netlink *n);
/* 0, or the first error; the kernel then holds what it held before. */
int nft_commit(struct netlink *n);

/* Take the table away if there is one, and everything in it. */
void nft_put_delete(struct netlink *n);
/* The same at once: for tests and for leaving a cluster. */
int nft_remove_table(struct netlink *n);
/* An empty table with its fixed chains. */
void nft_put_skeleton(struct netlink *n, const struct nft_skeleton *skeleton);
/* A chain that elements lead to. Not for CHAIN_REJECT and CHAIN_DROP, which are fixed. */
void nft_put_chain(struct netlink *n, struct chain chain);
void nft_put_changes(struct netlink *n, const struct rules_change *changes, size_t n_changes);

/* Is the table there, as this program would make it? 1 yes, 0 no, ENOENT there is none. */
int nft_probe(struct netlink *n, const struct nft_skeleton *skeleton);
typedef void nft_chain_fn(void *arg, struct chain chain);
int nft_read_chains(struct netlink *n, nft_chain_fn *fn, void *arg);
typedef void nft_element_fn(void *arg, const struct element *e);
int nft_read_elements(struct netlink *n, enum nft_set set, nft_element_fn *fn, void *arg);

/* One element of a dump: the attributes of NFTA_LIST_ELEM. Exported for fuzzing. */
int nft_parse_element(const struct nlattr *elem, enum nft_set set, struct element *ret);
