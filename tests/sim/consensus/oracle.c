/* What must hold after every step, whatever happens to nodes, disks and links. */
#include "tests/sim/consensus/world.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

/* --- one order of commands everywhere ------------------------------------------------- */

static void check_position(struct node *n, size_t position)
{
	struct world *w = n->world;
	uint64_t command = n->applied[position];

	if (position < w->n_order) {
		if (w->order[position] != command)
			world_violate(w, "safety: node %u has command %" PRIu64
				      " at position %zu, another node has %" PRIu64, n->number,
				      command, position, w->order[position]);
		return;
	}
	array_grow(w->order, w->n_order, w->cap_order);
	w->order[w->n_order++] = command;
}

void oracle_applied(struct node *n, uint64_t index, struct bytes entry)
{
	(void)index;
	if (entry.len < sizeof(uint64_t)) {
		world_violate(n->world, "safety: node %u applies an entry of %zu bytes", n->number,
			      entry.len);
		return;
	}
	array_grow(n->applied, n->n_applied, n->cap_applied);
	memcpy(&n->applied[n->n_applied], entry.data, sizeof(uint64_t));
	check_position(n, n->n_applied++);
}

void oracle_restored(struct node *n)
{
	for (size_t i = 0; i < n->n_applied; i++)
		check_position(n, i);
}

/* --- what was reported as stored is there after a crash -------------------------------- */

static void remember_promises(struct node *n)
{
	struct raft *r = replica_core(n->replica);
	size_t stored = r->last_stored;

	n->promised_term = r->current_term;
	n->promised_vote = r->voted_for;
	/* A snapshot that is being installed takes the place of the whole log, from its first moment on. */
	if (r->last_stored == 0 && r->snapshot.put.data != NULL) {
		n->n_stored = 0;
		return;
	}
	if (r->log.snapshot.last_index > n->promised_snapshot &&
	    r->snapshot.put.data == NULL)
		n->promised_snapshot = r->log.snapshot.last_index;
	if (n->cap_stored <= stored) {
		n->cap_stored = stored + 1024;
		n->stored_terms = xreallocarray(n->stored_terms, n->cap_stored, sizeof(uint64_t));
	}
	/* From where it was on, or from where it was cut. */
	if (n->n_stored > stored)
		n->n_stored = stored;
	for (size_t i = n->n_stored; i > r->log.offset && i > 0; i--) {
		if (n->stored_terms[i] == core_log_term(r, i))
			break;
		n->stored_terms[i] = core_log_term(r, i);
	}
	for (size_t i = n->n_stored + 1; i <= stored; i++)
		n->stored_terms[i] = core_log_term(r, i);
	n->n_stored = stored;
}

void oracle_started(struct node *n)
{
	struct world *w = n->world;
	struct raft *r = replica_core(n->replica);

	if (r->current_term < n->promised_term)
		world_violate(w, "storage: node %u forgot term %" PRIu64 " (has %llu)", n->number,
			      n->promised_term, r->current_term);
	else if (r->current_term == n->promised_term && n->promised_vote != 0 &&
		 r->voted_for != n->promised_vote)
		world_violate(w, "storage: node %u forgot its vote for %" PRIu64, n->number,
			      n->promised_vote);
	if (r->log.snapshot.last_index < n->promised_snapshot)
		world_violate(w, "storage: node %u forgot the snapshot at %" PRIu64, n->number,
			      n->promised_snapshot);
	for (size_t i = n->n_stored; i > r->log.offset && i > 0; i--)
		if (n->stored_terms[i] != 0 && core_log_term(r, i) != n->stored_terms[i]) {
			world_violate(w, "storage: node %u forgot entry %zu of term %" PRIu64
				      " (has term %llu there, snapshot %llu, log from %llu to %llu)",
				      n->number, i, n->stored_terms[i], core_log_term(r, i),
				      r->log.snapshot.last_index, r->log.offset + 1,
				      r->last_stored);
			break;
		}
	n->n_stored = 0;
	remember_promises(n);
}

/* --- one leader per term ---------------------------------------------------------------- */

static void check_leader(struct node *n)
{
	struct world *w = n->world;
	struct raft *r = replica_core(n->replica);
	size_t term = r->current_term;

	if (r->state != RAFT_LEADER)
		return;
	if (term >= w->cap_terms) {
		size_t cap = term + 256;

		w->leader_of_term = xreallocarray(w->leader_of_term, cap, sizeof(uint64_t));
		memset(w->leader_of_term + w->cap_terms, 0,
		       (cap - w->cap_terms) * sizeof(uint64_t));
		w->cap_terms = cap;
	}
	if (w->leader_of_term[term] != 0 && w->leader_of_term[term] != n->number + 1)
		world_violate(w, "safety: nodes %" PRIu64 " and %u both led term %zu",
			      w->leader_of_term[term] - 1, n->number, term);
	w->leader_of_term[term] = n->number + 1;
}

void oracle_step(struct world *w)
{
	for (unsigned i = 0; i < w->options.nodes; i++) {
		struct node *n = &w->nodes[i];

		if (!node_runs(n))
			continue;
		check_leader(n);
		remember_promises(n);
		if (sim_fs_late_bytes(n->fs) > 0)
			world_violate(w, "latency: node %u synced a segment's zeros with its "
				      "entries", i);
	}
	/* How far an acknowledged command is in the order: what a read must see. */
	for (; w->acked_checked < w->n_order; w->acked_checked++)
		if (world_is_acked(w, w->order[w->acked_checked]))
			w->acked_position = w->acked_checked + 1;
}

/* --- at the end --------------------------------------------------------------------------- */

static void check_node_has_all(struct node *n)
{
	struct world *w = n->world;
	size_t found = 0, wanted = 0;

	for (size_t i = 0; i < n->n_applied; i++)
		found += world_is_acked(w, n->applied[i]);
	for (size_t i = 1; i <= w->n_commands; i++)
		wanted += world_is_acked(w, i);
	if (found != wanted)
		world_violate(w, "durability: node %u has %zu of %zu acknowledged commands",
			      n->number, found, wanted);
}

void oracle_end(struct world *w)
{
	bool *seen = xcalloc(w->n_commands + 1, sizeof(bool));

	for (size_t i = 0; i < w->n_order; i++) {
		if (w->order[i] > w->n_commands || seen[w->order[i]])
			world_violate(w, "safety: command %" PRIu64 " twice", w->order[i]);
		else
			seen[w->order[i]] = true;
	}
	for (unsigned i = 0; i < w->options.nodes && w->violation[0] == '\0'; i++) {
		struct node *n = &w->nodes[i];

		if (!node_runs(n))
			world_violate(w, "progress: node %u does not run", i);
		else
			check_node_has_all(n);
	}
	free(seen);
}
