/* Objects that are questions: they are answered and never stored. Who am I, may
 * I, whose token is this, and give me a token. */
#include <errno.h>
#include <string.h>

#include "common/api/message.h"
#include "common/base/cleanup.h"
#include "controlplane/apiserver/internal.h"
#include "controlplane/trust/trust.h"
#include "proto/k8s/authentication_v1.pb-c.h"
#include "proto/k8s/authorization_v1.pb-c.h"
#include "proto/k8s/core_v1.pb-c.h"

#define TOKEN_S_MIN 600
#define TOKEN_S_DEFAULT 3600
#define TOKEN_S_MAX ((int64_t)1 << 32)

static AuthenticationV1__UserInfo *user_info(const struct user *u, struct arena *arena)
{
	AuthenticationV1__UserInfo *info =
		message_new(&authentication_v1__user_info__descriptor, arena);

	info->username = (char *)u->name;
	info->uid = (char *)u->uid;
	info->n_groups = u->n_groups;
	info->groups = (char **)u->groups;
	info->n_extra = u->n_extra;
	info->extra = arena_array(arena, AuthenticationV1__UserInfo__ExtraEntry *, u->n_extra + 1);
	for (size_t i = 0; i < u->n_extra; i++) {
		AuthenticationV1__UserInfo__ExtraEntry *entry =
			message_new(&authentication_v1__user_info__extra_entry__descriptor, arena);

		entry->key = (char *)u->extra[i].key;
		entry->value = message_new(&authentication_v1__extra_value__descriptor, arena);
		entry->value->n_items = 1;
		entry->value->items = arena_array(arena, char *, 1);
		entry->value->items[0] = (char *)u->extra[i].value;
		info->extra[i] = entry;
	}
	return info;
}

static void answer(struct request *r, void *message)
{
	respond_message(r, 201, r->kind->api_version, r->kind->kind, message);
}

static void answer_who_am_i(struct request *r, void *message)
{
	AuthenticationV1__SelfSubjectReview *review = message;

	review->status =
		message_new(&authentication_v1__self_subject_review_status__descriptor, &r->arena);
	review->status->userinfo = user_info(&r->user, &r->arena);
	answer(r, review);
}

static void answer_whose_token(struct request *r, void *message)
{
	AuthenticationV1__TokenReview *review = message;
	AuthenticationV1__TokenReviewStatus *status =
		message_new(&authentication_v1__token_review_status__descriptor, &r->arena);
	const AuthenticationV1__TokenReviewSpec *spec = review->spec;
	const char *token = spec != NULL && spec->token != NULL ? spec->token : "";
	const char *own[] = { TRUST_ISSUER };
	bool named = spec != NULL && spec->n_audiences > 0;
	char **audiences = named ? spec->audiences : (char **)own;
	size_t n = named ? spec->n_audiences : 1;
	int64_t now_s = apiserver_now_ns(r->api) / 1000000000;

	review->status = status;
	for (size_t i = 0; i < n && !status->authenticated; i++) {
		struct status why = { 0 };
		struct user user;

		if (user_of_token(token, audiences[i], r->api->config.trust, now_s, &r->arena,
				  &user, &why) == 0) {
			status->has_authenticated = true;
			status->authenticated = true;
			status->user = user_info(&user, &r->arena);
			status->n_audiences = 1;
			status->audiences = arena_array(&r->arena, char *, 1);
			status->audiences[0] = arena_strdup(&r->arena, audiences[i]);
		} else {
			status->error = (char *)"the token is not valid";
		}
		status_fini(&why);
	}
	if (status->authenticated)
		status->error = NULL;
	answer(r, review);
}

