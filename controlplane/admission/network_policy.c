/* NetworkPolicies: who may speak with whom. */
#include <string.h>

#include "common/base/cidr.h"
#include "common/base/cleanup.h"
#include "controlplane/admission/strategy.h"
#include "proto/k8s/networking_v1.pb-c.h"

static void check_port(struct checks *c, const struct field *f,
		       const NetworkingV1__NetworkPolicyPort *p)
{
	const Intstr__IntOrString *port = p->port;
	const char *wrong;

	if (port == NULL) {
		if (p->has_endport)
			check_required(c, FIELD(f, "port"), "must be specified when `endPort` is");
		return;
	}
	if (port->type != 0) {
		if ((wrong = name_is_port(text_of(port->strval))) != NULL)
			check_invalid(c, FIELD(f, "port"), port->strval, "%s", wrong);
		if (p->has_endport)
			check_invalid_int(c, FIELD(f, "endPort"), p->endport,
					  "may not be specified when `port` is non-numeric");
		return;
	}
	if (port->intval < 1 || port->intval > 65535)
		check_invalid_int(c, FIELD(f, "port"), port->intval,
				  "must be between 1 and 65535, inclusive");
	if (p->has_endport && p->endport < port->intval)
		check_invalid_int(c, FIELD(f, "endPort"), p->endport,
				  "must be greater than or equal to `port`");
	else if (p->has_endport && p->endport > 65535)
		check_invalid_int(c, FIELD(f, "endPort"), p->endport,
				  "must be between 1 and 65535, inclusive");
}

static void check_block(struct checks *c, const struct field *f, const NetworkingV1__IPBlock *b)
{
	static const char wrong[] =
		"must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
	struct cidr outer, inner;

	if (text_empty(b->cidr)) {
		check_required(c, FIELD(f, "cidr"), "");
		return;
	}
	if (!cidr_read(b->cidr, &outer)) {
		check_invalid(c, FIELD(f, "cidr"), b->cidr, "%s", wrong);
		return;
	}
	for (size_t i = 0; i < b->n_except; i++) {
		const struct field *at = AT(FIELD(f, "except"), i);

		if (!cidr_read(b->except[i], &inner))
			check_invalid(c, at, b->except[i], "%s", wrong);
		else if (!cidr_contains(&outer, &inner) || inner.bits == outer.bits)
			check_invalid(c, at, b->except[i], "must be a strict subset of `cidr`");
	}
}

static void check_peer(struct checks *c, const struct field *f,
		       const NetworkingV1__NetworkPolicyPeer *p)
{
	bool selects = p->podselector != NULL || p->namespaceselector != NULL;

	if (p->podselector != NULL)
		check_label_selector(c, FIELD(f, "podSelector"), p->podselector);
	if (p->namespaceselector != NULL)
		check_label_selector(c, FIELD(f, "namespaceSelector"), p->namespaceselector);
	if (p->ipblock != NULL)
		check_block(c, FIELD(f, "ipBlock"), p->ipblock);
	if (!selects && p->ipblock == NULL)
		check_required(c, f, "must specify a peer");
	else if (selects && p->ipblock != NULL)
		check_forbidden(c, f, "may not specify both ipBlock and another peer");
}

static void check_ports(struct checks *c, const struct field *f,
			NetworkingV1__NetworkPolicyPort *const *ports, size_t n)
{
	for (size_t i = 0; i < n; i++)
		check_port(c, AT(f, i), ports[i]);
}

static void check_peers(struct checks *c, const struct field *f,
			NetworkingV1__NetworkPolicyPeer *const *peers, size_t n)
{
	for (size_t i = 0; i < n; i++)
		check_peer(c, AT(f, i), peers[i]);
}

static void validate_policy(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const NetworkingV1__NetworkPolicySpec *spec =
		((NetworkingV1__NetworkPolicy *)message)->spec;
	const struct field *f = FIELD(NULL, "spec");

	if (spec == NULL)
		return;
	if (spec->podselector != NULL)
		check_label_selector(c, FIELD(f, "podSelector"), spec->podselector);
	for (size_t i = 0; i < spec->n_ingress; i++) {
		const NetworkingV1__NetworkPolicyIngressRule *r = spec->ingress[i];
		const struct field *at = AT(FIELD(f, "ingress"), i);

		check_ports(c, FIELD(at, "ports"), r->ports, r->n_ports);
		check_peers(c, FIELD(at, "from"), r->from, r->n_from);
	}
	for (size_t i = 0; i < spec->n_egress; i++) {
		const NetworkingV1__NetworkPolicyEgressRule *r = spec->egress[i];
		const struct field *at = AT(FIELD(f, "egress"), i);

		check_ports(c, FIELD(at, "ports"), r->ports, r->n_ports);
		check_peers(c, FIELD(at, "to"), r->to, r->n_to);
	}
	if (spec->n_policytypes > 2)
		check_invalid_text(c, FIELD(f, "policyTypes"), "[...]",
				   "may not specify more than two policyTypes");
}

const struct strategy strategy_network_policy = {
	.descriptor = &networking_v1__network_policy__descriptor,
	.validate = validate_policy,
};
