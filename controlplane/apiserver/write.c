/* Writes: what the client sent is read and checked here, decided at the leader,
 * and shown again here. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/json.h"
#include "common/api/message.h"
#include "common/api/pack.h"
#include "common/api/scale.h"
#include "common/base/alloc.h"
#include "common/api/convert.h"
#include "controlplane/apiserver/internal.h"
#include "controlplane/writes/writes.h"
#include "proto/sampan/master.pb-c.h"

/* --- The answer ---------------------------------------------------------------------- */

static bool is_action(const struct request *r)
{
	return r->sub != NULL &&
	       (strcmp(r->sub->name, "binding") == 0 || strcmp(r->sub->name, "eviction") == 0);
}

static void respond_done(struct request *r, int code)
{
	struct status st = { 0 };

	status_http(&st, code, "");
	st.http_code = code;

	struct bytes packed = status_pack(&r->arena, &st);

	status_fini(&st);
	respond_packed_status(r, code, packed);
}

static void respond_written(struct request *r, int code, struct bytes packed, uint64_t revision)
{
	struct rendering rendering;
	const struct kind *shown = request_rendering(r, &rendering);

	if (r->sub != NULL && strcmp(r->sub->name, "scale") == 0) {
		AutoscalingV1__Scale *scale = scale_from(r->stored, packed, revision, &r->arena);
		struct item item = { pack_message_in(&r->arena, scale), revision };

		rendering.api_version = "autoscaling/v1";
		rendering.kind = "Scale";
		rendering.descriptor = r->sub->descriptor;
		respond_item(r, code, &rendering, &item);
		return;
	}

	struct item item = item_of_packed(shown, packed, revision, &r->arena);

	respond_item(r, code, &rendering, &item);
}

static void on_written(void *ctx, const void *write_response)
{
	const SampanMaster__WriteResponse *w = write_response;
	struct request *r = ctx;

	for (size_t i = 0; i < w->n_warnings; i++)
		add_warning(r, w->warnings[i]);
	if (w->code >= 400) {
		/* A budget that says no will not say yes because somebody repeats the question. */
		if ((w->code == 429 && !is_action(r)) || w->code == 503 || w->code == 504)
			exchange_add_header(r->x, "Retry-After", "1");
		respond_packed_status(r, w->code, bytes_of(w->status.data, w->status.len));
	} else if (is_action(r) || !w->has_object) {
		respond_done(r, w->code);
	} else {
		respond_written(r, w->code, bytes_of(w->object.data, w->object.len), w->revision);
	}
}

static void on_deleted(void *ctx, const void *write_response)
{
	const SampanMaster__WriteResponse *w = write_response;
	struct request *r = ctx;
	const char *uid = NULL;

	if (w->code >= 400 || !w->deleted) {
		on_written(ctx, write_response);
		return;
	}
	if (w->has_object) {
		const MetaV1__ObjectMeta *meta = message_metadata(unpack_stored(
			r->stored->descriptor, bytes_of(w->object.data, w->object.len), &r->arena));

		uid = meta != NULL ? meta->uid : NULL;
	}
	respond_success(r, r->path.name, uid);
}

/* --- The request --------------------------------------------------------------------- */

static SampanMaster__WriteRequest write_request(struct request *r, unsigned verb, bool dry_run,
						SampanMaster__User *user)
{
	SampanMaster__WriteRequest w = SAMPAN_MASTER__WRITE_REQUEST__INIT;

	*user = (SampanMaster__User)SAMPAN_MASTER__USER__INIT;
	user->name = (char *)r->user.name;
	user->uid = (char *)r->user.uid;
	user->n_groups = r->user.n_groups;
	user->groups = (char **)r->user.groups;
	w.user = user;
	w.has_verb = true;
	w.verb = verb;
	w.resource = (char *)r->stored->resource;
	w.subresource = (char *)(r->sub != NULL ? r->sub->name : "");
	w.namespace_ = (char *)(r->path.namespace != NULL ? r->path.namespace : "");
	w.name = (char *)(r->path.name != NULL ? r->path.name : "");
	w.has_dry_run = true;
	w.dry_run = dry_run;
	w.field_manager = (char *)query_get(&r->query, "fieldManager");
	w.field_validation = (char *)query_get(&r->query, "fieldValidation");
	return w;
}

static void submit(struct request *r, const SampanMaster__WriteRequest *w, writes_done_cb *done)
{
	r->api->metrics.writes_total++;
	writes_submit(r->api->config.writes, w, WRITE_TIMEOUT_MS, done, r);
}