static void answer_may_i(struct request *r, void *message)
{
	AuthorizationV1__SelfSubjectAccessReview *review = message;
	AuthorizationV1__SubjectAccessReviewStatus *status =
		message_new(&authorization_v1__subject_access_review_status__descriptor, &r->arena);
	const AuthorizationV1__SelfSubjectAccessReviewSpec *spec = review->spec;
	struct user_action action = { .verb = "", .group = "", .resource = "" };

	if (spec == NULL ||
	    (spec->resourceattributes == NULL) == (spec->nonresourceattributes == NULL)) {
		respond_error(r, -EINVAL,
			      "SelfSubjectAccessReview.authorization.k8s.io \"\" is invalid: spec: "
			      "exactly one of nonResourceAttributes or resourceAttributes must be "
			      "specified");
		return;
	}
	if (spec->resourceattributes != NULL) {
		const AuthorizationV1__ResourceAttributes *a = spec->resourceattributes;

		action.verb = a->verb != NULL ? a->verb : "";
		action.group = a->group != NULL ? a->group : "";
		action.resource = a->resource != NULL ? a->resource : "";
		action.subresource = a->subresource;
		action.namespace = a->namespace_;
		action.name = a->name;
	} else {
		action.verb = spec->nonresourceattributes->verb != NULL
				      ? spec->nonresourceattributes->verb
				      : "";
		action.path = spec->nonresourceattributes->path != NULL
				      ? spec->nonresourceattributes->path
				      : "";
	}
	status->has_allowed = true;
	status->allowed = user_may(&r->user, &action);
	review->status = status;
	answer(r, review);
}

/* --- Tokens -------------------------------------------------------------------------- */

static const struct object *find(struct request *r, const char *resource, const char *namespace,
				 const char *name)
{
	return store_get(r->api->config.store, kind_of_resource(resource), namespace, name);
}

/* What the token is to be bound to, by name and uid. */
static int bind_token(struct request *r, const AuthenticationV1__BoundObjectReference *ref,
		      struct trust_sa_claims *claims, struct status *st)
{
	const char *kind = ref->kind != NULL ? ref->kind : "";
	const char *name = ref->name != NULL ? ref->name : "";
	const struct object *o;

	if (strcmp(kind, "Pod") != 0)
		return status_set(
			st, -EINVAL,
			"TokenRequest.authentication.k8s.io \"\" is invalid: "
			"spec.boundObjectRef.kind: Unsupported value: \"%.64s\": supported "
			"values: \"Pod\"",
			kind);
	o = find(r, "pods", r->path.namespace, name);
	if (o == NULL)
		return status_not_found(st, kind_of_resource("pods"), name);
	if (ref->uid != NULL && *ref->uid != 0 && strcmp(ref->uid, o->facts.uid) != 0)
		return status_set(
			st, -ESTALE,
			"Operation cannot be fulfilled on pods \"%s\": the UID in the bound "
			"object reference (%.64s) does not match the UID in record. The "
			"object might have been deleted and then recreated",
			name, ref->uid);
	claims->pod = o->name;
	claims->pod_uid = o->facts.uid;
	if (o->facts.pod != NULL && *o->facts.pod->node_name != 0)
		claims->node = o->facts.pod->node_name;
	return 0;
}

static int token_lifetime(const AuthenticationV1__TokenRequestSpec *spec, int64_t *ret_s,
			  struct status *st)
{
	*ret_s = TOKEN_S_DEFAULT;
	if (spec == NULL || !spec->has_expirationseconds)
		return 0;
	*ret_s = spec->expirationseconds;
	if (*ret_s >= TOKEN_S_MIN && *ret_s <= TOKEN_S_MAX)
		return 0;

	const char *rule = *ret_s < TOKEN_S_MIN
				   ? "may not specify a duration less than 10 minutes"
				   : "may not specify a duration larger than 2^32 seconds";

	status_cause(st, "FieldValueInvalid", "spec.expirationSeconds", "Invalid value: %lld: %s",
		     (long long)*ret_s, rule);
	return status_set(st, -EINVAL,
			  "TokenRequest.authentication.k8s.io \"\" is invalid: "
			  "spec.expirationSeconds: Invalid value: %lld: %s",
			  (long long)*ret_s, rule);
}

