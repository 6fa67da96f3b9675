/* The leader's session with each agent, and the standby calls of the others.
 *
 *   poll(sequence 0, inventory) ---> session begins: held = inventory
 *   poll(sequence n, digest)    ---> the agent has reply n; parked until something differs
 *   reply(sequence n+1, changes) --> held is now what the agent will have
 *
 * A reply that gets lost shows in the next poll: its sequence or digest is not
 * ours, and the agent is asked for its inventory. So nothing is ever re-sent
 * blindly, and a new leader continues from what the agent really holds. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/storage_names.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/source.h"
#include "controlplane/consensus/consensus.h"
#include "controlplane/nodes/internal.h"
#include "controlplane/trust/sealing.h"
#include "controlplane/writes/writes.h"

/* Of one reply; SP messages are bounded at 16 MiB. */
#define REPLY_BYTES_MAX (4u << 20)
#define INVENTORY_MAX 100000
/* Objects remembered one by one; with more of them everything is compared. */
#define CHANGED_MAX 256

static int state_compare(const void *name, const struct tree_node *node)
{
	return strcmp(name, container_of(node, struct node_state, by_name)->name);
}

void sessions_init(struct nodes *nodes)
{
	tree_init(&nodes->states, state_compare);
	list_init(&nodes->looks);
	usage_init(&nodes->usage);
}

struct node_state *node_state_find(const struct nodes *nodes, const char *name)
{
	return tree_entry(tree_find(&nodes->states, name), struct node_state, by_name);
}

struct node_state *node_state_get(struct nodes *nodes, const char *name)
{
	struct node_state *s = node_state_find(nodes, name);

	if (s != NULL)
		return s;
	s = xcalloc(1, sizeof(*s));
	s->name = xstrdup(name);
	holding_init(&s->held);
	needs_init(&s->needs);
	list_init(&s->look);
	list_init(&s->polls);
	list_init(&s->standbys);
	list_init(&s->asks);
	tree_insert(&nodes->states, s->name, &s->by_name);
	return s;
}

static void forget_changed(struct node_state *s)
{
	for (size_t i = 0; i < s->n_changed; i++) {
		free(s->changed[i].namespace);
		free(s->changed[i].name);
	}
	s->n_changed = 0;
}

void node_state_look(struct nodes *nodes, struct node_state *s)
{
	if (list_empty(&s->look))
		list_push_back(&nodes->looks, &s->look);
}

static void state_free(struct nodes *nodes, struct node_state *s)
{
	tree_remove(&nodes->states, &s->by_name);
	list_remove(&s->look);
	usage_forget(&nodes->usage, s->name);
	holding_fini(&s->held);
	needs_fini(&s->needs);
	forget_changed(s);
	free(s->changed);
	free(s->name);
	free(s);
}

void sessions_free(struct nodes *nodes)
{
	tree_for_each (s, &nodes->states, struct node_state, by_name)
		state_free(nodes, s);
	usage_fini(&nodes->usage);
}

/* --- Answers -------------------------------------------------------------------- */

struct changes {
	struct nodes *nodes;
	struct arena *arena;
	SampanNode__Change **items;
	size_t n, cap;
};

static void changes_add(struct changes *c, SampanNode__Change *item)
{
	if (c->n == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 16;
		SampanNode__Change **items = arena_array(c->arena, SampanNode__Change *, cap);

		if (c->n > 0)
			memcpy(items, c->items, c->n * sizeof(items[0]));
		c->items = items;
		c->cap = cap;
	}
	c->items[c->n++] = item;
}

static void on_difference(void *ctx, const struct held *old, const struct object *new)
{
	struct changes *c = ctx;
	SampanNode__Change *item = arena_new(c->arena, SampanNode__Change);
	SampanNode__Held *key = arena_new(c->arena, SampanNode__Held);

	sampan_node__change__init(item);
	sampan_node__held__init(key);
	item->key = key;
	if (new == NULL) {
		/* old is freed after this call. */
		key->resource = (char *)old->resource;
		key->namespace_ = arena_strdup(c->arena, old->namespace);
		key->name = arena_strdup(c->arena, old->name);
		key->uid = arena_strdup(c->arena, old->uid);
		item->has_deleted = item->deleted = true;
	} else {
		struct bytes clear = sealing_open(c->nodes->config.trust, new, c->arena);

		key->resource = (char *)new->kind->resource;
		key->namespace_ = (char *)new->namespace;
		key->name = (char *)new->name;
		key->uid = (char *)new->facts.uid;
		key->has_revision = true;
		key->revision = new->revision;
		item->has_object = true;
		item->object = (ProtobufCBinaryData){ .len = clear.len, .data = (uint8_t *)clear.data };
	}
	changes_add(c, item);
}

