#include "controlplane/controllers/backends.h"

#include <stdlib.h>
#include <string.h>

static const CoreV1__ContainerPort *named_port(CoreV1__Container *const *list, size_t n,
					       const char *name, const char *protocol)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < list[i]->n_ports; k++)
			if (text_is(list[i]->ports[k]->name, name) &&
			    text_is(list[i]->ports[k]->protocol, protocol))
				return list[i]->ports[k];
	return NULL;
}

/* The number that the pod serves a Service's port on; 0 when it does not. */
static int32_t resolve_port(struct view *v, const struct pod_facts *pod,
			    const CoreV1__ServicePort *p)
{
	const Intstr__IntOrString *target = p->targetport;

	if (target == NULL)
		return p->port;
	if (target->type == 0)
		return target->intval ? target->intval : p->port;

	const CoreV1__Pod *message = view_message(v, pod->object);
	const CoreV1__ContainerPort *found =
		named_port(message->spec->containers, message->spec->n_containers,
			   text_of(target->strval), text_of(p->protocol));

	/* Sidecars serve, too. */
	if (found == NULL)
		found = named_port(message->spec->initcontainers, message->spec->n_initcontainers,
				   text_of(target->strval), text_of(p->protocol));
	return found ? found->containerport : 0;
}

static struct backend_group resolve(struct view *v, const struct pod_facts *pod,
				    const CoreV1__ServiceSpec *spec)
{
	struct backend_group g = {
		.ports = arena_array(v->arena, struct backend_port, spec->n_ports + 1),
	};

	for (size_t i = 0; i < spec->n_ports; i++) {
		const CoreV1__ServicePort *p = spec->ports[i];
		int32_t port = resolve_port(v, pod, p);

		if (port != 0)
			g.ports[g.n_ports++] = (struct backend_port){
				.name = text_of(p->name),
				.protocol = text_of(p->protocol),
				.app_protocol = p->appprotocol,
				.port = port,
			};
	}
	return g;
}

static bool same_ports(const struct backend_group *a, const struct backend_group *b)
{
	if (a->n_ports != b->n_ports)
		return false;
	/* Both follow the order of the Service's ports. */
	for (size_t i = 0; i < a->n_ports; i++)
		if (a->ports[i].port != b->ports[i].port ||
		    strcmp(a->ports[i].name, b->ports[i].name) != 0 ||
		    strcmp(a->ports[i].protocol, b->ports[i].protocol) != 0)
			return false;
	return true;
}

static struct backend_group *group_for(struct backends *b, const struct backend_group *ports)
{
	for (size_t i = 0; i < b->n_groups; i++)
		if (same_ports(&b->groups[i], ports))
			return &b->groups[i];
	b->groups[b->n_groups] = *ports;
	return &b->groups[b->n_groups++];
}

static int compare_ip(const void *x, const void *y)
{
	const struct pod_facts *a = *(const struct pod_facts *const *)x;
	const struct pod_facts *b = *(const struct pod_facts *const *)y;
	int order = strcmp(a->ip, b->ip);

	return order ? order : strcmp(a->object->name, b->object->name);
}

static bool may_serve(const struct pod_facts *p)
{
	return p->ip[0] != '\0' && p->phase != PHASE_SUCCEEDED && p->phase != PHASE_FAILED;
}

static const char *hostname_of(struct view *v, const struct pod_facts *p, const char *service)
{
	const CoreV1__Pod *message = view_message(v, p->object);

	return !text_empty(message->spec->hostname) && text_is(message->spec->subdomain, service)
		       ? message->spec->hostname
		       : NULL;
}

static const struct pod_facts **serving_pods(struct view *v, const struct object *service,
					     const CoreV1__ServiceSpec *spec, size_t *ret_n)
{
	struct label *labels = arena_array(v->arena, struct label, spec->n_selector);
	size_t n_all, n = 0;

	for (size_t i = 0; i < spec->n_selector; i++)
		labels[i] = (struct label){ text_of(spec->selector[i]->key),
					    text_of(spec->selector[i]->value) };

	const struct pod_facts *const *all =
		view_pods_matching(v, service->namespace, labels, spec->n_selector, &n_all);
	const struct pod_facts **pods = arena_array(v->arena, const struct pod_facts *, n_all + 1);

	for (size_t i = 0; i < n_all; i++)
		if (may_serve(all[i]))
			pods[n++] = all[i];
	qsort(pods, n, sizeof(*pods), compare_ip);
	*ret_n = n;
	return pods;
}

