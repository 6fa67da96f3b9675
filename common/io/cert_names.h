/* The names in the certificates of a cluster's masters and nodes. Pure; any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"

#define CERT_MASTERS_ORG "sampan:masters"
#define CERT_NODES_ORG "system:nodes"
#define CERT_NODE_PREFIX "system:node:"

/* CN of a master: "sampan:master:<member id as 16 hex digits>". */
char *cert_master_cn(struct arena *arena, uint64_t member_id);
#define CERT_SANS_MAX 16
/* The names a master answers to: its own name and hosts (NULL: none), TLS_MASTER_NAME, localhost,
 * the Service kubernetes by name and by address; in the arena. Returns how many. */
size_t cert_master_sans(struct arena *arena, const char *domain, const char *service_cidr,
			const char *name, const char *host, const char *other_host,
			const char *ret_sans[CERT_SANS_MAX]);
/* The first address of the Service range, which belongs to the Service kubernetes. */
const char *cert_api_service_ip(struct arena *arena, const char *service_cidr);