static int make_token(struct request *r, AuthenticationV1__TokenRequest *request, struct status *st)
{
	struct apiserver *api = r->api;
	AuthenticationV1__TokenRequestSpec *spec = request->spec;
	const struct object *account = find(r, "serviceaccounts", r->path.namespace, r->path.name);
	const char *own[] = { TRUST_ISSUER };
	autofree char *token = NULL;
	char id[37];
	int64_t lifetime_s;
	int rc = token_lifetime(spec, &lifetime_s, st);

	if (rc < 0)
		return rc;
	if (account == NULL)
		return status_not_found(st, r->kind, r->path.name);
	source_uuid(api->config.source, id);

	struct trust_sa_claims claims = {
		.namespace = account->namespace,
		.service_account = account->name,
		.uid = account->facts.uid,
		.audiences = own,
		.n_audiences = 1,
		.issued_s = apiserver_now_ns(api) / 1000000000,
		.id = id,
	};

	claims.expires_s = claims.issued_s + lifetime_s;
	if (spec != NULL && spec->n_audiences > 0) {
		claims.audiences = (const char *const *)spec->audiences;
		claims.n_audiences = spec->n_audiences;
	}
	if (spec != NULL && spec->boundobjectref != NULL)
		rc = bind_token(r, spec->boundobjectref, &claims, st);
	if (rc == 0)
		rc = trust_sa_sign(api->config.trust, &claims, &token, st);
	if (rc < 0)
		return rc;
	if (spec == NULL)
		spec = request->spec =
			message_new(&authentication_v1__token_request_spec__descriptor, &r->arena);
	spec->n_audiences = claims.n_audiences;
	spec->audiences = (char **)claims.audiences;
	if (spec->audiences == (char **)own) {
		spec->audiences = arena_array(&r->arena, char *, 1);
		spec->audiences[0] = (char *)TRUST_ISSUER;
	}
	spec->has_expirationseconds = true;
	spec->expirationseconds = lifetime_s;
	request->status =
		message_new(&authentication_v1__token_request_status__descriptor, &r->arena);
	request->status->token = arena_strdup(&r->arena, token);
	request->status->expirationtimestamp = message_new(&meta_v1__time__descriptor, &r->arena);
	request->status->expirationtimestamp->has_seconds = true;
	request->status->expirationtimestamp->seconds = claims.expires_s;
	return 0;
}

/* A ServiceAccount that was just made elsewhere must be known here. */
static void token_ready(struct request *r, int rc)
{
	struct status st = { 0 };

	if (rc < 0)
		respond_unavailable(r, rc);
	else if (make_token(r, r->data, &st) < 0)
		respond_status(r, &st);
	else
		respond_message(r, 201, "authentication.k8s.io/v1", "TokenRequest", r->data);
}

/* --- All of them --------------------------------------------------------------------- */

/* clang-format off */
static const struct {
	const ProtobufCMessageDescriptor *descriptor;
	void (*answer)(struct request *r, void *message);
} answers[] = {
	{ &authentication_v1__self_subject_review__descriptor, answer_who_am_i },
	{ &authentication_v1__token_review__descriptor, answer_whose_token },
	{ &authorization_v1__self_subject_access_review__descriptor, answer_may_i },
};
/* clang-format on */

void handle_virtual(struct request *r)
{
	struct status st = { 0 };
	void *message;
	bool dry_run;
	int rc = write_options_check(r, &dry_run, &st);

	if (r->sub != NULL) {
		if (rc == 0)
			rc = body_read(r, r->sub->descriptor, "authentication.k8s.io/v1",
				       r->sub->kind, &message, &st);
		if (rc < 0) {
			respond_status(r, &st);
			return;
		}
		r->data = message;
		request_barrier(r, token_ready);
		return;
	}
	if (rc == 0)
		rc = body_read(r, r->kind->descriptor, r->kind->api_version, r->kind->kind,
			       &message, &st);
	if (rc < 0) {
		respond_status(r, &st);
		return;
	}
	for (size_t i = 0; i < array_size(answers); i++) {
		if (answers[i].descriptor == r->kind->descriptor) {
			answers[i].answer(r, message);
			return;
		}
	}
	respond_not_found(r);
}
