#include "controlplane/consensus/link.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"

#define SETUP_TIMEOUT_MS 1000 /* Name, connection and handshake together. */
#define READ_STEP ((size_t)64 << 10)
#define IN_KEEP ((size_t)256 << 10)

struct link {
	uv_tcp_t tcp;
	uv_timer_t timer;
	uv_getaddrinfo_t resolve;
	uv_connect_t connect;
	SSL *ssl;
	BIO *from_peer, *to_peer; /* The SSL's. */
	const struct link_callbacks *callbacks;
	void *owner;
	uint32_t user_timeout_ms;
	uint16_t port;
	bool server, up, closed, resolving;
	unsigned closing; /* Handles, and the resolver, that are not done. */
	struct buf out, in;
	size_t queued;
	char *received; /* While reading. */
};

/* --- contexts ------------------------------------------------------------------------ */

static int tls_error(struct status *st, const char *what)
{
	char reason[256];

	ERR_error_string_n(ERR_get_error(), reason, sizeof(reason));
	ERR_clear_error();
	return status_set(st, -EINVAL, "consensus TLS: %s: %s", what, reason);
}

static int add_authorities(X509_STORE *store, struct bytes pem)
{
	BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
	int n = 0;

	for (X509 *x; (x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL; n++) {
		X509_STORE_add_cert(store, x);
		X509_free(x);
	}
	BIO_free(bio);
	ERR_clear_error();
	return n > 0 ? 0 : -EINVAL;
}

static int use_chain(SSL_CTX *ctx, struct bytes pem)
{
	BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
	X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	int rc = x != NULL && SSL_CTX_use_certificate(ctx, x) == 1 ? 0 : -EINVAL;

	X509_free(x);
	while (rc == 0 && (x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL)
		if (SSL_CTX_add0_chain_cert(ctx, x) != 1) {
			X509_free(x);
			rc = -EINVAL;
		}
	BIO_free(bio);
	if (rc == 0)
		ERR_clear_error(); /* The end of the file. */
	return rc;
}

static int use_key(SSL_CTX *ctx, struct bytes pem)
{
	BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	int rc = key != NULL && SSL_CTX_use_PrivateKey(ctx, key) == 1 &&
				 SSL_CTX_check_private_key(ctx) == 1
			 ? 0
			 : -EINVAL;

	EVP_PKEY_free(key);
	BIO_free(bio);
	return rc;
}

/* The member id in a certificate's one and only CN, or 0. */
static uint64_t certificate_member(X509 *x)
{
	char cn[CONSENSUS_NAME_SIZE];
	X509_NAME *subject = x == NULL ? NULL : X509_get_subject_name(x);
	int at, n;

	if (subject == NULL)
		return 0;
	at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0)
		return 0;
	n = X509_NAME_get_text_by_NID(subject, NID_commonName, cn, sizeof(cn));
	if (n < 0 || strlen(cn) != (size_t)n)
		return 0;
	return consensus_member_id(cn);
}

static int make_context(const SSL_METHOD *method, const struct consensus_tls *tls, uint64_t id,
			SSL_CTX **ret_ctx, struct status *st)
{
	SSL_CTX *ctx = SSL_CTX_new(method);
	int rc = 0;

	if (ctx == NULL)
		return tls_error(st, "no context");
	SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	if (add_authorities(SSL_CTX_get_cert_store(ctx), tls->ca) < 0)
		rc = tls_error(st, "the CA certificate cannot be read");
	else if (use_chain(ctx, tls->cert) < 0)
		rc = tls_error(st, "the certificate cannot be read");
	else if (use_key(ctx, tls->key) < 0)
		rc = tls_error(st, "the key cannot be read or does not fit the certificate");
	else if (certificate_member(SSL_CTX_get0_certificate(ctx)) != id)
		rc = status_set(st, -EINVAL, "consensus TLS: the certificate is not member "
				"%016llx's", (unsigned long long)id);
	if (rc < 0) {
		SSL_CTX_free(ctx);
		return rc;
	}
	*ret_ctx = ctx;
	return 0;
}

int link_contexts_make(const struct consensus_tls *tls, uint64_t id, struct link_contexts *ret_ctx,
		       struct status *st)
{
	struct link_contexts ctx = { 0 };
	int rc = make_context(TLS_server_method(), tls, id, &ctx.server, st);

	if (rc == 0)
		rc = make_context(TLS_client_method(), tls, id, &ctx.client, st);
	if (rc < 0) {
		link_contexts_free(&ctx);
		return rc;
	}
	*ret_ctx = ctx;
	return 0;
}

void link_contexts_free(struct link_contexts *ctx)
{
	SSL_CTX_free(ctx->server);
	SSL_CTX_free(ctx->client);
	*ctx = (struct link_contexts){ 0 };
}

int link_address_split(const char *address, char *ret_host, size_t host_size, uint16_t *ret_port)
{
	const char *colon = strrchr(address, ':');
	size_t n;
	char *end;
	unsigned long port;

	if (colon == NULL || colon[1] == '\0')
		return -EINVAL;
	port = strtoul(colon + 1, &end, 10);
	if (*end != '\0' || port == 0 || port > 65535)
		return -EINVAL;
	n = (size_t)(colon - address);
	if (n >= 2 && address[0] == '[' && address[n - 1] == ']') {
		address++;
		n -= 2;
	}
	if (n == 0 || n >= host_size)
		return -EINVAL;
	memcpy(ret_host, address, n);
	ret_host[n] = '\0';
	*ret_port = (uint16_t)port;
	return 0;
}

/* --- closing ------------------------------------------------------------------------- */

static void settle(struct link *l)
{
	if (--l->closing > 0)
		return;
	SSL_free(l->ssl);
	buf_fini(&l->out);
	buf_fini(&l->in);
	free(l->received);
	free(l);
}

static void on_tcp_closed(uv_handle_t *h)
{
	settle(container_of((uv_tcp_t *)h, struct link, tcp));
}

static void on_timer_closed(uv_handle_t *h)
{
	settle(container_of((uv_timer_t *)h, struct link, timer));
}

void link_close(struct link *l)
{
	if (l->closed)
		return;
	l->closed = true;
	l->closing = 2 + l->resolving;
	uv_close((uv_handle_t *)&l->tcp, on_tcp_closed);
	uv_close((uv_handle_t *)&l->timer, on_timer_closed);
}

static void fail(struct link *l)
{
	if (l->closed)
		return;
	link_close(l);
	l->callbacks->down(l);
}

static void on_setup_timeout(uv_timer_t *t)
{
	fail(container_of(t, struct link, timer));
}

/* --- writing ------------------------------------------------------------------------- */

struct pending_write {
	uv_write_t req;
	struct link *link;
	size_t n;
	char data[];
};

static void on_written(uv_write_t *req, int status)
{
	struct pending_write *w = container_of(req, struct pending_write, req);

	w->link->queued -= w->n;
	if (status < 0)
		fail(w->link);
	free(w);
}

static void to_socket(struct link *l, const char *data, size_t n)
{
	struct pending_write *w;
	uv_buf_t buf = uv_buf_init((char *)data, (unsigned)n);

	if (l->queued == 0) {
		int done = uv_try_write((uv_stream_t *)&l->tcp, &buf, 1);

		if (done < 0 && done != UV_EAGAIN) {
			fail(l);
			return;
		}
		if (done > 0) {
			data += done;
			n -= (size_t)done;
		}
	}
	if (n == 0)
		return;
	w = xmalloc(sizeof(*w) + n);
	w->link = l;
	w->n = n;
	memcpy(w->data, data, n);
	buf = uv_buf_init(w->data, (unsigned)n);
	l->queued += n;
	if (uv_write(&w->req, (uv_stream_t *)&l->tcp, &buf, 1, on_written) < 0) {
		l->queued -= n;
		free(w);
		fail(l);
	}
}

static void send_encrypted(struct link *l)
{
	char *data;
	long n = BIO_get_mem_data(l->to_peer, &data);

	if (n <= 0 || l->closed)
		return;
	to_socket(l, data, (size_t)n);
	if (!l->closed)
		(void)BIO_reset(l->to_peer);
}

void link_flush(struct link *l)
{
	size_t at = 0;

	if (l->closed || !l->up || l->out.len == 0)
		return;
	while (at < l->out.len) {
		size_t n = l->out.len - at < (1u << 20) ? l->out.len - at : 1u << 20;
		int done = SSL_write(l->ssl, l->out.data + at, (int)n);

		if (done <= 0) {
			ERR_clear_error();
			fail(l);
			return;
		}
		at += (size_t)done;
	}
	buf_clear(&l->out);
	if (l->out.cap > IN_KEEP)
		buf_fini(&l->out);
	send_encrypted(l);
}

struct buf *link_out(struct link *l)
{
	return &l->out;
}

size_t link_queued(const struct link *l)
{
	return l->queued + l->out.len;
}

void *link_owner(const struct link *l)
{
	return l->owner;
}

/* --- reading ------------------------------------------------------------------------- */

static void give_data(struct link *l)
{
	int64_t used = l->callbacks->data(l, buf_bytes(&l->in));

	if (l->closed)
		return;
	if (used < 0) {
		fail(l);
		return;
	}
	buf_consume(&l->in, (size_t)used);
	if (l->in.cap > IN_KEEP && l->in.len < READ_STEP) {
		struct buf smaller = { 0 };

		buf_put(&smaller, l->in.data, l->in.len);
		buf_fini(&l->in);
		l->in = smaller;
	}
}

static void decrypt(struct link *l)
{
	int n;

	do {
		n = SSL_read(l->ssl, buf_reserve(&l->in, READ_STEP), (int)READ_STEP);
		if (n > 0)
			l->in.len += (size_t)n;
	} while (n > 0);

	int error = SSL_get_error(l->ssl, n);

	ERR_clear_error();
	if (l->in.len > 0)
		give_data(l);
	if (!l->closed && error != SSL_ERROR_WANT_READ)
		fail(l);
}

static void handshake(struct link *l)
{
	int rc = SSL_do_handshake(l->ssl);
	int error = SSL_get_error(l->ssl, rc);
	X509 *x;
	uint64_t id;

	ERR_clear_error();
	send_encrypted(l);
	if (l->closed)
		return;
	if (rc != 1) {
		if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
			fail(l);
		return;
	}
	x = SSL_get1_peer_certificate(l->ssl);
	id = certificate_member(x);
	X509_free(x);
	if (id == 0) {
		log_warn("refused a connection", "reason=\"certificate is not a master's\"");
		fail(l);
		return;
	}
	l->up = true;
	uv_timer_stop(&l->timer);
	l->callbacks->up(l, id);
}

static void on_alloc(uv_handle_t *h, size_t n, uv_buf_t *ret_buf)
{
	struct link *l = container_of((uv_tcp_t *)h, struct link, tcp);

	(void)n;
	if (l->received == NULL)
		l->received = xmalloc(READ_STEP);
	*ret_buf = uv_buf_init(l->received, READ_STEP);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct link *l = container_of((uv_tcp_t *)s, struct link, tcp);

	if (n == 0 || l->closed)
		return;
	if (n < 0 || BIO_write(l->from_peer, buf->base, (int)n) != n) {
		fail(l);
		return;
	}
	if (!l->up)
		handshake(l);
	if (l->up && !l->closed)
		decrypt(l);
}

/* --- starting ------------------------------------------------------------------------ */

static void start(struct link *l)
{
	uv_os_fd_t fd;

	uv_tcp_nodelay(&l->tcp, 1);
	if (uv_fileno((uv_handle_t *)&l->tcp, &fd) == 0)
		setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &l->user_timeout_ms,
			   sizeof(l->user_timeout_ms));
	if (uv_read_start((uv_stream_t *)&l->tcp, on_alloc, on_read) < 0) {
		fail(l);
		return;
	}
	if (!l->server)
		handshake(l);
}

