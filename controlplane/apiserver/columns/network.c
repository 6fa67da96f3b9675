/* Rows of Services and what stands behind them. */
#include <string.h>

#include "controlplane/apiserver/columns/cells.h"
#include "proto/k8s/discovery_v1.pb-c.h"
#include "proto/k8s/networking_v1.pb-c.h"

enum { SHOWN_MAX = 3 }; /* Endpoints and ports in one cell. */

static const CoreV1__ServiceSpec no_spec = CORE_V1__SERVICE_SPEC__INIT;

static const CoreV1__ServiceSpec *spec_of(const CoreV1__Service *service)
{
	return service->spec != NULL ? service->spec : &no_spec;
}

static void service_type(struct cells *c, const void *message)
{
	cell_text(c, spec_of(message)->type);
}

static void service_cluster_ip(struct cells *c, const void *message)
{
	const CoreV1__ServiceSpec *spec = spec_of(message);

	cell_text_or(c, spec->n_clusterips > 0 ? spec->clusterips[0] : NULL, "<none>");
}

/* Addresses of a load balancer, sorted and each once. */
struct addresses {
	const char **found;
	size_t n;
};

static void address_put(struct addresses *a, const char *ip, const char *hostname)
{
	const char *address = *text_of(ip) ? ip : text_of(hostname);
	size_t at = 0;

	while (at < a->n && strcmp(a->found[at], address) < 0)
		at++;
	if (*address == 0 || (at < a->n && strcmp(a->found[at], address) == 0))
		return;
	memmove(a->found + at + 1, a->found + at, (a->n - at) * sizeof(*a->found));
	a->found[at] = address;
	a->n++;
}

static void join_addresses(struct buf *b, const struct addresses *a)
{
	for (size_t i = 0; i < a->n; i++)
		join(b, ",", a->found[i]);
}

static void join_balancer(struct cells *c, struct buf *b, const CoreV1__LoadBalancerStatus *lb)
{
	struct addresses a = { arena_array(c->arena, const char *, lb->n_ingress + 1), 0 };

	for (size_t i = 0; i < lb->n_ingress; i++)
		address_put(&a, lb->ingress[i]->ip, lb->ingress[i]->hostname);
	join_addresses(b, &a);
}

static void service_external_ip(struct cells *c, const void *message)
{
	const CoreV1__Service *service = message;
	const CoreV1__ServiceSpec *spec = spec_of(service);
	const char *type = text_of(spec->type);
	bool balanced = strcmp(type, "LoadBalancer") == 0;
	struct buf b = { 0 };

	if (strcmp(type, "ExternalName") == 0) {
		cell_text(c, spec->externalname);
		return;
	}
	if (!balanced && strcmp(type, "ClusterIP") != 0 && strcmp(type, "NodePort") != 0) {
		cell_text(c, "<unknown>");
		return;
	}
	if (balanced && service->status != NULL && service->status->loadbalancer != NULL)
		join_balancer(c, &b, service->status->loadbalancer);
	for (size_t i = 0; i < spec->n_externalips; i++)
		join(&b, ",", spec->externalips[i]);
	if (b.len == 0)
		buf_put_str(&b, balanced ? "<pending>" : "<none>");
	cell_take(c, &b);
}

static void service_ports(struct cells *c, const void *message)
{
	const CoreV1__ServiceSpec *spec = spec_of(message);
	struct buf b = { 0 };

	for (size_t i = 0; i < spec->n_ports; i++) {
		const CoreV1__ServicePort *port = spec->ports[i];

		buf_printf(&b, "%s%d", i ? "," : "", port->port);
		if (port->nodeport > 0)
			buf_printf(&b, ":%d", port->nodeport);
		buf_printf(&b, "/%s", text_of(port->protocol));
	}
	if (b.len == 0)
		buf_put_str(&b, "<none>");
	cell_take(c, &b);
}

static void service_selector(struct cells *c, const void *message)
{
	const CoreV1__ServiceSpec *spec = spec_of(message);

	cell_map(c, spec->selector, spec->n_selector, "<none>");
}

/* The first few of many, then how many more there are. */
struct few {
	struct buf text;
	size_t total;
};

static void few_put(struct few *few, const char *text)
{
	if (few->total++ < SHOWN_MAX)
		join(&few->text, ",", text);
}

