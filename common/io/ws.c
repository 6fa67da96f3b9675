#include "common/io/ws.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/io/h1_parse.h"
#include "common/io/tls_stream.h"
#include "common/io/ws_frame.h"

struct ws {
	struct byte_stream *bytes;
	const struct ws_ops *ops;
	void *data;
	const char *protocol;
	struct ws_parser parser;
	struct buf in; /* Read and not parsed yet, while paused. */
	bool paused, parsing, closed, ended;
	bool close_sent;
	struct io_later again;
	struct io_loop *loop;
	struct byte_stream tunnel;
};

bool ws_is_wanted(const struct exchange *x)
{
	return strcmp(x->method, "GET") == 0 && exchange_wants_upgrade(x, "websocket");
}

static void ws_free(struct ws *ws)
{
	ws_parser_fini(&ws->parser);
	buf_fini(&ws->in);
	free(ws);
}

static void send_frame(struct ws *ws, int op, const void *head, size_t n_head, const void *data,
		       size_t n)
{
	struct buf frame = { 0 };

	ws_put_head(&frame, op, n_head + n);
	buf_put(&frame, head, n_head);
	byte_stream_write(ws->bytes, frame.data, frame.len);
	buf_fini(&frame);
	if (n > 0)
		byte_stream_write(ws->bytes, data, n);
}

static void send_close(struct ws *ws, int code, const char *reason)
{
	uint8_t status[2] = { (uint8_t)(code >> 8), (uint8_t)code };
	size_t n = strlen(reason);

	if (ws->close_sent)
		return;
	ws->close_sent = true;
	send_frame(ws, WS_CLOSE, status, sizeof(status), reason, n > 120 ? 120 : n);
}

static void end(struct ws *ws, int rc)
{
	if (ws->ended || ws->closed)
		return;
	ws->ended = true;
	ws->ops->on_end(ws, rc);
}

/* Something is complete. */
static void handle(struct ws *ws)
{
	struct bytes payload = ws->parser.payload;

	switch (ws->parser.op) {
	case WS_TEXT:
	case WS_BINARY:
		ws->ops->on_message(ws, ws->parser.op == WS_TEXT, payload.data, payload.len);
		return;
	case WS_PING:
		if (byte_stream_pending(ws->bytes) < TLS_HIGH_BYTES)
			send_frame(ws, WS_PONG, payload.data, payload.len, NULL, 0);
		return;
	case WS_CLOSE:
		send_close(ws, WS_NORMAL_CLOSURE, "");
		end(ws, 0);
		return;
	default:
		return; /* A pong. */
	}
}

/* Parse as much as the holder wants to hear. Returns how much was used. */
static size_t parse(struct ws *ws, const uint8_t *data, size_t n)
{
	size_t at = 0;

	ws->parsing = true;
	while (at < n && !ws->paused && !ws->closed && !ws->ended) {
		size_t used;
		int rc =
			ws_parser_feed(&ws->parser, WS_MESSAGE_BYTES_MAX, data + at, n - at, &used);

		at += used;
		if (rc < 0) {
			send_close(ws, rc == -EMSGSIZE ? WS_MESSAGE_TOO_BIG : WS_PROTOCOL_ERROR,
				   "");
			end(ws, rc);
		} else if (rc == 1) {
			handle(ws);
		}
	}
	ws->parsing = false;
	return at;
}

static void on_read(struct byte_stream *bytes, const uint8_t *data, size_t n)
{
	struct ws *ws = bytes->data;
	size_t used = ws->in.len == 0 ? parse(ws, data, n) : 0;

	if (ws->closed)
		ws_free(ws);
	else if (!ws->ended && used < n)
		buf_put(&ws->in, data + used, n - used);
}

static void run_again(struct io_later *item)
{
	struct ws *ws = container_of(item, struct ws, again);

	if (ws->paused || ws->ended)
		return;
	struct buf in = ws->in;

	ws->in = (struct buf){ 0 };
	size_t used = parse(ws, in.data, in.len);

	if (ws->closed) {
		ws_free(ws);
	} else if (used < in.len && !ws->ended) {
		buf_consume(&in, used);
		ws->in = in;
		return;
	} else if (!ws->paused) {
		byte_stream_resume(ws->bytes);
	}
	buf_fini(&in);
}

static void on_drain(struct byte_stream *bytes)
{
	struct ws *ws = bytes->data;

	if (ws->ops->on_drain != NULL && !ws->ended)
		ws->ops->on_drain(ws);
}

static void on_end(struct byte_stream *bytes, int rc)
{
	end(bytes->data, rc == 0 ? -ECONNRESET : rc);
}

/* Handshake */

static void accept_key(const char *key, char ret_accept[32])
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	autofree char *text = xasprintf("%s%s", key, guid);
	uint8_t digest[EVP_MAX_MD_SIZE];

	if (EVP_Digest(text, strlen(text), digest, NULL, EVP_sha1(), NULL) != 1)
		abort();
	EVP_EncodeBlock((unsigned char *)ret_accept, digest, 20);
}

static bool is_good_key(const char *key)
{
	uint8_t decoded[32];

	return key != NULL && strlen(key) == 24 &&
	       EVP_DecodeBlock(decoded, (const unsigned char *)key, 24) == 18 &&
	       strcmp(key + 22, "==") == 0;
}

