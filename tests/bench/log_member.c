#include "tests/bench/log_member.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "controlplane/consensus/le.h"

#define IN_FLIGHT_MAX 4
#define BATCH_BYTES_MAX ((size_t)1 << 20)
#define READ_BYTES (256 * 1024)

struct client {
	uv_tcp_t tcp;
	struct buf in, out;
	unsigned refs; /* Writes under way, and the handle. */
	bool closed, dirty;
};

struct waiting {
	struct client *client;
	uint64_t id;
};

struct batch {
	struct buf data;
	struct waiting *list;
	size_t n, cap;
};

static struct {
	const struct log_member *config;
	uv_loop_t loop;
	struct consensus *consensus;
	uv_tcp_t listener;
	uv_prepare_t prepare;
	uv_check_t check;
	struct batch *batch;
	unsigned in_flight;
	uint64_t applied;
	struct client **dirty;
	size_t n_dirty, cap_dirty;
	bool step_under_way; /* Of adding members. */
} m;

/* --- state machine ------------------------------------------------------------------- */

static void on_apply(void *ctx, uint64_t index, struct bytes entry)
{
	(void)ctx;
	(void)index;
	(void)entry;
	m.applied++;
}

static void on_leader_changed(void *ctx, enum consensus_role role, uint64_t term, uint64_t leader)
{
	(void)ctx;
	(void)role;
	(void)term;
	(void)leader;
}

static void on_leading(void *ctx, uint64_t term)
{
	(void)ctx;
	(void)term;
}

static void on_lost_leadership(void *ctx)
{
	(void)ctx;
}

static void *on_snapshot_begin(void *ctx)
{
	(void)ctx;
	return xmemdup(&m.applied, sizeof(m.applied));
}

static int on_snapshot_write(void *ctx, void *handle, consensus_write_fn write, void *write_ctx)
{
	(void)ctx;
	return write(write_ctx, handle, sizeof(m.applied));
}

static void on_snapshot_end(void *ctx, void *handle)
{
	(void)ctx;
	free(handle);
}

static int on_restore(void *ctx, uint64_t index, consensus_read_fn read, void *read_ctx)
{
	int64_t n = read(read_ctx, &m.applied, sizeof(m.applied));

	(void)ctx;
	(void)index;
	return n == sizeof(m.applied) ? 0 : -EUCLEAN;
}

static void on_storage_low(void *ctx, bool low)
{
	(void)ctx;
	(void)low;
}

static void on_app_message(void *ctx, uint64_t from, struct bytes message)
{
	(void)ctx;
	(void)from;
	(void)message;
}

static const struct consensus_callbacks callbacks = {
	.apply = on_apply,
	.leader_changed = on_leader_changed,
	.leading = on_leading,
	.lost_leadership = on_lost_leadership,
	.snapshot_begin = on_snapshot_begin,
	.snapshot_write = on_snapshot_write,
	.snapshot_end = on_snapshot_end,
	.restore = on_restore,
	.storage_low = on_storage_low,
	.app_message = on_app_message,
};

/* --- clients ------------------------------------------------------------------------- */

static void unref(struct client *c)
{
	if (--c->refs > 0)
		return;
	buf_fini(&c->in);
	buf_fini(&c->out);
	free(c);
}

static void on_client_closed(uv_handle_t *h)
{
	unref(container_of((uv_tcp_t *)h, struct client, tcp));
}

static void close_client(struct client *c)
{
	if (c->closed)
		return;
	c->closed = true;
	uv_close((uv_handle_t *)&c->tcp, on_client_closed);
}

static void answer(struct client *c, uint64_t id, int rc)
{
	uint8_t bytes[16];

	le_put64(bytes, id);
	le_put64(bytes + 8, (uint64_t)(int64_t)rc);
	if (!c->closed)
		buf_put(&c->out, bytes, sizeof(bytes));
	if (!c->dirty) {
		c->dirty = true;
		c->refs++;
		array_grow(m.dirty, m.n_dirty, m.cap_dirty);
		m.dirty[m.n_dirty++] = c;
	}
}

