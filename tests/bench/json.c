/* How fast objects become messages, bytes and JSON again: a list of pods as a
 * server shows them, beside jansson in the same run where it is installed.
 *
 *     bench-json [PODS] [ROUNDS]          best of the rounds, process CPU time */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef HAVE_JANSSON
#include <jansson.h>
#endif

#include "common/api/json.h"
#include "common/api/pack.h"
#include "common/api/value.h"
#include "proto/k8s/core_v1.pb-c.h"

/* One pod of a Deployment behind a Service; # stands for its number. */
static const char pod_text[] =
	"{\"metadata\":{\"name\":\"web-7c5ddbdf54-#\",\"generateName\":\"web-7c5ddbdf54-\",\"namespace\":"
	"\"shop\",\"uid\":\"6f2e1c1e-8f5a-4c55-9c58-#\",\"resourceVersion\":\"#\","
	"\"creationTimestamp\":\"2025-01-02T03:04:05Z\",\"labels\":{\"app\":\"web\",\"app.kubernetes.io/name\":"
	"\"web\",\"pod-template-hash\":\"7c5ddbdf54\",\"tier\":\"frontend\",\"version\":\"v1.27.3\"},"
	"\"annotations\":{\"kubectl.kubernetes.io/restartedAt\":\"2025-01-02T03:04:05+01:00\","
	"\"prometheus.io/port\":\"8080\",\"prometheus.io/scrape\":\"true\"},\"ownerReferences\":[{\"apiVersion\":"
	"\"apps/v1\",\"kind\":\"ReplicaSet\",\"name\":\"web-7c5ddbdf54\",\"uid\":"
	"\"0a1b2c3d-1111-2222-3333-444455556666\",\"controller\":true,\"blockOwnerDeletion\":true}]},"
	"\"spec\":{\"volumes\":[{\"name\":\"config\",\"configMap\":{\"name\":\"web-config\",\"defaultMode\":420}},"
	"{\"name\":\"cache\",\"emptyDir\":{\"sizeLimit\":\"512Mi\"}},{\"name\":\"kube-api-access-x7k2p\","
	"\"projected\":{\"sources\":[{\"serviceAccountToken\":{\"expirationSeconds\":3607,\"path\":\"token\"}},"
	"{\"configMap\":{\"name\":\"kube-root-ca.crt\",\"items\":[{\"key\":\"ca.crt\",\"path\":\"ca.crt\"}]}},"
	"{\"downwardAPI\":{\"items\":[{\"path\":\"namespace\",\"fieldRef\":{\"apiVersion\":\"v1\",\"fieldPath\":"
	"\"metadata.namespace\"}}]}}],\"defaultMode\":420}}],\"containers\":[{\"name\":\"web\",\"image\":"
	"\"registry.example.com/shop/web:1.27.3\",\"args\":[\"--listen=:8080\",\"--log-level=info\"],\"ports\":"
	"[{\"name\":\"http\",\"containerPort\":8080,\"protocol\":\"TCP\"},{\"name\":\"metrics\",\"containerPort\":"
	"9090,\"protocol\":\"TCP\"}],\"env\":[{\"name\":\"POD_NAME\",\"valueFrom\":{\"fieldRef\":{\"apiVersion\":"
	"\"v1\",\"fieldPath\":\"metadata.name\"}}},{\"name\":\"DB_HOST\",\"value\":\"db.shop.svc.cluster.local\"},"
	"{\"name\":\"DB_PASSWORD\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"db\",\"key\":\"password\"}}}],"
	"\"resources\":{\"limits\":{\"cpu\":\"500m\",\"memory\":\"256Mi\"},\"requests\":{\"cpu\":\"100m\",\"memory\":"
	"\"128Mi\"}},\"volumeMounts\":[{\"name\":\"config\",\"readOnly\":true,\"mountPath\":\"/etc/web\"},{\"name\":"
	"\"cache\",\"mountPath\":\"/var/cache/web\"},{\"name\":\"kube-api-access-x7k2p\",\"readOnly\":true,"
	"\"mountPath\":\"/var/run/secrets/kubernetes.io/serviceaccount\"}],\"livenessProbe\":{\"httpGet\":{\"path\":"
	"\"/healthz\",\"port\":\"http\",\"scheme\":\"HTTP\"},\"initialDelaySeconds\":10,\"timeoutSeconds\":1,"
	"\"periodSeconds\":10,\"successThreshold\":1,\"failureThreshold\":3},\"readinessProbe\":{\"httpGet\":{"
	"\"path\":\"/ready\",\"port\":8080,\"scheme\":\"HTTP\"},\"timeoutSeconds\":1,\"periodSeconds\":5,"
	"\"successThreshold\":1,\"failureThreshold\":3},\"terminationMessagePath\":\"/dev/termination-log\","
	"\"terminationMessagePolicy\":\"File\",\"imagePullPolicy\":\"IfNotPresent\",\"securityContext\":{"
	"\"capabilities\":{\"drop\":[\"ALL\"]},\"runAsNonRoot\":true,\"allowPrivilegeEscalation\":false}}],"
	"\"restartPolicy\":\"Always\",\"terminationGracePeriodSeconds\":30,\"dnsPolicy\":\"ClusterFirst\","
	"\"serviceAccountName\":\"web\",\"serviceAccount\":\"web\",\"nodeName\":\"node-#\",\"securityContext\":"
	"{\"runAsUser\":1000,\"fsGroup\":1000},\"schedulerName\":\"default-scheduler\",\"tolerations\":[{\"key\":"
	"\"node.kubernetes.io/not-ready\",\"operator\":\"Exists\",\"effect\":\"NoExecute\",\"tolerationSeconds\":300},"
	"{\"key\":\"node.kubernetes.io/unreachable\",\"operator\":\"Exists\",\"effect\":\"NoExecute\","
	"\"tolerationSeconds\":300}],\"priority\":0,\"enableServiceLinks\":true,\"preemptionPolicy\":"
	"\"PreemptLowerPriority\"},\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Initialized\","
	"\"status\":\"True\",\"lastProbeTime\":null,\"lastTransitionTime\":\"2025-01-02T03:04:05Z\"},{\"type\":"
	"\"Ready\",\"status\":\"True\",\"lastProbeTime\":null,\"lastTransitionTime\":\"2025-01-02T03:04:15Z\"},"
	"{\"type\":\"ContainersReady\",\"status\":\"True\",\"lastProbeTime\":null,\"lastTransitionTime\":"
	"\"2025-01-02T03:04:15Z\"},{\"type\":\"PodScheduled\",\"status\":\"True\",\"lastProbeTime\":null,"
	"\"lastTransitionTime\":\"2025-01-02T03:04:05Z\"}],\"hostIP\":\"10.0.3.17\",\"podIP\":\"10.244.3.#\","
	"\"podIPs\":[{\"ip\":\"10.244.3.#\"}],\"startTime\":\"2025-01-02T03:04:05Z\",\"containerStatuses\":[{"
	"\"name\":\"web\",\"state\":{\"running\":{\"startedAt\":\"2025-01-02T03:04:07Z\"}},\"lastState\":{},"
	"\"ready\":true,\"restartCount\":0,\"image\":\"registry.example.com/shop/web:1.27.3\",\"imageID\":"
	"\"registry.example.com/shop/web@sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03\","
	"\"containerID\":\"crun://9b74c9897bac770ffc029102a200c5de5891b5b522d5df086d0ff0b110fbd9d2\",\"started\":"
	"true}],\"qosClass\":\"Burstable\"}}";

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int rounds = 7, pods = 1000;
static size_t json_bytes;

