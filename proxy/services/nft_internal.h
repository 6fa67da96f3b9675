/* Shared by nft.c, nft_rules.c and nft_read.c. */
#pragma once

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "proxy/services/nft.h"

#define NFT_TABLE "sampan"
/* Changes with every change of skeleton or chains: a table of another version is replaced. */
#define NFT_VERSION 1

#define NFT_CHAIN_SERVICES "services"
#define NFT_SET_STICKY "sticky"

void nft_message(struct netlink *n, unsigned type, uint16_t flags);
/* Open a rule at the end of a chain; returns what nft_rule_end() needs. */
struct nft_rule {
	size_t expressions;
};
struct nft_rule nft_rule_begin(struct netlink *n, const char *chain);
void nft_rule_end(struct netlink *n, struct nft_rule rule);
void nft_put_chain_rules(struct netlink *n, struct chain chain, const char *name);
void nft_put_fixed_rules(struct netlink *n, const struct nft_skeleton *skeleton);
/* The text that tells one skeleton from another. */
void nft_fingerprint(const struct nft_skeleton *skeleton, char ret[96]);
