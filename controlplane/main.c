/* sampan-master: command line, then master_run(). */
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "common/base/log.h"
#include "controlplane/master.h"

static const char help[] =
	"Usage: sampan-master --config FILE\n"
	"\n"
	"A master of a Sampan cluster: it keeps the replicated state, serves the Kubernetes\n"
	"API over HTTPS and, while it leads, runs controllers, scheduler and node sessions.\n"
	"FILE is written by `sampan init` (first master) or `sampan join` (further ones).\n"
	"\n"
	"  --config FILE  the master's master.conf\n"
	"  --help         this text\n"
	"  --version      the version\n"
	"\n"
	"SIGTERM hands leadership over, ends open requests and exits with 0. Log lines go to\n"
	"standard error. Exit codes: 1 cannot start, 2 wrong usage, 70 broken promise inside\n"
	"(restart), 71 the disk failed or is full (restart when it is well), 72 the log is\n"
	"damaged (remove the member, wipe its directory, join anew).\n";

static int usage(const char *why)
{
	fprintf(stderr, "sampan-master: %s; see sampan-master --help\n", why);
	return 2;
}

/* Thousands of watches are thousands of descriptors. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int run(const char *path)
{
	struct master_config config;
	struct status st = { 0 };
	int rc = master_config_read(&config, path, &st);

	if (rc == 0) {
		log_init("master", config.log_level);
		rc = master_run(&config, &st);
		master_config_fini(&config);
	}
	if (rc < 0)
		log_error("cannot start", "error=%s", log_quote(st.message));
	status_fini(&st);
	return rc < 0 ? (rc == -EUCLEAN ? 72 : 1) : 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ 0 },
	};
	const char *path = NULL;
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			path = optarg;
			break;
		case 'h':
			fputs(help, stdout);
			return 0;
		case 'v':
			puts("sampan-master " SAMPAN_VERSION);
			return 0;
		default:
			return usage("unknown option or missing value");
		}
	}
	if (optind < argc)
		return usage("it takes options only");
	if (path == NULL)
		return usage("--config FILE is missing");

	/* Every thread with an arena of its own would double what an idle master holds. */
	mallopt(M_ARENA_MAX, 2);
	signal(SIGPIPE, SIG_IGN);
	raise_file_limit();
	log_init("master", LOG_INFO);
	trace_print_on_crash();
	return run(path);
}
