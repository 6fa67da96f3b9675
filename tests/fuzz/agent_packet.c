/* What a process with access to a pod's socket may send to its shim, and what a shim may answer. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "agent/runtime/packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct packet p;
	size_t fields = 0;

	if (size > PACKET_MAX)
		return 0;
	memset(&p, 0xaa, sizeof(p));
	memcpy(p.data, data, size);
	p.len = size;
	if (!packet_check(&p))
		return 0;
	for (const char *f = packet_next(&p, NULL); f != NULL; f = packet_next(&p, f))
		fields += strlen(f);
	packet_get_number(&p, "id", (long long)fields);
	return packet_get(&p, "container") == packet_verb(&p);
}
