/* Volumes and claims: who is bound to whom, what becomes of both, and folders of nodes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "tests/unit/world/world.h"

extern const struct controller controller_volume_binder, controller_pvc_protection,
	controller_pv_protection, controller_local_path, controller_ephemeral_volumes;

#define CLAIM(name, meta, spec)                                                                     \
	"{'kind':'PersistentVolumeClaim','metadata':{'name':'" name "','namespace':'d'" meta        \
	"},'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'5Gi'}}" spec \
	"}}"
#define VOLUME_OF(name, size, meta, spec, status)                                                  \
	"{'kind':'PersistentVolume','metadata':{'name':'" name "'" meta                            \
	"},'spec':{'capacity':{'storage':'" size                                                   \
	"'},'accessModes':['ReadWriteOnce'],'persistentVolumeReclaimPolicy':'Retain',"             \
	"'volumeMode':'Filesystem','hostPath':{'path':'/x','type':''}" spec                        \
	"},'status':{'phase':'" status "'}}"
#define VOLUME(name, size, meta, spec) VOLUME_OF(name, size, meta, spec, "Available")
#define CLASS(name, rest)                                                                          \
	"{'apiVersion':'storage.k8s.io/v1','kind':'StorageClass','metadata':{'name':'" name        \
	"'}," rest "}"
#define WAITING                                                                                    \
	CLASS("wait", "'provisioner':'sampan.io/local-path','reclaimPolicy':'Delete',"             \
		      "'volumeBindingMode':'WaitForFirstConsumer'")
#define NONE ",'storageClassName':''"
#define FILES ",'volumeMode':'Filesystem'"

static void setup(struct world *w)
{
	world_init(w);
	world_put(w, "{'kind':'Namespace','metadata':{'name':'d'}}");
	world_put(w, "{'kind':'ServiceAccount','metadata':{'name':'default','namespace':'d'}}");
	world_put(w, "{'kind':'Node','metadata':{'name':'n1','labels':{'kubernetes.io/hostname':"
		     "'h1'},'annotations':{'sampan.io/local-path-folder':'/data/volumes'}}}");
}

/* --- Which volume -------------------------------------------------------------------- */

