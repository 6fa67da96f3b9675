/* OpenAPI documents, written from the schema: v3 per group version in JSON, and
 * one v2 document in the protobuf form that older clients ask for.
 *
 * They describe every served kind: its fields, merge keys and lists, and one PATCH
 * operation per kind, which is where clients look for dryRun and fieldValidation.
 * Documents are written on first use and kept. Loop thread only. */
#pragma once

#include "common/base/buf.h"

struct openapi;

struct document {
	struct buf body;
	char etag[20];
};

struct openapi *openapi_create(void);
void openapi_destroy(struct openapi *o);
const struct document *openapi_v2(struct openapi *o);
/* rest is what follows /openapi/v3: "" the index, "/api/v1", "/apis/apps/v1". NULL:
 * there is none. */
const struct document *openapi_v3(struct openapi *o, const char *rest);
