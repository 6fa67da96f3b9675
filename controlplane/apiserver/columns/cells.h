/* Writing the cells of one row of a Table, and what several kinds' formulas share.
 *
 * A column is a row of a table of columns: name, type, format, priority and the
 * formula, which looks at the unpacked object and writes exactly one cell. Parts
 * of an object that are absent read as empty ones, so no formula tests for NULL.
 * Pure; scratch memory is the arena's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "common/api/make.h"
#include "common/base/arena.h"
#include "common/base/buf.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "proto/k8s/meta_v1.pb-c.h"

struct cells {
	struct buf *out; /* JSON text. */
	struct arena *arena;
	int64_t now_ns;
	size_t count; /* Cells written so far. */
};

typedef void cell_fn(struct cells *c, const void *message);

struct column {
	const char *name, *type, *format;
	int priority; /* Above 0: shown by -o wide only. */
	cell_fn *cell;
	const char *description;
};

struct table_columns {
	const ProtobufCMessageDescriptor *descriptor;
	const struct column *columns;
	size_t n_columns;
};

extern const struct table_columns columns_pods[], columns_workloads[], columns_network[],
	columns_cluster[], columns_config[], columns_policy[], columns_storage[],
	columns_autoscaling[];
extern const size_t n_columns_pods, n_columns_workloads, n_columns_network, n_columns_cluster,
	n_columns_config, n_columns_policy, n_columns_storage, n_columns_autoscaling;

extern const struct table_columns columns_batch[];
extern const size_t n_columns_batch;

#define TEXT "string", ""
#define NAME "string", "name"
#define NUMBER "integer", ""
#define COLUMNS(c_, columns_)                                                                      \
	{                                                                                          \
		&c_##__descriptor, columns_, sizeof(columns_) / sizeof(columns_[0])                \
	}

/* The descriptions every kind shares. */
#define DESCRIBE_NAME "Name must be unique within a namespace."
#define DESCRIBE_AGE "How long ago the object was created."

void cell_text(struct cells *c, const char *text); /* NULL is "". */
void cell_printf(struct cells *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void cell_int(struct cells *c, int64_t number);
void cell_bool(struct cells *c, bool value);
/* The text, or otherwise when it is NULL or empty. */
void cell_text_or(struct cells *c, const char *text, const char *otherwise);
void cell_age(struct cells *c, const MetaV1__Time *since, const char *unknown);
/* The text built in b, which is freed. */
void cell_take(struct cells *c, struct buf *b);

int64_t time_ns(const MetaV1__Time *t); /* 0: absent. */
int64_t microtime_ns(const MetaV1__MicroTime *t);

/* Formulas that fit every kind: any message whose first field is metadata. */
void cell_name(struct cells *c, const void *message);
void cell_created_age(struct cells *c, const void *message);
void cell_created_at(struct cells *c, const void *message);
const MetaV1__ObjectMeta *meta_of(const void *message);

/* Append ", " or "," and the text. */
void join(struct buf *b, const char *separator, const char *text);

/* Parts of a pod template: names and images of its containers. */
void cell_containers(struct cells *c, const CoreV1__PodTemplateSpec *t);
void cell_images(struct cells *c, const CoreV1__PodTemplateSpec *t);
/* "k=v,k in (a,b),!k", or otherwise when it is empty. */
void cell_selector(struct cells *c, const MetaV1__LabelSelector *selector, const char *otherwise);

/* "a=1,b=2" sorted by key, or otherwise when there is none. entries is an array of map entries. */
void cell_map(struct cells *c, const void *entries, size_t n, const char *otherwise);

/* The status text of the condition called type ("True", ...), or NULL; works on any array of
 * conditions by way of their common members. */
#define condition_status(conditions, n, wanted)                                                    \
	__extension__({                                                                            \
		const char *found_ = NULL;                                                         \
		for (size_t i_ = 0; i_ < (n); i_++)                                                \
			if (strcmp(text_of((conditions)[i_]->type), (wanted)) == 0)                \
				found_ = text_of((conditions)[i_]->status);                        \
		found_;                                                                            \
	})
