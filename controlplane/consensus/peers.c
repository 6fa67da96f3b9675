#include "controlplane/consensus/peers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"

#define PEERS_MAX 40
#define ACCEPTED_MAX 128 /* Connections that have not said hello yet count. */
#define REDIAL_MS 50
#define QUEUE_MAX ((size_t)16 << 20)

/* One incoming connection. */
struct inbound {
	struct peers *peers;
	struct link *link;
	uint64_t id; /* 0 until the certificate is known. */
	char *address; /* NULL until it said hello. */
	bool announced; /* Its end. */
};

struct peer {
	uint64_t id; /* 0: free slot. */
	char *address;
	bool wanted;
	struct peers *peers;
	struct link *out;
	bool out_up, dirty;
	struct inbound *in; /* The newest. */
};

struct peers {
	uv_loop_t *loop;
	uint64_t id;
	char *address;
	struct link_contexts contexts;
	uint32_t user_timeout_ms;
	const struct peers_callbacks *callbacks;
	void *ctx;
	uv_tcp_t listener;
	uv_timer_t timer;
	struct peer list[PEERS_MAX];
	struct inbound *accepted[ACCEPTED_MAX];
	bool listening, closed;
	unsigned closing;
	void (*close_cb)(void *ctx);
	void *close_ctx;
};

static struct peer *find(struct peers *p, uint64_t id)
{
	for (size_t i = 0; i < PEERS_MAX; i++)
		if (p->list[i].id == id)
			return &p->list[i];
	return NULL;
}

static bool in_use(const struct peer *peer)
{
	return peer->wanted || peer->out != NULL || peer->in != NULL;
}

static void set_address(struct peer *peer, const char *address)
{
	if (address == NULL || (peer->address != NULL && strcmp(peer->address, address) == 0))
		return;
	free(peer->address);
	peer->address = xstrdup(address);
}

static struct peer *find_or_add(struct peers *p, uint64_t id, const char *address)
{
	struct peer *peer = find(p, id);

	for (size_t i = 0; peer == NULL && i < PEERS_MAX; i++)
		if (!in_use(&p->list[i])) {
			peer = &p->list[i];
			free(peer->address);
			*peer = (struct peer){ .id = id, .peers = p };
		}
	if (peer != NULL)
		set_address(peer, address);
	return peer;
}

/* --- out ----------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *t);

/* Dial again soon. */
static void arm(struct peers *p)
{
	if (!p->closed && !uv_is_active((uv_handle_t *)&p->timer))
		uv_timer_start(&p->timer, on_timer, REDIAL_MS, 0);
}

static void on_out_up(struct link *l, uint64_t id)
{
	struct peer *peer = link_owner(l);
	struct peers *p = peer->peers;
	struct frame hello = { .type = FRAME_HELLO,
			       .hello = { .id = p->id, .address = bytes_str(p->address) } };

	if (id != peer->id) {
		log_warn("refused a connection", "wanted=%016" PRIx64 " found=%016" PRIx64, peer->id,
			 id);
		link_close(l);
		peer->out = NULL;
		arm(p);
		return;
	}
	peer->out_up = true;
	frame_put(link_out(l), &hello);
	link_flush(l);
	if (peer->out == l)
		p->callbacks->connected(p->ctx, id);
}

static int64_t on_out_data(struct link *l, struct bytes data)
{
	(void)l;
	(void)data;
	return -EBADMSG; /* Nobody answers on the connection that we dialled. */
}

static void on_out_down(struct link *l)
{
	struct peer *peer = link_owner(l);

	if (peer->out != l)
		return;
	peer->out = NULL;
	peer->out_up = false;
	if (peer->wanted)
		arm(peer->peers);
}

static const struct link_callbacks out_callbacks = {
	.up = on_out_up,
	.data = on_out_data,
	.down = on_out_down,
};

static void dial(struct peer *peer)
{
	struct peers *p = peer->peers;

	if (peer->out != NULL || peer->address == NULL || p->closed || p->contexts.client == NULL)
		return;
	peer->out_up = false;
	peer->out = link_dial(p->loop, &p->contexts, peer->address, p->user_timeout_ms,
			      &out_callbacks, peer);
}

static void hang_up(struct peer *peer)
{
	struct link *l = peer->out;

	peer->out = NULL;
	if (l == NULL)
		return;
	if (peer->out_up) {
		frame_put(link_out(l), &(struct frame){ .type = FRAME_GOODBYE });
		link_flush(l);
	}
	peer->out_up = false;
	link_close(l);
	if (peer->wanted)
		arm(peer->peers);
}

static void on_timer(uv_timer_t *t)
{
	struct peers *p = container_of(t, struct peers, timer);

	for (size_t i = 0; i < PEERS_MAX; i++)
		if (p->list[i].wanted)
			dial(&p->list[i]);
}

