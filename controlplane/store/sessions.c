#include "controlplane/store/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "controlplane/store/hash.h"

/* Exactly once: who may repeat a write numbers it within a session; what happened
 * to it is kept until the session says it knows. Only writes that took effect are
 * recorded: one that was refused changed nothing and may be tried again. */

static int compare_ids(const void *key, const struct tree_node *node)
{
	uint64_t a = *(const uint64_t *)key;
	uint64_t b = tree_entry((struct tree_node *)node, struct session, by_id)->id;

	return a < b ? -1 : a > b;
}

static int64_t expiry(const struct session *session)
{
	int64_t ttl_ns, at;

	if (__builtin_mul_overflow((int64_t)session->ttl_ms, 1000000, &ttl_ns) || ttl_ns < 0 ||
	    __builtin_add_overflow(session->renewed_ns, ttl_ns, &at))
		return INT64_MAX;
	return at;
}

static int compare_expiry(const void *key, const struct tree_node *node)
{
	const struct session *a = key;
	const struct session *b = tree_entry((struct tree_node *)node, struct session, by_expiry);

	if (expiry(a) != expiry(b))
		return expiry(a) < expiry(b) ? -1 : 1;
	return a->id < b->id ? -1 : a->id > b->id;
}

static uint64_t head_hash(const struct session *session)
{
	uint64_t hash = hash_add_u64(0, session->id);

	hash = hash_add_u64(hash, session->ttl_ms);
	hash = hash_add_u64(hash, (uint64_t)session->renewed_ns);
	return hash_add_u64(hash, session->lowest_outstanding);
}

static uint64_t result_hash(const struct session *session, const struct result *result)
{
	uint64_t hash = hash_add_u64(1, session->id);

	hash = hash_add_u64(hash, result->sequence);
	hash = hash_add_u64(hash, (uint64_t)(int64_t)result->rc);
	return hash_add_u64(hash, result->revision);
}

/* Sums, so that each part can be taken out alone. */
static void hash_move(struct sessions *t, struct session *session, uint64_t plus, uint64_t minus)
{
	session->hash += plus - minus;
	t->hash += plus - minus;
}

void store_sessions_init(struct sessions *t, const struct store_limits *limits)
{
	*t = (struct sessions){ .max = limits->sessions, .results_max = limits->session_results };
	tree_init(&t->by_id, compare_ids);
	tree_init(&t->by_expiry, compare_expiry);
}

static void session_remove(struct sessions *t, struct session *session)
{
	tree_remove(&t->by_id, &session->by_id);
	tree_remove(&t->by_expiry, &session->by_expiry);
	t->hash -= session->hash;
	free(session->results);
	free(session);
}

void store_sessions_clear(struct sessions *t)
{
	tree_for_each (session, &t->by_id, struct session, by_id)
		session_remove(t, session);
}

struct session *store_sessions_get(const struct sessions *t, uint64_t id)
{
	return tree_entry(tree_find(&t->by_id, &id), struct session, by_id);
}

int store_sessions_open(struct sessions *t, uint64_t id, uint64_t ttl_ms, int64_t now_ns)
{
	struct session *session = store_sessions_get(t, id);

	if (session != NULL) {
		store_sessions_renew(t, session, session->lowest_outstanding, now_ns);
		return 0;
	}
	if (t->by_id.count >= t->max)
		return -ENOSPC;
	session = xcalloc(1, sizeof(*session));
	session->id = id;
	session->ttl_ms = ttl_ms;
	session->renewed_ns = now_ns;
	tree_insert(&t->by_id, &id, &session->by_id);
	tree_insert(&t->by_expiry, session, &session->by_expiry);
	hash_move(t, session, head_hash(session), 0);
	return 0;
}

void store_sessions_close(struct sessions *t, uint64_t id)
{
	struct session *session = store_sessions_get(t, id);

	if (session != NULL)
		session_remove(t, session);
}

void store_sessions_renew(struct sessions *t, struct session *session, uint64_t lowest_outstanding,
			  int64_t now_ns)
{
	uint64_t before = head_hash(session);
	size_t done = 0;

	tree_remove(&t->by_expiry, &session->by_expiry);
	if (now_ns > session->renewed_ns)
		session->renewed_ns = now_ns;
	if (lowest_outstanding > session->lowest_outstanding)
		session->lowest_outstanding = lowest_outstanding;
	tree_insert(&t->by_expiry, session, &session->by_expiry);
	hash_move(t, session, head_hash(session), before);

	while (done < session->n_results &&
	       session->results[done].sequence < session->lowest_outstanding)
		hash_move(t, session, 0, result_hash(session, &session->results[done++]));
	if (done == 0)
		return;
	session->n_results -= done;
	memmove(session->results, session->results + done,
		session->n_results * sizeof(*session->results));
}

/* Where sequence is, or would be. */
static size_t result_position(const struct session *session, uint64_t sequence)
{
	size_t low = 0, high = session->n_results;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (session->results[middle].sequence < sequence)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct result *session_result(const struct session *session, uint64_t sequence)
{
	size_t at = result_position(session, sequence);

	if (at == session->n_results || session->results[at].sequence != sequence)
		return NULL;
	return &session->results[at];
}

bool session_is_full(const struct sessions *t, const struct session *session)
{
	return session->n_results >= t->results_max;
}

void store_sessions_record(struct sessions *t, struct session *session, const struct result *result)
{
	size_t at = result_position(session, result->sequence);

	assert(!session_is_full(t, session));
	array_grow(session->results, session->n_results, session->cap_results);
	memmove(session->results + at + 1, session->results + at,
		(session->n_results - at) * sizeof(*session->results));
	session->results[at] = *result;
	session->n_results++;
	hash_move(t, session, result_hash(session, result), 0);
}

void store_sessions_expire(struct sessions *t, int64_t now_ns)
{
	for (;;) {
		struct session *oldest =
			tree_entry(tree_first(&t->by_expiry), struct session, by_expiry);

		if (oldest == NULL || expiry(oldest) >= now_ns)
			return;
		session_remove(t, oldest);
	}
}

bool store_has_session(const struct store *s, uint64_t session)
{
	return store_sessions_get(&s->sessions, session) != NULL;
}

bool store_session_result(const struct store *s, uint64_t id, uint64_t sequence,
			  struct plan_result *ret_result)
{
	const struct session *session = store_sessions_get(&s->sessions, id);
	const struct result *known = session != NULL ? session_result(session, sequence) : NULL;

	if (known == NULL)
		return false;
	*ret_result = (struct plan_result){ .rc = known->rc, .revision = known->revision };
	return true;
}
