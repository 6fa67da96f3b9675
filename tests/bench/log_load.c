/* Durable writes at the log: three member processes over TLS, closed-loop clients over
 * plain TCP, everything on this machine.
 *
 *   bench-log-load CLIENTS SECONDS            "writes/s p50 p99 max bad cpu-us-per-write"
 *   bench-log-load --failover KILLS           kill -9 of the leader to the next write, ms: "median p99 max"
 *   bench-log-load --idle SECONDS             per member: "% of a core, bytes written to disk, RSS KiB"
 *
 * VALUE_BYTES (environment) random bytes per value, 256 if unset. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/source.h"
#include "controlplane/consensus/le.h"
#include "tests/bench/log_member.h"
#include "tests/bench/samples.h"

#define POOL_BYTES ((size_t)4 << 20)

static struct {
	struct pki pki;
	char dir[64];
	char dirs[LOG_MEMBERS][96];
	struct log_member members[LOG_MEMBERS];
	char *certs[LOG_MEMBERS], *keys[LOG_MEMBERS];
	pid_t pids[LOG_MEMBERS];
	uint8_t *pool;
	size_t value_bytes;
	struct samples samples;
} b;

static uint64_t now_ns(void)
{
	return system_source.monotonic_ns(&system_source);
}

static uint16_t free_port(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &n) < 0)
		abort();
	close(fd);
	return ntohs(at.sin_port);
}

static void start_member(unsigned i)
{
	pid_t parent = getpid();

	b.pids[i] = fork();
	if (b.pids[i] != 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	log_member_run(&b.members[i]);
}

static void start_cluster(void)
{
	const char *tmp = getenv("TMPDIR");

	pki_init(&b.pki);
	snprintf(b.dir, sizeof(b.dir), "%s/sampan-log-bench-XXXXXX", tmp != NULL ? tmp : "/var/tmp");
	if (mkdtemp(b.dir) == NULL)
		abort();
	for (unsigned i = 0; i < LOG_MEMBERS; i++) {
		struct log_member *m = &b.members[i];
		char name[CONSENSUS_NAME_SIZE];

		consensus_member_name(i + 1, name);
		pki_issue(&b.pki, name, 86400, &b.certs[i], &b.keys[i]);
		snprintf(b.dirs[i], sizeof(b.dirs[i]), "%s/%u", b.dir, i + 1);
		mkdir(b.dirs[i], 0700);
		*m = (struct log_member){ .id = i + 1,
					  .dir = b.dirs[i],
					  .client_port = free_port(),
					  .ca = b.pki.cert_pem,
					  .cert = b.certs[i],
					  .key = b.keys[i] };
		snprintf(m->address, sizeof(m->address), "127.0.0.1:%u", free_port());
	}
	for (unsigned i = 0; i < LOG_MEMBERS; i++)
		for (unsigned k = 0; k < LOG_MEMBERS; k++)
			b.members[i].addresses[k] = b.members[k].address;
	for (unsigned i = 0; i < LOG_MEMBERS; i++)
		start_member(i);
}

static void stop_cluster(void)
{
	char command[128];

	for (unsigned i = 0; i < LOG_MEMBERS; i++) {
		kill(b.pids[i], SIGKILL);
		waitpid(b.pids[i], NULL, 0);
	}
	snprintf(command, sizeof(command), "rm -rf '%s'", b.dir);
	if (system(command) != 0)
		fprintf(stderr, "cannot remove %s\n", b.dir);
}

static double cpu_seconds(void)
{
	double sum = 0;

	for (unsigned i = 0; i < LOG_MEMBERS; i++) {
		char path[64], line[1024];
		unsigned long user, kernel;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%d/stat", b.pids[i]);
		f = fopen(path, "r");
		if (f == NULL || fgets(line, sizeof(line), f) == NULL ||
		    sscanf(strrchr(line, ')') + 2,
			   "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel) != 2)
			abort();
		fclose(f);
		sum += (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
	}
	return sum;
}

/* --- one connection -------------------------------------------------------------------- */

