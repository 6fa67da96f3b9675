/* Time zones: what the clock on the wall says, from the files of RFC 9636 (TZif).
 *
 * A zone is read once, from bytes, and is constant from then on. Only what lies
 * after a given time is kept: transitions that are long over decide nothing.
 * After the last transition the file's footer, a rule of POSIX's TZ, goes on
 * forever. zones_load() reads the system's files and is the only function here
 * that touches the world; deciding code is handed the result. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

struct zone;
struct zones;

/* One zone of TZif bytes; transitions before since_s (seconds since 1970) are left out.
 * -EINVAL when they are not TZif, or say what cannot be. */
int zone_parse(struct bytes tzif, int64_t since_s, struct zone **ret);
void zone_destroy(struct zone *z);

/* Seconds east of UTC at time_s, and until when (exclusive; INT64_MAX: for good) it stays so. NULL
 * is UTC. */
int32_t zone_offset(const struct zone *z, int64_t time_s, int64_t *ret_until_s);

/* Every zone below dir ("/usr/share/zoneinfo"); what cannot be read is left out. Never NULL: a
 * machine without the files knows "UTC" only. */
struct zones *zones_load(const char *dir, int64_t since_s);
void zones_destroy(struct zones *zones);
size_t zones_count(const struct zones *zones);
/* False when there is no zone of that name. *ret is NULL for UTC. "Local" is never one. zones may
 * be NULL. */
bool zones_find(const struct zones *zones, const char *name, const struct zone **ret);
