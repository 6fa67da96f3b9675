/* Services: what depends on their type, what they must be, and the addresses and
 * ports they hold. What a Service holds is a claim of the store, so two writes
 * of one turn cannot get the same; allocation looks at claims already taken,
 * those of plans in flight included. */
#include <inttypes.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "controlplane/admission/strategy.h"

static bool is_type(const CoreV1__ServiceSpec *spec, const char *type)
{
	return text_is(spec->type, type);
}

static bool needs_cluster_ip(const CoreV1__ServiceSpec *spec)
{
	return is_type(spec, "ClusterIP") || is_type(spec, "NodePort") ||
	       is_type(spec, "LoadBalancer");
}

static bool needs_node_ports(const CoreV1__ServiceSpec *spec)
{
	return is_type(spec, "NodePort") ||
	       (is_type(spec, "LoadBalancer") && spec->allocateloadbalancernodeports);
}

static bool needs_health_port(const CoreV1__ServiceSpec *spec)
{
	return is_type(spec, "LoadBalancer") && text_is(spec->externaltrafficpolicy, "Local");
}

static bool is_headless(const CoreV1__ServiceSpec *spec)
{
	return spec->n_clusterips > 0 && text_is(spec->clusterips[0], "None");
}

/* --- Prepare ---------------------------------------------------------------- */

/* clusterIP is the first of clusterIPs; the one that the client changed wins. */
static void join_cluster_ips(struct arena *arena, CoreV1__ServiceSpec *spec,
			     const CoreV1__ServiceSpec *old)
{
	bool listed = spec->n_clusterips > 0;
	bool same_list = old != NULL && listed && old->n_clusterips > 0 &&
			 text_is(spec->clusterips[0], text_of(old->clusterips[0]));

	if (!text_empty(spec->clusterip) &&
	    (!listed || (same_list && !text_is(spec->clusterips[0], spec->clusterip)))) {
		spec->n_clusterips = 0;
		make_append(arena, spec, clusterips, spec->clusterip);
	} else if (text_empty(spec->clusterip) && listed && same_list) {
		spec->n_clusterips = 0; /* Cleared by name, so the list goes, too. */
	} else if (text_empty(spec->clusterip) && listed && old == NULL) {
		spec->clusterip = spec->clusterips[0];
	}
}

static const CoreV1__ServicePort *find_port(const CoreV1__ServiceSpec *spec,
					    const CoreV1__ServicePort *like)
{
	for (size_t i = 0; i < spec->n_ports; i++)
		if (spec->ports[i]->port == like->port &&
		    text_is(spec->ports[i]->protocol, text_of(like->protocol)))
			return spec->ports[i];
	return NULL;
}

static bool has_node_port(const CoreV1__ServiceSpec *spec, const char *protocol, int32_t node_port)
{
	for (size_t i = 0; spec != NULL && i < spec->n_ports; i++)
		if (spec->ports[i]->nodeport == node_port &&
		    text_is(spec->ports[i]->protocol, protocol))
			return true;
	return false;
}

/* A client that sends back less than it read keeps what was allocated for it. */
static void keep_allocated(struct arena *arena, CoreV1__ServiceSpec *spec,
			   const CoreV1__ServiceSpec *old)
{
	if (needs_cluster_ip(spec) && needs_cluster_ip(old) && spec->n_clusterips == 0) {
		spec->clusterip = old->clusterip;
		spec->n_clusterips = old->n_clusterips;
		spec->clusterips = old->clusterips;
	}
	for (size_t i = 0; i < spec->n_ports; i++) {
		CoreV1__ServicePort *p = spec->ports[i];
		const CoreV1__ServicePort *before = find_port(old, p);

		if (needs_node_ports(spec) && p->nodeport == 0 && before != NULL &&
		    before->nodeport != 0 && !has_node_port(spec, p->protocol, before->nodeport))
			make_set(p, nodeport, before->nodeport);
		/* A type without node ports drops those of the type before. */
		else if (!needs_node_ports(spec) && needs_node_ports(old) &&
			 has_node_port(old, p->protocol, p->nodeport))
			p->has_nodeport = p->nodeport = 0;
	}
	if (needs_health_port(spec) && needs_health_port(old) && spec->healthchecknodeport == 0)
		make_set(spec, healthchecknodeport, old->healthchecknodeport);
	if (!needs_health_port(spec) && spec->healthchecknodeport == old->healthchecknodeport)
		spec->has_healthchecknodeport = spec->healthchecknodeport = 0;
	if (!is_type(spec, "ExternalName") || is_type(old, "ExternalName"))
		return;
	spec->clusterip = NULL;
	spec->n_clusterips = 0;
	spec->n_ipfamilies = 0;
	spec->ipfamilypolicy = NULL;
}

