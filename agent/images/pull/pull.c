/* name -> (index ->) manifest -> configuration -> layers -> record.
 *
 * Everything is checked against a digest that came from the step before, the first
 * against the name's own digest if it has one. A layer and a record appear under
 * their names by rename, after their content is on the disk. */
#include "agent/images/pull/pull.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/images/pull/digest.h"
#include "agent/images/pull/registry.h"
#include "agent/images/pull/unpack.h"
#include "agent/images/record.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"

#define MANIFEST_BYTES_MAX (4u << 20)
#define CONFIG_BYTES_MAX (8u << 20)

struct pull {
	const struct pull_options *options;
	struct registry *registry;
	struct arena arena;
	uint64_t done_bytes, total_bytes;
};

static int fetch_manifest(struct pull *p, const char *tag_or_digest, struct manifest *ret,
			  char ret_digest[DIGEST_SIZE], struct status *st)
{
	auto_with(buf_fini) struct buf text = { 0 };
	autofree char *path = xasprintf("manifests/%s", tag_or_digest);
	int rc = registry_get(p->registry, path, MANIFEST_ACCEPT, MANIFEST_BYTES_MAX, &text, st);

	if (rc < 0)
		return rc;
	digest_of(text.data, text.len, ret_digest);
	if (digest_is_valid(tag_or_digest) && strcmp(tag_or_digest, ret_digest) != 0)
		return status_set(st, -EBADMSG, "the manifest's digest is %s instead of %s",
				  ret_digest, tag_or_digest);
	return manifest_parse(&p->arena, buf_bytes(&text), platform_of_machine(), ret, st);
}

static int find_manifest(struct pull *p, const struct reference *ref, struct manifest *ret,
			 char ret_digest[DIGEST_SIZE], struct status *st)
{
	int rc = fetch_manifest(p, ref->digest[0] != '\0' ? ref->digest : ref->tag, ret, ret_digest,
				st);

	if (rc < 0 || !ret->is_index)
		return rc;
	const char *chosen = ret->chosen.digest;

	rc = fetch_manifest(p, chosen, ret, ret_digest, st);
	if (rc == 0 && ret->is_index)
		return status_set(st, -EINVAL, "an index inside an index");
	return rc;
}

static int fetch_config(struct pull *p, const struct manifest *manifest, struct record *ret,
			struct status *st)
{
	auto_with(buf_fini) struct buf text = { 0 };
	autofree char *path = xasprintf("blobs/%s", manifest->config.digest);
	char digest[DIGEST_SIZE];
	int rc = registry_get(p->registry, path, NULL, CONFIG_BYTES_MAX, &text, st);

	if (rc < 0)
		return rc;
	digest_of(text.data, text.len, digest);
	if (strcmp(digest, manifest->config.digest) != 0)
		return status_set(st, -EBADMSG, "the configuration's digest is %s instead of %s",
				  digest, manifest->config.digest);
	rc = record_parse(&p->arena, buf_bytes(&text), ret, st);
	if (rc == 0 && ret->n_layers != manifest->n_layers)
		return status_set(st, -EINVAL, "the manifest has %zu layers, the configuration %zu",
				  manifest->n_layers, ret->n_layers);
	return rc;
}

/* --- Layers ----------------------------------------------------------------- */

struct layer_transfer {
	struct pull *pull;
	struct digest digest;
	struct unpack unpack;
};

static int on_layer_data(void *arg, const void *data, size_t n)
{
	struct layer_transfer *t = arg;

	digest_add(&t->digest, data, n);
	t->pull->done_bytes += n;
	if (t->pull->options->on_progress != NULL)
		t->pull->options->on_progress(t->pull->done_bytes, t->pull->total_bytes);
	return unpack_write(&t->unpack, data, n);
}

static int transfer_layer(struct layer_transfer *t, const struct blob *blob, const char *diff_id,
			  uint64_t *ret_bytes, struct status *st)
{
	char digest[DIGEST_SIZE], found[DIGEST_SIZE];
	int rc = registry_stream(t->pull->registry, blob->digest, blob->size_bytes, on_layer_data,
				 t, st);

	/* EPIPE is only that the other end gave up: it knows why. */
	if (rc < 0 && rc != -EPIPE)
		return rc;
	if (unpack_finish(&t->unpack, found, ret_bytes, st) < 0)
		return status_prefix(st, "layer %s", blob->digest);
	if (rc < 0)
		return status_set(st, rc, "layer %s: unpacking ended early", blob->digest);
	digest_end(&t->digest, digest);
	if (strcmp(digest, blob->digest) != 0)
		return status_set(st, -EBADMSG, "layer %s: its digest is %s", blob->digest, digest);
	if (strcmp(found, diff_id) != 0)
		return status_set(st, -EBADMSG,
				  "layer %s: uncompressed, its digest is %s instead of %s",
				  blob->digest, found, diff_id);
	return 0;
}

