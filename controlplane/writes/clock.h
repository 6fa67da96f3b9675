/* The cluster's time: what entries carry and views show.
 *
 * It never runs backwards and advances with this master's monotonic clock from the
 * newest time that an entry brought. A wall clock enters only as the lower median
 * of the clocks of all masters that answer, a majority at least, when a master
 * begins to lead and then at most once a minute while it proposes; so one
 * master's wrong clock moves nothing, and a cluster that was switched off for a
 * day still knows the date. Everybody is waited for: of the first two answers of
 * three the lower one may be the wrong one, which holds the time back until others
 * answer first, and then it leaps. A process that has not finished a round waits
 * for it (200 ms at most) before its first entry, so that the time does not leap
 * behind that entry's back.
 * Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controlplane/writes/rpc.h"

struct cluster_clock {
	struct source *source;
	struct rpc *rpc;
	const struct log_link *link;
	int64_t base_ns;
	uint64_t base_mono_ns;
	/* One round of asking. */
	int64_t walls[16];
	size_t n_walls, n_members, n_open;
	uint64_t asked_mono_ns,
		calls[16]; /* Of the round; those that are over are forgotten by rpc. */
	bool heard;        /* A round ended, once. */
};

/* Answers the other masters' questions from now on. */
void cluster_clock_init(struct cluster_clock *c, struct source *source, struct rpc *rpc,
			const struct log_link *link);
int64_t cluster_clock_now_ns(const struct cluster_clock *c);
/* UINT64_MAX: the time may go into entries; else when it may at the latest. */
uint64_t cluster_clock_wait_ns(const struct cluster_clock *c);
/* An entry or a snapshot of that time was applied. */
void cluster_clock_seen(struct cluster_clock *c, int64_t time_ns);
/* Ask all masters for their clocks; calls less than a minute after the last round do nothing
 * unless leading begins. */
void cluster_clock_ask(struct cluster_clock *c, bool begins);
