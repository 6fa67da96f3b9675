/* The directory is the truth and is read when asked: an image is looked up once per
 * container start, which is nothing beside the start. Only the names are kept in memory,
 * because their order says which image was used last. */
#include "agent/images/internal.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/images/record.h"
#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/base/map.h"

/* --- Removing trees --------------------------------------------------------- */

struct removal {
	uv_work_t work;
	struct images *images;
	char *path;
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void remove_tree(const char *path)
{
	nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static void on_removal(uv_work_t *work)
{
	remove_tree(container_of(work, struct removal, work)->path);
}

static void on_removed(uv_work_t *work, int status)
{
	struct removal *removal = container_of(work, struct removal, work);
	struct images *images = removal->images;

	free(removal->path);
	free(removal);
	images->n_removals--;
	images_check_closed(images);
}

void images_remove_later(struct images *images, char *path)
{
	struct removal *removal = xcalloc(1, sizeof(*removal));

	removal->images = images;
	removal->path = path;
	images->n_removals++;
	uv_queue_work(images->loop, &removal->work, on_removal, on_removed);
}

/* --- Names ------------------------------------------------------------------ */

static void ref_free(struct images *images, struct ref *ref)
{
	list_remove(&ref->link);
	images->n_refs--;
	free(ref->name);
	free(ref);
}

static struct ref *find_ref(struct images *images, const char *name)
{
	list_for_each (ref, &images->refs, struct ref, link) {
		if (strcmp(ref->name, name) == 0)
			return ref;
	}
	return NULL;
}

static int write_refs(struct images *images)
{
	autofree char *path = xasprintf("%s/refs", images->dir);
	autofree char *work = xasprintf("%s/tmp/refs", images->dir);
	FILE *f = fopen(work, "we");
	int rc = 0;

	if (f == NULL)
		return -errno;
	list_for_each (ref, &images->refs, struct ref, link)
		fprintf(f, "%s %s\n", ref->name, ref->digest);
	if (fflush(f) != 0 || fsync(fileno(f)) < 0 || ferror(f))
		rc = -EIO;
	if (fclose(f) != 0)
		rc = -EIO;
	if (rc == 0 && rename(work, path) < 0)
		rc = -errno;
	return rc;
}

static void add_ref(struct images *images, const char *name, const char *digest)
{
	struct ref *ref = xcalloc(1, sizeof(*ref));

	ref->name = xstrdup(name);
	memcpy(ref->digest, digest, DIGEST_SIZE);
	list_push_back(&images->refs, &ref->link);
	if (++images->n_refs > REFS_MAX)
		ref_free(images, list_first(&images->refs, struct ref, link));
}

void images_put_ref(struct images *images, const char *name, const char *digest)
{
	struct ref *ref = find_ref(images, name);

	if (ref != NULL && strcmp(ref->digest, digest) == 0) {
		list_remove(&ref->link);
		list_push_back(&images->refs, &ref->link);
		return;
	}
	if (ref != NULL)
		ref_free(images, ref);
	add_ref(images, name, digest);
	int rc = write_refs(images);

	if (rc < 0)
		log_warn("cannot write the names of images", "dir=%s error=%s",
			 log_quote(images->dir), log_quote(strerror(-rc)));
}

/* A line that cannot be read costs a pull, nothing else. */
static void read_refs(struct images *images)
{
	autofree char *path = xasprintf("%s/refs", images->dir);
	char name[2 * REFERENCE_MAX + 256], digest[DIGEST_SIZE];
	FILE *f = fopen(path, "re");

	if (f == NULL)
		return;
	while (fscanf(f, "%765s %71s", name, digest) == 2) {
		if (digest_is_valid(digest) && find_ref(images, name) == NULL)
			add_ref(images, name, digest);
	}
	fclose(f);
}

/* --- Images ----------------------------------------------------------------- */

struct image_counted {
	struct image image;
	unsigned refs;
};

struct image *image_ref(struct image *image)
{
	container_of(image, struct image_counted, image)->refs++;
	return image;
}

static void free_texts(char **texts)
{
	for (size_t i = 0; texts != NULL && texts[i] != NULL; i++)
		free(texts[i]);
	free(texts);
}

void image_unref(struct image *image)
{
	if (image == NULL)
		return;
	struct image_counted *counted = container_of(image, struct image_counted, image);

	assert(counted->refs > 0);
	if (--counted->refs > 0)
		return;
	free(image->name);
	free(image->digest);
	free(image->image_id);
	free_texts(image->layers);
	free_texts(image->entrypoint);
	free_texts(image->cmd);
	free_texts(image->env);
	free_texts(image->exposed_ports);
	free(image->user);
	free(image->workdir);
	free(image->stop_signal);
	free(counted);
}

static char **copy_texts(const char *const *texts)
{
	size_t n = 0;

	while (texts[n] != NULL)
		n++;
	char **copy = xcalloc(n + 1, sizeof(*copy));

	for (size_t i = 0; i < n; i++)
		copy[i] = xstrdup(texts[i]);
	return copy;
}

static int read_record(const char *path, struct arena *arena, struct record *ret)
{
	auto_with(buf_fini) struct buf text = { 0 };
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size > (off_t)RECORD_BUDGET_BYTES)
		return -EFBIG;
	ssize_t n = read(fd, buf_reserve(&text, (size_t)st.st_size + 1), (size_t)st.st_size);

	if (n < 0)
		return -errno;
	text.len = (size_t)n;
	return record_parse(arena, buf_bytes(&text), ret, NULL);
}

static bool layers_present(const char *dir, const struct record *record)
{
	for (size_t i = 0; i < record->n_layers; i++) {
		autofree char *path = layer_path(dir, record->diff_ids[i]);

		if (access(path, F_OK) < 0)
			return false;
	}
	return true;
}

static struct image *image_of_record(const char *dir, const struct record *record)
{
	struct image_counted *counted = xcalloc(1, sizeof(*counted));
	struct image *image = &counted->image;

