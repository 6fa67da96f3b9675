/* Field selectors ("status.phase!=Running,spec.nodeName=n1") over packed objects.
 *
 * Nothing is unpacked: a path is walked on the wire. Which paths a kind allows
 * is in its row (kinds.h); metadata.name and metadata.namespace always work. */
#pragma once

#include <stdbool.h>

#include "common/api/kinds.h"
#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/status.h"

struct field_requirement {
	const char *path, *value;
	bool negated;
};

struct field_selector {
	const struct field_requirement *requirements;
	size_t n_requirements; /* 0: everything matches. */
};

/* NULL and "" select everything; 400 for bad syntax and for fields the kind does not support. */
int field_selector_parse(const char *text, const struct kind *kind, struct arena *a,
			 struct field_selector *ret, struct status *st);
bool field_selector_matches(const struct field_selector *s, const struct kind *kind,
			    struct bytes packed);
/* The value that metadata.name (or another path) must have, or NULL. */
const char *field_selector_exact(const struct field_selector *s, const char *path);
/* The scalar at a path of JSON names as text: "" or 0 or false when unset. Returns false when the
 * path names no scalar of the message. The text is in the arena. */
bool field_text(const ProtobufCMessageDescriptor *descriptor, struct bytes packed, const char *path,
		struct arena *a, const char **ret);
