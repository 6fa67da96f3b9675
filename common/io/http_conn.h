/* Inside the HTTP server: connections, exchanges, and what each protocol does for them.
 *
 * A connection is closed in one place, on_conn_closed() in http_server.c: it runs
 * in libuv's closing phase, tells the handlers that still hold exchanges, and
 * frees everything. So a protocol's session stays valid for the whole turn in
 * which the connection broke. */
#pragma once

#include "common/base/list.h"
#include "common/io/h1_parse.h"
#include "common/io/http_server.h"
#include "common/io/tls_bytes.h"
#include "common/io/tls_stream.h"

struct exchange_core;
struct http_conn;

struct http_protocol {
	void (*read)(struct http_conn *c, const uint8_t *data, size_t n);
	void (*drain)(struct http_conn *c);
	/* deadline_ms has passed. */
	void (*deadline)(struct http_conn *c);
	/* End gracefully. */
	void (*shutdown)(struct http_conn *c);
	void (*fini)(struct http_conn *c);

	/* The response: headers (and the whole body, if one is given), then pieces, then the end.
	 * content_length is -1 for a stream. */
	void (*begin)(struct exchange_core *x, int status, const char *content_type,
		      int64_t content_length, struct buf *body);
	void (*write)(struct exchange_core *x, const void *data, size_t n);
	void (*end)(struct exchange_core *x);
	void (*abort)(struct exchange_core *x);
	size_t (*pending)(const struct exchange_core *x);
};

extern const struct http_protocol http1_protocol, http2_protocol;

struct h1_conn {
	enum { H1_IN_HEAD, H1_IN_BODY, H1_IN_CHUNKS, H1_BUSY, H1_CLOSING, H1_UPGRADED } phase;
	struct buf in; /* Received and not used yet, from in_off. */
	size_t in_off, seen;
	struct exchange_core *x; /* The one being read or answered. */
	struct h1_chunked chunked;
	uint64_t body_left;
	struct io_later next;
	struct tls_bytes bytes;
	bool advancing;
};

struct http_conn {
	struct tls_stream tls;
	struct http_server *server;
	const struct http_protocol *protocol; /* NULL until the handshake is done. */
	struct list link, exchanges;
	size_t n_exchanges;
	struct tls_identity *peer;
	const char *peer_problem;
	char remote[48];
	uint64_t deadline_ms; /* 0: none. */
	struct h1_conn h1;
	struct h2_conn *h2;
};

struct exchange_core {
	struct exchange pub;
	struct http_server *server; /* A reference. */
	struct http_conn *conn;     /* NULL: the client is gone. */
	struct list link;
	struct tls_identity *peer;
	char remote[48];
	bool owned; /* By a handler. */
	bool began, head_only, keep_alive, chunked;
	struct buf head; /* Memory of the strings. */
	struct http_header *headers;
	struct buf body;
	size_t body_charged;
	struct buf added; /* name NUL value NUL ... */
	struct h2_stream {
		int32_t id;
		struct buf out;
		size_t out_off;
		bool ended, deferred, was_high, submitted;
		uint64_t progress_ms; /* When it began, or bytes of the response last left. */
		/* Request headers as they come: offsets into head. */
		size_t method, path, authority;
		struct h2_field {
			size_t name, value;
		} * fields;
		size_t n_fields, cap_fields;
		int refused; /* HTTP status to refuse with, 0: none. */
		struct io_later drain;
	} h2;
};

struct http_server {
	unsigned refs; /* One of the owner, one per exchange. */
	struct io_loop *loop;
	struct http_server_config config;
	uv_tcp_t listener;
	uv_timer_t sweep;
	int handles;
	struct list conns;
	size_t n_conns;
	size_t all_body_bytes;
	bool shutting_down, closing;
	char date[40];    /* The Date header's value, */
	uint64_t date_ms; /* made when. */
	void (*on_closed)(void *arg);
	void *on_closed_arg;
};

struct exchange_core *exchange_create(struct http_conn *c);
/* Not held by a handler any more and finished by the protocol: forget it. */
void exchange_destroy(struct exchange_core *x);
/* Account for n more body bytes. Returns 0, 413 or 503. */
int exchange_charge_body(struct exchange_core *x, size_t n);
/* The request is complete: target is split, the handler called. */
void exchange_dispatch(struct exchange_core *x, const char *method, char *target, int version);
/* The client is gone; tells the handler or frees. */
void exchange_detach(struct exchange_core *x);
/* Text and code of a refusal as a Kubernetes Status. */
void exchange_refusal(struct buf *to, int status);

/* Close: at once, or after sending what is pending. */
void http_conn_close(struct http_conn *c);
void http_conn_finish(struct http_conn *c);
/* The last of a connection that is closed and whose bytes nobody holds any more. */
void http_conn_free(struct http_conn *c);
void http_conn_set_deadline(struct http_conn *c, unsigned ms);
const char *http_server_date(struct http_server *s);
void http_server_unref(struct http_server *s);
const char *http_reason(int status);

struct h2_conn *h2_conn_create(struct http_conn *c);
void h1_conn_init(struct http_conn *c);
