/* Linearizable reads without a disk write and without a lease.
 *
 * The leader notes its commit index and its clock, asks the voters whether they
 * still follow it, and believes its index once a majority has returned a stamp
 * that is not older: had another leader been elected before, one of them would be in
 * a newer term and would have kept silent. Results of AppendEntries return stamps
 * too, so under load no extra message is needed, only sent. Readers that arrive
 * while a round is under way wait for the next one: one round serves them all. A
 * follower asks the leader for such an index and waits until it has applied so far.
 *
 * waiting -> asked (a round, or a question to the leader, is under way) -> applying -> done */
#include "controlplane/consensus/replica_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/source.h"

#define ASK_AGAIN_MS 100

void reads_init(struct replica *r)
{
	list_init(&r->reads.waiting);
	list_init(&r->reads.asked);
	list_init(&r->reads.applying);
	/* An answer to what we asked before a restart must not pass for one to what we ask now. */
	r->reads.request = source_random_u64(r->host->source);
}

static void move_all(struct list *from, struct list *to)
{
	list_for_each(read, from, struct read, link) {
		list_remove(&read->link);
		list_push_back(to, &read->link);
	}
}

static void finish(struct replica *r, struct read *read, int rc)
{
	list_remove(&read->link);
	r->reads.n--;
	if (read->peer != 0) {
		struct frame f = { .type = FRAME_READ_ANSWER,
				   .read_answer = { .request = read->request,
						    .index = read->index,
						    .term = read->term,
						    .failed = rc < 0 } };

		replica_post(r, read->peer, NULL, &f);
	} else {
		read->cb(read->ctx, rc, read->term);
	}
	free(read);
}

static int add(struct replica *r, struct read read)
{
	struct read *copy;

	if (r->reads.n >= READS_MAX)
		return -ENOBUFS;
	if (r->closing || r->dead)
		return -ECANCELED;
	copy = xmemdup(&read, sizeof(read));
	copy->deadline_ms = replica_now_ms(r) + r->config.read_timeout_ms;
	list_push_back(&r->reads.waiting, &copy->link);
	r->reads.n++;
	r->n_reads++;
	if (!r->in_turn)
		r->host->wake(r->host);
	return 0;
}

int replica_read_index(struct replica *r, consensus_read_cb cb, void *ctx)
{
	return add(r, (struct read){ .cb = cb, .ctx = ctx });
}

void reads_on_read(struct replica *r, uint64_t id, const struct frame *f)
{
	struct frame refusal = { .type = FRAME_READ_ANSWER,
				 .read_answer = { .request = f->read.request, .failed = true } };

	if (r->raft.state == RAFT_LEADER &&
	    add(r, (struct read){ .peer = id, .request = f->read.request }) == 0)
		return;
	replica_post(r, id, NULL, &refusal);
}

/* --- the leader's side --------------------------------------------------------------- */

/* The newest of our stamps that a majority of voters has returned; we ourselves count as now. */
static uint64_t majority_stamp(struct replica *r)
{
	const struct raft_configuration *c = &r->raft.configuration;
	uint64_t stamps[CORE_MEMBERS_MAX];
	unsigned n = 0;

	for (unsigned i = 0; i < c->n && n < CORE_MEMBERS_MAX; i++) {
		struct peer_state *peer;
		uint64_t stamp = UINT64_MAX;
		unsigned at = n;

		if (c->servers[i].role != RAFT_VOTER)
			continue;
		if (c->servers[i].id != r->config.id) {
			peer = replica_peer(r, c->servers[i].id);
			stamp = peer == NULL ? 0 : peer->echo;
		}
		for (; at > 0 && stamps[at - 1] < stamp; at--)
			stamps[at] = stamps[at - 1];
		stamps[at] = stamp;
		n++;
	}
	return n == 0 ? 0 : stamps[n / 2];
}

static void probe(struct replica *r)
{
	const struct raft_configuration *c = &r->raft.configuration;

	for (unsigned i = 0; i < c->n; i++) {
		struct frame f = { .type = FRAME_PROBE, .probe = { .term = r->raft.current_term } };

		if (c->servers[i].role == RAFT_VOTER && c->servers[i].id != r->config.id)
			replica_post(r, c->servers[i].id, c->servers[i].address, &f);
	}
	r->reads.asked_ms = replica_now_ms(r);
}

