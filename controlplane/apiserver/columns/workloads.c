/* Rows of what keeps pods running. */
#include <string.h>

#include "controlplane/apiserver/columns/cells.h"
#include "proto/k8s/apps_v1.pb-c.h"
#include "proto/k8s/autoscaling_v1.pb-c.h"

static const AppsV1__DeploymentSpec no_deployment = APPS_V1__DEPLOYMENT_SPEC__INIT;
static const AppsV1__DeploymentStatus no_deployment_status = APPS_V1__DEPLOYMENT_STATUS__INIT;
static const AppsV1__ReplicaSetSpec no_replicaset = APPS_V1__REPLICA_SET_SPEC__INIT;
static const AppsV1__ReplicaSetStatus no_replicaset_status = APPS_V1__REPLICA_SET_STATUS__INIT;

static const AppsV1__DeploymentSpec *deployment_spec(const AppsV1__Deployment *d)
{
	return d->spec != NULL ? d->spec : &no_deployment;
}

static const AppsV1__DeploymentStatus *deployment_status(const AppsV1__Deployment *d)
{
	return d->status != NULL ? d->status : &no_deployment_status;
}

static void deployment_ready(struct cells *c, const void *message)
{
	cell_printf(c, "%d/%d", deployment_status(message)->readyreplicas,
		    deployment_spec(message)->replicas);
}

static void deployment_updated(struct cells *c, const void *message)
{
	cell_int(c, deployment_status(message)->updatedreplicas);
}

static void deployment_available(struct cells *c, const void *message)
{
	cell_int(c, deployment_status(message)->availablereplicas);
}

static void deployment_containers(struct cells *c, const void *message)
{
	cell_containers(c, deployment_spec(message)->template_);
}

static void deployment_images(struct cells *c, const void *message)
{
	cell_images(c, deployment_spec(message)->template_);
}

static void deployment_selector(struct cells *c, const void *message)
{
	cell_selector(c, deployment_spec(message)->selector, "");
}

static const AppsV1__ReplicaSetSpec *replicaset_spec(const AppsV1__ReplicaSet *rs)
{
	return rs->spec != NULL ? rs->spec : &no_replicaset;
}

static const AppsV1__ReplicaSetStatus *replicaset_status(const AppsV1__ReplicaSet *rs)
{
	return rs->status != NULL ? rs->status : &no_replicaset_status;
}

static void replicaset_desired(struct cells *c, const void *message)
{
	cell_int(c, replicaset_spec(message)->replicas);
}

static void replicaset_current(struct cells *c, const void *message)
{
	cell_int(c, replicaset_status(message)->replicas);
}

static void replicaset_ready(struct cells *c, const void *message)
{
	cell_int(c, replicaset_status(message)->readyreplicas);
}

static void replicaset_containers(struct cells *c, const void *message)
{
	cell_containers(c, replicaset_spec(message)->template_);
}

static void replicaset_images(struct cells *c, const void *message)
{
	cell_images(c, replicaset_spec(message)->template_);
}

static void replicaset_selector(struct cells *c, const void *message)
{
	cell_selector(c, replicaset_spec(message)->selector, "<none>");
}

static const AppsV1__StatefulSetSpec *stateful_spec(const void *message)
{
	static const AppsV1__StatefulSetSpec none = APPS_V1__STATEFUL_SET_SPEC__INIT;
	const AppsV1__StatefulSet *set = message;

	return set->spec != NULL ? set->spec : &none;
}

static void stateful_ready(struct cells *c, const void *message)
{
	const AppsV1__StatefulSet *set = message;

	cell_printf(c, "%d/%d", set->status != NULL ? set->status->readyreplicas : 0,
		    stateful_spec(message)->replicas);
}

static void stateful_containers(struct cells *c, const void *message)
{
	cell_containers(c, stateful_spec(message)->template_);
}

static void stateful_images(struct cells *c, const void *message)
{
	cell_images(c, stateful_spec(message)->template_);
}

static const CoreV1__ReplicationControllerSpec *controller_spec(const void *message)
{
	static const CoreV1__ReplicationControllerSpec none =
		CORE_V1__REPLICATION_CONTROLLER_SPEC__INIT;
	const CoreV1__ReplicationController *rc = message;

	return rc->spec != NULL ? rc->spec : &none;
}

static const CoreV1__ReplicationControllerStatus *controller_status(const void *message)
{
	static const CoreV1__ReplicationControllerStatus none =
		CORE_V1__REPLICATION_CONTROLLER_STATUS__INIT;
	const CoreV1__ReplicationController *rc = message;

	return rc->status != NULL ? rc->status : &none;
}

static void controller_desired(struct cells *c, const void *message)
{
	cell_int(c, controller_spec(message)->replicas);
}

static void controller_current(struct cells *c, const void *message)
{
	cell_int(c, controller_status(message)->replicas);
}

static void controller_ready(struct cells *c, const void *message)
{
	cell_int(c, controller_status(message)->readyreplicas);
}

static void controller_containers(struct cells *c, const void *message)
{
	cell_containers(c, controller_spec(message)->template_);
}

static void controller_images(struct cells *c, const void *message)
{
	cell_images(c, controller_spec(message)->template_);
}

static void controller_selector(struct cells *c, const void *message)
{
	const CoreV1__ReplicationControllerSpec *spec = controller_spec(message);

	cell_map(c, spec->selector, spec->n_selector, "<none>");
}