struct write {
	uv_write_t req;
	uint8_t *data;
};

static void on_written(uv_write_t *req, int status)
{
	struct write *w = container_of(req, struct write, req);

	(void)status;
	free(w->data);
	free(w);
}

static void flush_clients(void)
{
	for (size_t i = 0; i < m.n_dirty; i++) {
		struct client *c = m.dirty[i];

		c->dirty = false;
		if (!c->closed && c->out.len > 0) {
			struct write *w = xmalloc(sizeof(*w));
			size_t n;
			uv_buf_t buf;

			w->data = buf_steal(&c->out, &n);
			buf = uv_buf_init((char *)w->data, (unsigned)n);
			uv_write(&w->req, (uv_stream_t *)&c->tcp, &buf, 1, on_written);
		}
		unref(c);
	}
	m.n_dirty = 0;
}

static void finish(struct batch *b, int rc)
{
	for (size_t i = 0; i < b->n; i++) {
		answer(b->list[i].client, b->list[i].id, rc);
		unref(b->list[i].client);
	}
	buf_fini(&b->data);
	free(b->list);
	free(b);
}

static void on_proposed(void *ctx, int rc)
{
	m.in_flight--;
	finish(ctx, rc);
}

static void flush_batch(void)
{
	struct batch *b = m.batch;
	uint8_t *data;
	size_t n;
	int rc;

	if (b == NULL || m.in_flight >= IN_FLIGHT_MAX)
		return;
	m.batch = NULL;
	data = buf_steal(&b->data, &n);
	rc = consensus_propose(m.consensus, data, n, on_proposed, b);
	if (rc < 0)
		finish(b, rc);
	else
		m.in_flight++;
}

static void add_write(struct client *c, uint64_t id, struct bytes value)
{
	uint8_t length[4];

	if (m.batch == NULL)
		m.batch = xcalloc(1, sizeof(*m.batch));
	le_put32(length, (uint32_t)value.len);
	buf_put(&m.batch->data, length, sizeof(length));
	buf_put(&m.batch->data, value.data, value.len);
	array_grow(m.batch->list, m.batch->n, m.batch->cap);
	m.batch->list[m.batch->n++] = (struct waiting){ c, id };
	c->refs++;
	if (m.batch->data.len >= BATCH_BYTES_MAX)
		flush_batch();
}

/* Leading, with all members as voters who are connected. */
static bool complete(void)
{
	struct consensus_member members[8];
	size_t n = consensus_members(m.consensus, members, array_size(members)), good = 0;

	for (size_t i = 0; i < n && i < array_size(members); i++)
		good += members[i].role == CONSENSUS_VOTER && members[i].connected;
	return good == LOG_MEMBERS && consensus_leading(m.consensus);
}

