#include "controlplane/controllers/keys.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

struct keys_member {
	struct tree_node node;
	struct key key; /* Its texts follow the struct. */
};

static int compare(const void *key, const struct tree_node *node)
{
	const struct key *a = key, *b = &container_of(node, const struct keys_member, node)->key;
	int order = strcmp(a->namespace, b->namespace);

	return order ? order : strcmp(a->name, b->name);
}

void keys_add(struct keys *keys, const char *namespace, const char *name)
{
	if (keys->tree.compare == NULL)
		tree_init(&keys->tree, compare);

	struct key key = { namespace, name };

	if (tree_find(&keys->tree, &key) != NULL)
		return;

	size_t n_namespace = strlen(namespace) + 1, n_name = strlen(name) + 1;
	struct keys_member *m = xcalloc(1, sizeof(*m) + n_namespace + n_name);
	char *texts = (char *)(m + 1);

	memcpy(texts, namespace, n_namespace);
	memcpy(texts + n_namespace, name, n_name);
	m->key = (struct key){ texts, texts + n_namespace };
	tree_insert(&keys->tree, &m->key, &m->node);
}

void keys_fini(struct keys *keys)
{
	struct tree_node *node;

	while ((node = keys->tree.root) != NULL) {
		tree_remove(&keys->tree, node);
		free(container_of(node, struct keys_member, node));
	}
}

size_t keys_count(const struct keys *keys)
{
	return keys->tree.count;
}

static struct keys_member *find(const struct keys *keys, const char *namespace, const char *name)
{
	struct key key = { namespace, name };

	if (keys->tree.compare == NULL)
		return NULL;
	return tree_entry(tree_find(&keys->tree, &key), struct keys_member, node);
}

bool keys_contain(const struct keys *keys, const char *namespace, const char *name)
{
	return find(keys, namespace, name) != NULL;
}

void keys_remove(struct keys *keys, const char *namespace, const char *name)
{
	struct keys_member *m = find(keys, namespace, name);

	if (m == NULL)
		return;
	tree_remove(&keys->tree, &m->node);
	free(m);
}

bool keys_next(const struct keys *keys, const struct key *after, struct key *ret)
{
	struct tree_node *node;

	if (keys->tree.compare == NULL)
		return false;
	node = after ? tree_lower_bound(&keys->tree, after) : tree_first(&keys->tree);
	if (node == NULL)
		return false;
	*ret = container_of(node, struct keys_member, node)->key;
	return true;
}
