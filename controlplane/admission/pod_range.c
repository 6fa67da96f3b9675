/* Looking at every range from the start would make each node cost as much as all before it. Ranges are
 * taken from below, so the free ones begin where bisecting says; only when every probe of it is taken (the
 * network is all but full) all are looked at. */
#include "controlplane/admission/pod_range.h"

struct ranges {
	struct admission *a;
	uint32_t base;
	int prefix;
	uint64_t n;
};

static const char *claim_of(const struct ranges *r, uint64_t i)
{
	uint32_t ip = r->base + (uint32_t)(i << (32 - r->prefix));

	return arena_printf(r->a->arena, "podcidr/%u.%u.%u.%u/%d", ip >> 24, ip >> 16 & 255,
			    ip >> 8 & 255, ip & 255, r->prefix);
}

static bool is_free(const struct ranges *r, uint64_t i)
{
	return !r->a->reader->claim_taken(r->a->reader->ctx, claim_of(r, i));
}

/* Range first is free; the one before after is taken (or after is 0). */
static uint64_t bisect(const struct ranges *r, uint64_t after, uint64_t first)
{
	while (after < first) {
		uint64_t middle = after + (first - after) / 2;

		if (is_free(r, middle))
			first = middle;
		else
			after = middle + 1;
	}
	return first;
}

const char *pod_range_choose(struct admission *a, uint32_t base, int bits, int prefix)
{
	struct ranges r = { a, base, prefix, (uint64_t)1 << (prefix - bits) };
	uint64_t after = 0;

	for (uint64_t i = 0; i < r.n; i = 2 * i + 1) {
		if (is_free(&r, i))
			return claim_of(&r, bisect(&r, after, i));
		after = i + 1;
	}
	for (uint64_t i = 0; i < r.n; i++)
		if (is_free(&r, i))
			return claim_of(&r, i);
	return NULL;
}