static const struct {
	const char *name, *objects[5], *intents;
} claims[] = {
	{ "the smallest that is large enough",
	  { CLAIM("c", "", NONE), VOLUME("big", "10Gi", "", ""), VOLUME("fits", "5Gi", "", ""),
	    VOLUME("small", "1Gi", "", "") },
	  "update persistentvolumes fits\nupdate persistentvolumeclaims d/c\n" },
	{ "fewer access modes first",
	  { CLAIM("c", "", NONE),
	    "{'kind':'PersistentVolume','metadata':{'name':'a'},'spec':{'capacity':{'storage':"
	    "'5Gi'},'accessModes':['ReadWriteOnce','ReadOnlyMany'],'volumeMode':'Filesystem','hostPath':{'path':'/x','type':''}},"
	    "'status':{'phase':'Available'}}",
	    VOLUME("b", "9Gi", "", "") },
	  "update persistentvolumes b\nupdate persistentvolumeclaims d/c\n" },
	{ "not of another class",
	  { CLAIM("c", "", ",'storageClassName':'s'"), VOLUME("v", "5Gi", "", ""),
	    VOLUME("w", "5Gi", "", ",'storageClassName':'s'") },
	  "update persistentvolumes w\nupdate persistentvolumeclaims d/c\n" },
	{ "not of another mode",
	  { CLAIM("c", "", NONE ",'volumeMode':'Block'"), VOLUME("v", "5Gi", "", "") },
	  "status persistentvolumeclaims d/c\nevent persistentvolumeclaims d/c Normal "
	  "FailedBinding: no persistent volumes available for this claim and no storage class is "
	  "set\n" },
	{ "by label",
	  { CLAIM("c", "", NONE ",'selector':{'matchLabels':{'a':'b'}}"),
	    VOLUME("v", "5Gi", "", ""), VOLUME("w", "7Gi", ",'labels':{'a':'b'}", "") },
	  "update persistentvolumes w\nupdate persistentvolumeclaims d/c\n" },
	{ "not one that goes, or is another's, or has not been looked at",
	  { CLAIM("c", "", NONE),
	    VOLUME("v", "5Gi", ",'deletionTimestamp':'2025-01-01T00:00:00Z','finalizers':['a.b/c']",
		   ""),
	    VOLUME("w", "5Gi", "", ",'claimRef':{'namespace':'d','name':'other'}"),
	    VOLUME_OF("x", "5Gi", "", "", "Pending") },
	  "status persistentvolumeclaims d/c\nevent persistentvolumeclaims d/c Normal "
	  "FailedBinding: no persistent volumes available for this claim and no storage class is "
	  "set\n" },
	{ "what was given to it by name comes first, whatever its class",
	  { CLAIM("c", "", ",'storageClassName':'s'"),
	    VOLUME("v", "5Gi", "", ",'storageClassName':'s'"),
	    VOLUME("w", "50Gi", "", ",'claimRef':{'namespace':'d','name':'c'}") },
	  "update persistentvolumes w\nupdate persistentvolumeclaims d/c\n" },
	{ "what was given to an earlier claim of that name is not its",
	  { CLAIM("c", "", NONE),
	    VOLUME("w", "50Gi", "", ",'claimRef':{'namespace':'d','name':'c','uid':'old'}") },
	  "status persistentvolumeclaims d/c\nevent persistentvolumeclaims d/c Normal "
	  "FailedBinding: no persistent volumes available for this claim and no storage class is "
	  "set\n" },
	{ "the volume it names",
	  { CLAIM("c", "", NONE ",'volumeName':'v'"), VOLUME("v", "5Gi", "", ""),
	    VOLUME("a", "5Gi", "", "") },
	  "update persistentvolumes v\nupdate persistentvolumeclaims d/c\n" },
	{ "the volume it names is too small",
	  { CLAIM("c", "", NONE ",'volumeName':'v'"), VOLUME("v", "1Gi", "", "") },
	  "status persistentvolumeclaims d/c\nevent persistentvolumeclaims d/c Warning "
	  "VolumeMismatch: Cannot bind to requested volume \"v\": requested PV is too small\n" },
	{ "the volume it names is another's",
	  { CLAIM("c", "", NONE ",'volumeName':'v'"),
	    VOLUME("v", "5Gi", "", ",'claimRef':{'namespace':'d','name':'other','uid':'u'}") },
	  "status persistentvolumeclaims d/c\nevent persistentvolumeclaims d/c Warning "
	  "FailedBinding: volume \"v\" already bound to a different claim.\n" },
	{ "the volume it names does not exist yet",
	  { CLAIM("c", "", NONE ",'volumeName':'v'") },
	  "status persistentvolumeclaims d/c\n" },
	{ "the first consumer is waited for",
	  { CLAIM("c", "", ",'storageClassName':'wait'"), WAITING,
	    VOLUME("v", "5Gi", "", ",'storageClassName':'wait'") },
	  "status persistentvolumeclaims d/c\nevent persistentvolumeclaims d/c Normal "
	  "WaitForFirstConsumer: waiting for first consumer to be created before binding\n" },
	{ "given by name, nobody is waited for",
	  { CLAIM("c", "", ",'storageClassName':'wait'"), WAITING,
	    VOLUME("v", "5Gi", "",
		   ",'storageClassName':'wait','claimRef':{'namespace':'d','name':'c'}") },
	  "update persistentvolumes v\nupdate persistentvolumeclaims d/c\n" },
	{ "a provisioner is asked once a node is chosen",
	  { CLAIM("c", ",'annotations':{'volume.kubernetes.io/selected-node':'n1'}",
		  ",'storageClassName':'wait'"),
	    WAITING },
	  "update persistentvolumeclaims d/c\nevent persistentvolumeclaims d/c Normal "
	  "ExternalProvisioning: Waiting for a volume to be created either by the external "
	  "provisioner 'sampan.io/local-path' or manually by the system administrator. If volume "
	  "creation is delayed, please verify that the provisioner is running and correctly "
	  "registered.\n" },
	{ "at once when the class does not wait",
	  { CLAIM("c", "", ",'storageClassName':'now'"),
	    CLASS("now", "'provisioner':'example.com/x','volumeBindingMode':'Immediate'") },
	  "update persistentvolumeclaims d/c\nevent persistentvolumeclaims d/c Normal "
	  "ExternalProvisioning: Waiting for a volume to be created either by the external "
	  "provisioner 'example.com/x' or manually by the system administrator. If volume creation "
	  "is delayed, please verify that the provisioner is running and correctly registered.\n" },
	{ "nobody makes volumes of such a class",
	  { CLAIM("c", "", ",'storageClassName':'none'"),
	    CLASS("none", "'provisioner':'kubernetes.io/no-provisioner'") },
	  "status persistentvolumeclaims d/c\nevent persistentvolumeclaims d/c Warning "
	  "ProvisioningFailed: no volume plugin matched name: kubernetes.io/no-provisioner\n" },
	{ "the class does not exist",
	  { CLAIM("c", "", ",'storageClassName':'lost'") },
	  "status persistentvolumeclaims d/c\nevent persistentvolumeclaims d/c Warning "
	  "ProvisioningFailed: storageclass.storage.k8s.io \"lost\" not found\n" },
	{ "a default class that came later",
	  { CLAIM("c", "", ""),
	    "{'apiVersion':'storage.k8s.io/v1','kind':'StorageClass','metadata':{'name':'s',"
	    "'annotations':{'storageclass.kubernetes.io/is-default-class':'true'}},"
	    "'provisioner':'p'}" },
	  "update persistentvolumeclaims d/c\n" },
	{ "a claim that goes is given nothing",
	  { CLAIM("c", ",'deletionTimestamp':'2025-01-01T00:00:00Z','finalizers':['a.b/c']", NONE),
	    VOLUME("v", "5Gi", "", "") },
	  "" },
};

