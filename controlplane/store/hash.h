/* The hash behind store_hash(): 64 bits, eight bytes at a time, the same on every
 * machine. It tells states apart that differ by accident; it withstands no
 * attacker. Any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

/* Fold more into a running hash; begin with 0. */
uint64_t hash_add(uint64_t hash, struct bytes more);
uint64_t hash_add_u64(uint64_t hash, uint64_t more);
uint64_t hash_add_str(uint64_t hash, const char *more);
