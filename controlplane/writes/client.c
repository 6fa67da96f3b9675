#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "controlplane/writes/internal.h"

/* Requests of this master's own clients. Whoever leads decides them; here they only
 * wait, travel, and come back. A request that was sent keeps its session and
 * sequence however often it is sent again, so the state shows whether it was done. */

static int compare_wake(const void *key, const struct tree_node *node)
{
	const struct outgoing *a = key;
	const struct outgoing *b = tree_entry((struct tree_node *)node, struct outgoing, by_wake);

	if (a->wake_ns != b->wake_ns)
		return a->wake_ns < b->wake_ns ? -1 : 1;
	return a < b ? -1 : a > b;
}

static uint64_t now_ns(const struct writes *w)
{
	return w->config.source->monotonic_ns(w->config.source);
}

static void new_session(struct writes *w)
{
	do
		w->session = source_random_u64(w->config.source);
	while (w->session == 0);
	w->next_sequence = 1;
	w->session_open = false;
}

void client_init(struct writes *w)
{
	list_init(&w->outgoing);
	list_init(&w->waiting);
	list_init(&w->sent);
	tree_init(&w->by_wake, compare_wake);
	new_session(w);
}

static void set_wake(struct outgoing *o, uint64_t wake_ns)
{
	tree_remove(&o->writes->by_wake, &o->by_wake);
	o->wake_ns = wake_ns < o->deadline_ns ? wake_ns : o->deadline_ns;
	tree_insert(&o->writes->by_wake, o, &o->by_wake);
}

static void set_state(struct outgoing *o, enum outgoing_state state)
{
	o->state = state;
	list_remove(&o->link);
	list_push_back(state == OUTGOING_WAITING ? &o->writes->waiting : &o->writes->sent,
		       &o->link);
}

static void outgoing_detach(struct outgoing *o)
{
	struct writes *w = o->writes;

	list_remove(&o->link);
	list_remove(&o->by_sequence);
	tree_remove(&w->by_wake, &o->by_wake);
	w->n_outgoing--;
	if (o->call != 0)
		rpc_cancel(w->config.rpc, o->call);
	if (o->incoming != NULL)
		o->incoming->outgoing = NULL;
	o->incoming = NULL;
}

static void outgoing_free(struct outgoing *o)
{
	arena_fini(&o->arena);
	free(o);
}

void client_fini(struct writes *w)
{
	list_for_each (o, &w->outgoing, struct outgoing, by_sequence) {
		outgoing_detach(o);
		outgoing_free(o);
	}
}

static void set_sequence(struct outgoing *o)
{
	struct writes *w = o->writes;

	o->session = w->session;
	o->sequence = w->next_sequence++;
	o->transmissions = 0;
	list_remove(&o->by_sequence);
	list_push_back(&w->outgoing, &o->by_sequence);
}

void writes_submit(struct writes *w, const void *request /* SampanMaster__WriteRequest */,
		   int timeout_ms, writes_done_cb *done, void *ctx)
{
	struct outgoing *o = xcalloc(1, sizeof(*o));

	o->writes = w;
	o->done = done;
	o->ctx = ctx;
	o->deadline_ns = now_ns(w) + (uint64_t)timeout_ms * 1000000;
	o->wake_ns = o->deadline_ns;
	arena_init(&o->arena, 0);
	o->request = request_copy(request, &o->arena);
	list_init(&o->link);
	list_init(&o->by_sequence);
	tree_insert(&w->by_wake, o, &o->by_wake);
	set_sequence(o);
	set_state(o, OUTGOING_WAITING);
	w->n_outgoing++;
}

void outgoing_answer(struct outgoing *o, const SampanMaster__WriteResponse *response)
{
	outgoing_detach(o);
	o->done(o->ctx, response);
	outgoing_free(o);
}

static void outgoing_refuse(struct outgoing *o, int rc, const char *why)
{
	SampanMaster__WriteResponse response = SAMPAN_MASTER__WRITE_RESPONSE__INIT;
	struct status st = { 0 };

	status_set(&st, rc, "%s", why);
	if (rc == -EAGAIN)
		st.retry_after_s = 1;
	response_fail(&response, &st, &o->arena);
	status_fini(&st);
	outgoing_answer(o, &response);
}

void outgoing_again(struct outgoing *o, uint64_t delay_ns)
{
	o->incoming = NULL;
	set_state(o, OUTGOING_WAITING);
	set_wake(o, delay_ns > 0 ? now_ns(o->writes) + delay_ns : UINT64_MAX);
}

