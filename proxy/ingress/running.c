#include "proxy/ingress/running.h"

#include <netinet/in.h>

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "proxy/ingress/text.h"

enum {
	SERVERS_MIN = 8,
	SPARES_MIN = 16,
	COMMANDS_MAX = 2000,          /* More than that is a reload. */
	COMMAND_BYTES_MAX = 12 << 10, /* HAProxy reads 16 KiB. */
};

/* What HAProxy says when a server's address is set. */
static const char address_set[] = "chang";

const char *running_map_name(enum running_map map)
{
	static const char *const names[MAPS] = { "hosts.map", "exact.map", "prefix.map" };

	return names[map];
}

/* --- Commands ------------------------------------------------------------------------- */

static void command(struct commands *c, const char *expect, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void command(struct commands *c, const char *expect, const char *fmt, ...)
{
	auto_with(buf_fini) struct buf text = { 0 };
	va_list args;

	va_start(args, fmt);
	buf_vprintf(&text, fmt, args);
	va_end(args);
	if (c->n == c->cap) {
		c->cap = c->cap ? 2 * c->cap : 64;
		c->items = xreallocarray(c->items, c->cap, sizeof(*c->items));
	}
	c->items[c->n++] = (struct command){ xstrdup(buf_cstr(&text)), expect };
}

void commands_fini(struct commands *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->items[i].text);
	free(c->items);
	*c = (struct commands){ 0 };
}

/* --- Backends --------------------------------------------------------------------------- */

static void server_command(struct commands *c, size_t slot, size_t server,
			   const struct running_server *s)
{
	char ip[INET6_ADDRSTRLEN];

	if (s->on) {
		command(c, address_set, "set server slot_%zu/s%zu addr %s port %u", slot,
			server + 1, ip_print(&s->ip, ip, sizeof(ip)), s->port);
		command(c, NULL, "set server slot_%zu/s%zu state ready", slot, server + 1);
	} else {
		command(c, NULL, "set server slot_%zu/s%zu state maint", slot, server + 1);
	}
}

static bool model_has(const struct model_backend *m, const struct running_server *s)
{
	for (size_t i = 0; i < m->n_servers; i++)
		if (m->servers[i].port == s->port && ip_equal(&m->servers[i].ip, &s->ip))
			return true;
	return false;
}

static struct running_server *find_server(struct running_backend *b,
					  const struct model_server *want)
{
	for (size_t i = 0; i < b->n_servers; i++) {
		struct running_server *s = &b->servers[i];

		if (s->on && s->port == want->port && ip_equal(&s->ip, &want->ip))
			return s;
	}
	return NULL;
}

static struct running_server *free_server(struct running_backend *b)
{
	for (size_t i = 0; i < b->n_servers; i++)
		if (!b->servers[i].on)
			return &b->servers[i];
	return NULL;
}

/* False: there are not enough servers. */
static bool add_servers(struct running *r, size_t slot, const struct model_backend *m,
			struct commands *c)
{
	struct running_backend *b = &r->backends[slot];

	for (size_t i = 0; i < m->n_servers; i++) {
		struct running_server *s;

		if (find_server(b, &m->servers[i]) != NULL)
			continue;
		s = free_server(b);
		if (s == NULL)
			return false;
		*s = (struct running_server){ m->servers[i].ip, m->servers[i].port, true };
		if (c != NULL)
			server_command(c, slot, (size_t)(s - b->servers), s);
	}
	return true;
}

static void drop_servers(struct running *r, size_t slot, const struct model_backend *m,
			 struct commands *c)
{
	struct running_backend *b = &r->backends[slot];

	for (size_t i = 0; i < b->n_servers; i++) {
		struct running_server *s = &b->servers[i];

		if (!s->on || (m != NULL && model_has(m, s)))
			continue;
		s->on = false;
		server_command(c, slot, i, s);
	}
}