static void on_alloc(uv_handle_t *h, size_t n, uv_buf_t *ret_buf)
{
	struct client *c = container_of((uv_tcp_t *)h, struct client, tcp);

	(void)n;
	*ret_buf = uv_buf_init((char *)buf_reserve(&c->in, READ_BYTES), READ_BYTES);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct client *c = container_of((uv_tcp_t *)s, struct client, tcp);
	size_t at = 0;

	(void)buf;
	if (n < 0) {
		close_client(c);
		return;
	}
	c->in.len += (size_t)n;
	while (c->in.len - at >= 12) {
		size_t size = le_get32(c->in.data + at);

		if (size < 12 || size > BATCH_BYTES_MAX) {
			close_client(c);
			return;
		}
		if (c->in.len - at < size)
			break;
		if (le_get64(c->in.data + at + 4) == LOG_MEMBER_STATUS)
			answer(c, LOG_MEMBER_STATUS, complete() ? 0 : -EAGAIN);
		else
			add_write(c, le_get64(c->in.data + at + 4),
				  bytes_of(c->in.data + at + 12, size - 12));
		at += size;
	}
	buf_consume(&c->in, at);
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct client *c = xcalloc(1, sizeof(*c));

	c->refs = 1;
	uv_tcp_init(&m.loop, &c->tcp);
	if (status < 0 || uv_accept(listener, (uv_stream_t *)&c->tcp) < 0) {
		close_client(c);
		return;
	}
	uv_tcp_nodelay(&c->tcp, 1);
	uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

/* --- growing to three ------------------------------------------------------------------ */

static void on_step(void *ctx, int rc)
{
	(void)ctx;
	(void)rc; /* What is still missing is asked for again. */
	m.step_under_way = false;
}

/* The role of member id: enum consensus_member_role, or -1. */
static int role_of(uint64_t id)
{
	struct consensus_member members[8];
	size_t n = consensus_members(m.consensus, members, array_size(members));

	for (size_t i = 0; i < n && i < array_size(members); i++)
		if (members[i].id == id)
			return (int)members[i].role;
	return -1;
}

static uint64_t next_to_grow(void)
{
	for (uint64_t id = 1; id <= LOG_MEMBERS; id++)
		if (role_of(id) != CONSENSUS_VOTER)
			return id;
	return 0;
}

/* Whoever leads adds the others: each is added, made standby, made voter. */
static void grow(void)
{
	uint64_t id = next_to_grow();
	int role = role_of(id), rc;

	if (id == 0 || m.step_under_way || !consensus_leading(m.consensus))
		return;
	m.step_under_way = true;
	if (role < 0)
		rc = consensus_member_add(m.consensus, id, m.config->addresses[id - 1], on_step, NULL);
	else
		rc = consensus_member_assign(m.consensus, id,
					     role == CONSENSUS_SPARE ? CONSENSUS_STANDBY : CONSENSUS_VOTER,
					     on_step, NULL);
	if (rc < 0)
		on_step(NULL, rc);
}

static void turn(void)
{
	grow();
	flush_batch();
	flush_clients();
}

static void on_prepare(uv_prepare_t *p)
{
	(void)p;
	turn();
}

static void on_check(uv_check_t *p)
{
	(void)p;
	turn();
}

static void die(const char *what)
{
	fprintf(stderr, "member: %s\n", what);
	exit(2);
}

_Noreturn void log_member_run(const struct log_member *config)
{
	struct sockaddr_in at;
	struct status st = { 0 };
	struct consensus_config c = {
		.id = config->id,
		.dir = config->dir,
		.address = config->address,
		.listen = config->address,
		.tls = { bytes_str(config->ca), bytes_str(config->cert), bytes_str(config->key) },
		.loop = &m.loop,
		.callbacks = &callbacks,
	};

	log_init("member", LOG_ERROR);
	m.config = config;
	uv_loop_init(&m.loop);
	if (config->id == 1 && !consensus_exists(config->dir) &&
	    consensus_bootstrap(config->dir, 1, config->address, 0, &st) < 0)
		die(st.message);
	/* Ours come before the log's, so that a turn's batch still leaves in that turn. */
	uv_prepare_init(&m.loop, &m.prepare);
	uv_check_init(&m.loop, &m.check);
	uv_prepare_start(&m.prepare, on_prepare);
	uv_check_start(&m.check, on_check);
	if (consensus_open(&c, &m.consensus, &st) < 0)
		die(st.message);
	/* Handles of one kind run last started first. */
	uv_prepare_stop(&m.prepare);
	uv_prepare_start(&m.prepare, on_prepare);
	uv_check_stop(&m.check);
	uv_check_start(&m.check, on_check);
	uv_tcp_init(&m.loop, &m.listener);
	uv_ip4_addr("127.0.0.1", config->client_port, &at);
	if (uv_tcp_bind(&m.listener, (struct sockaddr *)&at, 0) < 0 ||
	    uv_listen((uv_stream_t *)&m.listener, 128, on_connection) < 0)
		die("cannot listen for clients");
	uv_run(&m.loop, UV_RUN_DEFAULT);
	exit(0);
}
