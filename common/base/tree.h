/* An ordered set (AVL tree) whose nodes live inside its members, sorted by a
 * comparison of the members' keys. It never allocates. Iteration follows key
 * order, which is what makes deciding code deterministic. One thread at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/cleanup.h"

struct tree_node {
	struct tree_node *left, *right, *parent;
	int height;
};

/* Compares key with the key of the member that holds node: <0, 0, >0. */
typedef int tree_compare_fn(const void *key, const struct tree_node *node);

struct tree {
	struct tree_node *root;
	size_t count;
	tree_compare_fn *compare;
};

static inline void tree_init(struct tree *t, tree_compare_fn *compare)
{
	*t = (struct tree){ .compare = compare };
}

struct tree_node *tree_find(const struct tree *t, const void *key);
/* The first member whose key is not below key, or NULL. */
struct tree_node *tree_lower_bound(const struct tree *t, const void *key);
/* Adds node under key. Returns the member already there, which stays, or NULL when node was added. */
struct tree_node *tree_insert(struct tree *t, const void *key, struct tree_node *node);
void tree_remove(struct tree *t, struct tree_node *node);
struct tree_node *tree_first(const struct tree *t);
struct tree_node *tree_last(const struct tree *t);
struct tree_node *tree_next(const struct tree_node *node);
struct tree_node *tree_prev(const struct tree_node *node);

#define tree_entry(node, type, member)                                                             \
	__extension__({                                                                            \
		struct tree_node *n_ = (node);                                                     \
		n_ ? container_of(n_, type, member) : (type *)NULL;                                \
	})

/* The current member may be removed in the body, its neighbours may not. */
#define tree_for_each(it, t, type, member)                                                         \
	for (type *it = tree_entry(tree_first(t), type, member),                                   \
		  *it##_next_ = it ? tree_entry(tree_next(&it->member), type, member) : NULL;      \
	     it != NULL;                                                                           \
	     it = it##_next_,                                                                      \
		  it##_next_ = it ? tree_entry(tree_next(&it->member), type, member) : NULL)