	counted->refs = 1;
	image->digest = xstrdup(record->digest);
	image->n_layers = record->n_layers;
	image->layers = xcalloc(record->n_layers + 1, sizeof(*image->layers));
	for (size_t i = 0; i < record->n_layers; i++) {
		image->layers[record->n_layers - 1 - i] = layer_path(dir, record->diff_ids[i]);
		image->size_bytes += record->sizes[i];
	}
	image->entrypoint = copy_texts(record->entrypoint);
	image->cmd = copy_texts(record->cmd);
	image->env = copy_texts(record->env);
	image->exposed_ports = copy_texts(record->exposed_ports);
	image->user = xstrdup(record->user);
	image->workdir = xstrdup(record->workdir);
	image->stop_signal = xstrdup(record->stop_signal);
	return image;
}

struct image *images_get(struct images *images, const char *digest)
{
	auto_with(arena_fini) struct arena arena = { 0 };
	struct record record;

	arena_init(&arena, RECORD_BUDGET_BYTES);
	if (!digest_is_valid(digest))
		return NULL;
	autofree char *path = record_path(images->dir, digest);

	if (read_record(path, &arena, &record) < 0 || record.digest == NULL ||
	    strcmp(record.digest, digest) != 0 || !layers_present(images->dir, &record))
		return NULL;
	struct image *image = image_of_record(images->dir, &record);

	image->name = xstrdup(digest);
	image->image_id = xstrdup(digest);
	return image;
}

struct image *images_load(struct images *images, const struct reference *ref, const char *digest)
{
	struct image *image = images_get(images, digest);

	if (image == NULL)
		return NULL;
	free(image->name);
	free(image->image_id);
	image->name = reference_text(ref);
	image->image_id = xasprintf("%s/%s@%s", ref->domain, ref->repository, digest);
	return image;
}

struct image *images_find(struct images *images, const char *name)
{
	struct ref *known = find_ref(images, name);
	struct reference ref;

