/* Remote commands and port-forward over WebSocket and SPDY, as clients see them. */
#include "world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/io/http_server.h"
#include "common/io/remote_streams.h"
#include "common/io/spdy.h"

static struct buf heard; /* What the server's side was told, as text. */
static unsigned n_open;
static size_t pending_max, written;
static bool flooding;

static void tell(const char *what, int channel, const uint8_t *data, size_t n)
{
	buf_printf(&heard, "%s %d %.*s;", what, channel, (int)n, (const char *)data);
}

/* Remote commands */

static struct remote_session *session;

static void flood(struct remote_session *s)
{
	static const char block[10000] = "x";

	while (remote_pending(s) <= TLS_HIGH_BYTES && written < 20000000) {
		remote_write(s, REMOTE_STDOUT, block, sizeof(block));
		written += sizeof(block);
		if (remote_pending(s) > pending_max)
			pending_max = remote_pending(s);
	}
	if (written == 20000000) {
		written++;
		session = NULL;
		remote_finish(s, "{\"status\":\"Success\"}", NULL);
	}
}

static void on_open(struct remote_session *s)
{
	n_open++;
	if (flooding)
		flood(s);
}

static void on_data(struct remote_session *s, enum remote_channel channel, const uint8_t *data,
		    size_t n)
{
	tell("data", (int)channel, data, n);
	remote_write(s, REMOTE_STDOUT, data, n);
}

static void on_eof(struct remote_session *s, enum remote_channel channel)
{
	tell("eof", (int)channel, (const uint8_t *)"", 0);
	if (channel == REMOTE_STDIN) {
		session = NULL;
		remote_finish(s, "{\"status\":\"Success\"}", NULL);
	}
}

static void on_end(struct remote_session *s, int rc)
{
	buf_printf(&heard, "gone %d;", rc);
	session = NULL;
	remote_close(s);
}

static const struct remote_ops session_ops = { on_open, on_data, on_eof, flood, on_end };

/* Port-forward */

static void conn_opened(struct port_forward *f, struct port_conn *c, int port)
{
	(void)f;
	buf_printf(&heard, "connect %d;", port);
	if (port == 81)
		port_conn_close(c, "refused");
}

static void conn_data(struct port_conn *c, const uint8_t *data, size_t n)
{
	tell("data", 0, data, n);
	port_conn_write(c, data, n);
}

static void conn_eof(struct port_conn *c)
{
	buf_put_str(&heard, "eof;");
	port_conn_close(c, NULL);
}

static void conn_reset(struct port_conn *c)
{
	buf_put_str(&heard, "reset;");
	port_conn_close(c, NULL);
}

static void forward_end(struct port_forward *f, int rc)
{
	buf_printf(&heard, "gone %d;", rc);
	port_forward_close(f);
}

static const struct port_forward_ops forward_ops = { conn_opened, conn_data, conn_eof,
						     conn_reset,  NULL,      forward_end };

/* The server */

static void on_request(struct exchange *x, void *arg)
{
	static const struct remote_wish wish = { true, true, true, false };
	static const struct remote_wish tty = { true, true, true, true };
	static const int ports[] = { 80, 81 };

	(void)arg;
	if (strcmp(x->path, "/exec") == 0) {
		session = remote_accept(x, &wish, &session_ops, NULL);
	} else if (strcmp(x->path, "/tty") == 0) {
		session = remote_accept(x, &tty, &session_ops, NULL);
	} else if (strcmp(x->path, "/forward") == 0) {
		port_forward_accept(x, ports, 2, &forward_ops, NULL);
	} else {
		exchange_respond(x, 404, NULL, "", 0);
	}
}

static struct http_server *serve(struct world *w)
{
	struct http_server_config config = { .host = "127.0.0.1",
					     .tls = w->server_tls,
					     .on_request = on_request };
	struct http_server *s;

	assert_int_equal(http_server_create(&w->loop, &config, &s, NULL), 0);
	buf_clear(&heard);
	n_open = 0;
	pending_max = written = 0;
	flooding = false;
	return s;
}

