#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/base/alloc.h"
#include "common/base/log.h"
#include "controlplane/writes/internal.h"

/*   queue --decide--> open batch --propose--> batches in flight --apply--> answered
 *     ^                                              |
 *     +----------- a precondition failed ------------+
 *
 * A decided request stays with its batch even if it needs no plan, because what it
 * was decided on may be in flight. When nothing is in flight, a majority has to
 * confirm that we lead still: somebody who was cut off decides by a state that is
 * not the cluster's any more. */

/* Entries between two checkpoints of the state's hash. */
#define CHECKPOINT_ENTRIES 64
/* Of one turn: what is left waits until heartbeats have gone out. */
#define TURN_NS (20ull * 1000000)
/* What an entry costs beyond its plans. */
#define ENTRY_OVERHEAD_BYTES 256

static int compare_sequence(const void *key, const struct tree_node *node)
{
	const struct incoming *a = key;
	const struct incoming *b =
		tree_entry((struct tree_node *)node, struct incoming, by_sequence);

	if (a->session != b->session)
		return a->session < b->session ? -1 : 1;
	return a->sequence < b->sequence ? -1 : a->sequence > b->sequence;
}

void leader_init(struct writes *w)
{
	list_init(&w->queue);
	list_init(&w->batches);
	list_init(&w->confirming);
	tree_init(&w->incoming, compare_sequence);
	w->proposer = source_random_u64(w->config.source);
	w->next_batch = 1;
}

static uint64_t now_ns(const struct writes *w)
{
	return w->config.source->monotonic_ns(w->config.source);
}

/* --- Taking ------------------------------------------------------------------------ */

static struct incoming *incoming_create(struct writes *w)
{
	struct incoming *i = xcalloc(1, sizeof(*i));

	list_init(&i->link);
	arena_init(&i->arena, 0);
	arena_init(&i->body, BODY_BUDGET_BYTES);
	return i;
}

/* What the state says about the session, before anything is decided. */
static void check_session(struct writes *w, struct incoming *i)
{
	struct plan_result known;

	if (store_session_result(w->config.store, i->session, i->sequence, &known)) {
		i->known = true;
		i->known_revision = known.revision;
	} else if (!i->first && !store_has_session(w->config.store, i->session)) {
		i->st.rc = -EKEYEXPIRED;
	}
}

void leader_take(struct writes *w, const SampanMaster__WriteRequest *request, struct outgoing *o,
		 struct rpc_asked asked)
{
	struct incoming probe = { .session = request->session, .sequence = request->sequence };
	struct tree_node *there = NULL;
	struct incoming *i;

	if (probe.session != 0)
		there = tree_find(&w->incoming, &probe);
	if (there != NULL) {
		/* Sent again while the first is under way: only the way back is new. */
		i = tree_entry(there, struct incoming, by_sequence);
		i->asked = asked;
		i->outgoing = o;
		if (o != NULL)
			o->incoming = i;
		return;
	}
	i = incoming_create(w);
	i->session = probe.session;
	i->sequence = probe.sequence;
	i->lowest_outstanding = request->lowest_outstanding;
	i->first = request->first;
	i->asked = asked;
	i->outgoing = o;
	i->request = o != NULL ? request : request_copy(request, &i->arena);
	if (o != NULL)
		o->incoming = i;
	if (i->session != 0) {
		tree_insert(&w->incoming, i, &i->by_sequence);
		check_session(w, i);
	}
	if (w->n_queued >= OPEN_MAX && i->st.rc == 0) {
		status_set(&i->st, -EAGAIN, "too many requests are waiting; try again later");
		i->st.retry_after_s = 1;
	}
	list_push_back(&w->queue, &i->link);
	w->n_queued++;
}

static struct incoming *pop(struct writes *w)
{
	struct incoming *i = list_first(&w->queue, struct incoming, link);

	list_remove(&i->link);
	w->n_queued--;
	return i;
}

/* --- Deciding ------------------------------------------------------------------------ */

static struct batch *open_batch(struct writes *w)
{
	if (w->open == NULL) {
		struct batch *b = xcalloc(1, sizeof(*b));

		list_init(&b->link);
		list_init(&b->incoming);
		b->number = w->next_batch++;
		b->writes = w;
		w->open = b;
	}
	return w->open;
}

static void begin_change(struct writes *w, struct batch *b, struct incoming *i)
{
	size_t max = w->config.link->entry_bytes_max(w->config.link->ctx);

	arena_reset(&i->body);
	plan_init(&i->plan, &i->arena);
	w->context.now_ns = cluster_clock_now_ns(&w->clock);
	i->change = (struct write_change){
		.context = &w->context,
		.arena = &i->arena,
		.body = &i->body,
		.plan = &i->plan,
		.batch = b->number,
		.plan_bytes_max = max > ENTRY_OVERHEAD_BYTES ? max - ENTRY_OVERHEAD_BYTES : 1,
	};
}

