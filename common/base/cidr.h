/* Ranges of IPv4 and IPv6 addresses, as Kubernetes' objects write them
 * ("10.9.8.0/24", "2001:db8::/64"; RFC 4632, RFC 4291). Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct cidr {
	bool v6;
	uint8_t address[16]; /* Network order; IPv4 takes the first four bytes. */
	unsigned bits;       /* 0 to 32 or 128. */
};

/* False: s is NULL or is no range. Bits below the prefix may be set. */
bool cidr_read(const char *s, struct cidr *ret);
/* The same of a single address: a range of one. */
bool cidr_read_address(const char *s, struct cidr *ret);
/* Whether every address of inner is in outer. */
bool cidr_contains(const struct cidr *outer, const struct cidr *inner);
