#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "sdk/sampan/command.h"

static void usage_print(FILE *to, const char *usage, const struct option_spec *specs, size_t n)
{
	fprintf(to, "usage: sampan %s\n", usage);
	for (size_t i = 0; i < n; i++)
		fprintf(to, "  --%s %s\n", specs[i].name, specs[i].help);
}

static _Noreturn void refuse(const char *usage, const char *word, const char *complaint)
{
	fprintf(stderr, "sampan: %s%s", word, complaint);
	fprintf(stderr, "\nusage: sampan %s (--help tells more)\n", usage);
	exit(2);
}

/* "--name", "--name=value" */
static const struct option_spec *find(const struct option_spec *specs, size_t n, const char *word,
				      const char **ret_value)
{
	size_t len = strcspn(word, "=");

	*ret_value = word[len] == '=' ? word + len + 1 : NULL;
	for (size_t i = 0; i < n; i++)
		if (strlen(specs[i].name) == len && strncmp(specs[i].name, word, len) == 0)
			return &specs[i];
	return NULL;
}

void options_read(const char *usage, const struct option_spec *specs, size_t n_specs, int argc,
		  char **argv, const char **ret_words, size_t n_words)
{
	size_t words = 0;

	for (int i = 0; i < argc; i++) {
		const char *value;

		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			usage_print(stdout, usage, specs, n_specs);
			exit(0);
		}
		if (strncmp(argv[i], "--", 2) != 0) {
			if (words == n_words)
				refuse(usage, argv[i], " is one word too many");
			ret_words[words++] = argv[i];
			continue;
		}
		const struct option_spec *spec = find(specs, n_specs, argv[i] + 2, &value);
		if (spec == NULL)
			refuse(usage, argv[i], " is no option");
		if (spec->flag != NULL) {
			*spec->flag = true;
			continue;
		}
		if (value == NULL && i + 1 == argc)
			refuse(usage, argv[i], " needs a value");
		*spec->value = value ? value : argv[++i];
	}
	if (words < n_words)
		refuse(usage, "", "a word is missing");
}

long option_number(const char *name, const char *text, long min, long max)
{
	char *end;

	errno = 0;
	long value = strtol(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || value < min || value > max) {
		fprintf(stderr, "sampan: --%s must be a number from %ld to %ld, not \"%s\"\n", name,
			min, max, text);
		exit(2);
	}
	return value;
}

int command_fail(struct status *st)
{
	fprintf(stderr, "sampan: %s\n", st->message ? st->message : "failed");
	status_fini(st);
	return 1;
}

const char *kubeconfig_path(const char *option)
{
	const char *home = getenv("HOME"), *env = getenv("KUBECONFIG");

	if (option != NULL)
		return option;
	if (env != NULL && env[0] != '\0')
		return env;
	return xasprintf("%s/.kube/config", home ? home : "");
}