static size_t find_backend(const struct running *r, const char *key)
{
	for (size_t i = 0; i < r->n_backends; i++)
		if (r->backends[i].key != NULL && strcmp(r->backends[i].key, key) == 0)
			return i;
	return r->n_backends;
}

static size_t find_spare(const struct running *r, const struct model_backend *m)
{
	size_t found = r->n_backends;

	if (m->settings[0] != '\0' || m->options[0] != '\0')
		return found;
	for (size_t i = 0; i < r->n_backends; i++) {
		const struct running_backend *b = &r->backends[i];

		if (b->key != NULL || b->settings[0] != '\0' || b->options[0] != '\0' ||
		    b->n_servers < m->n_servers)
			continue;
		if (found == r->n_backends || b->free_since < r->backends[found].free_since)
			found = i;
	}
	return found;
}

/* Which slot each backend of the model has; false: not all find one. */
static bool place_backends(struct running *r, const struct model *m, size_t *slots,
			   struct commands *c)
{
	r->generation++;
	for (size_t i = 0; i < m->n_backends; i++) {
		size_t slot = find_backend(r, m->backends[i].key);

		if (slot == r->n_backends) {
			slot = find_spare(r, &m->backends[i]);
			if (slot == r->n_backends)
				return false;
			r->backends[slot].key = xstrdup(m->backends[i].key);
		}
		r->backends[slot].seen = r->generation;
		slots[i] = slot;
		if (!add_servers(r, slot, &m->backends[i], c))
			return false;
	}
	return true;
}

static void release_backends(struct running *r, const struct model *m, const size_t *slots,
			     struct commands *c)
{
	for (size_t i = 0; i < m->n_backends; i++)
		drop_servers(r, slots[i], &m->backends[i], c);
	for (size_t slot = 0; slot < r->n_backends; slot++) {
		struct running_backend *b = &r->backends[slot];

		if (b->key == NULL || b->seen == r->generation)
			continue;
		drop_servers(r, slot, NULL, c);
		free(b->key);
		b->key = NULL;
		b->free_since = ++r->changes;
	}
}

/* --- Maps ---------------------------------------------------------------------------------- */

/* "slot_3", "slot_3|s", ">https://..." */
static char *route_value(const struct model_route *route, const size_t *slots)
{
	if (route->redirect != NULL)
		return xasprintf(">%s", route->redirect);
	return xasprintf("slot_%zu%s", slots[route->backend], route->secure ? "|s" : "");
}

struct pairs {
	struct pair *items;
	size_t n;
};

static void pairs_free(struct pair *pairs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(pairs[i].key);
		free(pairs[i].value);
	}
	free(pairs);
}

/* "!" is before everything that begins with a host. */
static struct pairs wanted_pairs(const struct model *m, enum running_map map, const size_t *slots)
{
	const struct model_route *routes = map == MAP_EXACT ? m->exact : m->prefix;
	size_t n_routes = map == MAP_EXACT ? m->n_exact : m->n_prefix;
	struct pairs p = { xcalloc(n_routes + m->n_hosts + 2, sizeof(struct pair)), 0 };

	if (map == MAP_HOSTS) {
		for (size_t i = 0; i < m->n_hosts; i++)
			p.items[p.n++] =
				(struct pair){ xstrdup(m->hosts[i]), xstrdup(m->hosts[i]) };
		return p;
	}
	if (map == MAP_EXACT && m->otherwise != NULL)
		p.items[p.n++] = (struct pair){ xstrdup(m->otherwise->key),
						route_value(m->otherwise, slots) };
	for (size_t i = 0; i < n_routes; i++)
		p.items[p.n++] =
			(struct pair){ xstrdup(routes[i].key), route_value(&routes[i], slots) };
	return p;
}

static void map_command(struct commands *c, const char *verb, const char *dir, enum running_map map,
			const struct pair *p, bool with_value)
{
	auto_with(buf_fini) struct buf words = { 0 };

	text_put_word(&words, p->key);
	if (with_value) {
		buf_put_byte(&words, ' ');
		text_put_word(&words, p->value);
	}
	command(c, NULL, "%s map %s/%s %s", verb, dir, running_map_name(map), buf_cstr(&words));
}