/* --- Sending ---------------------------------------------------------------------- */

static uint64_t lowest_outstanding(const struct writes *w)
{
	list_for_each (o, (struct list *)&w->outgoing, struct outgoing, by_sequence)
		if (o->session == w->session)
			return o->sequence;
	return w->next_sequence;
}

/* The leader does not know the session. What was sent only once was surely not done. */
static void session_expired(struct outgoing *o)
{
	struct writes *w = o->writes;

	if (o->transmissions > 1) {
		outgoing_refuse(o, -ETIMEDOUT,
				"Timeout: the request was repeated after its session had ended; "
				"whether it took effect is unknown");
		return;
	}
	if (o->session == w->session)
		new_session(w);
	set_sequence(o);
	outgoing_again(o, 0);
}

void outgoing_local(struct outgoing *o, const SampanMaster__WriteResponse *response)
{
	if (response->rc == -EKEYEXPIRED) {
		session_expired(o);
		return;
	}
	if (o->session == o->writes->session && response->session_open)
		o->writes->session_open = true;
	outgoing_answer(o, response);
}

static void on_reply(void *ctx, int rc, const SampanMaster__Message *reply)
{
	struct outgoing *o = ctx;

	o->call = 0;
	if (rc < 0 || reply->written == NULL)
		outgoing_again(o, rc == -ETIMEDOUT ? 0 : RETRY_NS);
	else
		outgoing_local(o, reply->written);
}

/* Whether there is somebody to send to. */
static bool has_target(const struct writes *w)
{
	uint64_t leader = w->config.link->leader(w->config.link->ctx);

	return w->leading || (leader != 0 && leader != w->config.self);
}

static void transmit(struct outgoing *o)
{
	struct writes *w = o->writes;
	SampanMaster__WriteRequest *r = o->request;

	r->has_session = r->has_sequence = r->has_lowest_outstanding = r->has_first = true;
	r->session = o->session;
	r->sequence = o->sequence;
	r->lowest_outstanding = o->session == w->session ? lowest_outstanding(w) : o->sequence;
	r->first = o->session == w->session && !w->session_open;
	o->transmissions++;
	set_state(o, OUTGOING_SENT);
	set_wake(o, UINT64_MAX);
	if (w->leading) {
		leader_take(w, r, o, (struct rpc_asked){ 0 });
	} else {
		SampanMaster__Message message = SAMPAN_MASTER__MESSAGE__INIT;

		message.write = r;
		w->stats.forwarded++;
		o->call = rpc_call(w->config.rpc, 0, &message, RESEND_NS / 1000000, on_reply, o);
	}
}

static bool is_ready(const struct outgoing *o, uint64_t now)
{
	/* A delay stands in wake_ns; without one it is the deadline. */
	return o->wake_ns == o->deadline_ns || o->wake_ns <= now;
}

/* Overdue requests end, delayed ones become ready. */
static void wake_up(struct writes *w, uint64_t now)
{
	for (;;) {
		struct outgoing *o = tree_entry(tree_first(&w->by_wake), struct outgoing, by_wake);

		if (o == NULL || o->wake_ns > now)
			return;
		if (o->deadline_ns <= now)
			outgoing_refuse(o, -ETIMEDOUT,
					"Timeout: request did not complete within the allotted "
					"timeout; whether it took effect is unknown");
		else
			set_wake(o, UINT64_MAX);
	}
}

void client_turn(struct writes *w)
{
	uint64_t now = now_ns(w);

	wake_up(w, now);
	while (w->n_outgoing > OPEN_MAX && !list_empty(&w->waiting))
		outgoing_refuse(container_of(w->waiting.prev, struct outgoing, link), -EAGAIN,
				"too many requests are waiting for the leader; try again later");
	if (!has_target(w))
		return;
	list_for_each (o, &w->waiting, struct outgoing, link)
		if (is_ready(o, now))
			transmit(o);
}

uint64_t client_deadline_ns(const struct writes *w)
{
	struct outgoing *first = tree_entry(tree_first(&w->by_wake), struct outgoing, by_wake);

	if (has_target(w))
		list_for_each (o, (struct list *)&w->waiting, struct outgoing, link)
			if (is_ready(o, 0))
				return 0;
	return first != NULL ? first->wake_ns : UINT64_MAX;
}

void client_leader_changed(struct writes *w)
{
	/* What was sent to the old leader ends by rpc_leader_changed(); what waited for a delay
	 * need not wait any longer. */
	list_for_each (o, &w->waiting, struct outgoing, link)
		set_wake(o, UINT64_MAX);
}
