/* Questions from pods and answers from upstream servers. */
#include <stddef.h>
#include <stdint.h>

#include "common/base/cleanup.h"
#include "proxy/dns/names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct world world;
	auto_with(buf_fini) struct buf out = { 0 };
	struct names names = { .world = &world, .zone = "cluster.local" };
	struct dns_query query;
	char target[DNS_NAME_MAX + 1];

	if (world.services.compare == NULL) {
		world_init(&world);
		world_full_begin(&world);
		world_full_end(&world);
	}
	if (dns_parse_query(data, n, &query) == 0) {
		struct dns_reply r;

		names_answer(&names, &query, query.limit, 3, &out, target);
		dns_reply_begin(&r, &out, &query, DNS_UDP_BYTES);
		dns_copy_answers(&r, data, n);
		dns_reply_finish(&r, &query, DNS_NOERROR, false);
		dns_reply_fits(data, n, query.id, &query);
	}
	return 0;
}
