#include "agent/collect.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "agent/agent.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"

enum { PERIOD_MS = 5 * 60 * 1000 };

struct collector {
	struct agent *agent;
	uv_timer_t timer;
};

static void collect(struct agent *a, uint64_t want_bytes)
{
	size_t n;
	const char **in_use = pods_images(a->pods, &n);
	uint64_t freed = images_collect(a->images, in_use, n, want_bytes);

	free(in_use);
	if (freed < want_bytes)
		log_warn("the disk stays nearly full", "dir=%s wanted_bytes=%" PRIu64 " freed_bytes=%" PRIu64,
			a->dir, want_bytes, freed);
	else
		log_info("removed images for room on the disk", "freed_bytes=%" PRIu64, freed);
}

static void on_timer(uv_timer_t *timer)
{
	struct agent *a = container_of(timer, struct collector, timer)->agent;
	static const struct images_watermarks marks = { .high_percent = 85, .low_percent = 80 };
	struct statvfs s;
	uint64_t capacity, want;

	if (a->stopping)
		return;
	if (statvfs(a->dir, &s) < 0) {
		log_warn("the disk cannot be looked at", "dir=%s error=%s", a->dir, log_quote(strerror(errno)));
		return;
	}
	capacity = (uint64_t)s.f_blocks * s.f_frsize;
	want = images_bytes_to_free(capacity - (uint64_t)s.f_bavail * s.f_frsize, capacity, marks);
	if (want > 0)
		collect(a, want);
}

struct collector *collector_start(struct agent *a)
{
	struct collector *c = xcalloc(1, sizeof(*c));

	c->agent = a;
	uv_timer_init(&a->loop, &c->timer);
	uv_timer_start(&c->timer, on_timer, PERIOD_MS, PERIOD_MS);
	return c;
}
