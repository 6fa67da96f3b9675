#include "tests/sim/consensus/world.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "controlplane/consensus/term_file.h"
#include "controlplane/consensus/wal_record.h"

#define MS 1000000ull
#define SEGMENT_BYTES ((uint64_t)32 << 10)
#define FRAME_BOUND ((size_t)8 << 10)

enum event_kind { EVENT_DISK, EVENT_DISK_DONE, EVENT_WORK, EVENT_FRAME, EVENT_LOST, EVENT_TURN };

struct event {
	uint64_t at_ns, sequence;
	enum event_kind kind;
	unsigned node, incarnation, from;
	struct wal_op *ops;
	struct replica_work *work;
	uint8_t *frame;
	size_t n_frame;
};

/* --- events -------------------------------------------------------------------------- */

static bool before(const struct event *a, const struct event *b)
{
	return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->sequence < b->sequence);
}

static void schedule(struct world *w, struct event event)
{
	struct event *e = xmemdup(&event, sizeof(event));
	size_t i;

	e->sequence = ++w->sequence;
	array_grow(w->heap, w->n_heap, w->cap_heap);
	for (i = w->n_heap++; i > 0 && before(e, w->heap[(i - 1) / 2]); i = (i - 1) / 2)
		w->heap[i] = w->heap[(i - 1) / 2];
	w->heap[i] = e;
}

static struct event *next_event(struct world *w)
{
	struct event *first = w->heap[0], *last = w->heap[--w->n_heap];
	size_t i = 0;

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= w->n_heap)
			break;
		if (child + 1 < w->n_heap && before(w->heap[child + 1], w->heap[child]))
			child++;
		if (!before(w->heap[child], last))
			break;
		w->heap[i] = w->heap[child];
		i = child;
	}
	w->heap[i] = last;
	return first;
}

uint64_t world_ms(const struct world *w)
{
	return w->source.now_ns / MS;
}

unsigned world_random(struct world *w, unsigned below)
{
	return below == 0 ? 0 : (unsigned)source_random_below(&w->source.base, below);
}

bool world_chance(struct world *w, unsigned one_in)
{
	return world_random(w, one_in) == 0;
}

void world_violate(struct world *w, const char *fmt, ...)
{
	va_list args;
	int n;

	if (w->violation[0] != '\0')
		return;
	n = snprintf(w->violation, sizeof(w->violation), "t=%" PRIu64 " ", world_ms(w));
	va_start(args, fmt);
	vsnprintf(w->violation + n, sizeof(w->violation) - (size_t)n, fmt, args);
	va_end(args);
}

void world_log(struct world *w, const char *fmt, ...)
{
	va_list args;

	if (w->options.verbose == 0)
		return;
	printf("# %8" PRIu64 " ", world_ms(w));
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
}

static void after_step(struct node *n);

/* --- the host of a replica ----------------------------------------------------------- */

static struct node *node_of(struct replica_host *h)
{
	return container_of(h, struct node, host);
}

bool node_runs(const struct node *n)
{
	return n->replica != NULL && !n->dying;
}

static uint64_t disk_latency_ns(struct node *n)
{
	struct world *w = n->world;
	uint64_t ns;

	if (w->disk_ns_of[n->number] != 0)
		return w->disk_ns_of[n->number];
	if (w->disk_ns != 0)
		return w->disk_ns;
	ns = (uint64_t)(world_chance(w, 20) ? world_random(w, 400) : 1 + world_random(w, 12)) * MS;
	if (n->slow_until_ns > w->source.now_ns)
		ns += (uint64_t)world_random(w, 1500) * MS;
	return ns;
}

static void start_disk(struct node *n)
{
	struct world *w = n->world;

	if (n->disk_busy || n->waiting == NULL)
		return;
	n->disk_busy = true;
	schedule(w, (struct event){ .kind = EVENT_DISK,
				    .at_ns = w->source.now_ns + MS / 10,
				    .node = n->number,
				    .incarnation = n->incarnation });
}

static void host_log_open(struct replica_host *h, struct wal *wal)
{
	node_of(h)->wal = wal;
}

static void host_disk(struct replica_host *h, struct wal_op *op)
{
	struct node *n = node_of(h);

	op->next = NULL;
	*n->waiting_end = op;
	n->waiting_end = &op->next;
	start_disk(n);
}