static void set_families(struct arena *arena, CoreV1__ServiceSpec *spec)
{
	bool open = is_headless(spec) && spec->n_selector == 0;

	if (is_type(spec, "ExternalName"))
		return;
	if (spec->ipfamilypolicy == NULL)
		spec->ipfamilypolicy =
			arena_strdup(arena, open ? "RequireDualStack" : "SingleStack");
	if (spec->n_ipfamilies == 0) {
		make_append(arena, spec, ipfamilies, arena_strdup(arena, "IPv4"));
		if (open && text_is(spec->ipfamilypolicy, "RequireDualStack"))
			make_append(arena, spec, ipfamilies, arena_strdup(arena, "IPv6"));
	}
}

static void prepare(struct admission *a, ProtobufCMessage *message, ProtobufCMessage *old_message)
{
	CoreV1__Service *service = (CoreV1__Service *)message;
	const CoreV1__ServiceSpec *old =
		old_message ? ((CoreV1__Service *)old_message)->spec : NULL;

	if (service->spec == NULL) {
		service->spec = make(a->arena, CoreV1__ServiceSpec, core_v1__service_spec);
		admission_defaults(a->arena, NULL, message);
	}
	join_cluster_ips(a->arena, service->spec, old);
	if (old != NULL)
		keep_allocated(a->arena, service->spec, old);
	set_families(a->arena, service->spec);
	if (service->status == NULL)
		service->status = make(a->arena, CoreV1__ServiceStatus, core_v1__service_status);
	if (service->status->loadbalancer == NULL)
		service->status->loadbalancer =
			make(a->arena, CoreV1__LoadBalancerStatus, core_v1__load_balancer_status);
}

/* --- Validation ------------------------------------------------------------- */

static void check_target_port(struct checks *c, const struct field *f, const Intstr__IntOrString *t)
{
	const char *wrong;

	if (t == NULL)
		return;
	if (t->type == 0 && (t->intval < 1 || t->intval > 65535))
		check_invalid_int(c, f, t->intval, "must be between 1 and 65535, inclusive");
	else if (t->type == 1 && (wrong = name_is_port(text_of(t->strval))) != NULL)
		check_invalid(c, f, t->strval, "%s", wrong);
}

static void check_port(struct checks *c, const struct field *f, const CoreV1__ServiceSpec *spec,
		       size_t i)
{
	const CoreV1__ServicePort *p = spec->ports[i];
	const char *wrong;

	if (text_empty(p->name)) {
		if (spec->n_ports > 1)
			check_required(c, FIELD(f, "name"), "");
	} else if ((wrong = name_is_label(p->name)) != NULL) {
		check_invalid(c, FIELD(f, "name"), p->name, "%s", wrong);
	}
	for (size_t k = 0; !text_empty(p->name) && k < i; k++)
		if (text_is(spec->ports[k]->name, p->name))
			check_duplicate(c, FIELD(f, "name"), p->name);
	if (p->port < 1 || p->port > 65535)
		check_invalid_int(c, FIELD(f, "port"), p->port,
				  "must be between 1 and 65535, inclusive");
	check_target_port(c, FIELD(f, "targetPort"), p->targetport);
	if (!needs_node_ports(spec) && !is_type(spec, "LoadBalancer") && p->nodeport != 0)
		check_forbidden(c, FIELD(f, "nodePort"), "may not be used when `type` is '%s'",
				text_of(spec->type));
	for (size_t k = 0; k < i; k++) {
		const CoreV1__ServicePort *q = spec->ports[k];

		if (!text_is(q->protocol, text_of(p->protocol)))
			continue;
		if (q->port == p->port)
			check_duplicate_text(c, f,
					     arena_printf(c->arena, "{\"protocol\":%s,\"port\":%d}",
							  quoted(c->arena, p->protocol), p->port));
		if (p->nodeport != 0 && q->nodeport == p->nodeport)
			check_duplicate_text(
				c, FIELD(f, "nodePort"),
				arena_printf(c->arena, "{\"protocol\":%s,\"nodePort\":%d}",
					     quoted(c->arena, p->protocol), p->nodeport));
	}
}