static struct link *link_new(uv_loop_t *loop, SSL_CTX *ctx, bool server, uint32_t user_timeout_ms,
			     const struct link_callbacks *callbacks, void *owner)
{
	struct link *l = xcalloc(1, sizeof(*l));

	l->callbacks = callbacks;
	l->owner = owner;
	l->server = server;
	l->user_timeout_ms = user_timeout_ms;
	l->ssl = SSL_new(ctx);
	l->from_peer = BIO_new(BIO_s_mem());
	l->to_peer = BIO_new(BIO_s_mem());
	if (l->ssl == NULL || l->from_peer == NULL || l->to_peer == NULL)
		abort();
	BIO_set_mem_eof_return(l->from_peer, -1);
	SSL_set_bio(l->ssl, l->from_peer, l->to_peer);
	if (server)
		SSL_set_accept_state(l->ssl);
	else
		SSL_set_connect_state(l->ssl);
	uv_tcp_init(loop, &l->tcp);
	uv_timer_init(loop, &l->timer);
	uv_timer_start(&l->timer, on_setup_timeout, SETUP_TIMEOUT_MS, 0);
	return l;
}

static void on_connected(uv_connect_t *req, int status)
{
	struct link *l = container_of(req, struct link, connect);

	if (l->closed)
		return;
	if (status < 0)
		fail(l);
	else
		start(l);
}

