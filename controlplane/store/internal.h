/* What the files of the store share; nothing outside includes it.
 *
 * A slot is a key that has an object now. Its links put it into the ordered
 * indexes; they name a fact of the slot's object by position, so an update that
 * leaves the facts equal leaves the links alone. Who knows the whole key or the uid
 * asks the tables, which cost the same however many objects there are. */
#pragma once

#include "common/base/arena.h"
#include "common/base/tree.h"
#include "controlplane/store/store.h"
#include "controlplane/store/table.h"

enum index_type {
	INDEX_OWNER, /* By owner's uid, kind, age. */
	INDEX_NODE,  /* Pods by node. */
	INDEX_LABEL, /* By kind, label, key. */
	INDEX_CLAIM,
	INDEX_COUNT,
};

struct link {
	struct tree_node node;
	struct slot *slot;
	uint32_t type, position;
};

struct slot {
	struct tree_node node; /* In store.objects[kind]. */
	struct chain by_key, by_uid; /* by_uid only if the object has one. */
	struct object *object;
	struct link *links;
	size_t n_links;
};

struct result {
	uint64_t sequence, revision;
	int rc;
};

struct session {
	struct tree_node by_id, by_expiry;
	uint64_t id, ttl_ms, lowest_outstanding;
	int64_t renewed_ns;
	struct result *results; /* By ascending sequence. */
	size_t n_results, cap_results;
	uint64_t hash; /* Its part of store_hash(). */
};

struct sessions {
	struct tree by_id, by_expiry;
	size_t max, results_max;
	uint64_t hash;
};

/* The changes of revisions first .. first + n - 1, in a ring. */
struct history {
	struct change *ring;
	size_t cap, at, n;
	uint64_t first;
	size_t bytes, bytes_max;
};

#define RESTORE_LISTENERS_MAX 16

struct store {
	struct store_limits limits;
	uint64_t revision;
	int64_t time_ns;
	uint32_t level;
	uint64_t objects_hash;
	struct tree *objects; /* Of slots, one per row of kinds_all. */
	size_t n_objects;
	struct chain_table by_key, by_uid;
	struct tree indexes[INDEX_COUNT];
	struct sessions sessions;
	struct history history;
	struct store_listener *listeners, **listeners_end;
	struct {
		void (*cb)(void *ctx);
		void *ctx;
	} on_restore[RESTORE_LISTENERS_MAX];
	size_t n_on_restore;
	struct plan_result *results;
	size_t cap_results;
	struct arena scratch; /* Of one store_apply(). */
};

/* What a slot is found by. */
struct object_key {
	const char *namespace, *name;
};

struct tree *store_tree(const struct store *s, const struct kind *kind);
struct slot *store_slot(const struct store *s, const struct kind *kind, const char *namespace,
			const char *name);
/* Make object (one reference taken over) the current one of its key, or remove the slot
 * (object NULL). Keeps indexes and hash; knows no history and no listener. */
void store_put_slot(struct store *s, struct slot *slot, struct object *object);
/* Forget all objects, sessions and history. */
void store_clear(struct store *s);

void index_init(struct store *s);
void index_add(struct store *s, struct slot *slot);
void index_remove(struct store *s, struct slot *slot);
/* Whether the links of a hold for b as they are, but perhaps for the one of the node. */
bool index_same(const struct object *a, const struct object *b, bool *ret_node);
/* Put object in the place of the slot's, of which it differs in the node only. */
void index_move(struct store *s, struct slot *slot, struct object *object);

void history_init(struct history *h, const struct store_limits *limits);
void history_fini(struct history *h);
/* Forget everything and go on after revision. */
void history_reset(struct history *h, uint64_t revision);
/* change->revision is the next one; takes references. */
void history_add(struct history *h, const struct change *change);

void store_sessions_init(struct sessions *t, const struct store_limits *limits);
void store_sessions_clear(struct sessions *t);
struct session *store_sessions_get(const struct sessions *t, uint64_t id);
/* -ENOSPC when there are too many. */
int store_sessions_open(struct sessions *t, uint64_t id, uint64_t ttl_ms, int64_t now_ns);
void store_sessions_close(struct sessions *t, uint64_t id);
/* The session was heard of; results below lowest_outstanding are no longer needed. */
void store_sessions_renew(struct sessions *t, struct session *session, uint64_t lowest_outstanding,
			  int64_t now_ns);
const struct result *session_result(const struct session *session, uint64_t sequence);
/* The session must have room: session_is_full() says. */
void store_sessions_record(struct sessions *t, struct session *session,
			   const struct result *result);
bool session_is_full(const struct sessions *t, const struct session *session);
/* End what was not heard of for its ttl. */
void store_sessions_expire(struct sessions *t, int64_t now_ns);