static void check_cluster_ips(struct checks *c, const struct field *spec_field,
			      const CoreV1__ServiceSpec *spec)
{
	const struct field *f = FIELD(spec_field, "clusterIPs");

	if (is_type(spec, "ExternalName")) {
		if (spec->n_clusterips > 0)
			check_forbidden(c, f, "may not be set for ExternalName services");
		if (!text_empty(spec->clusterip))
			check_forbidden(c, FIELD(spec_field, "clusterIP"),
					"may not be set for ExternalName services");
		return;
	}
	if (!text_empty(spec->clusterip) &&
	    (spec->n_clusterips == 0 || !text_is(spec->clusterips[0], spec->clusterip)))
		check_invalid(c, FIELD(spec_field, "clusterIP"), spec->clusterip,
			      "must match the first value in `clusterIPs`");
	if (is_headless(spec) && spec->n_clusterips > 1)
		check_invalid(c, AT(f, 0), "None", "'None' must be the first and only value");
	if (is_headless(spec) && !is_type(spec, "ClusterIP"))
		check_invalid(c, AT(f, 0), "None", "may not be set to 'None' for %s services",
			      text_of(spec->type));
	for (size_t i = 0; i < spec->n_clusterips; i++)
		if (!text_is(spec->clusterips[i], "None") && !ip_valid(spec->clusterips[i]))
			check_invalid(c, AT(f, i), spec->clusterips[i],
				      "must be a valid IP address, (e.g. 10.9.8.7 or "
				      "2001:db8::ffff)");
	if (spec->n_clusterips > 1 && !text_is(spec->ipfamilypolicy, "RequireDualStack") &&
	    !text_is(spec->ipfamilypolicy, "PreferDualStack"))
		check_invalid_text(c, f, arena_printf(c->arena, "%zu values", spec->n_clusterips),
				   "may only hold one value when `ipFamilyPolicy` is SingleStack");
}

static void check_affinity(struct checks *c, const struct field *f, const CoreV1__ServiceSpec *spec)
{
	const CoreV1__SessionAffinityConfig *config = spec->sessionaffinityconfig;

	if (!text_is(spec->sessionaffinity, "ClientIP") || config == NULL ||
	    config->clientip == NULL)
		return;
	if (config->clientip->timeoutseconds < 1 || config->clientip->timeoutseconds > 86400)
		check_invalid_int(c,
				  FIELD(FIELD(FIELD(f, "sessionAffinityConfig"), "clientIP"),
					"timeoutSeconds"),
				  config->clientip->timeoutseconds,
				  "must be greater than 0 and less than 86400");
}

