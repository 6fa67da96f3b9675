/* What users learn of their Ingresses: at which addresses they are reached, and
 * what is wrong with them. Routing itself is the business of the nodes' proxies,
 * which read Ingresses with the same function (common/ingress). */
#include <stdlib.h>
#include <string.h>

#include "common/ingress/ingress.h"
#include "controlplane/controllers/common.h"
#include "proto/k8s/networking_v1.pb-c.h"

enum { ADDRESSES_MAX = 16 };

static const char ingresses[] = "ingresses.networking.k8s.io";
static const char classes[] = "ingressclasses.networking.k8s.io";
static const char component[] = "ingress-controller";
/* The well-known label of nodes that balancers pass over. */
static const char excluded[] = "node.kubernetes.io/exclude-from-external-load-balancers";

/* --- What wakes it ------------------------------------------------------------------------- */

static const char *address_of(const struct object *node)
{
	const struct node_facts *f = node != NULL ? node->facts.node : NULL;

	if (f == NULL || f->ready != 1 || node->facts.deleted_ns != 0 ||
	    object_label(node, excluded) != NULL)
		return "";
	return text_of(f->internal_ip);
}

/* Secrets and Services matter where they come, go or change: which Ingresses name them is asked
 * of all in the namespace. */
static void ingress_on_change(const struct view *v, const struct object *old,
			      const struct object *new, struct keys *keys)
{
	const struct object *o = new != NULL ? new : old;

	if (change_is_of(old, new, ingresses))
		keys_add_object(keys, old, new);
	else if (change_is_of(old, new, classes))
		keys_add_all(keys, v, ingresses, NULL);
	else if (change_is_of(old, new, "nodes") && strcmp(address_of(old), address_of(new)) != 0)
		keys_add_all(keys, v, ingresses, NULL);
	else if (change_is_of(old, new, "services") ||
		 (change_is_of(old, new, "secrets") && (old == NULL || new == NULL)))
		keys_add_all(keys, v, ingresses, o->namespace);
}

static void ingress_seed(const struct view *v, struct keys *keys)
{
	keys_add_all(keys, v, ingresses, NULL);
}

/* --- What is wrong ---------------------------------------------------------------------------- */

struct look {
	struct view *v;
	const struct object *object;
	struct intents *intents;
};

static bool has_port(const CoreV1__Service *s, const struct ingress_backend *b)
{
	for (size_t i = 0; s->spec != NULL && i < s->spec->n_ports; i++) {
		const CoreV1__ServicePort *p = s->spec->ports[i];

		if (b->port_name[0] != '\0' ? text_is(p->name, b->port_name) : p->port == b->port)
			return true;
	}
	return false;
}

/* Each Service is complained about once. */
static bool was_checked(const struct ingress *in, size_t route)
{
	for (size_t i = 0; i < route; i++)
		if (strcmp(in->routes[i].to.service, in->routes[route].to.service) == 0 &&
		    in->routes[i].to.port == in->routes[route].to.port &&
		    strcmp(in->routes[i].to.port_name, in->routes[route].to.port_name) == 0)
			return true;
	return false;
}

static void check_backend(const struct look *l, const struct ingress_backend *b)
{
	const struct object *o = view_get(l->v, "services", l->object->namespace, b->service);
	const CoreV1__Service *s = o != NULL ? view_message(l->v, o) : NULL;

	if (s == NULL)
		intend_event(l->intents, component, l->object, "Warning", "ServiceNotFound",
			     "service \"%s\" not found", b->service);
	else if (s->spec != NULL && text_is(s->spec->type, "ExternalName"))
		intend_event(l->intents, component, l->object, "Warning", "ServiceNotSupported",
			     "service \"%s\" is of type ExternalName, which has no endpoints",
			     b->service);
	else if (!has_port(s, b))
		intend_event(l->intents, component, l->object, "Warning", "PortNotFound",
			     "service \"%s\" has no port %s", b->service,
			     b->port_name[0] != '\0'
				     ? b->port_name
				     : arena_printf(l->intents->arena, "%u", b->port));
}

