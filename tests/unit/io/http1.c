/* The HTTP/1.1 server over real sockets and TLS, as a client sees it. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/io/http_server.h"
#include "common/io/pki.h"

/* What the handler was asked to keep for later. */
static struct exchange *held;
static unsigned n_requests, n_gone, n_drained;
static size_t written, pending_max;

static void on_gone(struct exchange *x)
{
	(void)x;
	n_gone++;
}

static void fill(struct exchange *x)
{
	static const char block[8192] = "stream";

	while (exchange_pending(x) <= EXCHANGE_HIGH_BYTES && written < 32 * 1024 * 1024) {
		exchange_write(x, block, sizeof(block));
		written += sizeof(block);
		if (exchange_pending(x) > pending_max)
			pending_max = exchange_pending(x);
	}
	if (written >= 32 * 1024 * 1024)
		exchange_end(x);
}

static void on_drain(struct exchange *x)
{
	n_drained++;
	fill(x);
}

static void echo(struct exchange *x)
{
	struct buf b = { 0 };

	buf_printf(&b, "%s %s ?%s body=%zu cn=%s problem=%s", x->method, x->path, x->query,
		   x->body.len, x->peer != NULL ? x->peer->cn : "-",
		   x->peer_problem != NULL ? x->peer_problem : "-");
	exchange_add_header(x, "X-Test", "a\r\nInjected: b");
	exchange_respond_buf(x, 200, "text/plain", &b);
}

static void on_request(struct exchange *x, void *arg)
{
	(void)arg;
	n_requests++;
	if (strcmp(x->path, "/hold") == 0) {
		x->on_gone = on_gone;
		held = x;
	} else if (strcmp(x->path, "/stream") == 0) {
		exchange_begin(x, 200, "text/plain");
		exchange_write(x, "one", 3);
		exchange_write(x, "two", 3);
		exchange_end(x);
	} else if (strcmp(x->path, "/endless") == 0) {
		x->on_drain = on_drain;
		x->on_gone = on_gone;
		held = x;
		exchange_begin(x, 200, "text/plain");
		fill(x);
	} else if (strcmp(x->path, "/big") == 0) {
		struct buf b = { 0 };

		memset(buf_reserve(&b, 8 << 20), 'x', 8 << 20);
		b.len = 8 << 20;
		exchange_respond_buf(x, 200, "text/plain", &b);
	} else {
		echo(x);
	}
}

static struct http_server *serve(struct world *w, const struct http_server_config *extra)
{
	struct http_server_config config =
		extra != NULL ? *extra : (struct http_server_config){ 0 };
	struct http_server *server;

	config.host = "127.0.0.1";
	config.tls = w->server_tls;
	config.on_request = on_request;
	n_requests = n_gone = n_drained = 0;
	written = pending_max = 0;
	held = NULL;
	assert_int_equal(http_server_create(&w->loop, &config, &server, NULL), 0);
	return server;
}

static void stop(struct world *w, struct http_server *server)
{
	bool closed = false;

	http_server_close(server, world_set_true, &closed);
	world_run_until_true(w, &closed);
}

static bool holds(void *arg)
{
	(void)arg;
	return held != NULL;
}

static bool gone(void *arg)
{
	(void)arg;
	return n_gone > 0;
}

static const char *text(struct client *c)
{
	return buf_cstr(&c->got);
}

static void answers_and_keeps_alive(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w, NULL);
	struct client c;

	client_connect(&c, w, w->admin, http_server_port(s));
	client_send(&c, "GET /a/b%20c?x=1&y HTTP/1.1\r\nHost: h\r\n\r\n");
	client_wait_for(&c, "GET /a/b%20c ?x=1&y body=0 cn=admin");
	assert_non_null(strstr(text(&c), "HTTP/1.1 200 OK\r\n"));
	assert_non_null(strstr(text(&c), "X-Test: a  Injected: b\r\n"));
	buf_clear(&c.got);
	client_send(&c, "POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel");
	client_send(&c, "lo");
	client_wait_for(&c, "POST /b ? body=5");
	buf_clear(&c.got);
	client_send(&c, "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
			"Expect: 100-continue\r\n\r\n");
	client_wait_for(&c, "HTTP/1.1 100 Continue\r\n\r\n");
	client_send(&c, "5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: x\r\n\r\n");
	client_wait_for(&c, "POST /c ? body=6");
	client_close(&c);
	stop(w, s);
}