static void check_balancing(struct checks *c, const struct field *f,
			    const CoreV1__ServiceSpec *spec)
{
	bool balanced = is_type(spec, "LoadBalancer");
	bool external = balanced || is_type(spec, "NodePort") || spec->n_externalips > 0;

	if (!external && !text_empty(spec->externaltrafficpolicy))
		check_invalid(c, FIELD(f, "externalTrafficPolicy"), spec->externaltrafficpolicy,
			      "may only be set for externally-accessible services");
	if (spec->healthchecknodeport != 0 && !needs_health_port(spec))
		check_invalid_int(c, FIELD(f, "healthCheckNodePort"), spec->healthchecknodeport,
				  "may only be set when `type` is 'LoadBalancer' and "
				  "`externalTrafficPolicy` is 'Local'");
	if (!balanced && spec->n_loadbalancersourceranges > 0)
		check_forbidden(c, FIELD(f, "loadBalancerSourceRanges"),
				"may only be used when `type` is 'LoadBalancer'");
	if (!balanced && spec->has_allocateloadbalancernodeports)
		check_forbidden(c, FIELD(f, "allocateLoadBalancerNodePorts"),
				"may only be used when `type` is 'LoadBalancer'");
	if (!balanced && spec->loadbalancerclass != NULL)
		check_forbidden(c, FIELD(f, "loadBalancerClass"),
				"may only be used when `type` is 'LoadBalancer'");
	for (size_t i = 0; i < spec->n_externalips; i++)
		if (!ip_valid(spec->externalips[i]))
			check_invalid(c, AT(FIELD(f, "externalIPs"), i), spec->externalips[i],
				      "must be a valid IP address, (e.g. 10.9.8.7 or "
				      "2001:db8::ffff)");
	if (spec->trafficdistribution != NULL)
		check_one_of(c, FIELD(f, "trafficDistribution"), spec->trafficdistribution,
			     (const char *const[]){ "PreferClose", "PreferSameZone",
						    "PreferSameNode", NULL });
}

static void check_update(struct checks *c, const struct field *f, const CoreV1__ServiceSpec *spec,
			 const CoreV1__ServiceSpec *old)
{
	bool had = needs_cluster_ip(old) && old->n_clusterips > 0;

	if (had && needs_cluster_ip(spec) &&
	    (spec->n_clusterips == 0 || !text_is(spec->clusterips[0], old->clusterips[0])))
		check_invalid_text(c, AT(FIELD(f, "clusterIPs"), 0),
				   arena_printf(c->arena, "[%s]",
						spec->n_clusterips == 0
							? ""
							: quoted(c->arena, spec->clusterips[0])),
				   "may not change once set");
	if (is_type(spec, "LoadBalancer") && is_type(old, "LoadBalancer") &&
	    !text_is(spec->loadbalancerclass, text_of(old->loadbalancerclass)))
		check_invalid(c, FIELD(f, "loadBalancerClass"), spec->loadbalancerclass,
			      "may not change once set");
	if (needs_health_port(spec) && needs_health_port(old) &&
	    spec->healthchecknodeport != old->healthchecknodeport)
		check_forbidden(c, FIELD(f, "healthCheckNodePort"), "field is immutable");
}

static void validate(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const CoreV1__ServiceSpec *spec = ((CoreV1__Service *)message)->spec;
	const struct field *f = FIELD(NULL, "spec");
	const char *wrong;

	if (spec->n_ports == 0 && !is_headless(spec) && !is_type(spec, "ExternalName"))
		check_required(c, FIELD(f, "ports"), "");
	for (size_t i = 0; i < spec->n_ports; i++)
		check_port(c, AT(FIELD(f, "ports"), i), spec, i);
	check_labels(c, FIELD(f, "selector"), (struct string_entry *const *)spec->selector,
		     spec->n_selector);
	check_cluster_ips(c, f, spec);
	check_affinity(c, f, spec);
	check_balancing(c, f, spec);
	if (is_type(spec, "ExternalName")) {
		const char *name = text_of(spec->externalname);
		size_t n = strlen(name);

		if (n == 0)
			check_required(c, FIELD(f, "externalName"), "");
		else if ((wrong = name_is_subdomain(n > 1 && name[n - 1] == '.'
							    ? arena_strndup(c->arena, name, n - 1)
							    : name)) != NULL)
			check_invalid(c, FIELD(f, "externalName"), name, "%s", wrong);
	}
	if (old != NULL && ((CoreV1__Service *)old)->spec != NULL)
		check_update(c, f, spec, ((CoreV1__Service *)old)->spec);
}

/* --- Allocation: addresses ---------------------------------------------------- */

static const char *ip_print(struct arena *arena, uint32_t ip)
{
	return arena_printf(arena, "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255,
			    ip & 255);
}

static bool holds_ip(const CoreV1__ServiceSpec *old, const char *ip)
{
	for (size_t i = 0; old != NULL && i < old->n_clusterips; i++)
		if (text_is(old->clusterips[i], ip))
			return true;
	return false;
}

