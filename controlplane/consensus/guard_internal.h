/* Shared by guard.c and guard_recv.c; nobody else includes it. */
#pragma once

#include "controlplane/consensus/guard.h"

void guard_fatal(struct guard *g, int exit_code, const char *why);
void guard_on_tick(struct raft_io *below);
void guard_on_message(struct raft_io *below, struct raft_message *m);
/* R19: about to stand for election with nobody to ask. */
int guard_prepare_self_election(struct guard *g);
/* Replay what was held until our barrier was stored (R4), or until no write was under way (R10). */
void guard_release_results(struct guard *g);
void guard_release_snapshot(struct guard *g);
void guard_forget_snapshot(struct guard *g);
