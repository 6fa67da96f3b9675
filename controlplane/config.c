#include "controlplane/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/cleanup.h"

static const char *const known_keys[] = {
	"id",           "name",        "data_dir",      "ca_file",         "cert_file",
	"key_file",     "kek_file",    "bootstrap_dir", "api_listen",      "rpc_listen",
	"raft_listen",  "api_address", "rpc_address",   "raft_address",    "cluster_domain",
	"service_cidr", "pod_cidr",    "node_prefix",   "node_port_range", "dns_address",
	"log_level",    NULL,
};

static int read_id(struct master_config *c, struct status *st)
{
	const char *text;
	char *end;
	int rc = conf_need(&c->conf, "id", &text, st);

	if (rc < 0)
		return rc;
	errno = 0;
	c->id = strtoull(text, &end, 16);
	if (errno != 0 || *end != '\0' || strlen(text) != 16 || c->id == 0)
		return status_set(st, -EINVAL, "%s: id is not 16 hexadecimal digits: \"%s\"",
				  c->conf.path, text);
	return 0;
}

static int read_texts(struct master_config *c, struct status *st)
{
	const struct {
		const char *key;
		const char **to;
	} needed[] = {
		{ "name", &c->name },
		{ "data_dir", &c->data_dir },
		{ "ca_file", &c->ca_file },
		{ "cert_file", &c->cert_file },
		{ "key_file", &c->key_file },
		{ "kek_file", &c->kek_file },
		{ "api_listen", &c->api_listen },
		{ "rpc_listen", &c->rpc_listen },
		{ "raft_listen", &c->raft_listen },
		{ "api_address", &c->api_address },
		{ "rpc_address", &c->rpc_address },
		{ "raft_address", &c->raft_address },
	};

	for (size_t i = 0; i < array_size(needed); i++) {
		int rc = conf_need(&c->conf, needed[i].key, needed[i].to, st);

		if (rc < 0)
			return rc;
	}
	c->bootstrap_dir = conf_get(&c->conf, "bootstrap_dir", NULL);
	return 0;
}

static int read_node_ports(struct master_config *c, struct status *st)
{
	const char *text = conf_get(&c->conf, "node_port_range", "30000-32767");
	unsigned min, max;
	char rest;

	if (sscanf(text, "%5u-%5u%c", &min, &max, &rest) != 2 || min == 0 || max > UINT16_MAX ||
	    min > max)
		return status_set(st, -EINVAL, "%s: node_port_range is not MIN-MAX: \"%s\"",
				  c->conf.path, text);
	c->cluster.node_port_min = (uint16_t)min;
	c->cluster.node_port_max = (uint16_t)max;
	return 0;
}

/* "10.96.0.0/16", with no bits set beyond the prefix. */
static int check_range(const struct master_config *c, const char *key, const char *text,
		       int prefix_max, int *ret_prefix, struct status *st)
{
	char address[INET_ADDRSTRLEN + 1] = "", rest;
	struct in_addr parsed;
	int prefix = -1;

	if (sscanf(text, "%16[0-9.]/%2d%c", address, &prefix, &rest) != 2 ||
	    inet_pton(AF_INET, address, &parsed) != 1 || prefix < 8 || prefix > prefix_max ||
	    (ntohl(parsed.s_addr) & (UINT32_MAX >> prefix)) != 0)
		return status_set(
			st, -EINVAL,
			"%s: %s is not an IPv4 range of /8 to /%d such as 10.96.0.0/16: \"%s\"",
			c->conf.path, key, prefix_max, text);
	*ret_prefix = prefix;
	return 0;
}

static int check_addresses(const struct master_config *c, struct status *st)
{
	const struct cluster_config *k = &c->cluster;
	struct in_addr parsed;
	int prefix, rc = check_range(c, "service_cidr", k->service_cidr, 28, &prefix, st);

	if (rc == 0)
		rc = check_range(c, "pod_cidr", k->pod_cidr, 28, &prefix, st);
	if (rc < 0)
		return rc;
	if (k->node_prefix < prefix)
		return status_set(st, -EINVAL, "%s: node_prefix %d is wider than pod_cidr %s",
				  c->conf.path, k->node_prefix, k->pod_cidr);
	if (inet_pton(AF_INET, k->dns_address, &parsed) != 1)
		return status_set(st, -EINVAL, "%s: dns_address is not an IPv4 address: \"%s\"",
				  c->conf.path, k->dns_address);
	return 0;
}

static int read_cluster(struct master_config *c, struct status *st)
{
	long long node_prefix;
	int rc = conf_number(&c->conf, "node_prefix", 24, 8, 30, &node_prefix, st);

	if (rc < 0)
		return rc;
	c->cluster.domain = conf_get(&c->conf, "cluster_domain", "cluster.local");
	c->cluster.service_cidr = conf_get(&c->conf, "service_cidr", "10.96.0.0/16");
	c->cluster.pod_cidr = conf_get(&c->conf, "pod_cidr", "10.244.0.0/16");
	c->cluster.dns_address = conf_get(&c->conf, "dns_address", "10.96.0.10");
	c->cluster.node_prefix = (int)node_prefix;
	rc = check_addresses(c, st);
	return rc == 0 ? read_node_ports(c, st) : rc;
}

static int read_log_level(struct master_config *c, struct status *st)
{
	static const char *const levels[] = {
		[LOG_DEBUG] = "debug",
		[LOG_INFO] = "info",
		[LOG_WARN] = "warn",
		[LOG_ERROR] = "error",
	};
	const char *text = conf_get(&c->conf, "log_level", "info");

	for (size_t i = 0; i < array_size(levels); i++)
		if (strcmp(text, levels[i]) == 0) {
			c->log_level = (enum log_level)i;
			return 0;
		}
	return status_set(st, -EINVAL, "%s: log_level is debug, info, warn or error, not \"%s\"",
			  c->conf.path, text);
}

/* CronJobs look back as far as they were last due. */
static void load_zones(struct master_config *c)
{
	const int64_t kept_s = INT64_C(5) * 366 * 86400;

	c->zones = zones_load("/usr/share/zoneinfo", time(NULL) - kept_s);
	c->cluster.zones = c->zones;
}

int master_config_read(struct master_config *c, const char *path, struct status *st)
{
	int rc;

	*c = (struct master_config){ 0 };
	rc = conf_read(&c->conf, path, st);
	if (rc == 0)
		rc = conf_check_keys(&c->conf, known_keys, st);
	if (rc == 0)
		rc = read_id(c, st);
	if (rc == 0)
		rc = read_texts(c, st);
	if (rc == 0)
		rc = read_cluster(c, st);
	if (rc == 0)
		rc = read_log_level(c, st);
	if (rc < 0)
		master_config_fini(c);
	else
		load_zones(c);
	return rc;
}

void master_config_fini(struct master_config *c)
{
	conf_fini(&c->conf);
	zones_destroy(c->zones);
	*c = (struct master_config){ 0 };
}