static void stop(struct world *w, struct http_server *s)
{
	bool closed = false;

	http_server_close(s, world_set_true, &closed);
	world_run_until_true(w, &closed);
	world_settle(w);
	buf_fini(&heard);
}

struct text_wanted {
	struct buf *in;
	const char *text;
};

static bool has_text(void *arg)
{
	struct text_wanted *t = arg;

	return t->in->len > 0 && memmem(t->in->data, t->in->len, t->text, strlen(t->text)) != NULL;
}

static void wait_text(struct world *w, struct buf *in, const char *text)
{
	struct text_wanted t = { in, text };

	world_run_until(w, has_text, &t);
}

/* WebSockets */

static void ws_open(struct client *c, struct world *w, int port, const char *path,
		    const char *protocols)
{
	autofree char *request =
		xasprintf("GET %s HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\n"
			  "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
			  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
			  "Sec-WebSocket-Protocol: %s\r\n\r\n",
			  path, protocols);

	client_connect(c, w, w->admin, port);
	client_send(c, request);
}

static void ws_send(struct client *c, int first, const void *data, size_t n)
{
	struct buf b = { 0 };

	buf_put_byte(&b, (uint8_t)first);
	if (n < 126) {
		buf_put_byte(&b, (uint8_t)(0x80 | n));
	} else {
		buf_put_byte(&b, 0x80 | 126);
		buf_put_byte(&b, (uint8_t)(n >> 8));
		buf_put_byte(&b, (uint8_t)n);
	}
	buf_put(&b, "mask", 4);
	for (size_t i = 0; i < n; i++)
		buf_put_byte(&b, ((const uint8_t *)data)[i] ^ (uint8_t) "mask"[i & 3]);
	client_send_bytes(c, b.data, b.len);
	buf_fini(&b);
}

static void websocket_v5_runs_a_command(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w);
	struct client c;

	ws_open(&c, w, http_server_port(s), "/exec",
		"v6.unknown, v5.channel.k8s.io, v4.channel.k8s.io");
	client_wait_for(&c, "\r\n\r\n\x82\x01\x01");
	assert_non_null(
		strstr(buf_cstr(&c.got), "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
	assert_non_null(strstr(buf_cstr(&c.got), "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n"));
	ws_send(&c, 0x82, "\0abc", 4);
	client_wait_for(&c, "\x82\x04\x01"
			    "abc");
	ws_send(&c, 0x01, "\0in", 3); /* A text message in three fragments, */
	ws_send(&c, 0x89, "ping", 4); /* a ping between them, */
	ws_send(&c, 0x00, " pie", 4);
	ws_send(&c, 0x80, "ces", 3);
	client_wait_for(&c, "\x82\x0a\x01in pieces");
	client_wait_for(&c, "\x8a\x04ping");
	ws_send(&c, 0x82, "\1not an input", 13); /* Ignored, */
	ws_send(&c, 0x82, "\4{}", 3);            /* as is a size without a terminal. */
	ws_send(&c, 0x82, "\377\0", 2);
	client_wait_for(&c, "\x03{\"status\":\"Success\"}\x88\x02\x03\xe8");
	assert_string_equal(buf_cstr(&heard), "data 0 abc;data 0 in pieces;eof 0 ;");
	assert_int_equal(n_open, 1);
	client_wait_end(&c);
	client_close(&c);
	stop(w, s);
}

static const struct {
	const char *name;
	int first;
	const char *bytes; /* Raw, if first is 0. */
	size_t n;
} ws_broken[] = {
	{ "unmasked", 0, "\x82\x01x", 3 },
	{ "reserved bits", 0xf2, "x", 1 },
	{ "unknown opcode", 0x83, "x", 1 },
	{ "continuation of nothing", 0x80, "x", 1 },
	{ "fragmented ping", 0x09, "x", 1 },
	{ "huge", 0, "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xffmask", 14 },
	{ "long ping", 0, "\x89\xfe\x00\xffmask", 8 },
};

static void broken_websockets_end(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w);

	for (size_t i = 0; i < array_size(ws_broken); i++) {
		struct client c;

		print_message("# %s\n", ws_broken[i].name);
		ws_open(&c, w, http_server_port(s), "/exec", "v4.channel.k8s.io");
		client_wait_for(&c, "\x82\x01\x01");
		if (ws_broken[i].first == 0)
			client_send_bytes(&c, ws_broken[i].bytes, ws_broken[i].n);
		else
			ws_send(&c, ws_broken[i].first, ws_broken[i].bytes, ws_broken[i].n);
		client_wait_end(&c);
		client_close(&c);
	}
	stop(w, s);
}

