/* What the writers of the two versions share. */
#pragma once

#include "common/base/buf.h"
#include "controlplane/apiserver/openapi_model.h"

struct openapi_parameter {
	const char *name, *type;
};

/* The query parameters of every PATCH. */
extern const struct openapi_parameter openapi_parameters[];
extern const size_t openapi_n_parameters;

/* The whole v2 document in its protobuf form. */
void openapi_v2_write(struct buf *out);