static void add_plan(struct batch *b, struct incoming *i)
{
	i->plan_index = b->n_plans;
	array_grow(b->plans, b->n_plans, b->cap_plans);
	b->plans[b->n_plans++] = &i->plan.message;
	b->bytes += i->plan.bytes;
	b->writes->stats.plans++;
}

static void decide_into(struct writes *w, struct batch *b, struct incoming *i)
{
	list_push_back(&b->incoming, &i->link);
	if (i->known || i->st.rc < 0)
		return;
	i->attempts++;
	i->failures_seen = w->plan_failures;
	begin_change(w, b, i);
	if (decide_request(&i->change, i->request, &i->decision, &i->st) < 0) {
		w->stats.refused++;
		i->change.changed = false;
		return;
	}
	if (i->plan.message.n_operations == 0)
		return;
	if (i->session != 0) {
		SampanStore__Plan *plan = &i->plan.message;

		plan->has_session = plan->has_sequence = plan->has_lowest_outstanding = true;
		plan->session = i->session;
		plan->sequence = i->sequence;
		plan->lowest_outstanding = i->lowest_outstanding;
		/* First in time, last in the list: the result's revision is the object's. */
		if (!store_has_session(w->config.store, i->session))
			plan_open_session(&i->plan, i->session, SESSION_TTL_MS);
	}
	add_plan(b, i);
}

int writes_submit_intents(struct writes *w, const struct intents *intents, writes_intents_cb *done,
			  void *ctx, const struct intent **ret_refused, struct status *st)
{
	if (!w->leading)
		return status_set(st, -ESHUTDOWN, "this master does not lead");
	if (w->storage_low)
		return status_set(st, -ENOSPC, "the disk is almost full");
	if (cluster_clock_wait_ns(&w->clock) != UINT64_MAX)
		return status_set(st, -EAGAIN, "the cluster's time is not known yet");
	if (w->n_batches >= 4 * BATCHES_MAX)
		return status_set(st, -EAGAIN, "too many entries are in flight");

	struct batch *b = open_batch(w);
	struct incoming *i = incoming_create(w);

	begin_change(w, b, i);
	i->change.user = "system:sampan:controllers";

	int rc = decide_intents(&i->change, intents, ret_refused, st);

	/* What is in flight does the work, or is refused: look again when that is known. */
	if (rc == 0 && i->plan.message.n_operations == 0 && (w->n_batches > 0 || b->n_plans > 0))
		rc = status_set(st, -EAGAIN, "somebody else's write is in flight");
	if (rc < 0 || i->plan.message.n_operations == 0) {
		incoming_free(w, i);
		return rc;
	}
	i->intents_done = done;
	i->intents_ctx = ctx;
	i->change.changed = true;
	list_push_back(&b->incoming, &i->link);
	add_plan(b, i);
	if (b->bytes >= BATCH_BYTES || b->n_plans >= BATCH_PLANS_MAX)
		leader_propose(w);
	return 1;
}

/* --- Proposing ------------------------------------------------------------------------ */

static void batch_free(struct batch *b)
{
	assert(list_empty(&b->incoming));
	free(b->plans);
	free(b);
}

static void return_incoming(struct writes *w, struct incoming *i)
{
	if (i->intents_done != NULL) {
		status_set(&i->st, -ESHUTDOWN, "leadership was lost");
		incoming_answer(w, i);
		return;
	}
	if (i->outgoing != NULL) {
		outgoing_again(i->outgoing, 0);
		i->outgoing = NULL;
	} else if (i->asked.from != 0) {
		SampanMaster__Message message = SAMPAN_MASTER__MESSAGE__INIT;
		SampanMaster__NotLeader not_leader = SAMPAN_MASTER__NOT_LEADER__INIT;

		message.not_leader = &not_leader;
		rpc_reply(w->config.rpc, i->asked, &message);
	}
	incoming_free(w, i);
}

static void return_all(struct writes *w, struct list *incoming)
{
	while (!list_empty(incoming))
		return_incoming(w, list_first(incoming, struct incoming, link));
}

static void answer_all(struct writes *w, struct list *incoming)
{
	while (!list_empty(incoming))
		incoming_answer(w, list_first(incoming, struct incoming, link));
}

static void on_proposed(void *ctx, int rc)
{
	struct batch *b = ctx;
	struct writes *w = b->writes;

	if (!b->settled) {
		/* Either way the entry did not come back as ours: only sessions know what became of
		 * it. */
		assert(rc < 0);
		list_remove(&b->link);
		w->n_batches--;
		overlay_applied(w->overlay, b->number);
		return_all(w, &b->incoming);
	}
	batch_free(b);
}

