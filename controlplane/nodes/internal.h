/* What the files of this folder share; nothing outside includes it. */
#pragma once

#include "common/base/list.h"
#include "common/base/tree.h"
#include "controlplane/nodes/assignment.h"
#include "controlplane/nodes/call.h"
#include "controlplane/nodes/nodes.h"
#include "controlplane/nodes/streams.h"
#include "controlplane/nodes/usage.h"
#include "controlplane/store/store.h"

#define PARK_MS_MAX 3000
#define SILENCE_WAKE_MS 4000

struct frame_stream;

/* See streams.c for its life. */
struct node_stream {
	struct list link; /* In node_state.asks while asked, in nodes.streams afterwards. */
	struct nodes *nodes;
	char id[33];
	char *node;
	SampanNode__StreamOpen *request; /* Owned. */
	struct node_stream_callbacks callbacks;
	void *ctx;
	uint64_t deadline_ms;        /* For the agent to dial. */
	struct frame_stream *frames; /* Once it has. */
	bool asked, closing;
};

struct changed_object {
	const struct kind *kind;
	char *namespace, *name;
};

/* All that is known about one node's agent. */
struct node_state {
	struct tree_node by_name;
	struct list look; /* In nodes.looks while a parked call of it may have something to be told. */
	char *name;
	uint64_t heard_ms;    /* Loop time of the last poll; 0: never. */
	int64_t renewed_ns;   /* Wall time of it. */
	bool silent;          /* The silence was reported. */
	/* The session (leader only). */
	uint64_t incarnation, sequence;
	struct holding held;  /* What the agent holds if it got our last reply. */
	struct needs needs;
	bool dirty;           /* What it should hold may have changed altogether. */
	/* Objects of which it should hold another state, or that it should not hold any more. */
	struct changed_object *changed;
	size_t n_changed, cap_changed;
	bool members_due;     /* It has not seen the present list of masters. */
	bool status_due;      /* It is to report its status and its pods' again. */
	uint64_t status_asked_ms;
	struct list polls;    /* Parked: at most one poll, */
	struct list standbys; /* and at most one standby call. */
	struct list asks;     /* Streams it has not been told of. */
	size_t n_asks;
};

struct nodes {
	struct nodes_config config;
	struct sp_server *server;
	void (*endpoint_closed)(struct nodes *nodes);
	uv_timer_t timer;
	bool leading, stopping;
	uint64_t term, leader_id, leading_since_ms;
	struct tree states; /* struct node_state by name. */
	struct usage usage; /* What agents told this leader. */
	struct list looks; /* struct node_state; the others are left alone however many they are. */
	struct store_listener listener;
	struct list watches;  /* Parked WatchRequests. */
	size_t n_watches;
	bool watches_dirty;
	struct list streams;  /* Told of, waiting for the agent to dial, or open. */
	size_t n_streams;
	void (*silence_cb)(void *ctx, const char *node);
	void *silence_ctx;
	struct members *members;
	void (*stopped_cb)(void *ctx);
	void *stopped_ctx;
};

struct node_state *node_state_get(struct nodes *nodes, const char *name);
struct node_state *node_state_find(const struct nodes *nodes, const char *name);
/* Its parked calls are looked at with the next flush. */
void node_state_look(struct nodes *nodes, struct node_state *s);

/* nodes.c: who leads, with strings in the arena. */
void nodes_leader_message(struct nodes *nodes, struct arena *arena, SampanNode__Leader *ret);

/* endpoint.c */
int endpoint_start(struct nodes *nodes, struct status *st);
void endpoint_stop(struct nodes *nodes, void (*closed)(struct nodes *));

/* leases.c: the Lease of a Node; answers to other masters about heartbeats. */
void leases_start(struct nodes *nodes);
void leases_make(struct nodes *nodes, const struct object *node);

/* sessions.c */
void sessions_init(struct nodes *nodes);
void sessions_poll(struct call *c);
void sessions_standby(struct call *c);
void sessions_on_change(struct nodes *nodes, const struct change *change);
void sessions_flush(struct nodes *nodes);
void sessions_tick(struct nodes *nodes, uint64_t now_ms);
/* Leadership changed: sessions begin anew, parked calls are answered. */
void sessions_reset(struct nodes *nodes);
void sessions_free(struct nodes *nodes);

/* watch.c */
void watch_serve(struct call *c);
void watch_flush(struct nodes *nodes);
void watch_tick(struct nodes *nodes, uint64_t now_ms);

/* reports.c */
void reports_register(struct call *c);
void reports_take(struct call *c);

/* credentials.c */
void credentials_token(struct call *c);
void credentials_certificate(struct call *c);

/* members.c */
struct master_line {
	const char *name, *api, *rpc, *raft; /* "" where unknown. */
	bool live;
};
void members_start(struct nodes *nodes);
void members_stop(struct nodes *nodes);
void members_tick(struct nodes *nodes, uint64_t now_ms);
void members_on_change(struct nodes *nodes, const struct change *change);
/* Look soon whether members or their connections changed. */
void members_look(struct nodes *nodes);
/* A master's line of the registry, in the arena; key is its id as 16 hex digits. NULL: none. */
const struct master_line *members_line(struct nodes *nodes, struct arena *arena, const char *key);
/* The whole registry as messages in the arena. */
SampanNode__Master **members_list(struct nodes *nodes, struct arena *arena, size_t *ret_n);
/* message is a sentence when rc < 0. Never called inside the call. */
typedef void members_done_cb(void *ctx, int rc, const char *message);
/* Through the leader, wherever it is: put the master into the registry and make it a member. */
void members_add(struct nodes *nodes, uint64_t id, const struct master_line *line,
		 members_done_cb *done, void *ctx);
void members_remove(struct nodes *nodes, uint64_t id, members_done_cb *done, void *ctx);

/* join.c */
void join_http(struct nodes *nodes, struct exchange *x);

/* streams.c */
void streams_http(struct nodes *nodes, struct exchange *x, const char *id);
/* Asks of this node as messages, moved to nodes.streams. */
SampanNode__StreamOpen **streams_take(struct nodes *nodes, struct node_state *state,
				      struct arena *arena, size_t *ret_n);
void streams_tick(struct nodes *nodes, uint64_t now_ms);
void streams_stop(struct nodes *nodes);

static inline uint64_t nodes_now_ms(const struct nodes *nodes)
{
	return uv_now(nodes->config.loop);
}