static bool is_reserved(const struct admission *a, const MetaV1__ObjectMeta *meta, uint32_t ip,
			uint32_t first)
{
	uint32_t dns;

	if (ip == first)
		return !text_is(meta->name, "kubernetes") || !text_is(meta->namespace_, "default");
	return ipv4_parse(a->config->dns_address, &dns) && ip == dns &&
	       !text_is(meta->namespace_, "kube-system");
}

/* The first free address from a random place on. The low part of the range is left to those who
 * ask for an address by name until the rest is full. */
static const char *next_ip(struct admission *a, const MetaV1__ObjectMeta *meta, uint32_t base,
			   uint32_t size)
{
	uint32_t low = size / 16 < 16 ? 16 : size / 16 > 256 ? 256 : size / 16;

	if (size < 4)
		return NULL;
	if (low > size / 2)
		low = size / 2;

	uint32_t n = size - 2, high = n - low; /* Without the first and the last address. */
	uint32_t start = (uint32_t)source_random_below(a->source, high);

	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = i < high ? low + (start + i) % high : i - high;
		uint32_t ip = base + 1 + at;
		const char *text = ip_print(a->arena, ip);

		if (!is_reserved(a, meta, ip, base + 1) &&
		    !a->reader->claim_taken(a->reader->ctx, arena_printf(a->arena, "ip/%s", text)))
			return text;
	}
	return NULL;
}

static void allocate_ip(struct admission *a, struct checks *c, CoreV1__Service *service,
			const CoreV1__ServiceSpec *old)
{
	const struct field *f = FIELD(FIELD(NULL, "spec"), "clusterIPs");
	CoreV1__ServiceSpec *spec = service->spec;
	uint32_t base, ip;
	int bits;

	if (!needs_cluster_ip(spec) || is_headless(spec) ||
	    !cidr_parse(a->config->service_cidr, &base, &bits))
		return;

	uint32_t size = (uint32_t)((uint64_t)1 << (32 - bits));

	if (spec->n_clusterips == 0) {
		const char *text = next_ip(a, service->metadata, base, size);

		if (text == NULL) {
			check_invalid_text(c, f, "[]", "failed to allocate an IP: range is full");
			return;
		}
		spec->clusterip = arena_strdup(a->arena, text);
		make_append(a->arena, spec, clusterips, spec->clusterip);
	}

	const char *text = spec->clusterips[0];
	const char *claim = arena_printf(a->arena, "ip/%s", text);
	char *shown = arena_printf(c->arena, "[%s]", quoted(c->arena, text));

	spec->clusterip = spec->clusterips[0];
	if (!ipv4_parse(text, &ip) || ip <= base || ip - base >= size - 1)
		check_invalid_text(c, f, shown,
				   "failed to allocate IP %s: the provided IP (%s) is not in the "
				   "valid range. The range of valid IPs is %s",
				   text, text, a->config->service_cidr);
	else if (!holds_ip(old, text) && a->reader->claim_taken(a->reader->ctx, claim))
		check_invalid_text(c, f, shown,
				   "failed to allocate IP %s: provided IP is already allocated",
				   text);
	admission_claim(a, claim);
}

/* --- Allocation: node ports ----------------------------------------------------- */

