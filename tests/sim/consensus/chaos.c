/* One seed: a time of trouble, then everything heals, clients go on for a while, and
 * all nodes must come to the same end. */
#include "tests/sim/consensus/world.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "common/base/alloc.h"

#define HEAL_MS 15000
#define SETTLE_MS 10000

/* --- clients ---------------------------------------------------------------------------- */

static void write_some(struct world *w)
{
	struct node *n = &w->nodes[world_random(w, w->options.nodes)];
	unsigned k = 1 + world_random(w, 3);

	while (k-- > 0 && node_runs(n) && replica_leading(n->replica))
		node_propose(n, world_chance(w, 20) ? 2500 : 8 + world_random(w, 200));
}

static void on_read(void *ctx, int rc, uint64_t term)
{
	struct read_probe *p = ctx;

	(void)term;
	if (rc == 0 && node_runs(p->node) && p->node->n_applied < p->must_have)
		world_violate(p->world, "safety: node %u read at %zu what was acknowledged up to %zu",
			      p->node->number, p->node->n_applied, p->must_have);
	p->world->n_reads += rc == 0;
	free(p);
}

static void read_some(struct world *w)
{
	struct node *n = &w->nodes[world_random(w, w->options.nodes)];
	struct read_probe *p;

	if (!node_runs(n))
		return;
	p = xmalloc(sizeof(*p));
	*p = (struct read_probe){ w, n, w->acked_position };
	if (replica_read_index(n->replica, on_read, p) < 0)
		free(p);
}

static void on_change(void *ctx, int rc)
{
	struct world *w = ctx;

	w->n_changes += rc == 0;
}

/* Voters become standbys and back, never fewer than three voters. */
static void change_members(struct world *w)
{
	struct node *leader = world_leader(w);
	struct raft *r;
	struct raft_server *s;

	if (leader == NULL)
		return;
	r = replica_core(leader->replica);
	s = &r->configuration.servers[world_random(w, r->configuration.n)];
	if (world_chance(w, 8)) {
		replica_transfer(leader->replica, 0, NULL, NULL);
	} else if (s->role == RAFT_VOTER) {
		if (core_voters(r) > 3 || (w->options.nodes == 3 && core_voters(r) > 2))
			replica_member_assign(leader->replica, s->id, CONSENSUS_STANDBY, on_change,
					      w);
	} else {
		replica_member_assign(leader->replica, s->id, CONSENSUS_VOTER, on_change, w);
	}
}

/* --- trouble ------------------------------------------------------------------------------ */

static void trouble_links(struct world *w)
{
	unsigned n = w->options.nodes, a = world_random(w, n), b = world_random(w, n);
	unsigned harsh = w->options.harsh ? 3 : 1;

	if (world_chance(w, 1500)) {
		w->up[a][b] = false;
		if (world_chance(w, 2))
			w->up[b][a] = false;
	}
	if (world_chance(w, 400))
		world_join(w, a, b);
	if (world_chance(w, 2500 / harsh)) {
		struct node *leader = world_leader(w);

		if (leader != NULL && !world_chance(w, 3))
			a = leader->number;
		for (unsigned i = 0; i < n; i++)
			world_cut(w, a, i);
		/* It goes on writing for nobody. */
		for (unsigned k = world_random(w, 6); harsh > 1 && k > 0; k--)
			write_some(w);
	}
	if (harsh > 1 && world_chance(w, 500)) {
		for (unsigned i = 0; i < n; i++)
			if (i != b)
				world_cut(w, a, i);
		world_join(w, a, b);
	}
	if (world_chance(w, 1500))
		world_connect_all(w);
	if (world_chance(w, 1000)) {
		w->drop_percent = world_chance(w, 2) ? 0 : world_random(w, 30);
		w->repeat_percent = world_chance(w, 2) ? 0 : world_random(w, 10);
		w->latency_ms = world_chance(w, 3) ? 5 + world_random(w, 300) : 2 + world_random(w, 20);
	}
}

static void trouble_nodes(struct world *w)
{
	struct node *n = &w->nodes[world_random(w, w->options.nodes)];

	if (world_chance(w, 4000))
		node_crash(n, world_chance(w, 2));
	/* The lights go out in the middle of something. */
	if (world_chance(w, 4000) && node_runs(n))
		sim_fs_die_in(n->fs, 1 + world_random(w, 8));
	if (world_chance(w, 20000))
		for (unsigned i = 0; i < w->options.nodes; i++)
			node_crash(&w->nodes[i], true);
	if (world_chance(w, 500) && n->replica == NULL)
		node_start(n);
	if (world_chance(w, 2000))
		n->slow_until_ns = w->source.now_ns + world_random(w, 3000) * 1000000ull;
}

