/*   asked ----------> told ------------> open ------------> closed
 *     the request      an agent's call    the agent dialled   by either side
 *     waits for a      carried it away    and upgraded
 *     parked call
 *
 * Until it is open a stream has DIAL_MS; its id is a secret of 128 random bits,
 * good for one upgrade by the node it was made for. */
#include "controlplane/nodes/streams.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/source.h"
#include "common/io/cert_names.h"
#include "common/io/exchange.h"
#include "common/io/stream_frames.h"
#include "controlplane/nodes/http.h"
#include "controlplane/nodes/internal.h"

#define DIAL_MS 10000
#define STREAMS_MAX 1000
#define ASKS_PER_NODE_MAX 100

/* A private copy: pack and unpack is the one deep copy protobuf-c has. */
static SampanNode__StreamOpen *request_copy(const SampanNode__StreamOpen *request)
{
	struct buf packed = { 0 };

	packed.len = sampan_node__stream_open__pack(
		request, buf_reserve(&packed, sampan_node__stream_open__get_packed_size(request)));
	SampanNode__StreamOpen *copy =
		sampan_node__stream_open__unpack(NULL, packed.len, packed.data);
	buf_fini(&packed);
	if (copy == NULL)
		abort();
	return copy;
}

static void set_text(char **member, const char *text)
{
	if (*member != NULL && *member != protobuf_c_empty_string)
		free(*member);
	*member = xstrdup(text);
}

static void stream_free(struct node_stream *s)
{
	list_remove(&s->link);
	s->nodes->n_streams--;
	sampan_node__stream_open__free_unpacked(s->request, NULL);
	free(s->node);
	free(s);
}

/* Off the asks of its node, if it is still one. */
static void no_longer_asked(struct node_stream *s)
{
	struct node_state *state = node_state_find(s->nodes, s->node);

	if (s->asked && state != NULL)
		state->n_asks--;
	s->asked = false;
	list_remove(&s->link);
	list_push_back(&s->nodes->streams, &s->link);
}

static void stream_end(struct node_stream *s, int rc)
{
	const struct node_stream_callbacks callbacks = s->callbacks;
	void *ctx = s->ctx;

	no_longer_asked(s);
	if (s->frames != NULL)
		frame_stream_close(s->frames);
	stream_free(s);
	callbacks.closed(ctx, rc);
}

int node_stream_open(struct nodes *nodes, const char *node, const void *request,
		     const struct node_stream_callbacks *callbacks, void *ctx,
		     struct node_stream **ret_stream)
{
	struct node_state *state = node_state_find(nodes, node);
	uint64_t id[2];

	/* An agent that polls is away between two calls for moments only. */
	if (state == NULL || state->silent)
		return -ENOENT;
	if (nodes->n_streams >= STREAMS_MAX || state->n_asks >= ASKS_PER_NODE_MAX)
		return -EAGAIN;

	struct node_stream *s = xcalloc(1, sizeof(*s));
	s->nodes = nodes;
	s->node = xstrdup(node);
	s->callbacks = *callbacks;
	s->ctx = ctx;
	s->deadline_ms = nodes_now_ms(nodes) + DIAL_MS;
	nodes->config.source->random(nodes->config.source, id, sizeof(id));
	snprintf(s->id, sizeof(s->id), "%016llx%016llx", (unsigned long long)id[0],
		 (unsigned long long)id[1]);
	s->request = request_copy(request);
	set_text(&s->request->id, s->id);
	set_text(&s->request->api_address, nodes->config.api_address);
	s->asked = true;
	list_init(&s->link);
	list_push_back(&state->asks, &s->link);
	state->n_asks++;
	nodes->n_streams++;
	node_state_look(nodes, state);
	*ret_stream = s;
	return 0;
}

SampanNode__StreamOpen **streams_take(struct nodes *nodes, struct node_state *state,
				      struct arena *arena, size_t *ret_n)
{
	SampanNode__StreamOpen **requests =
		arena_array(arena, SampanNode__StreamOpen *, state->n_asks + 1);
	size_t n = 0;

	list_for_each (s, &state->asks, struct node_stream, link) {
		no_longer_asked(s);
		if (!s->closing)
			requests[n++] = s->request;
	}
	(void)nodes;
	*ret_n = n;
	return requests;
}

