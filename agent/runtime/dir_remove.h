/* Remove a directory and all below it, as root and beside hostile content: links are not followed and
 * nothing on another mounted file system is touched (EXDEV). 0 also when there is nothing. Blocking; any thread. */
#pragma once

int dir_remove(const char *path);
