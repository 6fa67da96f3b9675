/* Allocation that does not fail: running out of memory aborts the process,
 * because a master that applied half an entry is worse than one that restarts.
 * Sizes that come from outside are bounded before they get here. Any thread. */
#pragma once

#include <stddef.h>

void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t size);
/* realloc(p, n * size) with the product checked. */
void *xreallocarray(void *p, size_t n, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
void *xmemdup(const void *p, size_t n);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Make room for one more element in a doubling array. */
#define array_grow(array, n, cap)                                                                  \
	do {                                                                                       \
		if ((n) == (cap)) {                                                                \
			(cap) = (cap) ? (cap)*2 : 8;                                               \
			(array) = xreallocarray((array), (cap), sizeof((array)[0]));               \
		}                                                                                  \
	} while (0)
