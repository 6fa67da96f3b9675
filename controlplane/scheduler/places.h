/* Where pods are counted: places by labels of nodes, and which nodes count at all
 * (private to this folder). Both are shared and counted by reference. */
#pragma once

#include <string.h>

#include "common/api/pack.h"
#include "controlplane/scheduler/cluster.h"

struct topology *topology_ref(struct cluster *c, const char *key);
void topology_unref(struct cluster *c, struct topology *t);

/* Nodes that suit the node affinity of spec (affinity), whose taints it tolerates (taints), and
 * that have all the labels. */
struct inclusion *inclusion_ref(struct cluster *c, const CoreV1__PodSpec *spec, bool affinity,
				bool taints, char *const *labels, size_t n_labels);
void inclusion_unref(struct cluster *c, struct inclusion *inclusion);
static inline bool inclusion_has(const struct inclusion *i, const struct node *node)
{
	return i == NULL || (node->id / 64 < i->n_words &&
			     (i->nodes[node->id / 64] >> (node->id % 64) & 1) != 0);
}

void places_node_enter(struct cluster *c, struct node *node);
void places_node_leave(struct cluster *c, struct node *node);

/* --- Keys: what a shared thing says, as bytes ------------------------------------------ */

static inline void key_put(struct buf *key, const void *data, size_t n)
{
	uint32_t length = (uint32_t)n;

	buf_put(key, &length, sizeof(length));
	buf_put(key, data, n);
}

static inline void key_put_str(struct buf *key, const char *text)
{
	key_put(key, text, strlen(text));
}

static inline void key_put_message(struct buf *key, struct arena *a, const ProtobufCMessage *m)
{
	struct bytes packed = m ? pack_message_in(a, m) : bytes_of(NULL, 0);

	buf_put_byte(key, m != NULL);
	key_put(key, packed.data, packed.len);
}