/* --- The agent has dialled --------------------------------------------------------- */

static void on_data(struct frame_stream *f, uint8_t channel, const uint8_t *data, size_t n, bool end)
{
	struct node_stream *s = frame_stream_data(f);

	if (!s->closing)
		s->callbacks.data(s->ctx, channel, bytes_of(data, n), end);
}

static void on_drain(struct frame_stream *f)
{
	struct node_stream *s = frame_stream_data(f);

	if (!s->closing && s->callbacks.drained != NULL)
		s->callbacks.drained(s->ctx);
}

static void on_end(struct frame_stream *f, int rc)
{
	struct node_stream *s = frame_stream_data(f);

	stream_end(s, s->closing ? -ECANCELED : rc);
}

static struct node_stream *stream_of(struct nodes *nodes, const char *id)
{
	list_for_each (s, &nodes->streams, struct node_stream, link)
		if (strcmp(s->id, id) == 0 && s->frames == NULL && !s->closing)
			return s;
	return NULL;
}

static bool is_node(const struct exchange *x, const char *node)
{
	size_t n = strlen(CERT_NODE_PREFIX);

	return x->peer != NULL && tls_identity_in_org(x->peer, CERT_NODES_ORG) &&
	       strncmp(x->peer->cn, CERT_NODE_PREFIX, n) == 0 && strcmp(x->peer->cn + n, node) == 0;
}

void streams_http(struct nodes *nodes, struct exchange *x, const char *id)
{
	static const struct frame_stream_ops ops = { on_data, on_drain, on_end };
	struct node_stream *s = stream_of(nodes, id);

	/* Who is not the right node learns nothing. */
	if (s == NULL || !is_node(x, s->node)) {
		http_status(x, 404, "NotFound", "no such stream");
		return;
	}
	if (!exchange_wants_upgrade(x, STREAM_PROTOCOL)) {
		http_status(x, 400, "BadRequest", "a stream is an upgrade to " STREAM_PROTOCOL);
		return;
	}
	struct byte_stream *bytes = exchange_upgrade(x, STREAM_PROTOCOL);
	if (bytes == NULL)
		return; /* It went away again; it may still try until the deadline. */
	s->frames = frame_stream_create(bytes, &ops, s);
	if (s->callbacks.opened != NULL)
		s->callbacks.opened(s->ctx);
}

/* --- The client's side ---------------------------------------------------------------- */

void node_stream_write(struct node_stream *s, uint8_t channel, struct bytes bytes, bool end)
{
	if (s->frames != NULL && !s->closing)
		frame_stream_write(s->frames, channel, bytes.data, bytes.len, end);
}

size_t node_stream_pending(const struct node_stream *s)
{
	return s->frames ? frame_stream_pending(s->frames) : 0;
}

void node_stream_pause(struct node_stream *s, bool pause)
{
	if (s->frames == NULL)
		return;
	if (pause)
		frame_stream_pause(s->frames);
	else
		frame_stream_resume(s->frames);
}

/* closed() comes with the next tick: never inside this call. */
void node_stream_close(struct node_stream *s)
{
	s->closing = true;
	s->deadline_ms = 0;
}

static bool is_due(const struct node_stream *s, uint64_t now_ms)
{
	return s->closing || (s->frames == NULL && s->deadline_ms <= now_ms);
}

static void end_if_due(struct node_stream *s, uint64_t now_ms)
{
	if (is_due(s, now_ms))
		stream_end(s, s->closing ? -ECANCELED : -ETIMEDOUT);
}

void streams_tick(struct nodes *nodes, uint64_t now_ms)
{
	tree_for_each (state, &nodes->states, struct node_state, by_name)
		list_for_each (s, &state->asks, struct node_stream, link)
			end_if_due(s, now_ms);
	list_for_each (s, &nodes->streams, struct node_stream, link)
		end_if_due(s, now_ms);
}

void streams_stop(struct nodes *nodes)
{
	tree_for_each (state, &nodes->states, struct node_state, by_name)
		list_for_each (s, &state->asks, struct node_stream, link)
			stream_end(s, -ESHUTDOWN);
	list_for_each (s, &nodes->streams, struct node_stream, link)
		stream_end(s, -ESHUTDOWN);
}
