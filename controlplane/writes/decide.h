/* What a request leads to: a plan, or an answer at once. Pure but for the overlay,
 * which holds the plan's operations afterwards; a refused request leaves it as it
 * was. Leader only, loop thread only. */
#pragma once

#include "controlplane/store/intents.h"
#include "controlplane/writes/change.h"
#include "proto/sampan/master.pb-c.h"

struct decision {
	int code; /* Of the reply when all goes well: 200, 201, 202. */
	const struct kind *kind;
	/* The request named no resourceVersion: it may be decided again when its plan is refused.
	 */
	bool repeatable;
};

/* change comes with context, arena, plan, batch; the rest is filled. 0, or a negative errno with
 * st. */
int decide_request(struct write_change *change, const SampanMaster__WriteRequest *request,
		   struct decision *ret_decision, struct status *st);
/* All intents in one plan; on failure *ret_failed is the one refused. */
int decide_intents(struct write_change *change, const struct intents *intents,
		   const struct intent **ret_failed, struct status *st);