static void few_cell(struct cells *c, struct few *few, const char *none)
{
	if (few->total == 0)
		buf_put_str(&few->text, none);
	if (few->total > SHOWN_MAX)
		buf_printf(&few->text, " + %zu more...", few->total - SHOWN_MAX);
	cell_take(c, &few->text);
}

static void endpoints_put(struct cells *c, struct few *few, const char *ip, int32_t port)
{
	const char *shape = strchr(ip, ':') != NULL ? "[%s]:%d" : "%s:%d";

	few_put(few, shape[0] == '[' ? arena_printf(c->arena, "[%s]:%d", ip, port)
				     : arena_printf(c->arena, "%s:%d", ip, port));
}

static void endpoints_addresses(struct cells *c, const void *message)
{
	const CoreV1__Endpoints *endpoints = message;
	struct few few = { 0 };

	for (size_t s = 0; s < endpoints->n_subsets; s++) {
		const CoreV1__EndpointSubset *subset = endpoints->subsets[s];

		for (size_t p = 0; p < subset->n_ports; p++)
			for (size_t i = 0; i < subset->n_addresses; i++)
				endpoints_put(c, &few, text_of(subset->addresses[i]->ip),
					      subset->ports[p]->port);
		for (size_t i = 0; subset->n_ports == 0 && i < subset->n_addresses; i++)
			few_put(&few, subset->addresses[i]->ip);
	}
	few_cell(c, &few, "<none>");
}

static void slice_type(struct cells *c, const void *message)
{
	cell_text(c, ((const DiscoveryV1__EndpointSlice *)message)->addresstype);
}

static void slice_ports(struct cells *c, const void *message)
{
	const DiscoveryV1__EndpointSlice *slice = message;
	struct few few = { 0 };

	for (size_t i = 0; i < slice->n_ports; i++) {
		const DiscoveryV1__EndpointPort *port = slice->ports[i];

		if (port->has_port)
			few_put(&few, arena_printf(c->arena, "%d", port->port));
		else
			few_put(&few, *text_of(port->name) ? port->name : "*");
	}
	few_cell(c, &few, "<unset>");
}

static void slice_endpoints(struct cells *c, const void *message)
{
	const DiscoveryV1__EndpointSlice *slice = message;
	struct few few = { 0 };

	for (size_t i = 0; i < slice->n_endpoints; i++)
		for (size_t a = 0; a < slice->endpoints[i]->n_addresses; a++)
			few_put(&few, slice->endpoints[i]->addresses[a]);
	few_cell(c, &few, "<unset>");
}

static const NetworkingV1__IngressSpec no_ingress = NETWORKING_V1__INGRESS_SPEC__INIT;

static const NetworkingV1__IngressSpec *ingress_of(const void *message)
{
	const NetworkingV1__Ingress *ingress = message;

	return ingress->spec != NULL ? ingress->spec : &no_ingress;
}

static void ingress_class(struct cells *c, const void *message)
{
	const char *class = ingress_of(message)->ingressclassname;

	cell_text(c, class != NULL ? class : "<none>");
}

static void ingress_hosts(struct cells *c, const void *message)
{
	const NetworkingV1__IngressSpec *spec = ingress_of(message);
	struct buf b = { 0 };
	size_t shown = 0;

	for (size_t i = 0; i < spec->n_rules; i++) {
		if (shown == SHOWN_MAX) {
			buf_printf(&b, " + %zu more...", spec->n_rules - SHOWN_MAX);
			break;
		}
		if (*text_of(spec->rules[i]->host) == 0)
			continue;
		join(&b, ",", spec->rules[i]->host);
		shown++;
	}
	if (b.len == 0)
		buf_put_str(&b, "*");
	cell_take(c, &b);
}

static void ingress_address(struct cells *c, const void *message)
{
	const NetworkingV1__IngressStatus *status =
		((const NetworkingV1__Ingress *)message)->status;
	const NetworkingV1__IngressLoadBalancerStatus *lb =
		status != NULL ? status->loadbalancer : NULL;
	struct buf b = { 0 };

	if (lb != NULL) {
		struct addresses a = { arena_array(c->arena, const char *, lb->n_ingress + 1), 0 };

		for (size_t i = 0; i < lb->n_ingress; i++)
			address_put(&a, lb->ingress[i]->ip, lb->ingress[i]->hostname);
		join_addresses(&b, &a);
	}
	cell_take(c, &b);
}

