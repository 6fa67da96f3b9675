/* A bitmap and the place where the walk goes on. Giving an address back does not move
 * the place, so an address rests until the walk has been round the whole range. */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/network/network.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"

struct address_pool {
	uint32_t base;   /* Host order. */
	uint32_t n;      /* Addresses of the range, ends included. */
	uint32_t n_used; /* Ends included. */
	uint32_t next;
	char *cursor_path;
	uint8_t *used; /* A bit each. */
};

static bool is_used(const struct address_pool *pool, uint32_t i)
{
	return (pool->used[i / 8] & 1u << (i % 8)) != 0;
}

static void set_used(struct address_pool *pool, uint32_t i)
{
	pool->used[i / 8] |= (uint8_t)(1u << (i % 8));
	pool->n_used++;
}

static int parse_cidr(const char *cidr, uint32_t *ret_base, unsigned *ret_bits)
{
	char address[INET_ADDRSTRLEN];
	struct in_addr in;
	int end = 0;

	if (sscanf(cidr, "%15[0-9.]/%2u%n", address, ret_bits, &end) != 2 || cidr[end] != '\0' ||
	    inet_pton(AF_INET, address, &in) != 1 || *ret_bits < 8 || *ret_bits > 30)
		return -EINVAL;
	*ret_base = ntohl(in.s_addr);
	return (*ret_base & (UINT32_MAX >> *ret_bits)) == 0 ? 0 : -EINVAL;
}

static void read_cursor(struct address_pool *pool)
{
	struct in_addr in;
	char text[INET_ADDRSTRLEN] = "";
	FILE *f = fopen(pool->cursor_path, "re");

	if (f == NULL)
		return;
	if (fscanf(f, "%15s", text) == 1 && inet_pton(AF_INET, text, &in) == 1 &&
	    ntohl(in.s_addr) - pool->base < pool->n)
		pool->next = ntohl(in.s_addr) - pool->base;
	fclose(f);
}

/* Losing it in a crash means only that an address may be used again sooner. */
static void write_cursor(struct address_pool *pool)
{
	autoclose int fd = open(pool->cursor_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct in_addr in = { htonl(pool->base + pool->next) };

	if (fd >= 0)
		dprintf(fd, "%s\n", inet_ntoa(in));
}

int address_pool_create(const char *cidr, const char *cursor_path, struct address_pool **ret,
			struct status *st)
{
	uint32_t base;
	unsigned bits;

	if (parse_cidr(cidr, &base, &bits) < 0)
		return status_set(st, -EINVAL, "\"%s\" is not an IPv4 range like 10.1.2.0/24",
				  cidr);
	struct address_pool *pool = xcalloc(1, sizeof(*pool));

	pool->base = base;
	pool->n = 1u << (32 - bits);
	pool->next = 2;
	pool->used = xcalloc(pool->n / 8 + 1, 1);
	set_used(pool, 0);
	set_used(pool, 1);
	set_used(pool, pool->n - 1);
	if (cursor_path != NULL) {
		pool->cursor_path = xstrdup(cursor_path);
		read_cursor(pool);
	}
	*ret = pool;
	return 0;
}

void address_pool_destroy(struct address_pool *pool)
{
	if (pool == NULL)
		return;
	free(pool->cursor_path);
	free(pool->used);
	free(pool);
}

int address_pool_mark(struct address_pool *pool, struct in_addr address)
{
	uint32_t i = ntohl(address.s_addr) - pool->base;

	if (i >= pool->n)
		return -ERANGE;
	if (is_used(pool, i))
		return -EEXIST;
	set_used(pool, i);
	return 0;
}

int address_pool_take(struct address_pool *pool, struct in_addr *ret)
{
	if (pool->n_used == pool->n)
		return -ENOSPC;
	while (is_used(pool, pool->next))
		pool->next = (pool->next + 1) % pool->n;
	set_used(pool, pool->next);
	ret->s_addr = htonl(pool->base + pool->next);
	pool->next = (pool->next + 1) % pool->n;
	if (pool->cursor_path != NULL)
		write_cursor(pool);
	return 0;
}

void address_pool_give_back(struct address_pool *pool, struct in_addr address)
{
	uint32_t i = ntohl(address.s_addr) - pool->base;

	assert(i >= 2);
	assert(i < pool->n - 1);
	assert(is_used(pool, i));
	pool->used[i / 8] &= (uint8_t) ~(1u << (i % 8));
	pool->n_used--;
}
