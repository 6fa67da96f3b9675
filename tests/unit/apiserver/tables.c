/* The cells of rows, from objects written as JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/json.h"
#include "common/api/kinds.h"
#include "common/api/message.h"
#include "common/base/cleanup.h"
#include "controlplane/apiserver/columns/cells.h"
#include "controlplane/apiserver/table.h"

/* 2025-01-02T03:04:05Z */
#define NOW_S 1735787045ll

#define RUNNING "\"state\":{\"running\":{}},\"ready\":true"
#define SPEC1 "\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}"

static const struct {
	const char *name, *group, *kind, *json, *cells;
} cases[] = {
	{ "a pod that runs", "", "Pod",
	  "{\"metadata\":{\"name\":\"p\",\"creationTimestamp\":\"2025-01-02T03:03:05Z\"}," SPEC1
	  ",\"status\":{\"phase\":\"Running\",\"podIPs\":[{\"ip\":\"10.0.0.1\"}],"
	  "\"containerStatuses\":[{\"name\":\"c\"," RUNNING "}]}}",
	  "[\"p\",\"1/1\",\"Running\",\"0\",\"60s\",\"10.0.0.1\",\"<none>\",\"<none>\",\"<none>\"]" },
	{ "a pod nobody has looked at", "", "Pod", "{\"metadata\":{\"name\":\"p\"}," SPEC1 "}",
	  "[\"p\",\"0/1\",\"\",\"0\",\"<unknown>\",\"<none>\",\"<none>\",\"<none>\",\"<none>\"]" },
	{ "a container waits", "", "Pod",
	  "{\"metadata\":{\"name\":\"p\"}," SPEC1 ",\"status\":{\"phase\":\"Pending\","
	  "\"containerStatuses\":[{\"name\":\"c\",\"restartCount\":3,\"state\":{\"waiting\":"
	  "{\"reason\":\"CrashLoopBackOff\"}},\"lastState\":{\"terminated\":{\"exitCode\":1,"
	  "\"finishedAt\":\"2025-01-02T03:02:05Z\"}}}]}}",
	  "[\"p\",\"0/1\",\"CrashLoopBackOff\",\"3 (2m ago)\",\"<unknown>\",\"<none>\",\"<none>\","
	  "\"<none>\",\"<none>\"]" },
	{ "an init container holds it up", "", "Pod",
	  "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"initContainers\":[{\"name\":\"a\"},{\"name\":"
	  "\"b\"}],\"containers\":[{\"name\":\"c\"}]},\"status\":{\"phase\":\"Pending\","
	  "\"initContainerStatuses\":[{\"name\":\"a\",\"state\":{\"terminated\":{\"exitCode\":0}}},"
	  "{\"name\":\"b\",\"state\":{\"running\":{}}}]}}",
	  "[\"p\",\"0/1\",\"Init:1/2\",\"0\",\"<unknown>\",\"<none>\",\"<none>\",\"<none>\",\"<none>\"]" },
	{ "a sidecar counts", "", "Pod",
	  "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"initContainers\":[{\"name\":\"a\","
	  "\"restartPolicy\":\"Always\"}],\"containers\":[{\"name\":\"c\"}]},\"status\":{\"phase\":"
	  "\"Running\",\"initContainerStatuses\":[{\"name\":\"a\",\"started\":true," RUNNING
	  "}],\"containerStatuses\":[{\"name\":\"c\"," RUNNING "}]}}",
	  "[\"p\",\"2/2\",\"Running\",\"0\",\"<unknown>\",\"<none>\",\"<none>\",\"<none>\",\"<none>\"]" },
	{ "a failed container says why", "", "Pod",
	  "{\"metadata\":{\"name\":\"p\"}," SPEC1 ",\"status\":{\"phase\":\"Failed\","
	  "\"containerStatuses\":[{\"name\":\"c\",\"state\":{\"terminated\":{\"exitCode\":7}}}]}}",
	  "[\"p\",\"0/1\",\"ExitCode:7\",\"0\",\"<unknown>\",\"<none>\",\"<none>\",\"<none>\","
	  "\"<none>\"]" },
	{ "a pod that goes", "", "Pod",
	  "{\"metadata\":{\"name\":\"p\",\"deletionTimestamp\":\"2025-01-02T03:04:05Z\"}," SPEC1
	  ",\"status\":{\"phase\":\"Running\",\"containerStatuses\":[{\"name\":\"c\"," RUNNING
	  "}]}}",
	  "[\"p\",\"1/1\",\"Terminating\",\"0\",\"<unknown>\",\"<none>\",\"<none>\",\"<none>\","
	  "\"<none>\"]" },
	{ "readiness gates", "", "Pod",
	  "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"readinessGates\":[{\"conditionType\":\"x\"},"
	  "{\"conditionType\":\"y\"}]},\"status\":{\"conditions\":[{\"type\":\"x\",\"status\":"
	  "\"True\"}]}}",
	  "[\"p\",\"0/0\",\"\",\"0\",\"<unknown>\",\"<none>\",\"<none>\",\"<none>\",\"1/2\"]" },
	{ "a deployment", "apps", "Deployment",
	  "{\"metadata\":{\"name\":\"web\"},\"spec\":{\"replicas\":3,\"selector\":{\"matchLabels\":"
	  "{\"b\":\"2\",\"a\":\"1\"}},\"template\":{\"spec\":{\"containers\":[{\"name\":\"x\","
	  "\"image\":\"i:1\"},{\"name\":\"y\",\"image\":\"i:2\"}]}}},\"status\":{\"readyReplicas\":"
	  "2,\"updatedReplicas\":1,\"availableReplicas\":2}}",
	  "[\"web\",\"2/3\",1,2,\"<unknown>\",\"x,y\",\"i:1,i:2\",\"a=1,b=2\"]" },
	{ "a replica set's selector", "apps", "ReplicaSet",
	  "{\"metadata\":{\"name\":\"rs\"},\"spec\":{\"selector\":{\"matchExpressions\":[{\"key\":"
	  "\"k\",\"operator\":\"In\",\"values\":[\"a\",\"b\"]},{\"key\":\"n\",\"operator\":"
	  "\"DoesNotExist\"}]}}}",
	  "[\"rs\",0,0,0,\"<unknown>\",\"\",\"\",\"k in (a,b),!n\"]" },
	{ "a service with a node port", "", "Service",
	  "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"type\":\"NodePort\",\"clusterIPs\":"
	  "[\"10.96.0.10\"],\"ports\":[{\"port\":80,\"nodePort\":30080,\"protocol\":\"TCP\"},"
	  "{\"port\":53,\"protocol\":\"UDP\"}],\"selector\":{\"app\":\"web\"}}}",
	  "[\"s\",\"NodePort\",\"10.96.0.10\",\"<none>\",\"80:30080/TCP,53/UDP\",\"<unknown>\","
	  "\"app=web\"]" },
	{ "a load balancer that waits", "", "Service",
	  "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"type\":\"LoadBalancer\"}}",
	  "[\"s\",\"LoadBalancer\",\"<none>\",\"<pending>\",\"<none>\",\"<unknown>\",\"<none>\"]" },
	{ "endpoints, more than fit", "", "Endpoints",
	  "{\"metadata\":{\"name\":\"e\"},\"subsets\":[{\"addresses\":[{\"ip\":\"1.1.1.1\"},{\"ip\":"
	  "\"1.1.1.2\"},{\"ip\":\"fd00::1\"},{\"ip\":\"1.1.1.4\"}],\"ports\":[{\"port\":80}]}]}",
	  "[\"e\",\"1.1.1.1:80,1.1.1.2:80,[fd00::1]:80 + 1 more...\",\"<unknown>\"]" },
	{ "a slice without ports", "discovery.k8s.io", "EndpointSlice",
	  "{\"metadata\":{\"name\":\"e\"},\"addressType\":\"IPv4\",\"endpoints\":[{\"addresses\":"
	  "[\"1.1.1.1\"]}]}",
	  "[\"e\",\"IPv4\",\"<unset>\",\"1.1.1.1\",\"<unknown>\"]" },
	{ "a cordoned node", "", "Node",
	  "{\"metadata\":{\"name\":\"n\",\"labels\":{\"node-role.kubernetes.io/worker\":\"\","
	  "\"kubernetes.io/role\":\"edge\"}},\"spec\":{\"unschedulable\":true},\"status\":"
	  "{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}],\"addresses\":[{\"type\":"
	  "\"InternalIP\",\"address\":\"172.30.0.101\"}],\"nodeInfo\":{\"kubeletVersion\":\"v1\"}}}",
	  "[\"n\",\"Ready,SchedulingDisabled\",\"edge,worker\",\"<unknown>\",\"v1\",\"172.30.0.101\","
	  "\"<none>\",\"<unknown>\",\"<unknown>\",\"<unknown>\"]" },
	{ "an event", "", "Event",
	  "{\"metadata\":{\"name\":\"e\"},\"involvedObject\":{\"kind\":\"Pod\",\"name\":\"p\"},"
	  "\"type\":\"Normal\",\"reason\":\"Started\",\"message\":\" it \\\"runs\\\"\\n\","
	  "\"source\":{\"component\":\"agent\",\"host\":\"n1\"},\"firstTimestamp\":"
	  "\"2025-01-02T03:03:05Z\",\"lastTimestamp\":\"2025-01-02T03:04:00Z\",\"count\":4}",
	  "[\"5s\",\"Normal\",\"Started\",\"pod/p\",\"\",\"agent, n1\",\"it \\\"runs\\\"\",\"60s\",4,"
	  "\"e\"]" },
	{ "a bound volume", "", "PersistentVolume",
	  "{\"metadata\":{\"name\":\"v\"},\"spec\":{\"capacity\":{\"storage\":\"5Gi\"},\"accessModes\":"
	  "[\"ReadWriteMany\",\"ReadWriteOnce\",\"ReadWriteOnce\"],\"claimRef\":{\"namespace\":\"d\","
	  "\"name\":\"c\"},\"persistentVolumeReclaimPolicy\":\"Retain\",\"storageClassName\":\"s\","
	  "\"volumeMode\":\"Filesystem\"},\"status\":{\"phase\":\"Bound\"}}",
	  "[\"v\",\"5Gi\",\"RWO,RWX\",\"Retain\",\"Bound\",\"d/c\",\"s\",\"<unset>\",\"\",\"<unknown>\","
	  "\"Filesystem\"]" },
	{ "a claim that waits shows nothing of a volume", "", "PersistentVolumeClaim",
	  "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],"
	  "\"storageClassName\":\"s\"},\"status\":{\"phase\":\"Pending\",\"capacity\":{\"storage\":"
	  "\"1Gi\"},\"accessModes\":[\"ReadWriteOnce\"]}}",
	  "[\"c\",\"Pending\",\"\",\"\",\"\",\"s\",\"<unset>\",\"<unknown>\",\"<unset>\"]" },
	{ "a claim on its way out", "", "PersistentVolumeClaim",
	  "{\"metadata\":{\"name\":\"c\",\"deletionTimestamp\":\"2025-01-02T03:04:05Z\"},\"spec\":"
	  "{\"volumeName\":\"v\",\"volumeMode\":\"Block\"},\"status\":{\"phase\":\"Bound\",\"capacity\":"
	  "{\"storage\":\"1Gi\"},\"accessModes\":[\"ReadWriteOncePod\"]}}",
	  "[\"c\",\"Terminating\",\"v\",\"1Gi\",\"RWOP\",\"\",\"<unset>\",\"<unknown>\",\"Block\"]" },
	{ "the default class", "storage.k8s.io", "StorageClass",
	  "{\"metadata\":{\"name\":\"s\",\"annotations\":{\"storageclass.kubernetes.io/"
	  "is-default-class\":\"true\"}},\"provisioner\":\"p\"}",
	  "[\"s (default)\",\"p\",\"Delete\",\"Immediate\",false,\"<unknown>\"]" },
	{ "a job that runs", "batch", "Job",
	  "{\"metadata\":{\"name\":\"j\"},\"spec\":{\"completions\":5,\"selector\":{\"matchLabels\":{\"a\":\"b\"}},"
	  "\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}},\"status\":{\"startTime\":"
	  "\"2025-01-02T03:03:05Z\",\"succeeded\":2}}",
	  "[\"j\",\"Running\",\"2/5\",\"60s\",\"<unknown>\",\"c\",\"i\",\"a=b\"]" },
	{ "one that is done", "batch", "Job",
	  "{\"metadata\":{\"name\":\"j\",\"deletionTimestamp\":\"2025-01-02T03:04:05Z\"},\"spec\":{"
	  "\"parallelism\":3},\"status\":{\"startTime\":\"2025-01-02T03:02:05Z\",\"completionTime\":"
	  "\"2025-01-02T03:02:15Z\",\"succeeded\":1,\"conditions\":[{\"type\":\"SuccessCriteriaMet\",\"status\":"
	  "\"True\"},{\"type\":\"Complete\",\"status\":\"True\"}]}}",
	  "[\"j\",\"Complete\",\"1/1 of 3\",\"10s\",\"<unknown>\",\"\",\"\",\"<none>\"]" },
	{ "one that is about to fail", "batch", "Job",
	  "{\"metadata\":{\"name\":\"j\"},\"status\":{\"conditions\":[{\"type\":\"Suspended\",\"status\":\"False\"},{"
	  "\"type\":\"FailureTarget\",\"status\":\"True\"}]}}",
	  "[\"j\",\"FailureTarget\",\"0/1\",\"\",\"<unknown>\",\"\",\"\",\"<none>\"]" },
	{ "one that rests", "batch", "Job",
	  "{\"metadata\":{\"name\":\"j\"},\"status\":{\"conditions\":[{\"type\":\"Suspended\",\"status\":\"True\"}]}}",
	  "[\"j\",\"Suspended\",\"0/1\",\"\",\"<unknown>\",\"\",\"\",\"<none>\"]" },
	{ "one that goes", "batch", "Job",
	  "{\"metadata\":{\"name\":\"j\",\"deletionTimestamp\":\"2025-01-02T03:04:05Z\"}}",
	  "[\"j\",\"Terminating\",\"0/1\",\"\",\"<unknown>\",\"\",\"\",\"<none>\"]" },
	{ "a cron job", "batch", "CronJob",
	  "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"schedule\":\"@daily\",\"suspend\":true,\"timeZone\":"
	  "\"Europe/Berlin\",\"jobTemplate\":{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\","
	  "\"image\":\"i\"}]}}}}},\"status\":{\"active\":[{\"name\":\"a\"},{\"name\":\"b\"}],\"lastScheduleTime\":"
	  "\"2025-01-02T03:03:05Z\"}}",
	  "[\"c\",\"@daily\",\"Europe/Berlin\",\"True\",2,\"60s\",\"<unknown>\",\"c\",\"i\",\"<none>\"]" },
	{ "a cron job that never ran", "batch", "CronJob",
	  "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"schedule\":\"@daily\"}}",
	  "[\"c\",\"@daily\",\"<none>\",\"<unset>\",0,\"<none>\",\"<unknown>\",\"\",\"\",\"<none>\"]" },
	{ "a daemon set", "apps", "DaemonSet",
	  "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{\"spec\":{"
	  "\"nodeSelector\":{\"y\":\"2\",\"x\":\"1\"},\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}},\"status\":{"
	  "\"desiredNumberScheduled\":5,\"currentNumberScheduled\":4,\"numberReady\":3,"
	  "\"updatedNumberScheduled\":2,\"numberAvailable\":1}}",
	  "[\"d\",5,4,3,2,1,\"x=1,y=2\",\"<unknown>\",\"c\",\"i\",\"a=b\"]" },
	{ "a priority class", "scheduling.k8s.io", "PriorityClass",
	  "{\"metadata\":{\"name\":\"c\"},\"value\":-5,\"globalDefault\":true,\"preemptionPolicy\":"
	  "\"Never\"}",
	  "[\"c\",-5,true,\"<unknown>\",\"Never\"]" },
	{ "a disruption budget", "policy", "PodDisruptionBudget",
	  "{\"metadata\":{\"name\":\"b\"},\"spec\":{\"maxUnavailable\":\"30%\"},\"status\":{"
	  "\"disruptionsAllowed\":2}}",
	  "[\"b\",\"N/A\",\"30%\",2,\"<unknown>\"]" },
	{ "a quota", "", "ResourceQuota",
	  "{\"metadata\":{\"name\":\"q\"},\"status\":{\"hard\":{\"pods\":\"3\",\"limits.cpu\":\"2\","
	  "\"cpu\":\"1\"},\"used\":{\"cpu\":\"500m\",\"pods\":\"1\"}}}",
	  "[\"q\",\"cpu: 500m/1, pods: 1/3\",\"limits.cpu: 0/2\",\"<unknown>\"]" },
	{ "a role binding", "rbac.authorization.k8s.io", "RoleBinding",
	  "{\"metadata\":{\"name\":\"b\"},\"roleRef\":{\"kind\":\"Role\",\"name\":\"r\"},"
	  "\"subjects\":[{\"kind\":\"User\",\"name\":\"ann\"},{\"kind\":\"ServiceAccount\","
	  "\"namespace\":\"n\",\"name\":\"bot\"},{\"kind\":\"User\",\"name\":\"bob\"},{\"kind\":"
	  "\"Group\",\"name\":\"g\"}]}",
	  "[\"b\",\"Role/r\",\"<unknown>\",\"ann, bob\",\"g\",\"n/bot\"]" },
	{ "a config map", "", "ConfigMap",
	  "{\"metadata\":{\"name\":\"c\"},\"data\":{\"a\":\"1\",\"b\":\"2\"},\"binaryData\":{\"z\":"
	  "\"AA==\"}}",
	  "[\"c\",3,\"<unknown>\"]" },
	{ "a certificate request", "certificates.k8s.io", "CertificateSigningRequest",
	  "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"signerName\":\"s\",\"username\":\"u\","
	  "\"expirationSeconds\":86400},\"status\":{\"conditions\":[{\"type\":\"Approved\"}],"
	  "\"certificate\":\"AA==\"}}",
	  "[\"c\",\"<unknown>\",\"s\",\"u\",\"24h\",\"Approved,Issued\"]" },
};

