/* bench-io: what common/io costs, server in one process, clients in another.
 *
 *     bench-io [connections [seconds]]
 *
 * Prints memory per idle connection (HTTPS watch with a client certificate, parked
 * SP request), requests per second, latency and the server's CPU per request for
 * HTTPS (HTTP/1.1, 2 KB JSON, 32 connections) and SP (128 bytes, 64 connections).
 * With `bench-io serve PORT` it only serves, for wrk and h2load: GET /json. */
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/io/h1_parse.h"
#include "common/io/http_server.h"
#include "common/io/loop.h"
#include "common/io/pki.h"
#include "common/io/sp_frame.h"
#include "common/io/sp_server.h"
#include "common/io/tls_stream.h"

static char *ca_pem, *server_pem, *server_key_pem, *client_pem, *client_key_pem;

static void make_certs(void)
{
	static const char *const sans[] = { TLS_MASTER_NAME, "localhost", "127.0.0.1" };
	static const char *const orgs[] = { "system:masters" };
	struct pki_subject server = { .cn = "bench", .sans = sans, .n_sans = 3 };
	struct pki_subject client = { .cn = "admin", .orgs = orgs, .n_orgs = 1 };
	int64_t now = time(NULL);
	struct pki_terms terms = { PKI_SERVER | PKI_CLIENT, now - 60, now + 86400 };
	autofree char *ca_key = NULL;

	if (pki_key_create(&ca_key, NULL) < 0 ||
	    pki_ca_create(ca_key, "bench-ca", now - 60, now + 86400, &ca_pem, NULL) < 0 ||
	    pki_key_create(&server_key_pem, NULL) < 0 ||
	    pki_key_create(&client_key_pem, NULL) < 0 ||
	    pki_cert_create(ca_pem, ca_key, server_key_pem, &server, &terms, &server_pem, NULL) <
		    0 ||
	    pki_cert_create(ca_pem, ca_key, client_key_pem, &client, &terms, &client_pem, NULL) < 0)
		abort();
}

/* The server */

static void on_http(struct exchange *x, void *arg)
{
	static char json[2048];

	(void)arg;
	if (json[0] == '\0')
		memset(json, 'a', sizeof(json));
	if (strcmp(x->path, "/watch") == 0) {
		exchange_begin(x, 200, "application/json");
		exchange_write(x, "{}\n", 3);
		return; /* Open until the bench ends. */
	}
	exchange_respond(x, 200, "application/json", json, sizeof(json));
}

static void on_sp(struct sp_request *r, void *arg)
{
	(void)arg;
	if (r->body.len > 0 && r->body.data[0] == 'P')
		return; /* Parked until the bench ends. */
	sp_request_reply(r, r->body.data, r->body.len);
}

static struct tls_context *server_tls(enum tls_peer peer)
{
	struct tls_server_config config = { server_pem, server_key_pem, ca_pem, peer, true };
	struct tls_context *tls;

	if (tls_server_context_create(&config, &tls, NULL) < 0)
		abort();
	return tls;
}

/* Serves for ever; writes its two ports to fd. */
static void serve(int port, int fd)
{
	struct http_server_config http = { .host = "127.0.0.1",
					   .port = port,
					   .tls = server_tls(TLS_PEER_OPTIONAL),
					   .on_request = on_http };
	struct sp_server_config sp = { .host = "127.0.0.1",
				       .tls = server_tls(TLS_PEER_REQUIRED),
				       .on_request = on_sp };
	struct http_server *http_server;
	struct sp_server *sp_server;
	struct status st = { 0 };
	struct io_loop loop;
	uv_loop_t uv;
	int ports[2];

	uv_loop_init(&uv);
	io_loop_init(&loop, &uv);
	if (http_server_create(&loop, &http, &http_server, &st) < 0 ||
	    sp_server_create(&loop, &sp, &sp_server, &st) < 0) {
		fprintf(stderr, "bench-io: %s\n", st.message);
		exit(1);
	}
	ports[0] = http_server_port(http_server);
	ports[1] = sp_server_port(sp_server);
	if (fd >= 0 && write(fd, ports, sizeof(ports)) != sizeof(ports))
		exit(1);
	uv_run(&uv, UV_RUN_DEFAULT);
}