/* Everything, or what is known to have changed. */
static void compare(struct nodes *nodes, struct node_state *s, struct changes *changes)
{
	struct assignment a = { .store = nodes->config.store,
				.node = s->name,
				.needs = &s->needs,
				.held = &s->held,
				.max_bytes = REPLY_BYTES_MAX,
				.cb = on_difference,
				.ctx = changes };

	if (s->dirty)
		s->dirty = !assignment_update(&a);
	else
		for (size_t i = 0; i < s->n_changed && !s->dirty; i++)
			s->dirty = !assignment_look(&a, s->changed[i].kind, s->changed[i].namespace,
						    s->changed[i].name);
	forget_changed(s);
}

/* Answer the parked poll if there is anything to say; always when forced. */
static void poll_answer(struct nodes *nodes, struct node_state *s, bool force)
{
	if (list_empty(&s->polls))
		return;

	struct call *call = list_first(&s->polls, struct call, link);
	struct changes changes = { .nodes = nodes, .arena = &call->arena };
	SampanNode__PollReply poll = SAMPAN_NODE__POLL_REPLY__INIT;

	compare(nodes, s, &changes);
	poll.streams = streams_take(nodes, s, &call->arena, &poll.n_streams);
	if (s->members_due)
		poll.masters = members_list(nodes, &call->arena, &poll.n_masters);
	if (!force && changes.n == 0 && poll.n_streams == 0 && !s->members_due)
		return;

	SampanNode__Reply reply = SAMPAN_NODE__REPLY__INIT;
	poll.has_want_status = poll.want_status = s->status_due;
	s->members_due = s->status_due = false;
	s->sequence++;
	poll.has_sequence = poll.has_revision = true;
	poll.sequence = s->sequence;
	poll.revision = store_revision(nodes->config.store);
	poll.changes = changes.items;
	poll.n_changes = changes.n;
	reply.poll = &poll;
	call_reply(call, &reply);
}

static void ask_for_inventory(struct call *c)
{
	SampanNode__Reply reply = SAMPAN_NODE__REPLY__INIT;
	SampanNode__PollReply poll = SAMPAN_NODE__POLL_REPLY__INIT;

	poll.has_want_inventory = poll.want_inventory = true;
	reply.poll = &poll;
	call_reply(c, &reply);
}

/* --- Polls ------------------------------------------------------------------------ */

static void heard(struct nodes *nodes, struct node_state *s)
{
	s->heard_ms = nodes_now_ms(nodes);
	s->renewed_ns = nodes->config.source->wall_ns(nodes->config.source);
	if (!s->silent)
		return;
	s->silent = false;
	if (nodes->silence_cb != NULL)
		nodes->silence_cb(nodes->silence_ctx, s->name);
}