static void rows_say_what_kubectl_shows(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_size(cases); i++) {
		const struct kind *kind = kind_named(cases[i].group, cases[i].kind);
		struct status st = { 0 };
		struct buf out = { 0 };
		struct arena a;

		arena_init(&a, 0);

		void *message;

		if (json_read_message(kind->descriptor, bytes_str(cases[i].json), &a, NULL,
				      &message, &st) < 0)
			fail_msg("%s: %s", cases[i].name, st.message);
		table_put_cells(&out, table_columns_of(kind->descriptor), message,
				NOW_S * 1000000000, &a);
		if (strcmp(buf_cstr(&out), cases[i].cells) != 0)
			fail_msg("%s: got\n%s\nexpected\n%s", cases[i].name, buf_cstr(&out),
				 cases[i].cells);
		buf_fini(&out);
		arena_fini(&a);
	}
}

static void every_kind_has_a_row_even_when_empty(void **state)
{
	(void)state;
	kinds_for_each(k)
	{
		struct buf out = { 0 };
		struct arena a;

		if (k->flags & KIND_VIRTUAL)
			continue;
		arena_init(&a, 0);
		table_put_cells(&out, table_columns_of(k->descriptor),
				message_new(k->descriptor, &a), NOW_S * 1000000000, &a);
		assert_true(out.len > 2);
		buf_fini(&out);
		arena_fini(&a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_say_what_kubectl_shows),
		cmocka_unit_test(every_kind_has_a_row_even_when_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