static int write_file(const char *path, const char *text, size_t n)
{
	autoclose int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0)
		return -errno;
	while (n > 0) {
		ssize_t done = write(fd, text, n);

		if (done < 0)
			return -errno;
		text += done;
		n -= (size_t)done;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

static void sync_directory(const char *path)
{
	autoclose int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		fsync(fd);
}

/* The size goes first: a layer without one would count as empty. */
static int publish_layer(struct pull *p, const char *work, const char *diff_id, uint64_t bytes,
			 struct status *st)
{
	autofree char *path = layer_path(p->options->dir, diff_id);
	autofree char *size_path = xasprintf("%s.size", path);
	autofree char *size = xasprintf("%llu\n", (unsigned long long)bytes);
	autofree char *parent = xasprintf("%s/layers", p->options->dir);
	autoclose int fd = open(work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = fd < 0 || syncfs(fd) < 0 ? -errno : write_file(size_path, size, strlen(size));

	if (rc == 0 && rename(work, path) < 0)
		rc = -errno;
	/* Another pull was faster; its layer has the same content. */
	if (rc == -EEXIST || rc == -ENOTEMPTY)
		return 0;
	if (rc < 0)
		return status_set(st, rc, "cannot put a layer at %s: %s", path, strerror(-rc));
	sync_directory(parent);
	return 0;
}

static bool layer_present(struct pull *p, const char *diff_id, uint64_t *ret_bytes)
{
	autofree char *path = layer_path(p->options->dir, diff_id);
	autofree char *size_path = xasprintf("%s.size", path);
	unsigned long long bytes = 0;

	if (access(path, F_OK) < 0)
		return false;
	FILE *f = fopen(size_path, "re");

	if (f != NULL) {
		if (fscanf(f, "%llu", &bytes) != 1)
			bytes = 0;
		fclose(f);
	}
	*ret_bytes = bytes;
	return true;
}

static int pull_layer(struct pull *p, size_t i, const struct blob *blob, const char *diff_id,
		      uint64_t *ret_bytes, struct status *st)
{
	autofree char *work = xasprintf("%s/%zu", p->options->work_dir, i);
	struct layer_transfer t = { .pull = p };
	int rc;

	if (layer_present(p, diff_id, ret_bytes))
		return 0;
	if (mkdir(work, 0755) < 0)
		return status_set(st, -errno, "cannot make %s: %s", work, strerror(errno));
	rc = unpack_start(&t.unpack, work, st);
	if (rc < 0)
		return rc;
	digest_init(&t.digest);
	rc = transfer_layer(&t, blob, diff_id, ret_bytes, st);
	unpack_abort(&t.unpack);
	digest_fini(&t.digest);
	return rc < 0 ? rc : publish_layer(p, work, diff_id, *ret_bytes, st);
}

static int pull_layers(struct pull *p, const struct manifest *manifest, struct record *record,
		       struct status *st)
{
	for (size_t i = 0; i < manifest->n_layers; i++) {
		uint64_t bytes;

		if (!layer_present(p, record->diff_ids[i], &bytes))
			p->total_bytes += manifest->layers[i].size_bytes;
	}
	for (size_t i = 0; i < manifest->n_layers; i++) {
		int rc = pull_layer(p, i, &manifest->layers[i], record->diff_ids[i],
				    &record->sizes[i], st);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* --- The record ------------------------------------------------------------- */

static bool have_image(struct pull *p, const char *digest)
{
	autofree char *path = record_path(p->options->dir, digest);
	auto_with(buf_fini) struct buf text = { 0 };
	struct record record;
	FILE *f = fopen(path, "re");

	if (f == NULL)
		return false;
	text.len = fread(buf_reserve(&text, CONFIG_BYTES_MAX), 1, CONFIG_BYTES_MAX, f);
	fclose(f);
	if (record_parse(&p->arena, buf_bytes(&text), &record, NULL) < 0)
		return false;
	for (size_t i = 0; i < record.n_layers; i++) {
		uint64_t bytes;

		if (!layer_present(p, record.diff_ids[i], &bytes))
			return false;
	}
	return true;
}

static int publish_record(struct pull *p, const struct record *record, struct status *st)
{
	autofree char *path = record_path(p->options->dir, record->digest);
	autofree char *work = xasprintf("%s/record", p->options->work_dir);
	autofree char *parent = xasprintf("%s/images", p->options->dir);
	auto_with(buf_fini) struct buf text = { 0 };
	int rc;

	record_put(&text, record);
	rc = write_file(work, (const char *)text.data, text.len);
	if (rc == 0 && rename(work, path) < 0)
		rc = -errno;
	if (rc < 0)
		return status_set(st, rc, "cannot write %s: %s", path, strerror(-rc));
	sync_directory(parent);
	return 0;
}

static int run(struct pull *p, const struct reference *ref, char ret_digest[DIGEST_SIZE],
	       struct status *st)
{
	struct manifest manifest;
	struct record record;
	int rc = find_manifest(p, ref, &manifest, ret_digest, st);

	if (rc < 0 || have_image(p, ret_digest))
		return rc;
	rc = fetch_config(p, &manifest, &record, st);
	if (rc == 0)
		rc = pull_layers(p, &manifest, &record, st);
	if (rc < 0)
		return rc;
	record.digest = ret_digest;
	return publish_record(p, &record, st);
}

int pull_image(const struct reference *ref, const struct pull_options *options,
	       char ret_digest[DIGEST_SIZE], struct status *st)
{
	struct registry_options registry_options = {
		.host = reference_registry(ref),
		.repository = ref->repository,
		.auth = options->auth,
		.insecure = options->insecure,
		.ca_path = options->ca_path,
		.connect_timeout_s = 10,
	};
	struct pull p = { .options = options, .registry = registry_create(&registry_options) };
	int rc;

	arena_init(&p.arena, 4 * (size_t)RECORD_BUDGET_BYTES);
	rc = run(&p, ref, ret_digest, st);
	arena_fini(&p.arena);
	registry_destroy(p.registry);
	return rc;
}
