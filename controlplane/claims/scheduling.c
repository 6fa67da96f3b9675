/* A bound claim restricts its pod to nodes that the volume reaches. A claim that
 * waits for its first consumer is decided about here: on the node that is chosen
 * either a free volume is taken, in the same plan that binds the pod, or the
 * provisioner is told the node, and the pod waits until its volume is there. */
#include "controlplane/claims/scheduling.h"

#include <string.h>

#include "common/api/kinds.h"
#include "common/api/labels.h"
#include "common/api/make.h"
#include "controlplane/claims/claims.h"
#include "controlplane/scheduler/cluster.h"

static const char text_affinity[] = "node(s) had volume node affinity conflict";
static const char text_none[] = "node(s) didn't find available persistent volumes to bind";
static const char text_lost[] =
	"node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";
static const char text_zone[] = "node(s) had no available volume zone";
static const char text_one_pod[] =
	"node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode";

/* A claim that is not bound, with what it could have. */
struct open_claim {
	const struct object *object;
	const CoreV1__PersistentVolumeClaim *message;
	const StorageV1__StorageClass *class;
	struct volume_list volumes;
};

struct volume_claims {
	struct view *view;
	const CoreV1__PersistentVolume **bound;
	size_t n_bound;
	struct open_claim *open;
	size_t n_open;
	const struct object **chosen; /* By open claim, for the node looked at last. */
	const char *nowhere;          /* What is said of every node. */
};

/* --- The claims as they are --------------------------------------------------------- */

static bool matter(const CoreV1__PodSpec *spec)
{
	for (size_t i = 0; i < spec->n_volumes; i++) {
		const CoreV1__VolumeSource *s = spec->volumes[i]->volumesource;

		if (s != NULL && (s->persistentvolumeclaim != NULL || s->ephemeral != NULL))
			return true;
	}
	return false;
}

static bool is_ephemeral(const struct object *pod, const CoreV1__PodSpec *spec, const char *claim)
{
	size_t n = strlen(pod->name);

	if (strncmp(claim, pod->name, n) != 0 || claim[n] != '-')
		return false;
	for (size_t i = 0; i < spec->n_volumes; i++)
		if (spec->volumes[i]->volumesource != NULL &&
		    spec->volumes[i]->volumesource->ephemeral != NULL &&
		    text_is(spec->volumes[i]->name, claim + n + 1))
			return true;
	return false;
}

static bool names_claim(const struct pod_facts *pod, const char *claim)
{
	for (const char *const *c = pod->claims; c != NULL && *c != NULL; c++)
		if (strcmp(*c, claim) == 0)
			return true;
	return false;
}

/* Another pod on some node has the claim that only one pod may have. */
static bool is_taken(struct view *view, const struct object *pod, const char *claim)
{
	size_t n;
	const struct object *const *pods = view_list(view, "pods", pod->namespace, &n);

	for (size_t i = 0; i < n; i++) {
		const struct pod_facts *p = pods[i]->facts.pod;

		if (p->scheduled && p->phase != PHASE_SUCCEEDED && p->phase != PHASE_FAILED &&
		    strcmp(pods[i]->facts.uid, pod->facts.uid) != 0 && names_claim(p, claim))
			return true;
	}
	return false;
}

static bool is_for_one_pod(const CoreV1__PersistentVolumeClaimSpec *spec)
{
	for (size_t i = 0; i < spec->n_accessmodes; i++)
		if (text_is(spec->accessmodes[i], "ReadWriteOncePod"))
			return true;
	return false;
}

/* Why the pod can be nowhere because of a claim that is there, or NULL. */
static const char *why_not_yet(struct view *view, const struct object *claim,
			       const CoreV1__PersistentVolumeClaim *message)
{
	if (message->status != NULL && text_is(message->status->phase, "Lost"))
		return arena_printf(view->arena,
				    "persistentvolumeclaim \"%s\" bound to non-existent "
				    "persistentvolume \"%s\"",
				    claim->name, text_of(message->spec->volumename));
	if (claim->facts.deleted_ns != 0)
		return arena_printf(view->arena, "persistentvolumeclaim \"%s\" is being deleted",
				    claim->name);
	return NULL;
}

static void add_bound(struct volume_claims *c, const char *name)
{
	const struct object *o = view_get(c->view, VOLUMES, "", name);

	if (o == NULL)
		c->nowhere = text_lost;
	else
		c->bound[c->n_bound++] = view_message(c->view, o);
}

