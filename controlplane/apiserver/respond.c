/* Answers. Each function here ends the exchange and frees the request. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/envelope.h"
#include "common/api/json.h"
#include "common/api/message.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "controlplane/apiserver/internal.h"
#include "proto/k8s/meta_v1.pb-c.h"

static void count(struct request *r, int code)
{
	struct metrics *m = &r->api->metrics;

	m->requests_total++;
	m->requests_failed_total += code >= 400;
	m->requests_broken_total += code >= 500;
	m->unauthorized_total += code == 401;
	m->forbidden_total += code == 403;
}

void respond_buf(struct request *r, int code, const char *content_type, struct buf *body)
{
	count(r, code);
	exchange_respond_buf(r->x, code, content_type, body);
	r->x = NULL;
	request_end(r);
}

struct bytes status_pack(struct arena *arena, const struct status *st)
{
	MetaV1__Status *s = message_new(&meta_v1__status__descriptor, arena);
	MetaV1__StatusDetails *d = message_new(&meta_v1__status_details__descriptor, arena);

	s->status = (char *)(st->rc == 0 ? "Success" : "Failure");
	s->message = st->message;
	s->reason = (char *)st->reason;
	s->has_code = true;
	s->code = st->rc == 0 ? 200 : st->http_code;
	if (st->name || st->group || st->kind || st->uid || st->n_causes || st->retry_after_s)
		s->details = d;
	d->name = st->name;
	d->group = st->group;
	d->kind = st->kind;
	d->uid = st->uid;
	d->has_retryafterseconds = st->retry_after_s != 0;
	d->retryafterseconds = st->retry_after_s;
	d->n_causes = st->n_causes;
	d->causes = arena_array(arena, MetaV1__StatusCause *, st->n_causes + 1);
	for (size_t i = 0; i < st->n_causes; i++) {
		d->causes[i] = message_new(&meta_v1__status_cause__descriptor, arena);
		d->causes[i]->reason = st->causes[i].type;
		d->causes[i]->message = st->causes[i].message;
		d->causes[i]->field = st->causes[i].field;
	}
	return pack_message_in(arena, s);
}

void respond_packed_status(struct request *r, int code, struct bytes packed)
{
	struct json_head head = { "v1", "Status", 0 };
	struct buf body = { 0 };

	if (r->media.format == MEDIA_PROTOBUF) {
		envelope_put(&body, "v1", "Status", packed);
	} else {
		if (json_put_packed(&body, &meta_v1__status__descriptor, packed, &head) < 0)
			abort(); /* Statuses come from masters only. */
		buf_put_byte(&body, '\n');
	}

	struct media plain = { r->media.format, MEDIA_OBJECT, "v1" };

	respond_buf(r, code, media_content_type(&plain, false), &body);
}

void respond_status(struct request *r, struct status *st)
{
	int code = st->rc == 0 ? 200 : st->http_code;

	if (st->retry_after_s > 0) {
		char seconds[16];

		snprintf(seconds, sizeof(seconds), "%d", st->retry_after_s);
		exchange_add_header(r->x, "Retry-After", seconds);
	}
	if (code == 401)
		exchange_add_header(r->x, "WWW-Authenticate", "Bearer realm=\"sampan\"");

	struct bytes packed = status_pack(&r->arena, st);

	status_fini(st);
	respond_packed_status(r, code, packed);
}

void respond_error(struct request *r, int rc, const char *fmt, ...)
{
	struct status st = { 0 };
	va_list args;

	va_start(args, fmt);
	status_vset(&st, rc, fmt, args);
	va_end(args);
	if (st.http_code == 429 || st.http_code == 503)
		st.retry_after_s = 1;
	respond_status(r, &st);
}

void respond_not_found(struct request *r)
{
	respond_text(r, 404, "text/plain; charset=utf-8", "404 page not found\n");
}

void respond_text(struct request *r, int code, const char *content_type, const char *text)
{
	struct buf body = { 0 };

	buf_put_str(&body, text);
	respond_buf(r, code, content_type, &body);
}

void respond_document(struct request *r, const char *content_type, struct bytes body,
		      const char *etag)
{
	const char *known = exchange_header(r->x, "if-none-match");

	if (etag != NULL) {
		exchange_add_header(r->x, "ETag", etag);
		exchange_add_header(r->x, "Vary", "Accept");
		exchange_add_header(r->x, "Cache-Control", "public");
	}
	count(r, 200);
	if (etag != NULL && known != NULL && strstr(known, etag) != NULL)
		exchange_respond(r->x, 304, NULL, NULL, 0);
	else
		exchange_respond(r->x, 200, content_type, body.data, body.len);
	r->x = NULL;
	request_end(r);
}

void respond_item(struct request *r, int code, const struct rendering *rendering,
		  const struct item *item)
{
	struct buf body = { 0 };

	render_object(&body, rendering, item, true);
	if (rendering->media.format == MEDIA_JSON)
		buf_put_byte(&body, '\n');
	respond_buf(r, code, media_content_type(&rendering->media, false), &body);
}

void respond_message(struct request *r, int code, const char *api_version, const char *kind,
		     const void *message)
{
	const ProtobufCMessage *base = message;
	struct item item = { pack_message_in(&r->arena, message), 0 };
	struct rendering rendering = {
		.media = { r->media.format, MEDIA_OBJECT, "v1" },
		.api_version = api_version,
		.kind = kind,
		.descriptor = base->descriptor,
	};

	respond_item(r, code, &rendering, &item);
}

void respond_success(struct request *r, const char *name, const char *uid)
{
	struct status st = { 0 };

	status_details(&st, *r->kind->group ? r->kind->group : NULL, r->kind->plural, name);
	if (uid != NULL)
		st.uid = xstrdup(uid);
	respond_status(r, &st);
}

int status_not_found(struct status *st, const struct kind *kind, const char *name)
{
	status_set(st, -ENOENT, "%s \"%s\" not found", kind->resource, name);
	status_details(st, *kind->group ? kind->group : NULL, kind->plural, name);
	return -ENOENT;
}