#define MEASURE(best, code)                                                                        \
	do {                                                                                       \
		best = 1e9;                                                                        \
		for (int round_ = 0; round_ < rounds; round_++) {                                  \
			double took_ = now_s();                                                    \
			code;                                                                      \
			took_ = now_s() - took_;                                                   \
			best = took_ < best ? took_ : best;                                        \
		}                                                                                  \
	} while (0)

static void report(const char *what, double s, double than, const char *target)
{
	printf("%-34s %7.1f MB/s %7.2f us/pod", what, (double)json_bytes / s / 1e6, s / pods * 1e6);
	if (than > 0)
		printf("   %5.1fx jansson%s", than / s, target);
	printf("\n");
}

static void make_list(struct buf *text)
{
	buf_put_str(text,
		    "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":[");
	for (int i = 0; i < pods; i++) {
		if (i > 0)
			buf_put_byte(text, ',');
		for (const char *c = pod_text; *c != '\0'; c++) {
			if (*c == '#')
				buf_printf(text, "%d", i);
			else
				buf_put_byte(text, (uint8_t)*c);
		}
	}
	buf_put_str(text, "]}");
	json_bytes = text->len;
}

#ifdef HAVE_JANSSON
static void measure_jansson(const struct buf *text, double *ret_parse, double *ret_dump)
{
	json_error_t error;

	MEASURE(*ret_parse, {
		json_t *j = json_loadb((const char *)text->data, text->len, 0, &error);

		if (j == NULL)
			abort();
		json_decref(j);
	});
	json_t *j = json_loadb((const char *)text->data, text->len, 0, &error);
	MEASURE(*ret_dump, {
		char *out = json_dumps(j, JSON_COMPACT);

		free(out);
	});
	json_decref(j);
}
#else
static void measure_jansson(const struct buf *text, double *ret_parse, double *ret_dump)
{
	(void)text;
	*ret_parse = *ret_dump = 0;
}
#endif

static void read_list(const struct buf *text, struct arena *a, CoreV1__PodList **ret)
{
	struct json_read read = { .validation = FIELDS_STRICT };
	struct status st = { 0 };

	if (json_read_message(&core_v1__pod_list__descriptor, buf_bytes(text), a, &read, ret, &st) <
	    0) {
		fprintf(stderr, "%s\n", st.message);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	struct buf text = { 0 }, packed = { 0 }, out = { 0 };
	double jansson_parse, jansson_dump, s;
	CoreV1__PodList *list;
	struct value *tree;
	struct arena a, scratch;

	pods = argc > 1 ? atoi(argv[1]) : pods;
	rounds = argc > 2 ? atoi(argv[2]) : rounds;
	make_list(&text);
	arena_init(&a, 0);
	arena_init(&scratch, 0);
	read_list(&text, &a, &list);
	pack_message(&packed, list);
	printf("%d pods, %zu bytes of JSON and %zu packed each, %zu bytes of arena\n", pods,
	       text.len / (size_t)pods, packed.len / (size_t)pods, a.used_bytes / (size_t)pods);

	measure_jansson(&text, &jansson_parse, &jansson_dump);
	if (jansson_parse > 0) {
		report("jansson parse", jansson_parse, 0, "");
		report("jansson dump", jansson_dump, 0, "");
	}
	MEASURE(s, {
		arena_reset(&scratch);
		read_list(&text, &scratch, &list);
	});
	report("JSON to message", s, jansson_parse, " (target 6x)");
	MEASURE(s, {
		buf_clear(&out);
		json_put_packed(&out, &core_v1__pod_list__descriptor, buf_bytes(&packed), NULL);
	});
	report("packed to JSON", s, jansson_dump, " (target 8x)");
	MEASURE(s, {
		buf_clear(&out);
		json_put_message(&out, list, NULL);
	});
	report("message to JSON", s, jansson_dump, "");
	MEASURE(s, {
		buf_clear(&out);
		pack_message(&out, list);
	});
	report("message to packed", s, 0, "");
	MEASURE(s, {
		arena_reset(&scratch);
		unpack_stored(&core_v1__pod_list__descriptor, buf_bytes(&packed), &scratch);
	});
	report("packed to message (stored)", s, 0, "");
	MEASURE(s, {
		arena_reset(&scratch);
		unpack_message(&core_v1__pod_list__descriptor, buf_bytes(&packed), &scratch, &list,
			       NULL);
	});
	report("packed to message (checked)", s, 0, "");
	MEASURE(s, {
		arena_reset(&scratch);
		value_parse(buf_bytes(&text), &scratch, &tree, NULL);
	});
	report("JSON to tree", s, jansson_parse, "");
	MEASURE(s, {
		buf_clear(&out);
		value_print(&out, tree);
	});
	report("tree to JSON", s, jansson_dump, "");
	return 0;
}