/* NULL, or why the pod can be nowhere. */
static const char *add_claim(struct volume_claims *c, const struct object *claim)
{
	const CoreV1__PersistentVolumeClaim *message = view_message(c->view, claim);
	const StorageV1__StorageClass *class;
	const char *why;

	if (message->spec == NULL)
		return "a claim has no spec";
	why = why_not_yet(c->view, claim, message);
	if (why != NULL)
		return why;
	if (!text_empty(message->spec->volumename) &&
	    claim_annotation(message, BIND_COMPLETED) != NULL) {
		add_bound(c, message->spec->volumename);
		return NULL;
	}
	class = class_get(c->view, claim_class(message));
	if (!text_empty(message->spec->volumename) || !class_waits_for_consumer(class))
		return "pod has unbound immediate PersistentVolumeClaims";
	c->open[c->n_open++] =
		(struct open_claim){ claim, message, class, volumes_for(c->view, claim, false) };
	return NULL;
}

static const char *add_named(struct volume_claims *c, const struct object *pod,
			     const CoreV1__PodSpec *spec, const char *name)
{
	const struct object *claim = view_get(c->view, CLAIMS, pod->namespace, name);
	bool ephemeral = is_ephemeral(pod, spec, name);
	const struct owner_ref *owner = claim ? object_controller(claim) : NULL;
	const CoreV1__PersistentVolumeClaim *message;

	if (claim == NULL && ephemeral)
		return arena_printf(c->view->arena,
				    "waiting for ephemeral volume controller to create the "
				    "persistentvolumeclaim \"%s\"",
				    name);
	if (claim == NULL)
		return arena_printf(c->view->arena, "persistentvolumeclaim \"%s\" not found", name);
	if (ephemeral && (owner == NULL || strcmp(owner->uid, pod->facts.uid) != 0))
		return arena_printf(c->view->arena,
				    "PVC %s/%s was not created for pod %s/%s (pod is not owner)",
				    claim->namespace, claim->name, pod->namespace, pod->name);
	message = view_message(c->view, claim);
	if (message->spec != NULL && is_for_one_pod(message->spec) && is_taken(c->view, pod, name))
		c->nowhere = text_one_pod;
	return add_claim(c, claim);
}

static struct volume_claims *look(struct view *view, const struct object *pod,
				  const CoreV1__PodSpec *spec, const char **ret_why)
{
	struct volume_claims *c = arena_new(view->arena, struct volume_claims);
	const char *const *names = pod->facts.pod->claims;
	size_t n = 0;

	while (names != NULL && names[n] != NULL)
		n++;
	*c = (struct volume_claims){ .view = view };
	c->bound = arena_array(view->arena, const CoreV1__PersistentVolume *, n + 1);
	c->open = arena_array(view->arena, struct open_claim, n + 1);
	c->chosen = arena_array(view->arena, const struct object *, n + 1);
	for (size_t i = 0; i < n; i++) {
		bool again = false;
		const char *why;

		for (size_t k = 0; k < i; k++)
			again = again || strcmp(names[k], names[i]) == 0;
		if (again)
			continue;
		why = add_named(c, pod, spec, names[i]);
		if (why != NULL) {
			*ret_why = why;
			return NULL;
		}
	}
	return c;
}

/* --- One node -------------------------------------------------------------------------- */

/* "a__b" lists zones. */
static bool zone_lists(const char *zones, const char *zone)
{
	size_t n = strlen(zone);

	for (const char *at = zones; at != NULL;) {
		const char *end = strstr(at, "__");
		size_t len = end ? (size_t)(end - at) : strlen(at);

		if (len == n && strncmp(at, zone, n) == 0)
			return true;
		at = end ? end + 2 : NULL;
	}
	return false;
}

static bool is_in_zone(const CoreV1__PersistentVolume *volume, const struct object *node)
{
	static const char *const keys[] = {
		"topology.kubernetes.io/zone",
		"topology.kubernetes.io/region",
		"failure-domain.beta.kubernetes.io/zone",
		"failure-domain.beta.kubernetes.io/region",
	};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const char *zones = volume->metadata ? meta_label(volume->metadata, keys[i]) : NULL;
		const char *zone = object_label(node, keys[i]);

		if (zones != NULL && (zone == NULL || !zone_lists(zones, zone)))
			return false;
	}
	return true;
}

