/* The loop around the scheduler: it follows every change, and turns each of its
 * decisions into a plan of its own. Loop thread only. */
#pragma once

#include "common/base/source.h"
#include "controlplane/store/view.h"
#include "controlplane/writes/writes.h"

struct scheduling;

struct scheduling *scheduling_create(const struct store *store, struct writes *writes,
				     struct source *source);
void scheduling_destroy(struct scheduling *s);
void scheduling_lead(struct scheduling *s);
void scheduling_stop(struct scheduling *s);
void scheduling_on_change(struct scheduling *s, const struct object *old, const struct object *new);
/* view lives for the turn: its messages are kept from pod to pod. */
/* Stops at until_ns of the monotonic clock, at the latest after one more decision. */
void scheduling_turn(struct scheduling *s, struct view *view, uint64_t until_ns);
uint64_t scheduling_deadline_ns(const struct scheduling *s);
