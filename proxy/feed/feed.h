/* Keeps a world equal to what the masters say.
 *
 * One WatchRequest at a time, parked at any one master; when that goes the next
 * connected one is asked for the changes since the revision already known. Without any
 * master the world simply stays as it is. Masters that join the cluster are dialled,
 * those that left are let go. Loop thread. */
#pragma once

#include "common/io/loop.h"
#include "common/io/sp_client.h"
#include "proxy/world/world.h"

#define FEED_MASTERS_MAX 16

struct feed_config {
	const char *ca_pem, *cert_pem, *key_pem;
	const char *const *masters; /* host:port of their node endpoints; ends with NULL. */
	/* The world changed (or became complete). Called on the loop, once per answer. */
	void (*on_change)(void *arg);
	/* These are the masters now, to be remembered for the next start; ends with NULL. May be
	 * NULL. */
	void (*on_masters)(void *arg, const char *const *masters);
	void *arg;
};

struct feed;

int feed_create(struct io_loop *loop, const struct feed_config *config, struct world *world,
		struct feed **ret, struct status *st);
void feed_close(struct feed *f, void (*on_closed)(void *arg), void *arg);
/* The address of the master that answers at present; "" for none. */
const char *feed_master(const struct feed *f);
uint64_t feed_revision(const struct feed *f);

/* Apply one answer to the world. Pure; exported for tests and fuzzing. */
struct feed_place {
	uint64_t revision;      /* Known so far; 0: nothing. */
	uint64_t full_revision; /* Of a full answer's first page while the rest is on its way. */
	char *continue_key;     /* Of the next page, or NULL. free() it. */
};

/* EPROTO: the bytes are no answer; else the error that the answer carries. *ret_reply is the
 * caller's to free, and has a watch. */
struct SampanNode__Reply;
int feed_take_reply(struct world *w, struct feed_place *place, struct bytes packed,
		    struct SampanNode__Reply **ret_reply, struct status *st);
