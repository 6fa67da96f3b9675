/* Closed-loop puts to etcd over gRPC without TLS (its cheapest way): one connection per endpoint,
 * as many streams on it as there are clients for it.
 *
 *   bench-etcd-load HOST:PORT[,HOST:PORT...] CLIENTS SECONDS
 *
 * VALUE_BYTES (environment) random letters per value. Prints the line of samples.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nghttp2/nghttp2.h>
#include <uv.h>

#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/source.h"
#include "common/io/address.h"
#include "tests/bench/samples.h"

#define ENDPOINTS_MAX 8

struct endpoint {
	uv_tcp_t tcp;
	uv_connect_t connect;
	nghttp2_session *session;
	size_t clients;
	char host[64];
	char authority[80];
	char read_buf[64 * 1024];
};

/* One put under way. */
struct put {
	struct endpoint *endpoint;
	uint64_t sent_ns;
	struct buf body;
	size_t at;
	bool good;
};

static struct {
	uv_loop_t uv;
	struct endpoint endpoints[ENDPOINTS_MAX];
	size_t n_endpoints;
	struct buf value;
	uint64_t next;
	struct samples samples;
} load;

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "bench-etcd-load: %s\n", what);
	exit(2);
}

/* --- Requests -------------------------------------------------------------------- */

static void put_varint(struct buf *out, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		buf_put_byte(out, (uint8_t)(v | 0x80));
	buf_put_byte(out, (uint8_t)v);
}

static void put_field(struct buf *out, uint8_t number, const void *data, size_t n)
{
	buf_put_byte(out, (uint8_t)(number << 3 | 2));
	put_varint(out, n);
	buf_put(out, data, n);
}

/* etcdserverpb.PutRequest {key 1, value 2} behind gRPC's 5 bytes. */
static void put_body(struct buf *out)
{
	struct buf message = { 0 };
	char key[32];
	int n = snprintf(key, sizeof(key), "bench-%016llx", (unsigned long long)load.next++);

	put_field(&message, 1, key, (size_t)n);
	put_field(&message, 2, load.value.data, load.value.len);
	const uint8_t head[5] = { 0, (uint8_t)(message.len >> 24), (uint8_t)(message.len >> 16),
				  (uint8_t)(message.len >> 8), (uint8_t)message.len };
	buf_put(out, head, sizeof(head));
	buf_put(out, message.data, message.len);
	buf_fini(&message);
}

static ssize_t body_read(nghttp2_session *session, int32_t id, uint8_t *to, size_t n,
			 uint32_t *flags, nghttp2_data_source *source, void *ctx)
{
	struct put *p = source->ptr;
	size_t left = p->body.len - p->at, take = left < n ? left : n;

	memcpy(to, p->body.data + p->at, take);
	p->at += take;
	if (p->at == p->body.len)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)take;
}

static nghttp2_nv header(const char *name, const char *value)
{
	return (nghttp2_nv){ (uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), 0 };
}

static void submit(struct endpoint *e)
{
	struct put *p = xcalloc(1, sizeof(*p));
	const nghttp2_nv headers[] = {
		header(":method", "POST"), header(":scheme", "http"),
		header(":path", "/etcdserverpb.KV/Put"), header(":authority", e->authority),
		header("content-type", "application/grpc"), header("te", "trailers"),
	};
	nghttp2_data_provider body = { { .ptr = p }, body_read };

	p->endpoint = e;
	p->good = true;
	put_body(&p->body);
	p->sent_ns = uv_hrtime();
	if (nghttp2_submit_request(e->session, NULL, headers, array_size(headers), &body, p) < 0)
		die("a request was refused");
}

/* --- Answers --------------------------------------------------------------------- */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t n, const uint8_t *value, size_t value_n, uint8_t flags, void *ctx)
{
	struct put *p = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

	if (p == NULL)
		return 0;
	if (n == 7 && memcmp(name, ":status", 7) == 0)
		p->good &= value_n == 3 && value[0] == '2';
	if (n == 11 && memcmp(name, "grpc-status", 11) == 0)
		p->good &= value_n == 1 && value[0] == '0';
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *ctx)
{
	struct put *p = nghttp2_session_get_stream_user_data(session, id);

	if (p == NULL)
		return 0;
	samples_add(&load.samples, p->sent_ns, p->good && error == 0);
	struct endpoint *e = p->endpoint;
	buf_fini(&p->body);
	free(p);
	if (samples_over(&load.samples))
		uv_stop(&load.uv);
	else
		submit(e);
	return 0;
}

