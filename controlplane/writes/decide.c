#include "controlplane/writes/decide.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/convert.h"
#include "common/api/kinds.h"
#include "common/api/message.h"
#include "common/api/pack.h"
#include "common/api/patch.h"
#include "controlplane/writes/charges.h"
#include "controlplane/writes/subresources.h"

typedef SampanMaster__WriteRequest WriteRequest;

/* A request with the row of its kind and the object it is about. */
struct asked {
	const WriteRequest *request;
	const struct kind *kind, *view; /* view: the version that the request speaks. */
	const char *namespace, *name, *subresource;
	const struct object *old;               /* NULL: there is none. */
	const ProtobufCMessageDescriptor *body; /* What the body is a message of. */
};

static const char *text(const char *s)
{
	return s != NULL ? s : "";
}

static int bad_request(struct status *st, const char *why)
{
	status_set(st, -EBADMSG, "%s", why);
	return status_http(st, 400, "BadRequest");
}

static int asked_init(struct asked *q, struct write_change *c, const WriteRequest *r,
		      struct status *st)
{
	*q = (struct asked){
		.request = r,
		.namespace = text(r->namespace_),
		.name = text(r->name),
		.subresource = text(r->subresource),
		.kind = kind_of_resource(text(r->resource)),
	};
	if (q->kind == NULL || (q->kind->flags & (KIND_VIRTUAL | KIND_MEASURED)) ||
	    kind_stored(q->kind) != q->kind)
		return status_set(st, -ENOENT, "the resource %s cannot be written",
				  text(r->resource));
	if (((q->kind->flags & KIND_NAMESPACED) != 0) != (q->namespace[0] != '\0'))
		return bad_request(st, "the namespace does not fit the resource");
	q->view = text(r->api_version)[0] != '\0' ? kind_view(q->kind, r->api_version) : q->kind;
	if (q->view == NULL)
		return bad_request(st, "the resource has no such version");
	q->body = q->kind->descriptor;
	if (q->subresource[0] != '\0') {
		const struct kind_subresource *sub = kind_subresource(q->kind, q->subresource);

		if (sub == NULL)
			return status_set(st, -ENOENT, "the resource %s/%s cannot be written",
					  q->kind->resource, q->subresource);
		if (sub->descriptor != NULL)
			q->body = sub->descriptor;
	}
	if (q->name[0] != '\0')
		q->old = overlay_get(c->context->overlay, q->kind, q->namespace, q->name);
	return 0;
}

/* --- Bodies ---------------------------------------------------------------------- */

/* The object in the body is the one of the address. */
static int check_address(const struct asked *q, const ProtobufCMessage *message,
			 struct write_change *c, struct status *st)
{
	MetaV1__ObjectMeta *meta = message_metadata_make((void *)message, c->arena);

	if (text(meta->name)[0] != '\0' && q->name[0] != '\0' && strcmp(meta->name, q->name) != 0) {
		status_set(st, -EINVAL,
			   "the name of the object (%s) does not match the name on the URL (%s)",
			   meta->name, q->name);
		return status_http(st, 400, "BadRequest");
	}
	if (text(meta->namespace_)[0] != '\0' && strcmp(meta->namespace_, q->namespace) != 0)
		return bad_request(st, "the namespace of the provided object does not match the "
				       "namespace sent on the request");
	if (q->name[0] != '\0')
		meta->name = arena_strdup(c->arena, q->name);
	if (q->namespace[0] != '\0')
		meta->namespace_ = arena_strdup(c->arena, q->namespace);
	return 0;
}

/* What the body says about the version it is based on. Sets *ret_based when it names one. */
static int check_version(const struct asked *q, const ProtobufCMessage *message, bool must,
			 bool *ret_based, struct status *st)
{
	const MetaV1__ObjectMeta *meta = message_metadata(message);
	const char *version = meta != NULL ? text(meta->resourceversion) : "";
	const char *uid = meta != NULL ? text(meta->uid) : "";
	char *end;

	*ret_based = version[0] != '\0' && strcmp(version, "0") != 0;
	if (uid[0] != '\0' && strcmp(uid, q->old->facts.uid) != 0) {
		status_set(
			st, -ESTALE,
			"Operation cannot be fulfilled on %s \"%s\": Precondition failed: UID in "
			"precondition: %s, UID in object meta: %s",
			q->kind->resource, q->name, uid, q->old->facts.uid);
		status_details(st, q->kind->group, q->kind->plural, q->name);
		return -ESTALE;
	}
	if (*ret_based) {
		uint64_t revision = strtoull(version, &end, 10);

		if (*end != '\0') {
			status_cause(st, "FieldValueInvalid", "metadata.resourceVersion",
				     "Invalid value: \"%s\": must be a number", version);
			return status_set(st, -EINVAL,
					  "%s \"%s\" is invalid: metadata.resourceVersion: Invalid "
					  "value: \"%s\": must be a number",
					  q->kind->kind, q->name, version);
		}
		return revision != q->old->revision ? refuse_stale(st, q->kind, q->name) : 0;
	}
	if (!must)
		return 0;
	status_cause(st, "FieldValueInvalid", "metadata.resourceVersion",
		     "Invalid value: \"\": must be specified for an update");
	return status_set(
		st, -EINVAL,
		"%s \"%s\" is invalid: metadata.resourceVersion: Invalid value: \"\": must "
		"be specified for an update",
		q->kind->kind, q->name);
}

