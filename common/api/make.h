/* Making and changing messages in an arena, with fewer words.
 *
 * Everything here allocates in the arena it is given and never frees; messages
 * made this way must not be given to free_unpacked functions. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <protobuf-c/protobuf-c.h>

#include "common/api/message.h"
#include "common/base/arena.h"
#include "proto/k8s/meta_v1.pb-c.h"

/* make(arena, CoreV1__Pod, core_v1__pod): an empty message. */
#define make(a, type, prefix) ((type *)message_new(&prefix##__descriptor, (a)))

static inline void make_append_(struct arena *a, void *array, size_t *n, void *item)
{
	void **old, **grown = arena_alloc(a, (*n + 1) * sizeof(*grown));

	/* The field is some T **; its bytes are moved, so that no type is read as another. */
	memcpy(&old, array, sizeof(old));
	if (*n > 0)
		memcpy(grown, old, *n * sizeof(*grown));
	grown[(*n)++] = item;
	memcpy(array, &grown, sizeof(grown));
}

/* make_append(arena, pod->spec, volumes, volume): one more item of a repeated field. */
#define make_append(a, message, field, item)                                                       \
	make_append_((a), &(message)->field, &(message)->n_##field, (item))

/* Sets a scalar together with its presence: make_set(spec, replicas, 3). */
#define make_set(message, field, value)                                                            \
	do {                                                                                       \
		(message)->has_##field = 1;                                                        \
		(message)->field = (value);                                                        \
	} while (0)

/* Whole seconds, as the API shows them. */
static inline MetaV1__Time *make_time(struct arena *a, int64_t time_ns)
{
	MetaV1__Time *t = make(a, MetaV1__Time, meta_v1__time);

	make_set(t, seconds, time_ns / 1000000000);
	return t;
}

static inline MetaV1__MicroTime *make_micro_time(struct arena *a, int64_t time_ns)
{
	MetaV1__MicroTime *t = make(a, MetaV1__MicroTime, meta_v1__micro_time);

	make_set(t, seconds, time_ns / 1000000000);
	make_set(t, nanos, (int32_t)(time_ns % 1000000000 / 1000 * 1000));
	return t;
}

/* 0 for no time. */
static inline int64_t time_ns_of(const MetaV1__Time *t)
{
	return t ? t->seconds * 1000000000 + t->nanos : 0;
}

/* "" for NULL: proto2 strings are NULL when absent. */
static inline const char *text_of(const char *s)
{
	return s ? s : "";
}

static inline bool text_is(const char *s, const char *value)
{
	return strcmp(text_of(s), value) == 0;
}

static inline bool text_empty(const char *s)
{
	return s == NULL || s[0] == '\0';
}

static inline const char *meta_label(const MetaV1__ObjectMeta *meta, const char *key)
{
	return string_map_get((struct string_entry *const *)meta->labels, meta->n_labels, key);
}

static inline const char *meta_annotation(const MetaV1__ObjectMeta *meta, const char *key)
{
	return string_map_get((struct string_entry *const *)meta->annotations, meta->n_annotations,
			      key);
}

static inline void meta_set_label(struct arena *a, MetaV1__ObjectMeta *meta, const char *key,
				  const char *value)
{
	string_map_set(meta, "labels", key, value, a);
}

static inline void meta_set_annotation(struct arena *a, MetaV1__ObjectMeta *meta, const char *key,
				       const char *value)
{
	string_map_set(meta, "annotations", key, value, a);
}

static inline bool meta_has_finalizer(const MetaV1__ObjectMeta *meta, const char *name)
{
	for (size_t i = 0; i < meta->n_finalizers; i++)
		if (text_is(meta->finalizers[i], name))
			return true;
	return false;
}

static inline void meta_remove_finalizer(MetaV1__ObjectMeta *meta, const char *name)
{
	size_t kept = 0;

	for (size_t i = 0; i < meta->n_finalizers; i++)
		if (!text_is(meta->finalizers[i], name))
			meta->finalizers[kept++] = meta->finalizers[i];
	meta->n_finalizers = kept;
}
