#include "tests/bench/samples.h"

#include <stdio.h>
#include <stdlib.h>

#include <uv.h>

#include "common/base/alloc.h"

#define SAMPLES_MAX (8u << 20)
#define WARM_UP_NS 1000000000ull

void samples_begin(struct samples *s, double seconds)
{
	s->us = xcalloc(SAMPLES_MAX, sizeof(s->us[0]));
	s->from_ns = uv_hrtime() + WARM_UP_NS;
	s->until_ns = s->from_ns + (uint64_t)(seconds * 1e9);
}

void samples_add(struct samples *s, uint64_t sent_ns, bool good)
{
	uint64_t now = uv_hrtime();

	if (now < s->from_ns || now > s->until_ns)
		return;
	s->n_bad += !good;
	if (s->n < SAMPLES_MAX)
		s->us[s->n++] = (uint32_t)((now - sent_ns) / 1000);
}

bool samples_over(const struct samples *s)
{
	return uv_hrtime() >= s->until_ns;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

void samples_print(struct samples *s)
{
	if (s->n == 0) {
		fputs("nothing was answered\n", stderr);
		exit(1);
	}
	qsort(s->us, s->n, sizeof(s->us[0]), by_value);
	printf("%.0f %.3f %.3f %.3f %zu\n", (double)s->n * 1e9 / (double)(s->until_ns - s->from_ns),
	       s->us[s->n / 2] / 1e3, s->us[s->n * 99 / 100] / 1e3, s->us[s->n - 1] / 1e3, s->n_bad);
}