/* What is new or different when removed is false, what is gone when it is true. */
static void map_changes(const struct pair *have, size_t n_have, const struct pairs *want,
			const char *dir, enum running_map map, bool removed, struct commands *c)
{
	size_t h = 0, w = 0;

	while (h < n_have || w < want->n) {
		int order = h == n_have    ? 1
			    : w == want->n ? -1
					   : strcmp(have[h].key, want->items[w].key);

		if (order < 0 && removed)
			map_command(c, "del", dir, map, &have[h], false);
		else if (order > 0 && !removed)
			map_command(c, "add", dir, map, &want->items[w], true);
		else if (order == 0 && !removed && strcmp(have[h].value, want->items[w].value) != 0)
			map_command(c, "set", dir, map, &want->items[w], true);
		h += order <= 0;
		w += order >= 0;
	}
}

static void set_maps(struct running *r, struct pairs want[MAPS])
{
	for (int map = 0; map < MAPS; map++) {
		pairs_free(r->maps[map].pairs, r->maps[map].n);
		r->maps[map].pairs = want[map].items;
		r->maps[map].n = want[map].n;
	}
}

/* --- Certificates --------------------------------------------------------------------------- */

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted, each once. */
static char *join_hosts(const struct model_certificate *c)
{
	auto_with(buf_fini) struct buf text = { 0 };
	autofree const char **sorted = xcalloc(c->n_hosts + 1, sizeof(*sorted));

	for (size_t i = 0; i < c->n_hosts; i++)
		sorted[i] = c->hosts[i];
	qsort(sorted, c->n_hosts, sizeof(*sorted), compare_texts);
	for (size_t i = 0; i < c->n_hosts; i++)
		if (i == 0 || strcmp(sorted[i - 1], sorted[i]) != 0)
			buf_printf(&text, "%s%s", text.len ? " " : "", sorted[i]);
	return xstrdup(buf_cstr(&text));
}

static bool is_same_pem(const struct buf *a, struct bytes b)
{
	return a->len == b.len && (b.len == 0 || memcmp(a->data, b.data, b.len) == 0);
}

/* HAProxy ends the content at an empty line, so there must be none inside. */
static void put_lines(struct buf *to, struct bytes pem)
{
	for (size_t i = 0; i < pem.len; i++) {
		uint8_t c = pem.data[i];

		if (c == '\r' || (c == '\n' && (to->len == 0 || to->data[to->len - 1] == '\n')))
			continue;
		buf_put_byte(to, c);
	}
}

static bool replace_certificate(struct running_certificate *have, const struct model_certificate *c,
				const char *dir, struct commands *commands)
{
	auto_with(buf_fini) struct buf pem = { 0 };

	put_lines(&pem, c->pem);
	if (pem.len == 0 || pem.len > COMMAND_BYTES_MAX)
		return false;
	command(commands, "ransaction", "set ssl cert %s/certs/%s.pem <<\n%s", dir, c->name,
		buf_cstr(&pem));
	command(commands, "Success!", "commit ssl cert %s/certs/%s.pem", dir, c->name);
	buf_clear(&have->pem);
	buf_put(&have->pem, c->pem.data, c->pem.len);
	return true;
}

/* False: certificates came or went, or are shown to others. */
static bool follow_certificates(struct running *r, const struct model *m, const char *dir,
				struct commands *c)
{
	if (r->n_certificates != m->n_certificates)
		return false;
	for (size_t i = 0; i < m->n_certificates; i++) {
		struct running_certificate *have = &r->certificates[i];
		autofree char *hosts = join_hosts(&m->certificates[i]);

		if (strcmp(have->name, m->certificates[i].name) != 0 ||
		    strcmp(have->hosts, hosts) != 0)
			return false;
		if (!is_same_pem(&have->pem, m->certificates[i].pem) &&
		    !replace_certificate(have, &m->certificates[i], dir, c))
			return false;
	}
	return true;
}

