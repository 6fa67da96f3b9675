#include <errno.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "proto/sampan/node.pb-c.h"
#include "proxy/feed/feed.h"

static const char *text(const char *t)
{
	return t != NULL ? t : "";
}

static void apply(struct world *w, const SampanNode__Change *change)
{
	auto_with(status_fini) struct status st = { 0 };
	struct bytes packed = { change->object.data, change->object.len };
	const SampanNode__Held *key = change->key;

	if (key == NULL)
		return;
	if (world_apply(w, text(key->resource), text(key->namespace_), text(key->name),
			change->deleted ? NULL : &packed, &st) < 0)
		log_warn("cannot use an object", "resource=%s namespace=%s name=%s error=%s",
			 log_quote(text(key->resource)), log_quote(text(key->namespace_)),
			 log_quote(text(key->name)), log_quote(st.message));
}

/* Changes that came while the pages were read are asked for again from the first page's revision
 * on. */
static void take_page(struct world *w, struct feed_place *place,
		      const SampanNode__WatchReply *watch)
{
	if (place->continue_key == NULL) {
		world_full_begin(w);
		place->full_revision = watch->revision;
	}
	free(place->continue_key);
	place->continue_key = NULL;
	for (size_t i = 0; i < watch->n_changes; i++)
		apply(w, watch->changes[i]);
	if (text(watch->continue_key)[0] != '\0') {
		place->continue_key = xstrdup(watch->continue_key);
		return;
	}
	world_full_end(w);
	place->revision = place->full_revision;
}

static int take_watch(struct world *w, struct feed_place *place,
		      const SampanNode__WatchReply *watch, struct status *st)
{
	if (watch->expired) {
		place->revision = 0;
		free(place->continue_key);
		place->continue_key = NULL;
	} else if (watch->full) {
		take_page(w, place, watch);
	} else if (place->continue_key != NULL) {
		return status_set(st, -EPROTO, "the master broke a full answer off");
	} else {
		for (size_t i = 0; i < watch->n_changes; i++)
			apply(w, watch->changes[i]);
		/* One that lags behind takes nothing back. */
		if (watch->revision > place->revision)
			place->revision = watch->revision;
	}
	return 0;
}

int feed_take_reply(struct world *w, struct feed_place *place, struct bytes packed,
		    struct SampanNode__Reply **ret_reply, struct status *st)
{
	SampanNode__Reply *reply = sampan_node__reply__unpack(NULL, packed.len, packed.data);
	int rc;

	if (reply == NULL)
		return status_set(st, -EPROTO, "the master's answer cannot be read");
	if (reply->rc < 0)
		rc = status_set(st, reply->rc, "%s", text(reply->message));
	else if (reply->watch == NULL)
		rc = status_set(st, -EPROTO, "the master answered something else");
	else
		rc = take_watch(w, place, reply->watch, st);
	if (rc < 0)
		sampan_node__reply__free_unpacked(reply, NULL);
	else
		*ret_reply = reply;
	return rc;
}
