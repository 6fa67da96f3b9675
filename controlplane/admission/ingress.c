/* Ingresses and their classes: hosts, paths, backends, and which class is meant. */
#include <string.h>

#include "common/api/pack.h"
#include "common/base/cidr.h"
#include "common/base/cleanup.h"
#include "controlplane/admission/strategy.h"
#include "controlplane/store/object.h"
#include "proto/k8s/networking_v1.pb-c.h"

static const char legacy_class[] = "kubernetes.io/ingress.class";
static const char default_class[] = "ingressclass.kubernetes.io/is-default-class";

/* --- Rules ------------------------------------------------------------------------------ */

static void check_backend_port(struct checks *c, const struct field *f,
			       const NetworkingV1__ServiceBackendPort *port)
{
	const char *wrong;

	if (port == NULL || (text_empty(port->name) && port->number == 0)) {
		check_required(c, f, "port name or number is required");
		return;
	}
	if (!text_empty(port->name) && port->number != 0) {
		check_invalid_message(c, f, &port->base, "cannot set both port name & port number");
		return;
	}
	if (port->number != 0 && (port->number < 1 || port->number > 65535))
		check_invalid_int(c, FIELD(f, "number"), port->number,
				  "must be between 1 and 65535, inclusive");
	if (!text_empty(port->name) && (wrong = name_is_port(port->name)) != NULL)
		check_invalid(c, FIELD(f, "name"), port->name, "%s", wrong);
}

static void check_backend(struct checks *c, const struct field *f,
			  const NetworkingV1__IngressBackend *b)
{
	const char *wrong;

	if (b == NULL || (b->service == NULL && b->resource == NULL)) {
		check_required(c, f, "cannot have both resource and service backends unset");
		return;
	}
	if (b->service != NULL && b->resource != NULL) {
		check_invalid(c, f, "", "cannot set both resource and service backends");
		return;
	}
	if (b->resource != NULL) {
		if (text_empty(b->resource->kind))
			check_required(c, FIELD(FIELD(f, "resource"), "kind"), "");
		if (text_empty(b->resource->name))
			check_required(c, FIELD(FIELD(f, "resource"), "name"), "");
		return;
	}

	const struct field *service = FIELD(f, "service");

	if (text_empty(b->service->name))
		check_required(c, FIELD(service, "name"), "");
	else if ((wrong = name_is_label_1035(b->service->name)) != NULL)
		check_invalid(c, FIELD(service, "name"), b->service->name, "%s", wrong);
	check_backend_port(c, FIELD(service, "port"), b->service->port);
}

static void check_path_text(struct checks *c, const struct field *f, const char *path)
{
	static const char *const nowhere[] = { "//", "/./", "/../", "%2f", "%2F" };
	static const char *const ends[] = { "/..", "/." };
	size_t n = strlen(path);

	if (path[0] != '/') {
		check_invalid(c, f, path, "must be an absolute path");
		return;
	}
	for (size_t i = 0; i < array_size(nowhere); i++)
		if (strstr(path, nowhere[i]) != NULL)
			check_invalid(c, f, path, "must not contain '%s'", nowhere[i]);
	for (size_t i = 0; i < array_size(ends); i++)
		if (n >= strlen(ends[i]) && strcmp(path + n - strlen(ends[i]), ends[i]) == 0)
			check_invalid(c, f, path, "cannot end with '%s'", ends[i]);
}

static void check_path(struct checks *c, const struct field *f,
		       const NetworkingV1__HTTPIngressPath *p)
{
	const char *path = text_of(p->path);

	if (text_empty(p->pathtype))
		check_required(c, FIELD(f, "pathType"), "pathType must be specified");
	else if (strcmp(p->pathtype, "ImplementationSpecific") != 0)
		check_path_text(c, FIELD(f, "path"), path);
	else if (path[0] != '\0' && path[0] != '/')
		check_invalid(c, FIELD(f, "path"), path, "must be an absolute path");
	check_backend(c, FIELD(f, "backend"), p->backend);
}