static const char *port_claim(struct arena *arena, const char *protocol, int32_t port)
{
	char *claim = arena_printf(arena, "nodeport/%s/%d", protocol, port);

	for (char *p = claim; *p != '\0'; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	return claim;
}

static bool is_claimed(const struct admission *a, const char *claim)
{
	for (size_t i = 0; i < a->n_claims; i++)
		if (strcmp(a->claims[i], claim) == 0)
			return true;
	return a->reader->claim_taken(a->reader->ctx, claim);
}

static bool port_free(struct admission *a, const CoreV1__ServiceSpec *spec, int32_t service_port,
		      int32_t node_port)
{
	/* Free for every protocol of this service port, because they share the number. */
	for (size_t i = 0; i < spec->n_ports; i++) {
		const CoreV1__ServicePort *p = spec->ports[i];

		if (p->port == service_port && p->nodeport == 0 &&
		    is_claimed(a, port_claim(a->arena, text_of(p->protocol), node_port)))
			return false;
		if (p->port != service_port && p->nodeport == node_port)
			return false;
	}
	return true;
}

static int32_t next_port(struct admission *a, const CoreV1__ServiceSpec *spec, int32_t service_port)
{
	uint32_t n = (uint32_t)(a->config->node_port_max - a->config->node_port_min + 1);
	uint32_t start = (uint32_t)source_random_below(a->source, n);

	for (uint32_t i = 0; i < n; i++) {
		int32_t port = (int32_t)(a->config->node_port_min + (start + i) % n);

		if (port_free(a, spec, service_port, port))
			return port;
	}
	return 0;
}

static int32_t shared_port(const CoreV1__ServiceSpec *spec, size_t i)
{
	for (size_t k = 0; k < spec->n_ports; k++)
		if (k != i && spec->ports[k]->port == spec->ports[i]->port &&
		    spec->ports[k]->nodeport != 0 &&
		    !text_is(spec->ports[k]->protocol, text_of(spec->ports[i]->protocol)))
			return spec->ports[k]->nodeport;
	return 0;
}

static void claim_port(struct admission *a, struct checks *c, const struct field *f,
		       const char *protocol, int32_t port, bool held)
{
	const char *claim = port_claim(a->arena, protocol, port);

	if (port < a->config->node_port_min || port > a->config->node_port_max)
		check_invalid_int(c, f, port,
				  "provided port is not in the valid range. The range of valid "
				  "ports is %u-%u",
				  a->config->node_port_min, a->config->node_port_max);
	else if (!held && is_claimed(a, claim))
		check_invalid_int(c, f, port, "provided port is already allocated");
	admission_claim(a, claim);
}

static void allocate_ports(struct admission *a, struct checks *c, CoreV1__ServiceSpec *spec,
			   const CoreV1__ServiceSpec *old)
{
	const struct field *ports = FIELD(FIELD(NULL, "spec"), "ports");

	/* Those asked for by number first, so that a random one cannot take them. */
	for (size_t i = 0; i < spec->n_ports; i++) {
		const CoreV1__ServicePort *p = spec->ports[i];

		if (p->nodeport != 0)
			claim_port(a, c, FIELD(AT(ports, i), "nodePort"), text_of(p->protocol),
				   p->nodeport,
				   has_node_port(old, text_of(p->protocol), p->nodeport));
	}
	for (size_t i = 0; needs_node_ports(spec) && i < spec->n_ports; i++) {
		CoreV1__ServicePort *p = spec->ports[i];
		int32_t port = shared_port(spec, i);

		if (p->nodeport != 0)
			continue;
		if (port == 0 || is_claimed(a, port_claim(a->arena, text_of(p->protocol), port)))
			port = next_port(a, spec, p->port);
		if (port == 0) {
			check_invalid_int(c, FIELD(AT(ports, i), "nodePort"), 0,
					  "failed to allocate a nodePort: range is full");
			return;
		}
		make_set(p, nodeport, port);
		claim_port(a, c, FIELD(AT(ports, i), "nodePort"), text_of(p->protocol), port,
			   false);
	}
	if (!needs_health_port(spec))
		return;

	bool held = old != NULL && needs_health_port(old) && spec->healthchecknodeport != 0 &&
		    old->healthchecknodeport == spec->healthchecknodeport;

	if (spec->healthchecknodeport == 0)
		make_set(spec, healthchecknodeport, next_port(a, spec, -1));
	claim_port(a, c, FIELD(FIELD(NULL, "spec"), "healthCheckNodePort"), "TCP",
		   spec->healthchecknodeport, held);
}

static void allocate(struct admission *a, struct checks *c, ProtobufCMessage *message,
		     ProtobufCMessage *old_message)
{
	CoreV1__Service *service = (CoreV1__Service *)message;
	const CoreV1__ServiceSpec *old =
		old_message ? ((CoreV1__Service *)old_message)->spec : NULL;

	allocate_ip(a, c, service, old);
	allocate_ports(a, c, service->spec, old);
}

const struct strategy strategy_service = {
	.descriptor = &core_v1__service__descriptor,
	.name = name_is_label_1035,
	.prepare = prepare,
	.validate = validate,
	.allocate = allocate,
};
