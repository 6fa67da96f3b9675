/* Locals that own something are released when their scope ends.
 *
 *     autofree char *path = xasprintf("%s/x", dir);
 *     autoclose int fd = open(path, O_RDONLY);
 *     ...
 *     *ret_fd = steal_fd(&fd);
 *
 * Any thread; nothing here keeps state. */
#pragma once

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define autofree __attribute__((cleanup(cleanup_free)))
#define autoclose __attribute__((cleanup(cleanup_close)))
/* auto_with(arena_fini) struct arena a; : calls arena_fini(&a) at the end of the scope. */
#define auto_with(fn) __attribute__((cleanup(fn)))

static inline int steal_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

static inline void *steal_ptr_(void *p)
{
	void **slot = p, *taken = *slot;

	*slot = NULL;
	return taken;
}

#define steal_ptr(p) ((__typeof__(*(p)))steal_ptr_(p))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define array_size(a) (sizeof(a) / sizeof((a)[0]))