	if (known == NULL || reference_parse(name, &ref, NULL) < 0)
		return NULL;
	return images_load(images, &ref, known->digest);
}

void images_visit(struct images *images, images_visit_cb *cb, void *arg)
{
	auto_with(map_fini) struct map seen = { 0 };

	list_for_each (ref, &images->refs, struct ref, link) {
		const char *names[64];
		size_t n = 0;
		struct image *image;

		if (map_put(&seen, ref->digest, ref) != NULL)
			continue;
		image = images_find(images, ref->name);
		if (image == NULL)
			continue;
		names[n++] = image->image_id;
		list_for_each (other, &images->refs, struct ref, link) {
			if (n < array_size(names) - 1 && strcmp(other->digest, ref->digest) == 0)
				names[n++] = other->name;
		}
		names[n] = NULL;
		cb(arg, names, image->size_bytes);
		image_unref(image);
	}
}

/* --- Collecting ------------------------------------------------------------- */

uint64_t images_bytes_to_free(uint64_t used_bytes, uint64_t capacity_bytes,
			      struct images_watermarks marks)
{
	uint64_t high = capacity_bytes / 100 * marks.high_percent;
	uint64_t low = capacity_bytes / 100 * marks.low_percent;

	return used_bytes >= high && used_bytes > low ? used_bytes - low : 0;
}

static bool in_list(const char *const *digests, size_t n, const char *digest)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(digests[i], digest) == 0)
			return true;
	}
	return false;
}

static uint64_t layer_size(struct images *images, const char *hex)
{
	autofree char *path = xasprintf("%s/layers/%s.size", images->dir, hex);
	unsigned long long bytes = 0;
	FILE *f = fopen(path, "re");

	if (f != NULL) {
		if (fscanf(f, "%llu", &bytes) != 1)
			bytes = 0;
		fclose(f);
	}
	unlink(path);
	return bytes;
}

static void count_layers(struct map *users, const struct record *record, int by)
{
	for (size_t i = 0; i < record->n_layers; i++) {
		const char *hex = record->diff_ids[i] + strlen("sha256:");
		intptr_t n = (intptr_t)map_get(users, hex);

		/* A key with value 0 reads as absent, which is what it means. */
		map_put(users, hex, (void *)(n + by));
	}
}

/* How many images refer to each layer. */
static void count_all_layers(struct images *images, struct map *users)
{
	autofree char *path = xasprintf("%s/images", images->dir);
	DIR *dir = opendir(path);

	if (dir == NULL)
		return;
	for (struct dirent *e; (e = readdir(dir)) != NULL;) {
		auto_with(arena_fini) struct arena arena = { 0 };
		autofree char *file = xasprintf("%s/%s", path, e->d_name);
		struct record record;

		arena_init(&arena, RECORD_BUDGET_BYTES);
		if (e->d_name[0] != '.' && read_record(file, &arena, &record) == 0)
			count_layers(users, &record, 1);
	}
	closedir(dir);
}

/* Layers that nobody refers to leave their names at once and the disk later. */
static uint64_t sweep_layers(struct images *images, const struct map *users)
{
	autofree char *path = xasprintf("%s/layers", images->dir);
	DIR *dir = opendir(path);
	uint64_t freed = 0;

	if (dir == NULL)
		return 0;
	for (struct dirent *e; (e = readdir(dir)) != NULL;) {
		autofree char *from = xasprintf("%s/%s", path, e->d_name);
		autofree char *to = NULL;

		if (strlen(e->d_name) != 64 || map_get(users, e->d_name) != NULL)
			continue;
		to = xasprintf("%s/tmp/gone.%u", images->dir, images->next_work++);
		if (rename(from, to) < 0)
			continue;
		freed += layer_size(images, e->d_name);
		images_remove_later(images, steal_ptr(&to));
	}
	closedir(dir);
	return freed;
}