/* --- Bytes ------------------------------------------------------------------------ */

struct write {
	uv_write_t req;
	char data[];
};

static void on_written(uv_write_t *req, int rc)
{
	free(container_of(req, struct write, req));
}

static void flush(struct endpoint *e)
{
	struct buf out = { 0 };
	const uint8_t *data;
	ssize_t n;

	while ((n = nghttp2_session_mem_send(e->session, &data)) > 0)
		buf_put(&out, data, (size_t)n);
	if (out.len > 0) {
		struct write *w = xmalloc(sizeof(*w) + out.len);
		memcpy(w->data, out.data, out.len);
		uv_buf_t b = uv_buf_init(w->data, (unsigned)out.len);
		uv_write(&w->req, (uv_stream_t *)&e->tcp, &b, 1, on_written);
	}
	buf_fini(&out);
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *ret)
{
	struct endpoint *e = handle->data;

	*ret = uv_buf_init(e->read_buf, sizeof(e->read_buf));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
	struct endpoint *e = stream->data;

	if (n < 0)
		die("etcd closed a connection");
	if (nghttp2_session_mem_recv(e->session, (uint8_t *)b->base, (size_t)n) < 0)
		die("etcd does not speak HTTP/2");
	flush(e);
}

static void on_connected(uv_connect_t *req, int rc)
{
	struct endpoint *e = req->data;
	const nghttp2_settings_entry settings = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20 };

	if (rc < 0)
		die("cannot connect");
	uv_tcp_nodelay(&e->tcp, 1);
	nghttp2_submit_settings(e->session, 0, &settings, 1);
	for (size_t i = 0; i < e->clients; i++)
		submit(e);
	flush(e);
	uv_read_start((uv_stream_t *)&e->tcp, on_alloc, on_read);
}

static void endpoint_start(struct endpoint *e, const char *address, size_t clients)
{
	nghttp2_session_callbacks *callbacks;
	struct sockaddr_in a;
	int port;

	if (address_split(address, e->host, sizeof(e->host), &port) < 0 ||
	    uv_ip4_addr(e->host, port, &a) < 0)
		die("an endpoint is not IP:PORT");
	snprintf(e->authority, sizeof(e->authority), "%s:%d", e->host, port);
	e->clients = clients;
	nghttp2_session_callbacks_new(&callbacks);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	nghttp2_session_client_new(&e->session, callbacks, e);
	nghttp2_session_callbacks_del(callbacks);
	uv_tcp_init(&load.uv, &e->tcp);
	e->tcp.data = e->connect.data = e;
	uv_tcp_connect(&e->connect, &e->tcp, (struct sockaddr *)&a, on_connected);
}

int main(int argc, char **argv)
{
	if (argc != 4)
		die("three arguments; see the head of the source");
	size_t clients = strtoul(argv[2], NULL, 10), bytes = 256, i = 0;
	char *list[ENDPOINTS_MAX];

	if (getenv("VALUE_BYTES") != NULL)
		bytes = strtoul(getenv("VALUE_BYTES"), NULL, 10);
	for (; bytes > 0; bytes--)
		buf_put_byte(&load.value, (uint8_t)('a' + source_random_below(&system_source, 26)));
	for (char *one = strtok(argv[1], ","); one != NULL && load.n_endpoints < ENDPOINTS_MAX;
	     one = strtok(NULL, ","))
		list[load.n_endpoints++] = one;
	load.next = source_random_u64(&system_source);
	uv_loop_init(&load.uv);
	samples_begin(&load.samples, strtod(argv[3], NULL));
	for (; i < load.n_endpoints; i++) {
		size_t share = clients / load.n_endpoints + (i < clients % load.n_endpoints);

		if (share > 0)
			endpoint_start(&load.endpoints[i], list[i], share);
	}
	uv_run(&load.uv, UV_RUN_DEFAULT);
	samples_print(&load.samples);
	return 0;
}