static void ingress_ports(struct cells *c, const void *message)
{
	cell_text(c, ingress_of(message)->n_tls > 0 ? "80, 443" : "80");
}

static void class_name(struct cells *c, const void *message)
{
	const MetaV1__ObjectMeta *meta = meta_of(message);
	bool chosen = false;

	for (size_t i = 0; i < meta->n_annotations; i++)
		if (strcmp(text_of(meta->annotations[i]->key),
			   "ingressclass.kubernetes.io/is-default-class") == 0)
			chosen = strcmp(text_of(meta->annotations[i]->value), "true") == 0;
	cell_printf(c, "%s%s", text_of(meta->name), chosen ? " (default)" : "");
}

static void class_controller(struct cells *c, const void *message)
{
	const NetworkingV1__IngressClassSpec *spec =
		((const NetworkingV1__IngressClass *)message)->spec;

	cell_text(c, spec != NULL ? spec->controller : NULL);
}

static void class_parameters(struct cells *c, const void *message)
{
	const NetworkingV1__IngressClassSpec *spec =
		((const NetworkingV1__IngressClass *)message)->spec;
	const NetworkingV1__IngressClassParametersReference *p =
		spec != NULL ? spec->parameters : NULL;

	if (p == NULL) {
		cell_text(c, "<none>");
		return;
	}

	bool grouped = *text_of(p->apigroup) != 0;

	cell_printf(c, "%s%s%s/%s", text_of(p->kind), grouped ? "." : "", text_of(p->apigroup),
		    text_of(p->name));
}

static void policy_selector(struct cells *c, const void *message)
{
	const NetworkingV1__NetworkPolicySpec *spec =
		((const NetworkingV1__NetworkPolicy *)message)->spec;

	cell_selector(c, spec != NULL ? spec->podselector : NULL, "<none>");
}

/* clang-format off */
static const struct column service[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Type", TEXT, 0, service_type, "How the Service is reached." },
	{ "Cluster-IP", TEXT, 0, service_cluster_ip, "Its address inside of the cluster." },
	{ "External-IP", TEXT, 0, service_external_ip, "Its addresses outside of the cluster." },
	{ "Port(s)", TEXT, 0, service_ports, "Ports, node ports and protocols." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
	{ "Selector", TEXT, 1, service_selector, "Which pods answer." },
};
static const struct column endpoints[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Endpoints", TEXT, 0, endpoints_addresses, "Addresses and ports that are ready." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
};
static const struct column slice[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "AddressType", TEXT, 0, slice_type, "IPv4, IPv6 or FQDN." },
	{ "Ports", TEXT, 0, slice_ports, "Ports of every endpoint." },
	{ "Endpoints", TEXT, 0, slice_endpoints, "Addresses of the endpoints." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
};
static const struct column ingress[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Class", TEXT, 0, ingress_class, "Which controller serves it." },
	{ "Hosts", TEXT, 0, ingress_hosts, "Host names that it takes requests for." },
	{ "Address", TEXT, 0, ingress_address, "Where it can be reached." },
	{ "Ports", TEXT, 0, ingress_ports, "Ports on which it listens." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
};
static const struct column ingressclass[] = {
	{ "Name", NAME, 0, class_name, DESCRIBE_NAME },
	{ "Controller", TEXT, 0, class_controller, "Who serves Ingresses of this class." },
	{ "Parameters", TEXT, 0, class_parameters, "More settings of the controller." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
};
static const struct column policy[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Pod-Selector", TEXT, 0, policy_selector, "Pods that the policy is about." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
};

const struct table_columns columns_network[] = {
	COLUMNS(core_v1__service, service),
	COLUMNS(core_v1__endpoints, endpoints),
	COLUMNS(discovery_v1__endpoint_slice, slice),
	COLUMNS(networking_v1__ingress, ingress),
	COLUMNS(networking_v1__ingress_class, ingressclass),
	COLUMNS(networking_v1__network_policy, policy),
};
/* clang-format on */
const size_t n_columns_network = sizeof(columns_network) / sizeof(columns_network[0]);
