/* Memory that lives for one request or one reconcile and goes in one call.
 *
 * An arena may carry a budget: arena_try_alloc() then returns NULL beyond it,
 * which is how decoders of outside bytes are bounded; arena_alloc() aborts.
 * Memory is aligned to 16 bytes and zeroed only by arena_zalloc(). One thread. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct arena_chunk;

struct arena {
	struct arena_chunk *chunks;
	size_t used_bytes;  /* Handed out so far. */
	size_t budget_bytes; /* 0: none. */
};

void arena_init(struct arena *a, size_t budget_bytes);
void arena_fini(struct arena *a);
/* Everything handed out becomes invalid; the first chunk is kept for reuse. */
void arena_reset(struct arena *a);
void *arena_try_alloc(struct arena *a, size_t size);
void *arena_alloc(struct arena *a, size_t size);
void *arena_zalloc(struct arena *a, size_t size);
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t n);
void *arena_memdup(struct arena *a, const void *p, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(struct arena *a, const char *fmt, va_list args)
	__attribute__((format(printf, 2, 0)));

#define arena_new(a, type) ((type *)arena_zalloc((a), sizeof(type)))
#define arena_array(a, type, n) ((type *)arena_zalloc((a), sizeof(type) * (n)))
