/* Hollow nodes: sessions of many agents with real masters, and no containers.
 *
 *   bench-hollow --dir DIR --server HOST:PORT --token TOKEN --count 1000 [OPTIONS]
 *
 *   --dir DIR        a folder per node with what joining wrote; nodes that are there do not join again
 *   --server, --token  a master's HTTPS API and a join token of the cluster
 *   --prefix hollow  --first 1  --count 1000        names hollow-1 ... hollow-1000
 *   --processes 0    0: as many as their share of descriptors and sessions asks for
 *   --start-ms 0  --stop-ms 0  --run-ms 1000        delays, "A" or "A-B": until a pod runs, until a deleted one is gone,
 *                    until a pod whose restartPolicy is not Always has succeeded
 *   --cpu 32  --memory-gib 256  --pods 110  --zones 0   what each node says it has
 *   --usage-s 15  --used-milli 50  --used-mib 32        how often it tells of usage (0: never), and what a container uses
 *
 * Each process prints a line a second while something changes:
 *   hollow process=0 nodes=500 registered=500 pods=100 running=98 started=98 ended=0 puts=300
 * SIGTERM ends all of them at once, as a power cut would. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/io/address.h"
#include "sdk/sampan/setup.h"
#include "tests/bench/hollow_node.h"

enum {
	PROCESSES_MAX = 64,
	NODES_PER_PROCESS = 2500,
	FILES_PER_NODE = 4,
	FILES_BESIDE = 200,
	OPENING_MAX = 24, /* Sessions that have begun and are not registered. */
	LOOK_MS = 20,
};

struct settings {
	const char *dir, *server, *token, *prefix;
	long first, count, processes;
	struct hollow_options hollow;
};

struct process {
	const struct settings *settings;
	long number, at, end; /* Nodes at .. end - 1 still have to begin. */
	struct hollow hollow;
	uv_timer_t look, tell;
	char told[256];
};

static _Noreturn void refuse(const char *what, const char *value)
{
	fprintf(stderr, "bench-hollow: %s%s%s (its head says how it is used)\n", what, value ? ": " : "",
		value ? value : "");
	exit(2);
}

static _Noreturn void fail(const struct status *st)
{
	fprintf(stderr, "bench-hollow: %s\n", st->message ? st->message : "failed");
	exit(1);
}

/* --- Joining ------------------------------------------------------------------------------- */

static char *node_name(const struct settings *s, long i)
{
	return xasprintf("%s-%ld", s->prefix, i);
}

/* Of 198.18.0.0/15, which is set aside for benchmarks. */
static char *node_address(long i)
{
	return xasprintf("198.%ld.%ld.%ld", 18 + (i >> 16 & 1), i >> 8 & 255, i & 255);
}

static void join(const struct settings *s, long i)
{
	autofree char *name = node_name(s, i), *address = node_address(i);
	autofree char *dir = xasprintf("%s/%s", s->dir, name), *conf = xasprintf("%s/agent.conf", dir);
	struct node_setup setup = { .dir = dir, .name = name, .address = address };
	struct join_token token;
	struct status st = { 0 };
	char host[256];
	int port;

	if (access(conf, F_OK) == 0)
		return;
	if (s->token == NULL || join_token_parse(s->token, &token, &st) < 0)
		refuse("--token is none", st.message);
	if (s->server == NULL || address_split(s->server, host, sizeof(host), &port) < 0)
		refuse("--server should be HOST:PORT", NULL);
	if (setup_join_node(&setup, host, port, &token, &st) < 0)
		fail(&st);
}

/* --- One process ------------------------------------------------------------------------------ */

static void begin(struct process *p)
{
	const struct settings *s = p->settings;
	autofree char *name = node_name(s, p->at), *address = node_address(p->at);
	autofree char *dir = xasprintf("%s/%s", s->dir, name);
	struct status st = { 0 };

	join(s, p->at);
	if (hollow_node_start(&p->hollow, dir, name, address, (size_t)p->at, &st) < 0)
		fail(&st);
	p->at++;
}

/* All at once would mean that most connections time out while the masters shake hands. */
static void on_look(uv_timer_t *timer)
{
	struct process *p = container_of(timer, struct process, look);

	while (p->at < p->end && p->hollow.n_nodes - p->hollow.n_registered < OPENING_MAX)
		begin(p);
	if (p->at == p->end)
		uv_timer_stop(timer);
}

static void on_tell(uv_timer_t *timer)
{
	struct process *p = container_of(timer, struct process, tell);
	const struct hollow *h = &p->hollow;
	char line[sizeof(p->told)];

	snprintf(line, sizeof(line),
		"hollow process=%ld nodes=%zu registered=%zu pods=%zu running=%zu started=%llu ended=%llu puts=%llu\n",
		p->number, h->n_nodes, h->n_registered, h->n_pods, h->n_running, (unsigned long long)h->n_started,
		(unsigned long long)h->n_ended, (unsigned long long)h->n_puts);
	if (strcmp(line, p->told) == 0)
		return;
	memcpy(p->told, line, sizeof(line));
	if (write(STDOUT_FILENO, line, strlen(line)) < 0)
		exit(1); /* Nobody listens any more. */
}

static int run(const struct settings *s, long number, long first, long end)
{
	struct process *p = xcalloc(1, sizeof(*p));
	uv_loop_t loop;

	uv_loop_init(&loop);
	p->settings = s;
	p->number = number;
	p->at = first;
	p->end = end;
	hollow_init(&p->hollow, &loop, &s->hollow);
	uv_timer_init(&loop, &p->look);
	uv_timer_init(&loop, &p->tell);
	uv_timer_start(&p->look, on_look, 0, LOOK_MS);
	uv_timer_start(&p->tell, on_tell, 1000, 1000);
	return uv_run(&loop, UV_RUN_DEFAULT);
}

