#include "common/ingress/ingress.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/make.h"

struct reader {
	struct arena *arena;
	const char *problem;
};

static const char *refuse(struct reader *r, const char *problem)
{
	if (r->problem == NULL)
		r->problem = problem;
	return problem;
}

static const char *lower(struct reader *r, const char *text)
{
	char *copy = arena_strdup(r->arena, text_of(text));

	for (char *c = copy; *c != '\0'; c++)
		*c = (char)tolower((unsigned char)*c);
	return copy;
}

/* Names become words of maps and names of files. */
static void check_name(struct reader *r, const char *what, const char *name)
{
	for (const char *c = name; *c != '\0'; c++) {
		if (isalnum((unsigned char)*c) || *c == '.' || *c == '-' ||
		    (*c == '*' && c == name))
			continue;
		refuse(r, arena_printf(r->arena, "%s is not a name", what));
		return;
	}
}

/* --- Options ---------------------------------------------------------------------------- */

/* Written into HAProxy's configuration: nothing that could end a word or begin another. */
static bool is_plain(const char *text)
{
	for (; *text != '\0'; text++)
		if (!isalnum((unsigned char)*text) && strchr("/._~-:%?&=+@,;", *text) == NULL)
			return false;
	return true;
}

static void read_protocol(struct reader *r, const char *value, struct ingress_options *o)
{
	if (strcmp(value, "http") == 0)
		o->protocol = INGRESS_HTTP;
	else if (strcmp(value, "https") == 0)
		o->protocol = INGRESS_HTTPS;
	else if (strcmp(value, "h2c") == 0 || strcmp(value, "grpc") == 0)
		o->protocol = INGRESS_H2C;
	else
		refuse(r, arena_printf(r->arena,
				       "annotation " INGRESS_OPTION_PREFIX
				       "backend-protocol is \"%s\", not http, https, h2c or grpc",
				       value));
}

static void read_timeout(struct reader *r, const char *value, struct ingress_options *o)
{
	size_t digits = strspn(value, "0123456789");
	unsigned long seconds = strtoul(value, NULL, 10);

	if (digits == 0 || digits > 5 || value[digits] != '\0' || seconds == 0 ||
	    seconds > INGRESS_TIMEOUT_MAX_S)
		refuse(r, arena_printf(r->arena,
				       "annotation " INGRESS_OPTION_PREFIX
				       "timeout-seconds is \"%s\", not a number from 1 to %d",
				       value, INGRESS_TIMEOUT_MAX_S));
	o->timeout_s = (uint32_t)seconds;
}

static void read_rewrite(struct reader *r, const char *value, struct ingress_options *o)
{
	if (value[0] != '/' || strpbrk(value, "?%") != NULL || !is_plain(value))
		refuse(r, arena_printf(r->arena,
				       "annotation " INGRESS_OPTION_PREFIX
				       "rewrite-prefix is \"%s\", not an absolute path",
				       value));
	o->rewrite_prefix = value;
}

static void read_redirect(struct reader *r, const char *value, struct ingress_options *o)
{
	if ((strncmp(value, "http://", 7) != 0 && strncmp(value, "https://", 8) != 0) ||
	    !is_plain(value))
		refuse(r, arena_printf(r->arena,
				       "annotation " INGRESS_OPTION_PREFIX
				       "redirect is \"%s\", not an http or https URL",
				       value));
	o->redirect = value;
}

static bool read_bool(struct reader *r, const char *name, const char *value)
{
	if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
		refuse(r, arena_printf(r->arena,
				       "annotation " INGRESS_OPTION_PREFIX
				       "%s is \"%s\", not true or false",
				       name, value));
	return strcmp(value, "true") == 0;
}

static void read_affinity(struct reader *r, const char *value, struct ingress_options *o)
{
	if (strcmp(value, "cookie") != 0)
		refuse(r, arena_printf(r->arena,
				       "annotation " INGRESS_OPTION_PREFIX
				       "affinity is \"%s\", not cookie",
				       value));
	o->sticky = true;
}

/* *ret_secure: what ssl-redirect says; by default true. */
static void read_options(struct reader *r, const MetaV1__ObjectMeta *meta,
			 struct ingress_options *o, bool *ret_secure)
{
	*ret_secure = true;
	for (size_t i = 0; meta != NULL && i < meta->n_annotations; i++) {
		const char *key = text_of(meta->annotations[i]->key);
		const char *value = text_of(meta->annotations[i]->value);
		size_t prefix = strlen(INGRESS_OPTION_PREFIX);

		if (strncmp(key, INGRESS_OPTION_PREFIX, prefix) != 0)
			continue;
		key += prefix;
		if (strcmp(key, "backend-protocol") == 0)
			read_protocol(r, value, o);
		else if (strcmp(key, "rewrite-prefix") == 0)
			read_rewrite(r, value, o);
		else if (strcmp(key, "redirect") == 0)
			read_redirect(r, value, o);
		else if (strcmp(key, "timeout-seconds") == 0)
			read_timeout(r, value, o);
		else if (strcmp(key, "affinity") == 0)
			read_affinity(r, value, o);
		else if (strcmp(key, "ssl-redirect") == 0)
			*ret_secure = read_bool(r, key, value);
		else
			refuse(r, arena_printf(r->arena,
					       "there is no annotation " INGRESS_OPTION_PREFIX "%s",
					       key));
	}
}

/* --- Certificates -------------------------------------------------------------------------- */