/* The clients */

struct bench {
	struct io_loop loop;
	uv_loop_t uv;
	struct tls_context *tls;
	struct buf request;
	size_t reply_bytes; /* Of one reply; 0: whatever comes first is the only one. */
	size_t body_bytes;  /* HTTP: reply_bytes follows from the first head. */
	size_t n_ready, n_ended;
	bool running;
	double *latencies;
	size_t n_latencies, cap_latencies;
};

struct conn {
	struct tls_stream tls;
	struct bench *bench;
	struct buf greeting;
	size_t got;
	bool ready;
	uint64_t sent_ns;
};

static void ask(struct conn *c)
{
	c->got = 0;
	c->sent_ns = uv_hrtime();
	tls_stream_write(&c->tls, c->bench->request.data, c->bench->request.len);
}

static void on_open(struct tls_stream *tls)
{
	struct conn *c = container_of(tls, struct conn, tls);

	tls_stream_write(tls, c->greeting.data, c->greeting.len);
	ask(c);
}

static void on_read(struct tls_stream *tls, const uint8_t *data, size_t n)
{
	struct conn *c = container_of(tls, struct conn, tls);
	struct bench *b = c->bench;

	if (b->body_bytes > 0 && b->reply_bytes == 0)
		b->reply_bytes = h1_head_length(data, n, 0) + b->body_bytes;
	c->got += n;
	if (!c->ready) {
		c->ready = true;
		b->n_ready++;
		c->got -= c->greeting.len; /* The server's is as long as ours. */
	}
	if (b->reply_bytes == 0 || c->got < b->reply_bytes)
		return;
	array_grow(b->latencies, b->n_latencies, b->cap_latencies);
	b->latencies[b->n_latencies++] = (double)(uv_hrtime() - c->sent_ns) / 1000;
	if (b->running)
		ask(c);
}

static void on_end(struct tls_stream *tls, int rc)
{
	(void)rc;
	container_of(tls, struct conn, tls)->bench->n_ended++;
}

static const struct tls_stream_ops ops = { on_open, on_read, NULL, on_end };

static void bench_init(struct bench *b)
{
	struct tls_client_config config = { .ca_pem = ca_pem,
					    .cert_pem = client_pem,
					    .key_pem = client_key_pem };

	*b = (struct bench){ 0 };
	uv_loop_init(&b->uv);
	io_loop_init(&b->loop, &b->uv);
	if (tls_client_context_create(&config, &b->tls, NULL) < 0)
		abort();
}

static struct conn *dial(struct bench *b, size_t n, int port, bool sp)
{
	struct conn *conns = xcalloc(n, sizeof(*conns));
	struct sockaddr_in addr;

	uv_ip4_addr("127.0.0.1", port, &addr);
	for (size_t i = 0; i < n; i++) {
		conns[i].bench = b;
		if (sp)
			sp_put_greeting(&conns[i].greeting, SP_PROTOCOL_REQ);
		tls_stream_connect(&conns[i].tls, &b->loop, b->tls, (struct sockaddr *)&addr,
				   TLS_MASTER_NAME, &ops);
		/* Not more at once than the listener's queue holds. */
		while (b->n_ready + 64 < i)
			uv_run(&b->uv, UV_RUN_ONCE);
	}
	while (b->n_ready + b->n_ended < n)
		uv_run(&b->uv, UV_RUN_ONCE);
	return conns;
}

static long rss_kb(pid_t pid)
{
	autofree char *path = xasprintf("/proc/%d/status", (int)pid);
	FILE *f = fopen(path, "r");
	char line[256];
	long kb = -1;

	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "VmRSS: %ld", &kb) == 1)
			break;
	}
	if (f != NULL)
		fclose(f);
	return kb;
}

