#include "agent/streams/streams.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/streams/internal.h"
#include "common/api/make.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/io/address.h"
#include "common/io/tls.h"
#include "common/io/tls_stream.h"

struct streams *streams_create(const struct streams_options *options)
{
	struct streams *streams = xcalloc(1, sizeof(*streams));

	streams->options = *options;
	list_init(&streams->list);
	return streams;
}

void stream_free(struct stream *s)
{
	list_remove(&s->link);
	s->streams->n--;
	sampan_node__stream_open__free_unpacked(s->open, NULL);
	free(s);
}

void stream_end(struct stream *s)
{
	if (s->stopped)
		return;
	s->stopped = true;
	if (s->frames != NULL)
		frame_stream_close(s->frames);
	s->frames = NULL;
	if (s->state != NULL)
		s->kind->stop(s);
	else
		stream_free(s);
}

bool stream_is_full(const struct stream *s)
{
	return s->frames != NULL && frame_stream_pending(s->frames) > TLS_HIGH_BYTES;
}

static void send_status(struct stream *s, const MetaV1__Status *status)
{
	auto_with(buf_fini) struct buf packed = { 0 };

	if (s->frames == NULL)
		return;
	pack_message(&packed, status);
	frame_stream_write(s->frames, CHANNEL_ERROR, packed.data, packed.len, true);
}

void stream_finish(struct stream *s, int http_code, const char *reason, const char *fmt, ...)
{
	auto_with(arena_fini) struct arena arena = { 0 };
	va_list args;

	arena_init(&arena, 0);
	MetaV1__Status *status = make(&arena, MetaV1__Status, meta_v1__status);

	va_start(args, fmt);
	status->message = arena_vprintf(&arena, fmt, args);
	va_end(args);
	status->status = arena_strdup(&arena, http_code == 200 ? "Success" : "Failure");
	if (http_code != 200) {
		status->reason = arena_strdup(&arena, reason);
		make_set(status, code, http_code);
	}
	send_status(s, status);
	stream_end(s);
}

void stream_finish_exit(struct stream *s, int exit_code)
{
	auto_with(arena_fini) struct arena arena = { 0 };

	if (exit_code == 0) {
		stream_finish(s, 200, NULL, "%s", "");
		return;
	}
	arena_init(&arena, 0);
	MetaV1__Status *status = make(&arena, MetaV1__Status, meta_v1__status);
	MetaV1__StatusCause *cause = make(&arena, MetaV1__StatusCause, meta_v1__status_cause);

	status->status = arena_strdup(&arena, "Failure");
	status->reason = arena_strdup(&arena, "NonZeroExitCode");
	status->message = arena_printf(&arena,
		"command terminated with non-zero exit code: exit status %d", exit_code);
	status->details = make(&arena, MetaV1__StatusDetails, meta_v1__status_details);
	cause->reason = arena_strdup(&arena, "ExitCode");
	cause->message = arena_printf(&arena, "%d", exit_code);
	make_append(&arena, status->details, causes, cause);
	send_status(s, status);
	stream_end(s);
}

int stream_place(struct stream *s, struct container_place *ret, struct pod **ret_pod, struct status *st)
{
	struct pod *pod = s->open->uid ? pods_find(s->streams->options.pods, s->open->uid)
				       : pods_find_named(s->streams->options.pods, text_of(s->open->namespace_),
						 text_of(s->open->pod));

	if (pod == NULL)
		return status_set(st, -ENOENT, "pod %s is not on this node", text_of(s->open->pod));
	*ret_pod = pod;
	return pod_place(pod, s->open->container, ret, st);
}

static void on_data(struct frame_stream *f, uint8_t channel, const uint8_t *data, size_t n, bool end)
{
	struct stream *s = frame_stream_data(f);

	if (!s->stopped && s->kind->data != NULL)
		s->kind->data(s, channel, data, n, end);
}

static void on_drain(struct frame_stream *f)
{
	struct stream *s = frame_stream_data(f);

	if (!s->stopped && s->kind->drain != NULL)
		s->kind->drain(s);
}

static void on_end(struct frame_stream *f, int rc)
{
	stream_end(frame_stream_data(f));
}

static void on_dialled(void *arg, int rc, const struct http_response *response, struct byte_stream *bytes)
{
	static const struct frame_stream_ops ops = { on_data, on_drain, on_end };
	struct stream *s = arg;

	s->dialling = NULL;
	if (rc < 0 || bytes == NULL) {
		log_warn("stream not opened", "pod=%s master=%s error=%s", text_of(s->open->pod),
			text_of(s->open->api_address),
			log_quote(rc < 0 ? strerror(-rc) : "the master does not know it"));
		stream_end(s);
		return;
	}
	s->frames = frame_stream_create(bytes, &ops, s);
	s->kind->start(s);
}

static const struct stream_kind *kind_of(const SampanNode__StreamOpen *open)
{
	switch (open->kind) {
	case SAMPAN_NODE__STREAM_OPEN__KIND__EXEC:
	case SAMPAN_NODE__STREAM_OPEN__KIND__ATTACH:
		return &process_kind;
	case SAMPAN_NODE__STREAM_OPEN__KIND__LOGS:
		return &logs_kind;
	case SAMPAN_NODE__STREAM_OPEN__KIND__PORT_FORWARD:
		return &forward_kind;
	default:
		return NULL;
	}
}

static SampanNode__StreamOpen *copy_open(const SampanNode__StreamOpen *open)
{
	size_t n = sampan_node__stream_open__get_packed_size(open);
	autofree uint8_t *packed = xmalloc(n + 1);

	sampan_node__stream_open__pack(open, packed);
	return sampan_node__stream_open__unpack(NULL, n, packed);
}

/* Only what a path may hold: the id comes from a master, but costs nothing to check. */
static bool id_is_valid(const char *id)
{
	size_t n = strspn(text_of(id), "0123456789abcdefABCDEF");

	return n > 0 && n <= 64 && id[n] == '\0';
}

void streams_open(struct streams *streams, const SampanNode__StreamOpen *open)
{
	const struct stream_kind *kind = kind_of(open);
	char host[256];
	int port;

	if (kind == NULL || !id_is_valid(open->id) || open->api_address == NULL ||
		address_split(open->api_address, host, sizeof(host), &port) < 0 ||
		streams->n >= STREAMS_MAX) {
		log_warn("stream refused", "pod=%s open=%zu", text_of(open->pod), streams->n);
		return;
	}
	struct stream *s = xcalloc(1, sizeof(*s));
	autofree char *target = xasprintf("%s%s", STREAM_PATH, open->id);

	s->streams = streams;
	s->kind = kind;
	s->open = copy_open(open);
	list_push_back(&streams->list, &s->link);
	streams->n++;
	struct http_request request = { .host = host,
		.port = port,
		.tls = streams->options.tls,
		.server_name = TLS_MASTER_NAME,
		.target = target,
		.upgrade = STREAM_PROTOCOL,
		.timeout_ms = 10000 };

	s->dialling = http_client_send(streams->options.loop, &request, on_dialled, s);
}
