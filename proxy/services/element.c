#include "proxy/services/element.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

static const struct {
	const char *name;
	uint8_t key_bytes;
	bool chains;
} sets[SETS_N] = {
	[SET_SVC] = { "svc", 12, true },
	[SET_EPS] = { "eps", 16, false },
	[SET_NP] = { "np", 8, true },
	[SET_NEPS] = { "neps", 12, false },
	[SET_HAIRPIN] = { "hairpin", 8, false },
};

size_t set_key_bytes(enum nft_set set)
{
	return sets[set].key_bytes;
}

const char *set_name(enum nft_set set)
{
	return sets[set].name;
}

bool set_leads_to_chains(enum nft_set set)
{
	return sets[set].chains;
}

/* kind in bits 56.., seconds in 24..55, n in 0..23. */
uint64_t value_of_chain(struct chain chain)
{
	return (uint64_t)chain.kind << 56 | (uint64_t)chain.sticky_s << 24 | chain.n;
}

struct chain chain_of_value(uint64_t value)
{
	return (struct chain){
		.kind = (enum chain_kind)(value >> 56),
		.n = (unsigned)(value & 0xffffff),
		.sticky_s = (uint32_t)(value >> 24),
	};
}

void chain_print(struct chain chain, char ret[32])
{
	switch (chain.kind) {
	case CHAIN_REJECT:
		snprintf(ret, 32, "reject");
		return;
	case CHAIN_DROP:
		snprintf(ret, 32, "drop");
		return;
	case CHAIN_EPS:
		snprintf(ret, 32, "n%u", chain.n);
		return;
	case CHAIN_EPS_MASQ:
		snprintf(ret, 32, "m%u", chain.n);
		return;
	case CHAIN_EPS_STICKY:
		snprintf(ret, 32, "s%u.%u", chain.n, chain.sticky_s);
		return;
	case CHAIN_NEPS:
		snprintf(ret, 32, "p%u", chain.n);
		return;
	case CHAIN_NEPS_MASQ:
		snprintf(ret, 32, "q%u", chain.n);
		return;
	}
	abort();
}

bool chain_parse(const char *name, struct chain *ret)
{
	static const struct {
		char letter;
		enum chain_kind kind;
	} kinds[] = { { 'n', CHAIN_EPS },
		      { 'm', CHAIN_EPS_MASQ },
		      { 's', CHAIN_EPS_STICKY },
		      { 'p', CHAIN_NEPS },
		      { 'q', CHAIN_NEPS_MASQ } };
	struct chain chain = { 0 };
	char again[32];

	if (strcmp(name, "reject") == 0)
		chain.kind = CHAIN_REJECT;
	else if (strcmp(name, "drop") == 0)
		chain.kind = CHAIN_DROP;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (chain.kind == 0 && name[0] == kinds[i].letter &&
		    sscanf(name + 1, "%8u.%8u", &chain.n, &chain.sticky_s) >= 1)
			chain.kind = kinds[i].kind;
	}
	if (chain.kind == 0 || chain.n > BACKENDS_MAX)
		return false;
	chain_print(chain, again);
	if (strcmp(again, name) != 0)
		return false;
	*ret = chain;
	return true;
}

uint64_t value_of_endpoint(const uint8_t address[4], uint16_t port_be)
{
	uint8_t raw[8] = { 0 };
	uint64_t value;

	memcpy(raw, address, 4);
	memcpy(raw + 4, &port_be, 2);
	memcpy(&value, raw, 8);
	return value;
}

void endpoint_of_value(uint64_t value, uint8_t ret_address[4], uint16_t *ret_port_be)
{
	uint8_t raw[8];

	memcpy(raw, &value, 8);
	memcpy(ret_address, raw, 4);
	memcpy(ret_port_be, raw + 4, 2);
}

static void put_key(struct element *e, size_t at, uint8_t protocol, uint16_t port, int index)
{
	uint16_t port_be = htons(port);

	e->key[at] = protocol;
	memcpy(e->key + at + 4, &port_be, 2);
	if (index >= 0) {
		uint32_t i = (uint32_t)index;

		memcpy(e->key + at + 8, &i, 4);
	}
}

struct element element_svc(const uint8_t address[4], uint8_t protocol, uint16_t port, int index)
{
	struct element e = { .set = index < 0 ? SET_SVC : SET_EPS };

	memcpy(e.key, address, 4);
	put_key(&e, 4, protocol, port, index);
	return e;
}

struct element element_np(uint8_t protocol, uint16_t port, int index)
{
	struct element e = { .set = index < 0 ? SET_NP : SET_NEPS };

	put_key(&e, 0, protocol, port, index);
	return e;
}

struct element element_hairpin(const uint8_t address[4])
{
	struct element e = { .set = SET_HAIRPIN };

	memcpy(e.key, address, 4);
	memcpy(e.key + 4, address, 4);
	return e;
}

void elements_add(struct elements *list, const struct element *e)
{
	array_grow(list->items, list->n, list->cap);
	list->items[list->n++] = *e;
}

void elements_fini(struct elements *list)
{
	free(list->items);
	*list = (struct elements){ 0 };
}

int element_compare(const struct element *a, const struct element *b)
{
	if (a->set != b->set)
		return a->set < b->set ? -1 : 1;
	return memcmp(a->key, b->key, ELEMENT_KEY_MAX);
}

static int compare_items(const void *a, const void *b)
{
	return element_compare(a, b);
}

void elements_sort(struct elements *list)
{
	size_t kept = 0;

	if (list->n == 0)
		return;
	qsort(list->items, list->n, sizeof(*list->items), compare_items);
	for (size_t i = 0; i < list->n; i++) {
		if (kept == 0 || element_compare(&list->items[kept - 1], &list->items[i]) != 0)
			list->items[kept++] = list->items[i];
	}
	list->n = kept;
}

static void print_address(struct buf *to, const uint8_t *address)
{
	buf_printf(to, " %u.%u.%u.%u", address[0], address[1], address[2], address[3]);
}

void element_print(struct buf *to, const struct element *e)
{
	bool has_address = e->set == SET_SVC || e->set == SET_EPS;
	const uint8_t *at = e->key + (has_address ? 4 : 0);
	uint16_t port;
	uint32_t index;

	buf_put_str(to, set_name(e->set));
	if (e->set == SET_HAIRPIN) {
		print_address(to, e->key);
		return;
	}
	if (has_address)
		print_address(to, e->key);
	memcpy(&port, at + 4, 2);
	buf_printf(to, " %s %u", *at == 6 ? "tcp" : *at == 17 ? "udp" : "sctp", ntohs(port));
	if (set_leads_to_chains(e->set)) {
		char name[32];

		chain_print(chain_of_value(e->value), name);
		buf_printf(to, " -> %s", name);
		return;
	}
	uint8_t address[4];

	memcpy(&index, at + 8, 4);
	endpoint_of_value(e->value, address, &port);
	buf_printf(to, " [%u] ->", index);
	print_address(to, address);
	buf_printf(to, ":%u", ntohs(port));
}
