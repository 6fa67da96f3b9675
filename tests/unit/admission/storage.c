/* Volumes, claims and storage classes at the door. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "tests/unit/world/world.h"

#define CLAIM(name, spec)                                                                          \
	"{'kind':'PersistentVolumeClaim','metadata':{'name':'" name                                \
	"','namespace':'default'},'spec':{" spec "}}"
#define ASKS "'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'1Gi'}}"
#define VOLUME(spec) "{'kind':'PersistentVolume','metadata':{'name':'v'},'spec':{" spec "}}"
#define HOLDS "'accessModes':['ReadWriteOnce'],'capacity':{'storage':'1Gi'}"
#define HERE                                                                                       \
	"'nodeAffinity':{'required':{'nodeSelectorTerms':[{'matchExpressions':[{'key':'h',"        \
	"'operator':'In','values':['n1']}]}]}}"
#define CLASS(name, annotations, rest)                                                             \
	"{'apiVersion':'storage.k8s.io/v1','kind':'StorageClass','metadata':{'name':'" name        \
	"','annotations':{" annotations "}}," rest "}"
#define DEFAULT "'storageclass.kubernetes.io/is-default-class':'true'"

static void setup(struct world *w)
{
	world_init(w);
	world_put(w, "{'kind':'Namespace','metadata':{'name':'default'}}");
	world_put(w, "{'kind':'ServiceAccount','metadata':{'name':'default',"
		     "'namespace':'default'}}");
}

static const struct {
	const char *name, *text, *message;
} creates[] = {
	{ "a claim", CLAIM("c", ASKS), NULL },
	{ "a claim that asks for nothing", CLAIM("c", ""),
	  "PersistentVolumeClaim \"c\" is invalid: [spec.accessModes: Required value: at least 1 "
	  "access mode is required, spec.resources[storage]: Required value]" },
	{ "a claim of nothing",
	  CLAIM("c", "'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'0'}}"),
	  "PersistentVolumeClaim \"c\" is invalid: spec.resources[storage]: Invalid value: \"0\": "
	  "must be greater than zero" },
	{ "one pod, and others",
	  CLAIM("c", "'accessModes':['ReadWriteOncePod','ReadWriteOnce'],"
		     "'resources':{'requests':{'storage':'1'}}"),
	  "PersistentVolumeClaim \"c\" is invalid: spec.accessModes: Forbidden: may not use "
	  "ReadWriteOncePod with other access modes" },
	{ "an unknown mode",
	  CLAIM("c", "'accessModes':['Sometimes'],'resources':{'requests':{'storage':'1'}}"),
	  "PersistentVolumeClaim \"c\" is invalid: spec.accessModes[0]: Unsupported value: "
	  "\"Sometimes\": supported values: \"ReadWriteOnce\", \"ReadOnlyMany\", "
	  "\"ReadWriteMany\", \"ReadWriteOncePod\"" },
	{ "a folder of the host", VOLUME(HOLDS ",'hostPath':{'path':'/x'}"), NULL },
	{ "a volume of nothing", VOLUME(""),
	  "PersistentVolume \"v\" is invalid: [spec.accessModes: Required value, spec.capacity: "
	  "Required value, spec: Required value: must specify a volume type]" },
	{ "two sources", VOLUME(HOLDS ",'hostPath':{'path':'/x'},'nfs':{'server':'s','path':'/'}"),
	  "PersistentVolume \"v\" is invalid: spec.nfs: Forbidden: may not specify more than 1 "
	  "volume type" },
	{ "a local volume is somewhere", VOLUME(HOLDS ",'local':{'path':'/x'}"),
	  "PersistentVolume \"v\" is invalid: metadata.annotations: Required value: Local volume "
	  "requires node affinity" },
	{ "a local volume", VOLUME(HOLDS ",'local':{'path':'/x'}," HERE), NULL },
	{ "a path upwards", VOLUME(HOLDS ",'local':{'path':'/x/../../etc'}," HERE),
	  "PersistentVolume \"v\" is invalid: spec.local.path: Invalid value: \"/x/../../etc\": "
	  "must not contain '..'" },
	{ "a class", CLASS("s", "", "'provisioner':'example.com/p'"), NULL },
	{ "a class without a provisioner", CLASS("s", "", "'reclaimPolicy':'Delete'"),
	  "StorageClass.storage.k8s.io \"s\" is invalid: provisioner: Required value" },
	{ "an ephemeral volume without a claim",
	  "{'kind':'Pod','metadata':{'name':'p','namespace':'default'},'spec':{'containers':[{"
	  "'name':'a','image':'b'}],'volumes':[{'name':'v','ephemeral':{}}]}}",
	  "Pod \"p\" is invalid: spec.volumes[0].ephemeral.volumeClaimTemplate: Required value" },
	{ "an ephemeral volume that asks for nothing",
	  "{'kind':'Pod','metadata':{'name':'p','namespace':'default'},'spec':{'containers':[{"
	  "'name':'a','image':'b'}],'volumes':[{'name':'v','ephemeral':{'volumeClaimTemplate':{"
	  "'spec':{'accessModes':['ReadWriteOnce']}}}}]}}",
	  "Pod \"p\" is invalid: spec.volumes[0].ephemeral.volumeClaimTemplate.spec.resources[storage]:"
	  " Required value" },
	{ "a class does not recycle", CLASS("s", "", "'provisioner':'p','reclaimPolicy':'Recycle'"),
	  "StorageClass.storage.k8s.io \"s\" is invalid: reclaimPolicy: Unsupported value: "
	  "\"Recycle\": supported values: \"Delete\", \"Retain\"" },
};

static void what_is_made(void **state)
{
	for (size_t i = 0; i < array_size(creates); i++) {
		auto_with(world_fini) struct world w = { 0 };
		auto_with(status_fini) struct status st = { 0 };

		setup(&w);

		const struct object *o = world_create(&w, creates[i].text, &st);
		const char *said = o ? NULL : st.message;

		if ((said == NULL) != (creates[i].message == NULL) ||
		    (said != NULL && strcmp(said, creates[i].message) != 0))
			fail_msg("%s: %s", creates[i].name, said ? said : "accepted");
	}
}

#define BOUND_CLAIM                                                                                \
	"{'kind':'PersistentVolumeClaim','metadata':{'name':'c','namespace':'default'},'spec':{"   \
	"'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'2Gi'}},"              \
	"'storageClassName':'s','volumeName':'v','volumeMode':'Filesystem'},"                      \
	"'status':{'phase':'Bound'}}"
#define OPEN_CLAIM CLAIM("c", ASKS ",'volumeMode':'Filesystem'")
#define OLD_CLASS                                                                                  \
	CLASS("s", "", "'provisioner':'p','reclaimPolicy':'Delete','volumeBindingMode':'Immediate'")
#define OLD_VOLUME                                                                                 \
	VOLUME(HOLDS ",'local':{'path':'/x'}," HERE                                                \
		     ",'volumeMode':'Filesystem','persistentVolumeReclaimPolicy':'Retain'")

static const struct {
	const char *name, *old, *also, *text, *message;
} updates[] = {
	{ "a volume is named once", OPEN_CLAIM, NULL,
	  CLAIM("c", ASKS ",'volumeMode':'Filesystem','volumeName':'v'"), NULL },
	{ "a class comes later", OPEN_CLAIM, NULL,
	  CLAIM("c", ASKS ",'volumeMode':'Filesystem','storageClassName':'s'"), NULL },
	{ "an open claim does not grow", OPEN_CLAIM, NULL,
	  CLAIM("c", "'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'2Gi'}}"),
	  "PersistentVolumeClaim \"c\" is invalid: spec: Forbidden: spec is immutable after "
	  "creation except resources.requests and volumeAttributesClassName for bound claims" },
	{ "the volume stays", BOUND_CLAIM, NULL,
	  CLAIM("c", "'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'2Gi'}},"
		     "'storageClassName':'s','volumeName':'w'"),
	  "PersistentVolumeClaim \"c\" is invalid: spec: Forbidden: spec is immutable after "
	  "creation except resources.requests and volumeAttributesClassName for bound claims" },
	{ "a claim does not shrink", BOUND_CLAIM, NULL,
	  CLAIM("c", ASKS ",'storageClassName':'s','volumeName':'v'"),
	  "PersistentVolumeClaim \"c\" is invalid: spec.resources.requests.storage: Forbidden: "
	  "field can not be less than status.capacity" },
	{ "its class does not let it grow", BOUND_CLAIM, OLD_CLASS,
	  CLAIM("c", "'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'3Gi'}},"
		     "'storageClassName':'s','volumeName':'v'"),
	  "persistentvolumeclaims \"c\" is forbidden: only dynamically provisioned pvc can be "
	  "resized and the storageclass that provisions the pvc must support resize" },
	{ "nobody here makes it grow", BOUND_CLAIM,
	  CLASS("s", "", "'provisioner':'p','allowVolumeExpansion':true"),
	  CLAIM("c", "'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'3Gi'}},"
		     "'storageClassName':'s','volumeName':'v'"),
	  "persistentvolumeclaims \"c\" is forbidden: provisioner \"p\" of storageclass \"s\" cannot "
	  "resize volumes" },
	{ "a volume's source", OLD_VOLUME, NULL, VOLUME(HOLDS ",'local':{'path':'/y'}," HERE),
	  "PersistentVolume \"v\" is invalid: spec.persistentvolumesource: Forbidden: "
	  "spec.persistentvolumesource is immutable after creation" },
	{ "a volume's policy", OLD_VOLUME, NULL,
	  VOLUME(HOLDS ",'local':{'path':'/x'}," HERE ",'persistentVolumeReclaimPolicy':'Delete'"),
	  NULL },
	{ "a class's parameters", OLD_CLASS, NULL,
	  CLASS("s", "", "'provisioner':'p','parameters':{'a':'b'}"),
	  "StorageClass.storage.k8s.io \"s\" is invalid: parameters: Forbidden: updates to "
	  "parameters are forbidden." },
	{ "a class's mode", OLD_CLASS, NULL,
	  CLASS("s", "", "'provisioner':'q','volumeBindingMode':'WaitForFirstConsumer'"),
	  "StorageClass.storage.k8s.io \"s\" is invalid: [provisioner: Forbidden: updates to "
	  "provisioner are forbidden., volumeBindingMode: Invalid value: "
	  "\"WaitForFirstConsumer\": field is immutable]" },
	{ "a class becomes the default", OLD_CLASS, NULL, CLASS("s", DEFAULT, "'provisioner':'p'"),
	  NULL },
};

static void what_is_changed(void **state)
{
	for (size_t i = 0; i < array_size(updates); i++) {
		auto_with(world_fini) struct world w = { 0 };
		auto_with(status_fini) struct status st = { 0 };

		setup(&w);
		world_put(&w, updates[i].old);
		if (updates[i].also != NULL)
			world_put(&w, updates[i].also);

		int rc = world_update(&w, updates[i].text, "", &st);
		const char *said = rc == 0 ? NULL : st.message;

		if ((said == NULL) != (updates[i].message == NULL) ||
		    (said != NULL && strcmp(said, updates[i].message) != 0))
			fail_msg("%s: %s", updates[i].name, said ? said : "accepted");
	}
}

static bool shows(struct world *w, const struct object *o, const char *part)
{
	return strstr(world_print(w, o), world_json(w, part)) != NULL;
}

static void what_is_filled_in(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);

	/* Without a default class a claim stays as it is. */
	const struct object *o = world_create(&w, CLAIM("early", ASKS), NULL);

	assert_false(shows(&w, o, "storageClassName"));
	assert_true(shows(&w, o, "'finalizers':['kubernetes.io/pvc-protection']"));
	assert_true(shows(&w, o, "'status':{'phase':'Pending'}"));
	assert_true(shows(&w, o, "'volumeMode':'Filesystem'"));

	world_create(&w, CLASS("plain", "", "'provisioner':'p'"), NULL);
	world_create(&w, CLASS("old", DEFAULT, "'provisioner':'p'"), NULL);
	assert_true(
		shows(&w, world_create(&w, CLAIM("a", ASKS), NULL), "'storageClassName':'old'"));
	w.now_ns += 5000000000;
	world_create(&w, CLASS("new", DEFAULT, "'provisioner':'p'"), NULL);
	assert_true(
		shows(&w, world_create(&w, CLAIM("b", ASKS), NULL), "'storageClassName':'new'"));
	/* "" means none at all. */
	assert_true(shows(&w, world_create(&w, CLAIM("none", ASKS ",'storageClassName':''"), NULL),
			  "'storageClassName':''"));

	o = world_create(&w, VOLUME(HOLDS ",'hostPath':{'path':'/x'}"), NULL);
	assert_true(shows(&w, o, "'finalizers':['kubernetes.io/pv-protection']"));
	assert_true(shows(&w, o, "'persistentVolumeReclaimPolicy':'Retain'"));
	assert_true(shows(&w, o, "'status':{'phase':'Pending','lastPhaseTransitionTime':"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_made),
		cmocka_unit_test(what_is_changed),
		cmocka_unit_test(what_is_filled_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
