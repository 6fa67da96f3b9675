/* Closed-loop load over HTTPS: every client keeps one connection and one request.
 *
 *   bench-https-load HOST:PORT[,HOST:PORT...] PKI-FILES CLIENTS SECONDS METHOD PATH CONTENT-TYPE BODY
 *
 * PKI-FILES is "ca.crt,client.crt,client.key". In PATH and BODY "%N" becomes a number that no other
 * request has, "%V" a text of VALUE_BYTES (environment) random letters. Clients spread over the
 * endpoints. Prints one line: requests/s, p50, p99 and max in ms, and the number of answers that
 * were not 2xx. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/source.h"
#include "common/io/address.h"
#include "common/io/loop.h"
#include "common/io/tls.h"
#include "common/io/tls_stream.h"
#include "tests/bench/samples.h"

#define ENDPOINTS_MAX 8

static struct {
	uv_loop_t uv;
	struct io_loop io;
	struct tls_context *tls;
	struct sockaddr_in endpoints[ENDPOINTS_MAX];
	size_t n_endpoints;
	const char *method, *path, *content_type, *body;
	char *value;
	uint64_t next;
	struct samples samples;
	size_t open;
} load;

struct client {
	struct tls_stream tls;
	struct buf in;
	uint64_t sent_ns;
	bool closed;
};

static void put_template(struct buf *out, const char *template, uint64_t n)
{
	for (const char *p = template; *p; p++) {
		if (p[0] == '%' && p[1] == 'N') {
			buf_printf(out, "%llu", (unsigned long long)n);
			p++;
		} else if (p[0] == '%' && p[1] == 'V') {
			buf_put_str(out, load.value);
			p++;
		} else {
			buf_put_byte(out, (uint8_t)*p);
		}
	}
}

static void send_request(struct client *c)
{
	struct buf body = { 0 }, out = { 0 };
	uint64_t n = load.next++;

	put_template(&body, load.body, n);
	buf_printf(&out, "%s ", load.method);
	put_template(&out, load.path, n);
	buf_printf(&out, " HTTP/1.1\r\nHost: bench\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n",
		   load.content_type, body.len);
	buf_put(&out, body.data, body.len);
	c->sent_ns = uv_hrtime();
	tls_stream_write_buf(&c->tls, &out);
	buf_fini(&body);
}

static void on_closed(struct tls_stream *s)
{
	load.open--;
	if (load.open == 0)
		uv_stop(&load.uv);
}

static void finish(struct client *c)
{
	if (!c->closed)
		tls_stream_close(&c->tls, on_closed);
	c->closed = true;
}

/* Length of a complete response at the front, or 0. Our servers answer such requests with a length. */
static size_t response_length(const struct buf *in)
{
	const char *text = (const char *)in->data;
	const char *end = memmem(text, in->len, "\r\n\r\n", 4);

	if (end == NULL)
		return 0;
	size_t head = (size_t)(end - text) + 4;
	const char *length = memmem(text, head, "Content-Length: ", 16);
	if (length == NULL)
		length = memmem(text, head, "content-length: ", 16);
	size_t total = head + (length ? strtoul(length + 16, NULL, 10) : 0);
	return in->len >= total ? total : 0;
}

static void on_read(struct tls_stream *s, const uint8_t *data, size_t n)
{
	struct client *c = container_of(s, struct client, tls);

	buf_put(&c->in, data, n);
	size_t length = response_length(&c->in);
	if (length == 0)
		return;
	samples_add(&load.samples, c->sent_ns, c->in.len > 9 && c->in.data[9] == '2');
	buf_consume(&c->in, length);
	if (samples_over(&load.samples))
		finish(c);
	else
		send_request(c);
}

static void on_open(struct tls_stream *s)
{
	send_request(container_of(s, struct client, tls));
}

static void on_end(struct tls_stream *s, int rc)
{
	struct client *c = container_of(s, struct client, tls);

	fprintf(stderr, "a connection ended: %s\n", rc ? strerror(-rc) : "closed");
	load.samples.n_bad++;
	finish(c);
}

static const struct tls_stream_ops ops = { on_open, on_read, NULL, on_end };

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "bench-https-load: %s\n", what);
	exit(2);
}

static void read_endpoints(char *list)
{
	char host[64];
	int port;

	for (char *one = strtok(list, ","); one != NULL; one = strtok(NULL, ",")) {
		struct sockaddr_in *a = &load.endpoints[load.n_endpoints++ % ENDPOINTS_MAX];

		if (address_split(one, host, sizeof(host), &port) < 0 || uv_ip4_addr(host, port, a) < 0)
			die("an endpoint is not IP:PORT");
	}
}

static char *read_text(const char *path)
{
	struct buf text = { 0 };

	if (path == NULL || file_read(path, 1 << 20, &text, NULL) < 0)
		die("cannot read a certificate or key");
	buf_cstr(&text);
	return (char *)buf_steal(&text, NULL);
}

static void read_pki(char *list)
{
	const char *ca = strtok(list, ","), *cert = strtok(NULL, ","), *key = strtok(NULL, ",");
	const struct tls_client_config config = { .ca_pem = read_text(ca), .cert_pem = read_text(cert),
						  .key_pem = read_text(key) };
	struct status st = { 0 };

	if (tls_client_context_create(&config, &load.tls, &st) < 0)
		die(st.message);
}

int main(int argc, char **argv)
{
	if (argc != 9)
		die("eight arguments; see the head of the source");
	size_t clients = strtoul(argv[3], NULL, 10), bytes = 256;
	double seconds = strtod(argv[4], NULL);

	if (getenv("VALUE_BYTES") != NULL)
		bytes = strtoul(getenv("VALUE_BYTES"), NULL, 10);
	load.value = xcalloc(1, bytes + 1);
	for (size_t i = 0; i < bytes; i++)
		load.value[i] = (char)('a' + source_random_below(&system_source, 26));
	read_endpoints(argv[1]);
	read_pki(argv[2]);
	load.method = argv[5];
	load.path = argv[6];
	load.content_type = argv[7];
	load.body = argv[8];
	/* Numbers of another run must differ, too. */
	load.next = source_random_u64(&system_source) >> 24;
	uv_loop_init(&load.uv);
	io_loop_init(&load.io, &load.uv);
	samples_begin(&load.samples, seconds);

	struct client *all = xcalloc(clients, sizeof(*all));
	for (size_t i = 0; i < clients; i++) {
		load.open++;
		tls_stream_connect(&all[i].tls, &load.io, load.tls,
				   (struct sockaddr *)&load.endpoints[i % load.n_endpoints],
				   TLS_MASTER_NAME, &ops);
	}
	uv_run(&load.uv, UV_RUN_DEFAULT);
	samples_print(&load.samples);
	return 0;
}
