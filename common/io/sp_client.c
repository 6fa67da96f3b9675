/* A call is an nng context with its aio: sent, then received. libnng's threads
 * run on_aio() and on_pipe(); all they do is take the mutex, put the call (or the
 * connection's news) where the loop finds it, and wake the loop. Everything else
 * happens on the loop thread.
 *
 * nng_close() has been seen to hang in old versions, so sockets are closed by a
 * worker thread, never by the loop. */
#include "common/io/sp_client.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/supplemental/tls/tls.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/list.h"
#include "common/io/tls.h"

enum {
	MASTERS_MAX = 16,
	IDLE_CALLS_MAX = 8,
	SEND_MS_MAX = 5000,
	RECONNECT_MIN_MS = 50,
	RECONNECT_MAX_MS = 1000,
};

struct master {
	struct sp_client *client;
	bool used, removing, closed;
	nng_socket socket;
	size_t n_calls; /* Under way. */
	size_t n_idle;
	struct list idle;
	uv_work_t close_work;
	/* Under the mutex: the connection, 0 for none. */
	int pipe_id;
	bool reported_up;
};

struct sp_call {
	struct list link; /* Of the client's done list, or the master's idle one. */
	struct master *master;
	nng_ctx ctx;
	nng_aio *aio;
	bool sent;
	uint64_t deadline_ms;
	int rc; /* libnng's. */
	nng_msg *reply;
	bool cancelled;
	sp_reply_cb *cb;
	void *arg;
};

struct sp_client {
	struct io_loop *loop;
	struct sp_client_config config;
	nng_tls_config *tls;
	struct master masters[MASTERS_MAX];
	uv_async_t wake;
	pthread_mutex_t mutex;
	struct list done; /* Calls that are complete; under the mutex. */
	bool closing;
	void (*on_closed)(void *arg);
	void *on_closed_arg;
};

