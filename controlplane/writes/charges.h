/* Quotas are kept where writes are decided: what an object takes is added to
 * status.used of its namespace's quotas in the plan that writes the object, and
 * given back in the plan that removes it. The overlay holds the quota as it will
 * be, so that writes in flight count, and a plan of a leader that is none any
 * more fails by the quota's revision. A namespace without quotas pays one look
 * into an ordered map. Loop thread only. */
#pragma once

#include "controlplane/writes/change.h"

/* An object of kind in namespace becomes new (a message of kind), or goes (NULL); old is what is
 * stored, or NULL. 403 when a quota has no room; nothing is noted then. */
int charges_note(struct write_change *c, const struct kind *kind, const char *namespace,
		 const struct object *old, const ProtobufCMessage *new, struct status *st);
/* Puts the quotas that were noted into the plan: before the object of a request, so that the
 * object's operation is the last one; once at the end of the plan of a controller. */
int charges_write(struct write_change *c, struct status *st);