static void host_work(struct replica_host *h, struct replica_work *work)
{
	struct node *n = node_of(h);
	struct world *w = n->world;

	schedule(w, (struct event){ .kind = EVENT_WORK,
				    .at_ns = w->source.now_ns + (1 + world_random(w, 30)) * MS,
				    .node = n->number,
				    .incarnation = n->incarnation,
				    .work = work });
}

static bool link_works(const struct world *w, unsigned from, unsigned to)
{
	return to < w->options.nodes && w->nodes[to].replica != NULL && w->up[from][to];
}

static struct buf *host_outbox(struct replica_host *h, uint64_t id, const char *address)
{
	struct node *n = node_of(h);
	unsigned to = (unsigned)id - 1;

	(void)address;
	if (to >= n->world->options.nodes || n->dying)
		return NULL;
	/* A broken connection is noticed, or is not. */
	if (!link_works(n->world, n->number, to) && world_chance(n->world, 2))
		return NULL;
	buf_clear(&n->out[to]);
	return &n->out[to];
}

/* Chunks of snapshots and the owner's messages rely on one connection's order. */
static bool wants_order(const struct world *w, uint8_t type)
{
	return w->fifo || type == FRAME_INSTALL || type == FRAME_CHUNK || type == FRAME_CHUNK_ACK;
}

static void send_copy(struct node *n, unsigned to)
{
	struct world *w = n->world;
	uint64_t at_ns = w->source.now_ns + MS / 5 +
			 (uint64_t)world_random(w, w->latency_ms * 10 + 1) * (MS / 10);
	uint64_t *last_ns = &w->last_delivery_ns[n->number][to];

	if (wants_order(w, n->out[to].data[4])) {
		if (at_ns <= *last_ns)
			at_ns = *last_ns + 1;
		*last_ns = at_ns;
	}
	schedule(w, (struct event){ .kind = EVENT_FRAME,
				    .at_ns = at_ns,
				    .node = to,
				    .from = n->number,
				    .frame = xmemdup(n->out[to].data, n->out[to].len),
				    .n_frame = n->out[to].len });
}

static void host_posted(struct replica_host *h, uint64_t id)
{
	struct node *n = node_of(h);
	struct world *w = n->world;
	unsigned to = (unsigned)id - 1;
	struct buf *out = &n->out[to];
	struct frame f;

	if (frame_size(out->data, out->len) != (int64_t)out->len ||
	    frame_decode(out->data, out->len, &f) < 0) {
		world_violate(w, "node %u sent a frame that cannot be decoded", n->number);
		return;
	}
	if (out->len > w->frame_max)
		w->frame_max = out->len;
	if (f.type == FRAME_APPEND && f.append.n > 1 && out->len > FRAME_BOUND)
		world_violate(w, "node %u sent a message of %zu bytes", n->number, out->len);
	if (w->filter != NULL && w->filter(w, n->number, to, &f))
		return;
	if (!link_works(w, n->number, to) || world_random(w, 100) < w->drop_percent)
		return;
	send_copy(n, to);
	if (world_random(w, 100) < w->repeat_percent && !wants_order(w, (uint8_t)f.type))
		send_copy(n, to);
}

static bool host_connected(struct replica_host *h, uint64_t id)
{
	struct node *n = node_of(h);

	return link_works(n->world, n->number, (unsigned)id - 1);
}

static void host_nothing(struct replica_host *h)
{
	(void)h;
}

static void host_wake(struct replica_host *h)
{
	struct node *n = node_of(h);
	struct world *w = n->world;

	schedule(w, (struct event){ .kind = EVENT_TURN,
				    .at_ns = w->source.now_ns,
				    .node = n->number,
				    .incarnation = n->incarnation });
}

static void host_fatal(struct replica_host *h, int exit_code, const char *why)
{
	struct node *n = node_of(h);

	world_log(n->world, "node %u exits with %d: %s", n->number, exit_code, why);
	n->dying = true;
	/* A disk that lies is one thing, a broken promise of the core another. */
	if (exit_code != CONSENSUS_EXIT_STORAGE && !sim_fs_is_dead(n->fs))
		world_violate(n->world, "node %u exits with %d: %s", n->number, exit_code, why);
	if (n->world->exit_jump_set)
		longjmp(n->world->exit_jump, 1);
}

