/* An entry of ours inside libraft's log: the payload and one byte behind it that
 * says how it is packed. At 1 KiB and more it is compressed (LZ4) if that saves an eighth. Any thread. */
#pragma once

#include "common/base/buf.h"

/* Takes data (malloc'ed) over and returns what goes into the log, malloc'ed. */
void *entry_pack(void *data, size_t n, size_t *ret_n);
/* Points into packed, or into scratch when it was compressed. -EBADMSG, also above max bytes. */
int entry_unpack(struct bytes packed, size_t max, struct buf *scratch, struct bytes *ret_entry);