struct buf *peers_outbox(struct peers *p, uint64_t id, const char *address)
{
	struct peer *peer = find(p, id);

	if (peer == NULL && address != NULL)
		peer = find_or_add(p, id, address);
	if (peer == NULL || p->closed)
		return NULL;
	if (peer->out == NULL) {
		/* Not more often than the timer would. */
		if (!peer->wanted)
			dial(peer);
		return NULL;
	}
	if (!peer->out_up || link_queued(peer->out) >= QUEUE_MAX)
		return NULL;
	peer->dirty = true;
	return link_out(peer->out);
}

bool peers_connected(const struct peers *p, uint64_t id)
{
	for (size_t i = 0; i < PEERS_MAX; i++)
		if (p->list[i].id == id)
			return p->list[i].out_up && p->list[i].in != NULL;
	return false;
}

void peers_flush(struct peers *p)
{
	for (size_t i = 0; i < PEERS_MAX; i++)
		if (p->list[i].dirty) {
			p->list[i].dirty = false;
			if (p->list[i].out != NULL)
				link_flush(p->list[i].out);
		}
}

void peers_want(struct peers *p, const uint64_t *ids, const char *const *addresses, size_t n)
{
	for (size_t i = 0; i < PEERS_MAX; i++)
		p->list[i].wanted = false;
	for (size_t i = 0; i < n; i++) {
		struct peer *peer = ids[i] == p->id ? NULL : find_or_add(p, ids[i], addresses[i]);

		if (peer == NULL)
			continue;
		peer->wanted = true;
		dial(peer);
	}
}

/* --- in ------------------------------------------------------------------------------ */

static void forget(struct inbound *in)
{
	struct peers *p = in->peers;

	for (size_t i = 0; i < ACCEPTED_MAX; i++)
		if (p->accepted[i] == in)
			p->accepted[i] = NULL;
	free(in->address);
	free(in);
}

static void on_in_up(struct link *l, uint64_t id)
{
	struct inbound *in = link_owner(l);

	in->id = id;
}

static int on_hello(struct inbound *in, const struct frame *f)
{
	struct peers *p = in->peers;
	struct peer *peer;

	if (f->type != FRAME_HELLO || f->hello.id != in->id || in->id == p->id)
		return -EBADMSG;
	in->address = xstrndup((const char *)f->hello.address.data, f->hello.address.len);
	peer = find_or_add(p, in->id, in->address);
	if (peer == NULL)
		return -ENOBUFS;
	if (peer->in != NULL) {
		/* It dialled anew: that is no sign of death. */
		link_close(peer->in->link);
		forget(peer->in);
	}
	peer->in = in;
	return 0;
}

static int on_frame(struct inbound *in, struct bytes bytes)
{
	struct peers *p = in->peers;
	struct frame f;

	if (in->address != NULL && bytes.data[4] != FRAME_HELLO && bytes.data[4] != FRAME_GOODBYE)
		return p->callbacks->frame(p->ctx, in->id, in->address, bytes);
	if (frame_decode(bytes.data, bytes.len, &f) < 0)
		return -EBADMSG;
	if (in->address == NULL)
		return on_hello(in, &f);
	if (f.type != FRAME_GOODBYE)
		return -EBADMSG;
	in->announced = true;
	return 0;
}

static int64_t on_in_data(struct link *l, struct bytes data)
{
	struct inbound *in = link_owner(l);
	struct peers *p = in->peers;
	size_t at = 0;

	for (;;) {
		int64_t n = frame_size(data.data + at, data.len - at);

		if (n < 0)
			log_warn("dropped a connection", "peer=%016" PRIx64 " reason=garbage",
				 in->id);
		if (n < 0)
			return n;
		if (n == 0 || (size_t)n > data.len - at)
			return (int64_t)at;

		int rc = on_frame(in, bytes_of(data.data + at, (size_t)n));

		if (p->closed)
			return 0;
		if (rc < 0) {
			log_warn("dropped a connection", "peer=%016" PRIx64 " rc=%d", in->id, rc);
			return rc;
		}
		at += (size_t)n;
	}
}

static void on_in_down(struct link *l)
{
	struct inbound *in = link_owner(l);
	struct peers *p = in->peers;
	struct peer *peer = in->id == 0 ? NULL : find(p, in->id);
	uint64_t id = in->id;
	bool lost = peer != NULL && peer->in == in && !in->announced;

	if (peer != NULL && peer->in == in)
		peer->in = NULL;
	forget(in);
	if (lost)
		p->callbacks->lost(p->ctx, id);
}

static const struct link_callbacks in_callbacks = {
	.up = on_in_up,
	.data = on_in_data,
	.down = on_in_down,
};