static void websocket_handshakes_are_checked(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w);
	struct client c;

	ws_open(&c, w, http_server_port(s), "/exec", "v9.unknown");
	client_wait_for(&c, "HTTP/1.1 403 ");
	client_close(&c);
	client_connect(&c, w, w->admin, http_server_port(s));
	client_send(&c,
		    "GET /exec HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n");
	client_wait_for(&c, "HTTP/1.1 400 ");
	client_close(&c);
	client_connect(&c, w, w->admin, http_server_port(s));
	client_send(&c, "POST /exec HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
	client_wait_for(&c, "HTTP/1.1 400 ");
	client_close(&c);
	stop(w, s);
}

static void websocket_holds_the_writer_back(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w);
	struct client c;

	flooding = true;
	ws_open(&c, w, http_server_port(s), "/exec", "v4.channel.k8s.io");
	client_wait_for(&c, "101 Switching");
	tls_stream_pause(&c.tls);
	for (size_t before = 1; before != written; world_settle(w))
		before = written;
	assert_true(written < 20000000);
	assert_true(pending_max < TLS_HIGH_BYTES + 30000);
	tls_stream_resume(&c.tls);
	client_wait_for(&c, "Success");
	assert_true(c.got.len > 20000000);
	client_close(&c);
	stop(w, s);
}

static void websocket_forwards_ports(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w);
	struct client c;

	ws_open(&c, w, http_server_port(s), "/forward", "v4.channel.k8s.io");
	wait_text(w, &heard, "connect 80;connect 81;");
	ws_send(&c, 0x82, "\0abc", 4);
	client_wait_for(&c, "abc");
	assert_non_null(memmem(c.got.data, c.got.len, "\x82\x03\0\x50\0\x82\x03\1\x50\0", 10));
	client_wait_for(&c, "\x82\x08\x03refused");
	client_close(&c);
	wait_text(w, &heard, "gone");
	stop(w, s);
}

/* SPDY */

struct spdy_client {
	struct client client;
	z_stream deflate;
};

static void put_be32(struct buf *to, uint32_t v)
{
	for (int shift = 24; shift >= 0; shift -= 8)
		buf_put_byte(to, (uint8_t)(v >> shift));
}

static void spdy_open(struct spdy_client *c, struct world *w, int port, const char *path,
		      const char *protocol)
{
	autofree char *request = xasprintf("POST %s HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n"
					   "Upgrade: SPDY/3.1\r\nContent-Length: 0\r\n"
					   "X-Stream-Protocol-Version: %s\r\n"
					   "X-Stream-Protocol-Version: v3.channel.k8s.io\r\n\r\n",
					   path, protocol);
	unsigned n;
	const uint8_t *dictionary = spdy_dictionary(&n);

	assert_int_equal(n, 1423);
	assert_int_equal(adler32(adler32(0, NULL, 0), dictionary, n), 0xe3c6a7c2);
	c->deflate = (z_stream){ 0 };
	deflateInit(&c->deflate, 6);
	deflateSetDictionary(&c->deflate, dictionary, n);
	client_connect(&c->client, w, w->admin, port);
	client_send(&c->client, request);
}

