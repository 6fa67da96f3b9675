/* What both OpenAPI versions say, before it is written down: the schemas that a
 * set of kinds reaches, and the name, path and type of things. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/api/kinds.h"
#include "common/api/schema.h"
#include "common/base/arena.h"

struct openapi_model {
	struct arena *arena;
	const struct schema **schemas; /* In the order in which they were reached. */
	size_t n, cap;
};

void openapi_model_init(struct openapi_model *m, struct arena *arena);
void openapi_model_fini(struct openapi_model *m);
/* Add the kind's schema and everything it refers to. */
void openapi_model_add(struct openapi_model *m, const ProtobufCMessageDescriptor *descriptor);
/* "io.k8s.api.core.v1.Pod" */
char *openapi_name(struct arena *arena, const struct schema *s);
/* "/api/v1/namespaces/{namespace}/pods/{name}" */
char *openapi_path(struct arena *arena, const struct kind *kind);

/* A scalar's type and format; NULL when there is none. */
const char *openapi_scalar_type(unsigned protobuf_type, const char **ret_format);
/* What a message of a special form is in JSON: "string", "object", "array"; NULL for any value. */
const char *openapi_form_type(const struct schema *s, const char **ret_format);

/* Every field as JSON shows it: those of inline messages among their parent's. */
typedef void openapi_field_cb(void *ctx, const struct schema_field *field);
void openapi_fields(const struct schema *s, openapi_field_cb *cb, void *ctx);
/* "map", "set", "atomic" or NULL. */
const char *openapi_list_type(const struct schema_field *f);
/* "merge", "retainKeys", "merge,retainKeys" or NULL. */
const char *openapi_patch_strategy(const struct schema_field *f);
