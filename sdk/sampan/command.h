/* The operator's commands: one function per command, and how they read options. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/status.h"

/* Runs with the words behind its name; returns the exit code. */
typedef int command_fn(int argc, char **argv);

command_fn command_init, command_join, command_token, command_member, command_status, command_dev;

/* One option "--name VALUE" (or a flag without a value, flag not NULL). */
struct option_spec {
	const char *name;
	const char **value; /* Keeps its default when the option is not given. */
	bool *flag;
	const char *help; /* For --help: "VALUE  what it is"; a flag: "what it does". */
};

/* Read all options; words that are none go to ret_words (argv's order), of which there must be
 * exactly n_words. Prints usage and exits 0 for --help, complains and exits 2 otherwise. */
void options_read(const char *usage, const struct option_spec *specs, size_t n_specs, int argc,
		  char **argv, const char **ret_words, size_t n_words);
/* A whole number, or a complaint and exit 2. */
long option_number(const char *name, const char *text, long min, long max);
/* "sampan: <message>" on standard error; returns 1. Frees what st holds. */
int command_fail(struct status *st);
/* The kubeconfig to use: the option's, else $KUBECONFIG, else ~/.kube/config, in the arena of the
 * process (never freed). */
const char *kubeconfig_path(const char *option);
