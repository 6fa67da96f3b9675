/* R8 alone, at the guard: a send that fails at once. Through our own raft_io it cannot
 * happen, so the simulator cannot show it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/alloc.h"
#include "controlplane/consensus/guard.h"

struct fixture {
	struct raft raft;
	struct guard guard;
	struct raft_fsm fsm;
	raft_io_recv_cb recv;
	struct raft_io_send *pending;
	raft_io_send_cb pending_cb;
	int pending_status;
	bool fatal;
};

static struct fixture *fixture_of(struct raft_io *io)
{
	return io->impl;
}

static int stub_init(struct raft_io *io, raft_id id, const char *address)
{
	(void)io;
	(void)id;
	(void)address;
	return 0;
}

static int stub_load(struct raft_io *io, raft_term *term, raft_id *vote, struct raft_snapshot **s,
		     raft_index *start, struct raft_entry *entries[], size_t *n)
{
	struct raft_configuration c;

	(void)io;
	*term = 5;
	*vote = 0;
	*s = NULL;
	*start = 1;
	*n = 1;
	*entries = raft_calloc(1, sizeof(**entries));
	(*entries)[0].term = 1;
	(*entries)[0].type = RAFT_CHANGE;
	raft_configuration_init(&c);
	raft_configuration_add(&c, 1, "1", RAFT_VOTER);
	raft_configuration_add(&c, 2, "2", RAFT_VOTER);
	raft_configuration_encode(&c, &(*entries)[0].buf);
	raft_configuration_close(&c);
	return 0;
}

static int stub_start(struct raft_io *io, unsigned ms, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
	(void)ms;
	(void)tick;
	fixture_of(io)->recv = recv;
	return 0;
}

static int stub_store(struct raft_io *io, unsigned long long n)
{
	(void)io;
	(void)n;
	return 0;
}

static int stub_send(struct raft_io *io, struct raft_io_send *req, const struct raft_message *m,
		     raft_io_send_cb cb)
{
	(void)io;
	(void)req;
	(void)m;
	(void)cb;
	return RAFT_NOCONNECTION;
}

static raft_time stub_time(struct raft_io *io)
{
	(void)io;
	return 1;
}

static int stub_random(struct raft_io *io, int min, int max)
{
	(void)io;
	(void)max;
	return min;
}

static void stub_close(struct raft_io *io, raft_io_close_cb cb)
{
	cb(io);
}

static void on_fatal(void *ctx, int exit_code, const char *why)
{
	struct fixture *f = ctx;

	(void)exit_code;
	(void)why;
	f->fatal = true;
}

static void on_send(void *ctx, struct raft_io_send *req, raft_io_send_cb cb, int status)
{
	struct fixture *f = ctx;

	f->pending = req;
	f->pending_cb = cb;
	f->pending_status = status;
}

static void on_changed(void *ctx)
{
	(void)ctx;
}

static void on_leading(void *ctx, raft_term term)
{
	(void)ctx;
	(void)term;
}

static const struct guard_callbacks callbacks = { on_fatal, on_send, on_changed, on_leading };

static void on_closed(struct raft *r)
{
	(void)r;
}

/* A message of an old term with an entry in it: its answer cannot be sent. */
static void answer_without_connection(struct fixture *f, uint32_t off)
{
	struct raft_io below = { .version = 2, .impl = f, .init = stub_init, .close = stub_close,
				 .load = stub_load, .start = stub_start, .set_term = stub_store,
				 .set_vote = stub_store, .send = stub_send, .time = stub_time,
				 .random = stub_random };
	struct raft_message m = { .type = RAFT_IO_APPEND_ENTRIES, .server_id = 2,
				  .server_address = "2" };

	f->fsm.version = 1;
	guard_init(&f->guard, &f->raft, &below, &callbacks, f);
	f->guard.off = off;
	assert_int_equal(raft_init(&f->raft, &f->guard.io, &f->fsm, 1, "1"), 0);
	assert_int_equal(raft_start(&f->raft), 0);
	guard_started(&f->guard);
	m.append_entries.term = 3;
	m.append_entries.n_entries = 1;
	m.append_entries.entries = raft_calloc(1, sizeof(struct raft_entry));
	m.append_entries.entries[0].term = 3;
	m.append_entries.entries[0].type = RAFT_COMMAND;
	m.append_entries.entries[0].batch = raft_calloc(1, 64);
	m.append_entries.entries[0].buf.base = m.append_entries.entries[0].batch;
	m.append_entries.entries[0].buf.len = 64;
	f->recv(&f->guard.below, &m);
}

static void a_send_never_fails_at_once(void **state)
{
	struct fixture f = { 0 };

	(void)state;
	answer_without_connection(&f, 0);
	assert_int_equal(f.raft.state, RAFT_FOLLOWER);
	assert_false(f.fatal);
	assert_int_equal(f.guard.repairs[GUARD_SEND], 1);
	assert_non_null(f.pending);
	assert_int_equal(f.pending_status, RAFT_NOCONNECTION);
	f.pending_cb(f.pending, f.pending_status);
	guard_closing(&f.guard);
	raft_close(&f.raft, on_closed);
	guard_fini(&f.guard);
}

static void without_the_rule_memory_is_freed_twice(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		static struct fixture f;
		struct rlimit no_core = { 0, 0 };

		setrlimit(RLIMIT_CORE, &no_core);
		if (freopen("/dev/null", "w", stderr) == NULL)
			_exit(3);
		answer_without_connection(&f, 1u << GUARD_SEND);
		_exit(f.raft.state == RAFT_UNAVAILABLE ? 2 : 0);
	}
	waitpid(pid, &status, 0);
	/* Killed by the allocator, or at least out of order. */
	assert_true(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_send_never_fails_at_once),
		cmocka_unit_test(without_the_rule_memory_is_freed_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