static void confirm(struct replica *r)
{
	if (list_empty(&r->reads.asked) || !r->guard.term_ok ||
	    majority_stamp(r) < r->reads.stamp)
		return;
	list_for_each(read, &r->reads.asked, struct read, link) {
		read->index = r->reads.index;
		read->term = r->raft.current_term;
	}
	move_all(&r->reads.asked, &r->reads.applying);
}

static void start_round(struct replica *r)
{
	if (!r->guard.term_ok || list_empty(&r->reads.waiting) || !list_empty(&r->reads.asked))
		return;
	move_all(&r->reads.waiting, &r->reads.asked);
	r->reads.index = r->raft.commit_index;
	r->reads.stamp = r->host->source->monotonic_ns(r->host->source);
	probe(r);
	confirm(r);
}

void reads_on_echo(struct replica *r, uint64_t id, uint64_t term, uint64_t echo)
{
	struct peer_state *peer = replica_peer(r, id);

	if (peer == NULL || r->raft.state != RAFT_LEADER || term != r->raft.current_term ||
	    echo <= peer->echo)
		return;
	peer->echo = echo;
	confirm(r);
}

/* --- the follower's side ------------------------------------------------------------- */

void reads_on_probe(struct replica *r, uint64_t id, const char *address, const struct frame *f)
{
	struct frame echo = { .type = FRAME_ECHO,
			      .probe = { .term = f->probe.term, .echo = f->stamp } };

	if (r->raft.current_term == f->probe.term && r->raft.state == RAFT_FOLLOWER)
		replica_post(r, id, address, &echo);
}

static void ask_leader(struct replica *r)
{
	struct frame f = { .type = FRAME_READ };
	uint64_t leader;
	const char *address;

	if (list_empty(&r->reads.waiting) || !list_empty(&r->reads.asked) ||
	    !replica_leader(r, &leader, &address) || leader == r->config.id)
		return;
	f.read.request = ++r->reads.request;
	if (replica_post(r, leader, address, &f) < 0)
		return;
	r->reads.asked_ms = replica_now_ms(r);
	move_all(&r->reads.waiting, &r->reads.asked);
}

void reads_on_answer(struct replica *r, uint64_t id, const struct frame *f)
{
	(void)id;
	if (f->read_answer.request != r->reads.request || r->raft.state == RAFT_LEADER)
		return;
	if (f->read_answer.failed) {
		move_all(&r->reads.asked, &r->reads.waiting);
		return; /* The next tick asks again. */
	}
	list_for_each(read, &r->reads.asked, struct read, link) {
		read->index = f->read_answer.index;
		read->term = f->read_answer.term;
	}
	move_all(&r->reads.asked, &r->reads.applying);
}

/* --- both ---------------------------------------------------------------------------- */

/* Whoever was asked is no longer who must answer. */
void reads_leader_changed(struct replica *r)
{
	r->reads.request++; /* An answer under way does not count any more. */
	for (size_t i = 0; i < r->n_peers; i++)
		r->peers[i].echo = 0;
	move_all(&r->reads.asked, &r->reads.waiting);
	list_for_each(read, &r->reads.waiting, struct read, link)
		if (read->peer != 0 && r->raft.state != RAFT_LEADER)
			finish(r, read, -ESHUTDOWN);
}

void reads_turn(struct replica *r)
{
	if (r->raft.state == RAFT_LEADER)
		start_round(r);
	else
		ask_leader(r);
	list_for_each(read, &r->reads.applying, struct read, link)
		if (read->index <= r->raft.last_applied)
			finish(r, read, 0);
}

static void expire(struct replica *r, struct list *reads, uint64_t now_ms)
{
	list_for_each(read, reads, struct read, link)
		if (read->deadline_ms <= now_ms)
			finish(r, read, -ETIMEDOUT);
}

void reads_tick(struct replica *r)
{
	uint64_t now_ms = replica_now_ms(r);

	if (r->reads.n == 0)
		return;
	expire(r, &r->reads.waiting, now_ms);
	expire(r, &r->reads.asked, now_ms);
	expire(r, &r->reads.applying, now_ms);
	if (list_empty(&r->reads.asked) || now_ms - r->reads.asked_ms < ASK_AGAIN_MS)
		return;
	if (r->raft.state == RAFT_LEADER)
		probe(r);
	else
		reads_leader_changed(r);
}

void reads_close(struct replica *r, int rc)
{
	struct list *lists[] = { &r->reads.waiting, &r->reads.asked, &r->reads.applying };

	for (size_t i = 0; i < array_size(lists); i++)
		list_for_each(read, lists[i], struct read, link)
			finish(r, read, rc);
}
