/* A set of dirty keys in order, as the driver keeps one for every controller.
 *
 * Adding what is there already changes nothing; taking follows key order, so
 * that masters decide alike. Zero is empty. Loop thread only. */
#pragma once

#include "common/base/tree.h"
#include "controlplane/controllers/controller.h"

struct keys {
	struct tree tree; /* Of struct keys_member; initialised by the first keys_add(). */
};

void keys_fini(struct keys *keys);
size_t keys_count(const struct keys *keys);
bool keys_contain(const struct keys *keys, const char *namespace, const char *name);
void keys_remove(struct keys *keys, const char *namespace, const char *name);
/* The first key at or after the given one (NULL: the very first); false when there is none. What
 * *ret points at stays valid until that key is removed. */
bool keys_next(const struct keys *keys, const struct key *after, struct key *ret);
