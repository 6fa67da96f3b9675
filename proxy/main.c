/* sampan-proxy: command line, then proxy_run(). */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>

#include "common/base/cleanup.h"
#include "proxy/proxy.h"

static const char help[] =
	"Usage: sampan-proxy --config FILE [--snapshot FILE [--dump]]\n"
	"\n"
	"The network of a node: Services as nftables map elements, routes to the pods of other\n"
	"nodes, and DNS. It learns from the masters and goes on without them; rules and routes\n"
	"stay when it ends. FILE is written by `sampan join`.\n"
	"\n"
	"  --config FILE    the node's proxy.conf\n"
	"  --snapshot FILE  learn from this Kubernetes List (JSON) instead of masters\n"
	"  --dump           print what would be done for the snapshot, and end\n"
	"  --help           this text\n"
	"  --version        the version\n"
	"\n"
	"SIGUSR1 writes what the proxy believes to the file beliefs in its directory; SIGHUP reads\n"
	"the snapshot again. Log lines go to standard error. Exit codes: 1 cannot start, 2 wrong usage.\n";

struct arguments {
	const char *config, *snapshot;
	bool dump;
};

static int usage(const char *why)
{
	fprintf(stderr, "sampan-proxy: %s; see sampan-proxy --help\n", why);
	return 2;
}

/* -1: carry on; else the exit status. */
static int read_arguments(int argc, char **argv, struct arguments *a)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "snapshot", required_argument, NULL, 's' },
		{ "dump", no_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			a->config = optarg;
			break;
		case 's':
			a->snapshot = optarg;
			break;
		case 'd':
			a->dump = true;
			break;
		case 'h':
			fputs(help, stdout);
			return 0;
		case 'v':
			puts("sampan-proxy " SAMPAN_VERSION);
			return 0;
		default:
			return usage("unknown option");
		}
	}
	if (optind < argc)
		return usage("too many arguments");
	if (a->config == NULL)
		return usage("--config is missing");
	if (a->dump && a->snapshot == NULL)
		return usage("--dump needs --snapshot");
	return -1;
}

static int dump(const struct proxy_config *config, const char *snapshot, struct status *st)
{
	auto_with(buf_fini) struct buf text = { 0 };
	int rc = proxy_dump_snapshot(config, snapshot, &text, st);

	if (rc == 0)
		fputs(buf_cstr(&text), stdout);
	return rc;
}

int main(int argc, char **argv)
{
	struct arguments arguments = { 0 };
	auto_with(status_fini) struct status st = { 0 };
	struct proxy_config config;
	int rc = read_arguments(argc, argv, &arguments);

	if (rc >= 0)
		return rc;
	log_init("proxy", LOG_INFO);
	trace_print_on_crash();
	signal(SIGPIPE, SIG_IGN);
	rc = proxy_config_read(&config, arguments.config, arguments.snapshot == NULL, &st);
	if (rc == 0) {
		struct proxy_options options = { &config, arguments.snapshot, argv };

		log_init("proxy", config.log_level);
		rc = arguments.dump ? dump(&config, arguments.snapshot, &st)
				    : proxy_run(&options, &st);
		proxy_config_fini(&config);
	}
	if (rc < 0)
		log_error("cannot start", "error=%s", log_quote(st.message));
	return rc < 0;
}
