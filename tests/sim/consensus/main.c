/* sim-consensus: seeds of trouble, or scripted scenarios (scenarios.c).
 *
 *   sim-consensus --from 1 --to 500 --nodes 5 --membership --io-faults
 *   sim-consensus --from 1 --to 500 --without R6
 *   sim-consensus --from 1 --to 100 --without-sync entries
 *   sim-consensus --seed 17 --verbose
 *   sim-consensus --scenarios
 *
 * Every seed runs in a child of its own, so a crash is one seed's result. Exit code
 * 0: clean, 1: violations (with --expect-violation the other way round), 2: usage. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/log.h"
#include "tests/sim/consensus/scenarios.h"
#include "tests/sim/consensus/world.h"

#define SEED_SECONDS_MAX 120

struct result {
	uint64_t acked, reads, crashes, changes, snapshots;
	char violation[VIOLATION_SIZE];
};

struct totals {
	uint64_t seeds, violations, crashes;
	struct result sum;
};

static void run_seed(const struct world_options *options, struct result *ret_r)
{
	static struct world w;

	world_init(&w, options);
	chaos_run(&w);
	*ret_r = (struct result){ w.n_acked, w.n_reads, w.n_crashes, w.n_changes, w.n_snapshots,
				  "" };
	memcpy(ret_r->violation, w.violation, sizeof(w.violation));
}

/* In a child; returns the signal that ended it, or 0. */
static int run_in_child(const struct world_options *options, struct result *ret_r)
{
	int fds[2], status;
	pid_t pid;
	ssize_t n;

	memset(ret_r, 0, sizeof(*ret_r));
	fflush(stdout);
	if (pipe(fds) < 0)
		exit(2);
	pid = fork();
	if (pid < 0)
		exit(2);
	if (pid == 0) {
		struct result r;

		close(fds[0]);
		alarm(SEED_SECONDS_MAX);
		run_seed(options, &r);
		fflush(stdout);
		n = write(fds[1], &r, sizeof(r));
		_exit(n == sizeof(r) ? 0 : 1);
	}
	close(fds[1]);
	n = read(fds[0], ret_r, sizeof(*ret_r));
	close(fds[0]);
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status))
		return WTERMSIG(status);
	return n == sizeof(*ret_r) ? 0 : -1;
}

static void add(struct totals *t, uint64_t seed, int signal_number, const struct result *r)
{
	t->seeds++;
	t->sum.acked += r->acked;
	t->sum.reads += r->reads;
	t->sum.crashes += r->crashes;
	t->sum.changes += r->changes;
	t->sum.snapshots += r->snapshots;
	if (signal_number != 0) {
		t->crashes++;
		printf("seed %" PRIu64 " CRASH: %s\n", seed,
		       signal_number > 0 ? strsignal(signal_number) : "no result");
	} else if (r->violation[0] != '\0') {
		t->violations++;
		printf("seed %" PRIu64 " VIOLATION: %s\n", seed, r->violation);
	}
}

static int parse_sync(const char *text, int *ret_sync)
{
	for (int i = 0; i < WAL_SYNC_COUNT; i++)
		if (strcmp(text, wal_sync_name((enum wal_sync)i)) == 0) {
			*ret_sync = i;
			return 0;
		}
	return -EINVAL;
}

static int usage(void)
{
	fprintf(stderr,
		"usage: sim-consensus [--from N] [--to N] [--seed N] [--nodes N] [--membership]\n"
		"  [--io-faults] [--harsh] [--no-snapshots] [--duration MS] [--without R1[,R2...]]\n"
		"  [--without-sync NAME] [--expect-violation] [--verbose]\n"
		"       sim-consensus --scenarios[=NAME]\n"
		"sync names:");
	for (int i = 0; i < WAL_SYNC_COUNT; i++)
		fprintf(stderr, " %s", wal_sync_name((enum wal_sync)i));
	fputc('\n', stderr);
	return 2;
}

enum { OPT_EXPECT = 256 };

static const struct option long_options[] = {
	{ "from", required_argument, NULL, 'f' },
	{ "to", required_argument, NULL, 't' },
	{ "seed", required_argument, NULL, 's' },
	{ "nodes", required_argument, NULL, 'n' },
	{ "membership", no_argument, NULL, 'm' },
	{ "io-faults", no_argument, NULL, 'i' },
	{ "harsh", no_argument, NULL, 'h' },
	{ "no-snapshots", no_argument, NULL, 'S' },
	{ "duration", required_argument, NULL, 'd' },
	{ "without", required_argument, NULL, 'w' },
	{ "without-sync", required_argument, NULL, 'W' },
	{ "expect-violation", no_argument, NULL, OPT_EXPECT },
	{ "scenarios", optional_argument, NULL, 'x' },
	{ "verbose", no_argument, NULL, 'v' },
	{ NULL, 0, NULL, 0 },
};

int main(int argc, char **argv)
{
	struct world_options options = { .nodes = 3, .snapshots = true, .chaos_ms = 60000,
					 .left_out_sync = -1 };
	struct totals totals = { 0 };
	uint64_t from = 1, to = 100;
	bool expect = false;
	struct rusage used;
	double seconds;
	int c, rc = 0;

	log_init("sim", LOG_ERROR);
	/* A child's memory is never given back before it ends. */
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	mallopt(M_TRIM_THRESHOLD, 512 << 20);
	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (c) {
		case 'f':
			from = strtoull(optarg, NULL, 10);
			break;
		case 't':
			to = strtoull(optarg, NULL, 10);
			break;
		case 's':
			from = to = strtoull(optarg, NULL, 10);
			break;
		case 'n':
			options.nodes = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'm':
			options.membership = true;
			break;
		case 'i':
			options.io_faults = true;
			break;
		case 'h':
			options.harsh = true;
			break;
		case 'S':
			options.snapshots = false;
			break;
		case 'd':
			options.chaos_ms = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'w':
			rc = parse_rules(optarg, &options.guard_off);
			break;
		case 'W':
			rc = parse_sync(optarg, &options.left_out_sync);
			break;
		case OPT_EXPECT:
			expect = true;
			break;
		case 'x':
			return scenarios_main(optarg, options.verbose > 0);
		case 'v':
			options.verbose = 1;
			break;
		default:
			rc = -EINVAL;
		}
		if (rc < 0)
			return usage();
	}
	if (options.nodes < 1 || options.nodes > NODES_MAX)
		return usage();

	for (uint64_t seed = from; seed <= to; seed++) {
		struct result r;
		int signal_number;

		options.seed = seed;
		signal_number = run_in_child(&options, &r);
		add(&totals, seed, signal_number, &r);
		if (expect && totals.violations + totals.crashes > 0)
			break;
	}
	getrusage(RUSAGE_CHILDREN, &used);
	seconds = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
		  (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
	printf("%u nodes%s%s%s: %" PRIu64 " seeds, %" PRIu64 " violations, %" PRIu64
	       " crashes; %" PRIu64 " commands acknowledged, %" PRIu64 " reads, %" PRIu64
	       " stops, %" PRIu64 " snapshots, %" PRIu64 " changes; %.1f seeds per second of CPU\n",
	       options.nodes, options.membership ? " membership" : "",
	       options.io_faults ? " io-faults" : "", options.harsh ? " harsh" : "", totals.seeds,
	       totals.violations, totals.crashes, totals.sum.acked, totals.sum.reads,
	       totals.sum.crashes, totals.sum.snapshots, totals.sum.changes,
	       (double)totals.seeds / seconds);
	rc = totals.violations + totals.crashes > 0;
	return expect ? !rc : rc;
}
