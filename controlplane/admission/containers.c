/* What a container of a PodSpec must be. */
#include <inttypes.h>
#include <string.h>

#include "common/api/quantity.h"
#include "common/base/cleanup.h"
#include "controlplane/admission/pod_spec.h"
#include "controlplane/admission/strategy.h"

static const char port_range[] = "must be between 1 and 65535, inclusive";

/* --- Ports ------------------------------------------------------------------ */

static void check_ports(struct checks *c, const struct field *f, const CoreV1__Container *container,
			bool host_network)
{
	for (size_t i = 0; i < container->n_ports; i++) {
		const CoreV1__ContainerPort *p = container->ports[i];
		const struct field *at = AT(f, i);
		const char *wrong;

		if (!text_empty(p->name) && (wrong = name_is_port(p->name)) != NULL)
			check_invalid(c, FIELD(at, "name"), p->name, "%s", wrong);
		for (size_t k = 0; !text_empty(p->name) && k < i; k++)
			if (text_is(container->ports[k]->name, p->name))
				check_duplicate(c, FIELD(at, "name"), p->name);
		if (p->containerport == 0)
			check_required(c, FIELD(at, "containerPort"), "");
		else if (p->containerport < 1 || p->containerport > 65535)
			check_invalid_int(c, FIELD(at, "containerPort"), p->containerport, "%s",
					  port_range);
		if (p->hostport != 0 && (p->hostport < 1 || p->hostport > 65535))
			check_invalid_int(c, FIELD(at, "hostPort"), p->hostport, "%s", port_range);
		else if (host_network && p->hostport != 0 && p->hostport != p->containerport)
			check_invalid_int(c, FIELD(at, "containerPort"), p->containerport,
					  "must match `hostPort` when `hostNetwork` is true");
		if (text_empty(p->protocol))
			check_required(c, FIELD(at, "protocol"), "");
	}
}

static bool same_host_port(const CoreV1__ContainerPort *a, const CoreV1__ContainerPort *b)
{
	return a->hostport == b->hostport && text_is(a->protocol, text_of(b->protocol)) &&
	       text_is(a->hostip, text_of(b->hostip));
}

/* A port of the host is taken once. */
static void check_host_ports(struct checks *c, const struct field *f,
			     CoreV1__Container *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		for (size_t p = 0; p < list[i]->n_ports; p++) {
			const CoreV1__ContainerPort *port = list[i]->ports[p];
			bool taken = false;

			for (size_t k = 0; port->hostport != 0 && k <= i; k++)
				for (size_t q = 0; q < (k == i ? p : list[k]->n_ports); q++)
					taken = taken || same_host_port(list[k]->ports[q], port);
			if (taken)
				check_duplicate_text(
					c, FIELD(AT(FIELD(AT(f, i), "ports"), p), "hostPort"),
					arena_printf(c->arena, "\"%s/%s/%d\"",
						     text_of(port->hostip), text_of(port->protocol),
						     port->hostport));
		}
	}
}

/* --- Environment ------------------------------------------------------------ */

static bool is_env_field(const char *path)
{
	static const char *const paths[] = {
		"metadata.name",           "metadata.namespace", "metadata.uid",   "spec.nodeName",
		"spec.serviceAccountName", "status.hostIP",      "status.hostIPs", "status.podIP",
		"status.podIPs",
	};

	for (size_t i = 0; i < array_size(paths); i++)
		if (strcmp(paths[i], path) == 0)
			return true;
	return strncmp(path, "metadata.labels['", 17) == 0 ||
	       strncmp(path, "metadata.annotations['", 22) == 0;
}

static void check_env_source(struct checks *c, const struct field *f, const CoreV1__EnvVar *var)
{
	const CoreV1__EnvVarSource *s = var->valuefrom;
	int sources = (s->fieldref != NULL) + (s->resourcefieldref != NULL) +
		      (s->configmapkeyref != NULL) + (s->secretkeyref != NULL);

	if (!text_empty(var->value) && sources > 0)
		check_invalid(c, f, "", "may not be specified when `value` is not empty");
	if (sources == 0)
		check_invalid(c, f, "",
			      "must specify one of: `fieldRef`, `resourceFieldRef`, "
			      "`configMapKeyRef`, `secretKeyRef` or `fileKeyRef`");
	else if (sources > 1)
		check_invalid(c, f, "", "may not have more than one field specified at a time");
	if (s->fieldref != NULL) {
		const struct field *at = FIELD(f, "fieldRef");

		if (text_empty(s->fieldref->fieldpath))
			check_required(c, FIELD(at, "fieldPath"), "");
		else if (!is_env_field(s->fieldref->fieldpath))
			check_invalid(c, FIELD(at, "fieldPath"), s->fieldref->fieldpath,
				      "error converting fieldPath: field label not supported: %s",
				      s->fieldref->fieldpath);
	}
	if (s->resourcefieldref != NULL && text_empty(s->resourcefieldref->resource))
		check_required(c, FIELD(FIELD(f, "resourceFieldRef"), "resource"), "");
	if (s->configmapkeyref != NULL && text_empty(s->configmapkeyref->key))
		check_required(c, FIELD(FIELD(f, "configMapKeyRef"), "key"), "");
	if (s->secretkeyref != NULL && text_empty(s->secretkeyref->key))
		check_required(c, FIELD(FIELD(f, "secretKeyRef"), "key"), "");
}