static void spdy_frame(struct spdy_client *c, uint32_t word, uint32_t flags,
		       const struct buf *payload)
{
	struct buf b = { 0 };

	put_be32(&b, word);
	put_be32(&b, flags << 24 | (uint32_t)payload->len);
	buf_put(&b, payload->data, payload->len);
	client_send_bytes(&c->client, b.data, b.len);
	buf_fini(&b);
}

static void spdy_syn(struct spdy_client *c, uint32_t id, uint32_t flags, const char *const *pairs)
{
	struct buf block = { 0 }, payload = { 0 };
	uint32_t n = 0;

	while (pairs[2 * n] != NULL)
		n++;
	put_be32(&block, n);
	for (uint32_t i = 0; i < 2 * n; i++) {
		put_be32(&block, (uint32_t)strlen(pairs[i]));
		buf_put_str(&block, pairs[i]);
	}
	put_be32(&payload, id);
	put_be32(&payload, 0);
	buf_put(&payload, "\0", 2);
	c->deflate.next_in = block.data;
	c->deflate.avail_in = (uInt)block.len;
	c->deflate.next_out = buf_reserve(&payload, 1024);
	c->deflate.avail_out = 1024;
	deflate(&c->deflate, Z_SYNC_FLUSH);
	payload.len += 1024 - c->deflate.avail_out;
	spdy_frame(c, 0x80030001, flags, &payload);
	buf_fini(&block);
	buf_fini(&payload);
}

static void spdy_put(struct spdy_client *c, uint32_t id, const char *text, bool fin)
{
	struct buf payload = { 0 };

	buf_put_str(&payload, text);
	spdy_frame(c, id, fin, &payload);
	buf_fini(&payload);
}

static void spdy_hang_up(struct spdy_client *c)
{
	deflateEnd(&c->deflate);
	client_close(&c->client);
}

static void wait_bytes(struct world *w, struct client *c, const char *bytes, size_t n)
{
	for (int i = 0; i < 1000000; i++) {
		if (c->got.len > 0 && memmem(c->got.data, c->got.len, bytes, n) != NULL)
			return;
		uv_run(&w->uv, UV_RUN_NOWAIT);
	}
	fail_msg("the bytes did not come");
}

static void spdy_runs_a_command(void **state)
{
	static const char *const types[] = { "error", "stdin", "stdout", "stderr" };
	struct world *w = *state;
	struct http_server *s = serve(w);
	struct spdy_client c;
	struct buf ping = { 0 };

	spdy_open(&c, w, http_server_port(s), "/exec", "v4.channel.k8s.io");
	client_wait_for(&c.client, "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n");
	for (uint32_t i = 0; i < 4; i++) {
		const char *const pairs[] = { "streamtype", types[i], "x", "y", NULL };

		assert_int_equal(n_open, 0);
		spdy_syn(&c, 2 * i + 1, 0, pairs);
		world_settle(w);
	}
	wait_bytes(w, &c.client, "\x80\3\0\2", 4);
	spdy_put(&c, 3, "hello", false);
	wait_bytes(w, &c.client, "\0\0\0\5\0\0\0\5hello", 13); /* On stream 5. */
	put_be32(&ping, 1);
	spdy_frame(&c, 0x80030006, 0, &ping);
	wait_bytes(w, &c.client, "\x80\3\0\6\0\0\0\4\0\0\0\1", 12);
	spdy_put(&c, 3, "", true);
	wait_bytes(w, &c.client, "\0\0\0\1\1\0\0\x14{\"status\":\"Success\"}", 28);
	client_wait_for(&c.client, "Success");
	client_wait_end(&c.client);
	assert_string_equal(buf_cstr(&heard), "data 0 hello;eof 0 ;");
	assert_int_equal(n_open, 1);
	buf_fini(&ping);
	spdy_hang_up(&c);
	stop(w, s);
}

