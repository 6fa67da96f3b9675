/* A growing run of bytes, owned by whoever embeds it. Zero is empty. Appending
 * never fails (see alloc.h); callers bound what they append. One thread at a time. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct buf {
	uint8_t *data;
	size_t len, cap;
};

/* Bytes somebody else owns. */
struct bytes {
	const uint8_t *data;
	size_t len;
};

static inline struct bytes bytes_of(const void *data, size_t len)
{
	return (struct bytes){ data, len };
}

static inline struct bytes bytes_str(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

static inline struct bytes buf_bytes(const struct buf *b)
{
	return (struct bytes){ b->data, b->len };
}

void buf_fini(struct buf *b);
/* Keep the memory, forget the content. */
static inline void buf_clear(struct buf *b)
{
	b->len = 0;
}
/* Room for n more bytes; returns where they go. The caller adds to len what it wrote. */
uint8_t *buf_reserve(struct buf *b, size_t n);
void buf_put(struct buf *b, const void *data, size_t n);
void buf_put_str(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *fmt, va_list args) __attribute__((format(printf, 2, 0)));
/* Drop n bytes at the front. */
void buf_consume(struct buf *b, size_t n);
/* The content as a C string; the terminator is not counted in len. Valid until the next change. */
const char *buf_cstr(struct buf *b);
/* Take the memory over (free() it); the buffer is empty afterwards. *ret_len may be NULL. */
uint8_t *buf_steal(struct buf *b, size_t *ret_len);

static inline void buf_put_byte(struct buf *b, uint8_t c)
{
	if (b->len == b->cap)
		buf_reserve(b, 1);
	b->data[b->len++] = c;
}
