/* CRC-32C (Castagnoli), the checksum of log records, snapshot blocks and the
 * term file. Uses the processor's instruction where there is one. Any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Continue a checksum over n more bytes; start with 0. */
uint32_t crc32c(uint32_t crc, const void *data, size_t n);