static int read_body(const struct asked *q, struct write_change *c, void *ret_message,
		     struct status *st)
{
	struct bytes body = bytes_of(q->request->body.data, q->request->body.len);

	return unpack_message(q->body, body, c->body, ret_message, st);
}

static int check_size(const struct write_change *c, struct status *st)
{
	if (c->plan_bytes_max == 0 || c->plan->bytes <= c->plan_bytes_max)
		return 0;
	return status_set(st, -EFBIG, "Request entity too large: limit is %zu", c->plan_bytes_max);
}

/* --- Verbs ----------------------------------------------------------------------- */

static int decide_create(struct asked *q, struct write_change *c, struct decision *d,
			 struct status *st)
{
	ProtobufCMessage *message;
	int rc = read_body(q, c, &message, st);

	if (rc < 0)
		return rc;
	d->code = 201;
	d->repeatable = true;
	if (q->subresource[0] != '\0') {
		if (q->old == NULL)
			return refuse_missing(st, q->kind, q->name);
		return subresource_create(c, q->old, q->subresource, message, st);
	}
	if (q->old != NULL)
		return refuse_existing(st, q->kind, q->name);
	rc = check_address(q, message, c, st);
	if (rc < 0)
		return rc;
	if (text(message_metadata(message)->resourceversion)[0] != '\0') {
		status_set(st, -EINVAL,
			   "resourceVersion should not be set on objects to be created");
		return status_http(st, 400, "BadRequest");
	}
	return change_create(c, q->kind, q->namespace, message, st);
}

static int update_with(struct asked *q, struct write_change *c, ProtobufCMessage *message,
		       struct status *st)
{
	if (q->subresource[0] == '\0' || strcmp(q->subresource, "status") == 0 ||
	    strcmp(q->subresource, "finalize") == 0)
		return change_update(c, q->old, message, q->subresource, st);
	return subresource_update(c, q->old, q->subresource, message, st);
}

static int decide_update(struct asked *q, struct write_change *c, struct decision *d,
			 struct status *st)
{
	ProtobufCMessage *message;
	bool based = false;
	int rc = read_body(q, c, &message, st);

	if (rc == 0)
		rc = check_address(q, message, c, st);
	if (rc < 0)
		return rc;
	if (q->old == NULL) {
		if (!(q->kind->flags & KIND_PUT_CREATES) || q->subresource[0] != '\0')
			return refuse_missing(st, q->kind, q->name);
		d->code = 201;
		d->repeatable = true;
		message_metadata(message)->resourceversion = NULL;
		message_metadata(message)->uid = NULL;
		return change_create(c, q->kind, q->namespace, message, st);
	}
	bool must = !(q->kind->flags & KIND_BLIND_PUT) && q->body == q->kind->descriptor;

	rc = check_version(q, message, must, &based, st);
	if (rc < 0)
		return rc;
	d->code = 200;
	d->repeatable = !based;
	return update_with(q, c, message, st);
}

static enum field_validation validation_of(const WriteRequest *r)
{
	const char *asked = text(r->field_validation);

	if (strcmp(asked, "Strict") == 0)
		return FIELDS_STRICT;
	return strcmp(asked, "Ignore") == 0 ? FIELDS_IGNORE : FIELDS_WARN;
}

/* What the patch is applied to: the object (in the version that the patch speaks), or what the
 * subresource shows of it. */
