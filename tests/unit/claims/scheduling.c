/* What volumes mean for where a pod runs: one pod, its claims, one node. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "controlplane/claims/scheduling.h"
#include "controlplane/scheduler/cluster.h"
#include "tests/unit/world/world.h"

#define CLAIM_OF(name, meta, modes, spec, status)                                                  \
	"{'kind':'PersistentVolumeClaim','metadata':{'name':'" name "','namespace':'d'" meta       \
	"},'spec':{'accessModes':['" modes "'],'resources':{'requests':{'storage':'5Gi'}}" spec    \
	"},'status':{'phase':'" status "'}}"
#define CLAIM(name, meta, spec) CLAIM_OF(name, meta, "ReadWriteOnce", spec, "Pending")
#define COMPLETED ",'annotations':{'pv.kubernetes.io/bind-completed':'yes'}"
#define SELECTED(node) ",'annotations':{'volume.kubernetes.io/selected-node':'" node "'}"
#define VOLUME(name, meta, spec)                                                                   \
	"{'kind':'PersistentVolume','metadata':{'name':'" name "'" meta                            \
	"},'spec':{'capacity':{'storage':'5Gi'},'accessModes':['ReadWriteOnce'],"                  \
	"'hostPath':{'path':'/x','type':''}" spec "},'status':{'phase':'Available'}}"
#define ON(node)                                                                                   \
	",'nodeAffinity':{'required':{'nodeSelectorTerms':[{'matchExpressions':[{'key':"           \
	"'kubernetes.io/hostname','operator':'In','values':['" node "']}]}]}}"
#define CLASS(name, provisioner, mode, rest)                                                       \
	"{'apiVersion':'storage.k8s.io/v1','kind':'StorageClass','metadata':{'name':'" name        \
	"'},'provisioner':'" provisioner "','volumeBindingMode':'" mode "'" rest "}"
#define LOCAL CLASS("s", "sampan.io/local-path", "WaitForFirstConsumer", "")
#define STATIC CLASS("s", "kubernetes.io/no-provisioner", "WaitForFirstConsumer", "")
#define OF_S ",'storageClassName':'s'"
#define POD(node)                                                                                  \
	"{'kind':'Pod','metadata':{'name':'p','namespace':'d'},'spec':{" node                      \
	"'volumes':[{'name':'a','persistentVolumeClaim':{'claimName':'c'}}]}}"
#define OTHER                                                                                      \
	"{'kind':'Pod','metadata':{'name':'q','namespace':'d'},'spec':{'nodeName':'n9','volumes':" \
	"[{'name':'a','persistentVolumeClaim':{'claimName':'c'}}]}}"

/* The node is n1, h1, in zone z1. says: "" fits; then what reserve() intends, "bind" when at once.
 */
