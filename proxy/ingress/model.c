#include "proxy/ingress/model.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/map.h"
#include "proxy/ingress/text.h"

struct builder {
	struct model *m;
	struct world *w;
	struct map routes;   /* "e" or "p" and the key -> something. */
	struct map backends; /* Key -> index + 1. */
	struct map certificates;
	struct map hosts;
	size_t n_routes_max;
};

/* --- Endpoints ------------------------------------------------------------------------- */

static const struct service_port *find_port(const struct service *s,
					    const struct ingress_backend *to)
{
	for (size_t i = 0; i < s->n_ports; i++) {
		const struct service_port *p = &s->ports[i];

		if (p->protocol != PROTOCOL_TCP)
			continue;
		if (to->port_name[0] != '\0' ? strcmp(p->name, to->port_name) == 0
					     : p->port == to->port)
			return p;
	}
	return NULL;
}

static bool is_listed(const struct model_backend *b, const struct ip *ip, uint16_t port)
{
	for (size_t i = 0; i < b->n_servers; i++)
		if (b->servers[i].port == port && ip_equal(&b->servers[i].ip, ip))
			return true;
	return false;
}

static void take_slice(const struct slice *slice, const char *port_name, bool ready,
		       struct model_backend *ret)
{
	for (size_t i = 0; i < slice->n_ports; i++) {
		const struct slice_port *p = &slice->ports[i];

		if (p->protocol != PROTOCOL_TCP || strcmp(p->name, port_name) != 0)
			continue;
		for (size_t k = 0; k < slice->n_endpoints; k++) {
			const struct endpoint *e = &slice->endpoints[k];

			if (ready ? !e->ready : !(e->serving && e->terminating))
				continue;
			if (!is_listed(ret, &e->ip, p->port))
				ret->servers[ret->n_servers++] =
					(struct model_server){ e->ip, p->port };
		}
	}
}

static size_t count_endpoints(const struct service *s)
{
	size_t n = 0;

	list_for_each (slice, &s->slices, struct slice, of_service)
		n += slice->n_endpoints * slice->n_ports;
	return n;
}

static int compare_servers(const void *a, const void *b)
{
	const struct model_server *x = a, *y = b;

	if (x->ip.len != y->ip.len)
		return x->ip.len - y->ip.len;
	int order = memcmp(x->ip.bytes, y->ip.bytes, x->ip.len);

	return order != 0 ? order : x->port - y->port;
}

/* Ready ones; where none is, those that end and still serve. */
static void find_servers(struct builder *b, const char *namespace, const struct ingress_backend *to,
			 struct model_backend *ret)
{
	struct service *s = world_service(b->w, namespace, to->service);
	const struct service_port *port;

	if (s == NULL)
		return;
	s->routed = true;
	port = s->exists ? find_port(s, to) : NULL;
	if (port == NULL)
		return;
	ret->servers = arena_array(&b->m->arena, struct model_server, count_endpoints(s) + 1);
	for (int ready = 1; ready >= 0 && ret->n_servers == 0; ready--)
		list_for_each (slice, &s->slices, struct slice, of_service)
			take_slice(slice, port->name, ready, ret);
	if (ret->n_servers > 1)
		qsort(ret->servers, ret->n_servers, sizeof(*ret->servers), compare_servers);
}

/* --- Backends -------------------------------------------------------------------------- */

/* "/api/x" becomes "/x" for a route "/api" that is rewritten to "/". */
static void put_rewrite(struct buf *to, const struct ingress_route *route, const char *rewrite)
{
	size_t n = strlen(rewrite);

	if (route != NULL && route->exact) {
		buf_put_str(to, "    http-request set-path ");
		text_put_word(to, rewrite);
		buf_put_byte(to, '\n');
		return;
	}

	auto_with(buf_fini) struct buf pattern = { 0 };
	const char *path = route != NULL ? route->path : "/";

	while (n > 0 && rewrite[n - 1] == '/')
		n--;
	buf_put_byte(&pattern, '^');
	text_put_regex(&pattern, strcmp(path, "/") == 0 ? "" : path);
	buf_put_str(&pattern, "/?(.*)$");
	buf_put_str(to, "    http-request replace-path ");
	text_put_word(to, buf_cstr(&pattern));
	buf_put_byte(to, ' ');

	auto_with(buf_fini) struct buf target = { 0 };

	buf_printf(&target, "%.*s/\\1", (int)n, rewrite);
	text_put_word(to, buf_cstr(&target));
	buf_put_byte(to, '\n');
}