int sp_errno(int rc)
{
	static const struct {
		int nng, err;
	} table[] = {
		{ NNG_EINTR, EINTR },           { NNG_ENOMEM, ENOMEM },
		{ NNG_EINVAL, EINVAL },         { NNG_EBUSY, EBUSY },
		{ NNG_ETIMEDOUT, ETIMEDOUT },   { NNG_ECONNREFUSED, ECONNREFUSED },
		{ NNG_ECLOSED, ESHUTDOWN },     { NNG_EAGAIN, EAGAIN },
		{ NNG_ENOTSUP, ENOTSUP },       { NNG_EADDRINUSE, EADDRINUSE },
		{ NNG_ESTATE, EPROTO },         { NNG_ENOENT, ENOENT },
		{ NNG_EPROTO, EPROTO },         { NNG_EUNREACHABLE, EHOSTUNREACH },
		{ NNG_EADDRINVAL, EINVAL },     { NNG_EPERM, EPERM },
		{ NNG_EMSGSIZE, EMSGSIZE },     { NNG_ECONNABORTED, ECONNABORTED },
		{ NNG_ECONNRESET, ECONNRESET }, { NNG_ECANCELED, ECANCELED },
		{ NNG_ENOFILES, EMFILE },       { NNG_ENOSPC, ENOSPC },
		{ NNG_EEXIST, EEXIST },         { NNG_EREADONLY, EROFS },
		{ NNG_EWRITEONLY, EACCES },     { NNG_ECRYPTO, EPROTO },
		{ NNG_EPEERAUTH, EACCES },      { NNG_ENOARG, EINVAL },
		{ NNG_EAMBIGUOUS, EINVAL },     { NNG_EBADTYPE, EINVAL },
		{ NNG_ECONNSHUT, ESHUTDOWN },   { NNG_EINTERNAL, EIO },
	};

	if (rc == 0)
		return 0;
	if ((rc & NNG_ESYSERR) != 0)
		return -(rc & ~NNG_ESYSERR);
	for (size_t i = 0; i < array_size(table); i++) {
		if (table[i].nng == rc)
			return -table[i].err;
	}
	return -EIO;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* On libnng's threads */

static void hand_over(struct sp_call *call, int rc)
{
	struct sp_client *c = call->master->client;

	pthread_mutex_lock(&c->mutex);
	call->rc = rc;
	list_push_back(&c->done, &call->link);
	/* Inside the lock: the loop cannot take the call, finish and close the handle before. */
	uv_async_send(&c->wake);
	pthread_mutex_unlock(&c->mutex);
}

static void on_aio(void *arg)
{
	struct sp_call *call = arg;
	int rc = nng_aio_result(call->aio);

	if (rc != 0 && !call->sent)
		nng_msg_free(nng_aio_get_msg(call->aio));
	if (rc != 0 || call->sent) {
		call->reply = rc == 0 ? nng_aio_get_msg(call->aio) : NULL;
		hand_over(call, rc);
		return;
	}
	uint64_t now = now_ms();

	call->sent = true;
	nng_aio_set_timeout(call->aio,
			    call->deadline_ms > now ? (nng_duration)(call->deadline_ms - now) : 0);
	nng_ctx_recv(call->ctx, call->aio);
}

static void on_pipe(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
	struct master *m = arg;
	struct sp_client *c = m->client;

	pthread_mutex_lock(&c->mutex);
	if (event == NNG_PIPE_EV_ADD_POST)
		m->pipe_id = nng_pipe_id(pipe);
	else if (m->pipe_id == nng_pipe_id(pipe))
		m->pipe_id = 0;
	if (!c->closing)
		uv_async_send(&c->wake);
	pthread_mutex_unlock(&c->mutex);
}

/* On the loop's */

static void call_free(struct sp_call *call)
{
	nng_ctx_close(call->ctx);
	nng_aio_free(call->aio);
	free(call);
}

static struct sp_call *call_take(struct master *m)
{
	struct sp_call *call;

	if (m->n_idle > 0) {
		call = list_first(&m->idle, struct sp_call, link);
		list_remove(&call->link);
		m->n_idle--;
		return call;
	}
	call = xcalloc(1, sizeof(*call));
	list_init(&call->link);
	call->master = m;
	if (nng_ctx_open(&call->ctx, m->socket) != 0) {
		free(call);
		return NULL;
	}
	if (nng_aio_alloc(&call->aio, on_aio, call) != 0)
		abort();
	return call;
}

static void on_async_closed(uv_handle_t *h)
{
	struct sp_client *c = container_of((uv_async_t *)h, struct sp_client, wake);

	nng_tls_config_free(c->tls);
	pthread_mutex_destroy(&c->mutex);
	if (c->on_closed != NULL)
		c->on_closed(c->on_closed_arg);
	free(c);
}

static void maybe_closed(struct sp_client *c)
{
	if (!c->closing || uv_is_closing((uv_handle_t *)&c->wake))
		return;
	for (int i = 0; i < MASTERS_MAX; i++) {
		if (c->masters[i].used)
			return;
	}
	uv_close((uv_handle_t *)&c->wake, on_async_closed);
}

/* The socket is closed and no call is under way: the place is free. */
static void maybe_removed(struct master *m)
{
	if (!m->used || !m->closed || m->n_calls > 0)
		return;
	list_for_each (call, &m->idle, struct sp_call, link)
		call_free(call);
	m->n_idle = 0;
	m->used = false;
	maybe_closed(m->client);
}

static void call_back(struct sp_call *call)
{
	struct master *m = call->master;
	struct bytes reply = { 0 };
	int rc = sp_errno(call->rc);

	if (rc == 0)
		reply = bytes_of(nng_msg_body(call->reply), nng_msg_len(call->reply));
	else if (m->client->closing)
		rc = -ESHUTDOWN;
	else if (rc == -ESHUTDOWN)
		rc = -ECONNRESET; /* The master was removed. */
	if (!call->cancelled)
		call->cb(call->arg, rc, reply);
	if (call->reply != NULL)
		nng_msg_free(call->reply);
	call->reply = NULL;
	m->n_calls--;
	if (m->removing || m->n_idle >= IDLE_CALLS_MAX) {
		call_free(call);
	} else {
		list_push_front(&m->idle, &call->link);
		m->n_idle++;
	}
	maybe_removed(m);
}

static void report_connections(struct sp_client *c)
{
	for (int i = 0; i < MASTERS_MAX && !c->closing; i++) {
		struct master *m = &c->masters[i];

		pthread_mutex_lock(&c->mutex);
		bool up = m->used && !m->removing && m->pipe_id != 0;
		pthread_mutex_unlock(&c->mutex);
		if (up == m->reported_up)
			continue;
		m->reported_up = up;
		if (c->config.on_connection != NULL)
			c->config.on_connection(i, up, c->config.arg);
	}
}

static void on_wake(uv_async_t *h)
{
	struct sp_client *c = container_of(h, struct sp_client, wake);
	struct list done;

	report_connections(c);
	list_init(&done);
	pthread_mutex_lock(&c->mutex);
	while (!list_empty(&c->done)) {
		struct list *first = c->done.next;

		list_remove(first);
		list_push_back(&done, first);
	}
	pthread_mutex_unlock(&c->mutex);
	while (!list_empty(&done)) {
		struct sp_call *call = list_first(&done, struct sp_call, link);

		list_remove(&call->link);
		call_back(call);
	}
}

static int make_tls(struct sp_client *c, const struct sp_client_config *config, struct status *st)
{
	const char *name = config->server_name != NULL ? config->server_name : TLS_MASTER_NAME;
	int rc = nng_tls_config_alloc(&c->tls, NNG_TLS_MODE_CLIENT);

	if (rc != 0)
		return status_set(st, sp_errno(rc), "libnng without TLS: %s", nng_strerror(rc));
	rc = nng_tls_config_ca_chain(c->tls, config->ca_pem, NULL);
	if (rc == 0)
		rc = nng_tls_config_own_cert(c->tls, config->cert_pem, config->key_pem, NULL);
	if (rc == 0)
		rc = nng_tls_config_auth_mode(c->tls, NNG_TLS_AUTH_MODE_REQUIRED);
	if (rc == 0)
		rc = nng_tls_config_server_name(c->tls, name);
	if (rc == 0)
		return 0;
	nng_tls_config_free(c->tls);
	return status_set(st, sp_errno(rc), "certificates for libnng: %s", nng_strerror(rc));
}

int sp_client_create(struct io_loop *loop, const struct sp_client_config *config,
		     struct sp_client **ret_client, struct status *st)
{
	struct sp_client *c = xcalloc(1, sizeof(*c));
	int rc = make_tls(c, config, st);

	if (rc < 0) {
		free(c);
		return rc;
	}
	c->loop = loop;
	c->config = *config;
	c->config.ca_pem = c->config.cert_pem = c->config.key_pem = c->config.server_name = NULL;
	if (c->config.outstanding_max == 0)
		c->config.outstanding_max = 64;
	if (c->config.reply_bytes_max == 0)
		c->config.reply_bytes_max = 20 * 1024 * 1024;
	list_init(&c->done);
	pthread_mutex_init(&c->mutex, NULL);
	for (int i = 0; i < MASTERS_MAX; i++) {
		c->masters[i].client = c;
		list_init(&c->masters[i].idle);
	}
	rc = uv_async_init(loop->uv, &c->wake, on_wake);
	assert(rc == 0);
	*ret_client = c;
	return 0;
}

static int dial(struct sp_client *c, struct master *m, const char *url)
{
	nng_dialer dialer;
	int rc = nng_socket_set_ms(m->socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);

	rc = rc ? rc : nng_socket_set_size(m->socket, NNG_OPT_RECVMAXSZ, c->config.reply_bytes_max);
	rc = rc ? rc : nng_socket_set_ms(m->socket, NNG_OPT_RECONNMINT, RECONNECT_MIN_MS);
	rc = rc ? rc : nng_socket_set_ms(m->socket, NNG_OPT_RECONNMAXT, RECONNECT_MAX_MS);
	rc = rc ? rc : nng_pipe_notify(m->socket, NNG_PIPE_EV_ADD_POST, on_pipe, m);
	rc = rc ? rc : nng_pipe_notify(m->socket, NNG_PIPE_EV_REM_POST, on_pipe, m);
	rc = rc ? rc : nng_dialer_create(&dialer, m->socket, url);
	rc = rc ? rc : nng_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, c->tls);
	rc = rc ? rc : nng_dialer_set_bool(dialer, NNG_OPT_TCP_KEEPALIVE, true);
	return rc ? rc : nng_dialer_start(dialer, NNG_FLAG_NONBLOCK);
}