static void trouble_disks(struct world *w)
{
	struct node *n = &w->nodes[world_random(w, w->options.nodes)];

	if (world_chance(w, 3000))
		sim_fs_fail_in(n->fs, 1 + world_random(w, 6), world_chance(w, 2) ? -EIO : -ENOSPC);
	if (world_chance(w, 3000))
		n->fail_next_append = 1;
	if (world_chance(w, 5000))
		sim_fs_set_capacity(n->fs, sim_fs_used(n->fs) + world_random(w, 20000));
	if (world_chance(w, 1000))
		sim_fs_set_capacity(n->fs, 0);
}

static void trouble(struct world *w)
{
	trouble_links(w);
	trouble_nodes(w);
	if (w->options.io_faults)
		trouble_disks(w);
	if (w->options.membership && world_chance(w, 60))
		change_members(w);
}

static void restart_missing(struct world *w)
{
	for (unsigned i = 0; i < w->options.nodes && w->violation[0] == '\0'; i++)
		if (w->nodes[i].replica == NULL)
			node_start(&w->nodes[i]);
}

/* Steps are not taken one by one from here: a few virtual milliseconds at a time, as many draws as
 * events would have made. */
static void live(struct world *w, uint64_t end_ms, bool chaos, bool clients)
{
	while (w->violation[0] == '\0' && world_ms(w) < end_ms) {
		world_run(w, world_ms(w) + 1);
		if (!chaos && world_ms(w) % 1000 == 0)
			restart_missing(w);
		for (int k = 0; k < 2 && w->violation[0] == '\0'; k++) {
			if (clients && world_chance(w, 8))
				write_some(w);
			if (clients && world_chance(w, 16))
				read_some(w);
			if (chaos)
				trouble(w);
		}
	}
}

static void heal(struct world *w)
{
	world_connect_all(w);
	w->drop_percent = w->repeat_percent = 0;
	w->latency_ms = 10;
	w->fifo = true;
	for (unsigned i = 0; i < w->options.nodes; i++) {
		struct node *n = &w->nodes[i];

		n->slow_until_ns = 0;
		n->fail_next_append = 0;
		sim_fs_set_capacity(n->fs, 0);
		sim_fs_fail_in(n->fs, 0, 0);
		sim_fs_die_in(n->fs, 0);
		if (n->replica == NULL)
			node_start(n);
	}
}

static void check_same_end(struct world *w)
{
	for (unsigned i = 0; i < w->options.nodes && w->violation[0] == '\0'; i++) {
		struct node *n = &w->nodes[i];
		struct raft *r;

		if (!node_runs(n)) {
			world_violate(w, "progress: node %u does not run", i);
			return;
		}
		r = replica_core(n->replica);
		/* A spare gets nothing, by intention; our changes make none. */
		if (n->n_applied != w->n_order)
			world_violate(w, "progress: node %u applied %zu of %zu (state %d, stored "
				      "%llu, commit %llu)", i, n->n_applied, w->n_order, r->state,
				      r->last_stored, r->commit_index);
	}
}

void chaos_run(struct world *w)
{
	size_t acked;

	world_bootstrap(w);
	/* What was initialised stays so, whatever happens before the first start. */
	for (unsigned i = 0; i < w->options.nodes; i++)
		if (world_chance(w, 3))
			sim_fs_power_cut(w->nodes[i].fs);
	for (unsigned i = 0; i < w->options.nodes; i++)
		node_start(&w->nodes[i]);
	live(w, world_ms(w) + w->options.chaos_ms, true, true);
	if (w->violation[0] != '\0')
		return;
	heal(w);
	acked = w->n_acked;
	live(w, world_ms(w) + HEAL_MS, false, true);
	if (w->violation[0] == '\0' && w->n_acked == acked)
		world_violate(w, "progress: no commit in %d ms after everything healed", HEAL_MS);
	restart_missing(w);
	live(w, world_ms(w) + SETTLE_MS, false, false);
	check_same_end(w);
	if (w->violation[0] == '\0')
		oracle_end(w);
}
