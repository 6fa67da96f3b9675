/* Our SP server against Debian's libnng, and against those who mean no good. */
#include "world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/io/sp_client.h"
#include "common/io/sp_frame.h"
#include "common/io/sp_server.h"

static struct sp_request *parked[16];
static unsigned n_parked, n_gone, n_lost, n_up, n_down;

static void on_gone(struct sp_request *r)
{
	(void)r;
	n_gone++;
}

static void on_request(struct sp_request *r, void *arg)
{
	(void)arg;
	assert_non_null(r->peer);
	if (r->body.len > 0 && r->body.data[0] == 'P') {
		r->on_gone = on_gone;
		parked[n_parked++] = r;
	} else if (r->body.len > 0 && r->body.data[0] == 'D') {
		sp_request_drop(r);
	} else {
		struct buf b = { 0 };

		buf_printf(&b, "%s/%s:", r->peer->cn, r->peer->n_orgs > 0 ? r->peer->orgs[0] : "");
		buf_put(&b, r->body.data, r->body.len);
		sp_request_reply_buf(r, &b);
	}
}

static void on_lost(uint64_t connection, const struct tls_identity *peer, void *arg)
{
	(void)arg;
	assert_true(connection > 0);
	assert_non_null(peer);
	n_lost++;
}

static struct sp_server *serve(struct world *w, const struct sp_server_config *extra, int port)
{
	struct sp_server_config config = extra != NULL ? *extra : (struct sp_server_config){ 0 };
	struct sp_server *server;

	config.host = "127.0.0.1";
	config.port = port;
	config.tls = w->sp_tls;
	config.on_request = on_request;
	config.on_lost = on_lost;
	n_parked = n_gone = n_lost = 0;
	assert_int_equal(sp_server_create(&w->loop, &config, &server, NULL), 0);
	return server;
}

static void stop(struct world *w, struct sp_server *server)
{
	bool closed = false;

	sp_server_close(server, world_set_true, &closed);
	world_run_until_true(w, &closed);
}

static void on_connection(int master, bool up, void *arg)
{
	(void)master, (void)arg;
	if (up)
		n_up++;
	else
		n_down++;
}

static struct sp_client *dial(struct world *w, int port, int *ret_master)
{
	struct sp_client_config config = {
		.ca_pem = w->certs.ca_pem,
		.cert_pem = w->certs.admin_pem,
		.key_pem = w->certs.admin_key_pem,
		.on_connection = on_connection,
	};
	struct sp_client *c;
	char address[32];

	n_up = n_down = 0;
	snprintf(address, sizeof(address), "127.0.0.1:%d", port);
	assert_int_equal(sp_client_create(&w->loop, &config, &c, NULL), 0);
	assert_int_equal(sp_client_add(c, address, ret_master, NULL), 0);
	return c;
}

static void hang_up(struct world *w, struct sp_client *c)
{
	bool closed = false;

	sp_client_close(c, world_set_true, &closed);
	world_run_until_true(w, &closed);
}

struct answer {
	bool done;
	int rc;
	struct buf body;
};

static void on_reply(void *arg, int rc, struct bytes reply)
{
	struct answer *a = arg;

	assert_false(a->done);
	a->done = true;
	a->rc = rc;
	buf_put(&a->body, reply.data, reply.len);
}

static void ask(struct sp_client *c, int master, const char *text, struct answer *a)
{
	*a = (struct answer){ 0 };
	assert_int_equal(sp_client_request(c, master, bytes_str(text), 5000, on_reply, a, NULL), 0);
}

static bool has_parked(void *arg)
{
	return n_parked >= *(unsigned *)arg;
}

static void wait_parked(struct world *w, unsigned n)
{
	world_run_until(w, has_parked, &n);
}

