/* pods/log: a plain answer that grows.
 *
 * The answer begins with the first bytes from the node, so that what the node
 * refuses is still a Status of its own. A client that reads slowly holds the node
 * back; one that leaves closes the stream. The request lives until the stream says
 * that it has closed. */
#include <errno.h>
#include <string.h>

#include "common/api/message.h"
#include "common/api/pack.h"
#include "common/api/times.h"
#include "controlplane/apiserver/internal.h"
#include "controlplane/apiserver/stream_target.h"
#include "controlplane/nodes/streams.h"

struct log_stream {
	struct request *request;
	struct node_stream *stream;
	const char *node;
	bool begun, paused, gone;
	struct bytes refusal; /* The node's packed Status instead of a log. */
};

static void log_free(struct request *r)
{
	r->api->metrics.streams--;
}

static void log_begin(struct log_stream *l)
{
	if (l->begun)
		return;
	l->begun = true;
	l->request->api->metrics.requests_total++;
	exchange_begin(l->request->x, 200, "text/plain");
}

static void on_data(void *ctx, uint8_t channel, struct bytes bytes, bool end)
{
	struct log_stream *l = ctx;
	struct exchange *x = l->request->x;

	(void)end;
	if (l->gone)
		return;
	if (channel == NODE_STREAM_ERROR) {
		if (bytes.len > 0 && !l->begun)
			l->refusal = bytes_of(
				arena_memdup(&l->request->arena, bytes.data, bytes.len), bytes.len);
		return;
	}
	if (channel != NODE_STREAM_STDOUT || bytes.len == 0)
		return;
	log_begin(l);
	exchange_write(x, bytes.data, bytes.len);
	if (!l->paused && exchange_pending(x) > EXCHANGE_HIGH_BYTES) {
		l->paused = true;
		node_stream_pause(l->stream, true);
	}
}

static void on_drain(struct exchange *x)
{
	struct request *r = x->data;
	struct log_stream *l = r->data;

	if (!l->paused)
		return;
	l->paused = false;
	node_stream_pause(l->stream, false);
}

static void log_stop(struct request *r)
{
	struct log_stream *l = r->data;

	if (l->gone)
		return;
	l->gone = true;
	node_stream_close(l->stream);
}

static void on_gone(struct exchange *x)
{
	log_stop(x->data);
}

static void on_opened(void *ctx)
{
	(void)ctx;
}

static void on_drained(void *ctx)
{
	(void)ctx; /* Nothing is ever written towards the node. */
}

/* Nothing was sent yet: the node's reason is the answer, if it is one. */
static bool respond_refusal(struct log_stream *l)
{
	struct request *r = l->request;
	MetaV1__Status *why;

	if (l->refusal.len == 0 ||
	    unpack_message(&meta_v1__status__descriptor, l->refusal, &r->body, &why, NULL) < 0)
		return false;
	if (why->status == NULL || strcmp(why->status, "Failure") != 0)
		return false;
	respond_packed_status(r, why->code >= 400 && why->code < 600 ? why->code : 500,
			      pack_message_in(&r->arena, why));
	return true;
}

static void on_closed(void *ctx, int rc)
{
	struct log_stream *l = ctx;
	struct request *r = l->request;

	if (!l->begun && !l->gone && respond_refusal(l))
		return;
	if (rc < 0 && !l->begun && !l->gone) {
		respond_error(r, rc == -ETIMEDOUT ? -ETIMEDOUT : -EIO, "node %s did not answer: %s",
			      l->node, strerror(-rc));
		return;
	}
	if (rc < 0 || l->gone) {
		/* What was sent is not all. */
		exchange_abort(r->x);
		r->x = NULL;
	} else {
		log_begin(l);
	}
	request_end(r);
}

static const struct node_stream_callbacks log_callbacks = {
	.opened = on_opened,
	.data = on_data,
	.drained = on_drained,
	.closed = on_closed,
};