static int dial(unsigned i)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons(b.members[i].client_port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0) {
		close(fd);
		return -1;
	}
	setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof(one));
	return fd;
}

static void put_request(struct buf *out, uint64_t id)
{
	size_t at = (size_t)source_random_below(&system_source, POOL_BYTES - b.value_bytes);
	uint8_t header[12];

	le_put32(header, (uint32_t)(12 + b.value_bytes));
	le_put64(header + 4, id);
	buf_put(out, header, sizeof(header));
	buf_put(out, b.pool + at, b.value_bytes);
}

static bool send_all(int fd, struct buf *out)
{
	size_t at = 0;

	while (at < out->len) {
		ssize_t n = send(fd, out->data + at, out->len - at, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		at += (size_t)n;
	}
	buf_clear(out);
	return true;
}

static bool receive(int fd, void *data, size_t n, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, timeout_ms) == 1 && recv(fd, data, n, MSG_WAITALL) == (ssize_t)n;
}

/* One request to member i on a connection that is made if need be. */
static bool ask(int *fd, unsigned i, uint64_t id)
{
	struct buf out = { 0 };
	uint8_t reply[16];
	bool good;

	if (*fd < 0)
		*fd = dial(i);
	if (*fd < 0)
		return false;
	put_request(&out, id);
	good = send_all(*fd, &out) && receive(*fd, reply, sizeof(reply), 5000);
	buf_fini(&out);
	if (!good) {
		close(*fd);
		*fd = -1;
		return false;
	}
	return (int64_t)le_get64(reply + 8) == 0;
}

/* The member that takes writes. */
static unsigned find_leader(int fds[LOG_MEMBERS])
{
	for (unsigned i = 0;; i = (i + 1) % LOG_MEMBERS) {
		if (b.pids[i] > 0 && ask(&fds[i], i, 1))
			return i;
		poll(NULL, 0, 1);
	}
}

/* Until somebody leads all of them. */
static unsigned wait_for_cluster(int fds[LOG_MEMBERS])
{
	for (unsigned i = 0;; i = (i + 1) % LOG_MEMBERS) {
		if (ask(&fds[i], i, LOG_MEMBER_STATUS))
			return i;
		poll(NULL, 0, 10);
	}
}

/* --- throughput ---------------------------------------------------------------------------- */

#define CONNECTIONS 8

static void measure(unsigned clients, double seconds)
{
	int leaders[LOG_MEMBERS] = { -1, -1, -1 };
	unsigned leader = wait_for_cluster(leaders);
	uint64_t *sent_ns = xcalloc(clients, sizeof(*sent_ns));
	struct pollfd fds[CONNECTIONS];
	struct buf out[CONNECTIONS] = { 0 };
	unsigned n_fds = clients < CONNECTIONS ? clients : CONNECTIONS;
	double cpu = 0;
	bool counting = false;
	size_t total = 0;

	for (unsigned i = 0; i < n_fds; i++)
		fds[i] = (struct pollfd){ .fd = dial(leader), .events = POLLIN };
	samples_begin(&b.samples, seconds);
	for (unsigned i = 0; i < clients; i++) {
		sent_ns[i] = now_ns();
		put_request(&out[i % n_fds], i);
	}
	while (!samples_over(&b.samples)) {
		for (unsigned i = 0; i < n_fds; i++)
			if (out[i].len > 0 && !send_all(fds[i].fd, &out[i]))
				abort();
		if (poll(fds, n_fds, 1000) < 0)
			abort();
		if (!counting && now_ns() >= b.samples.from_ns) {
			counting = true;
			cpu = cpu_seconds();
		}
		for (unsigned i = 0; i < n_fds; i++) {
			uint8_t replies[16 * 1024];
			ssize_t n;

			if ((fds[i].revents & POLLIN) == 0)
				continue;
			n = recv(fds[i].fd, replies, sizeof(replies), MSG_DONTWAIT);
			if (n > 0 && n % 16 != 0)
				n += recv(fds[i].fd, replies + n, (size_t)(16 - n % 16), MSG_WAITALL);
			for (ssize_t at = 0; at + 16 <= n; at += 16) {
				uint64_t id = le_get64(replies + at);

				samples_add(&b.samples, sent_ns[id], le_get64(replies + at + 8) == 0);
				total += counting;
				sent_ns[id] = now_ns();
				put_request(&out[i], id);
			}
		}
	}
	cpu = cpu_seconds() - cpu;
	samples_print(&b.samples);
	printf("%.1f\n", cpu * 1e6 / (double)(total > 0 ? total : 1));
}

