/* Which form of an answer a client wants (Accept) and which form its body has
 * (Content-Type).
 *
 * Kubernetes' media types carry parameters: as=Table;v=v1;g=meta.k8s.io asks
 * for rows, as=PartialObjectMetadata for metadata alone. Clauses are tried in the
 * client's order of preference, and the first that can be served wins. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/status.h"

enum media_format { MEDIA_JSON, MEDIA_PROTOBUF };

enum media_view {
	MEDIA_OBJECT,
	MEDIA_TABLE,
	MEDIA_PARTIAL,   /* PartialObjectMetadata, or its List. */
	MEDIA_DISCOVERY, /* APIGroupDiscoveryList */
};

struct media {
	enum media_format format;
	enum media_view view;
	const char *version; /* Of the view: "v1", "v1beta1"; "v2", "v2beta1" for discovery. A
				constant. */
};

/* Where a request may ask for what. */
enum media_offer {
	OFFER_PLAIN = 0,
	OFFER_VIEWS = 1 << 0,     /* Table and PartialObjectMetadata. */
	OFFER_DISCOVERY = 1 << 1, /* APIGroupDiscoveryList, JSON only. */
	OFFER_JSON_ONLY = 1 << 2,
};

#define ACCEPT_CLAUSES_MAX 32

/* accept NULL or empty: JSON. -ENOTSUP with code 406 when nothing of it can be served. */
int media_negotiate(struct arena *arena, const char *accept, unsigned offer,
		    struct media *ret_media, struct status *st);

enum body_type {
	BODY_JSON,
	BODY_PROTOBUF,
	BODY_JSON_PATCH,
	BODY_MERGE_PATCH,
	BODY_STRATEGIC_PATCH,
	BODY_APPLY_PATCH,
};

/* content_type NULL or empty: JSON. patch: only patch types are
 * taken. -EPROTONOSUPPORT otherwise. */
int body_type_of(const char *content_type, bool patch, enum body_type *ret_type, struct status *st);
/* "application/json" and so on, with the view's parameters where the client must see them; watch:
 * the stream variant. */
const char *media_content_type(const struct media *m, bool watch);
