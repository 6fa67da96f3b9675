/* What the files of this folder share; nothing outside includes it. */
#pragma once

#include "agent/session/session.h"
#include "common/base/list.h"
#include "common/base/map.h"
#include "common/io/sp_client.h"

enum {
	MASTERS_MAX = 16,
	EVENTS_MAX = 500,
	REPORT_PODS_MAX = 500,
	REPORT_EVENTS_MAX = 100,
	REPORT_VOLUMES_MAX = 100,
	PARK_MS = 3000,
	PARKED_TIMEOUT_MS = PARK_MS + 5000,
	CALL_TIMEOUT_MS = 10000,
	RETRY_FIRST_MS = 50,
	RETRY_MAX_MS = 1000,
	BATCH_MS = 5, /* What happens within this time is one report. */
};

/* A call under way; exactly one answer comes, then it is freed. */
struct node_call {
	struct session *session;
	struct sp_call *call;
	struct node_call **slot; /* Where the session keeps it; may be NULL. */
	int master;
	void (*done)(struct node_call *call, int rc, const SampanNode__Reply *reply);
	void *arg;
};

struct master {
	uint64_t id; /* 0: slot is free. */
	char *rpc_address, *api_address;
	int index; /* In the SP client. */
	bool up;
	struct node_call *standby;
	uint64_t standby_not_before_ms;
};

/* A pod whose status waits to be reported. */
struct pending_pod {
	struct list link;
	char *uid;
};

/* A volume that is to be told of as removed. */
struct pending_volume {
	struct list link;
	char *name, *uid;
};

struct pending_event {
	struct list link;
	struct bytes packed;
};

struct session {
	struct session_options options;
	char *ca_pem, *cert_pem, *key_pem;
	struct tls_context *tls;
	struct sp_client *client;
	struct master masters[MASTERS_MAX];
	int leader;    /* Slot of the master that is taken for the leader. */
	uint64_t term; /* The newest known. */
	uint64_t incarnation, sequence;
	bool registered, connected; /* connected: the leader answered the last poll. */
	struct node_call *registering, *polling, *reporting, *renewing;
	uv_timer_t retry;
	unsigned retry_ms;
	bool waiting; /* For the retry timer. */
	/* Reports. */
	struct list pods, sent_pods, events, sent_events, volumes, sent_volumes;
	struct map pending; /* uid -> struct pending_pod, of pods alone. */
	size_t n_events;
	bool node_due, node_sent;
	uv_timer_t batch;
	/* Certificate. */
	uv_timer_t renewal;
	size_t n_calls;
	bool stopping;
	int handles;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

/* link.c: calls and who leads. */
/* Send to a master slot. done is called exactly once, later; 0, or an errno and no call. */
int link_call(struct session *s, int slot, const SampanNode__Request *request, unsigned timeout_ms,
	void (*done)(struct node_call *, int rc, const SampanNode__Reply *), void *arg, struct node_call **slot_of_call);
void link_cancel(struct node_call *call);
int link_open(struct session *s, struct status *st);
void link_close(struct session *s);
void link_take_masters(struct session *s, SampanNode__Master *const *masters, size_t n);
/* What a reply says about the leader. True if it is another one now. */
bool link_take_leader(struct session *s, const SampanNode__Leader *leader);
/* The master taken for the leader did not answer as one: try the next. */
void link_next_leader(struct session *s);
void link_standby_all(struct session *s);

/* session.c */
void session_turn(struct session *s);
/* Try again after a growing pause. */
void session_pause(struct session *s);

/* report.c */
void report_init(struct session *s);
void report_fini(struct session *s);
void report_flush(struct session *s);
/* Everything that was sent and not acknowledged is due again. */
void report_again(struct session *s);

/* renew.c */
int renew_start(struct session *s, struct status *st);
void renew_due(struct session *s);
