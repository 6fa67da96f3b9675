/* Packed Kubernetes objects become the few fields a proxy uses. Addresses that are not
 * valid, and ports that are not, are left out: one bad endpoint must not cost the others. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/message.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "proto/k8s/discovery_v1.pb-c.h"
#include "proxy/world/internal.h"

#define AFFINITY_DEFAULT_S 10800

bool ip_parse(const char *text, struct ip *ret)
{
	struct ip ip = { 0 };

	if (text == NULL)
		return false;
	if (inet_pton(AF_INET, text, ip.bytes) == 1)
		ip.len = 4;
	else if (inet_pton(AF_INET6, text, ip.bytes) == 1)
		ip.len = 16;
	else
		return false;
	*ret = ip;
	return true;
}

const char *ip_print(const struct ip *ip, char *to, size_t size)
{
	if (ip->len == 0 ||
	    inet_ntop(ip->len == 4 ? AF_INET : AF_INET6, ip->bytes, to, (socklen_t)size) == NULL)
		to[0] = '\0';
	return to;
}

bool ip_equal(const struct ip *a, const struct ip *b)
{
	return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

static char *copy(const char *text)
{
	return xstrdup(text != NULL ? text : "");
}

static bool text_is(const char *text, const char *want)
{
	return text != NULL && strcmp(text, want) == 0;
}

/* 0 for what we do not know. No protocol means TCP. */
static uint8_t protocol_of(const char *text)
{
	if (text == NULL || *text == '\0' || strcmp(text, "TCP") == 0)
		return PROTOCOL_TCP;
	if (strcmp(text, "UDP") == 0)
		return PROTOCOL_UDP;
	return strcmp(text, "SCTP") == 0 ? PROTOCOL_SCTP : 0;
}

static bool port_is_valid(int32_t port)
{
	return port > 0 && port <= UINT16_MAX;
}

/* --- Service ---------------------------------------------------------------- */

static void add_ip(struct ip **ips, size_t *n, const char *text)
{
	struct ip ip;

	if (!ip_parse(text, &ip))
		return;
	*ips = xreallocarray(*ips, *n + 1, sizeof(**ips));
	(*ips)[(*n)++] = ip;
}

static void read_service_ports(struct service *ret, const CoreV1__ServiceSpec *spec)
{
	ret->ports = xcalloc(spec->n_ports + 1, sizeof(*ret->ports));
	for (size_t i = 0; i < spec->n_ports; i++) {
		const CoreV1__ServicePort *in = spec->ports[i];
		struct service_port *out = &ret->ports[ret->n_ports];

		out->protocol = protocol_of(in->protocol);
		if (out->protocol == 0 || !port_is_valid(in->port))
			continue;
		out->name = copy(in->name);
		out->port = (uint16_t)in->port;
		out->node_port = port_is_valid(in->nodeport) ? (uint16_t)in->nodeport : 0;
		ret->n_ports++;
	}
}

static void read_service_addresses(struct service *ret, const CoreV1__Service *service)
{
	const CoreV1__ServiceSpec *spec = service->spec;
	const CoreV1__LoadBalancerStatus *lb =
		service->status != NULL ? service->status->loadbalancer : NULL;

	ret->headless = text_is(spec->clusterip, "None");
	for (size_t i = 0; i < spec->n_clusterips; i++)
		add_ip(&ret->cluster_ips, &ret->n_cluster_ips, spec->clusterips[i]);
	if (spec->n_clusterips == 0)
		add_ip(&ret->cluster_ips, &ret->n_cluster_ips, spec->clusterip);
	for (size_t i = 0; i < spec->n_externalips; i++)
		add_ip(&ret->external_ips, &ret->n_external_ips, spec->externalips[i]);
	if (!text_is(spec->type, "LoadBalancer"))
		return;
	for (size_t i = 0; lb != NULL && i < lb->n_ingress; i++) {
		if (!text_is(lb->ingress[i]->ipmode, "Proxy"))
			add_ip(&ret->external_ips, &ret->n_external_ips, lb->ingress[i]->ip);
	}
}

static uint32_t affinity_of(const CoreV1__ServiceSpec *spec)
{
	const CoreV1__SessionAffinityConfig *config = spec->sessionaffinityconfig;

	if (!text_is(spec->sessionaffinity, "ClientIP"))
		return 0;
	if (config != NULL && config->clientip != NULL && config->clientip->timeoutseconds > 0)
		return (uint32_t)config->clientip->timeoutseconds;
	return AFFINITY_DEFAULT_S;
}

int service_read(struct service *ret, struct bytes packed, struct arena *arena, struct status *st)
{
	CoreV1__Service *in;
	int rc = unpack_message(&core_v1__service__descriptor, packed, arena, &in, st);

	if (rc < 0)
		return rc;
	if (in->spec == NULL)
		return status_set(st, -EINVAL, "a Service without a spec");
	const CoreV1__ServiceSpec *spec = in->spec;

	if (text_is(spec->type, "ExternalName")) {
		ret->external_name = copy(spec->externalname);
	} else {
		read_service_addresses(ret, in);
		read_service_ports(ret, spec);
	}
	ret->local_external = text_is(spec->externaltrafficpolicy, "Local");
	ret->local_internal = text_is(spec->internaltrafficpolicy, "Local");
	ret->publish_not_ready = spec->publishnotreadyaddresses;
	ret->affinity_s = affinity_of(spec);
	ret->exists = true;
	return 0;
}