static void check_certificates(const struct look *l, const struct ingress *in)
{
	for (size_t i = 0; i < in->n_certificates; i++) {
		const char *name = in->certificates[i].secret;
		const struct object *o =
			name[0] != '\0' ? view_get(l->v, "secrets", l->object->namespace, name)
					: NULL;

		if (name[0] != '\0' && o == NULL)
			intend_event(l->intents, component, l->object, "Warning", "SecretNotFound",
				     "secret \"%s\" not found: its hosts are served with a "
				     "certificate nobody trusts",
				     name);
		else if (o != NULL &&
			 !text_is(((const CoreV1__Secret *)view_message(l->v, o))->type,
				  "kubernetes.io/tls"))
			intend_event(l->intents, component, l->object, "Warning", "SecretNotUsable",
				     "secret \"%s\" is not of type kubernetes.io/tls", name);
	}
}

static void check(const struct look *l, const struct ingress *in)
{
	for (size_t i = 0; i < in->n_routes && in->options.redirect == NULL; i++)
		if (!was_checked(in, i))
			check_backend(l, &in->routes[i].to);
	if (in->otherwise != NULL)
		check_backend(l, in->otherwise);
	check_certificates(l, in);
}

/* --- Addresses ---------------------------------------------------------------------------------
 */

static bool has_addresses(const NetworkingV1__Ingress *m, const char *const *want, size_t n)
{
	const NetworkingV1__IngressLoadBalancerStatus *lb =
		m->status != NULL ? m->status->loadbalancer : NULL;

	if ((lb != NULL ? lb->n_ingress : 0) != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!text_is(lb->ingress[i]->ip, want[i]))
			return false;
	return true;
}

/* Of the ready nodes, in order of their names. */
static size_t find_addresses(const struct view *v, const char *ret[ADDRESSES_MAX])
{
	size_t n_nodes, n = 0;
	const struct object *const *nodes = view_list(v, "nodes", NULL, &n_nodes);

	for (size_t i = 0; i < n_nodes && n < ADDRESSES_MAX; i++)
		if (address_of(nodes[i])[0] != '\0')
			ret[n++] = address_of(nodes[i]);
	return n;
}

static void write_addresses(const struct look *l, const char *const *want, size_t n)
{
	struct arena *a = l->intents->arena;
	NetworkingV1__Ingress *m;

	if (has_addresses(view_message(l->v, l->object), want, n))
		return;
	m = changed(l->object, a);
	m->status = make(a, NetworkingV1__IngressStatus, networking_v1__ingress_status);
	m->status->loadbalancer = make(a, NetworkingV1__IngressLoadBalancerStatus,
				       networking_v1__ingress_load_balancer_status);
	for (size_t i = 0; i < n; i++) {
		NetworkingV1__IngressLoadBalancerIngress *to =
			make(a, NetworkingV1__IngressLoadBalancerIngress,
			     networking_v1__ingress_load_balancer_ingress);

		to->ip = arena_strdup(a, want[i]);
		make_append(a, m->status->loadbalancer, ingress, to);
	}
	intend_update_status(l->intents, l->object, &m->base);
}

static bool is_ours(struct view *v, const char *name)
{
	const struct object *o = name[0] != '\0' ? view_get(v, classes, "", name) : NULL;
	const NetworkingV1__IngressClass *c = o != NULL ? view_message(v, o) : NULL;

	return c != NULL && c->spec != NULL && text_is(c->spec->controller, INGRESS_CONTROLLER);
}

static void ingress_reconcile(struct view *v, struct key key, struct intents *intents)
{
	struct look l = { v, view_get(v, ingresses, key.namespace, key.name), intents };
	const char *addresses[ADDRESSES_MAX], *problem;
	struct ingress in;

	if (l.object == NULL || l.object->facts.deleted_ns != 0)
		return;
	problem = ingress_read(view_message(v, l.object), intents->arena, &in);
	if (!is_ours(v, in.class))
		return;
	if (problem != NULL) {
		intend_event(intents, component, l.object, "Warning", "Rejected", "%s", problem);
		write_addresses(&l, NULL, 0);
		return;
	}
	check(&l, &in);
	write_addresses(&l, addresses, find_addresses(v, addresses));
}

const struct controller controller_ingress = {
	.name = "ingress-controller",
	.on_change = ingress_on_change,
	.seed = ingress_seed,
	.reconcile = ingress_reconcile,
};