static void connect_to(struct link *l, const struct sockaddr *address)
{
	if (uv_tcp_connect(&l->connect, &l->tcp, address, on_connected) < 0)
		uv_timer_start(&l->timer, on_setup_timeout, 0, 0);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
	struct link *l = container_of(req, struct link, resolve);

	l->resolving = false;
	if (l->closed) {
		uv_freeaddrinfo(found);
		settle(l);
		return;
	}
	if (status < 0) {
		fail(l);
		return;
	}
	if (found->ai_family == AF_INET6)
		((struct sockaddr_in6 *)found->ai_addr)->sin6_port = htons(l->port);
	else
		((struct sockaddr_in *)found->ai_addr)->sin_port = htons(l->port);
	connect_to(l, found->ai_addr);
	uv_freeaddrinfo(found);
}

struct link *link_dial(uv_loop_t *loop, const struct link_contexts *ctx, const char *address,
		       uint32_t user_timeout_ms, const struct link_callbacks *callbacks, void *owner)
{
	struct link *l = link_new(loop, ctx->client, false, user_timeout_ms, callbacks, owner);
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct sockaddr_storage to;
	char host[256];

	if (link_address_split(address, host, sizeof(host), &l->port) < 0)
		uv_timer_start(&l->timer, on_setup_timeout, 0, 0);
	else if (uv_ip4_addr(host, l->port, (struct sockaddr_in *)&to) == 0 ||
		 uv_ip6_addr(host, l->port, (struct sockaddr_in6 *)&to) == 0)
		connect_to(l, (struct sockaddr *)&to);
	else if (uv_getaddrinfo(loop, &l->resolve, on_resolved, host, NULL, &hints) == 0)
		l->resolving = true;
	else
		uv_timer_start(&l->timer, on_setup_timeout, 0, 0);
	return l;
}

struct link *link_accept(uv_loop_t *loop, const struct link_contexts *ctx, uv_stream_t *listener,
			 uint32_t user_timeout_ms, const struct link_callbacks *callbacks,
			 void *owner)
{
	struct link *l = link_new(loop, ctx->server, true, user_timeout_ms, callbacks, owner);

	if (uv_accept(listener, (uv_stream_t *)&l->tcp) < 0) {
		link_close(l);
		return NULL;
	}
	start(l);
	return l;
}
