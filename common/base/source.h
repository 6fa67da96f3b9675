/* Time and chance, handed in from outside so that a seed replays every failure.
 *
 * Deciding code takes a struct source and never asks the system itself. The
 * real one reads the kernel's clocks and getrandom(2); simulators pass their
 * own. The table must outlive its users; one thread per source. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct source {
	/* Monotonic nanoseconds from an arbitrary origin. */
	uint64_t (*monotonic_ns)(struct source *s);
	/* Nanoseconds since 1970-01-01 UTC. */
	int64_t (*wall_ns)(struct source *s);
	void (*random)(struct source *s, void *to, size_t n);
};

extern struct source system_source;

uint64_t source_random_u64(struct source *s);
/* A uniform number below bound (> 0). */
uint64_t source_random_below(struct source *s, uint64_t bound);
/* A random UUID (RFC 4122 version 4) as 36 characters and a terminator. */
void source_uuid(struct source *s, char ret_uuid[37]);

/* A seeded source on virtual time (splitmix64); for tests and simulators. */
struct seeded_source {
	struct source base;
	uint64_t state;
	uint64_t now_ns;
	int64_t wall_offset_ns;
};

void seeded_source_init(struct seeded_source *s, uint64_t seed);
