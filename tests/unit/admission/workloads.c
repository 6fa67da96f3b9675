/* What StatefulSets, ReplicationControllers, Deployments and their statuses must not be. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "tests/unit/world/world.h"

static void setup(struct world *w)
{
	world_init(w);
	world_put(w, "{'kind':'Namespace','metadata':{'name':'default'}}");
	world_put(w, "{'kind':'ServiceAccount','metadata':{'name':'default',"
		     "'namespace':'default'}}");
}

#define TEMPLATE                                                                                   \
	"'template':{'metadata':{'labels':{'app':'web'}},'spec':{'containers':[{'name':'a',"       \
	"'image':'b'}]}}"
#define SELECTOR "'selector':{'matchLabels':{'app':'web'}}"

static const char *set(struct world *w, const char *name, const char *spec)
{
	return arena_printf(&w->arena,
			    "{'apiVersion':'apps/v1','kind':'StatefulSet','metadata':{'name':'%s',"
			    "'namespace':'default'},'spec':{%s}}",
			    name, spec);
}

static const struct {
	const char *spec, *complaint;
} refused[] = {
	{ TEMPLATE, "spec.selector: Required value" },
	{ SELECTOR, "spec.template: Required value" },
	{ "'selector':{}," TEMPLATE,
	  "spec.selector: Invalid value: {}: empty selector is invalid for statefulset" },
	{ "'selector':{'matchLabels':{'app':'db'}}," TEMPLATE,
	  "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not "
	  "match template `labels`" },
	{ SELECTOR "," TEMPLATE ",'replicas':-1",
	  "spec.replicas: Invalid value: -1: must be greater than or equal to 0" },
	{ SELECTOR "," TEMPLATE ",'minReadySeconds':-1",
	  "spec.minReadySeconds: Invalid value: -1" },
	{ SELECTOR "," TEMPLATE ",'ordinals':{'start':-1}",
	  "spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0" },
	{ SELECTOR "," TEMPLATE ",'podManagementPolicy':'Odd'",
	  "spec.podManagementPolicy: Unsupported value: \"Odd\"" },
	{ SELECTOR "," TEMPLATE ",'updateStrategy':{'type':'Odd'}",
	  "spec.updateStrategy.type: Unsupported value: \"Odd\"" },
	{ SELECTOR "," TEMPLATE ",'updateStrategy':{'type':'OnDelete','rollingUpdate':{}}",
	  "only allowed for updateStrategy 'RollingUpdate'" },
	{ SELECTOR "," TEMPLATE ",'updateStrategy':{'rollingUpdate':{'partition':-1}}",
	  "spec.updateStrategy.rollingUpdate.partition: Invalid value: -1" },
	{ SELECTOR "," TEMPLATE ",'updateStrategy':{'rollingUpdate':{'maxUnavailable':0}}",
	  "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0" },
	{ SELECTOR "," TEMPLATE ",'updateStrategy':{'rollingUpdate':{'maxUnavailable':'101%'}}",
	  "must not be greater than 100%" },
	{ SELECTOR "," TEMPLATE ",'persistentVolumeClaimRetentionPolicy':{'whenScaled':'Odd'}",
	  "spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: \"Odd\"" },
	{ SELECTOR "," TEMPLATE ",'volumeClaimTemplates':[{'metadata':{'name':'data'},'spec':{}}]",
	  "spec.volumeClaimTemplates[0].spec.accessModes: Required value" },
	{ SELECTOR ",'template':{'metadata':{'labels':{'app':'web'}},'spec':{'restartPolicy':"
		   "'Never','containers':[{'name':'a','image':'b'}]}}",
	  "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: "
	  "\"Always\"" },
	{ SELECTOR ",'template':{'metadata':{'labels':{'app':'web'}},'spec':{"
		   "'activeDeadlineSeconds':5,'containers':[{'name':'a','image':'b'}]}}",
	  "activeDeadlineSeconds in StatefulSet is not Supported" },
	{ SELECTOR ",'template':{'metadata':{'labels':{'app':'web'}},'spec':{'containers':[{"
		   "'name':'a','image':'b','volumeMounts':[{'name':'gone','mountPath':'/x'}]}]}}",
	  "spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"gone\"" },
};

static void sets_are_refused(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	for (size_t i = 0; i < array_size(refused); i++) {
		auto_with(status_fini) struct status st = { 0 };

		if (world_create(&w, set(&w, "web", refused[i].spec), &st) != NULL)
			fail_msg("%s is taken", refused[i].spec);
		if (strstr(st.message, refused[i].complaint) == NULL)
			fail_msg("%s: got\n%s\nwanted\n%s", refused[i].spec, st.message,
				 refused[i].complaint);
	}
}

static void a_name_is_a_label(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	auto_with(status_fini) struct status st = { 0 };

	setup(&w);
	assert_null(world_create(&w, set(&w, "we.b", SELECTOR "," TEMPLATE), &st));
	assert_non_null(strstr(st.message, "metadata.name: Invalid value: \"we.b\""));
}

static void defaults_are_filled_in(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	const struct object *o;

	setup(&w);
	/* Mounts may name the volumes of claims; claims may say what they are. */
	o = world_create(
		&w,
		set(&w, "web",
		    SELECTOR
		    ",'template':{'metadata':{'labels':{'app':'web'}},'spec':{"
		    "'containers':[{'name':'a','image':'b','volumeMounts':[{'name':'data',"
		    "'mountPath':'/x'}]}]}},'volumeClaimTemplates':[{'apiVersion':'v1','kind':'PersistentVolumeClaim','metadata':{'name':"
		    "'data'},'spec':{'accessModes':['ReadWriteOnce'],'resources':{"
		    "'requests':{'storage':'1Gi'}}}}]"),
		NULL);
	assert_non_null(o);

	const char *json = world_print(&w, o);
	static const char *const parts[] = {
		"'replicas':1",
		"'podManagementPolicy':'OrderedReady'",
		"'updateStrategy':{'type':'RollingUpdate','rollingUpdate':{'partition':0}}",
		"'revisionHistoryLimit':10",
		"'persistentVolumeClaimRetentionPolicy':{'whenDeleted':'Retain','whenScaled':"
		"'Retain'}",
		"'status':{'phase':'Pending'}",
	};

	for (size_t i = 0; i < array_size(parts); i++)
		if (strstr(json, world_json(&w, parts[i])) == NULL)
			fail_msg("%s is not in %s", parts[i], json);
}

