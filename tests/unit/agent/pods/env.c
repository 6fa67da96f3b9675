#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/pods/env.h"
#include "agent/pods/probes.h"
#include "common/api/json.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"

static const struct {
	const char *text, *wanted;
} expansions[] = {
	{ "plain", "plain" },
	{ "$(A)", "1" },
	{ "x$(A)y$(B)z", "x1y$z" },
	{ "$$(A)", "$(A)" },
	{ "$(NONE)", "$(NONE)" },
	{ "$(A", "$(A" },
	{ "$$", "$" },
	{ "$A $", "$A $" },
	{ "$$$(A)", "$1" },
};

static void test_expansion(void **state)
{
	auto_with(arena_fini) struct arena a = { 0 };
	struct environment env;

	arena_init(&a, 0);
	environment_init(&env, &a);
	environment_set(&env, "A", "0");
	environment_set(&env, "B", "$");
	environment_set(&env, "A", "1");
	assert_int_equal(env.n, 2);
	for (size_t i = 0; i < array_size(expansions); i++)
		assert_string_equal(environment_expand(&env, expansions[i].text), expansions[i].wanted);
	environment_fini(&env);
}

static void *read_json(struct arena *a, const ProtobufCMessageDescriptor *d, const char *json)
{
	struct status st = { 0 };
	void *message = NULL;

	if (json_read_message(d, bytes_str(json), a, NULL, &message, &st) < 0)
		fail_msg("%s", st.message);
	return message;
}

static void add_object(struct object_list *list, struct held_object *o, struct arena *a, const char *resource,
	const char *name, const ProtobufCMessageDescriptor *d, const char *json)
{
	*o = (struct held_object){ .refs = 1, .resource = (char *)resource, .namespace = (char *)"ns", .name = (char *)name };
	o->packed = pack_message_in(a, read_json(a, d, json));
	array_grow(list->items, list->n, list->cap);
	list->items[list->n++] = o;
}

static void test_build(void **state)
{
	auto_with(arena_fini) struct arena a = { 0 };
	struct object_list list = { 0 };
	struct held_object map, secret, service;
	struct node_facts node = { .name = "n1", .address = "10.0.0.1", .cpu_milli = 2000, .memory_bytes = 1 << 30 };
	char *image_env[] = { (char *)"PATH=/img", (char *)"IMG=1", NULL };
	struct environment env;
	struct status st = { 0 };

	arena_init(&a, 0);
	add_object(&list, &map, &a, "configmaps", "cm", &core_v1__config_map__descriptor,
		"{\"data\":{\"k\":\"v\",\"two\":\"2\"}}");
	add_object(&list, &secret, &a, "secrets", "s", &core_v1__secret__descriptor, "{\"data\":{\"p\":\"aGk=\"}}");
	add_object(&list, &service, &a, "services", "my-svc", &core_v1__service__descriptor,
		"{\"metadata\":{\"name\":\"my-svc\"},\"spec\":{\"clusterIP\":\"10.9.9.9\",\"ports\":[{\"name\":\"web\",\"port\":80}]}}");
	CoreV1__Pod *pod = read_json(&a, &core_v1__pod__descriptor,
		"{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"u\",\"labels\":{\"l\":\"lv\"}},\"spec\":{"
		"\"containers\":[{\"name\":\"c\",\"resources\":{\"limits\":{\"cpu\":\"250m\"}},"
		"\"envFrom\":[{\"prefix\":\"X_\",\"configMapRef\":{\"name\":\"cm\"}},{\"secretRef\":{\"name\":\"none\",\"optional\":true}}],"
		"\"env\":[{\"name\":\"A\",\"value\":\"$(X_k)-$(IMG)\"},"
		"{\"name\":\"S\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"s\",\"key\":\"p\"}}},"
		"{\"name\":\"L\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.labels['l']\"}}},"
		"{\"name\":\"IP\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"status.podIP\"}}},"
		"{\"name\":\"CPU\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":\"limits.cpu\"}}},"
		"{\"name\":\"MEM\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":\"limits.memory\",\"divisor\":\"1Mi\"}}}]}]}}");
	struct pod_view view = { .pod = pod, .objects = &list, .node = &node, .dir = "/x", .ip = "10.1.0.7", .arena = &a };

	environment_init(&env, &a);
	if (environment_build(&env, &view, pod->spec->containers[0], image_env, &st) < 0)
		fail_msg("%s", st.message);
	static const char *const wanted[][2] = { { "PATH", "/img" }, { "HOSTNAME", "p" }, { "A", "v-1" }, { "X_two", "2" },
		{ "S", "hi" }, { "L", "lv" }, { "IP", "10.1.0.7" }, { "CPU", "1" }, { "MEM", "1024" },
		{ "MY_SVC_SERVICE_HOST", "10.9.9.9" }, { "MY_SVC_SERVICE_PORT_WEB", "80" },
		{ "MY_SVC_PORT_80_TCP", "tcp://10.9.9.9:80" } };

	for (size_t i = 0; i < array_size(wanted); i++)
		assert_string_equal(environment_get(&env, wanted[i][0]), wanted[i][1]);
	/* What is missing and not optional is named. */
	pod->spec->containers[0]->envfrom[0]->configmapref->localobjectreference->name = (char *)"gone";
	assert_int_equal(environment_build(&env, &view, pod->spec->containers[0], image_env, &st), -ENOENT);
	assert_string_equal(st.message, "configmap \"gone\" not found");
	status_fini(&st);
	environment_fini(&env);
	free(list.items);
}

static void test_probe_count(void **state)
{
	CoreV1__Probe spec = CORE_V1__PROBE__INIT;
	struct probe_count count = { 0 };

	spec.has_successthreshold = spec.has_failurethreshold = 1;
	spec.successthreshold = 2;
	spec.failurethreshold = 3;
	assert_false(probe_count(&count, &spec, true));
	assert_true(probe_count(&count, &spec, true));
	assert_true(count.ok);
	assert_false(probe_count(&count, &spec, true));
	assert_false(probe_count(&count, &spec, false));
	assert_false(probe_count(&count, &spec, false));
	assert_false(probe_count(&count, &spec, true)); /* The row of failures is broken. */
	assert_false(probe_count(&count, &spec, false));
	assert_false(probe_count(&count, &spec, false));
	assert_true(probe_count(&count, &spec, false));
	assert_false(count.ok);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_expansion), cmocka_unit_test(test_build),
		cmocka_unit_test(test_probe_count) };

	return cmocka_run_group_tests_name("agent-env", tests, NULL, NULL);
}