static int patch_base(struct asked *q, struct write_change *c, const char **ret_api_version,
		      const char **ret_kind, struct bytes *ret_packed, struct status *st)
{
	const struct kind_subresource *sub = NULL;

	*ret_api_version = q->kind->api_version;
	*ret_kind = q->kind->kind;
	*ret_packed = change_clear(c, q->old);
	if (q->body == q->kind->descriptor) {
		*ret_api_version = q->view->api_version;
		*ret_packed = convert_packed(q->kind, q->view, *ret_packed, c->arena);
		q->body = q->view->descriptor;
		return 0;
	}
	sub = kind_subresource(q->kind, q->subresource);
	*ret_kind = sub->kind;
	*ret_api_version = sub->group[0] != '\0'
				   ? arena_printf(c->arena, "%s/%s", sub->group, sub->version)
				   : sub->version;
	return subresource_show(c, q->old, q->subresource, ret_packed, st);
}

static int decide_patch(struct asked *q, struct write_change *c, struct decision *d,
			struct status *st)
{
	static const enum patch_type types[] = {
		[SAMPAN_MASTER__WRITE_REQUEST__PATCH_TYPE__JSON_PATCH] = PATCH_JSON,
		[SAMPAN_MASTER__WRITE_REQUEST__PATCH_TYPE__MERGE_PATCH] = PATCH_MERGE,
		[SAMPAN_MASTER__WRITE_REQUEST__PATCH_TYPE__STRATEGIC_MERGE_PATCH] = PATCH_STRATEGIC,
	};
	struct json_read read = { .validation = validation_of(q->request) };
	unsigned type = (unsigned)q->request->patch_type;
	const char *api_version, *kind;
	ProtobufCMessage *message;
	struct bytes packed;
	bool based;
	int rc;

	if (type >= sizeof(types) / sizeof(types[0])) {
		status_set(st, -EINVAL, "this kind of patch is not supported");
		return status_http(st, 415, "UnsupportedMediaType");
	}
	if (q->old == NULL)
		return refuse_missing(st, q->kind, q->name);
	rc = patch_base(q, c, &api_version, &kind, &packed, st);
	if (rc < 0)
		return rc;
	rc = patch_object(types[type], q->body, api_version, kind, q->old->revision, packed,
			  bytes_of(q->request->body.data, q->request->body.len), c->body, &read,
			  &message, st);
	if (rc == 0 && q->body == q->view->descriptor)
		message = convert_message(q->view, q->kind, message, c->arena);
	if (rc == 0)
		rc = check_address(q, message, c, st);
	if (rc == 0)
		rc = check_version(q, message, false, &based, st);
	if (rc < 0)
		return rc;
	d->code = 200;
	/* The version in the result is the one we put in: the patch itself named none, or the
	 * same. Deciding again finds out. */
	d->repeatable = true;
	rc = update_with(q, c, message, st);
	if (rc == 0 && read.validation == FIELDS_WARN && read.n_complaints > 0)
		change_warn(c, read.complaints, read.n_complaints);
	return rc;
}

static int decide_delete(struct asked *q, struct write_change *c, struct decision *d,
			 struct status *st)
{
	struct bytes given =
		bytes_of(q->request->delete_options.data, q->request->delete_options.len);
	MetaV1__DeleteOptions *options = NULL;
	int rc = 0;

	if (q->old == NULL)
		return refuse_missing(st, q->kind, q->name);
	if (given.len > 0)
		rc = unpack_message(&meta_v1__delete_options__descriptor, given, c->body, &options,
				    st);
	if (rc == 0)
		rc = change_delete(c, q->old, options != NULL ? &options->base : NULL, st);
	if (rc < 0)
		return rc;
	d->repeatable = options == NULL || options->preconditions == NULL ||
			options->preconditions->resourceversion == NULL;
	d->code = 200;
	if (!c->removed && options != NULL && options->propagationpolicy != NULL &&
	    strcmp(options->propagationpolicy, "Foreground") == 0)
		d->code = 202;
	return 0;
}

static int decide(struct write_change *c, const WriteRequest *r, struct decision *d,
		  struct status *st)
{
	struct asked q;
	int rc = asked_init(&q, c, r, st);

	if (rc < 0)
		return rc;
	d->kind = q.kind;
	if (r->verb != SAMPAN_MASTER__WRITE_REQUEST__VERB__CREATE && q.name[0] == '\0')
		return bad_request(st, "the request names no object");

	/* The change may replace what the overlay holds. */
	struct object *held = object_ref(q.old);

