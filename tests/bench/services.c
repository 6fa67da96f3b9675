/* What programming Services costs: bench-services [SERVICES [ENDPOINTS]], as root.
 *
 * In a network namespace of its own: everything at once, then single changes of endpoints, each
 * a transaction, with the time from the object to the kernel's answer. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "common/api/json.h"
#include "common/api/kinds.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "proxy/services/services.h"

#define CHANGES 200

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* User and system time: what a loaded machine does not distort much. */
static double cpu_ms(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1e3 +
	       (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e3;
}

static void put(struct world *w, const char *resource, const char *name, const char *json)
{
	auto_with(arena_fini) struct arena arena;
	ProtobufCMessage *message;

	arena_init(&arena, 0);
	if (json_read_message(kind_of_resource(resource)->descriptor, bytes_str(json), &arena, NULL,
			      &message, NULL) < 0)
		abort();
	struct bytes packed = pack_message_in(&arena, message);

	if (world_apply(w, resource, "d", name, &packed, NULL) < 0)
		abort();
}

static void put_service(struct world *w, unsigned i)
{
	autofree char *name = xasprintf("s%u", i);
	autofree char *json = xasprintf(
		"{\"metadata\":{\"namespace\":\"d\",\"name\":\"%s\"},\"spec\":{\"clusterIP\":\"10.96.%u.%u\",\"ports\":[{\"port\":80}]}}",
		name, i / 250, i % 250 + 1);

	put(w, "services", name, json);
}

/* The endpoints from first on: another first is another set. */
static void put_slice(struct world *w, unsigned i, unsigned first, unsigned n)
{
	auto_with(buf_fini) struct buf json = { 0 };
	autofree char *name = xasprintf("s%u-x", i);

	buf_printf(
		&json,
		"{\"metadata\":{\"namespace\":\"d\",\"name\":\"%s\",\"labels\":{\"kubernetes.io/service-name\":\"s%u\"}},"
		"\"addressType\":\"IPv4\",\"ports\":[{\"port\":8080}],\"endpoints\":[",
		name, i);
	for (unsigned e = first; e < first + n; e++)
		buf_printf(&json, "%s{\"addresses\":[\"10.%u.%u.%u\"],\"nodeName\":\"n2\"}",
			   e > first ? "," : "", 128 + e % 64, i / 250, i % 250 + 1);
	buf_put_str(&json, "]}");
	put(w, "endpointslices.discovery.k8s.io", name, buf_cstr(&json));
}

static void sync_now(struct services *s)
{
	auto_with(status_fini) struct status st = { 0 };

	if (services_sync(s, &st) < 0) {
		fprintf(stderr, "%s\n", st.message);
		exit(1);
	}
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void changes(struct world *w, struct services *s, unsigned n_services, unsigned n,
		    const char *what, unsigned first, unsigned endpoints)
{
	static double took[CHANGES];
	double cpu = 0;

	for (unsigned i = 0; i < CHANGES; i++) {
		double from, cpu_from;

		put_slice(w, i * (n_services / CHANGES + 1) % n_services, first, endpoints);
		from = now_ms();
		cpu_from = cpu_ms();
		sync_now(s);
		took[i] = now_ms() - from;
		cpu += cpu_ms() - cpu_from;
	}
	qsort(took, CHANGES, sizeof(took[0]), compare);
	printf("%-24s p50 %.2f ms  p99 %.2f ms  CPU %.2f ms\n", what, took[CHANGES / 2],
	       took[CHANGES * 99 / 100], cpu / CHANGES);
}

static long rss_kb(void)
{
	char line[256];
	long kb = 0;
	FILE *f = fopen("/proc/self/status", "re");

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		sscanf(line, "VmHWM: %ld", &kb);
	if (f != NULL)
		fclose(f);
	return kb;
}

int main(int argc, char **argv)
{
	unsigned n_services = argc > 1 ? (unsigned)atoi(argv[1]) : 10000;
	unsigned n = argc > 2 ? (unsigned)atoi(argv[2]) : 10;
	struct services_config config = { .node = "n1",
					  .pod_cidr = "10.128.0.0/9",
					  .service_cidr = "10.96.0.0/12" };
	auto_with(status_fini) struct status st = { 0 };
	struct services *s;
	struct world w;

	if (unshare(CLONE_NEWNET) < 0) {
		perror("bench-services needs root");
		return 1;
	}
	world_init(&w);
	if (services_create(&config, &w, &s, &st) < 0) {
		fprintf(stderr, "%s\n", st.message);
		return 1;
	}
	world_full_begin(&w);
	for (unsigned i = 0; i < n_services; i++) {
		put_service(&w, i);
		put_slice(&w, i, 0, n);
	}
	world_full_end(&w);
	long before_kb = rss_kb();
	double from = now_ms(), cpu_from = cpu_ms();

	sync_now(s);
	printf("%u Services x %u endpoints\n", n_services, n);
	printf("%-24s %.0f ms (plan and write)  CPU %.0f ms\n", "everything at once",
	       now_ms() - from, cpu_ms() - cpu_from);
	changes(&w, s, n_services, n, "an endpoint replaced", 1, n);
	changes(&w, s, n_services, n, "an endpoint added", 1, n + 1);
	changes(&w, s, n_services, n, "an endpoint removed", 1, n);
	printf("%-24s %ld kB, of it the world %ld kB\n", "memory at most", rss_kb(), before_kb);
	services_destroy(s);
	world_fini(&w);
	return 0;
}