static void claims_find_volumes(void **state)
{
	for (size_t i = 0; i < array_size(claims); i++) {
		auto_with(world_fini) struct world w = { 0 };

		setup(&w);
		for (size_t k = 0; k < array_size(claims[i].objects) && claims[i].objects[k]; k++)
			world_put(&w, claims[i].objects[k]);

		const char *got = world_reconcile(&w, &controller_volume_binder, "d", "c", true);

		if (strcmp(got, claims[i].intents) != 0)
			fail_msg("%s: got\n%s", claims[i].name, got);
	}
}

/* --- What becomes of a volume -------------------------------------------------------- */

#define REF ",'claimRef':{'namespace':'d','name':'c','uid':'uid-c'}"
#define MADE ",'annotations':{'pv.kubernetes.io/provisioned-by':'sampan.io/local-path'}"
#define POLICY(name, policy, meta, status)                                                         \
	"{'kind':'PersistentVolume','metadata':{'name':'" name "'" meta                            \
	"},'spec':{'capacity':{'storage':'5Gi'},'accessModes':['ReadWriteOnce'],"                  \
	"'persistentVolumeReclaimPolicy':'" policy                                                 \
	"','volumeMode':'Filesystem','hostPath':{'path':'/x','type':''}" REF                       \
	"},'status':{'phase':'" status "'}}"
#define BOUND                                                                                      \
	CLAIM("c", ",'annotations':{'pv.kubernetes.io/bind-completed':'yes'}",                     \
	      NONE FILES ",'volumeName':'v'")