/* --- failover -------------------------------------------------------------------------------- */

static int compare(const void *a, const void *c)
{
	double x = *(const double *)a, y = *(const double *)c;

	return x < y ? -1 : x > y;
}

static void measure_failover(unsigned kills)
{
	int fds[LOG_MEMBERS] = { -1, -1, -1 };
	double *ms = xcalloc(kills, sizeof(*ms));

	wait_for_cluster(fds);
	for (unsigned k = 0; k < kills; k++) {
		unsigned leader = find_leader(fds);
		uint64_t killed_ns = now_ns();

		kill(b.pids[leader], SIGKILL);
		waitpid(b.pids[leader], NULL, 0);
		close(fds[leader]);
		fds[leader] = -1;
		b.pids[leader] = 0;
		find_leader(fds);
		ms[k] = (double)(now_ns() - killed_ns) / 1e6;
		start_member(leader);
		wait_for_cluster(fds);
	}
	qsort(ms, kills, sizeof(*ms), compare);
	printf("%.1f %.1f %.1f\n", ms[kills / 2], ms[kills * 99 / 100], ms[kills - 1]);
	free(ms);
}

/* --- doing nothing ------------------------------------------------------------------------------ */

static unsigned long long field_of(pid_t pid, const char *file, const char *name)
{
	char path[64], line[256];
	unsigned long long value = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	f = fopen(path, "r");
	if (f == NULL)
		abort();
	while (fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, name, strlen(name)) == 0)
			value = strtoull(line + strlen(name), NULL, 10);
	fclose(f);
	return value;
}

static void measure_idle(double seconds)
{
	int fds[LOG_MEMBERS] = { -1, -1, -1 };
	unsigned long long written[LOG_MEMBERS];
	double cpu;

	wait_for_cluster(fds);
	poll(NULL, 0, 5000); /* Spare segments are made at the start. */
	for (unsigned i = 0; i < LOG_MEMBERS; i++)
		written[i] = field_of(b.pids[i], "io", "write_bytes:");
	cpu = cpu_seconds();
	poll(NULL, 0, (int)(seconds * 1000));
	cpu = cpu_seconds() - cpu;
	for (unsigned i = 0; i < LOG_MEMBERS; i++)
		printf("%.2f %llu %llu\n", cpu / LOG_MEMBERS / seconds * 100,
		       field_of(b.pids[i], "io", "write_bytes:") - written[i],
		       field_of(b.pids[i], "status", "VmRSS:"));
}

int main(int argc, char **argv)
{
	const char *bytes = getenv("VALUE_BYTES");

	if (argc != 3) {
		fprintf(stderr, "usage: bench-log-load CLIENTS SECONDS | --failover KILLS | --idle SECONDS\n");
		return 2;
	}
	b.value_bytes = bytes != NULL ? strtoul(bytes, NULL, 10) : 256;
	b.pool = xmalloc(POOL_BYTES);
	system_source.random(&system_source, b.pool, POOL_BYTES);
	start_cluster();
	if (strcmp(argv[1], "--failover") == 0)
		measure_failover((unsigned)strtoul(argv[2], NULL, 10));
	else if (strcmp(argv[1], "--idle") == 0)
		measure_idle(strtod(argv[2], NULL));
	else
		measure((unsigned)strtoul(argv[1], NULL, 10), strtod(argv[2], NULL));
	fflush(stdout);
	stop_cluster();
	return 0;
}