static void *pack_entry(struct writes *w, const struct batch *b, size_t *ret_n)
{
	SampanStore__Entry entry = SAMPAN_STORE__ENTRY__INIT;
	SampanStore__Checkpoint checkpoint = SAMPAN_STORE__CHECKPOINT__INIT;

	entry.has_level = entry.has_time_ns = entry.has_proposer = entry.has_number = true;
	entry.level = STORE_LEVEL;
	entry.time_ns = w->context.now_ns;
	entry.proposer = w->proposer;
	entry.number = b->number;
	entry.n_plans = b->n_plans;
	entry.plans = b->plans;
	/* Only when nothing is in flight is our state the one before this entry. */
	if (w->n_batches == 0 && ++w->checkpoint_entries >= CHECKPOINT_ENTRIES) {
		checkpoint.has_revision = checkpoint.has_hash = true;
		checkpoint.revision = store_revision(w->config.store);
		checkpoint.hash = store_hash(w->config.store);
		entry.checkpoint = &checkpoint;
		w->checkpoint_entries = 0;
	}
	*ret_n = sampan_store__entry__get_packed_size(&entry);

	void *data = xmalloc(*ret_n);

	sampan_store__entry__pack(&entry, data);
	return data;
}

static void on_confirmed(void *ctx, int rc)
{
	struct batch *b = ctx;
	struct writes *w = b->writes;

	if (!b->settled) {
		list_remove(&b->link);
		if (rc == 0)
			answer_all(w, &b->incoming);
		else
			return_all(w, &b->incoming);
	}
	batch_free(b);
}

/* Nothing to propose: the answers wait for what they were decided on. */
static void settle_without_plans(struct writes *w, struct batch *b)
{
	if (list_empty(&w->batches)) {
		list_push_back(&w->confirming, &b->link);
		if (w->config.link->confirm(w->config.link->ctx, on_confirmed, b) < 0)
			on_confirmed(b, -ESHUTDOWN);
		return;
	}

	struct batch *last = container_of(w->batches.prev, struct batch, link);

	list_for_each (i, &b->incoming, struct incoming, link) {
		list_remove(&i->link);
		list_push_back(&last->incoming, &i->link);
	}
	batch_free(b);
}

static void propose_failed(struct writes *w, struct batch *b, int rc)
{
	overlay_applied(w->overlay, b->number);
	if (rc == -ENOSPC || rc == -EFBIG) {
		list_for_each (i, &b->incoming, struct incoming, link) {
			status_fini(&i->st);
			status_set(&i->st, rc,
				   rc == -ENOSPC ? "the disk of the leader is almost full"
						 : "the write is too large");
		}
		answer_all(w, &b->incoming);
	} else if (rc == -ESHUTDOWN) {
		/* Leadership is on its way to another master: not again at once. */
		w->retry_ns = now_ns(w) + RETRY_NS;
		return_all(w, &b->incoming);
	} else {
		/* Too much in flight: decide again in a moment. */
		w->retry_ns = now_ns(w) + RETRY_NS;
		list_for_each (i, &b->incoming, struct incoming, link) {
			if (i->intents_done != NULL) {
				return_incoming(w, i);
				continue;
			}
			list_remove(&i->link);
			status_fini(&i->st);
			list_push_back(&w->queue, &i->link);
			w->n_queued++;
		}
	}
	batch_free(b);
}

void leader_propose(struct writes *w)
{
	struct batch *b = w->open;
	size_t n;

	w->open = NULL;
	if (b->n_plans == 0) {
		settle_without_plans(w, b);
		return;
	}
	cluster_clock_ask(&w->clock, false);

	void *data = pack_entry(w, b, &n);
	/* The callback may only come later, so the batch can be listed after the call. */
	int rc = w->config.link->propose(w->config.link->ctx, data, n, on_proposed, b);

	if (rc < 0) {
		propose_failed(w, b, rc);
		return;
	}
	list_push_back(&w->batches, &b->link);
	w->n_batches++;
	w->stats.entries++;
}

void leader_turn(struct writes *w)
{
	uint64_t until_ns = now_ns(w) + TURN_NS;

	if (!w->leading || cluster_clock_wait_ns(&w->clock) != UINT64_MAX)
		return;
	while (!list_empty(&w->queue) && w->n_batches < BATCHES_MAX && w->retry_ns <= now_ns(w) &&
	       now_ns(w) < until_ns) {
		struct batch *b = open_batch(w);

		while (!list_empty(&w->queue) && b->bytes < BATCH_BYTES &&
		       b->n_plans < BATCH_PLANS_MAX && now_ns(w) < until_ns) {
			struct incoming *i = pop(w);

			if (w->storage_low && i->st.rc == 0)
				status_set(&i->st, -ENOSPC,
					   "the disk of the leader is almost full; free space");
			decide_into(w, b, i);
		}
		leader_propose(w);
	}
	if (w->open != NULL && w->n_batches < BATCHES_MAX && w->retry_ns <= now_ns(w))
		leader_propose(w);
}

