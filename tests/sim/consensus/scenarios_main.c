#include "tests/sim/consensus/scenarios.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECONDS_MAX 60

/* Under AddressSanitizer the allocator does not tell how much is in use. */
#if defined(__SANITIZE_ADDRESS__)
#define COUNTS_MEMORY false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define COUNTS_MEMORY false
#endif
#endif
#ifndef COUNTS_MEMORY
#define COUNTS_MEMORY true
#endif

int parse_rules(const char *text, uint32_t *ret_off)
{
	while (*text == 'R') {
		char *end;
		unsigned long rule = strtoul(text + 1, &end, 10);

		if (rule == 0 || rule >= GUARD_RULES)
			return -EINVAL;
		*ret_off |= 1u << rule;
		text = *end == ',' ? end + 1 : end;
	}
	return *text == '\0' ? 0 : -EINVAL;
}

/* What went wrong, in words; empty: nothing did. */
static void run(const struct scenario *s, uint32_t off, bool verbose, char ret_what[VIOLATION_SIZE])
{
	int fds[2], status;
	ssize_t n;
	pid_t pid;

	memset(ret_what, 0, VIOLATION_SIZE);
	fflush(stdout);
	if (pipe(fds) < 0)
		abort();
	pid = fork();
	if (pid < 0)
		abort();
	if (pid == 0) {
		static struct world w;
		struct world_options options = { .seed = 1, .nodes = s->nodes, .guard_off = off,
						 .left_out_sync = -1, .verbose = verbose };

		close(fds[0]);
		alarm(SECONDS_MAX);
		world_init(&w, &options);
		w.fifo = true;
		w.latency_ms = 0;
		w.disk_ns = 1000000;
		s->run(&w);
		fflush(stdout);
		n = write(fds[1], w.violation, sizeof(w.violation));
		_exit(n == sizeof(w.violation) ? 0 : 1);
	}
	close(fds[1]);
	n = read(fds[0], ret_what, VIOLATION_SIZE);
	close(fds[0]);
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status))
		snprintf(ret_what, VIOLATION_SIZE, "crash: %s", strsignal(WTERMSIG(status)));
	else if (n != VIOLATION_SIZE)
		snprintf(ret_what, VIOLATION_SIZE, "no result");
}

int scenarios_main(const char *name, bool verbose)
{
	char what[VIOLATION_SIZE];
	int failed = 0, number = 0;

	for (unsigned i = 0; i < n_scenarios; i++) {
		const struct scenario *s = &scenarios[i];
		uint32_t off = 0;

		if (name != NULL && strcmp(name, s->name) != 0)
			continue;
		if (parse_rules(s->without, &off) < 0)
			abort();
		if (!COUNTS_MEMORY && (off & 1u << GUARD_ENTRY_MEMORY)) {
			printf("ok %d - %s # SKIP memory is not counted\n", ++number, s->name);
			continue;
		}
		run(s, 0, verbose, what);
		failed += what[0] != '\0';
		printf("%s %d - %s holds%s%s\n", what[0] == '\0' ? "ok" : "not ok", ++number, s->name,
		       what[0] == '\0' ? "" : " # ", what);
		run(s, off, verbose, what);
		/* Going wrong must be the rule's fault, not the script's. */
		bool shown = what[0] != '\0' && strstr(what, "script:") == NULL;

		failed += !shown;
		printf("%s %d - %s fails without %s # %s\n", shown ? "ok" : "not ok", ++number, s->name, s->without, what[0] != '\0' ? what : "it did not");
	}
	printf("1..%d\n", number);
	return failed > 0 || number == 0;
}
