/* Kinds with few rules of their own. */
#include <string.h>

#include "common/api/value.h"
#include "common/base/cleanup.h"
#include "controlplane/admission/pod_range.h"
#include "controlplane/admission/strategy.h"
#include "proto/k8s/apps_v1.pb-c.h"
#include "proto/k8s/certificates_v1.pb-c.h"
#include "proto/k8s/coordination_v1.pb-c.h"
#include "proto/k8s/discovery_v1.pb-c.h"

enum { CONFIG_BYTES_MAX = 1024 * 1024 };

static const char frozen[] = "field is immutable when `immutable` is set";

/* --- ConfigMap, Secret -------------------------------------------------------- */

static void check_config_key(struct checks *c, const struct field *f, const char *key)
{
	const char *wrong = name_is_config_key(text_of(key));

	if (wrong != NULL)
		check_invalid(c, KEY(f, text_of(key)), key, "%s", wrong);
}

static void validate_config_map(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const CoreV1__ConfigMap *m = (CoreV1__ConfigMap *)message, *was = (CoreV1__ConfigMap *)old;
	const struct field *data = FIELD(NULL, "data"), *binary = FIELD(NULL, "binaryData");
	size_t bytes = 0;

	for (size_t i = 0; i < m->n_data; i++) {
		check_config_key(c, data, m->data[i]->key);
		bytes += strlen(text_of(m->data[i]->value));
		for (size_t k = 0; k < m->n_binarydata; k++)
			if (text_is(m->binarydata[k]->key, text_of(m->data[i]->key)))
				check_invalid(c, KEY(data, text_of(m->data[i]->key)),
					      m->data[i]->key,
					      "duplicate of key present in "
					      "binaryData");
	}
	for (size_t i = 0; i < m->n_binarydata; i++) {
		check_config_key(c, binary, m->binarydata[i]->key);
		bytes += m->binarydata[i]->value.len;
	}
	if (bytes > CONFIG_BYTES_MAX)
		check_too_long(c, NULL, CONFIG_BYTES_MAX);
	if (was == NULL || !was->immutable)
		return;

	CoreV1__ConfigMap same = *was;

	same.metadata = m->metadata;
	if (!m->immutable)
		check_forbidden(c, FIELD(NULL, "immutable"), "%s", frozen);
	same.has_immutable = m->has_immutable;
	same.immutable = m->immutable;
	if (!message_equal(&same, m))
		check_forbidden(c, data, "%s", frozen);
}

const struct strategy strategy_config_map = {
	.descriptor = &core_v1__config_map__descriptor,
	.validate = validate_config_map,
};

static const CoreV1__Secret__DataEntry *secret_data(const CoreV1__Secret *s, const char *key)
{
	for (size_t i = 0; i < s->n_data; i++)
		if (text_is(s->data[i]->key, key))
			return s->data[i];
	return NULL;
}

static void require_secret_data(struct checks *c, const CoreV1__Secret *s, const char *key)
{
	if (secret_data(s, key) == NULL)
		check_required(c, KEY(FIELD(NULL, "data"), key), "");
}

static void require_json(struct checks *c, const CoreV1__Secret *s, const char *key)
{
	const CoreV1__Secret__DataEntry *e = secret_data(s, key);
	struct value *v;

	require_secret_data(c, s, key);
	/* The content is not repeated: it is secret. */
	if (e != NULL && value_parse(bytes_of(e->value.data, e->value.len), c->arena, &v, NULL) < 0)
		check_invalid(c, KEY(FIELD(NULL, "data"), key), "<secret contents redacted>",
			      "invalid character in the JSON document");
}

static void check_secret_type(struct checks *c, const CoreV1__Secret *s)
{
	const char *type = text_of(s->type);

	if (strcmp(type, "kubernetes.io/service-account-token") == 0) {
		if (text_empty(meta_annotation(s->metadata, "kubernetes.io/service-account.name")))
			check_required(c,
				       KEY(FIELD(FIELD(NULL, "metadata"), "annotations"),
					   "kubernetes.io/service-account.name"),
				       "");
	} else if (strcmp(type, "kubernetes.io/dockerconfigjson") == 0) {
		require_json(c, s, ".dockerconfigjson");
	} else if (strcmp(type, "kubernetes.io/dockercfg") == 0) {
		require_json(c, s, ".dockercfg");
	} else if (strcmp(type, "kubernetes.io/basic-auth") == 0) {
		if (secret_data(s, "username") == NULL && secret_data(s, "password") == NULL) {
			require_secret_data(c, s, "username");
			require_secret_data(c, s, "password");
		}
	} else if (strcmp(type, "kubernetes.io/ssh-auth") == 0) {
		require_secret_data(c, s, "ssh-privatekey");
	} else if (strcmp(type, "kubernetes.io/tls") == 0) {
		require_secret_data(c, s, "tls.crt");
		require_secret_data(c, s, "tls.key");
	}
}

