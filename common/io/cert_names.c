#include "common/io/cert_names.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/io/tls.h"

char *cert_master_cn(struct arena *arena, uint64_t member_id)
{
	return arena_printf(arena, "sampan:master:%016" PRIx64, member_id);
}

const char *cert_api_service_ip(struct arena *arena, const char *service_cidr)
{
	unsigned a = 0, b = 0, c = 0, d = 0;

	/* The range was checked when the configuration was read. */
	sscanf(service_cidr, "%u.%u.%u.%u", &a, &b, &c, &d);
	return arena_printf(arena, "%u.%u.%u.%u", a, b, c, d + 1);
}

size_t cert_master_sans(struct arena *arena, const char *domain, const char *service_cidr,
			const char *name, const char *host, const char *other_host,
			const char *ret_sans[CERT_SANS_MAX])
{
	const char *sans[] = {
		TLS_MASTER_NAME,
		"localhost",
		"127.0.0.1",
		"kubernetes",
		"kubernetes.default",
		"kubernetes.default.svc",
		arena_printf(arena, "kubernetes.default.svc.%s", domain),
		cert_api_service_ip(arena, service_cidr),
		name,
		host,
		other_host,
	};
	size_t n = 0;

	for (size_t i = 0; i < sizeof(sans) / sizeof(sans[0]); i++) {
		bool known = sans[i] == NULL;

		for (size_t k = 0; k < n && !known; k++)
			known = strcmp(ret_sans[k], sans[i]) == 0;
		if (!known)
			ret_sans[n++] = sans[i];
	}
	return n;
}
