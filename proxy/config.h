/* proxy.conf, written by `sampan join`; docs/services.md lists the keys. */
#pragma once

#include "common/base/buf.h"
#include "common/base/conf.h"
#include "common/base/log.h"
#include "common/base/status.h"

#define CONFIG_LIST_MAX 16

struct proxy_config {
	struct conf conf; /* Owns the strings below. */
	const char *node, *dir, *node_address;
	const char *ca_file, *cert_file, *key_file;
	char *masters[CONFIG_LIST_MAX + 1]; /* host:port of their node endpoints; ends with NULL. */
	const char *cluster_domain, *service_cidr, *pod_cidr, *dns_address, *dns_listen;
	const char *dns_upstreams[CONFIG_LIST_MAX +
				  1]; /* Ends with NULL; empty: those of resolv.conf. */
	const char *resolv_conf;
	bool ingress; /* Serve Ingresses. */
	uint16_t ingress_http, ingress_https;
	enum log_level log_level;
};

/* need_masters: certificate and masters must be there. On an error nothing is kept. */
int proxy_config_read(struct proxy_config *c, const char *path, bool need_masters,
		      struct status *st);
void proxy_config_fini(struct proxy_config *c);