static int query_optional(struct request *r, const char *name, int64_t least,
			  protobuf_c_boolean *ret_has, int64_t *ret_value, struct status *st)
{
	int rc = query_int(&r->query, name, INT64_MIN, ret_value, st);

	*ret_has = rc == 0 && *ret_value != INT64_MIN;
	if (*ret_has && *ret_value < least)
		return status_set(
			st, -EINVAL,
			"PodLogOptions \"%s\" is invalid: %s: Invalid value: %lld: must be "
			"greater than or equal to %lld",
			r->path.name, name, (long long)*ret_value, (long long)least);
	return rc;
}

static int log_options(struct request *r, CoreV1__PodLogOptions *o, struct status *st)
{
	const char *since = query_get(&r->query, "sinceTime");
	bool follow = false, previous = false, timestamps = false;
	int rc = query_bool(&r->query, "follow", false, &follow, st);

	if (rc == 0)
		rc = query_bool(&r->query, "previous", false, &previous, st);
	if (rc == 0)
		rc = query_bool(&r->query, "timestamps", false, &timestamps, st);
	if (rc == 0)
		rc = query_optional(r, "sinceSeconds", 1, &o->has_sinceseconds, &o->sinceseconds,
				    st);
	if (rc == 0)
		rc = query_optional(r, "tailLines", 0, &o->has_taillines, &o->taillines, st);
	if (rc == 0)
		rc = query_optional(r, "limitBytes", 1, &o->has_limitbytes, &o->limitbytes, st);
	if (rc < 0)
		return rc;
	o->has_follow = o->has_previous = o->has_timestamps = true;
	o->follow = follow;
	o->previous = previous;
	o->timestamps = timestamps;
	o->container = (char *)query_get(&r->query, "container");
	if (since == NULL || *since == 0)
		return 0;
	o->sincetime = message_new(&meta_v1__time__descriptor, &r->arena);
	o->sincetime->has_seconds = true;
	if (time_parse(bytes_str(since), &o->sincetime->seconds, &o->sincetime->nanos) < 0)
		return status_set(st, -EBADMSG, "sinceTime \"%.64s\" is not a time", since);
	return 0;
}

static int log_open(struct request *r, struct log_stream *l, struct status *st)
{
	CoreV1__PodLogOptions *options =
		message_new(&core_v1__pod_log_options__descriptor, &r->arena);
	SampanNode__StreamOpen open = SAMPAN_NODE__STREAM_OPEN__INIT;
	struct stream_target target;
	int rc = log_options(r, options, st);

	if (rc == 0)
		rc = stream_target_find(r, options->container, false, &r->arena, &target, st);
	if (rc < 0)
		return rc;
	options->container = (char *)target.container;

	struct bytes packed = pack_message_in(&r->arena, options);

	open.has_kind = true;
	open.kind = SAMPAN_NODE__STREAM_OPEN__KIND__LOGS;
	open.has_log_options = true;
	open.log_options.data = (uint8_t *)packed.data;
	open.log_options.len = packed.len;
	l->node = target.node;
	return stream_target_open(r, &target, &open, &log_callbacks, l, &l->stream, st);
}

/* A pod that was just made elsewhere must be known here. */
static void log_ready(struct request *r, int rc)
{
	struct log_stream *l = arena_new(&r->arena, struct log_stream);
	struct status st = { 0 };

	l->request = r;
	if (rc < 0) {
		respond_unavailable(r, rc);
		return;
	}
	if (log_open(r, l, &st) < 0) {
		respond_status(r, &st);
		return;
	}
	r->data = l;
	r->free_data = log_free;
	r->stop = log_stop;
	r->x->on_drain = on_drain;
	r->x->on_gone = on_gone;
	r->api->metrics.streams++;
	r->api->metrics.streams_total++;
}

void handle_log(struct request *r)
{
	request_barrier(r, log_ready);
}
