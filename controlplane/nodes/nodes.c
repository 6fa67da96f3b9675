#include "controlplane/nodes/nodes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "controlplane/nodes/internal.h"
#include "controlplane/writes/rpc.h"
#include "controlplane/writes/writes.h"

/* How exact the ends of parked calls and the notice of silence are. */
#define TICK_MS 250

static void on_change(void *ctx, const struct change *change)
{
	struct nodes *nodes = ctx;

	sessions_on_change(nodes, change);
	members_on_change(nodes, change);
	nodes->watches_dirty = true;
}

static void on_restore(void *ctx)
{
	struct nodes *nodes = ctx;

	tree_for_each (s, &nodes->states, struct node_state, by_name) {
		s->dirty = true;
		node_state_look(nodes, s);
	}
	nodes->watches_dirty = true;
}

/* Another master serves metrics.k8s.io. */
static void on_usage_question(void *ctx, struct rpc_asked asked, const SampanMaster__Message *question)
{
	struct nodes *nodes = ctx;
	SampanMaster__Message reply = SAMPAN_MASTER__MESSAGE__INIT;
	SampanMaster__NotLeader not_leader = SAMPAN_MASTER__NOT_LEADER__INIT;
	SampanMaster__UsageReply usage;
	auto_with(arena_fini) struct arena arena = { 0 };

	arena_init(&arena, 0);
	if (nodes->leading) {
		usage_answer(&nodes->usage, question->usage, writes_now_ns(nodes->config.writes), &arena,
			     &usage);
		reply.usage_reply = &usage;
	} else {
		reply.not_leader = &not_leader;
	}
	rpc_reply(nodes->config.rpc, asked, &reply);
}

static void on_tick(uv_timer_t *timer)
{
	struct nodes *nodes = timer->data;
	uint64_t now_ms = nodes_now_ms(nodes);

	sessions_tick(nodes, now_ms);
	watch_tick(nodes, now_ms);
	streams_tick(nodes, now_ms);
	members_tick(nodes, now_ms);
}

int nodes_start(const struct nodes_config *config, struct nodes **ret_nodes, struct status *st)
{
	struct nodes *nodes = xcalloc(1, sizeof(*nodes));

	nodes->config = *config;
	sessions_init(nodes);
	list_init(&nodes->watches);
	list_init(&nodes->streams);
	int rc = endpoint_start(nodes, st);
	if (rc < 0) {
		free(nodes);
		return rc;
	}
	members_start(nodes);
	leases_start(nodes);
	rpc_handle(config->rpc, RPC_USAGE, on_usage_question, nodes);
	nodes->listener = (struct store_listener){ .cb = on_change, .ctx = nodes };
	store_listen(config->store, &nodes->listener);
	store_on_restore(config->store, on_restore, nodes);
	uv_timer_init(config->loop, &nodes->timer);
	nodes->timer.data = nodes;
	uv_timer_start(&nodes->timer, on_tick, TICK_MS, TICK_MS);
	*ret_nodes = nodes;
	return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct nodes *nodes = handle->data;
	void (*cb)(void *ctx) = nodes->stopped_cb;
	void *ctx = nodes->stopped_ctx;

	sessions_free(nodes);
	members_stop(nodes);
	free(nodes);
	cb(ctx);
}

static void on_endpoint_closed(struct nodes *nodes)
{
	uv_close((uv_handle_t *)&nodes->timer, on_timer_closed);
}

void nodes_stop(struct nodes *nodes, void (*cb)(void *ctx), void *ctx)
{
	nodes->stopping = true;
	nodes->stopped_cb = cb;
	nodes->stopped_ctx = ctx;
	streams_stop(nodes);
	endpoint_stop(nodes, on_endpoint_closed);
}

void nodes_leader_changed(struct nodes *nodes, bool leading, uint64_t term, uint64_t leader_id)
{
	bool moved = term != nodes->term || leader_id != nodes->leader_id;

	nodes->term = term;
	nodes->leader_id = leader_id;
	if (leading != nodes->leading) {
		nodes->leading = leading;
		nodes->leading_since_ms = nodes_now_ms(nodes);
	} else if (!moved) {
		return;
	}
	sessions_reset(nodes);
}

void nodes_members_changed(struct nodes *nodes)
{
	members_look(nodes);
}

void nodes_flush(struct nodes *nodes)
{
	sessions_flush(nodes);
	watch_flush(nodes);
}

int64_t nodes_silence_ms(void *ctx, const char *node)
{
	const struct nodes *nodes = ctx;
	const struct node_state *s = node_state_find(nodes, node);
	uint64_t since = nodes->leading_since_ms;

	if (!nodes->leading)
		return -1;
	if (s != NULL && s->heard_ms > since)
		since = s->heard_ms;
	return (int64_t)(nodes_now_ms(nodes) - since);
}

void nodes_on_silence(struct nodes *nodes, void (*cb)(void *ctx, const char *node), void *ctx)
{
	nodes->silence_cb = cb;
	nodes->silence_ctx = ctx;
}

int64_t nodes_renewed_ns(const struct nodes *nodes, const char *node)
{
	const struct node_state *s = node_state_find(nodes, node);

	return nodes->leading && s != NULL ? s->renewed_ns : 0;
}

const struct usage *nodes_usage(const struct nodes *nodes)
{
	return nodes->leading ? &nodes->usage : NULL;
}

const struct pod_usage *nodes_pod_usage(void *ctx, const struct pod_facts *pod)
{
	const struct nodes *nodes = ctx;

	if (!nodes->leading)
		return NULL;
	return usage_pod(&nodes->usage, pod->node_name, pod->object->facts.uid,
			 writes_now_ns(nodes->config.writes));
}

void nodes_leader_message(struct nodes *nodes, struct arena *arena, SampanNode__Leader *ret)
{
	sampan_node__leader__init(ret);
	ret->has_term = ret->has_id = true;
	ret->term = nodes->term;
	ret->id = nodes->leader_id;
	if (nodes->leader_id == 0)
		return;
	const struct master_line *line =
		members_line(nodes, arena, arena_printf(arena, "%016" PRIx64, nodes->leader_id));
	ret->address = line ? (char *)line->rpc : NULL;
}
