/* What a master answers an agent: the envelope, and a pod inside of it. */
#include <stddef.h>
#include <stdint.h>

#include "agent/pods/decide.h"
#include "agent/pods/qos.h"
#include "agent/volumes/fields.h"
#include "common/api/pack.h"
#include "common/base/cleanup.h"
#include "proto/sampan/node.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at_pod(const ProtobufCBinaryData *object)
{
	auto_with(arena_fini) struct arena arena = { 0 };
	void *message;

	arena_init(&arena, 1 << 20);
	if (unpack_message(&core_v1__pod__descriptor, bytes_of(object->data, object->len), &arena, &message, NULL) < 0)
		return;
	const CoreV1__Pod *pod = message;

	if (pod->spec != NULL)
		pod_qos(pod->spec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	SampanNode__Reply *reply = sampan_node__reply__unpack(NULL, size, data);

	for (size_t i = 0; reply && reply->poll && i < reply->poll->n_changes; i++) {
		if (reply->poll->changes[i]->has_object)
			look_at_pod(&reply->poll->changes[i]->object);
	}
	if (reply != NULL)
		sampan_node__reply__free_unpacked(reply, NULL);
	return 0;
}
