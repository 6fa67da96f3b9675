/* Who sends a request: a certificate's subject, a ServiceAccount, a bootstrap
 * token, or nobody; and whether he may.
 *
 * Until RBAC exists the rule is short: members of system:masters may do
 * everything, whoever is authenticated may look at discovery and ask about
 * himself, and nobody else may use the API. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/status.h"

struct exchange;
struct trust;

struct user_extra {
	const char *key;
	const char *value;
};

struct user {
	const char *name; /* "system:anonymous" for nobody. */
	const char *uid;  /* "" when there is none. */
	const char *const *groups;
	size_t n_groups;
	struct user_extra extra[4];
	size_t n_extra;
	bool anonymous;
};

/* Strings live in the arena. -EACCES (401) for credentials that were shown and are not good. */
int user_authenticate(const struct exchange *x, const struct trust *trust, int64_t now_s,
		      struct arena *arena, struct user *ret_user, struct status *st);
/* Who a bearer token belongs to. */
int user_of_token(const char *token, const char *audience, const struct trust *trust, int64_t now_s,
		  struct arena *arena, struct user *ret_user, struct status *st);
bool user_in_group(const struct user *u, const char *group);

/* What somebody wants to do. path is set for what is not a resource. */
struct user_action {
	const char *verb, *group, *resource, *subresource, *namespace, *name;
	const char *path;
};

bool user_may(const struct user *u, const struct user_action *a);
/* user_may() with 403 (401 for nobody) in Kubernetes' words. */
int user_authorize(const struct user *u, const struct user_action *a, struct status *st);
