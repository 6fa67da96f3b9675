/* The elements of the nftables maps that carry Services (docs/services.md), as values.
 *
 * Keys have the kernel's layout: parts padded to 4 bytes, addresses and ports in
 * network order, the index in host order. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

enum nft_set {
	SET_SVC,     /* address . protocol . port -> chain */
	SET_EPS,     /* address . protocol . port . index -> address . port */
	SET_NP,      /* protocol . port -> chain */
	SET_NEPS,    /* protocol . port . index -> address . port */
	SET_HAIRPIN, /* address . address */
	SETS_N,
};

enum chain_kind {
	CHAIN_REJECT = 1,
	CHAIN_DROP,
	CHAIN_EPS,        /* One of n endpoints of eps. */
	CHAIN_EPS_MASQ,   /* The same, with the source address of the node. */
	CHAIN_EPS_STICKY, /* The same client gets the same endpoint. */
	CHAIN_NEPS,
	CHAIN_NEPS_MASQ,
};

#define ELEMENT_KEY_MAX 16
/* numgen's range and so the number of endpoints per port of one Service that are used. */
#define BACKENDS_MAX 8192

/* Where a map element leads. sticky_s is for CHAIN_EPS_STICKY. */
struct chain {
	enum chain_kind kind;
	unsigned n;
	uint32_t sticky_s;
};

struct element {
	uint8_t set;
	uint8_t key[ELEMENT_KEY_MAX]; /* Zero behind the set's key length. */
	uint64_t value;               /* A packed endpoint or chain; 0 in hairpin. */
};

struct elements {
	struct element *items;
	size_t n, cap;
};

size_t set_key_bytes(enum nft_set set);
const char *set_name(enum nft_set set);
bool set_leads_to_chains(enum nft_set set);

uint64_t value_of_chain(struct chain chain);
struct chain chain_of_value(uint64_t value);
/* n3, m3, s3.10800, p3, q3, reject, drop. */
void chain_print(struct chain chain, char ret[32]);
bool chain_parse(const char *name, struct chain *ret);

/* address and port in network order. */
uint64_t value_of_endpoint(const uint8_t address[4], uint16_t port_be);
void endpoint_of_value(uint64_t value, uint8_t ret_address[4], uint16_t *ret_port_be);

/* Keys; index < 0: a key without one. Ports in host order. */
struct element element_svc(const uint8_t address[4], uint8_t protocol, uint16_t port, int index);
struct element element_np(uint8_t protocol, uint16_t port, int index);
struct element element_hairpin(const uint8_t address[4]);

void elements_add(struct elements *list, const struct element *e);
void elements_fini(struct elements *list);
/* By set and key, each once. */
void elements_sort(struct elements *list);
int element_compare(const struct element *a, const struct element *b);
/* "svc 10.96.0.1 tcp 80 -> n2", for tests and --dump. */
void element_print(struct buf *to, const struct element *e);