static uint64_t exclusive_bytes(const struct map *users, const struct record *record)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < record->n_layers; i++) {
		if (map_get(users, record->diff_ids[i] + strlen("sha256:")) == NULL)
			bytes += record->sizes[i];
	}
	return bytes;
}

/* The record goes first: without it the image is not there, whatever remains of its layers. */
static uint64_t forget_image(struct images *images, const char *digest, struct map *users)
{
	auto_with(arena_fini) struct arena arena = { 0 };
	autofree char *path = record_path(images->dir, digest);
	struct record record;

	arena_init(&arena, RECORD_BUDGET_BYTES);
	if (read_record(path, &arena, &record) < 0 || unlink(path) < 0)
		return 0;
	count_layers(users, &record, -1);
	log_info("removed an image", "digest=%s", digest);
	return exclusive_bytes(users, &record);
}

uint64_t images_collect(struct images *images, const char *const *in_use, size_t n_in_use,
			uint64_t want_bytes)
{
	auto_with(map_fini) struct map users = { 0 };
	uint64_t planned = 0;
	bool changed = false;

	if (!list_empty(&images->pulls))
		return 0;
	count_all_layers(images, &users);
	list_for_each (ref, &images->refs, struct ref, link) {
		if (planned >= want_bytes)
			break;
		if (in_list(in_use, n_in_use, ref->digest))
			continue;
		planned += forget_image(images, ref->digest, &users);
		ref_free(images, ref);
		changed = true;
	}
	if (changed)
		write_refs(images);
	return sweep_layers(images, &users);
}

/* --- Opening and closing ---------------------------------------------------- */

static int make_directories(struct images *images, struct status *st)
{
	static const char *const names[] = { "", "/layers", "/images", "/tmp" };

	for (size_t i = 0; i < array_size(names); i++) {
		autofree char *path = xasprintf("%s%s", images->dir, names[i]);

		if (mkdir(path, 0700) < 0 && errno != EEXIST)
			return status_set(st, -errno, "cannot make %s: %s", path, strerror(errno));
	}
	return 0;
}

static void empty_tmp(struct images *images)
{
	autofree char *path = xasprintf("%s/tmp", images->dir);

	remove_tree(path);
}

static char **copy_list(const char *const *list)
{
	static const char *const none[] = { NULL };

	return copy_texts(list != NULL ? list : none);
}

static void images_free(struct images *images)
{
	list_for_each (ref, &images->refs, struct ref, link)
		ref_free(images, ref);
	free_texts(images->insecure);
	free(images->dir);
	free(images->pull_path);
	free(images->ca_path);
	free(images);
}

int images_open(uv_loop_t *loop, const struct images_options *options, struct images **ret,
		struct status *st)
{
	struct images *images = xcalloc(1, sizeof(*images));
	int rc;

	images->loop = loop;
	images->dir = xstrdup(options->dir);
	images->pull_path = xstrdup(options->pull_path);
	images->ca_path = options->ca_path != NULL ? xstrdup(options->ca_path) : NULL;
	images->insecure = copy_list(options->insecure_registries);
	list_init(&images->refs);
	list_init(&images->pulls);
	empty_tmp(images);
	rc = make_directories(images, st);
	if (rc < 0) {
		images_free(images);
		return rc;
	}
	read_refs(images);
	*ret = images;
	return 0;
}

void images_check_closed(struct images *images)
{
	if (!images->closing || images->n_removals > 0 || !list_empty(&images->pulls))
		return;
	void (*cb)(void *) = images->on_closed;
	void *arg = images->on_closed_arg;

	images_free(images);
	if (cb != NULL)
		cb(arg);
}

void images_close(struct images *images, void (*cb)(void *arg), void *arg)
{
	assert(!images->closing);
	images->on_closed = cb;
	images->on_closed_arg = arg;
	images->closing = true;
	pulls_cancel_all(images);
	images_check_closed(images);
}