static void answers_with_identity(void **state)
{
	struct world *w = *state;
	struct sp_server *s = serve(w, NULL, 0);
	struct answer a;
	int m;
	struct sp_client *c = dial(w, sp_server_port(s), &m);

	for (int i = 0; i < 20; i++) {
		ask(c, m, "hello", &a);
		world_run_until_true(w, &a.done);
		assert_int_equal(a.rc, 0);
		assert_string_equal(buf_cstr(&a.body), "admin/system:masters:hello");
		buf_fini(&a.body);
	}
	assert_int_equal(n_up, 1);
	assert_true(sp_client_is_connected(c, m));
	hang_up(w, c);
	stop(w, s);
	assert_int_equal(n_lost, 1);
}

static void parked_requests_are_answered_in_any_order(void **state)
{
	struct world *w = *state;
	struct sp_server *s = serve(w, NULL, 0);
	struct answer a[8];
	int m;
	struct sp_client *c = dial(w, sp_server_port(s), &m);

	for (int i = 0; i < 8; i++)
		ask(c, m, "P", &a[i]);
	wait_parked(w, 8);
	for (int i = 7; i >= 0; i--)
		sp_request_reply(parked[i], &parked[i]->connection, 8);
	for (int i = 0; i < 8; i++) {
		world_run_until_true(w, &a[i].done);
		assert_int_equal(a[i].rc, 0);
		assert_int_equal(a[i].body.len, 8);
		buf_fini(&a[i].body);
	}
	hang_up(w, c);
	stop(w, s);
}

static void large_messages_pass_and_too_large_ones_do_not(void **state)
{
	struct sp_server_config config = { .message_bytes_max = 4 << 20 };
	struct world *w = *state;
	struct sp_server *s = serve(w, &config, 0);
	struct buf large = { 0 };
	struct answer a = { 0 };
	int m;
	struct sp_client *c = dial(w, sp_server_port(s), &m);

	memset(buf_reserve(&large, 5 << 20), 'x', 5 << 20);
	assert_int_equal(
		sp_client_request(c, m, bytes_of(large.data, 3 << 20), 9000, on_reply, &a, NULL),
		0);
	world_run_until_true(w, &a.done);
	assert_int_equal(a.rc, 0);
	assert_int_equal(a.body.len, (3 << 20) + strlen("admin/system:masters:"));
	buf_fini(&a.body);
	a = (struct answer){ 0 };
	assert_int_equal(
		sp_client_request(c, m, bytes_of(large.data, 5 << 20), 9000, on_reply, &a, NULL),
		0);
	world_run_until_true(w, &a.done);
	assert_int_equal(a.rc, -ECONNRESET);
	ask(c, m, "again", &a);
	world_run_until_true(w, &a.done);
	assert_int_equal(a.rc, 0);
	buf_fini(&a.body);
	buf_fini(&large);
	hang_up(w, c);
	stop(w, s);
}

/* A request that was sent is never sent again, whatever happens to its connection. */
static void lost_connection_resets_and_nothing_is_repeated(void **state)
{
	struct world *w = *state;
	struct sp_server *s = serve(w, NULL, 0);
	int port = sp_server_port(s), m;
	struct answer a, b;
	struct sp_client *c = dial(w, port, &m);

	ask(c, m, "P", &a);
	wait_parked(w, 1);
	stop(w, s);
	assert_int_equal(n_gone, 1);
	world_run_until_true(w, &a.done);
	assert_int_equal(a.rc, -ECONNRESET);
	sp_request_reply(parked[0], "too late", 8);
	s = serve(w, NULL, port);
	ask(c, m, "new", &b);
	world_run_until_true(w, &b.done);
	assert_int_equal(b.rc, 0);
	assert_int_equal(n_parked, 0);
	buf_fini(&b.body);
	hang_up(w, c);
	stop(w, s);
}