static void spdy_forwards_ports(void **state)
{
	static const char *const error[] = { "streamtype", "error", "port", "80",
					     "requestid",  "0",     NULL };
	static const char *const data[] = { "streamtype", "data", "port", "80",
					    "requestid",  "0",    NULL };
	static const char *const error2[] = { "streamtype", "error", "port", "81",
					      "requestid",  "1",     NULL };
	static const char *const data2[] = { "streamtype", "data", "port", "81",
					     "requestid",  "1",    NULL };
	static const char *const bad[] = { "streamtype", "data", "port", "99999",
					   "requestid",  "2",    NULL };
	struct world *w = *state;
	struct http_server *s = serve(w);
	struct spdy_client c;

	spdy_open(&c, w, http_server_port(s), "/forward", "portforward.k8s.io");
	client_wait_for(&c.client, "101 Switching");
	spdy_syn(&c, 1, 1, error);
	spdy_syn(&c, 3, 0, data);
	spdy_put(&c, 3, "abc", false);
	client_wait_for(&c.client, "abc");
	spdy_syn(&c, 5, 1, error2);
	spdy_syn(&c, 7, 0, data2);
	client_wait_for(&c.client, "refused");
	spdy_syn(&c, 9, 0, bad);
	wait_bytes(w, &c.client, "\x80\3\0\3\0\0\0\x08\0\0\0\x09\0\0\0\1", 16);
	spdy_put(&c, 3, "", true);
	wait_text(w, &heard, "connect 80;data 0 abc;connect 81;eof;");
	spdy_hang_up(&c);
	wait_text(w, &heard, "gone 0;");
	stop(w, s);
}

static const struct {
	const char *name, *bytes;
	size_t n;
} spdy_broken[] = {
	{ "another version", "\x80\2\0\6\0\0\0\4\0\0\0\1", 12 },
	{ "unknown control frame", "\x80\3\0\x77\0\0\0\0", 8 },
	{ "short SYN_STREAM", "\x80\3\0\1\0\0\0\4\0\0\0\1", 12 },
	{ "even stream", "\x80\3\0\1\0\0\0\x0a\0\0\0\2\0\0\0\0\0\0", 18 },
	{ "no zlib", "\x80\3\0\1\0\0\0\x0e\0\0\0\1\0\0\0\0\0\0zzzz", 22 },
	{ "oversized control frame", "\x80\3\0\1\0\xff\xff\xff", 8 },
};

static void broken_spdy_ends(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w);

	for (size_t i = 0; i < array_size(spdy_broken); i++) {
		struct spdy_client c;

		print_message("# %s\n", spdy_broken[i].name);
		spdy_open(&c, w, http_server_port(s), "/exec", "v4.channel.k8s.io");
		client_wait_for(&c.client, "101 Switching");
		client_send_bytes(&c.client, spdy_broken[i].bytes, spdy_broken[i].n);
		client_wait_end(&c.client);
		spdy_hang_up(&c);
		assert_non_null(strstr(buf_cstr(&heard), "gone -71;"));
		buf_clear(&heard);
	}
	stop(w, s);
}

static void spdy_protocol_must_be_known(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w);
	struct spdy_client c;

	spdy_open(&c, w, http_server_port(s), "/exec", "v2.channel.k8s.io");
	client_wait_for(&c.client, "HTTP/1.1 403 ");
	assert_non_null(strstr(buf_cstr(&c.client.got),
			       "X-Accepted-Stream-Protocol-Versions: v4.channel.k8s.io"));
	spdy_hang_up(&c);
	stop(w, s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(websocket_v5_runs_a_command),
		cmocka_unit_test(broken_websockets_end),
		cmocka_unit_test(websocket_handshakes_are_checked),
		cmocka_unit_test(websocket_holds_the_writer_back),
		cmocka_unit_test(websocket_forwards_ports),
		cmocka_unit_test(spdy_runs_a_command),
		cmocka_unit_test(spdy_forwards_ports),
		cmocka_unit_test(broken_spdy_ends),
		cmocka_unit_test(spdy_protocol_must_be_known),
	};

	return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
