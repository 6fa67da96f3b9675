/* What the API serves, told to clients: the legacy documents (one per group
 * version) and the aggregated ones, with entity tags.
 *
 * All documents come from the table of kinds; they are written once and never
 * change while the process runs. Loop thread only. */
#pragma once

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "controlplane/apiserver/negotiate.h"
#include "controlplane/apiserver/path.h"

struct discovery;

struct discovery *discovery_create(void);
void discovery_destroy(struct discovery *d);
/* The document for an /api or /apis path that names no resource, or false when there is none. Both
 * results are the discovery's; server_address ("host:port") is only shown by /api. */
bool discovery_document(struct discovery *d, const struct api_path *path, const struct media *media,
			const char *server_address, struct bytes *ret_body, const char **ret_etag);

/* Group versions in order of priority; the core group's is the first. */
struct group_version {
	const char *group, *version;
	const char *api_version; /* "v1", "apps/v1" */
};

/* The i-th of those that serve something; false past the last. */
bool group_version_at(size_t i, struct group_version *ret_gv);
bool group_served(const char *group);
