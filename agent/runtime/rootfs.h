/* A container's root: the image's layers under a writable one, by overlayfs.
 * Blocking; worker threads only. */
#pragma once

#include <stddef.h>

#include "common/base/status.h"

/* Mount at DIR/rootfs with DIR/upper and DIR/work as its own; layers[0] is the topmost of the image.
 * uid and gid of the root directory are the topmost layer's. */
int rootfs_mount(const char *dir, char *const *layers, size_t n_layers, struct status *st);
/* 0 also when nothing is mounted. What was written stays in DIR/upper. */
int rootfs_unmount(const char *dir);