static const struct {
	const char *name, *objects[3], *intents, *shows;
} volumes[] = {
	{ "a new one is available",
	  { VOLUME_OF("v", "5Gi", "", "", "Pending") },
	  "status persistentvolumes v\n",
	  "Available" },
	{ "so is one that a client gave to a claim",
	  { VOLUME_OF("v", "5Gi", "", ",'claimRef':{'namespace':'d','name':'c'}", "Pending") },
	  "status persistentvolumes v\n",
	  "Available" },
	{ "bound",
	  { VOLUME("v", "5Gi", "", REF), BOUND },
	  "status persistentvolumes v\n",
	  "Bound" },
	{ "the claim is about to take it",
	  { VOLUME("v", "5Gi", "", REF), CLAIM("c", "", NONE) },
	  "",
	  "Available" },
	{ "the claim is gone",
	  { POLICY("v", "Retain", "", "Bound") },
	  "status persistentvolumes v\n",
	  "Released" },
	{ "another claim of that name is there",
	  { POLICY("v", "Retain", "", "Bound"),
	    "{'kind':'PersistentVolumeClaim','metadata':{'name':'c','namespace':'d','uid':'new'},"
	    "'spec':{}}" },
	  "status persistentvolumes v\n",
	  "Released" },
	{ "retained", { POLICY("v", "Retain", "", "Released") }, "", "Released" },
	{ "deleted by the one who made it",
	  { POLICY("v", "Delete", MADE, "Released") },
	  "delete persistentvolumes v\n",
	  NULL },
	{ "deleted by somebody else",
	  { POLICY("v", "Delete",
		   ",'annotations':{'pv.kubernetes.io/provisioned-by':'example.com/x'}",
		   "Released") },
	  "",
	  "Released" },
	{ "nobody can delete it",
	  { POLICY("v", "Delete", "", "Released") },
	  "status persistentvolumes v\nevent persistentvolumes v Warning VolumeFailedDelete: error "
	  "getting deleter volume plugin for volume \"v\": no deletable volume plugin matched\n",
	  "Failed" },
	{ "nobody can recycle it",
	  { POLICY("v", "Recycle", "", "Released") },
	  "status persistentvolumes v\nevent persistentvolumes v Warning VolumeFailedRecycle: error "
	  "getting recycler volume plugin for volume \"v\": no recyclable volume plugin matched\n",
	  "Failed" },
	{ "a failure is not tried again", { POLICY("v", "Delete", "", "Failed") }, "", "Failed" },
	{ "its claim took another: what the controller wrote is taken back",
	  { VOLUME("v", "5Gi", ",'annotations':{'pv.kubernetes.io/bound-by-controller':'yes'}",
		   REF),
	    CLAIM("c", "", NONE ",'volumeName':'w'") },
	  "update persistentvolumes v\n",
	  NULL },
	{ "its claim took another: it was made for nothing",
	  { POLICY("v", "Delete", MADE, "Available"), CLAIM("c", "", NONE ",'volumeName':'w'") },
	  "status persistentvolumes v\n",
	  "Released" },
};

static void volumes_have_phases(void **state)
{
	for (size_t i = 0; i < array_size(volumes); i++) {
		auto_with(world_fini) struct world w = { 0 };
		struct view v;
		struct intents intents;

		setup(&w);
		for (size_t k = 0; k < array_size(volumes[i].objects) && volumes[i].objects[k]; k++)
			world_put(&w, volumes[i].objects[k]);
		v = world_view(&w);
		intents_init(&intents, &w.arena);
		controller_volume_binder.reconcile(&v, (struct key){ "", "v" }, &intents);

		const char *got = intents_print(&intents, &w.arena);

		if (strcmp(got, volumes[i].intents) != 0)
			fail_msg("%s: got\n%s", volumes[i].name, got);
		assert_int_equal(world_apply(&w, &intents, NULL), 0);
		if (volumes[i].shows != NULL &&
		    strstr(world_print(&w, world_get(&w, "persistentvolumes", "", "v")),
			   volumes[i].shows) == NULL)
			fail_msg("%s: not %s", volumes[i].name, volumes[i].shows);
	}
}

/* --- From beginning to end ------------------------------------------------------------ */

static bool shows(struct world *w, const char *resource, const char *namespace, const char *name,
		  const char *part)
{
	const char *text = world_print(w, world_get(w, resource, namespace, name));

	if (strstr(text, world_json(w, part)) != NULL)
		return true;
	print_message("%s/%s is %s\n", resource, name, text);
	return false;
}

