#include "proxy/ingress/config.h"

#include <netinet/in.h>

#include "common/base/cleanup.h"

static void put_global(struct buf *to, const struct config_settings *s)
{
	buf_printf(to,
		   "# Written by sampan-proxy; changes are lost.\n"
		   "global\n"
		   "    stats socket %s/socket mode 600 level admin expose-fd listeners\n"
		   "    stats timeout 1m\n"
		   "    maxconn %u\n"
		   "    nbthread %u\n"
		   "    hard-stop-after 1h\n"
		   "    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets\n"
		   "    tune.ssl.default-dh-param 2048\n",
		   s->dir, s->connections_max, s->threads);
	if (s->user)
		buf_put_str(to, "    user haproxy\n    group haproxy\n");
	buf_put_str(to, "\ndefaults\n"
			"    mode http\n"
			"    timeout connect 2s\n"
			"    timeout client 60s\n"
			"    timeout server 60s\n"
			"    timeout http-request 15s\n"
			"    timeout http-keep-alive 60s\n"
			"    timeout tunnel 1h\n"
			"    timeout queue 5s\n"
			"    option redispatch 1\n"
			"    option forwardfor\n"
			"    retries 3\n"
			"    retry-on conn-failure\n"
			"    http-reuse safe\n"
			"    balance roundrobin\n");
}

static void put_binds(struct buf *to, uint16_t port, bool ipv6, const char *more)
{
	buf_printf(to, "    bind *:%u%s\n", port, more);
	if (ipv6)
		buf_printf(to, "    bind :::%u v6only%s\n", port, more);
}

static void put_routing(struct buf *to, const char *dir, const char *scheme)
{
	buf_printf(
		to,
		"    http-request set-header X-Forwarded-Proto %s\n"
		"    http-request set-header X-Forwarded-Host %%[req.hdr(host)]\n"
		"    http-request set-var(txn.host) req.hdr(host),field(1,:),lower\n"
		"    http-request set-var(txn.path) path\n"
		"    http-request set-var(txn.site) var(txn.host),map_str(%s/hosts.map)\n"
		"    http-request set-var(txn.site) "
		"var(txn.host),regsub(^[^.]+,),map_str(%s/hosts.map) if !{ var(txn.site) -m found }\n"
		"    http-request set-var(txn.site) str(*) if !{ var(txn.site) -m found }\n",
		scheme, dir, dir);
	buf_printf(to,
		   "    http-request set-var(txn.to) "
		   "var(txn.site),concat(,txn.path),map_str(%s/exact.map)\n"
		   "    http-request set-var(txn.to) "
		   "var(txn.site),concat(,txn.path,/),map_beg(%s/prefix.map) "
		   "if !{ var(txn.to) -m found }\n"
		   "    http-request set-var(txn.to) str(!),map_str(%s/exact.map) "
		   "if !{ var(txn.to) -m found }\n"
		   "    http-request return status 404 content-type text/plain "
		   "string \"no Ingress takes this host and path\\n\" "
		   "if !{ var(txn.to) -m found }\n",
		   dir, dir, dir);
	buf_put_str(to, "    http-request redirect location %[var(txn.to),bytes(1)] code 301 "
			"if { var(txn.to) -m beg > }\n"
			"    http-request redirect scheme https code 308 "
			"if !{ ssl_fc } { var(txn.to) -m end |s }\n"
			"    use_backend %[var(txn.to),field(1,|)]\n");
}

static void put_frontends(struct buf *to, const struct config_settings *s)
{
	auto_with(buf_fini) struct buf tls = { 0 };

	buf_printf(&tls, " ssl crt %s/default.pem crt-list %s/certs.list alpn h2,http/1.1", s->dir,
		   s->dir);
	buf_put_str(to, "\nfrontend http\n");
	put_binds(to, s->http_port, s->ipv6, "");
	put_routing(to, s->dir, "http");
	buf_put_str(to, "\nfrontend https\n");
	put_binds(to, s->https_port, s->ipv6, buf_cstr(&tls));
	put_routing(to, s->dir, "https");
}

/* What a comment says must not end it. */
static void put_comment(struct buf *to, const char *key)
{
	buf_put_str(to, "    # ");
	for (; *key != '\0' && *key != '\n'; key++)
		buf_put_byte(to, (uint8_t)*key);
	buf_put_byte(to, '\n');
}

static void put_backend(struct buf *to, const struct running_backend *b, size_t slot)
{
	buf_printf(to, "\nbackend slot_%zu\n", slot);
	put_comment(to, b->key != NULL ? b->key : "spare");
	buf_put_str(to, b->settings);
	for (size_t i = 0; i < b->n_servers; i++) {
		const struct running_server *s = &b->servers[i];
		char ip[INET6_ADDRSTRLEN];

		if (s->on)
			buf_printf(to, "    server s%zu %s%s%s:%u", i + 1,
				   s->ip.len == 16 ? "[" : "", ip_print(&s->ip, ip, sizeof(ip)),
				   s->ip.len == 16 ? "]" : "", s->port);
		else
			buf_printf(to, "    server s%zu 0.0.0.0:80 disabled", i + 1);
		buf_printf(to, "%s%s\n", b->options[0] != '\0' ? " " : "", b->options);
	}
}

void config_print(struct buf *to, const struct running *r, const struct config_settings *s)
{
	put_global(to, s);
	put_frontends(to, s);
	for (size_t i = 0; i < r->n_backends; i++)
		put_backend(to, &r->backends[i], i);
}

void config_print_map(struct buf *to, const struct running *r, enum running_map map)
{
	for (size_t i = 0; i < r->maps[map].n; i++)
		buf_printf(to, "%s %s\n", r->maps[map].pairs[i].key, r->maps[map].pairs[i].value);
}

void config_print_list(struct buf *to, const struct running *r, const char *dir)
{
	for (size_t i = 0; i < r->n_certificates; i++)
		buf_printf(to, "%s/certs/%s.pem %s\n", dir, r->certificates[i].name,
			   r->certificates[i].hosts);
}
