/* What every controller is: a name, what wakes it, and a pure function.
 *
 * A change of any object marks keys dirty (on_change); each dirty key is
 * reconciled once per turn of the leader's loop; a key whose plan is in flight
 * waits for it. All of it is level-triggered: there are no expectations and no
 * resync, and a new leader begins by marking every key (seed). */
#pragma once

#include "controlplane/store/intents.h"
#include "controlplane/store/view.h"

struct key {
	const char *namespace; /* "" for cluster scope. */
	const char *name;
};

/* Where on_change puts keys; duplicates are dropped. */
struct keys;
void keys_add(struct keys *keys, const char *namespace, const char *name);

/* Why the plan of a look was not taken. Valid while refused() runs. */
struct refusal {
	const struct intent *intent; /* The one that admission refused: */
	size_t creates_before;       /* so many creates before it would have passed. */
	const char *message;         /* In the words of the API error. */
};

struct controller {
	const char *name; /* "replicaset-controller": also the component of its events. */
	/* Which keys of this controller a change touches. old or new may be NULL. */
	void (*on_change)(const struct view *view, const struct object *old,
			  const struct object *new, struct keys *keys);
	/* Every key there is; called once when leadership begins and after a restore. */
	void (*seed)(const struct view *view, struct keys *keys);
	void (*reconcile)(struct view *view, struct key key, struct intents *intents);
	/* The plan of reconcile() was refused: do what can be done without the refused part (a plan
	 * is taken whole or not at all), for instance create the first creates_before objects only,
	 * and say so in the status. Called at once over the same state; the key is reconciled again
	 * after its back-off, so what reconcile() says about a failure is that there is none. NULL:
	 * the event that the driver records is enough. */
	void (*refused)(struct view *view, struct key key, const struct refusal *refusal,
			struct intents *intents);
};

/* All controllers of this build, ended by NULL. */
extern const struct controller *const controllers[];
