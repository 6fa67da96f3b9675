/* Latencies of a closed-loop benchmark, and the one line they become:
 * "requests/s p50 p99 max bad", times in milliseconds. One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct samples {
	uint32_t *us;
	size_t n, n_bad;
	uint64_t from_ns, until_ns; /* Answers before from_ns are warm-up. */
};

/* Measure for seconds, after a second of warm-up from now on. */
void samples_begin(struct samples *s, double seconds);
void samples_add(struct samples *s, uint64_t sent_ns, bool good);
bool samples_over(const struct samples *s);
/* Prints the line; exits when nothing was answered. */
void samples_print(struct samples *s);