/* --- All of it ----------------------------------------------------------------------------------
 */

bool running_follow(struct running *r, const struct model *m, const char *dir, struct commands *c)
{
	autofree size_t *slots = xcalloc(m->n_backends + 1, sizeof(*slots));
	struct pairs want[MAPS];

	if (r->n_backends == 0 || !place_backends(r, m, slots, c) ||
	    !follow_certificates(r, m, dir, c))
		return false;
	for (int map = 0; map < MAPS; map++)
		want[map] = wanted_pairs(m, map, slots);
	/* Routes before the hosts that lead to them; what is gone last. */
	for (int map = MAPS - 1; map >= 0; map--)
		map_changes(r->maps[map].pairs, r->maps[map].n, &want[map], dir, map, false, c);
	for (int map = 0; map < MAPS; map++)
		map_changes(r->maps[map].pairs, r->maps[map].n, &want[map], dir, map, true, c);
	set_maps(r, want);
	release_backends(r, m, slots, c);
	return c->n <= COMMANDS_MAX;
}

static size_t room_for(size_t servers)
{
	size_t n = SERVERS_MIN;

	while (n < servers + servers / 2)
		n *= 2;
	return n;
}

static void lay_out(struct running *r, const struct model *m)
{
	size_t spares = SPARES_MIN + m->n_backends / 4;

	r->n_backends = m->n_backends + spares;
	r->backends = xcalloc(r->n_backends, sizeof(*r->backends));
	for (size_t i = 0; i < r->n_backends; i++) {
		const struct model_backend *want = i < m->n_backends ? &m->backends[i] : NULL;
		struct running_backend *b = &r->backends[i];

		b->key = want != NULL ? xstrdup(want->key) : NULL;
		b->settings = xstrdup(want != NULL ? want->settings : "");
		b->options = xstrdup(want != NULL ? want->options : "");
		b->n_servers = room_for(want != NULL ? want->n_servers : 0);
		b->servers = xcalloc(b->n_servers, sizeof(*b->servers));
		if (want != NULL)
			add_servers(r, i, want, NULL);
	}
}

void running_rebuild(struct running *r, const struct model *m)
{
	autofree size_t *slots = xcalloc(m->n_backends + 1, sizeof(*slots));
	struct pairs want[MAPS];

	running_fini(r);
	lay_out(r, m);
	for (size_t i = 0; i < m->n_backends; i++)
		slots[i] = i;
	for (int map = 0; map < MAPS; map++)
		want[map] = wanted_pairs(m, map, slots);
	set_maps(r, want);
	r->n_certificates = m->n_certificates;
	r->certificates = xcalloc(m->n_certificates + 1, sizeof(*r->certificates));
	for (size_t i = 0; i < m->n_certificates; i++) {
		struct running_certificate *c = &r->certificates[i];

		c->name = xstrdup(m->certificates[i].name);
		c->hosts = join_hosts(&m->certificates[i]);
		buf_put(&c->pem, m->certificates[i].pem.data, m->certificates[i].pem.len);
	}
}

void running_fini(struct running *r)
{
	for (size_t i = 0; i < r->n_backends; i++) {
		free(r->backends[i].key);
		free(r->backends[i].settings);
		free(r->backends[i].options);
		free(r->backends[i].servers);
	}
	free(r->backends);
	for (int map = 0; map < MAPS; map++)
		pairs_free(r->maps[map].pairs, r->maps[map].n);
	for (size_t i = 0; i < r->n_certificates; i++) {
		free(r->certificates[i].name);
		free(r->certificates[i].hosts);
		buf_fini(&r->certificates[i].pem);
	}
	free(r->certificates);
	*r = (struct running){ 0 };
}
