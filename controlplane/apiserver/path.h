/* What a request's path names: a group and version, a namespace, a resource,
 * an object and its subresource; and what its query says.
 *
 * Pure functions; strings live in the caller's arena. Text that cannot be
 * decoded (bad escapes, NUL, more pairs or segments than allowed) is refused
 * with a status, never guessed. Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/status.h"

enum path_type {
	PATH_OTHER,         /* /healthz, /version, /metrics, ... */
	PATH_API_VERSIONS,  /* /api */
	PATH_API_GROUPS,    /* /apis */
	PATH_GROUP,         /* /apis/GROUP */
	PATH_GROUP_VERSION, /* /api/v1, /apis/GROUP/VERSION */
	PATH_RESOURCE,      /* and below */
};

struct api_path {
	enum path_type type;
	const char *text; /* Decoded, without the query and trailing slashes. */
	const char *group, *version;
	const char *namespace;   /* NULL: not named in the path. */
	const char *resource;    /* Plural. */
	const char *name;        /* NULL: the collection. */
	const char *subresource; /* "" for the object itself. */
};

#define PATH_SEGMENTS_MAX 16
#define QUERY_PAIRS_MAX 256

/* path as it was sent, still escaped, without the query. */
int path_parse(struct arena *arena, const char *path, struct api_path *ret_path, struct status *st);

struct query_pair {
	const char *name, *value;
};

struct query {
	const struct query_pair *pairs;
	size_t n;
};

/* query as it was sent, without '?'. */
int query_parse(struct arena *arena, const char *query, struct query *ret_query, struct status *st);
/* The first value of name, or NULL. */
const char *query_get(const struct query *q, const char *name);
/* What Go's strconv.ParseBool takes; a name without a value is true. otherwise when
 * name is absent. */
int query_bool(const struct query *q, const char *name, bool otherwise, bool *ret_value,
	       struct status *st);
int query_int(const struct query *q, const char *name, int64_t otherwise, int64_t *ret_value,
	      struct status *st);
