#include "common/base/source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "common/base/cleanup.h"

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	if (clock_gettime(id, &ts) < 0)
		abort();
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t system_monotonic_ns(struct source *s)
{
	(void)s;
	return clock_ns(CLOCK_MONOTONIC);
}

static int64_t system_wall_ns(struct source *s)
{
	(void)s;
	return (int64_t)clock_ns(CLOCK_REALTIME);
}

static void system_random(struct source *s, void *to, size_t n)
{
	char *p = to;

	(void)s;
	while (n > 0) {
		ssize_t got = getrandom(p, n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			abort();
		p += got;
		n -= (size_t)got;
	}
}

struct source system_source = { system_monotonic_ns, system_wall_ns, system_random };

uint64_t source_random_u64(struct source *s)
{
	uint64_t v;

	s->random(s, &v, sizeof(v));
	return v;
}

uint64_t source_random_below(struct source *s, uint64_t bound)
{
	/* Reject the last, incomplete run of values: every result is equally likely. */
	uint64_t limit = UINT64_MAX - UINT64_MAX % bound, v;

	do
		v = source_random_u64(s);
	while (v >= limit);
	return v % bound;
}

void source_uuid(struct source *s, char ret_uuid[37])
{
	uint8_t b[16];

	s->random(s, b, sizeof(b));
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	snprintf(ret_uuid, 37,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
		 b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
		 b[15]);
}

static uint64_t seeded_monotonic_ns(struct source *base)
{
	return container_of(base, struct seeded_source, base)->now_ns;
}

static int64_t seeded_wall_ns(struct source *base)
{
	struct seeded_source *s = container_of(base, struct seeded_source, base);

	return (int64_t)s->now_ns + s->wall_offset_ns;
}

static uint64_t splitmix64(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static void seeded_random(struct source *base, void *to, size_t n)
{
	struct seeded_source *s = container_of(base, struct seeded_source, base);
	uint8_t *p = to;

	while (n > 0) {
		uint64_t v = splitmix64(&s->state);

		for (size_t i = 0; i < sizeof(v) && n > 0; i++, n--, v >>= 8)
			*p++ = (uint8_t)v;
	}
}

void seeded_source_init(struct seeded_source *s, uint64_t seed)
{
	*s = (struct seeded_source){
		.base = { seeded_monotonic_ns, seeded_wall_ns, seeded_random },
		.state = seed,
		.wall_offset_ns = 1767225600ll * 1000000000, /* 2026-01-01 */
	};
}