static void time_runs_out_without_a_master_and_without_an_answer(void **state)
{
	struct world *w = *state;
	struct sp_server *s = serve(w, NULL, 0);
	struct answer a = { 0 }, b = { 0 };
	int m, nobody;
	struct sp_client *c = dial(w, sp_server_port(s), &m);

	assert_int_equal(sp_client_add(c, "127.0.0.1:1", &nobody, NULL), 0);
	assert_int_equal(sp_client_request(c, nobody, bytes_str("x"), 200, on_reply, &a, NULL), 0);
	assert_int_equal(sp_client_request(c, m, bytes_str("D"), 200, on_reply, &b, NULL), 0);
	world_run_until_true(w, &a.done);
	world_run_until_true(w, &b.done);
	assert_int_equal(a.rc, -ETIMEDOUT);
	assert_int_equal(b.rc, -ETIMEDOUT);
	assert_false(sp_client_is_connected(c, nobody));
	hang_up(w, c);
	stop(w, s);
}

static void removing_and_cancelling(void **state)
{
	struct world *w = *state;
	struct sp_server *s = serve(w, NULL, 0);
	struct answer a, b = { 0 };
	struct sp_call *call;
	int m, again;
	struct sp_client *c = dial(w, sp_server_port(s), &m);
	char address[32];

	ask(c, m, "P", &a);
	assert_int_equal(sp_client_request(c, m, bytes_str("P"), 5000, on_reply, &b, &call), 0);
	wait_parked(w, 2);
	sp_call_cancel(call);
	sp_client_remove(c, m);
	world_run_until_true(w, &a.done);
	assert_int_equal(a.rc, -ECONNRESET);
	assert_false(b.done);
	for (unsigned i = 0; i < n_parked; i++)
		sp_request_drop(parked[i]);
	snprintf(address, sizeof(address), "127.0.0.1:%d", sp_server_port(s));
	assert_int_equal(sp_client_add(c, address, &again, NULL), 0);
	ask(c, again, "x", &a);
	world_run_until_true(w, &a.done);
	assert_int_equal(a.rc, 0);
	buf_fini(&a.body);
	hang_up(w, c);
	stop(w, s);
}

static void closing_ends_what_is_under_way(void **state)
{
	struct world *w = *state;
	struct sp_server *s = serve(w, NULL, 0);
	struct answer a;
	int m;
	struct sp_client *c = dial(w, sp_server_port(s), &m);

	ask(c, m, "P", &a);
	wait_parked(w, 1);
	hang_up(w, c);
	assert_true(a.done);
	assert_int_equal(a.rc, -ESHUTDOWN);
	sp_request_drop(parked[0]);
	stop(w, s);
}

/* With two places per connection a third request waits in the socket. */
static void outstanding_requests_are_bounded(void **state)
{
	struct sp_server_config config = { .outstanding_max = 2 };
	struct world *w = *state;
	struct sp_server *s = serve(w, &config, 0);
	struct answer a[5], other;
	int m;
	struct sp_client *c = dial(w, sp_server_port(s), &m);

	for (int i = 0; i < 5; i++)
		ask(c, m, "P", &a[i]);
	wait_parked(w, 2);
	ask(c, m, "x", &other);
	world_settle(w);
	assert_int_equal(n_parked, 2);
	assert_false(other.done);
	for (unsigned i = 0; i < 5; i++) {
		wait_parked(w, i + 1);
		assert_true(n_parked <= i + 2);
		sp_request_reply(parked[i], "", 0);
	}
	for (int i = 0; i < 5; i++) {
		world_run_until_true(w, &a[i].done);
		buf_fini(&a[i].body);
	}
	world_run_until_true(w, &other.done);
	assert_int_equal(other.rc, 0);
	buf_fini(&other.body);
	hang_up(w, c);
	stop(w, s);
}

static void strangers_are_cut_off(void **state)
{
	struct world *w = *state;
	struct sp_server *s = serve(w, NULL, 0);
	struct client c;

	client_connect(&c, w, w->anonymous, sp_server_port(s));
	client_wait_end(&c);
	client_close(&c);
	client_connect(&c, w, w->foreign, sp_server_port(s));
	client_wait_end(&c);
	client_close(&c);
	assert_int_equal(n_lost, 0);
	stop(w, s);
}

