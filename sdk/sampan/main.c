/* sampan: the life of the cluster itself. Workloads are kubectl's. */
#include <stdio.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "sdk/sampan/command.h"

static const struct {
	const char *name;
	command_fn *run;
	const char *help;
} commands[] = {
	{ "init", command_init, "make a new cluster: its keys and its first master" },
	{ "join", command_join, "make this machine a node or a master of a cluster" },
	{ "token", command_token, "create a token that lets a machine join" },
	{ "member", command_member, "list or remove masters" },
	{ "status", command_status, "how the master that answers is doing" },
	{ "dev", command_dev, "a whole cluster on this machine: up, down, ls" },
};

static void usage(FILE *to)
{
	fputs("usage: sampan COMMAND [OPTIONS]\n\n", to);
	for (size_t i = 0; i < array_size(commands); i++)
		fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].help);
	fputs("\nsampan COMMAND --help tells the options of a command.\n", to);
}

int main(int argc, char **argv)
{
	log_init("sampan", LOG_WARN);
	if (argc < 2) {
		usage(stderr);
		return 2;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		usage(stdout);
		return 0;
	}
	if (strcmp(argv[1], "--version") == 0) {
		puts("sampan " SAMPAN_VERSION);
		return 0;
	}
	for (size_t i = 0; i < array_size(commands); i++)
		if (strcmp(commands[i].name, argv[1]) == 0)
			return commands[i].run(argc - 2, argv + 2);
	fprintf(stderr, "sampan: there is no command \"%s\"\n", argv[1]);
	usage(stderr);
	return 2;
}