static void check_host(struct checks *c, const struct field *f, const char *host)
{
	struct cidr address;
	const char *wrong;

	if (cidr_read_address(host, &address)) {
		check_invalid(c, f, host, "must be a DNS name, not an IP address");
		return;
	}
	if (strchr(host, '*') == NULL) {
		if ((wrong = name_is_subdomain(host)) != NULL)
			check_invalid(c, f, host, "%s", wrong);
		return;
	}
	if (strncmp(host, "*.", 2) != 0 || name_is_subdomain(host + 2) != NULL)
		check_invalid(
			c, f, host,
			"a wildcard DNS-1123 subdomain must start with '*.', followed by a "
			"valid DNS subdomain, which must consist of lower case alphanumeric "
			"characters, '-' or '.' and end with an alphanumeric character (e.g. "
			"'*.example.com', regex used for validation is "
			"'\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
			"')");
}

static void check_rules(struct checks *c, const struct field *f,
			const NetworkingV1__IngressSpec *spec)
{
	for (size_t i = 0; i < spec->n_rules; i++) {
		const NetworkingV1__IngressRule *r = spec->rules[i];
		const NetworkingV1__HTTPIngressRuleValue *http =
			r->ingressrulevalue != NULL ? r->ingressrulevalue->http : NULL;
		const struct field *at = AT(f, i), *paths = FIELD(FIELD(at, "http"), "paths");

		if (!text_empty(r->host))
			check_host(c, FIELD(at, "host"), r->host);
		if (http == NULL)
			continue;
		if (http->n_paths == 0)
			check_required(c, paths, "");
		for (size_t k = 0; k < http->n_paths; k++)
			check_path(c, AT(paths, k), http->paths[k]);
	}
}

static void check_tls(struct checks *c, const struct field *f,
		      const NetworkingV1__IngressSpec *spec)
{
	for (size_t i = 0; i < spec->n_tls; i++) {
		const NetworkingV1__IngressTLS *t = spec->tls[i];
		const char *wrong;

		for (size_t k = 0; k < t->n_hosts; k++)
			check_host(c, AT(FIELD(AT(f, i), "hosts"), k), text_of(t->hosts[k]));
		if (!text_empty(t->secretname) &&
		    (wrong = name_is_subdomain(t->secretname)) != NULL)
			check_invalid(c, FIELD(AT(f, i), "secretName"), t->secretname, "%s", wrong);
	}
}

static void validate_ingress(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const NetworkingV1__Ingress *ingress = (NetworkingV1__Ingress *)message;
	const NetworkingV1__IngressSpec *spec = ingress->spec;
	const struct field *f = FIELD(NULL, "spec");
	const char *legacy = meta_annotation(ingress->metadata, legacy_class), *wrong;

	if (spec == NULL || (spec->n_rules == 0 && spec->defaultbackend == NULL)) {
		check_invalid_text(c, f, "null",
				   "either `defaultBackend` or `rules` must be specified");
		return;
	}
	if (old == NULL && legacy != NULL && !text_empty(spec->ingressclassname))
		check_invalid(c, KEY(FIELD(FIELD(NULL, "metadata"), "annotations"), legacy_class),
			      legacy, "can not be set when the class field is also set");
	if (!text_empty(spec->ingressclassname) &&
	    (wrong = name_is_subdomain(spec->ingressclassname)) != NULL)
		check_invalid(c, FIELD(f, "ingressClassName"), spec->ingressclassname, "%s", wrong);
	if (spec->defaultbackend != NULL)
		check_backend(c, FIELD(f, "defaultBackend"), spec->defaultbackend);
	check_rules(c, FIELD(f, "rules"), spec);
	check_tls(c, FIELD(f, "tls"), spec);
}

/* --- The default class -------------------------------------------------------------------- */

