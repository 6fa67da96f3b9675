#include "proxy/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "proxy/services/services.h"

static const char *const keys[] = { "node",
				    "dir",
				    "node_address",
				    "ca_file",
				    "cert_file",
				    "key_file",
				    "master",
				    "cluster_domain",
				    "service_cidr",
				    "pod_cidr",
				    "dns_address",
				    "dns_listen",
				    "dns_upstream",
				    "resolv_conf",
				    "log_level",
				    "ingress",
				    "ingress_http",
				    "ingress_https",
				    NULL };

static int read_level(struct proxy_config *c, struct status *st)
{
	static const char *const names[] = { "debug", "info", "warn", "error" };
	const char *text = conf_get(&c->conf, "log_level", "info");

	for (size_t i = 0; i < array_size(names); i++) {
		if (strcmp(text, names[i]) == 0) {
			c->log_level = (enum log_level)i;
			return 0;
		}
	}
	return status_set(st, -EINVAL, "%s: log_level is \"%s\", not debug, info, warn or error",
			  c->conf.path, text);
}

/* "<16 hex id> rpc=HOST:PORT api=HOST:PORT" */
static int read_masters(struct proxy_config *c, struct status *st)
{
	const char *line;

	for (size_t i = 0; (line = conf_get_nth(&c->conf, "master", i)) != NULL; i++) {
		const char *rpc = strstr(line, "rpc=");

		if (i == CONFIG_LIST_MAX)
			return status_set(st, -EINVAL, "%s: more than %d masters", c->conf.path,
					  CONFIG_LIST_MAX);
		if (rpc == NULL)
			return status_set(
				st, -EINVAL,
				"%s: a master is \"<id> rpc=HOST:PORT api=HOST:PORT\", not \"%s\"",
				c->conf.path, line);
		c->masters[i] = xstrndup(rpc + 4, strcspn(rpc + 4, " \t"));
	}
	return 0;
}

static int read_upstreams(struct proxy_config *c, struct status *st)
{
	const char *line;

	for (size_t i = 0; (line = conf_get_nth(&c->conf, "dns_upstream", i)) != NULL; i++) {
		if (i == CONFIG_LIST_MAX)
			return status_set(st, -EINVAL, "%s: more than %d dns_upstream",
					  c->conf.path, CONFIG_LIST_MAX);
		c->dns_upstreams[i] = line;
	}
	return 0;
}

static int check_ranges(struct proxy_config *c, struct status *st)
{
	const char *const names[] = { "service_cidr", "pod_cidr" };
	const char *const values[] = { c->service_cidr, c->pod_cidr };
	uint32_t base, mask;

	for (size_t i = 0; i < array_size(names); i++) {
		if (values[i] != NULL && !cidr_parse(values[i], &base, &mask))
			return status_set(st, -EINVAL,
					  "%s: %s is \"%s\", not an IPv4 range like 10.96.0.0/12",
					  c->conf.path, names[i], values[i]);
	}
	return 0;
}

static int read_port(struct proxy_config *c, const char *key, const char *otherwise, uint16_t *ret,
		     struct status *st)
{
	const char *text = conf_get(&c->conf, key, otherwise);
	size_t digits = strspn(text, "0123456789");
	unsigned long port = strtoul(text, NULL, 10);

	if (digits == 0 || digits > 5 || text[digits] != '\0' || port == 0 || port > UINT16_MAX)
		return status_set(st, -EINVAL, "%s: %s is \"%s\", not a port", c->conf.path, key,
				  text);
	*ret = (uint16_t)port;
	return 0;
}

static int read_ingress(struct proxy_config *c, struct status *st)
{
	const char *text = conf_get(&c->conf, "ingress", "on");
	int rc;

	if (strcmp(text, "on") != 0 && strcmp(text, "off") != 0)
		return status_set(st, -EINVAL, "%s: ingress is \"%s\", not on or off", c->conf.path,
				  text);
	c->ingress = strcmp(text, "on") == 0 && c->dir != NULL;
	rc = read_port(c, "ingress_http", "80", &c->ingress_http, st);
	return rc < 0 ? rc : read_port(c, "ingress_https", "443", &c->ingress_https, st);
}

static int read_all(struct proxy_config *c, bool need_masters, struct status *st)
{
	int rc = conf_check_keys(&c->conf, keys, st);

	if (rc == 0)
		rc = conf_need(&c->conf, "node", &c->node, st);
	if (rc == 0 && need_masters)
		rc = conf_need(&c->conf, "ca_file", &c->ca_file, st);
	if (rc == 0 && need_masters)
		rc = conf_need(&c->conf, "cert_file", &c->cert_file, st);
	if (rc == 0 && need_masters)
		rc = conf_need(&c->conf, "key_file", &c->key_file, st);
	if (rc < 0)
		return rc;
	c->dir = conf_get(&c->conf, "dir", NULL);
	c->node_address = conf_get(&c->conf, "node_address", NULL);
	c->cluster_domain = conf_get(&c->conf, "cluster_domain", "cluster.local");
	c->service_cidr = conf_get(&c->conf, "service_cidr", NULL);
	c->pod_cidr = conf_get(&c->conf, "pod_cidr", NULL);
	c->dns_address = conf_get(&c->conf, "dns_address", NULL);
	c->dns_listen = conf_get(&c->conf, "dns_listen", "169.254.20.10");
	c->resolv_conf = conf_get(&c->conf, "resolv_conf", "/etc/resolv.conf");
	rc = read_level(c, st);
	if (rc == 0)
		rc = read_masters(c, st);
	if (rc == 0)
		rc = read_upstreams(c, st);
	if (rc == 0)
		rc = check_ranges(c, st);
	if (rc == 0)
		rc = read_ingress(c, st);
	if (rc == 0 && need_masters && c->masters[0] == NULL)
		rc = status_set(st, -EINVAL, "%s: no master", c->conf.path);
	return rc;
}

int proxy_config_read(struct proxy_config *c, const char *path, bool need_masters,
		      struct status *st)
{
	int rc;

	*c = (struct proxy_config){ 0 };
	rc = conf_read(&c->conf, path, st);
	if (rc == 0)
		rc = read_all(c, need_masters, st);
	if (rc < 0)
		proxy_config_fini(c);
	return rc;
}

void proxy_config_fini(struct proxy_config *c)
{
	for (size_t i = 0; i < CONFIG_LIST_MAX; i++)
		free(c->masters[i]);
	conf_fini(&c->conf);
	*c = (struct proxy_config){ 0 };
}