/* Name and namespace of the body agree with the path; the path fills in what is missing. */
static int place_check(struct request *r, MetaV1__ObjectMeta *meta, struct status *st)
{
	const char *namespace = r->path.namespace, *name = r->path.name;
	bool has_name = meta->name != NULL && *meta->name != 0;

	if (name != NULL && has_name && strcmp(name, meta->name) != 0)
		return status_set(st, -EBADMSG,
				  "the name of the object (%.256s) does not match the name on the "
				  "URL (%.256s)",
				  meta->name, name);
	if (meta->namespace_ != NULL && *meta->namespace_ != 0 &&
	    (namespace == NULL || strcmp(meta->namespace_, namespace) != 0))
		return status_set(
			st, -EBADMSG,
			"the namespace of the provided object does not match the namespace "
			"sent on the request");
	if (name != NULL && !has_name)
		meta->name = (char *)name;
	if (namespace != NULL)
		meta->namespace_ = (char *)namespace;
	return 0;
}

static int read_object(struct request *r, void **ret_message, MetaV1__ObjectMeta **ret_meta,
		       struct status *st)
{
	const struct kind_subresource *sub = r->sub;
	const ProtobufCMessageDescriptor *descriptor =
		sub != NULL ? sub->descriptor : r->kind->descriptor;
	const char *version = r->kind->api_version, *kind = r->kind->kind;

	if (sub != NULL && sub->descriptor != r->kind->descriptor) {
		kind = sub->kind;
		version = *sub->group ? arena_printf(&r->arena, "%s/%s", sub->group, sub->version)
				      : sub->version;
	}

	int rc = body_read(r, descriptor, version, kind, ret_message, st);

	if (rc < 0)
		return rc;
	*ret_meta = message_metadata_make(*ret_message, &r->arena);
	return place_check(r, *ret_meta, st);
}

/* Canonical bytes as the store keeps the kind. */
static void set_body(struct request *r, SampanMaster__WriteRequest *w, void *message)
{
	if (r->sub == NULL || r->sub->descriptor == r->kind->descriptor)
		message = convert_message(r->kind, r->stored, message, &r->arena);

	struct bytes packed = pack_message_in(&r->arena, message);

	w->has_body = true;
	w->body.data = (uint8_t *)packed.data;
	w->body.len = packed.len;
}

void handle_create(struct request *r)
{
	SampanMaster__User user;
	MetaV1__ObjectMeta *meta;
	struct status st = { 0 };
	void *message;
	bool dry_run;

	if (write_options_check(r, &dry_run, &st) < 0 || read_object(r, &message, &meta, &st) < 0) {
		respond_status(r, &st);
		return;
	}
	if (r->sub == NULL && meta->resourceversion != NULL && *meta->resourceversion != 0) {
		status_set(&st, -EPROTO,
			   "resourceVersion should not be set on objects to be created");
		status_http(&st, 500, "");
		respond_status(r, &st);
		return;
	}

	SampanMaster__WriteRequest w =
		write_request(r, SAMPAN_MASTER__WRITE_REQUEST__VERB__CREATE, dry_run, &user);

	if (r->path.name == NULL && meta->name != NULL)
		w.name = meta->name;
	set_body(r, &w, message);
	submit(r, &w, on_written);
}

void handle_update(struct request *r)
{
	SampanMaster__User user;
	MetaV1__ObjectMeta *meta;
	struct status st = { 0 };
	void *message;
	bool dry_run;

	if (write_options_check(r, &dry_run, &st) < 0 || read_object(r, &message, &meta, &st) < 0) {
		respond_status(r, &st);
		return;
	}

	SampanMaster__WriteRequest w =
		write_request(r, SAMPAN_MASTER__WRITE_REQUEST__VERB__UPDATE, dry_run, &user);

	set_body(r, &w, message);
	submit(r, &w, on_written);
}

void handle_patch(struct request *r)
{
	SampanMaster__User user;
	struct status st = { 0 };
	enum body_type type;
	bool dry_run;

	if (write_options_check(r, &dry_run, &st) < 0 ||
	    body_type_of(exchange_header(r->x, "content-type"), true, &type, &st) < 0) {
		respond_status(r, &st);
		return;
	}
	if (type == BODY_APPLY_PATCH) {
		respond_error(r, -EPROTONOSUPPORT,
			      "server-side apply is not served: the accepted media types are "
			      "application/json-patch+json, application/merge-patch+json, "
			      "application/strategic-merge-patch+json");
		return;
	}

	SampanMaster__WriteRequest w =
		write_request(r, SAMPAN_MASTER__WRITE_REQUEST__VERB__PATCH, dry_run, &user);

	if (r->kind != r->stored)
		w.api_version = (char *)r->kind->api_version;
	w.has_patch_type = true;
	w.patch_type = type == BODY_JSON_PATCH
			       ? SAMPAN_MASTER__WRITE_REQUEST__PATCH_TYPE__JSON_PATCH
		       : type == BODY_MERGE_PATCH
			       ? SAMPAN_MASTER__WRITE_REQUEST__PATCH_TYPE__MERGE_PATCH
			       : SAMPAN_MASTER__WRITE_REQUEST__PATCH_TYPE__STRATEGIC_MERGE_PATCH;
	w.has_body = true;
	w.body.data = (uint8_t *)r->x->body.data;
	w.body.len = r->x->body.len;
	submit(r, &w, on_written);
}