static void validate_secret(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const CoreV1__Secret *s = (CoreV1__Secret *)message, *was = (CoreV1__Secret *)old;
	const struct field *data = FIELD(NULL, "data");
	size_t bytes = 0;

	for (size_t i = 0; i < s->n_data; i++) {
		check_config_key(c, data, s->data[i]->key);
		bytes += s->data[i]->value.len;
	}
	if (bytes > CONFIG_BYTES_MAX)
		check_too_long(c, data, CONFIG_BYTES_MAX);
	check_secret_type(c, s);
	if (was == NULL)
		return;
	if (!text_is(s->type, text_of(was->type)))
		check_invalid(c, FIELD(NULL, "type"), s->type, "field is immutable");
	if (!was->immutable)
		return;

	CoreV1__Secret same = *was;

	same.metadata = s->metadata;
	same.type = s->type;
	if (!s->immutable)
		check_forbidden(c, FIELD(NULL, "immutable"), "%s", frozen);
	same.has_immutable = s->has_immutable;
	same.immutable = s->immutable;
	if (!message_equal(&same, s))
		check_forbidden(c, data, "%s", frozen);
}

const struct strategy strategy_secret = {
	.descriptor = &core_v1__secret__descriptor,
	.validate = validate_secret,
};

/* --- Namespace ---------------------------------------------------------------- */

static void prepare_namespace(struct admission *a, ProtobufCMessage *message, ProtobufCMessage *old)
{
	CoreV1__Namespace *ns = (CoreV1__Namespace *)message;

	if (old != NULL) {
		/* Finalizers change through /finalize only. */
		ns->spec = ((CoreV1__Namespace *)old)->spec;
		return;
	}
	ns->spec = ns->spec ? ns->spec
			    : make(a->arena, CoreV1__NamespaceSpec, core_v1__namespace_spec);
	for (size_t i = 0; i < ns->spec->n_finalizers; i++)
		if (text_is(ns->spec->finalizers[i], "kubernetes"))
			return;
	make_append(a->arena, ns->spec, finalizers, arena_strdup(a->arena, "kubernetes"));
}

const struct strategy strategy_namespace = {
	.descriptor = &core_v1__namespace__descriptor,
	.name = name_is_label,
	.prepare = prepare_namespace,
};

/* --- Node ----------------------------------------------------------------------- */

static int admit_node(struct admission *a, const struct kind *kind, ProtobufCMessage *message,
		      ProtobufCMessage *old, struct status *st)
{
	CoreV1__NodeSpec *spec = ((CoreV1__Node *)message)->spec;

	if (old != NULL)
		return 0;
	for (size_t i = 0; i < spec->n_taints; i++)
		if (text_is(spec->taints[i]->key, "node.kubernetes.io/not-ready") &&
		    text_is(spec->taints[i]->effect, "NoSchedule"))
			return 0;

	/* Nothing is placed there until it has said that it is ready. */
	CoreV1__Taint *t = make(a->arena, CoreV1__Taint, core_v1__taint);

	t->key = arena_strdup(a->arena, "node.kubernetes.io/not-ready");
	t->effect = arena_strdup(a->arena, "NoSchedule");
	make_append(a->arena, spec, taints, t);
	return 0;
}

static void prepare_node(struct admission *a, ProtobufCMessage *message, ProtobufCMessage *old)
{
	CoreV1__Node *node = (CoreV1__Node *)message;

	if (node->spec == NULL)
		node->spec = make(a->arena, CoreV1__NodeSpec, core_v1__node_spec);
	/* From when on tolerationSeconds count. */
	for (size_t i = 0; i < node->spec->n_taints; i++)
		if (text_is(node->spec->taints[i]->effect, "NoExecute") &&
		    node->spec->taints[i]->timeadded == NULL)
			node->spec->taints[i]->timeadded = make_time(a->arena, a->now_ns);
	if (old == NULL)
		return;

	/* A client that knows nothing of the range does not take it away. */
	const CoreV1__NodeSpec *was = ((CoreV1__Node *)old)->spec;

	if (was != NULL && text_empty(node->spec->podcidr) && node->spec->n_podcidrs == 0) {
		node->spec->podcidr = was->podcidr;
		node->spec->n_podcidrs = was->n_podcidrs;
		node->spec->podcidrs = was->podcidrs;
	}
}

