/* Counters of the API server, for /metrics. One table names them all; the
 * struct, the text and docs/api.md follow it. Loop thread only. */
#pragma once

#include <stdint.h>

#include "common/base/buf.h"

/* name, type, help */
#define METRICS(X)                                                                                 \
	X(requests_total, "counter", "Requests answered.")                                         \
	X(requests_failed_total, "counter", "Requests answered with a code of 400 or above.")      \
	X(requests_broken_total, "counter", "Requests answered with a code of 500 or above.")      \
	X(requests_in_flight, "gauge", "Requests under way, without watches and streams.")         \
	X(requests_refused_total, "counter", "Requests refused because too many were in flight.")  \
	X(unauthorized_total, "counter", "Requests whose credentials were missing or wrong.")      \
	X(forbidden_total, "counter", "Requests that the user may not make.")                      \
	X(reads_total, "counter", "Gets and lists.")                                               \
	X(writes_total, "counter", "Creates, updates, patches and deletes.")                       \
	X(read_index_total, "counter", "Questions to the leader for linearizable reads.")          \
	X(objects_listed_total, "counter", "Objects printed into lists.")                          \
	X(watchers, "gauge", "Watches under way.")                                                 \
	X(watches_total, "counter", "Watches begun.")                                              \
	X(watches_expired_total, "counter", "Watches ended because the watcher fell behind.")      \
	X(watch_events_encoded_total, "counter", "Events encoded, each once per encoding.")        \
	X(watch_events_sent_total, "counter", "Events sent, once per watcher.")                    \
	X(streams, "gauge", "Streams to containers under way.")                                    \
	X(streams_total, "counter", "Streams to containers begun.")

struct metrics {
#define METRICS_MEMBER(name, type, help) uint64_t name;
	METRICS(METRICS_MEMBER)
#undef METRICS_MEMBER
};

/* Append the table in Prometheus' text format; every name begins with sampan_api_. */
void metrics_print(struct buf *out, const struct metrics *m);