static void most_of_a_set_cannot_change(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	auto_with(status_fini) struct status st = { 0 };

	setup(&w);
	world_create(&w, set(&w, "web", SELECTOR "," TEMPLATE ",'serviceName':'a'"), NULL);
	assert_int_equal(
		world_update(&w,
			     set(&w, "web",
				 SELECTOR "," TEMPLATE
					  ",'serviceName':'a','replicas':3,'ordinals':{'start':2},"
					  "'minReadySeconds':5,'revisionHistoryLimit':3,"
					  "'updateStrategy':{'type':'OnDelete'},"
					  "'persistentVolumeClaimRetentionPolicy':{'whenScaled':"
					  "'Delete'}"),
			     "", &st),
		0);
	assert_int_equal(world_update(&w,
				      set(&w, "web", SELECTOR "," TEMPLATE ",'serviceName':'b'"),
				      "", &st),
			 -EINVAL);
	assert_non_null(strstr(st.message,
			       "spec: Forbidden: updates to statefulset spec for fields other than "
			       "'replicas', 'ordinals', 'template', 'updateStrategy', "
			       "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
			       "'minReadySeconds' are forbidden"));
}

static void statuses_add_up(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	static const struct {
		const char *type, *kind, *status, *complaint;
	} cases[] = {
		{ "apps/v1", "StatefulSet", "'replicas':1,'readyReplicas':2",
		  "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas" },
		{ "apps/v1", "StatefulSet", "'replicas':2,'availableReplicas':1",
		  "status.availableReplicas: Invalid value: 1: cannot be greater than "
		  "status.readyReplicas" },
		{ "apps/v1", "ReplicaSet", "'replicas':1,'fullyLabeledReplicas':2",
		  "status.fullyLabeledReplicas: Invalid value: 2" },
		{ "apps/v1", "Deployment", "'replicas':1,'updatedReplicas':2",
		  "status.updatedReplicas: Invalid value: 2" },
		{ "apps/v1", "Deployment", "'collisionCount':1",
		  "status.collisionCount: Invalid value: 1: cannot be decremented" },
		{ "v1", "ReplicationController", "'replicas':1,'readyReplicas':-1",
		  "status.readyReplicas: Invalid value: -1" },
	};

	setup(&w);
	world_put(&w, set(&w, "web", SELECTOR "," TEMPLATE));
	world_put(&w, "{'apiVersion':'apps/v1','kind':'ReplicaSet','metadata':{'name':'web',"
		      "'namespace':'default'},'spec':{" SELECTOR "," TEMPLATE "}}");
	world_put(&w, "{'apiVersion':'apps/v1','kind':'Deployment','metadata':{'name':'web',"
		      "'namespace':'default'},'spec':{" SELECTOR "," TEMPLATE
		      "},'status':{'collisionCount':2}}");
	world_put(&w, "{'kind':'ReplicationController','metadata':{'name':'web','namespace':"
		      "'default'},'spec':{'selector':{'app':'web'}," TEMPLATE "}}");
	for (size_t i = 0; i < array_size(cases); i++) {
		auto_with(status_fini) struct status st = { 0 };
		const char *text = arena_printf(
			&w.arena,
			"{'apiVersion':'%s','kind':'%s','metadata':{'name':'web','namespace':"
			"'default'},'status':{%s}}",
			cases[i].type, cases[i].kind, cases[i].status);

		assert_int_equal(world_update(&w, text, "status", &st), -EINVAL);
		if (strstr(st.message, cases[i].complaint) == NULL)
			fail_msg("%s: got\n%s\nwanted\n%s", text, st.message, cases[i].complaint);
	}
}