/* A session begins: what the agent says it holds is what it holds. */
static int begin_session(struct node_state *s, const SampanNode__PollRequest *poll)
{
	if (poll->n_inventory > INVENTORY_MAX)
		return -EFBIG;
	holding_fini(&s->held);
	forget_changed(s);
	s->incarnation = poll->incarnation;
	s->sequence = 0;
	s->dirty = true;
	s->members_due = true;
	for (size_t i = 0; i < poll->n_inventory; i++) {
		const SampanNode__Held *h = poll->inventory[i];
		int rc = holding_put(&s->held, h->resource ? h->resource : "",
				     h->namespace_ ? h->namespace_ : "", h->name ? h->name : "",
				     h->uid ? h->uid : "", h->revision);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* The node was silent for so long that its Ready condition says Unknown: it must speak for itself
 * again. Not asked twice in a second, because its report takes a moment. */
static bool wants_status(struct nodes *nodes, struct node_state *s)
{
	enum { ASK_PAUSE_MS = 1000 };
	const struct object *o =
		store_get(nodes->config.store, kind_of_resource("nodes"), "", s->name);

	if (o == NULL || o->facts.node->ready >= 0 ||
	    nodes_now_ms(nodes) - s->status_asked_ms < ASK_PAUSE_MS)
		return false;
	s->status_asked_ms = nodes_now_ms(nodes);
	return true;
}

static void park(struct nodes *nodes, struct list *lot, struct call *c, uint32_t park_ms)
{
	if (park_ms > PARK_MS_MAX)
		park_ms = PARK_MS_MAX;
	c->deadline_ms = nodes_now_ms(nodes) + park_ms;
	list_push_back(lot, &c->link);
}

static void take_usage(struct call *c)
{
	const SampanNode__Usage *told = c->request->poll->usage;

	/* A bad number does not make the poll less of a heartbeat. */
	if (told != NULL &&
	    usage_put(&c->nodes->usage, c->node, writes_now_ns(c->nodes->config.writes), told) < 0)
		log_warn("what a node says it uses cannot be", "node=%s", c->node);
}

/* The agent gave up on the call before; it will not see that answer. */
static void drop_parked(struct node_state *s)
{
	list_for_each (old, &s->polls, struct call, link)
		call_fail(old, -ECANCELED, "a newer poll took its place");
}

static void park_poll(struct call *c, struct node_state *s, bool first)
{
	s->status_due = wants_status(c->nodes, s);
	park(c->nodes, &s->polls, c, c->request->poll->park_ms);
	/* The first answer of a session comes at once, so the agent knows that it has one. */
	poll_answer(c->nodes, s, first || s->status_due);
}

/* --- Beginnings ------------------------------------------------------------------- */

/* A session begins only by the word of a majority. A master that leads nobody any more and has not
 * noticed would else compare what the agent holds with what was so in its own time: the agent would
 * end pods that were bound since, and begin again those that were ended, beside their successors. */
struct beginning {
	struct call *call; /* NULL once its connection is gone. */
	struct call_watch watch;
};

static void beginning_call_lost(struct call_watch *watch)
{
	container_of(watch, struct beginning, watch)->call = NULL;
}

static void begin_confirmed(struct call *c)
{
	struct node_state *s = node_state_get(c->nodes, c->node);
	int rc;

	drop_parked(s);
	rc = begin_session(s, c->request->poll);
	if (rc < 0)
		call_fail(c, rc, "the inventory cannot be taken");
	else
		park_poll(c, s, true);
}

static void on_confirmed(void *ctx, int rc, uint64_t term)
{
	autofree struct beginning *b = ctx;
	struct call *c = b->call;

	if (c == NULL)
		return;
	call_watch(c, NULL);
	if (rc < 0 || !c->nodes->leading)
		call_not_leader(c);
	else
		begin_confirmed(c);
}

static void begin(struct call *c)
{
	struct beginning *b = xcalloc(1, sizeof(*b));
	int rc;

	b->call = c;
	b->watch.lost = beginning_call_lost;
	rc = consensus_read_index(c->nodes->config.consensus, on_confirmed, b);
	if (rc < 0) {
		free(b);
		call_fail(c, -EAGAIN, "leadership cannot be confirmed");
		return;
	}
	call_watch(c, &b->watch);
}

void sessions_poll(struct call *c)
{
	struct nodes *nodes = c->nodes;
	const SampanNode__PollRequest *poll = c->request->poll;

	if (!nodes->leading) {
		call_not_leader(c);
		return;
	}
	struct node_state *s = node_state_get(nodes, c->node);
	heard(nodes, s);
	take_usage(c);
	drop_parked(s);
	if (poll->sequence == 0)
		begin(c);
	else if (s->incarnation != poll->incarnation || s->sequence != poll->sequence ||
		 s->held.digest != poll->digest)
		ask_for_inventory(c);
	else
		park_poll(c, s, false);
}

/* --- Standby ------------------------------------------------------------------------ */

static void standby_answer(struct nodes *nodes, struct node_state *s, bool force)
{
	if (list_empty(&s->standbys))
		return;

	struct call *call = list_first(&s->standbys, struct call, link);
	SampanNode__StandbyReply standby = SAMPAN_NODE__STANDBY_REPLY__INIT;

	standby.streams = streams_take(nodes, s, &call->arena, &standby.n_streams);
	if (!force && standby.n_streams == 0)
		return;

	SampanNode__Reply reply = SAMPAN_NODE__REPLY__INIT;
	SampanNode__Leader leader = SAMPAN_NODE__LEADER__INIT;
	nodes_leader_message(nodes, &call->arena, &leader);
	reply.leader = &leader;
	reply.standby = &standby;
	call_reply(call, &reply);
}

void sessions_standby(struct call *c)
{
	struct nodes *nodes = c->nodes;
	struct node_state *s = node_state_get(nodes, c->node);
	const SampanNode__StandbyRequest *standby = c->request->standby;

	list_for_each (old, &s->standbys, struct call, link)
		call_fail(old, -ECANCELED, "a newer call took its place");
	park(nodes, &s->standbys, c, standby->park_ms);
	/* News already: a term the agent has not seen, with a leader. */
	standby_answer(nodes, s, nodes->term > standby->term && nodes->leader_id != 0);
}

/* --- What makes sessions look again ------------------------------------------------------ */

static void note(struct nodes *nodes, struct node_state *s, const struct object *o)
{
	node_state_look(nodes, s);
	for (size_t i = 0; i < s->n_changed; i++)
		if (s->changed[i].kind == o->kind && strcmp(s->changed[i].name, o->name) == 0 &&
		    strcmp(s->changed[i].namespace, o->namespace) == 0)
			return;
	if (s->dirty || s->n_changed == CHANGED_MAX) {
		s->dirty = true;
		forget_changed(s);
		return;
	}
	array_grow(s->changed, s->n_changed, s->cap_changed);
	s->changed[s->n_changed++] =
		(struct changed_object){ o->kind, xstrdup(o->namespace), xstrdup(o->name) };
}

static void note_at(struct nodes *nodes, const char *node, const struct object *o)
{
	struct node_state *s = node[0] ? node_state_find(nodes, node) : NULL;

	if (s != NULL)
		note(nodes, s, o);
}

static void note_at_users(struct nodes *nodes, const struct object *o)
{
	tree_for_each (s, &nodes->states, struct node_state, by_name)
		if (!s->dirty && needs_name(&s->needs, o))
			note(nodes, s, o);
}

/* At who uses it, and at the node that has its folder. */
static void note_volume(struct nodes *nodes, const struct object *o)
{
	const char *node = o ? object_label(o, LOCAL_PATH_NODE) : NULL;

	if (node != NULL)
		note_at(nodes, node, o);
	if (o != NULL)
		note_at_users(nodes, o);
}

void sessions_on_change(struct nodes *nodes, const struct change *change)
{
	const struct object *o = change->new ? change->new : change->old;
	const char *resource = o->kind->resource;

	if (!nodes->leading)
		return;
	if (o->facts.pod != NULL) {
		const char *was = change->old != NULL ? change->old->facts.pod->node_name : "";

		note_at(nodes, was, o);
		if (change->new != NULL && strcmp(o->facts.pod->node_name, was) != 0)
			note_at(nodes, o->facts.pod->node_name, o);
	} else if (o->facts.node != NULL) {
		note_at(nodes, o->name, o);
	} else if (strcmp(resource, "persistentvolumes") == 0) {
		note_volume(nodes, change->old);
		note_volume(nodes, change->new);
	} else if (strcmp(resource, "persistentvolumeclaims") == 0 || strcmp(resource, "secrets") == 0 || strcmp(resource, "configmaps") == 0 ||
		   strcmp(resource, "services") == 0) {
		note_at_users(nodes, o);
	}
}

void sessions_flush(struct nodes *nodes)
{
	list_for_each (s, &nodes->looks, struct node_state, look) {
		list_remove(&s->look);
		poll_answer(nodes, s, false);
		standby_answer(nodes, s, false);
	}
}

static void report_silence(struct nodes *nodes, struct node_state *s, uint64_t now_ms)
{
	uint64_t since = s->heard_ms > nodes->leading_since_ms ? s->heard_ms : nodes->leading_since_ms;

	if (s->silent || now_ms - since < SILENCE_WAKE_MS)
		return;
	s->silent = true;
	if (nodes->silence_cb != NULL)
		nodes->silence_cb(nodes->silence_ctx, s->name);
}

/* A Node that was deleted and whose agent does not call any more. */
static bool forgotten(struct nodes *nodes, const struct node_state *s)
{
	return s->silent && list_empty(&s->polls) && list_empty(&s->standbys) &&
	       list_empty(&s->asks) &&
	       store_get(nodes->config.store, kind_of_resource("nodes"), "", s->name) == NULL;
}

void sessions_tick(struct nodes *nodes, uint64_t now_ms)
{
	tree_for_each (s, &nodes->states, struct node_state, by_name) {
		list_for_each (c, &s->polls, struct call, link)
			if (c->deadline_ms <= now_ms)
				poll_answer(nodes, s, true);
		list_for_each (c, &s->standbys, struct call, link)
			if (c->deadline_ms <= now_ms)
				standby_answer(nodes, s, true);
		if (nodes->leading)
			report_silence(nodes, s, now_ms);
		if (forgotten(nodes, s))
			state_free(nodes, s);
	}
}

/* A new leader watches every Node, also one whose agent never calls it. */
static bool watch_node(void *ctx, const struct object *node)
{
	node_state_get(ctx, node->name);
	return true;
}

void sessions_reset(struct nodes *nodes)
{
	usage_fini(&nodes->usage);
	if (nodes->leading)
		store_walk(nodes->config.store, kind_of_resource("nodes"), NULL, NULL, NULL,
			   watch_node, nodes);
	tree_for_each (s, &nodes->states, struct node_state, by_name) {
		list_for_each (c, &s->polls, struct call, link)
			call_not_leader(c);
		standby_answer(nodes, s, true);
		holding_fini(&s->held);
		needs_fini(&s->needs);
		forget_changed(s);
		s->sequence = 0;
		s->silent = false;
		s->dirty = false;
	}
}