/* --- Delete -------------------------------------------------------------------------- */

static void set_delete_options(struct request *r, SampanMaster__WriteRequest *w,
			       const MetaV1__DeleteOptions *options)
{
	struct bytes packed = pack_message_in(&r->arena, options);

	w->has_delete_options = true;
	w->delete_options.data = (uint8_t *)packed.data;
	w->delete_options.len = packed.len;
}

void handle_delete(struct request *r)
{
	MetaV1__DeleteOptions *options;
	SampanMaster__User user;
	struct status st = { 0 };
	bool dry_run;

	if (delete_options_read(r, &options, &dry_run, &st) < 0) {
		respond_status(r, &st);
		return;
	}

	SampanMaster__WriteRequest w =
		write_request(r, SAMPAN_MASTER__WRITE_REQUEST__VERB__DELETE, dry_run, &user);

	set_delete_options(r, &w, options);
	submit(r, &w, on_deleted);
}

/* deletecollection deletes what matched when it came, one by one and all at once, and answers
 * with the list. */
struct collection {
	struct request *request;
	struct selection selection;
	MetaV1__DeleteOptions *options;
	bool dry_run;
	struct object **objects;
	size_t n, cap, outstanding;
	uint64_t revision;
	int failed_code;
	struct bytes failed;
};

#define DELETE_COLLECTION_MAX 100000

static void collection_free(struct request *r)
{
	struct collection *c = r->data;

	for (size_t i = 0; i < c->n; i++)
		object_unref(c->objects[i]);
	free(c->objects);
}

static bool collection_take(void *ctx, const struct object *o)
{
	struct collection *c = ctx;

	array_grow(c->objects, c->n, c->cap);
	c->objects[c->n++] = object_ref(o);
	return c->n < DELETE_COLLECTION_MAX;
}

static void collection_respond(struct collection *c)
{
	struct request *r = c->request;
	struct rendering rendering;
	struct list_head head = { .revision = store_revision(r->api->config.store) };
	struct buf out = { 0 };

	if (c->failed_code != 0) {
		respond_packed_status(r, c->failed_code, c->failed);
		return;
	}

	const struct kind *shown = request_rendering(r, &rendering);

	render_list_begin(&out, &rendering, &head);
	for (size_t i = 0; i < c->n; i++) {
		struct item item = item_of(r->api, shown, c->objects[i], &r->arena);

		render_list_item(&out, &rendering, &item, i == 0);
	}
	render_list_end(&out, &rendering);
	if (rendering.media.format == MEDIA_PROTOBUF) {
		struct buf wrapped = { 0 };

		render_list_wrap(&wrapped, &rendering, buf_bytes(&out));
		buf_fini(&out);
		out = wrapped;
	}
	respond_buf(r, 200, media_content_type(&rendering.media, false), &out);
}

static void on_one_deleted(void *ctx, const void *write_response)
{
	const SampanMaster__WriteResponse *w = write_response;
	struct collection *c = ctx;

	/* Somebody else was faster: that is what was wanted. */
	if (w->code >= 400 && w->code != 404 && c->failed_code == 0) {
		c->failed_code = w->code;
		c->failed =
			bytes_of(arena_memdup(&c->request->arena, w->status.data, w->status.len),
				 w->status.len);
	}
	if (--c->outstanding == 0)
		collection_respond(c);
}

static void collection_ready(struct request *r, int rc)
{
	struct collection *c = r->data;
	SampanMaster__User user;

	if (rc < 0) {
		respond_unavailable(r, rc);
		return;
	}
	selection_walk(&c->selection, r->api, NULL, NULL, collection_take, c);
	c->outstanding = c->n;
	for (size_t i = 0; i < c->n; i++) {
		SampanMaster__WriteRequest w = write_request(
			r, SAMPAN_MASTER__WRITE_REQUEST__VERB__DELETE, c->dry_run, &user);

		w.namespace_ = (char *)c->objects[i]->namespace;
		w.name = (char *)c->objects[i]->name;
		set_delete_options(r, &w, c->options);
		r->api->metrics.writes_total++;
		writes_submit(r->api->config.writes, &w, WRITE_TIMEOUT_MS, on_one_deleted, c);
	}
	if (c->n == 0)
		collection_respond(c);
}

void handle_delete_collection(struct request *r)
{
	struct collection *c = arena_new(&r->arena, struct collection);
	struct status st = { 0 };

	c->request = r;
	if (delete_options_read(r, &c->options, &c->dry_run, &st) < 0 ||
	    selection_parse(r, &c->selection, &st) < 0) {
		respond_status(r, &st);
		return;
	}
	r->data = c;
	r->free_data = collection_free;
	request_barrier(r, collection_ready);
}
