/* exec and attach: the client's session on one side, the node's stream on the other.
 *
 *   client --stdin, resize--> node          each side is paused while the other
 *          <--stdout, stderr--              has more pending than it should
 *          <--Status, last----
 *
 * The node's stream is opened first, so that what is wrong with the pod or its node is
 * still an HTTP answer; the client is accepted when the node has come, and nothing is
 * read from the node before the client has opened its channels. The request lives until
 * the node's stream says that it has closed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/json.h"
#include "common/api/pack.h"
#include "common/base/cleanup.h"
#include "common/io/remote_streams.h"
#include "common/io/tls_stream.h"
#include "controlplane/apiserver/stream_target.h"

#define NODE_HIGH_BYTES ((size_t)256 << 10)
#define NODE_STATUS_MAX ((size_t)64 << 10)

struct remote {
	struct request *request;
	struct remote_session *session; /* NULL: the client is gone or done with. */
	struct node_stream *stream;
	struct remote_wish wish;
	bool accepted, gone, client_paused, node_paused;
	struct buf status; /* What came on the node's error channel. */
};

static void remote_free(struct request *r)
{
	struct remote *m = r->data;

	buf_fini(&m->status);
	r->api->metrics.streams--;
}

/* --- From the client ----------------------------------------------------------------- */

static void send_to_node(struct remote *m, uint8_t channel, const uint8_t *data, size_t n, bool end)
{
	node_stream_write(m->stream, channel, bytes_of(data, n), end);
	if (!m->client_paused && node_stream_pending(m->stream) > NODE_HIGH_BYTES) {
		m->client_paused = true;
		remote_pause(m->session);
	}
}

static void on_client_open(struct remote_session *s)
{
	struct remote *m = remote_data(s);

	m->node_paused = false;
	node_stream_pause(m->stream, false);
}

static void on_client_data(struct remote_session *s, enum remote_channel channel,
			   const uint8_t *data, size_t n)
{
	send_to_node(remote_data(s),
		     channel == REMOTE_RESIZE ? NODE_STREAM_RESIZE : NODE_STREAM_STDIN, data, n,
		     false);
}

static void on_client_eof(struct remote_session *s, enum remote_channel channel)
{
	if (channel == REMOTE_STDIN)
		send_to_node(remote_data(s), NODE_STREAM_STDIN, NULL, 0, true);
}

static void on_client_drain(struct remote_session *s)
{
	struct remote *m = remote_data(s);

	if (!m->node_paused)
		return;
	m->node_paused = false;
	node_stream_pause(m->stream, false);
}

static void on_client_end(struct remote_session *s, int rc)
{
	struct remote *m = remote_data(s);

	(void)rc;
	m->session = NULL;
	remote_close(s);
	node_stream_close(m->stream);
}

static const struct remote_ops client_ops = {
	.on_open = on_client_open,
	.on_data = on_client_data,
	.on_eof = on_client_eof,
	.on_drain = on_client_drain,
	.on_end = on_client_end,
};

/* --- From the node ------------------------------------------------------------------- */

static void on_node_opened(void *ctx)
{
	struct remote *m = ctx;
	struct request *r = m->request;

	if (m->gone)
		return;
	m->accepted = true;
	m->node_paused = true;
	node_stream_pause(m->stream, true);
	r->x->on_gone = NULL;
	m->session = remote_accept(r->x, &m->wish, &client_ops, m);
	r->x = NULL;
	if (m->session == NULL)
		node_stream_close(m->stream);
}

static void on_node_data(void *ctx, uint8_t channel, struct bytes bytes, bool end)
{
	struct remote *m = ctx;

	(void)end;
	if (channel == NODE_STREAM_ERROR) {
		if (m->status.len + bytes.len <= NODE_STATUS_MAX)
			buf_put(&m->status, bytes.data, bytes.len);
		return;
	}
	if (m->session == NULL || bytes.len == 0)
		return;
	remote_write(m->session, channel == NODE_STREAM_STDERR ? REMOTE_STDERR : REMOTE_STDOUT,
		     bytes.data, bytes.len);
	if (!m->node_paused && remote_pending(m->session) > TLS_HIGH_BYTES) {
		m->node_paused = true;
		node_stream_pause(m->stream, true);
	}
}

static void on_node_drained(void *ctx)
{
	struct remote *m = ctx;

	if (!m->client_paused || m->session == NULL)
		return;
	m->client_paused = false;
	remote_resume(m->session);
}

