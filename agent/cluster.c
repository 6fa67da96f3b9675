/* Between the session and the pods: what one of them learns and the other has to know. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/agent.h"
#include "common/api/make.h"
#include "common/api/quantity.h"
#include "common/api/storage_names.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/source.h"

enum { PODS_MAX = 110, MASTERS_IN_CONF_MAX = 16, NODE_IMAGES_MAX = 50 };

static void replace(char **to, const char *value)
{
	free(*to);
	*to = value ? xstrdup(value) : NULL;
}

static void set_facts(struct agent *a)
{
	a->facts.cluster_domain = a->cluster_domain ? a->cluster_domain : "cluster.local";
	a->facts.dns_address = a->dns_address ? a->dns_address : "";
}

void agent_read_cluster(struct agent *a)
{
	autofree char *path = xasprintf("%s/cluster.conf", a->dir);
	struct conf kept = { 0 };

	conf_read(&kept, path, NULL);
	replace(&a->cluster_domain, conf_get(&kept, "cluster_domain", conf_get(&a->conf, "cluster_domain", NULL)));
	replace(&a->dns_address, conf_get(&kept, "dns_address", conf_get(&a->conf, "dns_address", NULL)));
	replace(&a->pod_cidr, conf_get(&kept, "pod_cidr", conf_get(&a->conf, "node_pod_cidr", NULL)));
	conf_fini(&kept);
	set_facts(a);
}

static void keep_cluster(const struct agent *a)
{
	auto_with(buf_fini) struct buf text = { 0 };
	autofree char *path = xasprintf("%s/cluster.conf", a->dir);
	struct status st = { 0 };

	buf_printf(&text, "cluster_domain = %s\n", a->facts.cluster_domain);
	if (a->dns_address)
		buf_printf(&text, "dns_address = %s\n", a->dns_address);
	if (a->pod_cidr)
		buf_printf(&text, "pod_cidr = %s\n", a->pod_cidr);
	if (file_write(path, 0644, text.data, text.len, &st) < 0)
		log_warn("cluster.conf not written", "error=%s", log_quote(st.message));
	status_fini(&st);
}

static bool differs(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") != 0;
}

static void on_cluster(void *ctx, const struct session_cluster *c)
{
	struct agent *a = ctx;
	struct status st = { 0 };
	bool range = c->pod_cidr && differs(c->pod_cidr, a->pod_cidr);

	if (!range && !differs(c->domain, a->cluster_domain) && !differs(c->dns_address, a->dns_address))
		return;
	replace(&a->cluster_domain, c->domain);
	replace(&a->dns_address, c->dns_address);
	if (c->pod_cidr != NULL)
		replace(&a->pod_cidr, c->pod_cidr);
	set_facts(a);
	keep_cluster(a);
	if (range && pods_set_range(a->pods, a->pod_cidr, &st) < 0)
		log_error("pod range not usable", "cidr=%s error=%s", a->pod_cidr, log_quote(st.message));
	status_fini(&st);
}

/* Objects */

static void on_put(void *ctx, struct held_object *o)
{
	struct agent *a = ctx;

	if (strcmp(o->resource, "pods") == 0)
		pods_put(a->pods, o);
	else
		pods_object_changed(a->pods, o);
	if (a->folders != NULL && strcmp(o->resource, "persistentvolumes") == 0)
		folders_put(a->folders, o);
}

static void on_removed(void *ctx, struct held_object *o)
{
	struct agent *a = ctx;

	if (strcmp(o->resource, "pods") == 0)
		pods_remove(a->pods, o->uid, 0);
	else if (a->folders != NULL && strcmp(o->resource, "persistentvolumes") == 0)
		folders_removed(a->folders, o);
}

static bool on_pod_asked(void *ctx, const char *uid, SampanNode__PodReport *ret)
{
	struct agent *a = ctx;
	struct pod *pod = pods_find(a->pods, uid);

	if (pod == NULL)
		return false;
	struct bytes status = pod_status(pod);

	ret->namespace_ = (char *)pod_namespace(pod);
	ret->name = (char *)pod_name(pod);
	ret->uid = (char *)pod_uid(pod);
	if (status.len > 0) {
		ret->has_status = 1;
		ret->status = (ProtobufCBinaryData){ status.len, (uint8_t *)status.data };
	}
	ret->has_gone = 1;
	ret->gone = pod_is_gone(pod);
	return true;
}

static void on_unknown_pod(void *ctx, const char *uid)
{
	struct agent *a = ctx;
	struct pod *pod = pods_find(a->pods, uid);

	/* The poll takes the object away; the pod need not wait for it. */
	if (pod != NULL)
		pods_remove(a->pods, uid, 0);
}

static void on_token(void *ctx, const char *uid, const char *audience, int64_t expiration_s, const char *token,
	int64_t expires_ns, const char *message)
{
	struct agent *a = ctx;

	pods_token(a->pods, uid, audience, expiration_s, token, expires_ns, message);
}