	switch (r->verb) {
	case SAMPAN_MASTER__WRITE_REQUEST__VERB__CREATE:
		rc = decide_create(&q, c, d, st);
		break;
	case SAMPAN_MASTER__WRITE_REQUEST__VERB__UPDATE:
		rc = decide_update(&q, c, d, st);
		break;
	case SAMPAN_MASTER__WRITE_REQUEST__VERB__PATCH:
		rc = decide_patch(&q, c, d, st);
		break;
	case SAMPAN_MASTER__WRITE_REQUEST__VERB__DELETE:
		rc = decide_delete(&q, c, d, st);
		break;
	default:
		rc = bad_request(st, "the request's verb is unknown");
	}
	object_unref(held);
	return rc;
}

int decide_request(struct write_change *c, const WriteRequest *r, struct decision *ret_decision,
		   struct status *st)
{
	struct decision d = { 0 };

	c->dry_run = r->has_dry_run && r->dry_run;
	if (r->user != NULL) {
		c->user = r->user->name;
		c->groups = (const char *const *)r->user->groups;
		c->n_groups = r->user->n_groups;
	}
	overlay_begin(c->context->overlay);
	c->first_revision = overlay_next_revision(c->context->overlay);

	int rc = decide(c, r, &d, st);

	if (rc == 0)
		rc = check_size(c, st);
	if (rc < 0)
		overlay_rollback(c->context->overlay);
	else
		overlay_commit(c->context->overlay);
	*ret_decision = d;
	return rc;
}

/* --- Intents --------------------------------------------------------------------- */

/* The object an intent is based on, if it still is what the reconcile saw. */
static int intent_base(struct write_change *c, const struct intent *i, const struct object **ret,
		       struct status *st)
{
	const struct object *now =
		overlay_get(c->context->overlay, i->base->kind, i->base->namespace, i->base->name);

	if (now == NULL)
		return refuse_missing(st, i->base->kind, i->base->name);
	if (strcmp(now->facts.uid, i->base->facts.uid) != 0)
		return refuse_stale(st, i->base->kind, i->base->name);
	if (i->type != INTENT_DELETE && i->type != INTENT_BIND &&
	    now->revision != i->base->revision && now->revision < c->first_revision)
		return refuse_stale(st, i->base->kind, i->base->name);
	*ret = now;
	return 0;
}

static int decide_intent_delete(struct write_change *c, const struct intent *i,
				const struct object *base, struct status *st)
{
	MetaV1__DeleteOptions options = META_V1__DELETE_OPTIONS__INIT;

	options.propagationpolicy = (char *)i->propagation;
	if (i->grace_s >= 0) {
		options.has_graceperiodseconds = true;
		options.graceperiodseconds = i->grace_s;
	}
	return change_delete(c, base, &options.base, st);
}

static int decide_intent(struct write_change *c, const struct intent *i, struct status *st)
{
	const struct object *base = NULL;
	struct object *held;
	int rc;

	if (i->type == INTENT_CREATE)
		return change_create(c, kind_of_resource(i->resource), i->namespace, i->message,
				     st);
	if (i->type == INTENT_EVENT) {
		/* Events are told if they can be: a namespace on its way out takes none. */
		if (event_record(c, i, st) < 0)
			status_fini(st);
		return 0;
	}
	rc = intent_base(c, i, &base, st);
	/* What is to be deleted and is gone already needs nothing more. */
	if (rc == -ENOENT && i->type == INTENT_DELETE) {
		status_fini(st);
		return 0;
	}
	if (rc < 0)
		return rc;
	held = object_ref(base);
	switch (i->type) {
	case INTENT_UPDATE:
		rc = change_update(c, held, i->message, "", st);
		break;
	case INTENT_UPDATE_STATUS:
		rc = change_update(c, held, i->message, "status", st);
		break;
	case INTENT_FINALIZE:
		rc = change_update(c, held, i->message, "finalize", st);
		break;
	case INTENT_DELETE:
		rc = decide_intent_delete(c, i, held, st);
		break;
	case INTENT_BIND:
		rc = pod_bind(c, held, i->node, st);
		break;
	default:
		abort();
	}
	object_unref(held);
	return rc;
}

int decide_intents(struct write_change *c, const struct intents *intents,
		   const struct intent **ret_failed, struct status *st)
{
	int rc = 0;

	overlay_begin(c->context->overlay);
	c->first_revision = overlay_next_revision(c->context->overlay);
	c->many = true;
	for (const struct intent *i = intents->first; i != NULL && rc == 0; i = i->next) {
		rc = decide_intent(c, i, st);
		*ret_failed = i;
	}
	if (rc == 0)
		rc = charges_write(c, st);
	if (rc == 0)
		rc = check_size(c, st);
	if (rc < 0)
		overlay_rollback(c->context->overlay);
	else
		overlay_commit(c->context->overlay);
	return rc;
}
