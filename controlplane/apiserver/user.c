#include "controlplane/apiserver/user.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "common/base/cleanup.h"
#include "common/io/exchange.h"
#include "common/io/tls.h"
#include "controlplane/trust/trust.h"

#define TOKEN_BYTES_MAX 16384

static void add_groups(struct user *u, struct arena *arena, const char *const *groups, size_t n,
		       const char *const *more, size_t n_more)
{
	const char **all = arena_array(arena, const char *, n + n_more + 1);

	for (size_t i = 0; i < n; i++)
		all[i] = arena_strdup(arena, groups[i]);
	for (size_t i = 0; i < n_more; i++)
		all[n + i] = more[i];
	all[n + n_more] = "system:authenticated";
	u->groups = all;
	u->n_groups = n + n_more + 1;
}

static void of_certificate(const struct tls_identity *id, struct arena *arena, struct user *u)
{
	*u = (struct user){ .name = arena_strdup(arena, id->cn), .uid = "" };
	add_groups(u, arena, id->orgs, id->n_orgs, NULL, 0);
}

static void of_service_account(const struct trust_sa_claims *claims, struct arena *arena,
			       struct user *u)
{
	const char *groups[] = {
		"system:serviceaccounts",
		arena_printf(arena, "system:serviceaccounts:%s", claims->namespace),
	};

	*u = (struct user){
		.name = arena_printf(arena, "system:serviceaccount:%s:%s", claims->namespace,
				     claims->service_account),
		.uid = claims->uid != NULL ? claims->uid : "",
	};
	add_groups(u, arena, NULL, 0, groups, array_size(groups));
	if (claims->id != NULL)
		u->extra[u->n_extra++] =
			(struct user_extra){ "authentication.kubernetes.io/credential-id",
					     arena_printf(arena, "JTI=%s", claims->id) };
	if (claims->pod != NULL)
		u->extra[u->n_extra++] =
			(struct user_extra){ "authentication.kubernetes.io/pod-name", claims->pod };
	if (claims->pod_uid != NULL)
		u->extra[u->n_extra++] =
			(struct user_extra){ "authentication.kubernetes.io/pod-uid",
					     claims->pod_uid };
	if (claims->node != NULL)
		u->extra[u->n_extra++] =
			(struct user_extra){ "authentication.kubernetes.io/node-name",
					     claims->node };
}

int user_of_token(const char *token, const char *audience, const struct trust *trust, int64_t now_s,
		  struct arena *arena, struct user *ret_user, struct status *st)
{
	struct trust_sa_claims claims = { 0 };
	size_t dots = 0;

	if (strlen(token) > TOKEN_BYTES_MAX)
		return status_set(st, -EACCES, "Unauthorized");
	for (const char *at = token; *at != 0; at++)
		dots += *at == '.';
	if (dots == 2) {
		int rc = trust_sa_verify(trust, token, audience, now_s, arena, &claims, st);

		if (rc < 0)
			return rc;
		of_service_account(&claims, arena, ret_user);
		return 0;
	}

	int rc = trust_token_check(trust, token, TRUST_TOKEN_NODE, now_s, st);

	if (rc < 0)
		return rc;

	static const char *const groups[] = { "system:bootstrappers" };

	*ret_user = (struct user){ .name = arena_printf(arena, "system:bootstrap:%.*s",
							(int)strcspn(token, "."), token),
				   .uid = "" };
	add_groups(ret_user, arena, NULL, 0, groups, array_size(groups));
	return 0;
}

int user_authenticate(const struct exchange *x, const struct trust *trust, int64_t now_s,
		      struct arena *arena, struct user *ret_user, struct status *st)
{
	static const char *const nobody[] = { "system:unauthenticated" };
	const char *header = exchange_header(x, "authorization");

	if (x->peer != NULL && *x->peer->cn != 0) {
		of_certificate(x->peer, arena, ret_user);
		return 0;
	}
	if (header != NULL && strncasecmp(header, "Bearer ", 7) == 0) {
		const char *token = header + 7 + strspn(header + 7, " ");
		struct status why = { 0 };
		int rc = user_of_token(token, TRUST_ISSUER, trust, now_s, arena, ret_user, &why);

		status_fini(&why);
		return rc < 0 ? status_set(st, -EACCES, "Unauthorized") : 0;
	}
	/* Credentials that are wrong are not the same as none. */
	if (header != NULL || x->peer_problem != NULL)
		return status_set(st, -EACCES, "Unauthorized");
	*ret_user = (struct user){
		.name = "system:anonymous",
		.uid = "",
		.groups = nobody,
		.n_groups = 1,
		.anonymous = true,
	};
	return 0;
}

bool user_in_group(const struct user *u, const char *group)
{
	for (size_t i = 0; i < u->n_groups; i++)
		if (strcmp(u->groups[i], group) == 0)
			return true;
	return false;
}

static bool path_below(const char *path, const char *root)
{
	size_t n = strlen(root);

	return strncmp(path, root, n) == 0 && (path[n] == 0 || path[n] == '/');
}

static bool path_is_one_of(const char *path, const char *const *roots, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (path_below(path, roots[i]))
			return true;
	return false;
}

static bool may_ask_about_himself(const struct user_action *a)
{
	return strcmp(a->verb, "create") == 0 &&
	       ((strcmp(a->group, "authentication.k8s.io") == 0 &&
		 strcmp(a->resource, "selfsubjectreviews") == 0) ||
		(strcmp(a->group, "authorization.k8s.io") == 0 &&
		 strcmp(a->resource, "selfsubjectaccessreviews") == 0));
}

bool user_may(const struct user *u, const struct user_action *a)
{
	static const char *const anybody[] = { "/healthz", "/livez", "/readyz", "/version" };
	static const char *const discovery[] = { "/api", "/apis", "/openapi", "/.well-known",
						 "/openid" };

	if (user_in_group(u, "system:masters"))
		return true;
	if (a->path != NULL && path_is_one_of(a->path, anybody, array_size(anybody)))
		return true;
	if (u->anonymous)
		return false;
	if (a->path != NULL)
		return strcmp(a->verb, "get") == 0 &&
		       path_is_one_of(a->path, discovery, array_size(discovery));
	return may_ask_about_himself(a);
}

int user_authorize(const struct user *u, const struct user_action *a, struct status *st)
{
	if (user_may(u, a))
		return 0;
	if (u->anonymous)
		return status_set(st, -EACCES, "Unauthorized");
	if (a->path != NULL) {
		status_set(st, -EPERM, "forbidden: User \"%s\" cannot %s path \"%s\"", u->name,
			   a->verb, a->path);
		status_details(st, NULL, NULL, NULL);
		return -EPERM;
	}

	const char *name = a->name != NULL ? a->name : "";
	bool sub = a->subresource != NULL && *a->subresource != 0;
	bool scoped = a->namespace != NULL && *a->namespace != 0;

	status_set(st, -EPERM,
		   "%s%s%s %s%s%sis forbidden: User \"%s\" cannot %s resource \"%s%s%s\" in API "
		   "group \"%s\" %s%s%s",
		   a->resource, *a->group ? "." : "", a->group, *name ? "\"" : "", name,
		   *name ? "\" " : "", u->name, a->verb, a->resource, sub ? "/" : "",
		   sub ? a->subresource : "", a->group,
		   scoped ? "in the namespace \"" : "at the cluster scope",
		   scoped ? a->namespace : "", scoped ? "\"" : "");
	status_details(st, *a->group ? a->group : NULL, a->resource, *name ? name : NULL);
	return -EPERM;
}
