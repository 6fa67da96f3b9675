/* Statements about pods and the places they are counted by (private to this folder).
 * Terms, topologies and inclusions are shared and counted by reference. */
#pragma once

#include "controlplane/scheduler/cluster.h"

/* A selector and what else it must say: the pod's own values of matchLabelKeys (with
 * mismatchLabelKeys: not these). */
struct selection {
	const MetaV1__LabelSelector *selector; /* NULL selects nothing. */
	char *const *same, *const *differing;
	size_t n_same, n_differing;
	const char *const *namespaces;
	size_t n_namespaces;
	bool everywhere;
	const MetaV1__LabelSelector *spaces;
};

/* Selections of an affinity term as stated by pods of class. */
struct selection term_selection(const struct class *class, const CoreV1__PodAffinityTerm *t);
/* A reference to the term: pods that all selections speak of, per value of topology_key. */
struct term *term_ref(struct cluster *c, const struct class *class, const char *topology_key,
		      const struct selection *selections, size_t n);
/* The same for spreading: pods being deleted do not count. inclusion may be NULL; a reference to it
 * is taken. lowest: term.lowest is wanted. */
struct term *term_ref_spread(struct cluster *c, const struct class *class, const char *topology_key,
			     const struct selection *selection, struct inclusion *inclusion,
			     bool lowest);
void term_unref(struct cluster *c, struct term *term);
bool term_speaks_of(const struct term *term, const struct class *class);

/* A new class is matched with all terms; one that ends is taken out of them. */
void terms_class_begin(struct cluster *c, struct class *class);
void terms_class_end(struct class *class);
/* Pods of class come to the node (1) or leave it (-1). */
void terms_count(const struct class *class, bool dying, const struct node *node, int sign);
/* The node is counted by its places and inclusions, or is not any more; without pods. */
void terms_node_enter(struct cluster *c, struct node *node);
void terms_node_leave(struct cluster *c, struct node *node);
/* The labels of a namespace are others. */
void terms_space_changed(struct cluster *c, const struct space *space);

/* How many pods term speaks of in the place of node; -1: the node is in none. */
static inline int32_t term_matching(const struct term *term, const struct node *node)
{
	int32_t place = node_place(node, term->topology);

	return place < 0 ? -1 : counts_get(&term->matching, (uint32_t)place);
}
