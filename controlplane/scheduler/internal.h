/* The scheduler itself, over its parts (private to this folder). */
#pragma once

#include "controlplane/scheduler/fit.h"
#include "controlplane/scheduler/scheduler.h"

/* A node that fits, and what speaks for it. */
struct candidate {
	struct node *node;
	const struct row *row;
	int64_t company, spread;
	bool apart; /* It has not all the labels to spread by. */
};

/* What was found out by looking at nodes. */
struct findings {
	size_t misfits[MISFIT_COUNT];
	size_t lacking[LACKS_MAX + 1];
	const char **volume_whys; /* In the view's arena, with counts. */
	size_t *n_volume_why;
	size_t n_volume_whys;
	const char *why; /* Of no node in particular; NULL: the counts say it. */
};

struct scheduler {
	struct scheduler_config config;
	const struct kind *namespaces, *services, *budgets;
	struct cluster cluster;
	struct wishes wishes;
	struct row_cache row_cache;
	struct tree queue;   /* Of waiting, by priority, then order. */
	struct tree backoff; /* Of waiting, by due_ns; UNSCHEDULABLE ones too, with a far due_ns. */
	uint64_t seed, order;
	size_t next_node; /* Where the next decision begins. */
	size_t n_assumed, n_placed, n_unschedulable, n_gated;
	struct candidate *candidates; /* Of the decision under way. */
	size_t cap_candidates;
	struct row *pinned_rows;
	size_t cap_pinned;
	uint64_t *place_marks; /* By place: the mark of the decision that saw it. */
	size_t cap_marks;
	uint64_t mark;
};

/* splitmix64: ties are broken evenly, and the same way for the same seed. */
uint64_t scheduler_chance(struct scheduler *s);

/* --- queue.c ---------------------------------------------------------------------- */

void queue_init(struct scheduler *s);
/* The pod is in no queue and on no node: it waits for its turn. */
void queue_add(struct scheduler *s, struct pod *pod);
void queue_add_gated(struct scheduler *s, struct pod *pod);
/* Out of whatever it waits in; its place is not touched. */
void queue_remove(struct scheduler *s, struct pod *pod);
/* No node fitted: it sleeps until a change helps or five minutes are over. */
void queue_sleep(struct scheduler *s, struct pod *pod, int64_t now_ns);
/* Something changed that may help: it has its turn when its back-off is over. */
void queue_wake(struct scheduler *s, struct pod *pod, int64_t now_ns);
void queue_back_off(struct scheduler *s, struct pod *pod, int64_t now_ns);
void queue_wake_due(struct scheduler *s, int64_t now_ns);
struct pod *queue_first(const struct scheduler *s);
/* The pod's object has another priority or is another version. */
void queue_update(struct scheduler *s, struct pod *pod, const struct object *object);

/* --- decide.c ----------------------------------------------------------------------- */

/* The node for the pod, or NULL with what was found out. */
struct node *decide(struct scheduler *s, struct look *look, struct wish *wish,
		    struct waiting *waiting, struct arena *arena, struct findings *ret_findings);
/* Remembers why a node does not fit. */
void findings_add(struct findings *f, struct arena *arena, enum misfit m, const struct row *row,
		  const char *volume_why);

/* --- score.c ------------------------------------------------------------------------ */

/* The best of the candidates; ties are broken by chance. */
struct node *choose(struct scheduler *s, const struct wish *wish, size_t n);

/* --- preempt.c ------------------------------------------------------------------------ */

struct preemption {
	struct node *node; /* NULL: none was found. */
	struct pod **victims;
	size_t n_victims;
	const char *why; /* Without a node: what is said of it. */
	bool keep;       /* Room that is being made already stays reserved. */
};

/* Where removing less important pods would make room. */
struct preemption preempt_find(struct scheduler *s, struct look *look, struct wish *wish,
			       struct waiting *waiting, struct view *view);
/* Room is being made for it there (NULL: nowhere any more). */
void nominate(struct scheduler *s, struct waiting *waiting, struct node *node);

/* --- hints.c -------------------------------------------------------------------------- */

/* A node is new, or its labels, taints or amounts are others. */
void hint_node(struct scheduler *s, struct node *node, bool moved, int64_t now_ns);
/* A pod of class left the node. */
void hint_left(struct scheduler *s, const struct class *class, struct node *node, int64_t now_ns);
/* A pod of class came to a node, or begins to end there. */
void hint_came(struct scheduler *s, const struct class *class, int64_t now_ns);
/* Labels of a namespace changed. */
void hint_space(struct scheduler *s, int64_t now_ns);
/* Something that volumes depend on changed. */
void hint_volumes(struct scheduler *s, int64_t now_ns);
/* A pod of the wish found a node: the next one may. */
void hint_success(struct scheduler *s, struct wish *wish, int64_t now_ns);
