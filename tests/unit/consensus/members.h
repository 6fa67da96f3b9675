/* Real members of a cluster in one process and one loop: real files, real TLS over
 * loopback. Their state machine is the list of entries they applied. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "common/base/buf.h"
#include "controlplane/consensus/consensus.h"
#include "tests/unit/consensus/pki.h"

#define MEMBERS_MAX 7

struct cluster;

struct member {
	struct cluster *cluster;
	uint64_t id;
	char dir[96], address[32];
	char *cert, *key;
	struct consensus *consensus; /* NULL: down. */
	bool closed;
	struct buf applied; /* Entries, each followed by a newline. */
	size_t n_applied;
	uint64_t last_index;
	bool leading;
	unsigned led, lost, restored, storage_low;
	struct buf messages; /* "from:text\n" */
};

struct cluster {
	uv_loop_t loop;
	struct pki pki;
	char dir[64];
	struct member members[MEMBERS_MAX];
	uint64_t log_bytes, segment_bytes, low_water_bytes;
	uint16_t base_port;
};

void cluster_init(struct cluster *c);
/* Close everything, remove all files. */
void cluster_fini(struct cluster *c);
/* Members 1..n with files and certificates, none running; the first one is bootstrapped. */
void cluster_prepare(struct cluster *c, unsigned n);
void member_start(struct member *m);
/* In an orderly way, to the end. */
void member_stop(struct member *m);
/* Members 1..n running, all of them voters. */
void cluster_start(struct cluster *c, unsigned n);
void cluster_join(struct cluster *c, struct member *m);

/* Turn the loop until check holds; false after a long time. */
bool cluster_until(struct cluster *c, bool (*check)(struct cluster *c, void *ctx), void *ctx);
struct member *cluster_leader(struct cluster *c); /* Waits for one. */
/* Propose at the leader and wait for the outcome, which is returned. */
int cluster_propose(struct cluster *c, const char *text);
/* Every running member has applied n entries, all the same. */
void cluster_expect_applied(struct cluster *c, size_t n);
