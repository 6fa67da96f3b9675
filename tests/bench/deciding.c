/* How fast decisions are made, without network, log or disk: scheduling among
 * many nodes, admission of an object, one look of a controller.
 *
 *     bench-deciding [NODES [PODS]]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/make.h"
#include "common/api/pack.h"
#include "common/base/cleanup.h"
#include "controlplane/admission/admission.h"
#include "controlplane/controllers/controller.h"
#include "controlplane/scheduler/scheduler.h"
#include "proto/k8s/apps_v1.pb-c.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "proto/sampan/store.pb-c.h"

static uint64_t now_ns(void)
{
	return system_source.monotonic_ns(&system_source);
}

/* --- A store filled by hand ---------------------------------------------------------------- */

static void put(struct store *s, struct arena *a, const char *resource, const void *message)
{
	const MetaV1__ObjectMeta *meta = message_metadata(message);
	struct bytes packed = pack_message_in(a, message);
	SampanStore__Entry entry = SAMPAN_STORE__ENTRY__INIT;
	SampanStore__Plan plan = SAMPAN_STORE__PLAN__INIT, *plans[] = { &plan };
	SampanStore__Operation op = SAMPAN_STORE__OPERATION__INIT, *ops[] = { &op };
	SampanStore__Key key = SAMPAN_STORE__KEY__INIT;
	const struct plan_result *results;
	size_t n;

	key.resource = (char *)resource;
	key.namespace_ = meta->namespace_;
	key.name = meta->name;
	op.key = &key;
	make_set(&op, type, SAMPAN_STORE__OPERATION__TYPE__PUT);
	op.has_object = 1;
	op.object = (ProtobufCBinaryData){ packed.len, (uint8_t *)packed.data };
	plan.n_operations = 1;
	plan.operations = ops;
	make_set(&entry, level, 1);
	entry.n_plans = 1;
	entry.plans = plans;

	size_t size = sampan_store__entry__get_packed_size(&entry);
	uint8_t *bytes = arena_alloc(a, size);
	struct status st = { 0 };

	sampan_store__entry__pack(&entry, bytes);
	if (store_apply(s, bytes_of(bytes, size), &results, &n, &st) < 0 || results[0].rc < 0) {
		fprintf(stderr, "apply: %s\n", st.message ? st.message : "refused");
		exit(1);
	}
}

static MetaV1__ObjectMeta *name(void *message, struct arena *a, const char *namespace,
				const char *text)
{
	MetaV1__ObjectMeta *meta = message_metadata_make(message, a);

	meta->name = arena_strdup(a, text);
	meta->namespace_ = namespace ? arena_strdup(a, namespace) : NULL;
	meta->uid = arena_printf(a, "uid-%s", text);
	return meta;
}

static Resource__Quantity *quantity(struct arena *a, const char *text)
{
	Resource__Quantity *q = make(a, Resource__Quantity, resource__quantity);

	q->string = arena_strdup(a, text);
	return q;
}

static void put_node(struct store *s, struct arena *a, int i)
{
	static const char *const amounts[][2] = {
		{ "cpu", "32" },
		{ "memory", "128Gi" },
		{ "pods", "110" },
	};
	CoreV1__Node *node = make(a, CoreV1__Node, core_v1__node);
	MetaV1__ObjectMeta *meta = name(node, a, NULL, arena_printf(a, "node-%05d", i));

	meta_set_label(a, meta, "topology.kubernetes.io/zone", i % 3 ? "a" : "b");
	node->status = make(a, CoreV1__NodeStatus, core_v1__node_status);
	for (size_t k = 0; k < array_size(amounts); k++) {
		CoreV1__NodeStatus__AllocatableEntry *e =
			make(a, CoreV1__NodeStatus__AllocatableEntry,
			     core_v1__node_status__allocatable_entry);

		e->key = arena_strdup(a, amounts[k][0]);
		e->value = quantity(a, amounts[k][1]);
		make_append(a, node->status, allocatable, e);
	}
	put(s, a, "nodes", node);
}

static CoreV1__Pod *make_pod(struct arena *a, int i)
{
	CoreV1__Pod *pod = make(a, CoreV1__Pod, core_v1__pod);
	MetaV1__ObjectMeta *meta = name(pod, a, "default", arena_printf(a, "pod-%06d", i));
	CoreV1__Container *c = make(a, CoreV1__Container, core_v1__container);
	CoreV1__ResourceRequirements__RequestsEntry *cpu =
		make(a, CoreV1__ResourceRequirements__RequestsEntry,
		     core_v1__resource_requirements__requests_entry);
	MetaV1__OwnerReference *owner = make(a, MetaV1__OwnerReference, meta_v1__owner_reference);

	meta_set_label(a, meta, "app", "web");
	owner->apiversion = arena_strdup(a, "apps/v1");
	owner->kind = arena_strdup(a, "ReplicaSet");
	owner->name = arena_printf(a, "set-%d", i / 30);
	owner->uid = arena_printf(a, "set-%d", i / 30);
	make_set(owner, controller, 1);
	make_append(a, meta, ownerreferences, owner);
	pod->spec = make(a, CoreV1__PodSpec, core_v1__pod_spec);
	pod->spec->schedulername = arena_strdup(a, "default-scheduler");
	c->name = arena_strdup(a, "a");
	c->image = arena_strdup(a, "registry.example/web:1");
	c->resources = make(a, CoreV1__ResourceRequirements, core_v1__resource_requirements);
	cpu->key = arena_strdup(a, "cpu");
	cpu->value = quantity(a, "100m");
	make_append(a, c->resources, requests, cpu);
	make_append(a, pod->spec, containers, c);
	return pod;
}

