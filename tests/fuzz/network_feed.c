/* Answers of masters to a proxy: protocol and the objects inside. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "proto/sampan/node.pb-c.h"
#include "proxy/feed/feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct feed_place place = { .revision = 1 };
	SampanNode__Reply *reply;
	struct bytes packed = bytes_of(data, n);
	struct world w;

	world_init(&w);
	if (feed_take_reply(&w, &place, packed, &reply, NULL) == 0)
		sampan_node__reply__free_unpacked(reply, NULL);
	/* The objects are protobuf inside protobuf: reach them without the luck of nesting. */
	world_apply(&w, "services", "a", "b", &packed, NULL);
	world_apply(&w, "endpointslices.discovery.k8s.io", "a", "b", &packed, NULL);
	world_apply(&w, "nodes", "", "b", &packed, NULL);
	while (world_next_dirty(&w) != NULL)
		;
	world_fini(&w);
	free(place.continue_key);
	return 0;
}
