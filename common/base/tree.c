#include "common/base/tree.h"

#include <assert.h>

static int height(const struct tree_node *n)
{
	return n ? n->height : 0;
}

static void update_height(struct tree_node *n)
{
	int l = height(n->left), r = height(n->right);

	n->height = (l > r ? l : r) + 1;
}

/* Put with where old hung below its parent. */
static void replace_child(struct tree *t, struct tree_node *old, struct tree_node *with)
{
	struct tree_node *parent = old->parent;

	if (parent == NULL)
		t->root = with;
	else if (parent->left == old)
		parent->left = with;
	else
		parent->right = with;
	if (with != NULL)
		with->parent = parent;
}

static struct tree_node *rotate_left(struct tree *t, struct tree_node *n)
{
	struct tree_node *up = n->right;

	replace_child(t, n, up);
	n->right = up->left;
	if (n->right != NULL)
		n->right->parent = n;
	up->left = n;
	n->parent = up;
	update_height(n);
	update_height(up);
	return up;
}

static struct tree_node *rotate_right(struct tree *t, struct tree_node *n)
{
	struct tree_node *up = n->left;

	replace_child(t, n, up);
	n->left = up->right;
	if (n->left != NULL)
		n->left->parent = n;
	up->right = n;
	n->parent = up;
	update_height(n);
	update_height(up);
	return up;
}

/* Restore the balance from n to the root. */
static void rebalance(struct tree *t, struct tree_node *n)
{
	for (; n != NULL; n = n->parent) {
		int tilt = height(n->left) - height(n->right);

		if (tilt > 1) {
			if (height(n->left->left) < height(n->left->right))
				rotate_left(t, n->left);
			n = rotate_right(t, n);
		} else if (tilt < -1) {
			if (height(n->right->right) < height(n->right->left))
				rotate_right(t, n->right);
			n = rotate_left(t, n);
		} else {
			update_height(n);
		}
	}
}

struct tree_node *tree_find(const struct tree *t, const void *key)
{
	struct tree_node *n = t->root;

	while (n != NULL) {
		int c = t->compare(key, n);

		if (c == 0)
			return n;
		n = c < 0 ? n->left : n->right;
	}
	return NULL;
}

struct tree_node *tree_lower_bound(const struct tree *t, const void *key)
{
	struct tree_node *n = t->root, *best = NULL;

	while (n != NULL) {
		if (t->compare(key, n) <= 0) {
			best = n;
			n = n->left;
		} else {
			n = n->right;
		}
	}
	return best;
}

struct tree_node *tree_insert(struct tree *t, const void *key, struct tree_node *node)
{
	struct tree_node **link = &t->root, *parent = NULL;

	while (*link != NULL) {
		int c = t->compare(key, *link);

		if (c == 0)
			return *link;
		parent = *link;
		link = c < 0 ? &parent->left : &parent->right;
	}
	*node = (struct tree_node){ .parent = parent, .height = 1 };
	*link = node;
	t->count++;
	rebalance(t, parent);
	return NULL;
}

void tree_remove(struct tree *t, struct tree_node *node)
{
	struct tree_node *from;

	assert(t->count > 0);
	if (node->left != NULL && node->right != NULL) {
		struct tree_node *next = node->right;

		while (next->left != NULL)
			next = next->left;
		from = next->parent == node ? next : next->parent;
		if (next->parent != node) {
			replace_child(t, next, next->right);
			next->right = node->right;
			next->right->parent = next;
		}
		replace_child(t, node, next);
		next->left = node->left;
		next->left->parent = next;
		next->height = node->height;
	} else {
		from = node->parent;
		replace_child(t, node, node->left ? node->left : node->right);
	}
	t->count--;
	rebalance(t, from);
}

struct tree_node *tree_first(const struct tree *t)
{
	struct tree_node *n = t->root;

	while (n != NULL && n->left != NULL)
		n = n->left;
	return n;
}

struct tree_node *tree_last(const struct tree *t)
{
	struct tree_node *n = t->root;

	while (n != NULL && n->right != NULL)
		n = n->right;
	return n;
}

struct tree_node *tree_next(const struct tree_node *n)
{
	if (n->right != NULL) {
		n = n->right;
		while (n->left != NULL)
			n = n->left;
		return (struct tree_node *)n;
	}
	while (n->parent != NULL && n->parent->right == n)
		n = n->parent;
	return n->parent;
}

struct tree_node *tree_prev(const struct tree_node *n)
{
	if (n->left != NULL) {
		n = n->left;
		while (n->right != NULL)
			n = n->right;
		return (struct tree_node *)n;
	}
	while (n->parent != NULL && n->parent->left == n)
		n = n->parent;
	return n->parent;
}