/* --- Scheduling ------------------------------------------------------------------------------ */

static void bench_scheduling(int nodes, int pods)
{
	struct store *s = store_create(&store_limits_default);
	struct scheduler *scheduler = scheduler_create(&(struct scheduler_config){ .seed = 1 });
	struct arena a;
	uint64_t begun;
	int bound = 0;

	arena_init(&a, 0);
	for (int i = 0; i < nodes; i++, arena_reset(&a))
		put_node(s, &a, i);
	for (int i = 0; i < pods; i++, arena_reset(&a))
		put(s, &a, "pods", make_pod(&a, i));

	begun = now_ns();
	scheduler_seed(scheduler, s, 0);
	printf("scheduler: index of %d nodes and %d pods built in %.1f ms\n", nodes, pods,
	       (double)(now_ns() - begun) / 1e6);
	begun = now_ns();
	for (;; arena_reset(&a)) {
		struct view v = { .store = s, .arena = &a };
		const struct object *pod;
		struct intents intents;

		intents_init(&intents, &a);
		if (!scheduler_next(scheduler, &v, &intents, &pod))
			break;
		bound += intents.first->type == INTENT_BIND;
	}

	double seconds = (double)(now_ns() - begun) / 1e9;

	printf("scheduler: %d of %d pods bound among %d nodes in %.2f s: %.0f decisions/s\n", bound,
	       pods, nodes, seconds, pods / seconds);
	arena_fini(&a);
	scheduler_destroy(scheduler);
	store_destroy(s);
}

/* --- Admission ---------------------------------------------------------------------------------
 */

static const struct object *get(void *ctx, const struct kind *kind, const char *namespace,
				const char *object)
{
	return store_get(ctx, kind, namespace, object);
}

static bool claim_taken(void *ctx, const char *claim)
{
	return store_claim(ctx, claim) != NULL;
}

static void walk(void *ctx, const struct kind *kind, const char *namespace, store_walk_cb *cb,
		 void *cb_ctx)
{
	store_walk(ctx, kind, namespace, NULL, NULL, cb, cb_ctx);
}

static CoreV1__ConfigMap *make_config_map(struct arena *a)
{
	CoreV1__ConfigMap *m = make(a, CoreV1__ConfigMap, core_v1__config_map);

	name(m, a, "default", "config");
	string_map_set(m, "data", "value", arena_printf(a, "%01000d", 7), a);
	return m;
}

static void bench_admission(const char *what, const char *kind_name,
			    void *(*make_it)(struct arena *))
{
	enum { ROUNDS = 20000 };
	static const struct cluster_config config = {
		.domain = "cluster.local",
		.service_cidr = "10.96.0.0/16",
		.pod_cidr = "10.244.0.0/16",
		.node_prefix = 24,
		.node_port_min = 30000,
		.node_port_max = 32767,
		.dns_address = "10.96.0.10",
	};
	struct store *s = store_create(&store_limits_default);
	struct admission_reader reader = { s, get, claim_taken, walk };
	const struct kind *kind = kind_named("", kind_name);
	struct arena a;
	uint64_t spent = 0;

	arena_init(&a, 0);
	CoreV1__Namespace *ns = make(&a, CoreV1__Namespace, core_v1__namespace);
	CoreV1__ServiceAccount *account =
		make(&a, CoreV1__ServiceAccount, core_v1__service_account);

	name(ns, &a, NULL, "default");
	put(s, &a, "namespaces", ns);
	name(account, &a, "default", "default");
	put(s, &a, "serviceaccounts", account);
	for (int i = 0; i < ROUNDS; i++) {
		arena_reset(&a);

		struct admission admission = {
			.arena = &a, .source = &system_source, .config = &config, .reader = &reader
		};
		ProtobufCMessage *message = make_it(&a);
		struct status st = { 0 };
		uint64_t begun = now_ns();

		if (admit_create(&admission, kind, message, &st) < 0) {
			fprintf(stderr, "%s\n", st.message);
			exit(1);
		}
		spent += now_ns() - begun;
	}
	printf("admission of %s: %.2f us\n", what, (double)spent / 1e3 / ROUNDS);
	arena_fini(&a);
	store_destroy(s);
}

static void *make_any_pod(struct arena *a)
{
	return make_pod(a, 1);
}

static void *make_any_config_map(struct arena *a)
{
	return make_config_map(a);
}

int main(int argc, char **argv)
{
	int nodes = argc > 1 ? atoi(argv[1]) : 5000, pods = argc > 2 ? atoi(argv[2]) : 100000;

	if (nodes < 1 || pods < 1) {
		fprintf(stderr, "usage: bench-deciding [NODES [PODS]]\n");
		return 2;
	}
	bench_admission("a ConfigMap of 1 KiB", "ConfigMap", make_any_config_map);
	bench_admission("a Pod", "Pod", make_any_pod);
	bench_scheduling(nodes, pods);
	return 0;
}