static void check_env(struct checks *c, const struct field *f, const CoreV1__Container *container)
{
	const char *wrong;

	for (size_t i = 0; i < container->n_env; i++) {
		const CoreV1__EnvVar *v = container->env[i];
		const struct field *at = AT(FIELD(f, "env"), i);

		if (text_empty(v->name))
			check_required(c, FIELD(at, "name"), "");
		else if ((wrong = name_is_env(v->name)) != NULL)
			check_invalid(c, FIELD(at, "name"), v->name, "%s", wrong);
		if (v->valuefrom != NULL)
			check_env_source(c, FIELD(at, "valueFrom"), v);
	}
	for (size_t i = 0; i < container->n_envfrom; i++) {
		const CoreV1__EnvFromSource *s = container->envfrom[i];
		const struct field *at = AT(FIELD(f, "envFrom"), i);

		if (!text_empty(s->prefix) && (wrong = name_is_env(s->prefix)) != NULL)
			check_invalid(c, FIELD(at, "prefix"), s->prefix, "%s", wrong);
		if (s->configmapref == NULL && s->secretref == NULL)
			check_invalid(c, at, "",
				      "must specify one of: `configMapRef` or `secretRef`");
		else if (s->configmapref != NULL && s->secretref != NULL)
			check_invalid(c, at, "",
				      "may not have more than one field specified at a time");
	}
}

/* --- Resources -------------------------------------------------------------- */

static bool is_standard_resource(const char *name)
{
	return strcmp(name, "cpu") == 0 || strcmp(name, "memory") == 0 ||
	       strcmp(name, "ephemeral-storage") == 0;
}

static void check_resource_name(struct checks *c, const struct field *f, const char *name)
{
	const char *wrong = name_is_qualified(name);

	if (wrong != NULL)
		check_invalid(c, f, name, "%s", wrong);
	else if (strchr(name, '/') == NULL && !is_standard_resource(name) &&
		 strncmp(name, "hugepages-", 10) != 0)
		check_invalid(c, f, name, "must be a standard resource for containers");
}

typedef CoreV1__ResourceRequirements__LimitsEntry resource_entry;

static const resource_entry *find_resource(const void *entries, size_t n, const char *name)
{
	resource_entry *const *list = entries;

	for (size_t i = 0; i < n; i++)
		if (text_is(list[i]->key, name))
			return list[i];
	return NULL;
}

static struct quantity entry_quantity(const resource_entry *e)
{
	struct quantity q = { 0 };

	if (e != NULL && e->value != NULL)
		quantity_parse(bytes_str(text_of(e->value->string)), &q);
	return q;
}

static void check_amounts(struct checks *c, const struct field *f, const void *entries, size_t n)
{
	resource_entry *const *list = entries;

	for (size_t i = 0; i < n; i++) {
		const struct field *at = KEY(f, text_of(list[i]->key));
		struct quantity q = entry_quantity(list[i]);

		check_resource_name(c, at, text_of(list[i]->key));
		if (q.nano < 0)
			check_invalid(c, at, list[i]->value->string,
				      "must be greater than or equal to 0");
		else if (!is_standard_resource(text_of(list[i]->key)) && q.nano % 1000000000 != 0)
			check_invalid(c, at, list[i]->value->string, "must be an integer");
	}
}

