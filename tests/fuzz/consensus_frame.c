/* Frames between masters: whatever comes, it is understood within its bytes or refused. */
#include <stdlib.h>

#include "controlplane/consensus/core.h"
#include "controlplane/consensus/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk_entries(const struct frame *f, const uint8_t *end)
{
	struct bytes left = f->append.entries;

	for (uint32_t i = 0; i < f->append.n; i++) {
		struct frame_entry e = frame_next_entry(&left);

		if (e.data.len > 0 && e.data.data + e.data.len > end)
			abort();
	}
	if (left.len != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int64_t n = frame_size(data, size);
	struct frame f;

	if (n <= 0 || (size_t)n > size || frame_decode(data, (size_t)n, &f) < 0)
		return 0;
	if (f.type == FRAME_APPEND)
		walk_entries(&f, data + n);
	if (f.type == FRAME_INSTALL) {
		struct raft_configuration c;

		if (core_configuration_decode(f.install.configuration, &c) == 0)
			raft_configuration_close(&c);
	}
	return 0;
}
