/* The three kinds of PATCH bodies, over JSON trees and over whole objects.
 *
 * The functions on trees return a new tree that may share parts with both
 * inputs; neither input is changed. A few lines of patch can ask for gigabytes
 * (copies of copies): on trees the arena must carry a budget. Errors are in Kubernetes' words: 400
 * for a patch that cannot be read, 422 for one that does not fit. One thread. */
#pragma once

#include "common/api/json.h"
#include "common/api/schema.h"
#include "common/api/value.h"

enum patch_type { PATCH_JSON, PATCH_MERGE, PATCH_STRATEGIC };

/* Operations in one JSON patch. */
#define PATCH_OPERATIONS_MAX 10000
/* What patch_object() may allocate in an arena that has no budget of its own. */
#define PATCH_BUDGET_BYTES (64u << 20)

/* RFC 6902: add, remove, replace, move, copy, test. */
int patch_json(const struct value *doc, const struct value *patch, struct arena *a,
	       struct value **ret, struct status *st);
/* RFC 7386. */
int patch_merge(const struct value *doc, const struct value *patch, struct arena *a,
		struct value **ret, struct status *st);
/* Strategic merge patch, driven by the schema of the document. */
int patch_strategic(const struct schema *schema, const struct value *doc, const struct value *patch,
		    struct arena *a, struct value **ret, struct status *st);

/* Apply a patch's text to an object and read the result back. read is as for json_read_message(),
 * its validation speaks of the patch's fields. */
int patch_object(enum patch_type type, const ProtobufCMessageDescriptor *descriptor,
		 const char *api_version, const char *kind, uint64_t revision, struct bytes packed,
		 struct bytes patch, struct arena *a, struct json_read *read, void *ret_message,
		 struct status *st);