static void a_binding_lives_and_ends(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_create(&w, VOLUME("v", "7Gi", "", ""), NULL);
	world_settle(&w);
	world_create(&w, CLAIM("c", "", NONE), NULL);
	world_settle(&w);
	assert_true(shows(&w, "persistentvolumes", "", "v", "'phase':'Bound'"));
	assert_true(shows(&w, "persistentvolumes", "", "v",
			  "'pv.kubernetes.io/bound-by-controller':'yes'"));
	assert_true(shows(&w, "persistentvolumeclaims", "d", "c",
			  "'pv.kubernetes.io/bind-completed':'yes'"));
	assert_true(shows(&w, "persistentvolumeclaims", "d", "c",
			  "'status':{'phase':'Bound','accessModes':['ReadWriteOnce'],'capacity':{"
			  "'storage':'7Gi'}}"));

	/* Both are held: the claim by a pod, the volume by the claim. */
	world_create(
		&w,
		"{'kind':'Pod','metadata':{'name':'p','namespace':'d'},'spec':{'nodeName':'n1',"
		"'containers':[{'name':'a','image':'b'}],'volumes':[{'name':'x',"
		"'persistentVolumeClaim':{'claimName':'c'}}]}}",
		NULL);
	world_delete(&w, "persistentvolumeclaims", "d", "c", -1, NULL);
	world_delete(&w, "persistentvolumes", "", "v", -1, NULL);
	world_settle(&w);
	assert_non_null(world_get(&w, "persistentvolumeclaims", "d", "c"));
	assert_true(shows(&w, "persistentvolumes", "", "v", "'phase':'Bound'"));
	world_delete(&w, "pods", "d", "p", 0, NULL);
	world_settle(&w);
	assert_null(world_get(&w, "persistentvolumeclaims", "d", "c"));
	assert_null(world_get(&w, "persistentvolumes", "", "v"));
}

static void a_claim_loses_its_volume(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_put(&w, BOUND);
	assert_string_equal(
		world_reconcile(&w, &controller_volume_binder, "d", "c", true),
		"status persistentvolumeclaims d/c\nevent persistentvolumeclaims d/c Warning "
		"ClaimLost: Bound claim has lost its PersistentVolume. Data on the volume is lost!\n");
	world_settle(&w);
	assert_true(shows(&w, "persistentvolumeclaims", "d", "c", "'phase':'Lost'"));

	/* It is found again. */
	world_put(&w, VOLUME("v", "5Gi", "", REF));
	world_settle(&w);
	assert_true(shows(&w, "persistentvolumeclaims", "d", "c", "'phase':'Bound'"));

	/* Another claim has it. */
	world_put(&w,
		  VOLUME("v", "5Gi", "", ",'claimRef':{'namespace':'d','name':'other','uid':'u'}"));
	assert_string_equal(
		world_reconcile(&w, &controller_volume_binder, "d", "c", true),
		"status persistentvolumeclaims d/c\nevent persistentvolumeclaims d/c Warning "
		"ClaimMisbound: Two claims are bound to the same volume, this one is bound "
		"incorrectly\n");
}

/* --- Folders of nodes ------------------------------------------------------------------- */

#define ASKED                                                                                      \
	",'annotations':{'volume.kubernetes.io/selected-node':'n1',"                               \
	"'volume.kubernetes.io/storage-provisioner':'sampan.io/local-path'}"

static const struct {
	const char *name, *claim, *class, *intents;
} provisions[] = {
	{ "a volume", CLAIM("c", ASKED, ",'storageClassName':'wait'"), WAITING,
	  "create persistentvolumes pvc-uid-c\nevent persistentvolumeclaims d/c Normal "
	  "ProvisioningSucceeded: Successfully provisioned volume pvc-uid-c\n" },
	{ "nobody asked", CLAIM("c", "", ",'storageClassName':'wait'"), WAITING, "" },
	{ "no node is chosen",
	  CLAIM("c",
		",'annotations':{'volume.kubernetes.io/storage-provisioner':'sampan.io/local-path'}",
		",'storageClassName':'wait'"),
	  WAITING, "" },
	{ "the node is gone: another is chosen",
	  CLAIM("c",
		",'annotations':{'volume.kubernetes.io/selected-node':'n9',"
		"'volume.kubernetes.io/storage-provisioner':'sampan.io/local-path'}",
		",'storageClassName':'wait'"),
	  WAITING, "update persistentvolumeclaims d/c\n" },
	{ "it has one", CLAIM("c", ASKED, ",'storageClassName':'wait','volumeName':'v'"), WAITING,
	  "" },
	{ "for all nodes",
	  "{'kind':'PersistentVolumeClaim','metadata':{'name':'c','namespace':'d'" ASKED
	  "},'spec':{'accessModes':['ReadWriteMany'],'resources':{'requests':{'storage':'5Gi'}},"
	  "'storageClassName':'wait'}}",
	  WAITING,
	  "event persistentvolumeclaims d/c Warning ProvisioningFailed: failed to provision volume "
	  "with StorageClass \"wait\": only the access modes ReadWriteOnce and ReadWriteOncePod are "
	  "supported\n" },
	{ "as a device", CLAIM("c", ASKED, ",'storageClassName':'wait','volumeMode':'Block'"),
	  WAITING,
	  "event persistentvolumeclaims d/c Warning ProvisioningFailed: failed to provision volume "
	  "with StorageClass \"wait\": volumeMode Block is not supported\n" },
	{ "without a first consumer", CLAIM("c", ASKED, ",'storageClassName':'wait'"),
	  CLASS("wait", "'provisioner':'sampan.io/local-path','volumeBindingMode':'Immediate'"),
	  "event persistentvolumeclaims d/c Warning ProvisioningFailed: failed to provision volume "
	  "with StorageClass \"wait\": its volumes are folders of nodes: set volumeBindingMode to "
	  "WaitForFirstConsumer, so that a node is chosen first\n" },
};

