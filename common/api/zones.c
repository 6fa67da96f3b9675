#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "common/api/zones.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/map.h"

enum {
	ZONES_MAX = 2048, /* There are about 600. */
	FILE_BYTES_MAX = 64 * 1024,
	DEPTH_MAX = 3, /* America/Argentina/Ushuaia */
};

struct zones {
	struct map by_name; /* struct zone */
	int64_t since_s;
};

static void load_file(struct zones *zones, const char *path, const char *name)
{
	auto_with(buf_fini) struct buf content = { 0 };
	struct zone *z;

	if (zones->by_name.count >= ZONES_MAX ||
	    file_read(path, FILE_BYTES_MAX, &content, NULL) < 0 ||
	    zone_parse(buf_bytes(&content), zones->since_s, &z) < 0)
		return;
	zone_destroy(map_put(&zones->by_name, name, z));
}

static void load_dir(struct zones *zones, const char *path, const char *prefix, int depth)
{
	DIR *dir = depth < DEPTH_MAX ? opendir(path) : NULL;
	struct dirent *e;

	while (dir != NULL && (e = readdir(dir)) != NULL) {
		/* Names begin with a capital letter; "posix" and "right" are copies. */
		if (e->d_name[0] < 'A' || e->d_name[0] > 'Z')
			continue;

		autofree char *file = xasprintf("%s/%s", path, e->d_name);
		autofree char *name = xasprintf("%s%s", prefix, e->d_name);
		autofree char *below = xasprintf("%s/", name);
		struct stat about;

		if (stat(file, &about) < 0)
			continue;
		if (S_ISDIR(about.st_mode))
			load_dir(zones, file, below, depth + 1);
		else if (S_ISREG(about.st_mode))
			load_file(zones, file, name);
	}
	if (dir != NULL)
		closedir(dir);
}

struct zones *zones_load(const char *dir, int64_t since_s)
{
	struct zones *zones = xcalloc(1, sizeof(*zones));

	zones->since_s = since_s;
	load_dir(zones, dir, "", 0);
	return zones;
}

void zones_destroy(struct zones *zones)
{
	if (zones == NULL)
		return;
	map_for_each (slot, &zones->by_name)
		zone_destroy(slot->value);
	map_fini(&zones->by_name);
	free(zones);
}

size_t zones_count(const struct zones *zones)
{
	return zones->by_name.count;
}

bool zones_find(const struct zones *zones, const char *name, const struct zone **ret)
{
	*ret = NULL;
	if (name[0] == '\0' || strcmp(name, "UTC") == 0)
		return true;
	*ret = zones != NULL ? map_get(&zones->by_name, name) : NULL;
	return *ret != NULL;
}
