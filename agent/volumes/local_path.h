/* Folders of this node that are volumes (provisioner sampan.io/local-path).
 *
 * DIR/NAME is the folder of the PersistentVolume NAME. Only the name of a volume
 * chooses a folder, never a path that somebody wrote, and a name is one path
 * component, so nothing outside DIR can be made or removed. Blocking; any thread. */
#pragma once

#include "common/base/status.h"

/* Made when it is not there. *ret_path is its path, the caller's to free. */
int local_path_make(const char *dir, const char *name, char **ret_path, struct status *st);
/* With everything in it. 0 also when it is not there. */
int local_path_remove(const char *dir, const char *name, struct status *st);
