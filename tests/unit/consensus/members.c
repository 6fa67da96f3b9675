#include "tests/unit/consensus/members.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <netinet/in.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/alloc.h"

#define DEADLINE_MS 30000

static void on_apply(void *ctx, uint64_t index, struct bytes entry)
{
	struct member *m = ctx;

	assert_true(index > m->last_index);
	m->last_index = index;
	buf_put(&m->applied, entry.data, entry.len);
	buf_put_byte(&m->applied, '\n');
	m->n_applied++;
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
	struct member *m = ctx;

	(void)term;
	assert_false(m->leading);
	m->leading = true;
	m->led++;
}

static void on_lost_leadership(void *ctx)
{
	struct member *m = ctx;

	assert_true(m->leading);
	m->leading = false;
	m->lost++;
}

static void *on_snapshot_begin(void *ctx)
{
	struct member *m = ctx;
	struct buf *copy = xcalloc(1, sizeof(*copy));

	buf_put(copy, &m->n_applied, sizeof(m->n_applied));
	buf_put(copy, m->applied.data, m->applied.len);
	return copy;
}

static int on_snapshot_write(void *ctx, void *handle, consensus_write_fn write, void *write_ctx)
{
	struct buf *copy = handle;

	(void)ctx;
	for (size_t at = 0; at < copy->len; at += 1000) {
		size_t n = copy->len - at < 1000 ? copy->len - at : 1000;
		int rc = write(write_ctx, copy->data + at, n);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static void on_snapshot_end(void *ctx, void *handle)
{
	(void)ctx;
	buf_fini(handle);
	free(handle);
}

static int on_restore(void *ctx, uint64_t index, consensus_read_fn read, void *read_ctx)
{
	struct member *m = ctx;
	int64_t n;

	buf_clear(&m->applied);
	while ((n = read(read_ctx, buf_reserve(&m->applied, 700), 700)) > 0)
		m->applied.len += (size_t)n;
	if (n < 0)
		return (int)n;
	memcpy(&m->n_applied, m->applied.data, sizeof(m->n_applied));
	buf_consume(&m->applied, sizeof(m->n_applied));
	m->last_index = index;
	m->restored++;
	return 0;
}

static void on_storage_low(void *ctx, bool low)
{
	struct member *m = ctx;

	m->storage_low += low;
}

static void on_app_message(void *ctx, uint64_t from, struct bytes message)
{
	struct member *m = ctx;

	buf_printf(&m->messages, "%llu:%.*s\n", (unsigned long long)from, (int)message.len,
		   (const char *)message.data);
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

/* A run of ports nobody uses now; taken from where the kernel hands them out. */
static uint16_t free_ports(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
	close(fd);
	return ntohs(at.sin_port);
}

void cluster_init(struct cluster *c)
{
	const char *tmp = getenv("TMPDIR");

	*c = (struct cluster){ .segment_bytes = 1 << 20, .low_water_bytes = 1 };
	assert_int_equal(uv_loop_init(&c->loop), 0);
	pki_init(&c->pki);
	snprintf(c->dir, sizeof(c->dir), "%s/sampan-consensus-XXXXXX", tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(c->dir));
}

void cluster_prepare(struct cluster *c, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct member *m = &c->members[i];
		char name[CONSENSUS_NAME_SIZE];

		*m = (struct member){ .cluster = c, .id = i + 1, .closed = true };
		snprintf(m->dir, sizeof(m->dir), "%s/%u", c->dir, i + 1);
		assert_int_equal(mkdir(m->dir, 0700), 0);
		snprintf(m->address, sizeof(m->address), "127.0.0.1:%u", free_ports());
		consensus_member_name(m->id, name);
		pki_issue(&c->pki, name, 86400, &m->cert, &m->key);
	}
	assert_int_equal(consensus_bootstrap(c->members[0].dir, 1, c->members[0].address,
					     c->segment_bytes, NULL), 0);
}

void member_start(struct member *m)
{
	struct cluster *c = m->cluster;
	struct status st = { 0 };
	struct consensus_config config = {
		.id = m->id,
		.dir = m->dir,
		.address = m->address,
		.listen = m->address,
		.tls = { bytes_str(c->pki.cert_pem), bytes_str(m->cert), bytes_str(m->key) },
		.loop = &c->loop,
		.callbacks = &callbacks,
		.ctx = m,
		.segment_bytes = c->segment_bytes,
		.log_bytes = c->log_bytes,
		.low_water_bytes = c->low_water_bytes,
	};

	buf_clear(&m->applied);
	m->n_applied = 0;
	m->last_index = 0;
	m->closed = false;
	if (consensus_open(&config, &m->consensus, &st) < 0)
		fail_msg("member %llu: %s", (unsigned long long)m->id, st.message);
}

static void on_closed(void *ctx)
{
	struct member *m = ctx;

	m->closed = true;
	m->consensus = NULL;
}

static bool is_closed(struct cluster *c, void *ctx)
{
	(void)c;
	return ((struct member *)ctx)->closed;
}

void member_stop(struct member *m)
{
	if (m->consensus == NULL)
		return;
	consensus_close(m->consensus, on_closed, m);
	assert_true(cluster_until(m->cluster, is_closed, m));
}

void cluster_fini(struct cluster *c)
{
	char command[160];

	for (unsigned i = 0; i < MEMBERS_MAX; i++) {
		struct member *m = &c->members[i];

		member_stop(m);
		free(m->cert);
		free(m->key);
		buf_fini(&m->applied);
		buf_fini(&m->messages);
	}
	uv_run(&c->loop, UV_RUN_NOWAIT);
	assert_int_equal(uv_loop_close(&c->loop), 0);
	pki_fini(&c->pki);
	snprintf(command, sizeof(command), "rm -rf '%s'", c->dir);
	assert_int_equal(system(command), 0);
}

bool cluster_until(struct cluster *c, bool (*check)(struct cluster *c, void *ctx), void *ctx)
{
	uint64_t deadline = uv_hrtime() / 1000000 + DEADLINE_MS;

	while (!check(c, ctx)) {
		if (uv_hrtime() / 1000000 > deadline)
			return false;
		uv_run(&c->loop, UV_RUN_ONCE);
	}
	return true;
}

static struct member *find_leader(struct cluster *c)
{
	for (unsigned i = 0; i < MEMBERS_MAX; i++)
		if (c->members[i].consensus != NULL && consensus_leading(c->members[i].consensus))
			return &c->members[i];
	return NULL;
}

static bool has_leader(struct cluster *c, void *ctx)
{
	(void)ctx;
	return find_leader(c) != NULL;
}

struct member *cluster_leader(struct cluster *c)
{
	assert_true(cluster_until(c, has_leader, NULL));
	return find_leader(c);
}

struct outcome {
	bool done;
	int rc;
};

static void on_outcome(void *ctx, int rc)
{
	struct outcome *o = ctx;

	o->done = true;
	o->rc = rc;
}

static bool is_done(struct cluster *c, void *ctx)
{
	(void)c;
	return ((struct outcome *)ctx)->done;
}

int cluster_propose(struct cluster *c, const char *text)
{
	struct outcome o = { 0 };
	struct member *leader = cluster_leader(c);
	int rc = consensus_propose(leader->consensus, xstrdup(text), strlen(text), on_outcome, &o);

	if (rc < 0)
		return rc;
	assert_true(cluster_until(c, is_done, &o));
	return o.rc;
}

static int change(struct cluster *c, struct member *m, int step)
{
	struct outcome o = { 0 };
	struct consensus *leader = cluster_leader(c)->consensus;
	int rc = step == 0 ? consensus_member_add(leader, m->id, m->address, on_outcome, &o) :
			     consensus_member_assign(leader, m->id,
						     step == 1 ? CONSENSUS_STANDBY : CONSENSUS_VOTER,
						     on_outcome, &o);

	if (rc < 0)
		return rc;
	assert_true(cluster_until(c, is_done, &o));
	return o.rc;
}

void cluster_join(struct cluster *c, struct member *m)
{
	member_start(m);
	for (int step = 0; step < 3; step++) {
		int rc;

		/* Under a changed leader or while it catches up, one asks again. */
		do
			rc = change(c, m, step);
		while (rc == -ESHUTDOWN || rc == -EUNATCH || rc == -EBUSY || rc == -ENOTCONN);
		assert_int_equal(rc, 0);
	}
}

void cluster_start(struct cluster *c, unsigned n)
{
	cluster_prepare(c, n);
	member_start(&c->members[0]);
	for (unsigned i = 1; i < n; i++)
		cluster_join(c, &c->members[i]);
}

static bool all_applied(struct cluster *c, void *ctx)
{
	size_t n = *(size_t *)ctx;

	for (unsigned i = 0; i < MEMBERS_MAX; i++)
		if (c->members[i].consensus != NULL && c->members[i].n_applied < n)
			return false;
	return true;
}

void cluster_expect_applied(struct cluster *c, size_t n)
{
	struct member *first = NULL;

	assert_true(cluster_until(c, all_applied, &n));
	for (unsigned i = 0; i < MEMBERS_MAX; i++) {
		struct member *m = &c->members[i];

		if (m->consensus == NULL)
			continue;
		if (first == NULL)
			first = m;
		assert_int_equal(m->n_applied, n);
		assert_int_equal(m->applied.len, first->applied.len);
		assert_memory_equal(m->applied.data, first->applied.data, first->applied.len);
	}
}
