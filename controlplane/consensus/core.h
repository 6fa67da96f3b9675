/* libraft, and the parts of its insides that we look at and mend.
 *
 * Only 0.15 has these structures; the sizes below and the version in meson.build
 * refuse any other. Its errors are small positive numbers that mean something else
 * everywhere else: errno_of_raft() and raft_of_errno() translate, at the call. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <raft.h>

#include "common/base/buf.h"

_Static_assert(sizeof(struct raft) == 656, "libraft 0.15: struct raft");
_Static_assert(sizeof(struct raft_log) == 72, "libraft 0.15: struct raft_log");
_Static_assert(sizeof(struct raft_progress) == 56, "libraft 0.15: struct raft_progress");
_Static_assert(sizeof(struct raft_io) == 408, "libraft 0.15: struct raft_io");

/* raft_progress.state */
enum core_progress { CORE_PROBE, CORE_PIPELINE, CORE_SNAPSHOT };

#define CORE_MEMBERS_MAX 32

int errno_of_raft(int rv);
int raft_of_errno(int rc);

size_t core_log_count(const struct raft *r);
/* NULL when the log in memory does not hold it. */
const struct raft_entry *core_log_entry(const struct raft *r, raft_index index);
/* 0 when it is not known. */
raft_term core_log_term(const struct raft *r, raft_index index);

const struct raft_server *core_server(const struct raft *r, raft_id id);
/* Position in the configuration, or -1. */
int core_position(const struct raft *r, raft_id id);
unsigned core_voters(const struct raft *r);

/* The encoding is libraft's own; decoding here trusts nothing. *ret_c is initialised in any case. */
int core_configuration_decode(struct bytes encoded, struct raft_configuration *ret_c);
void core_configuration_copy(const struct raft_configuration *from,
			     struct raft_configuration *ret_c);