/* Let node n do something; what it holds is lost when it must end in the middle of it. */
static void run_node(struct node *n, void (*what)(struct node *n, void *arg), void *arg)
{
	struct world *w = n->world;

	w->running = n;
	if (setjmp(w->exit_jump) == 0) {
		w->exit_jump_set = true;
		what(n, arg);
	}
	w->exit_jump_set = false;
	after_step(w->running);
}

/* --- the state machine --------------------------------------------------------------- */

static void on_apply(void *ctx, uint64_t index, struct bytes entry)
{
	oracle_applied(ctx, index, entry);
}

static void on_leader_changed(void *ctx, enum consensus_role role, uint64_t term, uint64_t leader)
{
	struct node *n = ctx;

	world_log(n->world, "node %u role %d term %" PRIu64 " leader %" PRIu64, n->number, role, term,
		  leader);
}

static void on_leading(void *ctx, uint64_t term)
{
	struct node *n = ctx;

	world_log(n->world, "node %u leads term %" PRIu64, n->number, term);
	n->leading = true;
}

static void on_lost_leadership(void *ctx)
{
	struct node *n = ctx;

	n->leading = false;
}

struct state_copy {
	size_t n;
	uint64_t commands[];
};

static void *on_snapshot_begin(void *ctx)
{
	struct node *n = ctx;
	struct state_copy *copy;

	if (world_chance(n->world, 10))
		return NULL;
	copy = xmalloc(sizeof(*copy) + n->n_applied * sizeof(uint64_t));
	copy->n = n->n_applied;
	if (copy->n > 0)
		memcpy(copy->commands, n->applied, copy->n * sizeof(uint64_t));
	n->world->n_snapshots++;
	return copy;
}

static int on_snapshot_write(void *ctx, void *handle, consensus_write_fn write, void *write_ctx)
{
	struct state_copy *copy = handle;

	(void)ctx;
	return write(write_ctx, copy->commands, copy->n * sizeof(uint64_t));
}

static void on_snapshot_end(void *ctx, void *handle)
{
	(void)ctx;
	free(handle);
}

static int on_restore(void *ctx, uint64_t index, consensus_read_fn read, void *read_ctx)
{
	struct node *n = ctx;
	struct buf all = { 0 };
	int64_t got;

	(void)index;
	while ((got = read(read_ctx, buf_reserve(&all, 4096), 4096)) > 0)
		all.len += (size_t)got;
	if (got == 0) {
		n->n_applied = n->cap_applied = all.len / sizeof(uint64_t);
		n->applied = xreallocarray(n->applied, n->n_applied + 1, sizeof(uint64_t));
		if (all.len > 0)
			memcpy(n->applied, all.data, all.len);
		oracle_restored(n);
	}
	buf_fini(&all);
	return (int)got;
}