static void on_stream(void *ctx, const SampanNode__StreamOpen *open)
{
	struct agent *a = ctx;

	streams_open(a->streams, open);
}

static void on_renewed(void *ctx)
{
	struct agent *a = ctx;

	a->renewed = true;
	agent_stop(a);
}

/* Pods */

static void on_pod_changed(void *ctx, struct pod *pod)
{
	struct agent *a = ctx;

	if (a->manifests != NULL && manifests_has(a->manifests, pod_uid(pod)))
		manifests_pod_changed(a->manifests, pod);
	else if (a->manifests != NULL && a->session == NULL)
		manifests_pod_changed(a->manifests, pod);
	else if (a->session != NULL)
		session_report_pod(a->session, pod_uid(pod));
}

static void on_event(void *ctx, const void *event)
{
	struct agent *a = ctx;

	if (a->session != NULL)
		session_report_event(a->session, event);
}

static void on_need_token(void *ctx, struct pod *pod, const char *audience, int64_t expiration_s)
{
	struct agent *a = ctx;
	const CoreV1__PodSpec *spec = pod_object(pod)->spec;

	if (a->session == NULL)
		pods_token(a->pods, pod_uid(pod), audience, expiration_s, NULL, 0,
			"this node has no masters that could issue one");
	else
		session_ask_token(a->session, pod_namespace(pod),
			text_empty(spec->serviceaccountname) ? "default" : spec->serviceaccountname, pod_name(pod),
			pod_uid(pod), audience, expiration_s);
}

struct pods_callbacks agent_pods_callbacks(struct agent *a)
{
	return (struct pods_callbacks){ .changed = on_pod_changed,
		.event = on_event,
		.need_token = on_need_token,
		.ctx = a };
}

/* The Node object */

static void add_quantity(struct arena *a, CoreV1__NodeStatus *s, bool capacity, const char *name,
	const char *text)
{
	Resource__Quantity *q = make(a, Resource__Quantity, resource__quantity);

	q->string = arena_strdup(a, text);
	if (capacity) {
		CoreV1__NodeStatus__CapacityEntry *e =
			make(a, CoreV1__NodeStatus__CapacityEntry, core_v1__node_status__capacity_entry);

		e->key = arena_strdup(a, name);
		e->value = q;
		make_append(a, s, capacity, e);
	} else {
		CoreV1__NodeStatus__AllocatableEntry *e =
			make(a, CoreV1__NodeStatus__AllocatableEntry, core_v1__node_status__allocatable_entry);

		e->key = arena_strdup(a, name);
		e->value = q;
		make_append(a, s, allocatable, e);
	}
}

static void add_resources(struct agent *agent, struct arena *a, CoreV1__NodeStatus *s)
{
	const struct machine *m = &agent->machine;

	for (int capacity = 0; capacity < 2; capacity++) {
		int64_t memory = capacity ? m->memory_bytes : machine_allocatable_memory(m);

		add_quantity(a, s, capacity, "cpu", arena_printf(a, "%lldm", (long long)m->cpu_milli));
		add_quantity(a, s, capacity, "memory", arena_printf(a, "%lldKi", (long long)memory / 1024));
		add_quantity(a, s, capacity, "pods", arena_printf(a, "%d", PODS_MAX));
		add_quantity(a, s, capacity, "ephemeral-storage",
			arena_printf(a, "%lldKi", (long long)m->disk_bytes / 1024));
	}
}

static void add_condition(struct agent *agent, struct arena *a, CoreV1__NodeStatus *s, const char *type,
	bool is, const char *reason, const char *message)
{
	CoreV1__NodeCondition *c = make(a, CoreV1__NodeCondition, core_v1__node_condition);

	c->type = arena_strdup(a, type);
	c->status = arena_strdup(a, is ? "True" : "False");
	c->reason = arena_strdup(a, reason);
	c->message = arena_strdup(a, message);
	c->lastheartbeattime = c->lasttransitiontime = make_time(a, agent->started_ns);
	make_append(a, s, conditions, c);
}

static void add_address(struct arena *a, CoreV1__NodeStatus *s, const char *type, const char *address)
{
	CoreV1__NodeAddress *n = make(a, CoreV1__NodeAddress, core_v1__node_address);

	n->type = arena_strdup(a, type);
	n->address = arena_strdup(a, address);
	make_append(a, s, addresses, n);
}

static CoreV1__NodeSystemInfo *system_info(struct agent *agent, struct arena *a)
{
	CoreV1__NodeSystemInfo *i = make(a, CoreV1__NodeSystemInfo, core_v1__node_system_info);
	struct machine *m = &agent->machine;

	i->machineid = i->systemuuid = m->machine_id;
	i->bootid = m->boot_id;
	i->kernelversion = m->kernel;
	i->osimage = m->os_image;
	i->containerruntimeversion = arena_strdup(a, "crun://1");
	i->kubeletversion = arena_strdup(a, "v1.33.0-sampan-" SAMPAN_VERSION);
	i->kubeproxyversion = i->kubeletversion;
	i->operatingsystem = arena_strdup(a, "linux");
	i->architecture = m->architecture;
	return i;
}