/* The first of the client's protocols that is ours, or NULL. */
static const char *choose(const struct exchange *x, const char *const *protocols, size_t n)
{
	const char *list;
	size_t at = 0;
	bool any = false;

	while ((list = exchange_header_next(x, "sec-websocket-protocol", &at)) != NULL) {
		while (*list != '\0') {
			list += strspn(list, " \t,");
			size_t len = strcspn(list, " \t,");

			any = any || len > 0;
			for (size_t i = 0; i < n && len > 0; i++) {
				if (strlen(protocols[i]) == len &&
				    memcmp(protocols[i], list, len) == 0)
					return protocols[i];
			}
			list += len;
		}
	}
	for (size_t i = 0; i < n && !any; i++) {
		if (protocols[i][0] == '\0')
			return protocols[i];
	}
	return NULL;
}

static void refuse(struct exchange *x, int status, const char *reason, const char *message)
{
	struct buf body = { 0 };

	buf_printf(&body,
		   "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":"
		   "\"Failure\",\"message\":\"%s\",\"reason\":\"%s\",\"code\":%d}\n",
		   message, reason, status);
	exchange_respond_buf(x, status, "application/json", &body);
}

struct ws *ws_accept(struct exchange *x, const char *const *protocols, size_t n_protocols,
		     const struct ws_ops *ops, void *data)
{
	const char *version = exchange_header(x, "sec-websocket-version");
	const char *key = exchange_header(x, "sec-websocket-key");
	const char *protocol = choose(x, protocols, n_protocols);
	char accept[32];

	if (!ws_is_wanted(x) || !is_good_key(key)) {
		refuse(x, 400, "BadRequest", "no WebSocket handshake");
		return NULL;
	}
	if (version == NULL || strcmp(version, "13") != 0) {
		exchange_add_header(x, "Sec-WebSocket-Version", "13");
		refuse(x, 426, "BadRequest", "the WebSocket version served is 13");
		return NULL;
	}
	if (protocol == NULL) {
		refuse(x, 403, "Forbidden", "none of the WebSocket protocols asked for is served");
		return NULL;
	}
	accept_key(key, accept);
	exchange_add_header(x, "Sec-WebSocket-Accept", accept);
	if (protocol[0] != '\0')
		exchange_add_header(x, "Sec-WebSocket-Protocol", protocol);

	struct io_loop *loop = exchange_loop(x);
	struct byte_stream *bytes = exchange_upgrade(x, "websocket");

	if (bytes == NULL)
		return NULL;
	struct ws *ws = xcalloc(1, sizeof(*ws));

	ws->bytes = bytes;
	ws->ops = ops;
	ws->data = data;
	ws->protocol = protocol;
	ws->loop = loop;
	io_later_init(&ws->again, run_again);
	bytes->data = ws;
	bytes->on_read = on_read;
	bytes->on_drain = on_drain;
	bytes->on_end = on_end;
	return ws;
}

void *ws_data(const struct ws *ws)
{
	return ws->data;
}

const char *ws_protocol(const struct ws *ws)
{
	return ws->protocol;
}

void ws_send(struct ws *ws, bool text, const void *head, size_t n_head, const void *data, size_t n)
{
	if (!ws->ended && !ws->close_sent)
		send_frame(ws, text ? WS_TEXT : WS_BINARY, head, n_head, data, n);
}

size_t ws_pending(const struct ws *ws)
{
	return byte_stream_pending(ws->bytes);
}

void ws_pause(struct ws *ws)
{
	ws->paused = true;
	byte_stream_pause(ws->bytes);
}

void ws_resume(struct ws *ws)
{
	if (!ws->paused)
		return;
	ws->paused = false;
	io_later_add(ws->loop, &ws->again);
}

void ws_close(struct ws *ws, int code, const char *reason)
{
	assert(!ws->closed);
	send_close(ws, code, reason);
	ws->closed = true;
	io_later_cancel(&ws->again);
	byte_stream_close(ws->bytes);
	if (!ws->parsing)
		ws_free(ws);
}

/* The tunnel */

static struct ws *ws_of(const struct byte_stream *s)
{
	return container_of((struct byte_stream *)s, struct ws, tunnel);
}

static void tunnel_write(struct byte_stream *s, const void *data, size_t n)
{
	ws_send(ws_of(s), false, NULL, 0, data, n);
}

static size_t tunnel_pending(const struct byte_stream *s)
{
	return ws_pending(ws_of(s));
}

static void tunnel_pause(struct byte_stream *s)
{
	ws_pause(ws_of(s));
}

static void tunnel_resume(struct byte_stream *s)
{
	ws_resume(ws_of(s));
}

static void tunnel_close(struct byte_stream *s)
{
	ws_close(ws_of(s), WS_NORMAL_CLOSURE, "");
}

static const struct byte_stream_ops tunnel_stream_ops = {
	.write = tunnel_write,
	.pending = tunnel_pending,
	.pause = tunnel_pause,
	.resume = tunnel_resume,
	.close = tunnel_close,
};

static void tunnel_message(struct ws *ws, bool text, const uint8_t *data, size_t n)
{
	(void)text;
	if (n > 0)
		ws->tunnel.on_read(&ws->tunnel, data, n);
}

static void tunnel_drain(struct ws *ws)
{
	if (ws->tunnel.on_drain != NULL)
		ws->tunnel.on_drain(&ws->tunnel);
}

static void tunnel_end(struct ws *ws, int rc)
{
	ws->tunnel.on_end(&ws->tunnel, rc);
}

struct byte_stream *ws_accept_tunnel(struct exchange *x, const char *protocol)
{
	static const struct ws_ops ops = { tunnel_message, tunnel_drain, tunnel_end };
	struct ws *ws = ws_accept(x, &protocol, 1, &ops, NULL);

	if (ws == NULL)
		return NULL;
	ws->tunnel.ops = &tunnel_stream_ops;
	return &ws->tunnel;
}