static void check_taints(struct checks *c, const struct field *f, const CoreV1__NodeSpec *spec)
{
	for (size_t i = 0; i < spec->n_taints; i++) {
		const CoreV1__Taint *t = spec->taints[i];
		const struct field *at = AT(f, i);
		const char *wrong;

		if ((wrong = name_is_qualified(text_of(t->key))) != NULL)
			check_invalid(c, FIELD(at, "key"), t->key, "%s", wrong);
		if ((wrong = name_is_label_value(text_of(t->value))) != NULL)
			check_invalid(c, FIELD(at, "value"), t->value, "%s", wrong);
		if (text_empty(t->effect))
			check_required(c, FIELD(at, "effect"), "");
		for (size_t k = 0; k < i; k++)
			if (text_is(spec->taints[k]->key, text_of(t->key)) &&
			    text_is(spec->taints[k]->effect, text_of(t->effect)))
				check_duplicate_text(c, at,
						     arena_printf(c->arena,
								  "{\"key\":%s,\"effect\":%s}",
								  quoted(c->arena, t->key),
								  quoted(c->arena, t->effect)));
	}
}

static void validate_node(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const CoreV1__NodeSpec *spec = ((CoreV1__Node *)message)->spec;
	const CoreV1__NodeSpec *was = old ? ((CoreV1__Node *)old)->spec : NULL;
	const struct field *f = FIELD(NULL, "spec");
	uint32_t address;
	int bits;

	check_taints(c, FIELD(f, "taints"), spec);
	if (!text_empty(spec->podcidr) && !cidr_parse(spec->podcidr, &address, &bits))
		check_invalid(c, AT(FIELD(f, "podCIDRs"), 0), spec->podcidr,
			      "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
	if (was == NULL)
		return;
	if (!text_empty(was->podcidr) && !text_is(spec->podcidr, was->podcidr))
		check_forbidden(c, FIELD(f, "podCIDRs"),
				"node updates may not change podCIDR except from \"\" to valid");
	if (!text_empty(was->providerid) && !text_is(spec->providerid, was->providerid))
		check_forbidden(c, FIELD(f, "providerID"),
				"node updates may not change providerID except from \"\" to valid");
}

/* A low free range of the cluster's pod network: /24 of 10.244.0.0/16 and so on. */
static void allocate_pod_cidr(struct admission *a, struct checks *c, ProtobufCMessage *message,
			      ProtobufCMessage *old)
{
	CoreV1__NodeSpec *spec = ((CoreV1__Node *)message)->spec;
	const CoreV1__NodeSpec *was = old ? ((CoreV1__Node *)old)->spec : NULL;
	const struct field *f = FIELD(FIELD(NULL, "spec"), "podCIDR");
	int bits, prefix = a->config->node_prefix;
	uint32_t base;

	if (!text_empty(spec->podcidr)) {
		const char *claim = arena_printf(a->arena, "podcidr/%s", spec->podcidr);
		bool held = was != NULL && text_is(was->podcidr, spec->podcidr);

		if (!held && a->reader->claim_taken(a->reader->ctx, claim))
			check_invalid(c, f, spec->podcidr, "provided range is already allocated");
		if (spec->n_podcidrs == 0)
			make_append(a->arena, spec, podcidrs, spec->podcidr);
		admission_claim(a, claim);
		return;
	}
	if (!cidr_parse(a->config->pod_cidr, &base, &bits) || prefix < bits || prefix > 32)
		return;
	const char *claim = pod_range_choose(a, base, bits, prefix);

	if (claim != NULL) {
		spec->podcidr = arena_strdup(a->arena, strchr(claim, '/') + 1);
		make_append(a->arena, spec, podcidrs, spec->podcidr);
		admission_claim(a, claim);
		return;
	}
	check_invalid(c, f, "", "no range is left in the pod network %s", a->config->pod_cidr);
}

const struct strategy strategy_node = {
	.descriptor = &core_v1__node__descriptor,
	.keeps_status = true,
	.prepare = prepare_node,
	.admit = admit_node,
	.validate = validate_node,
	.allocate = allocate_pod_cidr,
};

/* --- Endpoints, EndpointSlice ---------------------------------------------------- */

static void check_endpoint_ip(struct checks *c, const struct field *f, const char *ip)
{
	uint32_t a;

	if (!ip_valid(ip)) {
		check_invalid(c, f, ip,
			      "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
		return;
	}
	if (!ipv4_parse(ip, &a))
		return;
	if (a == 0)
		check_invalid(c, f, ip, "may not be unspecified (0.0.0.0)");
	else if (a >> 24 == 127)
		check_invalid(c, f, ip, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
	else if (a >> 16 == 0xa9fe)
		check_invalid(c, f, ip,
			      "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
	else if (a >> 8 == 0xe00000)
		check_invalid(c, f, ip,
			      "may not be in the link-local multicast range (224.0.0.0/24, "
			      "ff02::/10)");
}

static void validate_endpoints(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const CoreV1__Endpoints *e = (CoreV1__Endpoints *)message;

	for (size_t i = 0; i < e->n_subsets; i++) {
		const CoreV1__EndpointSubset *s = e->subsets[i];
		const struct field *f = AT(FIELD(NULL, "subsets"), i);

		if (s->n_addresses == 0 && s->n_notreadyaddresses == 0)
			check_required(c, f, "must specify `addresses` or `notReadyAddresses`");
		for (size_t k = 0; k < s->n_addresses; k++)
			check_endpoint_ip(c, FIELD(AT(FIELD(f, "addresses"), k), "ip"),
					  s->addresses[k]->ip);
		for (size_t k = 0; k < s->n_notreadyaddresses; k++)
			check_endpoint_ip(c, FIELD(AT(FIELD(f, "notReadyAddresses"), k), "ip"),
					  s->notreadyaddresses[k]->ip);
		for (size_t k = 0; k < s->n_ports; k++) {
			const struct field *at = AT(FIELD(f, "ports"), k);

			if (s->n_ports > 1 && text_empty(s->ports[k]->name))
				check_required(c, FIELD(at, "name"), "");
			if (s->ports[k]->port < 1 || s->ports[k]->port > 65535)
				check_invalid_int(c, FIELD(at, "port"), s->ports[k]->port,
						  "must be between 1 and 65535, inclusive");
		}
	}
}

const struct strategy strategy_endpoints = {
	.descriptor = &core_v1__endpoints__descriptor,
	.validate = validate_endpoints,
};

static void check_slice_endpoints(struct checks *c, const DiscoveryV1__EndpointSlice *s)
{
	enum { ENDPOINTS_MAX = 1000, ADDRESSES_MAX = 100 };
	const struct field *list = FIELD(NULL, "endpoints");
	bool fqdn = text_is(s->addresstype, "FQDN");

	if (s->n_endpoints > ENDPOINTS_MAX)
		check_too_many(c, list, s->n_endpoints, ENDPOINTS_MAX);
	for (size_t i = 0; i < s->n_endpoints && i < ENDPOINTS_MAX; i++) {
		const DiscoveryV1__Endpoint *e = s->endpoints[i];
		const struct field *f = FIELD(AT(list, i), "addresses");

		if (e->n_addresses == 0)
			check_required(c, f, "must contain at least 1 address");
		else if (e->n_addresses > ADDRESSES_MAX)
			check_too_many(c, f, e->n_addresses, ADDRESSES_MAX);
		for (size_t k = 0; k < e->n_addresses && k < ADDRESSES_MAX; k++) {
			const char *wrong;

			if (!fqdn)
				check_endpoint_ip(c, AT(f, k), e->addresses[k]);
			else if ((wrong = name_is_subdomain(text_of(e->addresses[k]))) != NULL)
				check_invalid(c, AT(f, k), e->addresses[k], "%s", wrong);
		}
	}
}

static void validate_slice(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const DiscoveryV1__EndpointSlice *s = (DiscoveryV1__EndpointSlice *)message;
	static const char *const types[] = { "FQDN", "IPv4", "IPv6", NULL };

	if (text_empty(s->addresstype))
		check_required(c, FIELD(NULL, "addressType"), "");
	else
		check_one_of(c, FIELD(NULL, "addressType"), s->addresstype, types);
	check_slice_endpoints(c, s);
	for (size_t i = 0; i < s->n_ports; i++)
		for (size_t k = 0; k < i; k++)
			if (text_is(s->ports[k]->name, text_of(s->ports[i]->name)))
				check_duplicate(c, FIELD(AT(FIELD(NULL, "ports"), i), "name"),
						s->ports[i]->name);
	if (old != NULL &&
	    !text_is(s->addresstype, text_of(((DiscoveryV1__EndpointSlice *)old)->addresstype)))
		check_invalid(c, FIELD(NULL, "addressType"), s->addresstype, "field is immutable");
}

const struct strategy strategy_endpoint_slice = {
	.descriptor = &discovery_v1__endpoint_slice__descriptor,
	.validate = validate_slice,
};

/* --- Event, Lease, ServiceAccount -------------------------------------------------- */

static void validate_event(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const CoreV1__Event *e = (CoreV1__Event *)message;
	const char *about = e->involvedobject ? text_of(e->involvedobject->namespace_) : "";
	const char *in = text_of(e->metadata->namespace_);

	if (about[0] == '\0' ? strcmp(in, "default") != 0 && strcmp(in, "kube-system") != 0
			     : strcmp(about, in) != 0)
		check_invalid(c, FIELD(FIELD(NULL, "involvedObject"), "namespace"), about,
			      "does not match event.namespace");
}

const struct strategy strategy_event = {
	.descriptor = &core_v1__event__descriptor,
	.validate = validate_event,
};

static void validate_lease(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const CoordinationV1__LeaseSpec *spec = ((CoordinationV1__Lease *)message)->spec;
	const struct field *f = FIELD(NULL, "spec");

	if (spec == NULL)
		return;
	if (spec->has_leasedurationseconds && spec->leasedurationseconds <= 0)
		check_invalid_int(c, FIELD(f, "leaseDurationSeconds"), spec->leasedurationseconds,
				  "must be greater than 0");
	if (spec->has_leasetransitions)
		check_not_negative(c, FIELD(f, "leaseTransitions"), spec->leasetransitions);
}

const struct strategy strategy_lease = {
	.descriptor = &coordination_v1__lease__descriptor,
	.validate = validate_lease,
};

const struct strategy strategy_service_account = {
	.descriptor = &core_v1__service_account__descriptor,
};

/* --- CertificateSigningRequest, ControllerRevision ---------------------------------- */

/* Who asks is what the server knows, not what the request says. */
static void prepare_request(struct admission *a, ProtobufCMessage *message, ProtobufCMessage *old)
{
	CertificatesV1__CertificateSigningRequest *csr =
		(CertificatesV1__CertificateSigningRequest *)message;

	if (old != NULL || csr->spec == NULL)
		return;
	csr->spec->username = arena_strdup(a->arena, text_of(a->user));
	csr->spec->uid = NULL;
	csr->spec->n_extra = 0;
	csr->spec->n_groups = 0;
	for (size_t i = 0; i < a->n_groups; i++)
		make_append(a->arena, csr->spec, groups, arena_strdup(a->arena, a->groups[i]));
}

static void validate_request(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	enum { EXPIRATION_MIN_S = 600 };
	const CertificatesV1__CertificateSigningRequestSpec *spec =
		((CertificatesV1__CertificateSigningRequest *)message)->spec;
	const struct field *f = FIELD(NULL, "spec");
	static const char begin[] = "-----BEGIN CERTIFICATE REQUEST-----";

	if (spec == NULL) {
		check_required(c, FIELD(f, "request"), "");
		return;
	}
	if (spec->request.len == 0)
		check_required(c, FIELD(f, "request"), "");
	else if (memmem(spec->request.data, spec->request.len, begin, strlen(begin)) == NULL)
		check_invalid(c, FIELD(f, "request"), "<request>",
			      "PEM block type must be CERTIFICATE REQUEST");
	if (text_empty(spec->signername))
		check_required(c, FIELD(f, "signerName"), "");
	else if (strchr(spec->signername, '/') == NULL)
		check_invalid(c, FIELD(f, "signerName"), spec->signername,
			      "must be a fully qualified domain and path of the form "
			      "\"example.com/signer-name\"");
	if (spec->n_usages == 0)
		check_required(c, FIELD(f, "usages"), "");
	if (spec->has_expirationseconds && spec->expirationseconds < EXPIRATION_MIN_S)
		check_invalid_int(c, FIELD(f, "expirationSeconds"), spec->expirationseconds,
				  "may not specify a duration less than 600 seconds (10 minutes)");
	if (old != NULL)
		check_immutable(c, f, spec,
				((CertificatesV1__CertificateSigningRequest *)old)->spec);
}

const struct strategy strategy_certificate_request = {
	.descriptor = &certificates_v1__certificate_signing_request__descriptor,
	.prepare = prepare_request,
	.validate = validate_request,
};

static void validate_revision(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const AppsV1__ControllerRevision *r = (AppsV1__ControllerRevision *)message;

	check_not_negative(c, FIELD(NULL, "revision"), r->revision);
	if (r->data == NULL)
		check_required(c, FIELD(NULL, "data"), "data is mandatory");
	if (old != NULL)
		check_immutable(c, FIELD(NULL, "data"), r->data,
				((AppsV1__ControllerRevision *)old)->data);
}

const struct strategy strategy_controller_revision = {
	.descriptor = &apps_v1__controller_revision__descriptor,
	.validate = validate_revision,
};