static void head_and_http_1_0(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w, NULL);
	struct client c;

	client_connect(&c, w, w->anonymous, http_server_port(s));
	client_send(&c, "HEAD /h HTTP/1.1\r\nHost: h\r\n\r\nGET /after HTTP/1.0\r\n\r\n");
	client_wait_end(&c);
	assert_int_equal(c.rc, 0);
	assert_null(strstr(text(&c), "HEAD /h ?"));
	assert_non_null(strstr(text(&c), "GET /after ? body=0 cn=- problem=-"));
	assert_non_null(strstr(text(&c), "Connection: close"));
	client_close(&c);
	stop(w, s);
}

static void streams_in_chunks(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w, NULL);
	struct client c;

	client_connect(&c, w, w->anonymous, http_server_port(s));
	client_send(&c, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
	client_wait_for(&c, "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n");
	assert_non_null(strstr(text(&c), "Transfer-Encoding: chunked"));
	client_close(&c);
	stop(w, s);
}

static void pipelined_requests_wait_for_a_late_answer(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w, NULL);
	struct client c;

	client_connect(&c, w, w->anonymous, http_server_port(s));
	client_send(&c,
		    "GET /hold HTTP/1.1\r\nHost: h\r\n\r\nGET /second HTTP/1.1\r\nHost: h\r\n\r\n");
	world_run_until(w, holds, NULL);
	world_settle(w);
	assert_int_equal(n_requests, 1);
	exchange_respond(held, 202, NULL, "first", 5);
	client_wait_for(&c, "GET /second");
	assert_true(strstr(text(&c), "first") < strstr(text(&c), "GET /second"));
	client_close(&c);
	stop(w, s);
}

static void client_that_leaves_is_told_and_the_exchange_stays(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w, NULL);
	struct client c;

	client_connect(&c, w, w->admin, http_server_port(s));
	client_send(&c, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
	world_run_until(w, holds, NULL);
	client_close(&c);
	world_run_until(w, gone, NULL);
	assert_true(exchange_is_gone(held));
	assert_string_equal(held->peer->cn, "admin");
	stop(w, s);
	exchange_respond(held, 200, "text/plain", "nobody", 6);
	assert_int_equal(n_gone, 1);
}

/* A reader that takes nothing holds the producer back; once it reads, everything comes. */
static void slow_reader_is_bounded(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w, NULL);
	struct client c;

	client_connect(&c, w, w->anonymous, http_server_port(s));
	client_send(&c, "GET /endless HTTP/1.1\r\nHost: h\r\n\r\n");
	tls_stream_pause(&c.tls);
	world_run_until(w, holds, NULL);
	for (size_t before = 0; before != written; world_settle(w))
		before = written;
	assert_true(written < 32 * 1024 * 1024);
	assert_true(pending_max < 128 * 1024);
	tls_stream_resume(&c.tls);
	client_wait_for(&c, "\r\n0\r\n\r\n");
	assert_true(n_drained > 10);
	assert_true(c.got.len > 32 * 1024 * 1024);
	client_close(&c);
	stop(w, s);
}

static void big_body_arrives_whole(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w, NULL);
	struct client c;

	client_connect(&c, w, w->anonymous, http_server_port(s));
	client_send(&c, "GET /big HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
	client_wait_end(&c);
	assert_int_equal(c.rc, 0);
	assert_true(c.got.len > 8 << 20);
	client_close(&c);
	stop(w, s);
}

static void foreign_certificate_is_named(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w, NULL);
	struct client c;

	client_connect(&c, w, w->foreign, http_server_port(s));
	client_send(&c, "GET /f HTTP/1.1\r\nHost: h\r\n\r\n");
	client_wait_for(&c, "cn=- problem=");
	assert_null(strstr(text(&c), "problem=-"));
	client_close(&c);
	stop(w, s);
}

