#include "agent/images/manifest.h"

#include <errno.h>
#include <string.h>
#include <sys/utsname.h>

#include "agent/images/json.h"
#include "common/base/cleanup.h"

struct platform platform_of_machine(void)
{
	static const struct {
		const char *machine;
		struct platform platform;
	} known[] = {
		{ "x86_64", { "linux", "amd64", "" } },
		{ "aarch64", { "linux", "arm64", "v8" } },
		{ "armv7l", { "linux", "arm", "v7" } },
		{ "armv6l", { "linux", "arm", "v6" } },
		{ "i686", { "linux", "386", "" } },
		{ "ppc64le", { "linux", "ppc64le", "" } },
		{ "riscv64", { "linux", "riscv64", "" } },
		{ "s390x", { "linux", "s390x", "" } },
	};
	struct utsname name;

	if (uname(&name) == 0) {
		for (size_t i = 0; i < array_size(known); i++) {
			if (strcmp(known[i].machine, name.machine) == 0)
				return known[i].platform;
		}
	}
	return (struct platform){ "linux", "amd64", "" };
}

static int blob_of(const struct json *descriptor, struct blob *ret)
{
	const char *digest = json_text(descriptor, "digest");
	struct blob blob = { .digest = digest };

	if (digest == NULL || !digest_is_valid(digest) ||
	    !json_u64(descriptor, "size", &blob.size_bytes))
		return -EINVAL;
	*ret = blob;
	return 0;
}

/* 0: not for us; more is better. */
static int platform_score(const struct json *descriptor, struct platform want)
{
	const struct json *platform = json_member(descriptor, "platform");
	const char *os = json_text(platform, "os");
	const char *architecture = json_text(platform, "architecture");
	const char *variant = json_text(platform, "variant");

	if (os == NULL || architecture == NULL || strcmp(os, want.os) != 0 ||
	    strcmp(architecture, want.architecture) != 0)
		return 0;
	if (variant == NULL || *variant == '\0')
		return 2;
	return strcmp(variant, want.variant) == 0 ? 3 : 1;
}

static int choose(const struct json *list, struct platform want, struct manifest *ret,
		  struct status *st)
{
	const struct json *best = NULL;
	int best_score = 0;

	if (list->n > MANIFEST_INDEX_MAX)
		return status_set(st, -EINVAL, "the index has %zu entries, at most %d are read",
				  list->n, MANIFEST_INDEX_MAX);
	json_for_each(it, list)
	{
		int score = platform_score(it, want);

		if (score > best_score) {
			best = it;
			best_score = score;
		}
	}
	if (best == NULL && list->n == 1)
		best = list->first;
	if (best == NULL)
		return status_set(st, -ENOENT, "no image for %s/%s in the index of %zu entries",
				  want.os, want.architecture, list->n);
	if (blob_of(best, &ret->chosen) < 0)
		return status_set(st, -EINVAL,
				  "the index entry for %s/%s has no sha256 digest and size",
				  want.os, want.architecture);
	ret->is_index = true;
	return 0;
}

static int read_layers(struct arena *arena, const struct json *list, struct manifest *ret,
		       struct status *st)
{
	size_t i = 0;

	if (list->n > MANIFEST_LAYERS_MAX)
		return status_set(st, -EINVAL, "the image has %zu layers, at most %d are possible",
				  list->n, MANIFEST_LAYERS_MAX);
	ret->layers = arena_array(arena, struct blob, list->n + 1);
	json_for_each(it, list)
	{
		if (blob_of(it, &ret->layers[i]) < 0)
			return status_set(st, -EINVAL, "layer %zu has no sha256 digest and size",
					  i);
		if (json_member(it, "urls") != NULL && json_member(it, "urls")->n > 0)
			return status_set(st, -EINVAL, "layer %zu lies outside the registry (urls)",
					  i);
		i++;
	}
	ret->n_layers = i;
	return 0;
}

int manifest_parse(struct arena *arena, struct bytes text, struct platform platform,
		   struct manifest *ret, struct status *st)
{
	const struct json *doc, *list;
	struct manifest manifest = { 0 };
	uint64_t version;
	int rc;

	rc = json_parse(arena, text, &doc);
	if (rc < 0)
		return status_set(st, -EINVAL, "the manifest is not JSON");
	if (!json_u64(doc, "schemaVersion", &version) || version != 2)
		return status_set(st, -EINVAL, "the manifest is not of schema version 2");

	list = json_member(doc, "manifests");
	if (list != NULL && list->type == JSON_ARRAY) {
		rc = choose(list, platform, &manifest, st);
		if (rc == 0)
			*ret = manifest;
		return rc;
	}
	list = json_member(doc, "layers");
	if (list == NULL || list->type != JSON_ARRAY)
		return status_set(st, -EINVAL, "the manifest has neither layers nor manifests");
	if (blob_of(json_member(doc, "config"), &manifest.config) < 0)
		return status_set(st, -EINVAL,
				  "the manifest's config has no sha256 digest and size");
	rc = read_layers(arena, list, &manifest, st);
	if (rc == 0)
		*ret = manifest;
	return rc;
}