/* --- All of them -------------------------------------------------------------------------------- */

static long files_raise(void)
{
	struct rlimit limit = { 0 };

	/* As high as this process may: root may go beyond the hard limit. */
	for (rlim_t wanted = 1 << 19; wanted >= 4096; wanted /= 2) {
		limit = (struct rlimit){ wanted, wanted };
		if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
			return (long)wanted;
	}
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	return (long)limit.rlim_cur;
}

static long processes_for(const struct settings *s, long files)
{
	long share = (files - FILES_BESIDE) / FILES_PER_NODE;
	long n;

	if (share > NODES_PER_PROCESS)
		share = NODES_PER_PROCESS;
	if (share < 1)
		refuse("too few file descriptors", NULL);
	n = s->processes > 0 ? s->processes : (s->count + share - 1) / share;
	if (n > PROCESSES_MAX || n > s->count)
		refuse("too many processes would be needed", NULL);
	return n;
}

static pid_t children[PROCESSES_MAX];
static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
	stopping = 1;
	for (size_t i = 0; i < PROCESSES_MAX; i++)
		if (children[i] > 0)
			kill(children[i], SIGKILL);
}

static pid_t spawn(const struct settings *s, long number, long first, long end)
{
	pid_t parent = getpid(), pid = fork();

	if (pid != 0)
		return pid;
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		exit(1);
	exit(run(s, number, first, end));
}

static int run_all(const struct settings *s, long n)
{
	int worst = 0, state;

	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	for (long i = 0; i < n && !stopping; i++) {
		children[i] = spawn(s, i, s->first + s->count * i / n, s->first + s->count * (i + 1) / n);
		if (children[i] < 0)
			refuse("cannot fork", strerror(errno));
	}
	for (long left = n; left > 0;) {
		pid_t pid = wait(&state);

		if (pid < 0 && errno != EINTR)
			break;
		left -= pid > 0;
		if (pid > 0 && !stopping) { /* One that fails ends all. */
			worst = 1;
			on_signal(0);
		}
	}
	return stopping && worst == 0 ? 0 : worst;
}

static long number(const char *name, const char *text, long min, long max)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (end == text || *end != '\0' || value < min || value > max)
		refuse(name, text);
	return value;
}

static struct hollow_delay delay(const char *name, const char *text)
{
	struct hollow_delay d;
	int n = sscanf(text, "%ld-%ld", &d.min_ms, &d.max_ms);

	if (n == 1)
		d.max_ms = d.min_ms;
	if (n < 1 || d.min_ms < 0 || d.max_ms < d.min_ms || d.max_ms > 3600000)
		refuse(name, text);
	return d;
}

static void read_option(struct settings *s, const char *name, const char *value)
{
	struct {
		const char *name;
		long *number, min, max;
	} numbers[] = {
		{ "--first", &s->first, 1, 100000 },
		{ "--count", &s->count, 1, 100000 },
		{ "--processes", &s->processes, 0, PROCESSES_MAX },
		{ "--cpu", &s->hollow.cpu, 1, 10000 },
		{ "--memory-gib", &s->hollow.memory_gib, 1, 100000 },
		{ "--pods", &s->hollow.pods, 1, 254 },
		{ "--zones", &s->hollow.zones, 0, 1000 },
		{ "--usage-s", &s->hollow.usage_s, 0, 3600 },
		{ "--used-milli", &s->hollow.used_milli, 0, 1000000 },
		{ "--used-mib", &s->hollow.used_mib, 0, 1000000 },
	};
	struct {
		const char *name;
		const char **text;
	} texts[] = { { "--dir", &s->dir }, { "--server", &s->server }, { "--token", &s->token }, { "--prefix", &s->prefix } };
	struct {
		const char *name;
		struct hollow_delay *delay;
	} delays[] = { { "--start-ms", &s->hollow.start }, { "--stop-ms", &s->hollow.stop }, { "--run-ms", &s->hollow.run } };

	if (value == NULL)
		refuse("no value for", name);
	for (size_t i = 0; i < array_size(numbers); i++)
		if (strcmp(name, numbers[i].name) == 0) {
			*numbers[i].number = number(name, value, numbers[i].min, numbers[i].max);
			return;
		}
	for (size_t i = 0; i < array_size(texts); i++)
		if (strcmp(name, texts[i].name) == 0) {
			*texts[i].text = value;
			return;
		}
	for (size_t i = 0; i < array_size(delays); i++)
		if (strcmp(name, delays[i].name) == 0) {
			*delays[i].delay = delay(name, value);
			return;
		}
	refuse("no option", name);
}

int main(int argc, char **argv)
{
	struct settings s = { .prefix = "hollow",
		.first = 1,
		.count = 1000,
		.hollow = { .run = { 1000, 1000 }, .cpu = 32, .memory_gib = 256, .pods = 110,
			.usage_s = 15, .used_milli = 50, .used_mib = 32 } };
	struct status st = { 0 };

	for (int i = 1; i < argc; i += 2)
		read_option(&s, argv[i], argv[i + 1]);
	if (s.dir == NULL)
		refuse("--dir is needed", NULL);
	log_init("hollow", LOG_ERROR);
	signal(SIGPIPE, SIG_IGN);
	if (dir_make(s.dir, 0700, &st) < 0)
		fail(&st);
	return run_all(&s, processes_for(&s, files_raise()));
}