uint64_t leader_deadline_ns(const struct writes *w)
{
	if (!w->leading || (list_empty(&w->queue) && w->open == NULL) ||
	    w->n_batches >= BATCHES_MAX)
		return UINT64_MAX;

	uint64_t wait_ns = cluster_clock_wait_ns(&w->clock);

	return wait_ns != UINT64_MAX ? wait_ns : w->retry_ns;
}

/* --- Results --------------------------------------------------------------------------- */

static void set_refusal(struct incoming *i, int rc)
{
	const struct kind *kind = i->decision.kind;
	const char *name = i->change.name != NULL ? i->change.name : "";

	if (kind == NULL || rc == -EKEYEXPIRED)
		status_set(&i->st, rc, "the write was refused");
	else if (rc == -EEXIST)
		refuse_existing(&i->st, kind, name);
	else if (rc == -ENOENT)
		refuse_missing(&i->st, kind, name);
	else if (rc == -ENOBUFS || rc == -ENOSPC)
		status_set(&i->st, -EAGAIN, "too many writes are unacknowledged; try again later");
	else
		refuse_stale(&i->st, kind, name);
	i->st.rc = rc;
}

static void decide_again(struct writes *w, struct incoming *i)
{
	w->stats.repeated++;
	status_fini(&i->st);
	i->st = (struct status){ 0 };
	list_remove(&i->link);
	list_push_front(&w->queue, &i->link);
	w->n_queued++;
}

static void settle(struct writes *w, struct incoming *i, const struct plan_result *result)
{
	bool planned = i->plan.message.n_operations > 0 && i->st.rc == 0 && !i->known;

	if (!planned) {
		/* It needed no plan because of another's, which then was refused. */
		if (i->failures_seen != w->plan_failures && !i->known && i->attempts > 0 &&
		    i->attempts < ATTEMPTS_MAX)
			decide_again(w, i);
		else
			incoming_answer(w, i);
		return;
	}
	if (result->rc == 0) {
		if (!i->change.removed)
			i->change.revision = result->revision;
		incoming_answer(w, i);
		return;
	}

	bool orphan = i->outgoing == NULL && i->asked.from == 0;
	bool refused = result->rc == -ESTALE || result->rc == -EEXIST || result->rc == -ENOENT ||
		       result->rc == -EADDRINUSE;

	if (i->intents_done == NULL && !orphan && refused && i->attempts < ATTEMPTS_MAX &&
	    (i->decision.repeatable || result->rc == -EADDRINUSE)) {
		decide_again(w, i);
		return;
	}
	if (i->intents_done != NULL)
		i->st.rc = result->rc;
	else
		set_refusal(i, result->rc);
	incoming_answer(w, i);
}

void leader_applied(struct writes *w, uint64_t number, const struct plan_result *results, size_t n)
{
	struct batch *b = NULL;

	list_for_each (each, &w->batches, struct batch, link)
		if (each->number == number)
			b = each;
	if (b == NULL)
		return; /* Proposed before leadership was lost; its requests went elsewhere. */
	assert(n == b->n_plans);
	b->settled = true;
	list_remove(&b->link);
	w->n_batches--;
	overlay_applied(w->overlay, number);
	for (size_t k = 0; k < n; k++)
		w->plan_failures += results[k].rc < 0;
	while (!list_empty(&b->incoming)) {
		struct incoming *i = list_first(&b->incoming, struct incoming, link);

		settle(w, i, &results[i->plan_index]);
	}
}

void leader_lost(struct writes *w)
{
	list_for_each (b, &w->batches, struct batch, link) {
		b->settled = true;
		list_remove(&b->link);
		return_all(w, &b->incoming);
	}
	w->n_batches = 0;
	list_for_each (b, &w->confirming, struct batch, link) {
		b->settled = true;
		list_remove(&b->link);
		return_all(w, &b->incoming);
	}
	if (w->open != NULL) {
		return_all(w, &w->open->incoming);
		batch_free(w->open);
		w->open = NULL;
	}
	return_all(w, &w->queue);
	w->n_queued = 0;
	w->retry_ns = 0;
	overlay_clear(w->overlay);
}

void leader_fini(struct writes *w)
{
	leader_lost(w);
}