static const char *settings_of(struct arena *a, const struct ingress_options *o,
			       const struct ingress_route *route)
{
	auto_with(buf_fini) struct buf text = { 0 };

	if (o->timeout_s != 0)
		buf_printf(&text, "    timeout server %us\n", o->timeout_s);
	if (o->sticky)
		buf_put_str(&text, "    cookie sampan insert indirect nocache httponly dynamic\n"
				   "    dynamic-cookie-key sampan\n");
	if (o->rewrite_prefix != NULL)
		put_rewrite(&text, route, o->rewrite_prefix);
	return arena_strdup(a, buf_cstr(&text));
}

static const char *server_options_of(const struct ingress_options *o)
{
	static const char *const options[] = {
		[INGRESS_HTTP] = "",
		[INGRESS_HTTPS] = "ssl verify none",
		[INGRESS_H2C] = "proto h2",
	};

	return options[o->protocol];
}

static size_t backend_of(struct builder *b, const struct world_ingress *in,
			 const struct ingress_route *route, const struct ingress_backend *to)
{
	struct model *m = b->m;
	const char *settings = settings_of(&m->arena, &in->rules.options, route);
	const char *options = server_options_of(&in->rules.options);
	const char *port =
		to->port_name[0] != '\0' ? to->port_name : arena_printf(&m->arena, "%u", to->port);
	const char *key = arena_printf(&m->arena, "%s/%s:%s %s\n%s", in->namespace, to->service,
				       port, options, settings);
	size_t index;

	index = (size_t)(uintptr_t)map_get(&b->backends, key);
	if (index != 0)
		return index - 1;
	index = m->n_backends++;
	map_put(&b->backends, key, (void *)(uintptr_t)(index + 1));
	m->backends[index] = (struct model_backend){
		.key = key,
		.settings = settings,
		.options = options,
	};
	find_servers(b, in->namespace, to, &m->backends[index]);
	return index;
}

/* --- Routes ------------------------------------------------------------------------------ */

static struct model_route make_route(struct builder *b, const struct world_ingress *in,
				     const struct ingress_route *route,
				     const struct ingress_backend *to)
{
	struct model_route r = {
		.redirect = in->rules.options.redirect,
		.secure = route != NULL && route->secure,
	};

	if (r.redirect == NULL)
		r.backend = backend_of(b, in, route, to);
	return r;
}

static const char *site_of(struct arena *a, const char *host)
{
	if (host[0] == '\0')
		return "*";
	return host[0] == '*' ? arena_strdup(a, host + 1) : host;
}

static void add_route(struct builder *b, const struct world_ingress *in,
		      const struct ingress_route *route)
{
	struct model *m = b->m;
	const char *site = site_of(&m->arena, route->host);
	bool root = strcmp(route->path, "/") == 0;
	const char *key = arena_printf(&m->arena, "%s%s%s", site, route->path,
				       route->exact || root ? "" : "/");
	const char *claim = arena_printf(&m->arena, "%c%s", route->exact ? 'e' : 'p', key);

	if (map_get(&b->routes, claim) != NULL)
		return;
	map_put(&b->routes, claim, m);
	if (map_get(&b->hosts, site) == NULL) {
		map_put(&b->hosts, site, m);
		m->hosts[m->n_hosts++] = site;
	}

	struct model_route *r = route->exact ? &m->exact[m->n_exact++] : &m->prefix[m->n_prefix++];

	*r = make_route(b, in, route, &route->to);
	r->key = key;
}

/* --- Certificates ---------------------------------------------------------------------------- */

static void add_certificates(struct builder *b, const struct world_ingress *in)
{
	struct model *m = b->m;

	for (size_t i = 0; i < in->rules.n_certificates; i++) {
		const struct ingress_certificate *want = &in->rules.certificates[i];
		const struct certificate *have =
			world_certificate(b->w, in->namespace, want->secret);
		const char *name = arena_printf(&m->arena, "%s_%s", in->namespace, want->secret);
		struct model_certificate *c = map_get(&b->certificates, name);

		if (have == NULL || want->secret[0] == '\0')
			continue;
		if (c == NULL) {
			c = &m->certificates[m->n_certificates++];
			map_put(&b->certificates, name, c);
			c->name = name;
			c->pem = buf_bytes(&have->pem);
		}
		if (c->n_hosts + want->n_hosts > c->cap_hosts) {
			size_t cap = 2 * (c->n_hosts + want->n_hosts);
			const char **hosts = arena_array(&m->arena, const char *, cap);

			if (c->n_hosts > 0)
				memcpy(hosts, c->hosts, c->n_hosts * sizeof(*hosts));
			c->hosts = hosts;
			c->cap_hosts = cap;
		}
		for (size_t k = 0; k < want->n_hosts; k++)
			c->hosts[c->n_hosts++] = want->hosts[k];
	}
}