int sp_client_add(struct sp_client *c, const char *address, int *ret_master, struct status *st)
{
	autofree char *url = xasprintf("tls+tcp://%s", address);
	struct master *m = NULL;
	int i, rc;

	assert(!c->closing);
	for (i = 0; i < MASTERS_MAX && m == NULL; i++) {
		if (!c->masters[i].used)
			m = &c->masters[i];
	}
	if (m == NULL)
		return status_set(st, -ENOSPC, "more than %d masters", MASTERS_MAX);
	rc = nng_req0_open(&m->socket);
	if (rc != 0)
		return status_set(st, sp_errno(rc), "no SP socket: %s", nng_strerror(rc));
	m->removing = m->closed = m->reported_up = false;
	m->pipe_id = 0;
	rc = dial(c, m, url);
	if (rc != 0) {
		nng_close(m->socket);
		return status_set(st, sp_errno(rc), "cannot dial %s: %s", url, nng_strerror(rc));
	}
	m->used = true;
	*ret_master = i - 1;
	return 0;
}

static void work_close(uv_work_t *work)
{
	nng_close(container_of(work, struct master, close_work)->socket);
}

static void work_closed(uv_work_t *work, int status)
{
	struct master *m = container_of(work, struct master, close_work);

	(void)status;
	m->closed = true;
	maybe_removed(m);
}