void service_clear(struct service *s)
{
	for (size_t i = 0; i < s->n_ports; i++)
		free(s->ports[i].name);
	free(s->ports);
	free(s->cluster_ips);
	free(s->external_ips);
	free(s->external_name);
	s->ports = NULL;
	s->cluster_ips = s->external_ips = NULL;
	s->external_name = NULL;
	s->n_ports = s->n_cluster_ips = s->n_external_ips = 0;
	s->exists = s->headless = false;
}

/* --- EndpointSlice ---------------------------------------------------------- */

/* " a b ", so that " a " is found in it. */
static char *join_zones(const DiscoveryV1__EndpointHints *hints)
{
	auto_with(buf_fini) struct buf text = { 0 };

	if (hints == NULL || hints->n_forzones == 0)
		return NULL;
	for (size_t i = 0; i < hints->n_forzones; i++)
		if (hints->forzones[i]->name != NULL)
			buf_printf(&text, " %s ", hints->forzones[i]->name);
	return xstrdup(buf_cstr(&text));
}

static char *join_nodes(const DiscoveryV1__EndpointHints *hints)
{
	auto_with(buf_fini) struct buf text = { 0 };

	if (hints == NULL || hints->n_fornodes == 0)
		return NULL;
	for (size_t i = 0; i < hints->n_fornodes; i++)
		if (hints->fornodes[i]->name != NULL)
			buf_printf(&text, " %s ", hints->fornodes[i]->name);
	return xstrdup(buf_cstr(&text));
}

static void read_endpoint(struct slice *ret, const DiscoveryV1__Endpoint *in)
{
	const DiscoveryV1__EndpointConditions *c = in->conditions;
	struct endpoint *out = &ret->endpoints[ret->n_endpoints];

	/* Consumers must use the first address only. */
	if (in->n_addresses == 0 || !ip_parse(in->addresses[0], &out->ip))
		return;
	out->hostname = copy(in->hostname);
	out->node = copy(in->nodename);
	out->zones = join_zones(in->hints);
	out->nodes = join_nodes(in->hints);
	out->ready = c == NULL || !c->has_ready || c->ready;
	out->serving = c == NULL || !c->has_serving ? out->ready : c->serving;
	out->terminating = c != NULL && c->terminating;
	ret->n_endpoints++;
}

static void read_slice_port(struct slice *ret, const DiscoveryV1__EndpointPort *in)
{
	struct slice_port *out = &ret->ports[ret->n_ports];

	out->protocol = protocol_of(in->protocol);
	if (out->protocol == 0 || !port_is_valid(in->port))
		return;
	out->name = copy(in->name);
	out->port = (uint16_t)in->port;
	ret->n_ports++;
}

int slice_read(struct slice *ret, struct bytes packed, struct arena *arena,
	       const char **ret_service_name, struct status *st)
{
	DiscoveryV1__EndpointSlice *in;
	int rc = unpack_message(&discovery_v1__endpoint_slice__descriptor, packed, arena, &in, st);

	if (rc < 0)
		return rc;
	if (in->metadata == NULL)
		return status_set(st, -EINVAL, "an EndpointSlice without metadata");
	*ret_service_name = string_map_get((struct string_entry *const *)in->metadata->labels,
					   in->metadata->n_labels, "kubernetes.io/service-name");
	if (text_is(in->addresstype, "FQDN"))
		return 0;
	ret->endpoints = xcalloc(in->n_endpoints + 1, sizeof(*ret->endpoints));
	ret->ports = xcalloc(in->n_ports + 1, sizeof(*ret->ports));
	for (size_t i = 0; i < in->n_endpoints; i++)
		read_endpoint(ret, in->endpoints[i]);
	for (size_t i = 0; i < in->n_ports; i++)
		read_slice_port(ret, in->ports[i]);
	return 0;
}

void slice_clear(struct slice *s)
{
	for (size_t i = 0; i < s->n_endpoints; i++) {
		free(s->endpoints[i].hostname);
		free(s->endpoints[i].node);
		free(s->endpoints[i].zones);
		free(s->endpoints[i].nodes);
	}
	for (size_t i = 0; i < s->n_ports; i++)
		free(s->ports[i].name);
	free(s->endpoints);
	free(s->ports);
	s->endpoints = NULL;
	s->ports = NULL;
	s->n_endpoints = s->n_ports = 0;
}

/* --- Node ------------------------------------------------------------------- */

int node_read(struct node *ret, struct bytes packed, struct arena *arena, struct status *st)
{
	CoreV1__Node *in;
	int rc = unpack_message(&core_v1__node__descriptor, packed, arena, &in, st);

	if (rc < 0)
		return rc;
	ret->pod_cidr = copy(in->spec != NULL ? in->spec->podcidr : NULL);
	ret->zone =
		copy(in->metadata != NULL
			     ? string_map_get((struct string_entry *const *)in->metadata->labels,
					      in->metadata->n_labels, "topology.kubernetes.io/zone")
			     : NULL);
	for (size_t i = 0; in->status != NULL && i < in->status->n_addresses; i++) {
		const CoreV1__NodeAddress *a = in->status->addresses[i];

		if (text_is(a->type, "InternalIP") && ret->address.len != 4)
			ip_parse(a->address, &ret->address);
	}
	return 0;
}

void node_clear(struct node *n)
{
	free(n->pod_cidr);
	free(n->zone);
	n->pod_cidr = n->zone = NULL;
	n->address = (struct ip){ 0 };
}
