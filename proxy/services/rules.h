/* What the maps should hold, what they hold, and the difference.
 *
 * Each Service owns a list of elements. Equal elements may have several owners; of two
 * that give one key different values the first keeps it, and the other is counted as a
 * conflict and gets its turn when the first lets go. Pure; one thread. */
#pragma once

#include "proxy/services/element.h"

struct rules;

struct rules *rules_create(void);
void rules_destroy(struct rules *r);

/* One Service's part; zero is empty. Embedded by the caller. */
struct rules_part {
	struct elements have; /* Sorted. */
	unsigned n_conflicts; /* Of its last turn. */
};

/* From now on the part is this (sorted) list, which is taken over. */
void rules_set(struct rules *r, struct rules_part *part, struct elements *want);
/* A key that others wanted became free since the last call: plan those with conflicts again. */
bool rules_freed(struct rules *r);
/* The value wanted now or, where nobody wants it, found in the kernel. */
bool rules_lookup(const struct rules *r, const struct element *key, uint64_t *ret_value);

/* An element found in the kernel at start. */
void rules_adopt(struct rules *r, const struct element *e);
/* The kernel's maps are empty now. */
void rules_forget_kernel(struct rules *r);

struct rules_change {
	struct element element; /* With its new value, or the old one if it only goes. */
	bool remove, add;       /* Both: replace. */
};

/* The changes that make the kernel hold what is wanted, by set and key. free() *ret. */
size_t rules_changes(const struct rules *r, struct rules_change **ret);
/* They were made. */
void rules_committed(struct rules *r);
size_t rules_count(const struct rules *r);
typedef void rules_visit_fn(void *arg, const struct element *e);
/* All wanted elements, in no order. */
void rules_visit(const struct rules *r, rules_visit_fn *fn, void *arg);
