/* Rows of nodes, namespaces, events, leases and certificate requests. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/apiserver/columns/cells.h"
#include "controlplane/apiserver/age.h"
#include "proto/k8s/certificates_v1.pb-c.h"
#include "proto/k8s/coordination_v1.pb-c.h"

static const CoreV1__NodeStatus no_status = CORE_V1__NODE_STATUS__INIT;
static const CoreV1__NodeSystemInfo no_info = CORE_V1__NODE_SYSTEM_INFO__INIT;

static const CoreV1__NodeStatus *status_of(const CoreV1__Node *node)
{
	return node->status != NULL ? node->status : &no_status;
}

static const CoreV1__NodeSystemInfo *info_of(const CoreV1__Node *node)
{
	return status_of(node)->nodeinfo != NULL ? status_of(node)->nodeinfo : &no_info;
}

static void node_status(struct cells *c, const void *message)
{
	const CoreV1__Node *node = message;
	const CoreV1__NodeStatus *status = status_of(node);
	const char *ready = condition_status(status->conditions, status->n_conditions, "Ready");
	const char *word = ready == NULL                ? "Unknown"
			   : strcmp(ready, "True") == 0 ? "Ready"
							: "NotReady";

	cell_printf(c, "%s%s", word,
		    node->spec != NULL && node->spec->unschedulable ? ",SchedulingDisabled" : "");
}

static int text_order(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void node_roles(struct cells *c, const void *message)
{
	static const char prefix[] = "node-role.kubernetes.io/";
	const MetaV1__ObjectMeta *meta = meta_of(message);
	const char **roles = arena_array(c->arena, const char *, meta->n_labels + 1);
	struct buf b = { 0 };
	size_t n = 0;

	for (size_t i = 0; i < meta->n_labels; i++) {
		const char *key = text_of(meta->labels[i]->key);

		if (strncmp(key, prefix, strlen(prefix)) == 0 && key[strlen(prefix)] != 0)
			roles[n++] = key + strlen(prefix);
		else if (strcmp(key, "kubernetes.io/role") == 0 && *text_of(meta->labels[i]->value))
			roles[n++] = meta->labels[i]->value;
	}
	qsort(roles, n, sizeof(*roles), text_order);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || strcmp(roles[i], roles[i - 1]) != 0)
			join(&b, ",", roles[i]);
	if (b.len == 0)
		buf_put_str(&b, "<none>");
	cell_take(c, &b);
}

static void node_version(struct cells *c, const void *message)
{
	cell_text(c, info_of(message)->kubeletversion);
}

static void node_address(struct cells *c, const CoreV1__Node *node, const char *type)
{
	const CoreV1__NodeStatus *status = status_of(node);
	const char *found = NULL;

	for (size_t i = 0; i < status->n_addresses && found == NULL; i++)
		if (strcmp(text_of(status->addresses[i]->type), type) == 0)
			found = status->addresses[i]->address;
	cell_text_or(c, found, "<none>");
}

static void node_internal_ip(struct cells *c, const void *message)
{
	node_address(c, message, "InternalIP");
}

static void node_external_ip(struct cells *c, const void *message)
{
	node_address(c, message, "ExternalIP");
}

static void node_os(struct cells *c, const void *message)
{
	cell_text_or(c, info_of(message)->osimage, "<unknown>");
}

static void node_kernel(struct cells *c, const void *message)
{
	cell_text_or(c, info_of(message)->kernelversion, "<unknown>");
}

static void node_runtime(struct cells *c, const void *message)
{
	cell_text_or(c, info_of(message)->containerruntimeversion, "<unknown>");
}

static void namespace_status(struct cells *c, const void *message)
{
	const CoreV1__Namespace *ns = message;

	cell_text(c, ns->status != NULL ? ns->status->phase : "");
}

static void cell_age_ns(struct cells *c, int64_t then_ns)
{
	char text[AGE_TEXT_SIZE];

	age_print(c->now_ns, then_ns, text);
	cell_text(c, text);
}

static int64_t event_first_ns(const CoreV1__Event *event)
{
	int64_t first = time_ns(event->firsttimestamp);

	return first != 0 ? first : microtime_ns(event->eventtime);
}

static void event_last_seen(struct cells *c, const void *message)
{
	const CoreV1__Event *event = message;
	int64_t last = event->series != NULL ? microtime_ns(event->series->lastobservedtime)
					     : time_ns(event->lasttimestamp);

	cell_age_ns(c, last != 0 || event->series != NULL ? last : event_first_ns(event));
}

static void event_type(struct cells *c, const void *message)
{
	cell_text(c, ((const CoreV1__Event *)message)->type);
}

static void event_reason(struct cells *c, const void *message)
{
	cell_text(c, ((const CoreV1__Event *)message)->reason);
}

static void event_object(struct cells *c, const void *message)
{
	const CoreV1__ObjectReference *about = ((const CoreV1__Event *)message)->involvedobject;
	char *kind = arena_strdup(c->arena, about != NULL ? text_of(about->kind) : "");
	const char *name = about != NULL ? text_of(about->name) : "";

	for (char *at = kind; *at != 0; at++)
		*at = (char)tolower((unsigned char)*at);
	cell_printf(c, "%s%s%s", kind, *name ? "/" : "", name);
}

static void event_subobject(struct cells *c, const void *message)
{
	const CoreV1__ObjectReference *about = ((const CoreV1__Event *)message)->involvedobject;

	cell_text(c, about != NULL ? about->fieldpath : "");
}

static void event_source(struct cells *c, const void *message)
{
	const CoreV1__Event *event = message;
	const char *component = event->source != NULL ? text_of(event->source->component) : "";
	const char *host = event->source != NULL ? text_of(event->source->host) : "";

	if (*component == 0)
		component = text_of(event->reportingcomponent);
	if (*host == 0)
		host = text_of(event->reportinginstance);
	cell_printf(c, "%s%s%s", component, *host ? ", " : "", host);
}

static void event_message(struct cells *c, const void *message)
{
	const char *text = text_of(((const CoreV1__Event *)message)->message);
	size_t n;

	while (isspace((unsigned char)*text))
		text++;
	for (n = strlen(text); n > 0 && isspace((unsigned char)text[n - 1]);)
		n--;
	cell_text(c, arena_strndup(c->arena, text, n));
}

static void event_first_seen(struct cells *c, const void *message)
{
	cell_age_ns(c, event_first_ns(message));
}

static void event_count(struct cells *c, const void *message)
{
	const CoreV1__Event *event = message;
	int32_t count = event->series != NULL ? event->series->count : event->count;

	cell_int(c, count == 0 ? 1 : count);
}

static void lease_holder(struct cells *c, const void *message)
{
	const CoordinationV1__Lease *lease = message;

	cell_text(c, lease->spec != NULL ? lease->spec->holderidentity : "");
}

static void csr_signer(struct cells *c, const void *message)
{
	const CertificatesV1__CertificateSigningRequest *csr = message;

	cell_text_or(c, csr->spec != NULL ? csr->spec->signername : "", "<none>");
}

static void csr_requestor(struct cells *c, const void *message)
{
	const CertificatesV1__CertificateSigningRequest *csr = message;

	cell_text(c, csr->spec != NULL ? csr->spec->username : "");
}

static void csr_duration(struct cells *c, const void *message)
{
	const CertificatesV1__CertificateSigningRequest *csr = message;
	char text[AGE_TEXT_SIZE] = "<none>";

	if (csr->spec != NULL && csr->spec->has_expirationseconds)
		age_print_seconds(csr->spec->expirationseconds, text);
	cell_text(c, text);
}

static void csr_condition(struct cells *c, const void *message)
{
	const CertificatesV1__CertificateSigningRequest *csr = message;
	const CertificatesV1__CertificateSigningRequestStatus *status = csr->status;
	bool denied = false, approved = false, failed = false;

	for (size_t i = 0; status != NULL && i < status->n_conditions; i++) {
		const char *type = text_of(status->conditions[i]->type);

		denied |= strcmp(type, "Denied") == 0;
		approved |= strcmp(type, "Approved") == 0;
		failed |= strcmp(type, "Failed") == 0;
	}
	cell_printf(c, "%s%s%s",
		    denied     ? "Denied"
		    : approved ? "Approved"
			       : "Pending",
		    failed ? ",Failed" : "",
		    status != NULL && status->certificate.len > 0 ? ",Issued" : "");
}

/* clang-format off */
static const struct column node[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Status", TEXT, 0, node_status, "Whether the node takes and runs pods." },
	{ "Roles", TEXT, 0, node_roles, "Roles from the node's labels." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
	{ "Version", TEXT, 0, node_version, "Version of the node's agent." },
	{ "Internal-IP", TEXT, 1, node_internal_ip, "Its address for the cluster." },
	{ "External-IP", TEXT, 1, node_external_ip, "Its address for the world." },
	{ "OS-Image", TEXT, 1, node_os, "Its operating system." },
	{ "Kernel-Version", TEXT, 1, node_kernel, "Its kernel." },
	{ "Container-Runtime", TEXT, 1, node_runtime, "What runs its containers." },
};
static const struct column namespace[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Status", TEXT, 0, namespace_status, "Active or Terminating." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
};
static const struct column event[] = {
	{ "Last Seen", TEXT, 0, event_last_seen, "When it happened last." },
	{ "Type", TEXT, 0, event_type, "Normal or Warning." },
	{ "Reason", TEXT, 0, event_reason, "Why, in one word." },
	{ "Object", TEXT, 0, event_object, "What it is about." },
	{ "Subobject", TEXT, 1, event_subobject, "Which part of the object." },
	{ "Source", TEXT, 1, event_source, "Who says so." },
	{ "Message", TEXT, 0, event_message, "What happened." },
	{ "First Seen", TEXT, 1, event_first_seen, "When it happened first." },
	{ "Count", TEXT, 1, event_count, "How often it happened." },
	{ "Name", NAME, 1, cell_name, DESCRIBE_NAME },
};
static const struct column lease[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Holder", TEXT, 0, lease_holder, "Who holds it." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
};
static const struct column csr[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
	{ "SignerName", TEXT, 0, csr_signer, "Who is asked to sign." },
	{ "Requestor", TEXT, 0, csr_requestor, "Who asks." },
	{ "RequestedDuration", TEXT, 0, csr_duration, "For how long." },
	{ "Condition", TEXT, 0, csr_condition, "What came of it." },
};

const struct table_columns columns_cluster[] = {
	COLUMNS(core_v1__node, node),
	COLUMNS(core_v1__namespace, namespace),
	COLUMNS(core_v1__event, event),
	COLUMNS(coordination_v1__lease, lease),
	COLUMNS(certificates_v1__certificate_signing_request, csr),
};
/* clang-format on */
const size_t n_columns_cluster = sizeof(columns_cluster) / sizeof(columns_cluster[0]);