/* The node's last word, or why there is none. */
static void finish(struct remote *m, int rc)
{
	auto_with(buf_fini) struct buf json = { 0 };
	struct json_head head = { "v1", "Status", 0 };
	struct status st = { 0 };
	MetaV1__Status *said = NULL;
	const char *failure;

	if (m->status.len == 0 ||
	    unpack_message(&meta_v1__status__descriptor, buf_bytes(&m->status), &m->request->body,
			   &said, NULL) < 0) {
		status_set(&st, -EIO, "the stream to the container broke off: %s",
			   rc < 0 ? strerror(-rc) : "the node gave no result");
		said = NULL;
	}
	if (said == NULL) {
		struct bytes packed = status_pack(&m->request->arena, &st);

		said = unpack_stored(&meta_v1__status__descriptor, packed, &m->request->arena);
	}
	failure = said->status != NULL && strcmp(said->status, "Success") == 0 ? NULL
		  : said->message != NULL                                      ? said->message
									       : "failed";
	json_put_message(&json, said, &head);
	remote_finish(m->session, buf_cstr(&json), failure);
	m->session = NULL;
	status_fini(&st);
}

static void on_node_closed(void *ctx, int rc)
{
	struct remote *m = ctx;

	if (!m->accepted && !m->gone) {
		respond_error(m->request, rc == -ETIMEDOUT ? -ETIMEDOUT : -EIO,
			      "the node of pod %s did not answer: %s", m->request->path.name,
			      strerror(rc < 0 ? -rc : EPIPE));
		return;
	}
	if (m->session != NULL)
		finish(m, rc);
	request_end(m->request);
}

static const struct node_stream_callbacks node_callbacks = {
	.opened = on_node_opened,
	.data = on_node_data,
	.drained = on_node_drained,
	.closed = on_node_closed,
};

/* --- Beginning ----------------------------------------------------------------------- */

static int parse_wish(struct request *r, struct remote_wish *wish, struct status *st)
{
	int rc = query_bool(&r->query, "stdin", false, &wish->in, st);

	if (rc == 0)
		rc = query_bool(&r->query, "stdout", false, &wish->out, st);
	if (rc == 0)
		rc = query_bool(&r->query, "stderr", false, &wish->err, st);
	if (rc == 0)
		rc = query_bool(&r->query, "tty", false, &wish->tty, st);
	if (rc < 0)
		return rc;
	if (!wish->in && !wish->out && !wish->err)
		return status_set(st, -EBADMSG,
				  "you must specify at least 1 of stdin, stdout, stderr");
	if (wish->tty && wish->err)
		return status_set(st, -EBADMSG, "tty and stderr cannot both be true");
	return 0;
}

static int parse_command(struct request *r, SampanNode__StreamOpen *open, struct status *st)
{
	open->command = arena_array(&r->arena, char *, r->query.n + 1);
	for (size_t i = 0; i < r->query.n; i++)
		if (strcmp(r->query.pairs[i].name, "command") == 0)
			open->command[open->n_command++] = (char *)r->query.pairs[i].value;
	if (open->n_command == 0)
		return status_set(st, -EBADMSG, "you must specify a command for the container");
	return 0;
}

static int remote_open(struct request *r, struct remote *m, struct status *st)
{
	SampanNode__StreamOpen open = SAMPAN_NODE__STREAM_OPEN__INIT;
	bool exec = strcmp(r->sub->name, "exec") == 0;
	struct stream_target target;
	int rc = parse_wish(r, &m->wish, st);

	open.has_kind = open.has_stdin = open.has_stdout = open.has_stderr = open.has_tty = true;
	open.kind = exec ? SAMPAN_NODE__STREAM_OPEN__KIND__EXEC
			 : SAMPAN_NODE__STREAM_OPEN__KIND__ATTACH;
	open.stdin = m->wish.in;
	open.stdout = m->wish.out;
	open.stderr = m->wish.err;
	open.tty = m->wish.tty;
	if (rc == 0 && exec)
		rc = parse_command(r, &open, st);
	if (rc == 0)
		rc = stream_target_find(r, query_get(&r->query, "container"), false, &r->arena,
					&target, st);
	if (rc == 0)
		rc = stream_target_open(r, &target, &open, &node_callbacks, m, &m->stream, st);
	return rc;
}

static void remote_stop(struct request *r)
{
	struct remote *m = r->data;

	m->gone = true;
	if (m->session != NULL) {
		remote_close(m->session);
		m->session = NULL;
	}
	node_stream_close(m->stream);
}

/* The client left before the node came. */
static void on_gone(struct exchange *x)
{
	remote_stop(x->data);
}

static void remote_ready(struct request *r, int rc)
{
	struct remote *m = arena_new(&r->arena, struct remote);
	struct status st = { 0 };

	m->request = r;
	if (rc < 0) {
		respond_unavailable(r, rc);
		return;
	}
	if (remote_open(r, m, &st) < 0) {
		respond_status(r, &st);
		return;
	}
	r->data = m;
	r->free_data = remote_free;
	r->stop = remote_stop;
	r->api->metrics.requests_total++;
	r->api->metrics.streams++;
	r->api->metrics.streams_total++;
	r->x->on_gone = on_gone;
}

void handle_remote(struct request *r)
{
	if (!remote_is_wanted(r->x))
		respond_error(r, -EBADMSG, "Upgrade request required");
	else
		request_barrier(r, remote_ready);
}