struct image_visit {
	struct arena *arena;
	CoreV1__NodeStatus *status;
};

static void add_image(void *ctx, const char *const *names, uint64_t size_bytes)
{
	struct image_visit *v = ctx;

	if (v->status->n_images == NODE_IMAGES_MAX)
		return;
	CoreV1__ContainerImage *i = make(v->arena, CoreV1__ContainerImage, core_v1__container_image);

	for (size_t n = 0; names[n] != NULL; n++) {
		char *name = arena_strdup(v->arena, names[n]);

		make_append(v->arena, i, names, name);
	}
	make_set(i, sizebytes, (int64_t)size_bytes);
	make_append(v->arena, v->status, images, i);
}

static CoreV1__Node *on_node_asked(void *ctx, struct arena *a)
{
	struct agent *agent = ctx;
	CoreV1__Node *node = make(a, CoreV1__Node, core_v1__node);
	CoreV1__NodeStatus *s = make(a, CoreV1__NodeStatus, core_v1__node_status);
	struct image_visit visit = { a, s };

	node->metadata = make(a, MetaV1__ObjectMeta, meta_v1__object_meta);
	node->metadata->name = (char *)agent->node;
	meta_set_annotation(a, node->metadata, LOCAL_PATH_FOLDER, agent->local_path_dir);
	meta_set_label(a, node->metadata, "kubernetes.io/hostname", agent->node);
	meta_set_label(a, node->metadata, "kubernetes.io/os", "linux");
	meta_set_label(a, node->metadata, "kubernetes.io/arch", agent->machine.architecture);
	meta_set_label(a, node->metadata, "beta.kubernetes.io/os", "linux");
	meta_set_label(a, node->metadata, "beta.kubernetes.io/arch", agent->machine.architecture);
	node->spec = make(a, CoreV1__NodeSpec, core_v1__node_spec);
	node->status = s;
	add_resources(agent, a, s);
	add_condition(agent, a, s, "MemoryPressure", false, "KubeletHasSufficientMemory",
		"kubelet has sufficient memory available");
	add_condition(agent, a, s, "DiskPressure", false, "KubeletHasNoDiskPressure", "kubelet has no disk pressure");
	add_condition(agent, a, s, "PIDPressure", false, "KubeletHasSufficientPID", "kubelet has sufficient PID available");
	add_condition(agent, a, s, "Ready", true, "KubeletReady", "kubelet is posting ready status");
	add_address(a, s, "InternalIP", agent->address);
	add_address(a, s, "Hostname", agent->node);
	s->nodeinfo = system_info(agent, a);
	images_visit(agent->images, add_image, &visit);
	return node;
}

int agent_start_session(struct agent *a, struct status *st)
{
	static const char *masters[MASTERS_IN_CONF_MAX];
	autofree char *masters_file = xasprintf("%s/masters.conf", a->dir);
	size_t n = 0;

	a->started_ns = system_source.wall_ns(&system_source);
	while (n < MASTERS_IN_CONF_MAX && conf_get_nth(&a->conf, "master", n) != NULL) {
		masters[n] = conf_get_nth(&a->conf, "master", n);
		n++;
	}
	if (n == 0)
		return 0;
	struct session_options options = { .loop = &a->io,
		.node = a->node,
		.ca_file = conf_get(&a->conf, "ca_file", NULL),
		.cert_file = conf_get(&a->conf, "cert_file", NULL),
		.key_file = conf_get(&a->conf, "key_file", NULL),
		.masters = masters,
		.n_masters = n,
		.masters_file = steal_ptr(&masters_file), /* As long as the session. */
		.objects = a->objects,
		.callbacks = { .put = on_put,
			.removed = on_removed,
			.cluster = on_cluster,
			.stream = on_stream,
			.pod = on_pod_asked,
			.unknown_pod = on_unknown_pod,
			.token = on_token,
			.node = on_node_asked,
			.renewed = on_renewed,
			.usage = agent_usage,
			.ctx = a } };
	int rc = session_start(&options, &a->session, st);

	if (rc < 0)
		return rc;
	struct streams_options streams = { .loop = &a->io, .pods = a->pods, .tls = session_tls(a->session) };

	a->streams = streams_create(&streams);
	a->folders = folders_create(a);
	/* Whatever was found at start is news for the masters. */
	for (struct pod *pod = pods_first(a->pods); pod; pod = pods_next(pod)) {
		if (a->manifests == NULL || !manifests_has(a->manifests, pod_uid(pod)))
			session_report_pod(a->session, pod_uid(pod));
	}
	return 0;
}
