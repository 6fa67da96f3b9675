/* Services in the kernel: keeps the table `sampan` equal to what the world says.
 *
 * At start a table of an earlier run is adopted with everything in it, so traffic goes on
 * while a proxy is away and while its successor learns; nothing is taken out before the world is
 * synced. Only differences are sent. A refused transaction is answered by
 * writing the whole table anew. It stays when the proxy ends. Loop thread. */
#pragma once

#include "common/base/status.h"
#include "proxy/services/nft.h"
#include "proxy/world/world.h"

struct services_config {
	const char *node;                    /* Our own name. */
	const char *pod_cidr, *service_cidr; /* Of the whole cluster; NULL: unknown. */
	/* Where the cluster's DNS address leads, port 53; NULL: nowhere. */
	const char *dns_address, *dns_listen;
};

struct services;

/* ENOTSUP with a sentence: the kernel has no nf_tables for us. */
int services_create(const struct services_config *config, struct world *world,
		    struct services **ret, struct status *st);
void services_destroy(struct services *s);
/* Plan what changed and write it. Does nothing until the world is synced. A negative errno: try
 * again later. */
int services_sync(struct services *s, struct status *st);
/* Print what is wanted, a line per element, sorted. */
void services_dump(const struct services *s, struct buf *to);
/* Now and then: is the table still there? Writes it again if not. */
int services_check(struct services *s);

/* "10.96.0.0/12" in host order; false for anything else. Pure. */
bool cidr_parse(const char *text, uint32_t *ret_base, uint32_t *ret_mask);
