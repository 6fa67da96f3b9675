#include "controlplane/store/arena_unpack.h"

static void *unpack_alloc(void *ctx, size_t size)
{
	return arena_try_alloc(ctx, size);
}

static void unpack_free(void *ctx, void *p)
{
}

void *arena_unpack(struct arena *a, const ProtobufCMessageDescriptor *descriptor,
		   struct bytes packed)
{
	ProtobufCAllocator allocator = { .alloc = unpack_alloc,
					 .free = unpack_free,
					 .allocator_data = a };

	return protobuf_c_message_unpack(descriptor, &allocator, packed.len, packed.data);
}