static const struct {
	const char *name, *bytes;
	size_t n;
} garbage[] = {
	{ "another protocol", "GET / HTTP/1.1\r\n\r\n", 18 },
	{ "a publisher", "\0SP\0\0\x20\0\0", 8 },
	{ "a length beyond all bounds", "\0SP\0\0\x30\0\0\xff\xff\xff\xff\xff\xff\xff\xff", 16 },
	{ "a message without an id", "\0SP\0\0\x30\0\0\0\0\0\0\0\0\0\4aaaa", 20 },
	{ "an empty message", "\0SP\0\0\x30\0\0\0\0\0\0\0\0\0\0", 16 },
};

static void garbage_ends_the_connection(void **state)
{
	struct world *w = *state;
	struct sp_server *s = serve(w, NULL, 0);

	for (size_t i = 0; i < array_size(garbage); i++) {
		struct client c;

		print_message("# %s\n", garbage[i].name);
		client_connect(&c, w, w->admin, sp_server_port(s));
		client_send_bytes(&c, garbage[i].bytes, garbage[i].n);
		client_wait_end(&c);
		client_close(&c);
	}
	stop(w, s);
}

/* What stops a libnng listener for good: connect, then FIN or RST before anything was said. */
static void half_open_connections_do_no_harm(void **state)
{
	struct sp_server_config config = { .handshake_ms = 50 };
	struct world *w = *state;
	struct sp_server *s = serve(w, &config, 0);
	struct linger reset = { 1, 0 };
	struct sockaddr_in addr;
	struct sp_client *c;
	struct client silent;
	struct answer a;
	int m;

	uv_ip4_addr("127.0.0.1", sp_server_port(s), &addr);
	for (int i = 0; i < 60; i++) {
		autoclose int fd = socket(AF_INET, SOCK_STREAM, 0);

		assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
		if (i % 3 == 0)
			shutdown(fd, SHUT_WR);
		if (i % 3 == 1)
			assert_int_equal(write(fd, "garbage that is no TLS", 22), 22);
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		world_settle(w);
	}
	client_connect(&silent, w, w->admin, sp_server_port(s));
	client_wait_end(&silent); /* Eight bytes never came. */
	client_close(&silent);
	c = dial(w, sp_server_port(s), &m);
	ask(c, m, "x", &a);
	world_run_until_true(w, &a.done);
	assert_int_equal(a.rc, 0);
	buf_fini(&a.body);
	hang_up(w, c);
	stop(w, s);
}

static void foreign_numbers_do_not_travel(void **state)
{
	(void)state;
	assert_int_equal(sp_errno(0), 0);
	assert_int_equal(sp_errno(7), -ESHUTDOWN); /* NNG_ECLOSED, not E2BIG. */
	assert_int_equal(sp_errno(0x10000000 | EPIPE), -EPIPE);
	assert_int_equal(sp_errno(12345), -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_with_identity),
		cmocka_unit_test(parked_requests_are_answered_in_any_order),
		cmocka_unit_test(large_messages_pass_and_too_large_ones_do_not),
		cmocka_unit_test(lost_connection_resets_and_nothing_is_repeated),
		cmocka_unit_test(time_runs_out_without_a_master_and_without_an_answer),
		cmocka_unit_test(removing_and_cancelling),
		cmocka_unit_test(closing_ends_what_is_under_way),
		cmocka_unit_test(outstanding_requests_are_bounded),
		cmocka_unit_test(strangers_are_cut_off),
		cmocka_unit_test(garbage_ends_the_connection),
		cmocka_unit_test(half_open_connections_do_no_harm),
		cmocka_unit_test(foreign_numbers_do_not_travel),
	};

	return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
