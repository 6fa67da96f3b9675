/* Many seeds on many cores.
 *
 * Every batch of seeds is a process of its own, so a seed that fails, aborts or is
 * stopped by a sanitizer costs the rest of nothing: its figures came through a pipe
 * seed by seed, and what it said is kept to be shown. Seeds are handed out in order. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/sim/cluster/chaos.h"

enum { JOBS_MAX = 64, SAID_MAX = 4096 };

struct job {
	pid_t pid;
	int figures_fd, said_fd;
	uint64_t seed;
	struct figures figures;
	size_t n_figures;
	char said[SAID_MAX];
	size_t n_said;
};

static struct {
	uint64_t seed;
	unsigned rounds;
	int fd;
} child;

static void test_seed(void **state)
{
	struct figures f = { 0 };

	(void)state;
	seed_run(child.seed, child.rounds, false, &f);
	assert_int_equal(write(child.fd, &f, sizeof(f)), sizeof(f));
}

static int child_main(uint64_t seed, unsigned rounds, int figures_fd, int said_fd)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_seed) };

	child.seed = seed;
	child.rounds = rounds;
	child.fd = figures_fd;
	dup2(said_fd, STDOUT_FILENO);
	dup2(said_fd, STDERR_FILENO);
	return cmocka_run_group_tests_name("seed", tests, NULL, NULL);
}

static void job_start(struct job *job, uint64_t seed, unsigned rounds)
{
	int figures[2], said[2];

	*job = (struct job){ .seed = seed };
	if (pipe2(figures, O_CLOEXEC) < 0 || pipe2(said, O_CLOEXEC) < 0)
		abort();
	fflush(stdout);
	job->pid = fork();
	if (job->pid < 0)
		abort();
	if (job->pid == 0) {
		int rc = child_main(seed, rounds, figures[1], said[1]);

		fflush(stdout);
		_exit(rc);
	}
	close(figures[1]);
	close(said[1]);
	job->figures_fd = figures[0];
	job->said_fd = said[0];
}

/* What was said beyond the bound is dropped from its beginning: the end tells. */
static bool job_hears(struct job *job)
{
	char text[1024];
	ssize_t n = read(job->said_fd, text, sizeof(text));

	if (n < 0)
		return errno == EINTR;
	if (n == 0)
		return false;
	if (job->n_said + (size_t)n >= SAID_MAX) {
		memmove(job->said, job->said + SAID_MAX / 2, SAID_MAX / 2);
		job->n_said = job->n_said > SAID_MAX / 2 ? job->n_said - SAID_MAX / 2 : 0;
	}
	memcpy(job->said + job->n_said, text, (size_t)n);
	job->n_said += (size_t)n;
	job->said[job->n_said] = '\0';
	return true;
}

/* True: the seed is clean. */
static bool job_end(struct job *job, struct figures *totals)
{
	struct figures f = { 0 };
	bool clean = read(job->figures_fd, &f, sizeof(f)) == sizeof(f);
	int status = 0;

	waitpid(job->pid, &status, 0);
	clean = clean && WIFEXITED(status) && WEXITSTATUS(status) == 0;
	if (clean)
		figures_add(totals, &f);
	else
		printf("# seed %" PRIu64 " failed:\n%s\n", job->seed, job->said);
	fflush(stdout);
	close(job->figures_fd);
	close(job->said_fd);
	job->pid = 0;
	return clean;
}

static void wait_for_any(struct job *jobs, unsigned n)
{
	struct pollfd fds[JOBS_MAX];

	for (unsigned i = 0; i < n; i++)
		fds[i] = (struct pollfd){ .fd = jobs[i].pid != 0 ? jobs[i].said_fd : -1,
					  .events = POLLIN };
	poll(fds, n, -1);
}

static bool can_be_read(const struct job *job)
{
	struct pollfd fd = { .fd = job->said_fd, .events = POLLIN };

	return poll(&fd, 1, 0) > 0;
}

uint64_t campaign_run(uint64_t from, unsigned seconds, unsigned n_jobs, unsigned rounds)
{
	struct job *jobs = calloc(JOBS_MAX, sizeof(*jobs));
	struct figures totals = { 0 };
	time_t end = time(NULL) + seconds;
	uint64_t seed = from, failed = 0;
	unsigned running = 0;
	char what[160];

	if (jobs == NULL)
		abort();
	n_jobs = n_jobs == 0 ? 1 : n_jobs > JOBS_MAX ? JOBS_MAX : n_jobs;
	do {
		for (unsigned i = 0; i < n_jobs && time(NULL) < end; i++)
			if (jobs[i].pid == 0) {
				job_start(&jobs[i], seed++, rounds);
				running++;
			}
		if (running > 0)
			wait_for_any(jobs, n_jobs);
		for (unsigned i = 0; i < n_jobs; i++)
			if (jobs[i].pid != 0 && can_be_read(&jobs[i]) && !job_hears(&jobs[i])) {
				failed += !job_end(&jobs[i], &totals);
				running--;
			}
	} while (running > 0 || time(NULL) < end);
	free(jobs);
	snprintf(what, sizeof(what),
		 "seeds %" PRIu64 " to %" PRIu64 ": %" PRIu64 " clean, %" PRIu64
		 " failed, %u s on %u cores",
		 from, seed - 1, totals.seeds, failed, seconds, n_jobs);
	figures_print(what, &totals);
	return failed;
}
