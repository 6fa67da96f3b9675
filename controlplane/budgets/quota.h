/* What objects take of a namespace's quotas, and whether there is enough.
 *
 * status.used of a ResourceQuota is kept at the leader's door: whatever changes
 * an object changes it in the same plan, by the difference. It is counted from
 * the objects themselves only when the quota is made or its spec changes, and
 * by the controller, now and then, to be sure. Pure; everything lives in the
 * arena. Loop thread only. */
#pragma once

#include "common/base/status.h"
#include "controlplane/budgets/amounts.h"
#include "controlplane/budgets/reader.h"

struct kind;

/* Whether a change of an object of kind from one message to another (either may be NULL) can change
 * what it takes. False at once for most updates. */
bool quota_concerns(const struct kind *kind, bool created_or_deleted);

/* By how much a change of an object changes what is used of the quota: what stands in its spec.hard
 * and differs. old and new are messages of kind, or NULL; of kinds that are only counted any
 * message will do. */
void quota_difference(const CoreV1__ResourceQuota *quota, const struct kind *kind, const void *old,
		      const void *new, struct amounts *ret);
/* What a pod that is made must say of itself ("must specify limits.cpu for: a,b"), or NULL. */
const char *quota_demand(const CoreV1__ResourceQuota *quota, const struct kind *kind,
			 const void *new, struct arena *arena);
/* Whether what is used leaves room; if not, why, as the refusal says it ("exceeded quota: ..."). */
const char *quota_excess(const CoreV1__ResourceQuota *quota, const struct amounts *difference,
			 struct arena *arena);
/* Adds the difference to status.used. */
void quota_charge(CoreV1__ResourceQuota *quota, const struct amounts *difference,
		  struct arena *arena);

/* Sets status from the objects that there are, and one more of kind extra (NULL: none). */
void quota_count(const struct budget_reader *reader, CoreV1__ResourceQuota *quota,
		 const char *namespace, const struct kind *extra, struct arena *arena);
/* Whether there is room under new that there was not under old. */
bool quota_frees(const CoreV1__ResourceQuota *old, const CoreV1__ResourceQuota *new);

/* quota_scope.c: whether the quota is for the object at all. */
bool quota_covers(const CoreV1__ResourceQuota *quota, const struct kind *kind, const void *message);
