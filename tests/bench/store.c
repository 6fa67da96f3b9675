/* bench-store [PODS]: what the replicated state costs with many pods: memory, time
 * to apply, to find, to write a snapshot and to restore it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/api/json.h"
#include "common/api/kinds.h"
#include "common/api/message.h"
#include "common/api/pack.h"
#include "controlplane/store/store.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "proto/sampan/store.pb-c.h"

enum { PODS_PER_ENTRY = 100, PODS_PER_SET = 30, PODS_PER_NODE = 30 };

static const char template_json[] =
	"{\"metadata\":{\"name\":\"x\",\"generateName\":\"web-7d4b9c6f5d-\",\"namespace\":\"default\",\"labels\":"
	"{\"app\":\"web\",\"pod-template-hash\":\"7d4b9c6f5d\",\"tier\":\"frontend\"},"
	"\"creationTimestamp\":\"2026-01-01T00:00:00Z\",\"ownerReferences\":[{\"apiVersion\":\"apps/v1\","
	"\"kind\":\"ReplicaSet\",\"name\":\"web-7d4b9c6f5d\",\"uid\":\"u\",\"controller\":true,"
	"\"blockOwnerDeletion\":true}]},\"spec\":{\"volumes\":[{\"name\":\"kube-api-access\",\"projected\":"
	"{\"defaultMode\":420,\"sources\":[{\"serviceAccountToken\":{\"expirationSeconds\":3607,\"path\":"
	"\"token\"}},{\"configMap\":{\"name\":\"kube-root-ca.crt\",\"items\":[{\"key\":\"ca.crt\",\"path\":"
	"\"ca.crt\"}]}},{\"downwardAPI\":{\"items\":[{\"path\":\"namespace\",\"fieldRef\":{\"apiVersion\":"
	"\"v1\",\"fieldPath\":\"metadata.namespace\"}}]}}]}}],\"containers\":[{\"name\":\"web\",\"image\":"
	"\"registry.example/team/web:1.27.3\",\"ports\":[{\"containerPort\":8080,\"protocol\":\"TCP\"}],"
	"\"env\":[{\"name\":\"LOG\",\"value\":\"info\"},{\"name\":\"POD_IP\",\"valueFrom\":{\"fieldRef\":"
	"{\"apiVersion\":\"v1\",\"fieldPath\":\"status.podIP\"}}}],\"resources\":{\"limits\":{\"cpu\":\"1\","
	"\"memory\":\"512Mi\"},\"requests\":{\"cpu\":\"100m\",\"memory\":\"128Mi\"}},\"volumeMounts\":[{\"name\":"
	"\"kube-api-access\",\"readOnly\":true,\"mountPath\":"
	"\"/var/run/secrets/kubernetes.io/serviceaccount\"}],\"readinessProbe\":{\"httpGet\":{\"path\":"
	"\"/healthz\",\"port\":8080,\"scheme\":\"HTTP\"},\"timeoutSeconds\":1,\"periodSeconds\":10,"
	"\"successThreshold\":1,\"failureThreshold\":3},\"terminationMessagePath\":\"/dev/termination-log\","
	"\"terminationMessagePolicy\":\"File\",\"imagePullPolicy\":\"IfNotPresent\"}],\"restartPolicy\":"
	"\"Always\",\"terminationGracePeriodSeconds\":30,\"dnsPolicy\":\"ClusterFirst\",\"serviceAccountName\":"
	"\"default\",\"serviceAccount\":\"default\",\"nodeName\":\"n\",\"securityContext\":{},"
	"\"schedulerName\":\"default-scheduler\",\"priority\":0,\"enableServiceLinks\":true},\"status\":"
	"{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Initialized\",\"status\":\"True\","
	"\"lastTransitionTime\":\"2026-01-01T00:00:01Z\"},{\"type\":\"Ready\",\"status\":\"True\","
	"\"lastTransitionTime\":\"2026-01-01T00:00:02Z\"},{\"type\":\"ContainersReady\",\"status\":\"True\","
	"\"lastTransitionTime\":\"2026-01-01T00:00:02Z\"},{\"type\":\"PodScheduled\",\"status\":\"True\","
	"\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"}],\"hostIP\":\"10.0.0.1\",\"podIP\":\"10.244.1.17\","
	"\"podIPs\":[{\"ip\":\"10.244.1.17\"}],\"startTime\":\"2026-01-01T00:00:00Z\",\"containerStatuses\":"
	"[{\"name\":\"web\",\"state\":{\"running\":{\"startedAt\":\"2026-01-01T00:00:02Z\"}},\"ready\":true,"
	"\"restartCount\":0,\"image\":\"registry.example/team/web:1.27.3\",\"imageID\":"
	"\"registry.example/team/web@sha256:"
	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\",\"containerID\":"
	"\"sampan://0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\",\"started\":true}],"
	"\"qosClass\":\"Burstable\"}}";

static double cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double rss_mib(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long size = 0, resident = 0;

	if (f == NULL || fscanf(f, "%lu %lu", &size, &resident) != 2)
		resident = 0;
	if (f != NULL)
		fclose(f);
	return (double)resident * (double)sysconf(_SC_PAGESIZE) / 1048576;
}

static void add_pod(SampanStore__Plan *plan, CoreV1__Pod *pod, unsigned i, struct arena *a)
{
	SampanStore__Operation *op = arena_new(a, SampanStore__Operation);
	SampanStore__Key *key = arena_new(a, SampanStore__Key);
	struct bytes packed;

	sampan_store__operation__init(op);
	sampan_store__key__init(key);
	pod->metadata->name = arena_printf(a, "web-7d4b9c6f5d-%06u", i);
	pod->metadata->uid = arena_printf(a, "%08x-0000-4000-8000-000000000000", i);
	pod->metadata->ownerreferences[0]->uid =
		arena_printf(a, "%08x-1111-4000-8000-000000000000", i / PODS_PER_SET);
	pod->spec->nodename = arena_printf(a, "node-%05u", i / PODS_PER_NODE);
	key->resource = (char *)"pods";
	key->namespace_ = (char *)"default";
	key->name = pod->metadata->name;
	packed = pack_message_in(a, pod);
	op->key = key;
	op->has_type = op->has_object = true;
	op->object = (ProtobufCBinaryData){ packed.len, (uint8_t *)packed.data };
	plan->operations[plan->n_operations++] = op;
}

static void fill(struct store *s, unsigned n)
{
	SampanStore__Operation *operations[PODS_PER_ENTRY];
	struct arena once, a;
	double applying = 0;
	size_t bytes = 0;
	CoreV1__Pod *pod;

	arena_init(&once, 0);
	arena_init(&a, 0);
	if (json_read_message(&core_v1__pod__descriptor, bytes_str(template_json), &once, NULL,
			      &pod, NULL) < 0)
		abort();
	for (unsigned i = 0; i < n;) {
		SampanStore__Entry entry = SAMPAN_STORE__ENTRY__INIT;
		SampanStore__Plan plan = SAMPAN_STORE__PLAN__INIT, *plans[] = { &plan };
		const struct plan_result *results;
		size_t n_results, size;
		uint8_t *packed;

		plan.operations = operations;
		for (unsigned k = 0; k < PODS_PER_ENTRY && i < n; k++, i++)
			add_pod(&plan, pod, i, &a);
		entry.plans = plans;
		entry.n_plans = 1;
		size = sampan_store__entry__get_packed_size(&entry);
		packed = arena_alloc(&a, size);
		sampan_store__entry__pack(&entry, packed);
		bytes += size;

		double before = cpu_s();

		if (store_apply(s, bytes_of(packed, size), &results, &n_results, NULL) < 0)
			abort();
		applying += cpu_s() - before;
		arena_reset(&a);
	}
	arena_fini(&a);
	arena_fini(&once);
	printf("apply            %8.2f us per pod (%zu bytes each)\n", applying / n * 1e6,
	       bytes / n);
}

static bool count(void *ctx, const struct object *o)
{
	++*(size_t *)ctx;
	return true;
}

static void find(const struct store *s, unsigned n)
{
	double before = cpu_s();
	size_t found = 0;

	for (unsigned i = 0; i < n / PODS_PER_SET; i++) {
		char uid[48];

		snprintf(uid, sizeof(uid), "%08x-1111-4000-8000-000000000000", i);
		store_walk_owned(s, kind_of_resource("pods"), uid, count, &found);
	}
	printf("pods of an owner %8.2f us per owner of %d (%zu found)\n",
	       (cpu_s() - before) / (n / PODS_PER_SET) * 1e6, PODS_PER_SET, found);
}

static int write_buf(void *ctx, const void *data, size_t n)
{
	buf_put(ctx, data, n);
	return 0;
}

struct reader {
	struct bytes bytes;
	size_t at;
};

static ssize_t read_bytes(void *ctx, void *to, size_t n)
{
	struct reader *r = ctx;

	if (n > r->bytes.len - r->at)
		n = r->bytes.len - r->at;
	memcpy(to, r->bytes.data + r->at, n);
	r->at += n;
	return (ssize_t)n;
}

static void snapshot(struct store *s)
{
	double before = cpu_s(), taken, written;
	struct store_snapshot *snap = store_snapshot_take(s);
	struct store *other = store_create(&store_limits_default);
	struct buf b = { 0 };

	taken = cpu_s();
	if (store_snapshot_write(snap, write_buf, &b) < 0)
		abort();
	written = cpu_s();
	store_snapshot_release(snap);
	printf("snapshot         %8.2f ms to take, %.0f ms to write, %.1f MB\n",
	       (taken - before) * 1e3, (written - taken) * 1e3, (double)b.len / 1e6);

	struct reader r = { .bytes = buf_bytes(&b) };

	before = cpu_s();
	if (store_restore(other, read_bytes, &r, NULL) < 0 || store_hash(other) != store_hash(s))
		abort();
	printf("restore          %8.0f ms\n", (cpu_s() - before) * 1e3);
	buf_fini(&b);
	store_destroy(other);
}

int main(int argc, char **argv)
{
	unsigned n = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 150000;
	struct store *s = store_create(&store_limits_default);
	double empty = rss_mib();

	if (n < PODS_PER_SET)
		return 2;
	fill(s, n);
	printf("memory           %8.1f MiB for %u pods, %.0f bytes per pod\n", rss_mib() - empty, n,
	       (rss_mib() - empty) * 1048576 / n);
	find(s, n);
	snapshot(s);
	store_destroy(s);
	return 0;
}
