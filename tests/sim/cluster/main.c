/* sim-cluster: the whole deciding control plane under chaos. docs/simulators.md. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/log.h"
#include "tests/sim/cluster/chaos.h"

static struct {
	uint64_t from, to;
	unsigned rounds, seconds, jobs;
	bool trace, verbose;
} options = { .from = 1, .to = 10, .rounds = 150, .jobs = 1 };

static struct figures totals;

static void test_seeds(void **state)
{
	char what[64];

	(void)state;
	for (uint64_t seed = options.from; seed <= options.to; seed++) {
		struct figures f;

		seed_run(seed, options.rounds, options.trace, &f);
		snprintf(what, sizeof(what), "seed %" PRIu64, seed);
		if (options.verbose || options.trace)
			figures_print(what, &f);
		figures_add(&totals, &f);
	}
}

static int usage(void)
{
	fprintf(stderr,
		"usage: sim-cluster [--from SEED] [--to SEED] [--rounds N] [--verbose] "
		"[--trace]\n"
		"       sim-cluster --campaign SECONDS [--jobs N] [--from SEED] [--rounds N]\n");
	return 2;
}

static bool take_number(int argc, char **argv, int *i, const char *name, uint64_t *ret)
{
	if (strcmp(argv[*i], name) != 0 || *i + 1 >= argc)
		return false;
	*ret = strtoull(argv[++*i], NULL, 10);
	return true;
}

static bool take_options(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		uint64_t n;

		if (take_number(argc, argv, &i, "--from", &options.from) ||
		    take_number(argc, argv, &i, "--to", &options.to))
			continue;
		if (take_number(argc, argv, &i, "--rounds", &n))
			options.rounds = (unsigned)n;
		else if (take_number(argc, argv, &i, "--campaign", &n))
			options.seconds = (unsigned)n;
		else if (take_number(argc, argv, &i, "--jobs", &n))
			options.jobs = (unsigned)n;
		else if (strcmp(argv[i], "--verbose") == 0)
			options.verbose = true;
		else if (strcmp(argv[i], "--trace") == 0)
			options.trace = true;
		else
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_seeds) };
	char what[64];
	clock_t begin;
	int failed;

	if (!take_options(argc, argv))
		return usage();
	log_init("sim", LOG_ERROR);
	if (options.seconds > 0)
		return campaign_run(options.from, options.seconds, options.jobs, options.rounds) >
		       0;
	begin = clock();
	failed = cmocka_run_group_tests_name("cluster under chaos", tests, NULL, NULL);
	if (failed == 0) {
		double cpu_s = (double)(clock() - begin) / CLOCKS_PER_SEC;

		snprintf(what, sizeof(what), "%" PRIu64 " seeds in %.1f s of CPU (%.1f/s)",
			 totals.seeds, cpu_s, (double)totals.seeds / (cpu_s > 0 ? cpu_s : 1));
		figures_print(what, &totals);
		return 0;
	}
	/* What a seed that failed leaves behind is no leak. */
	fflush(stdout);
	fflush(stderr);
	_exit(1);
}