static const struct {
	const char *name, *objects[4], *says, *reserves;
} cases[] = {
	{ "no claim", { NULL }, "persistentvolumeclaim \"c\" not found", NULL },
	{ "a claim that goes",
	  { CLAIM("c", ",'deletionTimestamp':'2025-01-01T00:00:00Z','finalizers':['a.b/c']", "") },
	  "persistentvolumeclaim \"c\" is being deleted",
	  NULL },
	{ "a claim that lost its volume",
	  { CLAIM_OF("c", COMPLETED, "ReadWriteOnce", ",'volumeName':'v'", "Lost") },
	  "persistentvolumeclaim \"c\" bound to non-existent persistentvolume \"v\"",
	  NULL },
	{ "an immediate claim without a volume",
	  { CLAIM("c", "", OF_S), CLASS("s", "p", "Immediate", "") },
	  "pod has unbound immediate PersistentVolumeClaims",
	  NULL },
	{ "without a class",
	  { CLAIM("c", "", "") },
	  "pod has unbound immediate PersistentVolumeClaims",
	  NULL },
	{ "a volume that is named and not bound",
	  { CLAIM("c", "", OF_S ",'volumeName':'v'"), LOCAL },
	  "pod has unbound immediate PersistentVolumeClaims",
	  NULL },
	{ "bound, everywhere",
	  { CLAIM("c", COMPLETED, ",'volumeName':'v'"), VOLUME("v", "", "") },
	  "",
	  "bind" },
	{ "bound, here",
	  { CLAIM("c", COMPLETED, ",'volumeName':'v'"), VOLUME("v", "", ON("h1")) },
	  "",
	  "bind" },
	{ "bound, elsewhere",
	  { CLAIM("c", COMPLETED, ",'volumeName':'v'"), VOLUME("v", "", ON("h2")) },
	  "node(s) had volume node affinity conflict",
	  NULL },
	{ "bound, its volume is gone",
	  { CLAIM("c", COMPLETED, ",'volumeName':'v'") },
	  "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",
	  NULL },
	{ "bound, in this zone or another",
	  { CLAIM("c", COMPLETED, ",'volumeName':'v'"),
	    VOLUME("v", ",'labels':{'topology.kubernetes.io/zone':'z0__z1'}", "") },
	  "",
	  "bind" },
	{ "bound, in another zone",
	  { CLAIM("c", COMPLETED, ",'volumeName':'v'"),
	    VOLUME("v", ",'labels':{'topology.kubernetes.io/zone':'z11'}", "") },
	  "node(s) had no available volume zone",
	  NULL },
	{ "to be made here",
	  { CLAIM("c", "", OF_S), LOCAL },
	  "",
	  "update persistentvolumeclaims d/c\n" },
	{ "to be made here, said already", { CLAIM("c", SELECTED("n1"), OF_S), LOCAL }, "", "" },
	{ "to be made elsewhere",
	  { CLAIM("c", SELECTED("n2"), OF_S), LOCAL },
	  "node(s) didn't find available persistent volumes to bind",
	  NULL },
	{ "not to be made on such nodes",
	  { CLAIM("c", "", OF_S), CLASS("s", "p", "WaitForFirstConsumer",
					",'allowedTopologies':[{'matchLabelExpressions':[{'key':"
					"'topology.kubernetes.io/zone','values':['z2']}]}]") },
	  "node(s) didn't find available persistent volumes to bind",
	  NULL },
	{ "a free volume here",
	  { CLAIM("c", "", OF_S), STATIC, VOLUME("v", "", OF_S ON("h1")),
	    VOLUME("a", "", OF_S ON("h2")) },
	  "",
	  "update persistentvolumes v\nupdate persistentvolumeclaims d/c\nbind" },
	{ "free volumes elsewhere",
	  { CLAIM("c", "", OF_S), STATIC, VOLUME("v", "", OF_S ON("h2")) },
	  "node(s) didn't find available persistent volumes to bind",
	  NULL },
	{ "free volumes elsewhere, so one is made",
	  { CLAIM("c", "", OF_S), LOCAL, VOLUME("v", "", OF_S ON("h2")) },
	  "",
	  "update persistentvolumeclaims d/c\n" },
	{ "the claim is one pod's",
	  { CLAIM_OF("c", COMPLETED, "ReadWriteOncePod", ",'volumeName':'v'", "Bound"),
	    VOLUME("v", "", ""), OTHER },
	  "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access "
	  "mode",
	  NULL },
	{ "several pods may share it otherwise",
	  { CLAIM("c", COMPLETED, ",'volumeName':'v'"), VOLUME("v", "", ""), OTHER },
	  "",
	  "bind" },
};

static void check(struct world *w, const char *name, const struct object *pod,
		  const struct object *node_object, const char *says, const char *reserves)
{
	struct view v = world_view(w);
	const CoreV1__Pod *message = view_message(&v, pod);
	struct node node = { .object = node_object };
	const char *why = NULL;
	bool final = false;
	struct intents intents;

	assert_true(volume_rules.matter(message->spec));

	struct volume_claims *claims = volume_rules.look(&v, pod, message->spec, &why);

	assert_true((claims == NULL) == (why != NULL));
	if (claims != NULL)
		why = volume_rules.misfit(claims, &node, &final);
	if (strcmp(why ? why : "", says) != 0)
		fail_msg("%s: %s", name, why ? why : "fits");
	if (why != NULL)
		return;
	intents_init(&intents, &w->arena);

	bool now = volume_rules.reserve(claims, &v, &node, &intents);
	const char *got = arena_printf(&w->arena, "%s%s", intents_print(&intents, &w->arena),
				       now ? "bind" : "");

	if (strcmp(got, reserves) != 0)
		fail_msg("%s: got\n%s", name, got);
}