static void folders_are_promised(void **state)
{
	for (size_t i = 0; i < array_size(provisions); i++) {
		auto_with(world_fini) struct world w = { 0 };

		setup(&w);
		world_put(&w, provisions[i].class);
		world_put(&w, provisions[i].claim);

		const char *got = world_reconcile(&w, &controller_local_path, "d", "c", true);

		if (strcmp(got, provisions[i].intents) != 0)
			fail_msg("%s: got\n%s", provisions[i].name, got);
	}
}

static void a_folder_lives_and_ends(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_put(&w, WAITING);
	world_create(&w,
		     CLAIM("c", ",'annotations':{'volume.kubernetes.io/selected-node':'n1'}",
			   ",'storageClassName':'wait'"),
		     NULL);
	world_settle(&w);

	const struct object *claim = world_get(&w, "persistentvolumeclaims", "d", "c");
	const char *name = arena_printf(&w.arena, "pvc-%s", claim->facts.uid);

	assert_true(shows(&w, "persistentvolumes", "", name, "'phase':'Bound'"));
	assert_true(shows(&w, "persistentvolumes", "", name,
			  arena_printf(&w.arena, "'local':{'path':'/data/volumes/%s'}", name)));
	assert_true(shows(&w, "persistentvolumes", "", name,
			  "'nodeAffinity':{'required':{'nodeSelectorTerms':[{'matchExpressions':[{"
			  "'key':'kubernetes.io/hostname','operator':'In','values':['h1']}]}]}}"));
	assert_true(shows(&w, "persistentvolumes", "", name,
			  "'labels':{'sampan.io/local-path-node':'n1'}"));
	assert_true(shows(&w, "persistentvolumes", "", name,
			  "'persistentVolumeReclaimPolicy':'Delete'"));
	assert_true(shows(&w, "persistentvolumeclaims", "d", "c", "'phase':'Bound'"));

	/* It goes with its claim, but the node has to remove the folder first. */
	world_delete(&w, "persistentvolumeclaims", "d", "c", -1, NULL);
	world_settle(&w);
	assert_null(world_get(&w, "persistentvolumeclaims", "d", "c"));
	assert_true(
		shows(&w, "persistentvolumes", "", name, "'finalizers':['sampan.io/local-path']"));
	assert_true(shows(&w, "persistentvolumes", "", name, "'deletionTimestamp'"));

	/* A node that is gone removes nothing. */
	world_delete(&w, "nodes", "", "n1", -1, NULL);
	assert_string_equal(world_reconcile(&w, &controller_local_path, "", name, true),
			    arena_printf(&w.arena,
					 "update persistentvolumes %s\nevent persistentvolumes %s "
					 "Warning VolumeFailedDelete: node n1 does not exist any "
					 "more: its folder was not removed\n",
					 name, name));
	world_settle(&w);
	assert_null(world_get(&w, "persistentvolumes", "", name));
}