static void problem_of(struct world *w, struct http_server *s, unsigned usages, long not_after_s,
		       const char *expected)
{
	autofree char *pem = NULL, *key_pem = NULL;
	struct tls_context *tls;
	struct client c;

	world_issue(w, "somebody", usages, not_after_s, &pem, &key_pem);
	tls = world_client(w, pem, key_pem);
	client_connect(&c, w, tls, http_server_port(s));
	client_send(&c, "GET /f HTTP/1.1\r\nHost: h\r\n\r\n");
	client_wait_for(&c, expected);
	client_close(&c);
	tls_context_destroy(tls);
}

/* By the right CA, and still nobody: too old, or made for servers only. */
static void unsuitable_certificates_are_named(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w, NULL);
	long now = (long)time(NULL);

	problem_of(w, s, PKI_CLIENT, now + 60, "cn=somebody problem=-");
	problem_of(w, s, PKI_CLIENT, now - 10, "cn=- problem=certificate has expired");
	problem_of(w, s, PKI_SERVER, now + 60, "cn=- problem=unsuitable certificate purpose");
	stop(w, s);
}

static void shutdown_ends_idle_and_busy_connections(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w, NULL);
	struct client idle, busy;

	client_connect(&idle, w, w->anonymous, http_server_port(s));
	client_send(&idle, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
	client_wait_for(&idle, "GET /x");
	client_connect(&busy, w, w->anonymous, http_server_port(s));
	client_send(&busy, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
	world_run_until(w, holds, NULL);
	http_server_shutdown(s);
	client_wait_end(&idle);
	exchange_respond(held, 200, NULL, "late", 4);
	client_wait_end(&busy);
	assert_non_null(strstr(text(&busy), "Connection: close"));
	assert_non_null(strstr(text(&busy), "late"));
	client_close(&idle);
	client_close(&busy);
	stop(w, s);
}

/* clang-format off */
static const struct {
	const char *name, *request;
	int status;
} refusals[] = {
	{ "both lengths", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
	{ "both lengths, other order", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n", 400 },
	{ "two lengths", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n", 400 },
	{ "list of lengths", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4, 4\r\n\r\n", 400 },
	{ "signed length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +4\r\n\r\n", 400 },
	{ "negative length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", 400 },
	{ "hexadecimal length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x10\r\n\r\n", 400 },
	{ "absurd length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n", 400 },
	{ "large length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3145729\r\n\r\n", 413 },
	{ "folded line", "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", 400 },
	{ "space before colon", "GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400 },
	{ "no colon", "GET / HTTP/1.1\r\nHost: h\r\nbroken\r\n\r\n", 400 },
	{ "bare LF", "GET / HTTP/1.1\nHost: h\r\n\r\n", 400 },
	{ "bare LF in a header", "GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", 400 },
	{ "bare CR", "GET / HTTP/1.1\r\nHost: h\rX\r\n\r\n", 400 },
	{ "no host", "GET / HTTP/1.1\r\n\r\n", 400 },
	{ "two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400 },
	{ "tab in the request line", "GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", 400 },
	{ "two spaces", "GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400 },
	{ "no path", "GET x HTTP/1.1\r\nHost: h\r\n\r\n", 400 },
	{ "control in the path", "GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n", 400 },
	{ "version 2.0", "GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505 },
	{ "no version", "GET /\r\nHost: h\r\n\r\n", 400 },
	{ "other coding", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501 },
	{ "chunked twice", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
	{ "chunked in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
	{ "chunk size is no number", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400 },
	{ "chunk size with a sign", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400 },
	{ "chunk longer than told", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", 400 },
	{ "chunk with bare LF", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\na\n0\n\n", 400 },
	{ "large chunk", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n", 413 },
	{ "absurd chunk", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", 400 },
	{ "other expectation", "POST / HTTP/1.1\r\nHost: h\r\nExpect: miracles\r\nContent-Length: 1\r\n\r\n", 417 },
};
/* clang-format on */

static void refuses_what_is_ambiguous(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w, NULL);

	for (size_t i = 0; i < array_size(refusals); i++) {
		char expected[32];
		struct client c;

		print_message("# %s\n", refusals[i].name);
		snprintf(expected, sizeof(expected), "HTTP/1.1 %d ", refusals[i].status);
		client_connect(&c, w, w->anonymous, http_server_port(s));
		client_send(&c, refusals[i].request);
		client_wait_end(&c);
		assert_memory_equal(text(&c), expected, strlen(expected));
		assert_non_null(strstr(text(&c), "\"kind\":\"Status\""));
		client_close(&c);
	}
	assert_int_equal(n_requests, 0);
	stop(w, s);
}

static void refuses_large_headers(void **state)
{
	struct world *w = *state;
	struct http_server *s = serve(w, NULL);
	struct buf request = { 0 };
	struct client c;

	buf_put_str(&request, "GET / HTTP/1.1\r\nHost: h\r\nX: ");
	memset(buf_reserve(&request, 70000), 'a', 70000);
	request.len += 70000;
	client_connect(&c, w, w->anonymous, http_server_port(s));
	client_send(&c, buf_cstr(&request));
	client_wait_end(&c);
	assert_memory_equal(text(&c), "HTTP/1.1 431 ", 13);
	client_close(&c);
	buf_fini(&request);
	stop(w, s);
}

/* What does not come in time: the handshake, the header, the body, the next request. */
static void slow_clients_are_cut_off(void **state)
{
	struct http_server_config config = {
		.handshake_ms = 100, .header_ms = 100, .body_ms = 100, .idle_ms = 100
	};
	struct world *w = *state;
	struct http_server *s = serve(w, &config);
	struct client c[3];

	client_connect(&c[0], w, w->anonymous, http_server_port(s));
	client_send(&c[0], "GET / HTTP/1.1\r\nHos");
	client_connect(&c[1], w, w->anonymous, http_server_port(s));
	client_send(&c[1], "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
	client_connect(&c[2], w, w->anonymous, http_server_port(s));
	client_send(&c[2], "GET /idle HTTP/1.1\r\nHost: h\r\n\r\n");
	for (int i = 0; i < 3; i++)
		client_wait_end(&c[i]);
	assert_memory_equal(text(&c[0]), "HTTP/1.1 408 ", 13);
	assert_memory_equal(text(&c[1]), "HTTP/1.1 408 ", 13);
	assert_memory_equal(text(&c[2]), "HTTP/1.1 200 ", 13);
	for (int i = 0; i < 3; i++)
		client_close(&c[i]);
	stop(w, s);
}

static void body_budget_is_shared(void **state)
{
	struct http_server_config config = { .all_body_bytes_max = 1000 };
	struct world *w = *state;
	struct http_server *s = serve(w, &config);
	struct client c;

	client_connect(&c, w, w->anonymous, http_server_port(s));
	client_send(&c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2000\r\n\r\n");
	for (int i = 0; i < 20; i++)
		client_send(&c,
			    "0123456789012345678901234567890123456789012345678901234567890123456789"
			    "012345678901234567890123456789");
	client_wait_for(&c, "HTTP/1.1 503 ");
	client_close(&c);
	client_connect(&c, w, w->anonymous, http_server_port(s));
	client_send(&c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
	client_wait_for(&c, "body=5");
	client_close(&c);
	stop(w, s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_and_keeps_alive),
		cmocka_unit_test(head_and_http_1_0),
		cmocka_unit_test(streams_in_chunks),
		cmocka_unit_test(pipelined_requests_wait_for_a_late_answer),
		cmocka_unit_test(client_that_leaves_is_told_and_the_exchange_stays),
		cmocka_unit_test(slow_reader_is_bounded),
		cmocka_unit_test(big_body_arrives_whole),
		cmocka_unit_test(foreign_certificate_is_named),
		cmocka_unit_test(unsuitable_certificates_are_named),
		cmocka_unit_test(shutdown_ends_idle_and_busy_connections),
		cmocka_unit_test(refuses_what_is_ambiguous),
		cmocka_unit_test(refuses_large_headers),
		cmocka_unit_test(slow_clients_are_cut_off),
		cmocka_unit_test(body_budget_is_shared),
	};

	return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
