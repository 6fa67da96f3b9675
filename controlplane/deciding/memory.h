/* What the driver remembers of single keys: a plan in flight, a back-off, a time to
 * look again. Only keys with something to remember are here. Times are monotonic
 * nanoseconds. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/tree.h"

struct keys;

struct remembered {
	struct tree_node by_key, by_time;
	char *namespace, *name;
	bool in_flight;
	unsigned failures;
	char *memo;             /* What the controller wants to know at its next look, or NULL. */
	uint64_t not_before_ns; /* Back-off; 0: none. */
	uint64_t again_ns;      /* Mark it dirty then; 0: never. */
	uint64_t time_ns;       /* The earlier of both; 0: none, and not in by_time. */
};

struct memory {
	struct tree by_key, by_time;
};

void memory_init(struct memory *m);
void memory_clear(struct memory *m);
/* NULL when nothing is remembered. */
struct remembered *memory_find(const struct memory *m, const char *namespace, const char *name);
/* Made when there is none. */
struct remembered *memory_get(struct memory *m, const char *namespace, const char *name);
/* Not before time_ns. */
void memory_set_time(struct memory *m, struct remembered *r, uint64_t time_ns);
/* Look again at time_ns. */
void memory_set_again(struct memory *m, struct remembered *r, uint64_t time_ns);
/* End the back-off of a key, or of all keys of a namespace (name NULL): what was refused may pass
 * now. */
void memory_forgive(struct memory *m, const char *namespace, const char *name);
void memory_forget_failures(struct memory *m, const char *namespace, const char *name);
/* memo is copied; NULL: none. */
void memory_set_memo(struct memory *m, const char *namespace, const char *name, const char *memo);
/* Forget r if nothing is left to remember. */
void memory_tidy(struct memory *m, struct remembered *r);
/* Mark dirty what is to be looked at again, end back-offs that are over. */
void memory_wake(struct memory *m, uint64_t now_ns, struct keys *dirty);
/* UINT64_MAX: no time is remembered. */
uint64_t memory_deadline_ns(const struct memory *m);
/* How many of the dirty keys must wait: in flight or backing off. */
size_t memory_waiting(const struct memory *m, uint64_t now_ns, const struct keys *dirty);