static void on_connection(uv_stream_t *listener, int status)
{
	struct peers *p = container_of((uv_tcp_t *)listener, struct peers, listener);
	struct inbound *in = xcalloc(1, sizeof(*in));
	size_t at = 0;

	in->peers = p;
	while (at < ACCEPTED_MAX && p->accepted[at] != NULL)
		at++;
	if (status < 0 || at == ACCEPTED_MAX) {
		/* Full of strangers: they time out within a second. Accept and drop, or the loop would spin. */
		uv_tcp_t *refused = xcalloc(1, sizeof(*refused));

		free(in);
		uv_tcp_init(p->loop, refused);
		if (status >= 0)
			uv_accept(listener, (uv_stream_t *)refused);
		uv_close((uv_handle_t *)refused, (uv_close_cb)free);
		return;
	}
	p->accepted[at] = in;
	in->link = link_accept(p->loop, &p->contexts, listener, p->user_timeout_ms, &in_callbacks,
			       in);
	if (in->link == NULL)
		forget(in);
}

/* --- life ---------------------------------------------------------------------------- */

static int listen_at(struct peers *p, const char *listen, struct status *st)
{
	struct sockaddr_storage at;
	char host[64];
	uint16_t port;
	int rc;

	if (link_address_split(listen, host, sizeof(host), &port) < 0 ||
	    (uv_ip4_addr(host, port, (struct sockaddr_in *)&at) < 0 &&
	     uv_ip6_addr(host, port, (struct sockaddr_in6 *)&at) < 0))
		return status_set(st, -EINVAL, "consensus: \"%s\" is not an address to listen on "
				  "(want ip:port)", listen);
	rc = uv_tcp_bind(&p->listener, (struct sockaddr *)&at, 0);
	if (rc == 0)
		rc = uv_listen((uv_stream_t *)&p->listener, 64, on_connection);
	if (rc < 0)
		return status_set(st, rc, "consensus: cannot listen on %s: %s", listen,
				  uv_strerror(rc));
	p->listening = true;
	return 0;
}

static void nothing(void *ctx)
{
	(void)ctx;
}

int peers_open(const struct peers_config *config, struct peers **ret_p, struct status *st)
{
	struct peers *p = xcalloc(1, sizeof(*p));
	int rc = 0;

	p->loop = config->loop;
	p->id = config->id;
	p->address = xstrdup(config->address);
	p->user_timeout_ms = config->user_timeout_ms;
	p->callbacks = config->callbacks;
	p->ctx = config->ctx;
	uv_tcp_init(p->loop, &p->listener);
	uv_timer_init(p->loop, &p->timer);
	if (config->listen != NULL) {
		rc = link_contexts_make(config->tls, p->id, &p->contexts, st);
		if (rc == 0)
			rc = listen_at(p, config->listen, st);
	}
	if (rc < 0) {
		peers_close(p, nothing, NULL);
		uv_run(config->loop, UV_RUN_NOWAIT);
		return rc;
	}
	*ret_p = p;
	return 0;
}

int peers_set_tls(struct peers *p, const struct consensus_tls *tls, struct status *st)
{
	struct link_contexts contexts;
	int rc = link_contexts_make(tls, p->id, &contexts, st);

	if (rc < 0)
		return rc;
	link_contexts_free(&p->contexts);
	p->contexts = contexts;
	/* Ours are announced and made anew; the others' stay until they do the same. */
	for (size_t i = 0; i < PEERS_MAX; i++)
		hang_up(&p->list[i]);
	return 0;
}

static void settle(struct peers *p)
{
	void (*cb)(void *ctx) = p->close_cb;
	void *ctx = p->close_ctx;

	if (--p->closing > 0)
		return;
	for (size_t i = 0; i < PEERS_MAX; i++)
		free(p->list[i].address);
	link_contexts_free(&p->contexts);
	free(p->address);
	free(p);
	cb(ctx);
}

static void on_listener_closed(uv_handle_t *h)
{
	settle(container_of((uv_tcp_t *)h, struct peers, listener));
}

static void on_timer_closed(uv_handle_t *h)
{
	settle(container_of((uv_timer_t *)h, struct peers, timer));
}

void peers_close(struct peers *p, void (*cb)(void *ctx), void *ctx)
{
	p->closed = true;
	p->close_cb = cb;
	p->close_ctx = ctx;
	p->closing = 2;
	for (size_t i = 0; i < PEERS_MAX; i++)
		hang_up(&p->list[i]);
	for (size_t i = 0; i < ACCEPTED_MAX; i++)
		if (p->accepted[i] != NULL) {
			link_close(p->accepted[i]->link);
			forget(p->accepted[i]);
		}
	uv_close((uv_handle_t *)&p->listener, on_listener_closed);
	uv_close((uv_handle_t *)&p->timer, on_timer_closed);
}