void check_resources(struct checks *c, const struct field *f, const CoreV1__ResourceRequirements *r)
{
	if (r == NULL)
		return;
	check_amounts(c, FIELD(f, "limits"), r->limits, r->n_limits);
	check_amounts(c, FIELD(f, "requests"), r->requests, r->n_requests);
	for (size_t i = 0; i < r->n_requests; i++) {
		const resource_entry *request = (const void *)r->requests[i];
		const char *name = text_of(request->key);
		const resource_entry *limit = find_resource(r->limits, r->n_limits, name);
		struct quantity asked = entry_quantity(request), allowed = entry_quantity(limit);
		int order = quantity_compare(&asked, &allowed);
		bool overcommits = is_standard_resource(name);

		if (limit != NULL && overcommits && order > 0)
			check_invalid(c, FIELD(f, "requests"), request->value->string,
				      "must be less than or equal to %s limit of %s", name,
				      limit->value->string);
		else if (limit != NULL && !overcommits && order != 0)
			check_invalid(c, FIELD(f, "requests"), request->value->string,
				      "must be equal to %s limit of %s", name,
				      limit->value->string);
		else if (limit == NULL && !overcommits)
			check_required(c, FIELD(f, "limits"),
				       "Limit must be set for non overcommitable resources");
	}
}

/* --- Probes and lifecycle --------------------------------------------------- */

static void check_handler_port(struct checks *c, const struct field *f,
			       const Intstr__IntOrString *port)
{
	const char *wrong;

	if (port == NULL || port->type == 0) {
		int32_t n = port ? port->intval : 0;

		if (n < 1 || n > 65535)
			check_invalid_int(c, f, n, "%s", port_range);
	} else if ((wrong = name_is_port(text_of(port->strval))) != NULL) {
		check_invalid(c, f, port->strval, "%s", wrong);
	}
}

static void check_http_get(struct checks *c, const struct field *f,
			   const CoreV1__HTTPGetAction *get)
{
	if (text_empty(get->path))
		check_required(c, FIELD(f, "path"), "");
	check_handler_port(c, FIELD(f, "port"), get->port);
	for (size_t i = 0; i < get->n_httpheaders; i++)
		if (text_empty(get->httpheaders[i]->name))
			check_required(c, FIELD(AT(FIELD(f, "httpHeaders"), i), "name"), "");
}

static void check_one_handler(struct checks *c, const struct field *f, int handlers)
{
	if (handlers == 0)
		check_required(c, f, "must specify a handler type");
	else if (handlers > 1)
		check_forbidden(c, f, "may not specify more than 1 handler type");
}

static void check_probe(struct checks *c, const struct field *f, const CoreV1__Probe *p,
			bool readiness)
{
	if (p == NULL)
		return;

	const CoreV1__ProbeHandler *h = p->handler;

	check_one_handler(c, f,
			  h ? (h->exec != NULL) + (h->httpget != NULL) + (h->tcpsocket != NULL) +
					  (h->grpc != NULL)
			    : 0);
	if (h != NULL && h->exec != NULL && h->exec->n_command == 0)
		check_required(c, FIELD(FIELD(f, "exec"), "command"), "");
	if (h != NULL && h->httpget != NULL)
		check_http_get(c, FIELD(f, "httpGet"), h->httpget);
	if (h != NULL && h->tcpsocket != NULL)
		check_handler_port(c, FIELD(FIELD(f, "tcpSocket"), "port"), h->tcpsocket->port);
	if (h != NULL && h->grpc != NULL && (h->grpc->port < 1 || h->grpc->port > 65535))
		check_invalid_int(c, FIELD(FIELD(f, "grpc"), "port"), h->grpc->port, "%s",
				  port_range);
	check_not_negative(c, FIELD(f, "initialDelaySeconds"), p->initialdelayseconds);
	check_not_negative(c, FIELD(f, "timeoutSeconds"), p->timeoutseconds);
	check_not_negative(c, FIELD(f, "periodSeconds"), p->periodseconds);
	check_not_negative(c, FIELD(f, "successThreshold"), p->successthreshold);
	check_not_negative(c, FIELD(f, "failureThreshold"), p->failurethreshold);
	if (!readiness && p->successthreshold != 1)
		check_invalid_int(c, FIELD(f, "successThreshold"), p->successthreshold,
				  "must be 1");
	if (!p->has_terminationgraceperiodseconds)
		return;
	if (readiness)
		check_invalid_int(c, FIELD(f, "terminationGracePeriodSeconds"),
				  p->terminationgraceperiodseconds,
				  "must not be set for readinessProbes");
	else if (p->terminationgraceperiodseconds <= 0)
		check_invalid_int(c, FIELD(f, "terminationGracePeriodSeconds"),
				  p->terminationgraceperiodseconds, "must be greater than 0");
}

