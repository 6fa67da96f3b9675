/* Pieces of JSON text, for whoever writes JSON by hand. Any thread. */
#pragma once

#include <stdint.h>

#include "common/base/buf.h"

/* The string with quotes and escapes. */
void json_put_string(struct buf *out, const char *s, size_t n);
void json_put_cstring(struct buf *out, const char *s);
void json_put_int(struct buf *out, int64_t v);
void json_put_double(struct buf *out, double v);
/* Standard base64 with padding, in quotes. */
void json_put_base64(struct buf *out, const uint8_t *data, size_t n);