static void a_controller_follows_its_template(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	auto_with(status_fini) struct status st = { 0 };
	const char *json;

	setup(&w);
	json = world_print(&w, world_create(&w,
					    "{'kind':'ReplicationController','metadata':{'name':"
					    "'web','namespace':'default'},'spec':{" TEMPLATE "}}",
					    NULL));
	assert_non_null(strstr(json, "\"labels\":{\"app\":\"web\"}"));
	assert_non_null(strstr(json, "\"selector\":{\"app\":\"web\"}"));
	assert_non_null(strstr(json, "\"replicas\":1"));
	assert_null(world_create(&w,
				 "{'kind':'ReplicationController','metadata':{'name':'x',"
				 "'namespace':'default'},'spec':{'selector':{'app':'db'}," TEMPLATE
				 "}}",
				 &st));
	assert_non_null(strstr(st.message, "`selector` does not match template `labels`"));

	/* A DELETE that says nothing leaves the pods: the collector is asked to let them go. */
	assert_int_equal(world_delete(&w, "replicationcontrollers", "default", "web", -1, NULL), 0);
	assert_true(object_has_finalizer(world_get(&w, "replicationcontrollers", "default", "web"),
					 "orphan"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sets_are_refused),
		cmocka_unit_test(a_name_is_a_label),
		cmocka_unit_test(defaults_are_filled_in),
		cmocka_unit_test(most_of_a_set_cannot_change),
		cmocka_unit_test(statuses_add_up),
		cmocka_unit_test(a_controller_follows_its_template),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