static void on_storage_low(void *ctx, bool low)
{
	struct node *n = ctx;

	world_log(n->world, "node %u storage low: %d", n->number, low);
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

/* --- nodes --------------------------------------------------------------------------- */

static void address_of(unsigned number, char ret_address[16])
{
	snprintf(ret_address, 16, "node:%u", number + 1);
}

static void bootstrap_node(struct node *n)
{
	struct world *w = n->world;
	struct wal_fs *fs = sim_fs_table(n->fs);
	struct raft_configuration c;
	struct raft_buffer encoded;
	struct wal_loaded loaded = { 0 };
	struct wal_entry entry = { .term = 1, .type = WAL_CHANGE };
	struct wal_op op = { .kind = WAL_OP_APPEND, .index = 1, .entries = &entry,
			     .n_entries = 1 };
	struct term_file t;
	struct wal *wal;

	raft_configuration_init(&c);
	for (unsigned i = 0; i < w->options.nodes; i++) {
		char address[16];

		address_of(i, address);
		raft_configuration_add(&c, i + 1, address, RAFT_VOTER);
	}
	raft_configuration_encode(&c, &encoded);
	raft_configuration_close(&c);
	entry.data = encoded.base;
	entry.length = encoded.len;
	if (wal_open(fs, SEGMENT_BYTES, &wal, &loaded, NULL) < 0 || wal_run(wal, &op) < 0 ||
	    term_file_create(&t, fs, n->number + 1, 1, NULL) < 0)
		abort();
	term_file_close(&t);
	wal_close(wal);
	wal_loaded_fini(&loaded);
	raft_free(encoded.base);
}

void world_bootstrap(struct world *w)
{
	for (unsigned i = 0; i < w->options.nodes; i++)
		bootstrap_node(&w->nodes[i]);
}

static void start(struct node *n, void *arg)
{
	struct world *w = n->world;
	char address[16];
	struct status st = { 0 };
	struct replica_config config = {
		.id = n->number + 1,
		.address = address,
		.callbacks = &callbacks,
		.ctx = n,
		.election_ms = 300,
		.heartbeat_ms = 40,
		.tick_ms = 10,
		.read_timeout_ms = 1000,
		.segment_bytes = SEGMENT_BYTES,
		.log_bytes = w->options.snapshots ? 24 << 10 : 1 << 30,
		.trailing_bytes = 6 << 10,
		.ballast_bytes = 4096,
		.low_water_bytes = 1,
		.append_bytes_max = 3000,
		.guard_off = w->options.guard_off,
		.snapshot_chunk_bytes = 2048,
	};

	(void)arg;
	address_of(n->number, address);
	n->incarnation++;
	n->dying = n->power_lost = n->leading = n->disk_busy = false;
	n->waiting = NULL;
	n->waiting_end = &n->waiting;
	n->n_applied = 0;
	n->next_tick_ns = w->source.now_ns + (1 + world_random(w, 40)) * MS;
	n->replica = NULL;

	int rc = replica_open(&config, &n->host, &n->replica, &st);

	world_log(w, "node %u starts: rc=%d %s", n->number, rc, st.message != NULL ? st.message : "");
	if (rc < 0) {
		n->replica = NULL;
		if (!n->dying && !sim_fs_is_dead(n->fs) && rc != -ENOSPC && rc != -EIO)
			world_violate(w, "node %u cannot start: %s", n->number,
				      st.message != NULL ? st.message : "?");
	} else {
		oracle_started(n);
	}
	status_fini(&st);
}

void node_start(struct node *n)
{
	run_node(n, start, NULL);
}

void node_crash(struct node *n, bool power)
{
	struct world *w = n->world;

	if (n->replica == NULL)
		return;
	world_log(w, "node %u %s", n->number, power ? "loses power" : "crashes");
	w->n_crashes++;
	w->n_power_cuts += power;
	/* Its memory goes with it; operations under way are never heard of again. */
	n->replica = NULL;
	n->leading = false;
	n->incarnation++;
	if (power)
		sim_fs_power_cut(n->fs);
	else
		sim_fs_process_died(n->fs);
	for (unsigned i = 0; i < w->options.nodes; i++)
		if (i != n->number && w->up[n->number][i] && !world_chance(w, 3))
			schedule(w, (struct event){ .kind = EVENT_LOST,
						    .at_ns = w->source.now_ns +
							     (1 + world_random(w, 5)) * MS,
						    .node = i,
						    .from = n->number });
}

static void after_step(struct node *n)
{
	if (n->replica == NULL) {
		/* It ended before it had begun. */
		if (n->dying && sim_fs_is_dead(n->fs))
			sim_fs_power_cut(n->fs);
		n->dying = false;
		return;
	}
	if (!n->dying)
		replica_turn(n->replica);
	if (n->dying || sim_fs_is_dead(n->fs))
		node_crash(n, sim_fs_is_dead(n->fs));
}

/* --- running ------------------------------------------------------------------------- */

static void run_disk(struct node *n)
{
	struct world *w = n->world;
	struct wal_op *ops = n->waiting;

	n->waiting = NULL;
	n->waiting_end = &n->waiting;
	if (n->fail_next_append > 0 && ops->kind == WAL_OP_APPEND) {
		struct wal_op *rest = ops->next;

		n->fail_next_append--;
		ops->rc = -ENOSPC;
		ops->next = NULL;
		if (rest != NULL) {
			n->waiting = rest;
			while (rest->next != NULL)
				rest = rest->next;
			n->waiting_end = &rest->next;
		}
	} else {
		wal_run(n->wal, ops);
	}
	schedule(w, (struct event){ .kind = EVENT_DISK_DONE,
				    .at_ns = w->source.now_ns + disk_latency_ns(n),
				    .node = n->number,
				    .incarnation = n->incarnation,
				    .ops = ops });
}

static void run_disk_done(struct node *n, struct wal_op *ops)
{
	n->disk_busy = false;
	while (ops != NULL && !n->dying) {
		struct wal_op *op = ops;

		ops = op->next;
		op->done(op);
	}
	start_disk(n);
}

static void run_frame(struct node *n, struct event *e)
{
	struct world *w = n->world;
	char address[16];

	if (!node_runs(n) || !w->up[e->from][n->number])
		return;
	address_of(e->from, address);
	if (replica_receive(n->replica, e->from + 1, address, bytes_of(e->frame, e->n_frame)) < 0)
		world_violate(w, "node %u did not understand node %u", n->number, e->from);
}

static void run_event(struct node *n, void *arg)
{
	struct event *e = arg;
	bool current = node_runs(n) && n->incarnation == e->incarnation;

	switch (e->kind) {
	case EVENT_DISK:
		if (current)
			run_disk(n);
		break;
	case EVENT_DISK_DONE:
		if (current)
			run_disk_done(n, e->ops);
		break;
	case EVENT_WORK:
		if (current) {
			e->work->run(e->work);
			if (!sim_fs_is_dead(n->fs))
				e->work->done(e->work);
		}
		break;
	case EVENT_FRAME:
		run_frame(n, e);
		break;
	case EVENT_LOST:
		if (node_runs(n))
			replica_lost(n->replica, e->from + 1);
		break;
	case EVENT_TURN:
		break;
	}
}

static void run_next_event(struct world *w)
{
	struct event *e = next_event(w);

	run_node(&w->nodes[e->node], run_event, e);
	free(e->frame);
	free(e);
}

static struct node *next_to_tick(struct world *w)
{
	struct node *first = NULL;

	for (unsigned i = 0; i < w->options.nodes; i++) {
		struct node *n = &w->nodes[i];

		if (n->replica != NULL && (first == NULL || n->next_tick_ns < first->next_tick_ns))
			first = n;
	}
	return first;
}

static void tick(struct node *n, void *arg)
{
	struct world *w = n->world;
	bool fine = (w->options.guard_off & 1u << GUARD_TICK) == 0;

	(void)arg;
	n->next_tick_ns = w->source.now_ns + (fine ? 10 : 40) * MS;
	replica_tick(n->replica);
}

/* One event or tick that is due by at_ns; false when there is none. */
static bool step(struct world *w, uint64_t at_ns)
{
	struct node *n = next_to_tick(w);
	uint64_t event_ns = w->n_heap > 0 ? w->heap[0]->at_ns : UINT64_MAX;
	uint64_t tick_ns = n != NULL ? n->next_tick_ns : UINT64_MAX;
	uint64_t due_ns = event_ns < tick_ns ? event_ns : tick_ns;

	if (due_ns > at_ns) {
		w->source.now_ns = at_ns;
		return false;
	}
	if (due_ns > w->source.now_ns)
		w->source.now_ns = due_ns;
	if (tick_ns <= event_ns)
		run_node(n, tick, NULL);
	else
		run_next_event(w);
	oracle_step(w);
	return true;
}

bool world_until(struct world *w, uint64_t limit_ms, bool (*until)(struct world *w, void *ctx),
		 void *ctx)
{
	uint64_t end_ns = w->source.now_ns + limit_ms * MS;

	while (w->violation[0] == '\0') {
		if (until != NULL && until(w, ctx))
			return true;
		if (!step(w, end_ns))
			return until != NULL && until(w, ctx);
	}
	return false;
}

void world_run(struct world *w, uint64_t at_ms)
{
	while (w->violation[0] == '\0' && step(w, at_ms * MS))
		;
}

struct node *world_leader(struct world *w)
{
	for (unsigned i = 0; i < w->options.nodes; i++)
		if (node_runs(&w->nodes[i]) && replica_leading(w->nodes[i].replica))
			return &w->nodes[i];
	return NULL;
}

void world_connect_all(struct world *w)
{
	for (unsigned a = 0; a < NODES_MAX; a++)
		for (unsigned b = 0; b < NODES_MAX; b++)
			w->up[a][b] = true;
}

void world_cut(struct world *w, unsigned a, unsigned b)
{
	w->up[a][b] = w->up[b][a] = false;
}

void world_join(struct world *w, unsigned a, unsigned b)
{
	w->up[a][b] = w->up[b][a] = true;
}

/* --- clients ------------------------------------------------------------------------- */

struct command {
	struct world *world;
	uint64_t number;
};

static void on_outcome(void *ctx, int rc)
{
	struct command *c = ctx;
	struct world *w = c->world;

	w->n_acked += rc == 0;
	w->n_unknown += rc != 0;
	w->acked[c->number] = rc == 0;
	free(c);
}

static void propose(struct node *n, void *arg)
{
	struct world *w = n->world;
	struct command *c;
	size_t bytes = *(size_t *)arg;
	uint64_t number = ++w->n_commands;
	uint8_t *data;

	if (number >= w->cap_acked) {
		size_t cap = w->cap_acked * 2 + 1024;

		w->acked = xreallocarray(w->acked, cap, sizeof(bool));
		memset(w->acked + w->cap_acked, 0, (cap - w->cap_acked) * sizeof(bool));
		w->cap_acked = cap;
	}
	if (bytes < sizeof(number))
		bytes = sizeof(number);
	data = xcalloc(1, bytes);
	memcpy(data, &number, sizeof(number));
	/* Half of it cannot be compressed. */
	w->source.base.random(&w->source.base, data + sizeof(number), (bytes - sizeof(number)) / 2);
	c = xmalloc(sizeof(*c));
	*c = (struct command){ w, number };
	w->proposed = number;
	if (replica_propose(n->replica, data, bytes, on_outcome, c) < 0) {
		free(c);
		w->proposed = 0;
	}
}

uint64_t node_propose(struct node *n, size_t bytes)
{
	n->world->proposed = 0;
	run_node(n, propose, &bytes);
	return n->world->proposed;
}

bool world_is_acked(const struct world *w, uint64_t command)
{
	return command < w->cap_acked && w->acked[command];
}

/* --- life ---------------------------------------------------------------------------- */

/* The source steps by a constant: neighbouring seeds must not lie on one path. */
static uint64_t mix(uint64_t x)
{
	x = (x + 1) * 0xff51afd7ed558ccdull;
	x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ull;
	return x ^ x >> 33;
}

void world_init(struct world *w, const struct world_options *options)
{
	*w = (struct world){ .options = *options, .latency_ms = 10 };
	seeded_source_init(&w->source, mix(options->seed));
	w->source.now_ns = 1000 * MS;
	world_connect_all(w);
	for (unsigned i = 0; i < options->nodes; i++) {
		struct node *n = &w->nodes[i];

		n->world = w;
		n->number = i;
		n->fs = sim_fs_new(&w->source.base);
		if (options->left_out_sync >= 0)
			sim_fs_leave_out(n->fs, (enum wal_sync)options->left_out_sync);
		n->waiting_end = &n->waiting;
		n->host = (struct replica_host){
			.source = &w->source.base,
			.fs = sim_fs_table(n->fs),
			.log_open = host_log_open,
			.disk = host_disk,
			.work = host_work,
			.outbox = host_outbox,
			.posted = host_posted,
			.connected = host_connected,
			.members_changed = host_nothing,
			.wake = host_wake,
			.fatal = host_fatal,
		};
	}
}

void world_fini(struct world *w)
{
	for (unsigned i = 0; i < w->options.nodes; i++) {
		for (unsigned k = 0; k < NODES_MAX; k++)
			buf_fini(&w->nodes[i].out[k]);
		sim_fs_free(w->nodes[i].fs);
		free(w->nodes[i].applied);
		free(w->nodes[i].stored_terms);
	}
	for (size_t i = 0; i < w->n_heap; i++) {
		free(w->heap[i]->frame);
		free(w->heap[i]);
	}
	free(w->heap);
	free(w->order);
	free(w->acked);
	free(w->leader_of_term);
}
