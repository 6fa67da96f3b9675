/* Asking the door in tests: a request, its answer, what it must be. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/api/pack.h"
#include "proto/k8s/meta_v1.pb-c.h"
#include "tests/sim/cluster/cluster.h"

#define CREATE SAMPAN_MASTER__WRITE_REQUEST__VERB__CREATE
#define UPDATE SAMPAN_MASTER__WRITE_REQUEST__VERB__UPDATE
#define PATCH SAMPAN_MASTER__WRITE_REQUEST__VERB__PATCH
#define DELETE SAMPAN_MASTER__WRITE_REQUEST__VERB__DELETE

struct reply {
	struct sim *sim;
	int code;
	uint64_t revision;
	const char *message, *cause, *cause_message;
};

static inline void on_done(void *ctx, const void *write_response)
{
	const SampanMaster__WriteResponse *r = write_response;
	struct reply *reply = ctx;

	reply->code = r->code;
	reply->revision = r->revision;
	if (!r->has_status)
		return;

	const MetaV1__Status *st =
		unpack_stored(&meta_v1__status__descriptor, bytes_of(r->status.data, r->status.len),
			      &reply->sim->arena);

	reply->message = st->message;
	if (st->details != NULL && st->details->n_causes > 0) {
		reply->cause = st->details->causes[0]->reason;
		reply->cause_message = st->details->causes[0]->message;
	}
}

static inline struct reply *submit(struct sim *sim, SampanMaster__WriteRequest *request)
{
	struct reply *reply = arena_new(&sim->arena, struct reply);

	reply->sim = sim;
	writes_submit(sim->masters[0].writes, request, 10000, on_done, reply);
	return reply;
}

static inline bool is_answered(struct sim *sim, void *ctx)
{
	(void)sim;
	return ((struct reply *)ctx)->code != 0;
}

static inline struct reply *ask(struct sim *sim, SampanMaster__WriteRequest *request)
{
	struct reply *reply = submit(sim, request);

	sim_until(sim, is_answered, reply, 20, "an answer");
	return reply;
}

static inline void want(const struct reply *r, int code)
{
	if (r->code != code)
		fail_msg("expected %d, got %d: %s", code, r->code, r->message ? r->message : "");
}

static inline void create(struct sim *sim, const char *resource, const char *namespace,
			  const char *json)
{
	want(ask(sim, sim_request(sim, CREATE, resource, namespace, "", json)), 201);
}