static void a_retained_folder_is_not_asked_about(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_put(
		&w,
		"{'kind':'PersistentVolume','metadata':{'name':'v','deletionTimestamp':"
		"'2025-01-01T00:00:00Z','labels':{'sampan.io/local-path-node':'n1'},"
		"'finalizers':['sampan.io/local-path']" MADE "},'spec':{'capacity':{'storage':"
		"'5Gi'},'accessModes':['ReadWriteOnce'],'persistentVolumeReclaimPolicy':"
		"'Retain','volumeMode':'Filesystem','hostPath':{'path':'/x','type':''}},'status':{'phase':'Available'}}");
	world_settle(&w);
	assert_null(world_get(&w, "persistentvolumes", "", "v"));
}

/* --- Claims and owners ------------------------------------------------------------------- */

static void ephemeral_claims_are_the_pods(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	static const char pod[] =
		"{'kind':'Pod','metadata':{'name':'p','namespace':'d'},'spec':{'containers':[{'name':"
		"'a','image':'b'}],'volumes':[{'name':'x','ephemeral':{'volumeClaimTemplate':{"
		"'metadata':{'labels':{'l':'1'}},'spec':{'accessModes':['ReadWriteOnce'],'resources':"
		"{'requests':{'storage':'1Gi'}}}}}}]}}";

	setup(&w);
	assert_non_null(world_create(&w, pod, NULL));
	world_settle(&w);
	assert_true(shows(&w, "persistentvolumeclaims", "d", "p-x", "'labels':{'l':'1'}"));
	assert_true(shows(&w, "persistentvolumeclaims", "d", "p-x",
			  "'ownerReferences':[{'kind':'Pod','name':'p'"));
	/* The garbage collector takes it after the pod. */
	world_delete(&w, "pods", "d", "p", 0, NULL);
	world_settle(&w);
	assert_null(world_get(&w, "persistentvolumeclaims", "d", "p-x"));

	/* A claim of that name that is somebody else's is left alone. */
	world_create(&w, CLAIM("p-x", "", NONE), NULL);
	world_create(&w, pod, NULL);
	assert_string_equal(
		world_reconcile(&w, &controller_ephemeral_volumes, "d", "p", true),
		"event pods d/p Warning FailedBinding: ephemeral volume x: PVC d/p-x was "
		"not created for the pod\n");
}

static void protection_is_put_on_what_lacks_it(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_put(&w, CLAIM("c", "", NONE FILES));
	world_put(&w, VOLUME("v", "1Gi", "", ""));
	assert_string_equal(world_reconcile(&w, &controller_pvc_protection, "d", "c", true),
			    "update persistentvolumeclaims d/c\n");
	assert_string_equal(world_reconcile(&w, &controller_pv_protection, "", "v", true),
			    "update persistentvolumes v\n");
	world_settle(&w);
	assert_string_equal(world_reconcile(&w, &controller_pvc_protection, "d", "c", true), "");
	assert_string_equal(world_reconcile(&w, &controller_pv_protection, "", "v", true), "");
}

static void a_pod_without_a_node_protects_nothing(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	setup(&w);
	world_create(&w, CLAIM("c", "", NONE), NULL);
	world_create(&w,
		     "{'kind':'Pod','metadata':{'name':'p','namespace':'d'},'spec':{'containers':[{"
		     "'name':'a','image':'b'}],'volumes':[{'name':'x','persistentVolumeClaim':{"
		     "'claimName':'c'}}]}}",
		     NULL);
	world_settle(&w);
	world_delete(&w, "persistentvolumeclaims", "d", "c", -1, NULL);
	world_settle(&w);
	assert_null(world_get(&w, "persistentvolumeclaims", "d", "c"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(claims_find_volumes),
		cmocka_unit_test(volumes_have_phases),
		cmocka_unit_test(a_binding_lives_and_ends),
		cmocka_unit_test(a_claim_loses_its_volume),
		cmocka_unit_test(folders_are_promised),
		cmocka_unit_test(a_folder_lives_and_ends),
		cmocka_unit_test(a_retained_folder_is_not_asked_about),
		cmocka_unit_test(ephemeral_claims_are_the_pods),
		cmocka_unit_test(protection_is_put_on_what_lacks_it),
		cmocka_unit_test(a_pod_without_a_node_protects_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