bool backends_find(struct view *v, const struct object *service, const CoreV1__Service *message,
		   struct backends *ret)
{
	const CoreV1__ServiceSpec *spec = message->spec;
	size_t n;

	if (spec == NULL || spec->n_selector == 0 || text_is(spec->type, "ExternalName"))
		return false;

	const struct pod_facts **pods = serving_pods(v, service, spec, &n);
	struct backend *backends = arena_array(v->arena, struct backend, n + 1);

	*ret = (struct backends){
		.groups = arena_array(v->arena, struct backend_group, n + 1),
		.headless = text_is(spec->clusterip, "None"),
		.publish_not_ready = spec->publishnotreadyaddresses,
	};
	for (size_t i = 0; i < n; i++) {
		struct backend *b = &backends[i];
		struct backend_group ports = resolve(v, pods[i], spec);
		struct backend_group *g;

		/* A pod that serves none of the ports is no backend. */
		if (spec->n_ports > 0 && ports.n_ports == 0)
			continue;
		b->pod = pods[i];
		b->serving = pods[i]->ready;
		b->terminating = pods[i]->object->facts.deleted_ns != 0;
		b->ready = ret->publish_not_ready || (b->serving && !b->terminating);
		if (ret->headless)
			b->hostname = hostname_of(v, pods[i], service->name);
		g = group_for(ret, &ports);
		if (g->backends == NULL)
			g->backends = arena_array(v->arena, const struct backend *, n);
		g->backends[g->n++] = b;
		ret->n++;
	}
	return true;
}

CoreV1__ObjectReference *make_pod_reference(struct arena *a, const struct object *pod)
{
	CoreV1__ObjectReference *ref = make(a, CoreV1__ObjectReference, core_v1__object_reference);

	ref->kind = arena_strdup(a, "Pod");
	ref->namespace_ = arena_strdup(a, pod->namespace);
	ref->name = arena_strdup(a, pod->name);
	ref->uid = arena_strdup(a, pod->facts.uid);
	return ref;
}

/* --- Which Services a pod matters to ---------------------------------------------------- */

static bool looks_same(const struct object *old, const struct object *new)
{
	const struct pod_facts *a = old->facts.pod, *b = new->facts.pod;

	if (a->ready != b->ready || a->phase != b->phase || strcmp(a->ip, b->ip) != 0 ||
	    strcmp(a->other_ip, b->other_ip) != 0 || strcmp(a->node_name, b->node_name) != 0 ||
	    (old->facts.deleted_ns == 0) != (new->facts.deleted_ns == 0) ||
	    old->facts.n_labels != new->facts.n_labels)
		return false;
	for (size_t i = 0; i < old->facts.n_labels; i++)
		if (strcmp(old->facts.labels[i].key, new->facts.labels[i].key) != 0 ||
		    strcmp(old->facts.labels[i].value, new->facts.labels[i].value) != 0)
			return false;
	return true;
}

static bool wants(const struct service_facts *service, const struct object *pod)
{
	if (pod == NULL || service->n_selector == 0)
		return false;
	for (size_t i = 0; i < service->n_selector; i++) {
		const char *value = object_label(pod, service->selector[i].key);

		if (value == NULL || strcmp(service->selector[i].value, value) != 0)
			return false;
	}
	return true;
}

struct seeker {
	struct keys *keys;
	const struct object *old, *new;
};

static bool ask_service(void *ctx, const struct object *service)
{
	const struct seeker *s = ctx;

	if (wants(service->facts.service, s->old) || wants(service->facts.service, s->new))
		keys_add(s->keys, service->namespace, service->name);
	return true;
}

void keys_add_services(struct keys *keys, const struct view *v, const struct object *old,
		       const struct object *new)
{
	struct seeker s = { keys, old, new };

	/* By facts: nothing is unpacked, however many Services the namespace has. */
	if (old == NULL || new == NULL || !looks_same(old, new))
		store_walk(v->store, kind_of_resource("services"), (new ? new : old)->namespace,
			   NULL, NULL, ask_service, &s);
}
