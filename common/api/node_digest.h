/* The digest by which an agent and the leader agree on what the agent holds.
 *
 * Each object held contributes node_digest(); contributions are summed modulo
 * 2^64, so that one object is replaced by a subtraction and an addition. The
 * value is part of the node protocol (docs/node-protocol.md): FNV-1a (64 bit)
 * over resource, namespace, name and uid, each followed by a NUL byte, then the
 * revision as 8 bytes, least significant first, finished by splitmix64's mixer
 * because sums of bare FNV values would collide too easily. NULL counts as "".
 * Any thread. */
#pragma once

#include <stdint.h>

static inline uint64_t node_digest_text_(uint64_t h, const char *text)
{
	for (const unsigned char *p = (const unsigned char *)(text ? text : ""); *p; p++)
		h = (h ^ *p) * 0x100000001b3;
	return h * 0x100000001b3; /* The NUL byte. */
}

static inline uint64_t node_digest(const char *resource, const char *namespace, const char *name,
				   const char *uid, uint64_t revision)
{
	uint64_t h = 0xcbf29ce484222325;

	h = node_digest_text_(h, resource);
	h = node_digest_text_(h, namespace);
	h = node_digest_text_(h, name);
	h = node_digest_text_(h, uid);
	for (int i = 0; i < 64; i += 8)
		h = (h ^ (revision >> i & 0xff)) * 0x100000001b3;
	h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9;
	h = (h ^ h >> 27) * 0x94d049bb133111eb;
	return h ^ h >> 31;
}
