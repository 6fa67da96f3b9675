/* What the layers above need of the replicated log, as a table, so that tests and
 * the simulator can put their own in its place. The functions behave as those of
 * consensus.h. The table must outlive its users. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

typedef void log_propose_cb(void *ctx, int rc);

struct log_link {
	void *ctx;
	/* data is malloc'ed and taken over. */
	int (*propose)(void *ctx, void *data, size_t n, log_propose_cb *cb, void *cb_ctx);
	/* cb(0): this master leads, and led when it was asked, by the word of a majority; nothing is
	 * written. Like propose, it never calls back inside the call. */
	int (*confirm)(void *ctx, log_propose_cb *cb, void *cb_ctx);
	size_t (*entry_bytes_max)(void *ctx);
	int (*send)(void *ctx, uint64_t to, struct bytes message);
	/* Proposals are taken. */
	bool (*leading)(void *ctx);
	/* 0: unknown. */
	uint64_t (*leader)(void *ctx);
	/* Ids of all members, this one too; returns how many there are. */
	size_t (*members)(void *ctx, uint64_t *ret_ids, size_t cap);
};
