/* How stored objects look on the wire: as they are, as metadata alone, or as rows;
 * one by one, as a list, or as watch events; in JSON or in protobuf.
 *
 * Objects are printed from their packed bytes; only rows of tables are unpacked.
 * Pure: nothing is kept, scratch memory goes before each call returns. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/api/kinds.h"
#include "common/base/arena.h"
#include "common/base/buf.h"
#include "controlplane/apiserver/negotiate.h"

enum include_object { INCLUDE_METADATA, INCLUDE_NONE, INCLUDE_OBJECT };

struct rendering {
	struct media media;
	enum include_object include; /* What a row carries beside its cells. */
	/* What the objects are called: of the kind asked for, or of its subresource. */
	const char *api_version, *kind, *list_kind;
	const ProtobufCMessageDescriptor *descriptor;
	int64_t now_ns; /* For ages. */
};

/* One object, ready to be shown: clear text, of the rendering's descriptor. */
struct item {
	struct bytes packed;
	uint64_t revision;
};

struct list_head {
	uint64_t revision;
	const char *continue_token; /* NULL: complete. */
};

void rendering_of_kind(struct rendering *r, const struct kind *kind, const struct media *media,
		       int64_t now_ns);
/* One whole object. A table's columns are left out where the client has them already. */
void render_object(struct buf *out, const struct rendering *r, const struct item *item,
		   bool with_columns);

/* A list is its beginning, its items one after the other, and its end. In protobuf the parts are
 * the inside of the envelope, which render_list_wrap() puts around them. */
void render_list_begin(struct buf *out, const struct rendering *r, const struct list_head *head);
void render_list_item(struct buf *out, const struct rendering *r, const struct item *item,
		      bool first);
void render_list_end(struct buf *out, const struct rendering *r);
void render_list_wrap(struct buf *out, const struct rendering *r, struct bytes list);

/* One watch event around an object, or around a packed meta.v1.Status for ERROR. */
void render_event(struct buf *out, const struct rendering *r, const char *type,
		  const struct item *item, bool with_columns);
void render_event_status(struct buf *out, enum media_format format, struct bytes packed_status);
/* A BOOKMARK: an object of the kind with nothing but its resourceVersion; initial: the one that
 * ends the initial events. */
void render_bookmark(struct buf *out, const struct rendering *r, uint64_t revision, bool initial);