bool ingress_host_covers(const char *host, const char *wanted)
{
	const char *rest = strchr(wanted, '.');

	if (strcmp(host, wanted) == 0)
		return true;
	return strncmp(host, "*.", 2) == 0 && rest != NULL && rest != wanted &&
	       strcmp(host + 1, rest) == 0;
}

static void read_certificates(struct reader *r, const NetworkingV1__IngressSpec *spec,
			      struct ingress *ret)
{
	ret->certificates = arena_array(r->arena, struct ingress_certificate, spec->n_tls + 1);
	for (size_t i = 0; i < spec->n_tls; i++) {
		const NetworkingV1__IngressTLS *t = spec->tls[i];
		const char **hosts = arena_array(r->arena, const char *, t->n_hosts + 1);

		for (size_t k = 0; k < t->n_hosts; k++) {
			hosts[k] = lower(r, t->hosts[k]);
			check_name(r, "a host of tls", hosts[k]);
		}
		check_name(r, "a secretName", text_of(t->secretname));
		ret->certificates[ret->n_certificates++] = (struct ingress_certificate){
			.secret = text_of(t->secretname),
			.hosts = hosts,
			.n_hosts = t->n_hosts,
		};
	}
}

/* TLS without hosts is for all hosts of the Ingress. */
static bool is_encrypted(const struct ingress *in, const char *host)
{
	for (size_t i = 0; i < in->n_certificates; i++) {
		const struct ingress_certificate *c = &in->certificates[i];

		if (c->n_hosts == 0)
			return true;
		for (size_t k = 0; k < c->n_hosts; k++)
			if (ingress_host_covers(c->hosts[k], host))
				return true;
	}
	return false;
}

/* --- Routes ---------------------------------------------------------------------------------- */

static bool read_backend(struct reader *r, const NetworkingV1__IngressBackend *in,
			 struct ingress_backend *ret)
{
	if (in == NULL || in->service == NULL) {
		refuse(r, "backends that are resources are not supported");
		return false;
	}

	const NetworkingV1__ServiceBackendPort *port = in->service->port;

	*ret = (struct ingress_backend){
		.service = text_of(in->service->name),
		.port_name = port != NULL ? text_of(port->name) : "",
		.port = port != NULL ? (uint16_t)port->number : 0,
	};
	return true;
}

/* Keys of maps are lines of words. */
static bool is_path(const char *path)
{
	for (; *path != '\0'; path++)
		if ((unsigned char)*path <= ' ' || *path == 0x7f || *path == '#' || *path == '\\')
			return false;
	return true;
}

static void read_path(struct reader *r, const char *host, const NetworkingV1__HTTPIngressPath *in,
		      struct ingress *ret)
{
	struct ingress_route *route = &ret->routes[ret->n_routes];
	char *path = arena_strdup(r->arena, text_empty(in->path) ? "/" : in->path);
	size_t n = strlen(path);

	route->host = host;
	route->exact = text_is(in->pathtype, "Exact");
	while (!route->exact && n > 1 && path[n - 1] == '/')
		path[--n] = '\0';
	route->path = path;
	if (!is_path(path))
		refuse(r, arena_printf(r->arena,
				       "a path holds white space or one of # and \\; it must be "
				       "written percent-encoded"));
	if (read_backend(r, in->backend, &route->to))
		ret->n_routes++;
}

static size_t count_paths(const NetworkingV1__IngressSpec *spec)
{
	size_t n = 0;

	for (size_t i = 0; i < spec->n_rules; i++) {
		const NetworkingV1__IngressRuleValue *v = spec->rules[i]->ingressrulevalue;

		n += v != NULL && v->http != NULL ? v->http->n_paths : 0;
	}
	return n;
}

static void read_routes(struct reader *r, const NetworkingV1__IngressSpec *spec,
			struct ingress *ret)
{
	ret->routes = arena_array(r->arena, struct ingress_route, count_paths(spec) + 1);
	for (size_t i = 0; i < spec->n_rules; i++) {
		const NetworkingV1__IngressRuleValue *v = spec->rules[i]->ingressrulevalue;
		const char *host = lower(r, spec->rules[i]->host);

		check_name(r, "a host", host);
		for (size_t k = 0; v != NULL && v->http != NULL && k < v->http->n_paths; k++)
			read_path(r, host, v->http->paths[k], ret);
	}
}

const char *ingress_read(const NetworkingV1__Ingress *message, struct arena *arena,
			 struct ingress *ret)
{
	struct reader r = { .arena = arena };
	const NetworkingV1__IngressSpec *spec = message->spec;
	struct ingress_backend *otherwise;
	bool secure;

	*ret = (struct ingress){ .class = "" };
	if (spec == NULL)
		return "it has no spec";
	if (spec->ingressclassname != NULL)
		ret->class = spec->ingressclassname;
	else if (message->metadata != NULL)
		ret->class =
			text_of(meta_annotation(message->metadata, "kubernetes.io/ingress.class"));
	read_options(&r, message->metadata, &ret->options, &secure);
	read_certificates(&r, spec, ret);
	read_routes(&r, spec, ret);
	for (size_t i = 0; i < ret->n_routes; i++)
		ret->routes[i].secure = secure && is_encrypted(ret, ret->routes[i].host);
	if (spec->defaultbackend != NULL) {
		otherwise = arena_new(arena, struct ingress_backend);
		if (read_backend(&r, spec->defaultbackend, otherwise))
			ret->otherwise = otherwise;
	}
	return r.problem;
}
