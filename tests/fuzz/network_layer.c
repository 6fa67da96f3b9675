/* Layers: any bytes, through the same readers and the same limits as the unpacking process, into an
 * empty directory that is the root for the time. Without root privileges the archive is
 * read and nothing can be written, which still runs every parser. */
#include <fcntl.h>
#include <ftw.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/images/pull/unpack.h"
#include "common/base/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static char dir[] = "/tmp/sampan-fuzz.XXXXXX";

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void remove_all(void)
{
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static int ready;
	autoclose int fd = memfd_create("layer", MFD_CLOEXEC);
	char diff_id[DIGEST_SIZE];
	uint64_t bytes;

	if (!ready)
		ready = mkdtemp(dir) != NULL && atexit(remove_all) == 0 && chdir(dir) == 0;
	if (fd < 0 || !ready || write(fd, data, n) != (ssize_t)n || lseek(fd, 0, SEEK_SET) < 0)
		return 0;
	unpack_archive(fd, diff_id, &bytes, NULL);
	return 0;
}
