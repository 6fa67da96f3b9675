#include "agent/images/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/images/json.h"
#include "common/base/alloc.h"

static const char *text_or_empty(const struct json *object, const char *key)
{
	const char *text = json_text(object, key);

	return text != NULL ? text : "";
}

/* The strings of an array, or the keys of an object (ExposedPorts is a set written as a map). */
static int read_texts(struct arena *arena, const struct json *config, const char *key,
		      const char ***ret, struct status *st)
{
	const struct json *list = json_member(config, key);
	size_t n = list != NULL ? list->n : 0, i = 0;

	*ret = arena_array(arena, const char *, n + 1);
	if (list == NULL || list->type == JSON_NULL)
		return 0;
	if (list->type != JSON_ARRAY && list->type != JSON_OBJECT)
		return status_set(st, -EINVAL, "image configuration: %s is not a list", key);
	json_for_each(it, list)
	{
		if (list->type == JSON_ARRAY && it->type != JSON_STRING)
			return status_set(st, -EINVAL, "image configuration: %s[%zu] is not text",
					  key, i);
		(*ret)[i++] = list->type == JSON_ARRAY ? it->text : it->key;
	}
	return 0;
}

static int read_layers(struct arena *arena, const struct json *doc, struct record *ret,
		       struct status *st)
{
	const struct json *rootfs = json_member(doc, "rootfs");
	const struct json *ids = json_member(rootfs, "diff_ids"),
			  *sizes = json_member(doc, "sizes");
	size_t i = 0;

	if (ids == NULL || ids->type != JSON_ARRAY)
		return status_set(st, -EINVAL, "image configuration: rootfs.diff_ids is missing");
	if (ids->n > MANIFEST_LAYERS_MAX)
		return status_set(st, -EINVAL, "image configuration: more than %d layers",
				  MANIFEST_LAYERS_MAX);
	ret->diff_ids = arena_array(arena, const char *, ids->n + 1);
	ret->sizes = arena_array(arena, uint64_t, ids->n + 1);
	json_for_each(it, ids)
	{
		if (it->type != JSON_STRING || !digest_is_valid(it->text))
			return status_set(
				st, -EINVAL,
				"image configuration: rootfs.diff_ids[%zu] is not a sha256 digest",
				i);
		ret->diff_ids[i++] = it->text;
	}
	ret->n_layers = i;
	i = 0;
	json_for_each(it, sizes)
	{
		if (i == ret->n_layers || it->type != JSON_NUMBER)
			return status_set(st, -EINVAL, "image record: sizes do not fit the layers");
		ret->sizes[i++] = strtoull(it->text, NULL, 10);
	}
	return 0;
}

int record_parse(struct arena *arena, struct bytes text, struct record *ret, struct status *st)
{
	struct record record = { 0 };
	const struct json *doc, *config;
	int rc = json_parse(arena, text, &doc);

	if (rc < 0)
		return status_set(st, -EINVAL, "image configuration: not JSON");
	config = json_member(doc, "config");
	record.digest = json_text(doc, "digest");
	if (record.digest != NULL && !digest_is_valid(record.digest))
		return status_set(st, -EINVAL, "image record: digest is not a sha256 digest");
	record.user = text_or_empty(config, "User");
	record.workdir = text_or_empty(config, "WorkingDir");
	record.stop_signal = text_or_empty(config, "StopSignal");
	rc = read_layers(arena, doc, &record, st);
	if (rc == 0)
		rc = read_texts(arena, config, "Entrypoint", &record.entrypoint, st);
	if (rc == 0)
		rc = read_texts(arena, config, "Cmd", &record.cmd, st);
	if (rc == 0)
		rc = read_texts(arena, config, "Env", &record.env, st);
	if (rc == 0)
		rc = read_texts(arena, config, "ExposedPorts", &record.exposed_ports, st);
	if (rc == 0)
		*ret = record;
	return rc;
}

static void put_texts(struct buf *to, const char *key, const char *const *texts)
{
	buf_printf(to, "\"%s\":[", key);
	for (size_t i = 0; texts[i] != NULL; i++) {
		if (i > 0)
			buf_put_byte(to, ',');
		json_put_text(to, texts[i]);
	}
	buf_put_str(to, "],");
}

static void put_text(struct buf *to, const char *key, const char *text)
{
	buf_printf(to, "\"%s\":", key);
	json_put_text(to, text);
}

void record_put(struct buf *to, const struct record *record)
{
	buf_put_byte(to, '{');
	put_text(to, "digest", record->digest);
	buf_put_str(to, ",\"sizes\":[");
	for (size_t i = 0; i < record->n_layers; i++)
		buf_printf(to, "%s%llu", i > 0 ? "," : "", (unsigned long long)record->sizes[i]);
	buf_put_str(to, "],\"rootfs\":{\"diff_ids\":[");
	for (size_t i = 0; i < record->n_layers; i++)
		buf_printf(to, "%s\"%s\"", i > 0 ? "," : "", record->diff_ids[i]);
	buf_put_str(to, "]},\"config\":{");
	put_texts(to, "Entrypoint", record->entrypoint);
	put_texts(to, "Cmd", record->cmd);
	put_texts(to, "Env", record->env);
	put_texts(to, "ExposedPorts", record->exposed_ports);
	put_text(to, "User", record->user);
	buf_put_byte(to, ',');
	put_text(to, "WorkingDir", record->workdir);
	buf_put_byte(to, ',');
	put_text(to, "StopSignal", record->stop_signal);
	buf_put_str(to, "}}\n");
}

char *record_path(const char *dir, const char *digest)
{
	return xasprintf("%s/images/%s.json", dir, digest + strlen("sha256:"));
}

char *layer_path(const char *dir, const char *diff_id)
{
	return xasprintf("%s/layers/%s", dir, diff_id + strlen("sha256:"));
}