static double cpu_s(pid_t pid)
{
	clockid_t clock;
	struct timespec t = { 0 };

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) < 0)
		return 0;
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void put_request(struct bench *b, bool sp, const char *what)
{
	if (!sp) {
		buf_printf(&b->request, "GET /%s HTTP/1.1\r\nHost: bench\r\n\r\n", what);
		return;
	}
	sp_put_length(&b->request, 4 + 128);
	buf_put(&b->request, "\x80\0\0\1", 4);
	for (int i = 0; i < 128; i++)
		buf_put_byte(&b->request, (uint8_t)what[0]);
}

static void idle(pid_t pid, int port, bool sp, size_t n)
{
	long before = rss_kb(pid);
	double cpu = cpu_s(pid);
	struct bench b;

	bench_init(&b);
	put_request(&b, sp, sp ? "P" : "watch");
	dial(&b, n, port, sp);
	printf("%s: %zu idle connections with client certificates: %.1f KB each, handshake %.2f ms CPU\n",
	       sp ? "SP   " : "HTTPS", n, (double)(rss_kb(pid) - before) / (double)n,
	       (cpu_s(pid) - cpu) * 1000 / (double)n);
	fflush(stdout);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void on_time_up(uv_timer_t *timer)
{
	((struct bench *)timer->data)->running = false;
}

static void load(pid_t pid, int port, bool sp, size_t n, int seconds)
{
	struct bench b;
	uv_timer_t timer;

	bench_init(&b);
	put_request(&b, sp, sp ? "E" : "json");
	b.reply_bytes = sp ? 8 + 4 + 128 : 0;
	b.body_bytes = sp ? 0 : 2048;
	b.running = true;
	uv_timer_init(&b.uv, &timer);
	timer.data = &b;
	dial(&b, n, port, sp);
	double cpu = cpu_s(pid);
	uint64_t start = uv_hrtime();

	b.n_latencies = 0;
	uv_timer_start(&timer, on_time_up, (uint64_t)seconds * 1000, 0);
	while (b.running && b.n_ended == 0)
		uv_run(&b.uv, UV_RUN_ONCE);
	double elapsed = (double)(uv_hrtime() - start) / 1e9;

	cpu = cpu_s(pid) - cpu;
	if (b.n_latencies == 0) {
		printf("%s: no reply\n", sp ? "SP" : "HTTPS");
		return;
	}
	qsort(b.latencies, b.n_latencies, sizeof(double), compare);
	printf("%s: %zu connections: %.0f requests/s, p50 %.0f us, p99 %.0f us, server %.1f us CPU each\n",
	       sp ? "SP   " : "HTTPS", n, (double)b.n_latencies / elapsed,
	       b.latencies[b.n_latencies / 2], b.latencies[b.n_latencies * 99 / 100],
	       cpu * 1e6 / (double)b.n_latencies);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct rlimit files = { 65536, 65536 };
	size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;
	int seconds = argc > 2 ? atoi(argv[2]) : 3;
	int pipes[2], ports[2];

	signal(SIGPIPE, SIG_IGN);
	setrlimit(RLIMIT_NOFILE, &files);
	make_certs();
	if (argc == 3 && strcmp(argv[1], "serve") == 0) {
		serve(atoi(argv[2]), -1);
		return 0;
	}
	if (pipe(pipes) < 0)
		return 1;
	pid_t pid = fork();

	if (pid == 0) {
		serve(0, pipes[1]);
		return 0;
	}
	if (pid < 0 || read(pipes[0], ports, sizeof(ports)) != sizeof(ports))
		return 1;
	printf("server: %ld KB RSS before the first connection\n", rss_kb(pid));
	load(pid, ports[0], false, 32, seconds);
	load(pid, ports[1], true, 64, seconds);
	idle(pid, ports[0], false, n);
	idle(pid, ports[1], true, n);
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	return 0;
}