static void check_handler(struct checks *c, const struct field *f,
			  const CoreV1__LifecycleHandler *h)
{
	if (h == NULL)
		return;
	check_one_handler(c, f,
			  (h->exec != NULL) + (h->httpget != NULL) + (h->tcpsocket != NULL) +
				  (h->sleep != NULL));
	if (h->exec != NULL && h->exec->n_command == 0)
		check_required(c, FIELD(FIELD(f, "exec"), "command"), "");
	if (h->httpget != NULL)
		check_http_get(c, FIELD(f, "httpGet"), h->httpget);
	if (h->tcpsocket != NULL)
		check_handler_port(c, FIELD(FIELD(f, "tcpSocket"), "port"), h->tcpsocket->port);
	if (h->sleep != NULL && h->sleep->seconds < 0)
		check_invalid_int(c, FIELD(FIELD(f, "sleep"), "seconds"), h->sleep->seconds,
				  "must be greater than or equal to 0");
}

/* --- Containers ------------------------------------------------------------- */

static void check_container(struct checks *c, const struct field *f, const CoreV1__PodSpec *spec,
			    const CoreV1__Container *container)
{
	const char *wrong;

	if (text_empty(container->name))
		check_required(c, FIELD(f, "name"), "");
	else if ((wrong = name_is_label(container->name)) != NULL)
		check_invalid(c, FIELD(f, "name"), container->name, "%s", wrong);
	if (text_empty(container->image))
		check_required(c, FIELD(f, "image"), "");
	else if (strspn(container->image, " \t") > 0 ||
		 strchr(" \t\n", container->image[strlen(container->image) - 1]) != NULL)
		check_invalid(c, FIELD(f, "image"), container->image,
			      "must not have leading or trailing whitespace");
	check_ports(c, FIELD(f, "ports"), container, spec->hostnetwork);
	check_env(c, f, container);
	check_mounts(c, f, spec, container);
	check_resources(c, FIELD(f, "resources"), container->resources);
	check_probe(c, FIELD(f, "livenessProbe"), container->livenessprobe, false);
	check_probe(c, FIELD(f, "readinessProbe"), container->readinessprobe, true);
	check_probe(c, FIELD(f, "startupProbe"), container->startupprobe, false);
	if (container->lifecycle == NULL)
		return;
	check_handler(c, FIELD(FIELD(f, "lifecycle"), "postStart"),
		      container->lifecycle->poststart);
	check_handler(c, FIELD(FIELD(f, "lifecycle"), "preStop"), container->lifecycle->prestop);
}

/* Init containers end, so nothing can probe them, unless they stay as sidecars. */
static void check_init_container(struct checks *c, const struct field *f,
				 const CoreV1__Container *container)
{
	static const char may_not[] = "may not be set for init containers without "
				      "restartPolicy=Always";
	bool sidecar = text_is(container->restartpolicy, "Always");

	if (container->restartpolicy != NULL && !sidecar)
		check_unsupported(c, FIELD(f, "restartPolicy"), container->restartpolicy,
				  (const char *const[]){ "Always", NULL });
	if (sidecar)
		return;
	if (container->lifecycle != NULL)
		check_forbidden(c, FIELD(f, "lifecycle"), "%s", may_not);
	if (container->livenessprobe != NULL)
		check_forbidden(c, FIELD(f, "livenessProbe"), "%s", may_not);
	if (container->readinessprobe != NULL)
		check_forbidden(c, FIELD(f, "readinessProbe"), "%s", may_not);
	if (container->startupprobe != NULL)
		check_forbidden(c, FIELD(f, "startupProbe"), "%s", may_not);
}

static bool name_taken(CoreV1__Container *const *list, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!text_empty(name) && text_is(list[i]->name, name))
			return true;
	return false;
}

void check_containers(struct checks *c, const struct field *f, const CoreV1__PodSpec *spec)
{
	const struct field *list = FIELD(f, "containers"), *inits = FIELD(f, "initContainers");

	if (spec->n_containers == 0)
		check_required(c, list, "");
	for (size_t i = 0; i < spec->n_containers; i++) {
		const CoreV1__Container *container = spec->containers[i];

		check_container(c, AT(list, i), spec, container);
		if (name_taken(spec->containers, i, container->name))
			check_duplicate(c, FIELD(AT(list, i), "name"), container->name);
		if (container->restartpolicy != NULL)
			check_forbidden(c, FIELD(AT(list, i), "restartPolicy"),
					"may not be set for non-init containers");
	}
	check_host_ports(c, list, spec->containers, spec->n_containers);
	for (size_t i = 0; i < spec->n_initcontainers; i++) {
		const CoreV1__Container *container = spec->initcontainers[i];

		check_container(c, AT(inits, i), spec, container);
		check_init_container(c, AT(inits, i), container);
		if (name_taken(spec->initcontainers, i, container->name) ||
		    name_taken(spec->containers, spec->n_containers, container->name))
			check_duplicate(c, FIELD(AT(inits, i), "name"), container->name);
	}
}