void sp_client_remove(struct sp_client *c, int master)
{
	struct master *m = &c->masters[master];

	assert(m->used);
	if (m->removing)
		return;
	m->removing = true;
	if (uv_queue_work(c->loop->uv, &m->close_work, work_close, work_closed) != 0)
		abort();
}

bool sp_client_is_connected(const struct sp_client *c, int master)
{
	return c->masters[master].used && c->masters[master].reported_up;
}

int sp_client_request(struct sp_client *c, int master, struct bytes body, unsigned timeout_ms,
		      sp_reply_cb *cb, void *arg, struct sp_call **ret_call)
{
	struct master *m = &c->masters[master];
	struct sp_call *call;
	nng_msg *msg;

	assert(m->used);
	if (m->removing || m->n_calls >= c->config.outstanding_max)
		return -EAGAIN;
	call = call_take(m);
	if (call == NULL)
		return -EAGAIN;
	if (nng_msg_alloc(&msg, 0) != 0 || nng_msg_append(msg, body.data, body.len) != 0)
		abort();
	m->n_calls++;
	call->cb = cb;
	call->arg = arg;
	call->sent = call->cancelled = false;
	call->deadline_ms = now_ms() + timeout_ms;
	nng_aio_set_msg(call->aio, msg);
	nng_aio_set_timeout(call->aio,
			    (nng_duration)(timeout_ms < SEND_MS_MAX ? timeout_ms : SEND_MS_MAX));
	if (ret_call != NULL)
		*ret_call = call;
	nng_ctx_send(call->ctx, call->aio);
	return 0;
}

void sp_call_cancel(struct sp_call *call)
{
	call->cancelled = true;
}

void sp_client_close(struct sp_client *c, void (*on_closed)(void *arg), void *arg)
{
	assert(!c->closing);
	pthread_mutex_lock(&c->mutex);
	c->closing = true;
	pthread_mutex_unlock(&c->mutex);
	c->on_closed = on_closed;
	c->on_closed_arg = arg;
	for (int i = 0; i < MASTERS_MAX; i++) {
		if (c->masters[i].used)
			sp_client_remove(c, i);
	}
	maybe_closed(c);
}