struct class_choice {
	const struct object *best;
	struct arena *arena;
};

static bool is_default(const struct object *o, struct arena *arena)
{
	const NetworkingV1__IngressClass *class =
		unpack_stored(&networking_v1__ingress_class__descriptor, o->packed, arena);

	return text_is(meta_annotation(class->metadata, default_class), "true");
}

/* Of several the newest, then the first by name. */
static bool consider(void *ctx, const struct object *o)
{
	struct class_choice *choice = ctx;

	if (is_default(o, choice->arena) &&
	    (choice->best == NULL || o->facts.created_ns > choice->best->facts.created_ns))
		choice->best = o;
	return true;
}

static int admit_ingress(struct admission *a, const struct kind *kind, ProtobufCMessage *message,
			 ProtobufCMessage *old, struct status *st)
{
	NetworkingV1__Ingress *ingress = (NetworkingV1__Ingress *)message;
	struct class_choice choice = { .arena = a->arena };

	if (old != NULL || ingress->spec == NULL || ingress->spec->ingressclassname != NULL ||
	    meta_annotation(ingress->metadata, legacy_class) != NULL)
		return 0;
	a->reader->walk(a->reader->ctx, kind_named("networking.k8s.io", "IngressClass"), NULL,
			consider, &choice);
	if (choice.best != NULL)
		ingress->spec->ingressclassname = arena_strdup(a->arena, choice.best->name);
	return 0;
}

const struct strategy strategy_ingress = {
	.descriptor = &networking_v1__ingress__descriptor,
	.admit = admit_ingress,
	.validate = validate_ingress,
};

/* --- IngressClass ------------------------------------------------------------------------- */

static void check_parameters(struct checks *c, const struct field *f,
			     const NetworkingV1__IngressClassParametersReference *p)
{
	static const char *const scopes[] = { "Cluster", "Namespace", NULL };

	if (text_empty(p->kind))
		check_required(c, FIELD(f, "kind"), "kind is required");
	if (text_empty(p->name))
		check_required(c, FIELD(f, "name"), "name is required");
	if (text_empty(p->scope))
		check_required(c, FIELD(f, "scope"), "");
	else if (check_one_of(c, FIELD(f, "scope"), p->scope, scopes)) {
		if (strcmp(p->scope, "Namespace") == 0 && text_empty(p->namespace_))
			check_required(c, FIELD(f, "namespace"),
				       "`parameters.scope` is set to 'Namespace'");
		if (strcmp(p->scope, "Cluster") == 0 && p->namespace_ != NULL)
			check_forbidden(c, FIELD(f, "namespace"),
					"`parameters.scope` is set to 'Cluster'");
	}
}

static void validate_class(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const NetworkingV1__IngressClassSpec *spec = ((NetworkingV1__IngressClass *)message)->spec;
	const struct field *f = FIELD(NULL, "spec");
	const char *controller = spec != NULL ? text_of(spec->controller) : "";

	if (controller[0] == '\0')
		check_required(c, FIELD(f, "controller"), "");
	else if (strlen(controller) > 250)
		check_too_long(c, FIELD(f, "controller"), 250);
	else if (strchr(controller, '/') == NULL)
		check_invalid(c, FIELD(f, "controller"), controller,
			      "must be a domain-prefixed path (such as \"acme.io/foo\")");
	if (spec != NULL && spec->parameters != NULL)
		check_parameters(c, FIELD(f, "parameters"), spec->parameters);
	if (old == NULL)
		return;

	const NetworkingV1__IngressClassSpec *was = ((NetworkingV1__IngressClass *)old)->spec;

	if (was != NULL && !text_is(was->controller, controller))
		check_invalid(c, FIELD(f, "controller"), controller, "field is immutable");
}

const struct strategy strategy_ingress_class = {
	.descriptor = &networking_v1__ingress_class__descriptor,
	.validate = validate_class,
};