/* Lower case, with the API group when it is not the core group's: "deployment.apps/web". */
static void revision_controller(struct cells *c, const void *message)
{
	const MetaV1__ObjectMeta *meta = meta_of(message);

	for (size_t i = 0; i < meta->n_ownerreferences; i++) {
		const MetaV1__OwnerReference *owner = meta->ownerreferences[i];

		if (!owner->controller)
			continue;

		const char *slash = strchr(text_of(owner->apiversion), '/');
		char *kind = arena_strdup(c->arena, text_of(owner->kind));

		for (char *at = kind; *at != 0; at++)
			if (*at >= 'A' && *at <= 'Z')
				*at = (char)(*at + 32);
		cell_printf(c, "%s%s%.*s/%s", kind, slash ? "." : "",
			    slash ? (int)(slash - owner->apiversion) : 0,
			    text_of(owner->apiversion), text_of(owner->name));
		return;
	}
	cell_text(c, "<none>");
}

static void revision_number(struct cells *c, const void *message)
{
	cell_int(c, ((const AppsV1__ControllerRevision *)message)->revision);
}

static void template_containers(struct cells *c, const void *message)
{
	cell_containers(c, ((const CoreV1__PodTemplate *)message)->template_);
}

static void template_images(struct cells *c, const void *message)
{
	cell_images(c, ((const CoreV1__PodTemplate *)message)->template_);
}

static void template_labels(struct cells *c, const void *message)
{
	const CoreV1__PodTemplate *t = message;
	const MetaV1__ObjectMeta *meta = t->template_ != NULL ? t->template_->metadata : NULL;

	cell_map(c, meta ? meta->labels : NULL, meta ? meta->n_labels : 0, "<none>");
}

static void scale_desired(struct cells *c, const void *message)
{
	const AutoscalingV1__Scale *scale = message;

	cell_int(c, scale->spec != NULL ? scale->spec->replicas : 0);
}

static void scale_available(struct cells *c, const void *message)
{
	const AutoscalingV1__Scale *scale = message;

	cell_int(c, scale->status != NULL ? scale->status->replicas : 0);
}

/* clang-format off */
static const struct column deployment[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Ready", TEXT, 0, deployment_ready, "Pods that are ready, and pods wanted." },
	{ "Up-to-date", TEXT, 0, deployment_updated, "Pods of the newest template." },
	{ "Available", TEXT, 0, deployment_available, "Pods that have been ready for minReadySeconds." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
	{ "Containers", TEXT, 1, deployment_containers, "Names of the template's containers." },
	{ "Images", TEXT, 1, deployment_images, "Images of the template's containers." },
	{ "Selector", TEXT, 1, deployment_selector, "Which pods belong to it." },
};
static const struct column replicaset[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Desired", NUMBER, 0, replicaset_desired, "Pods wanted." },
	{ "Current", NUMBER, 0, replicaset_current, "Pods there are." },
	{ "Ready", NUMBER, 0, replicaset_ready, "Pods that are ready." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
	{ "Containers", TEXT, 1, replicaset_containers, "Names of the template's containers." },
	{ "Images", TEXT, 1, replicaset_images, "Images of the template's containers." },
	{ "Selector", TEXT, 1, replicaset_selector, "Which pods belong to it." },
};
static const struct column stateful[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Ready", TEXT, 0, stateful_ready, "Pods that are ready, and pods wanted." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
	{ "Containers", TEXT, 1, stateful_containers, "Names of the template's containers." },
	{ "Images", TEXT, 1, stateful_images, "Images of the template's containers." },
};
static const struct column controller[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Desired", NUMBER, 0, controller_desired, "Pods wanted." },
	{ "Current", NUMBER, 0, controller_current, "Pods there are." },
	{ "Ready", NUMBER, 0, controller_ready, "Pods that are ready." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
	{ "Containers", TEXT, 1, controller_containers, "Names of the template's containers." },
	{ "Images", TEXT, 1, controller_images, "Images of the template's containers." },
	{ "Selector", TEXT, 1, controller_selector, "Which pods belong to it." },
};
static const struct column revision[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Controller", TEXT, 0, revision_controller, "The object whose history this is." },
	{ "Revision", TEXT, 0, revision_number, "The number of this state." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
};
static const struct column template[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Containers", TEXT, 0, template_containers, "Names of the template's containers." },
	{ "Images", TEXT, 0, template_images, "Images of the template's containers." },
	{ "Pod Labels", TEXT, 0, template_labels, "Labels of the pods made from it." },
};
static const struct column scale[] = {
	{ "Name", TEXT, 0, cell_name, DESCRIBE_NAME },
	{ "Desired", NUMBER, 0, scale_desired, "Pods wanted." },
	{ "Available", NUMBER, 0, scale_available, "Pods there are." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
};

const struct table_columns columns_workloads[] = {
	COLUMNS(apps_v1__deployment, deployment),
	COLUMNS(apps_v1__replica_set, replicaset),
	COLUMNS(apps_v1__stateful_set, stateful),
	COLUMNS(core_v1__replication_controller, controller),
	COLUMNS(apps_v1__controller_revision, revision),
	COLUMNS(core_v1__pod_template, template),
	COLUMNS(autoscaling_v1__scale, scale),
};
/* clang-format on */
const size_t n_columns_workloads = sizeof(columns_workloads) / sizeof(columns_workloads[0]);