static bool topology_matches(const CoreV1__TopologySelectorTerm *t, const struct object *node)
{
	for (size_t i = 0; i < t->n_matchlabelexpressions; i++) {
		const CoreV1__TopologySelectorLabelRequirement *r = t->matchlabelexpressions[i];
		const char *has = object_label(node, text_of(r->key));
		bool listed = false;

		for (size_t k = 0; k < r->n_values; k++)
			listed = listed || (has != NULL && text_is(r->values[k], has));
		if (!listed)
			return false;
	}
	return true;
}

/* Whether its class can have a volume made for this node. */
static bool can_provision(const struct open_claim *c, const struct object *node)
{
	const char *provisioner = text_of(c->class->provisioner);

	if (provisioner[0] == '\0' || strcmp(provisioner, "kubernetes.io/no-provisioner") == 0)
		return false;
	if (strcmp(provisioner, LOCAL_PATH_PROVISIONER) == 0 &&
	    label_value_check(node->name) != NULL)
		return false;
	for (size_t i = 0; i < c->class->n_allowedtopologies; i++)
		if (topology_matches(c->class->allowedtopologies[i], node))
			return true;
	return c->class->n_allowedtopologies == 0;
}

/* A claim whose volume is being made already waits for that one. */
static const char *selected_node(const struct open_claim *c)
{
	return text_of(claim_annotation(c->message, SELECTED_NODE));
}

static bool is_chosen(const struct volume_claims *c, size_t n, const struct object *volume)
{
	for (size_t i = 0; i < n; i++)
		if (c->chosen[i] == volume)
			return true;
	return false;
}

/* Which free volume each open claim would take on the node, NULL where none; claims choose in their
 * order. */
static void choose(const struct volume_claims *c, const struct object *node)
{
	for (size_t i = 0; i < c->n_open; i++) {
		const struct volume_list *list = &c->open[i].volumes;

		c->chosen[i] = NULL;
		if (selected_node(&c->open[i])[0] != '\0')
			continue;
		for (size_t k = 0; k < list->n && c->chosen[i] == NULL; k++) {
			const CoreV1__PersistentVolume *pv = view_message(c->view, list->items[k]);

			if (volume_reaches(pv, node) && is_in_zone(pv, node) &&
			    !is_chosen(c, i, list->items[k]))
				c->chosen[i] = list->items[k];
		}
	}
}

static bool open_claim_fits(const struct volume_claims *c, size_t i, const struct object *node)
{
	const char *selected = selected_node(&c->open[i]);

	if (selected[0] != '\0')
		return strcmp(selected, node->name) == 0;
	return c->chosen[i] != NULL || can_provision(&c->open[i], node);
}

static const char *misfit(const struct volume_claims *c, const struct node *n, bool *ret_final)
{
	*ret_final = true;
	if (c->nowhere != NULL)
		return c->nowhere;
	for (size_t i = 0; i < c->n_bound; i++) {
		if (!volume_reaches(c->bound[i], n->object))
			return text_affinity;
		if (!is_in_zone(c->bound[i], n->object))
			return text_zone;
	}
	choose(c, n->object);
	for (size_t i = 0; i < c->n_open; i++)
		if (!open_claim_fits(c, i, n->object))
			return text_none;
	*ret_final = false;
	return NULL;
}

/* --- The node that was chosen ----------------------------------------------------------- */

static void select_node(const struct open_claim *c, const struct object *node,
			struct intents *intents)
{
	CoreV1__PersistentVolumeClaim *message;

	if (text_is(claim_annotation(c->message, SELECTED_NODE), node->name))
		return;
	message = object_message(c->object, intents->arena);
	meta_set_annotation(intents->arena, message->metadata, SELECTED_NODE, node->name);
	intend_update(intents, c->object, &message->base);
}

static bool reserve(struct volume_claims *c, struct view *view, const struct node *n,
		    struct intents *intents)
{
	bool all = true;

	choose(c, n->object);
	for (size_t i = 0; i < c->n_open; i++) {
		if (c->chosen[i] != NULL) {
			intend_claim_binding(view, c->open[i].object, c->chosen[i], intents);
		} else {
			select_node(&c->open[i], n->object, intents);
			all = false;
		}
	}
	return all;
}

static bool change_helps(const struct object *old, const struct object *new)
{
	const char *resource = (new ? new : old)->kind->resource;

	return strcmp(resource, CLAIMS) == 0 || strcmp(resource, VOLUMES) == 0 ||
	       strcmp(resource, CLASSES) == 0;
}

const struct volume_rules volume_rules = {
	.matter = matter,
	.look = look,
	.misfit = misfit,
	.reserve = reserve,
	.change_helps = change_helps,
};