/* --- All of it ---------------------------------------------------------------------------------
 */

static bool is_ours(const struct world *w, const struct world_ingress *in)
{
	const struct ingress_class *c =
		tree_entry(tree_find(&w->classes, in->rules.class), struct ingress_class, node);

	return in->problem == NULL && c != NULL && c->ours;
}

static int compare_age(const void *a, const void *b)
{
	const struct world_ingress *x = *(struct world_ingress *const *)a;
	const struct world_ingress *y = *(struct world_ingress *const *)b;

	if (x->created_ns != y->created_ns)
		return x->created_ns < y->created_ns ? -1 : 1;
	return strcmp(x->key, y->key);
}

static int compare_routes(const void *a, const void *b)
{
	return strcmp(((const struct model_route *)a)->key, ((const struct model_route *)b)->key);
}

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int compare_certificates(const void *a, const void *b)
{
	return strcmp(((const struct model_certificate *)a)->name,
		      ((const struct model_certificate *)b)->name);
}

static void sort(void *items, size_t n, size_t size, int (*compare)(const void *, const void *))
{
	if (n > 1)
		qsort(items, n, size, compare);
}

/* Ours, oldest first. */
static struct world_ingress **collect(struct builder *b, size_t *ret_n, size_t *ret_certificates)
{
	struct world_ingress **list =
		arena_array(&b->m->arena, struct world_ingress *, b->w->ingresses.count + 1);
	size_t n = 0, certificates = 0;

	tree_for_each (in, &b->w->ingresses, struct world_ingress, node) {
		if (!is_ours(b->w, in))
			continue;
		list[n++] = in;
		b->n_routes_max += in->rules.n_routes + 1;
		certificates += in->rules.n_certificates;
	}
	sort(list, n, sizeof(*list), compare_age);
	*ret_n = n;
	*ret_certificates = certificates;
	return list;
}

static void add_ingress(struct builder *b, const struct world_ingress *in)
{
	struct model *m = b->m;

	for (size_t i = 0; i < in->rules.n_routes; i++)
		add_route(b, in, &in->rules.routes[i]);
	add_certificates(b, in);
	if (in->rules.otherwise == NULL || m->otherwise != NULL)
		return;
	m->otherwise = arena_new(&m->arena, struct model_route);
	*m->otherwise = make_route(b, in, NULL, in->rules.otherwise);
	m->otherwise->key = "!";
}

void model_build(struct model *m, struct world *w)
{
	struct builder b = { .m = m, .w = w };
	size_t n, certificates;

	*m = (struct model){ 0 };
	arena_init(&m->arena, 0);
	struct world_ingress **list = collect(&b, &n, &certificates);
	struct arena *a = &m->arena;

	m->hosts = arena_array(a, const char *, b.n_routes_max + 1);
	m->exact = arena_array(a, struct model_route, b.n_routes_max + 1);
	m->prefix = arena_array(a, struct model_route, b.n_routes_max + 1);
	m->backends = arena_array(a, struct model_backend, b.n_routes_max + 1);
	m->certificates = arena_array(a, struct model_certificate, certificates + 1);
	for (size_t i = 0; i < n; i++)
		add_ingress(&b, list[i]);
	sort(m->hosts, m->n_hosts, sizeof(*m->hosts), compare_texts);
	sort(m->exact, m->n_exact, sizeof(*m->exact), compare_routes);
	sort(m->prefix, m->n_prefix, sizeof(*m->prefix), compare_routes);
	sort(m->certificates, m->n_certificates, sizeof(*m->certificates), compare_certificates);
	map_fini(&b.routes);
	map_fini(&b.backends);
	map_fini(&b.certificates);
	map_fini(&b.hosts);
}

void model_fini(struct model *m)
{
	arena_fini(&m->arena);
	*m = (struct model){ 0 };
}