static const struct object *setup(struct world *w)
{
	world_init(w);
	world_put(w, "{'kind':'Namespace','metadata':{'name':'d'}}");
	return world_put(w, "{'kind':'Node','metadata':{'name':'n1','labels':{"
			    "'kubernetes.io/hostname':'h1','topology.kubernetes.io/zone':'z1'}}}");
}

static void one_claim(void **state)
{
	for (size_t i = 0; i < array_size(cases); i++) {
		auto_with(world_fini) struct world w = { 0 };
		const struct object *node = setup(&w);

		for (size_t k = 0; k < array_size(cases[i].objects) && cases[i].objects[k]; k++)
			world_put(&w, cases[i].objects[k]);
		check(&w, cases[i].name, world_put(&w, POD("")), node, cases[i].says,
		      cases[i].reserves);
	}
}

static void claims_share_what_is_free(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	const struct object *node = setup(&w);
	const struct object *pod = world_put(
		&w, "{'kind':'Pod','metadata':{'name':'p','namespace':'d'},'spec':{'volumes':["
		    "{'name':'a','persistentVolumeClaim':{'claimName':'c'}},"
		    "{'name':'b','persistentVolumeClaim':{'claimName':'e'}},"
		    "{'name':'again','persistentVolumeClaim':{'claimName':'c'}}]}}");

	world_put(&w, STATIC);
	world_put(&w, CLAIM("c", "", OF_S));
	world_put(&w, CLAIM("e", "", OF_S));
	world_put(&w, VOLUME("v", "", OF_S));
	check(&w, "one for two", pod, node,
	      "node(s) didn't find available persistent volumes to bind", NULL);
	world_put(&w, VOLUME("w", "", OF_S));
	check(&w, "two for two", pod, node, "",
	      "update persistentvolumes v\nupdate persistentvolumeclaims d/c\n"
	      "update persistentvolumes w\nupdate persistentvolumeclaims d/e\nbind");
}

static void ephemeral_claims(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	const struct object *node = setup(&w);
	const struct object *pod = world_put(
		&w, "{'kind':'Pod','metadata':{'name':'p','namespace':'d'},'spec':{'volumes':[{"
		    "'name':'a','ephemeral':{'volumeClaimTemplate':{'spec':{}}}}]}}");

	world_put(&w, LOCAL);
	check(&w, "not made yet", pod, node,
	      "waiting for ephemeral volume controller to create the persistentvolumeclaim \"p-a\"",
	      NULL);
	world_put(&w, CLAIM("p-a", "", OF_S));
	check(&w, "somebody else's", pod, node,
	      "PVC d/p-a was not created for pod d/p (pod is not owner)", NULL);
	world_put(&w, CLAIM("p-a",
			    ",'ownerReferences':[{'apiVersion':'v1','kind':'Pod','name':'p','uid':"
			    "'uid-p','controller':true}]",
			    OF_S));
	check(&w, "its own", pod, node, "", "update persistentvolumeclaims d/p-a\n");
}

static void changes_that_help(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	const struct object *node = setup(&w);

	assert_true(volume_rules.change_helps(NULL, world_put(&w, CLAIM("c", "", ""))));
	assert_true(volume_rules.change_helps(NULL, world_put(&w, VOLUME("v", "", ""))));
	assert_true(volume_rules.change_helps(NULL, world_put(&w, LOCAL)));
	assert_false(volume_rules.change_helps(NULL, node));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_claim),
		cmocka_unit_test(claims_share_what_is_free),
		cmocka_unit_test(ephemeral_claims),
		cmocka_unit_test(changes_that_help),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
