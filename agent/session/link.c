/* Connections to the masters, calls on them, and the notion of who leads.
 *
 * Every master has its connection in advance. News of a leader comes three ways: a refused call
 * names it, a standby call parked at a follower returns, and failing calls make us try the next. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/session/internal.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/conf.h"
#include "common/base/file.h"
#include "common/base/log.h"

static void call_free(struct node_call *call)
{
	if (call->slot != NULL)
		*call->slot = NULL;
	call->session->n_calls--;
	free(call);
}

static void on_reply(void *arg, int rc, struct bytes body)
{
	struct node_call *call = arg;
	SampanNode__Reply *reply = NULL;

	if (rc == 0) {
		reply = sampan_node__reply__unpack(NULL, body.len, body.data);
		rc = reply == NULL ? -EBADMSG : 0;
	}
	if (reply != NULL && reply->rc < 0)
		rc = reply->rc;
	if (call->slot != NULL) {
		*call->slot = NULL;
		call->slot = NULL;
	}
	call->done(call, rc, reply);
	if (reply != NULL)
		sampan_node__reply__free_unpacked(reply, NULL);
	call_free(call);
}

int link_call(struct session *s, int slot, const SampanNode__Request *request, unsigned timeout_ms,
	void (*done)(struct node_call *, int rc, const SampanNode__Reply *), void *arg, struct node_call **keep)
{
	struct node_call *call = xcalloc(1, sizeof(*call));
	size_t n = sampan_node__request__get_packed_size(request);
	autofree uint8_t *body = xmalloc(n + 1);

	sampan_node__request__pack(request, body);
	*call = (struct node_call){ .session = s, .master = slot, .done = done, .arg = arg, .slot = keep };
	int rc = sp_client_request(s->client, s->masters[slot].index, bytes_of(body, n), timeout_ms, on_reply, call,
		&call->call);

	if (rc < 0) {
		free(call);
		return rc;
	}
	s->n_calls++;
	if (keep != NULL)
		*keep = call;
	return 0;
}

void link_cancel(struct node_call *call)
{
	if (call == NULL)
		return;
	sp_call_cancel(call->call);
	call_free(call);
}

static int slot_of_id(const struct session *s, uint64_t id)
{
	for (int i = 0; i < MASTERS_MAX; i++) {
		if (s->masters[i].id != 0 && s->masters[i].id == id)
			return i;
	}
	return -1;
}

static void on_connection(int index, bool up, void *arg)
{
	struct session *s = arg;

	for (int i = 0; i < MASTERS_MAX; i++) {
		struct master *m = &s->masters[i];

		if (m->id == 0 || m->index != index)
			continue;
		m->up = up;
		m->standby_not_before_ms = 0;
		if (up && i == s->leader && s->waiting) {
			/* No need to wait for the pause to end. */
			s->retry_ms = 0;
			uv_timer_stop(&s->retry);
			s->waiting = false;
		}
	}
	session_turn(s);
}

static int add_master(struct session *s, uint64_t id, const char *rpc, const char *api, struct status *st)
{
	int slot = slot_of_id(s, id);

	if (slot >= 0 && strcmp(s->masters[slot].rpc_address, rpc) == 0)
		return 0;
	if (slot >= 0) { /* It moved. */
		sp_client_remove(s->client, s->masters[slot].index);
	} else {
		for (slot = 0; slot < MASTERS_MAX && s->masters[slot].id != 0; slot++)
			;
		if (slot == MASTERS_MAX)
			return status_set(st, -ENOSPC, "more than %d masters", MASTERS_MAX);
	}
	struct master *m = &s->masters[slot];
	int rc = sp_client_add(s->client, rpc, &m->index, st);

	if (rc < 0)
		return rc;
	free(m->rpc_address);
	free(m->api_address);
	m->id = id;
	m->rpc_address = xstrdup(rpc);
	m->api_address = xstrdup(api);
	if (s->leader < 0)
		s->leader = slot;
	return 0;
}

static void remove_master(struct session *s, int slot)
{
	struct master *m = &s->masters[slot];

	link_cancel(m->standby);
	sp_client_remove(s->client, m->index);
	free(m->rpc_address);
	free(m->api_address);
	*m = (struct master){ 0 };
	if (s->leader == slot)
		link_next_leader(s);
}

static int add_line(struct session *s, const char *line, struct status *st)
{
	char rpc[256], api[256];
	uint64_t id;

	if (sscanf(line, "%16" SCNx64 " rpc=%255s api=%255s", &id, rpc, api) != 3 || id == 0)
		return status_set(st, -EINVAL, "master = %s: it should be \"<16 hex digits> rpc=HOST:PORT api=HOST:PORT\"",
			line);
	return add_master(s, id, rpc, api, st);
}

static void keep_masters(const struct session *s)
{
	auto_with(buf_fini) struct buf text = { 0 };
	struct status st = { 0 };

	for (int i = 0; i < MASTERS_MAX; i++) {
		if (s->masters[i].id != 0)
			buf_printf(&text, "master = %016" PRIx64 " rpc=%s api=%s\n", s->masters[i].id,
				s->masters[i].rpc_address, s->masters[i].api_address);
	}
	if (file_write(s->options.masters_file, 0644, text.data, text.len, &st) < 0)
		log_warn("list of masters not kept", "error=%s", log_quote(st.message));
	status_fini(&st);
}

/* The masters as the cluster names them: the full list, so who is not in it goes. */
void link_take_masters(struct session *s, SampanNode__Master *const *masters, size_t n)
{
	bool changed = false;

	if (n == 0 || n > MASTERS_MAX)
		return;
	for (size_t i = 0; i < n; i++) {
		const SampanNode__Master *m = masters[i];
		struct status st = { 0 };
		int slot = slot_of_id(s, m->id);

		if (m->id == 0 || m->rpc_address == NULL || m->api_address == NULL)
			continue;
		changed = changed || slot < 0 || strcmp(s->masters[slot].rpc_address, m->rpc_address) != 0;
		if (add_master(s, m->id, m->rpc_address, m->api_address, &st) < 0)
			log_warn("master not taken", "address=%s error=%s", m->rpc_address, log_quote(st.message));
		status_fini(&st);
	}
	for (int i = 0; i < MASTERS_MAX; i++) {
		bool named = s->masters[i].id == 0;

		for (size_t k = 0; k < n && !named; k++)
			named = masters[k]->id == s->masters[i].id;
		if (!named) {
			remove_master(s, i);
			changed = true;
		}
	}
	if (changed)
		keep_masters(s);
}

bool link_take_leader(struct session *s, const SampanNode__Leader *leader)
{
	if (leader == NULL)
		return false;
	if (leader->term > s->term)
		s->term = leader->term;
	else if (leader->term < s->term)
		return false; /* Old news. */
	int slot = leader->id ? slot_of_id(s, leader->id) : -1;

	if (slot < 0 || slot == s->leader)
		return false;
	log_info("following the leader", "id=%016" PRIx64 " address=%s term=%" PRIu64, leader->id,
		s->masters[slot].rpc_address, leader->term);
	s->leader = slot;
	return true;
}

void link_next_leader(struct session *s)
{
	int start = s->leader < 0 ? 0 : s->leader;

	/* Prefer one that can be reached. */
	for (int pass = 0; pass < 2; pass++) {
		for (int i = 1; i <= MASTERS_MAX; i++) {
			int slot = (start + i) % MASTERS_MAX;

			if (s->masters[slot].id != 0 && (pass == 1 || s->masters[slot].up)) {
				s->leader = slot;
				return;
			}
		}
	}
	s->leader = -1;
}

static void on_standby(struct node_call *call, int rc, const SampanNode__Reply *reply)
{
	struct session *s = call->session;
	struct master *m = &s->masters[call->master];

	if (s->stopping)
		return;
	m->standby_not_before_ms = rc < 0 ? io_now_ms(s->options.loop) + RETRY_MAX_MS : 0;
	for (size_t i = 0; reply && reply->standby && i < reply->standby->n_streams; i++)
		s->options.callbacks.stream(s->options.callbacks.ctx, reply->standby->streams[i]);
	if (reply != NULL && link_take_leader(s, reply->leader)) {
		/* At once to the new one; what was parked at the old is worth nothing. */
		link_cancel(s->polling);
		link_cancel(s->registering);
		link_cancel(s->reporting);
		report_again(s);
		s->sequence = 0;
		s->connected = false;
		s->retry_ms = 0;
		uv_timer_stop(&s->retry);
		s->waiting = false;
	}
	session_turn(s);
}

/* Every master but the leader has a standby call parked at it. */
void link_standby_all(struct session *s)
{
	for (int i = 0; i < MASTERS_MAX; i++) {
		struct master *m = &s->masters[i];
		SampanNode__Request request = SAMPAN_NODE__REQUEST__INIT;
		SampanNode__StandbyRequest standby = SAMPAN_NODE__STANDBY_REQUEST__INIT;

		if (m->id == 0 || !m->up || m->standby != NULL || (i == s->leader && s->connected) ||
			io_now_ms(s->options.loop) < m->standby_not_before_ms)
			continue;
		standby.node = (char *)s->options.node;
		standby.has_term = standby.has_park_ms = 1;
		standby.term = s->term;
		standby.park_ms = PARK_MS;
		request.standby = &standby;
		link_call(s, i, &request, PARKED_TIMEOUT_MS, on_standby, NULL, &m->standby);
	}
}

int link_open(struct session *s, struct status *st)
{
	struct sp_client_config config = { .ca_pem = s->ca_pem,
		.cert_pem = s->cert_pem,
		.key_pem = s->key_pem,
		.on_connection = on_connection,
		.arg = s };
	struct conf conf = { 0 };
	int rc = sp_client_create(s->options.loop, &config, &s->client, st);

	s->leader = -1;
	for (size_t i = 0; rc == 0 && i < s->options.n_masters; i++)
		rc = add_line(s, s->options.masters[i], st);
	/* Masters that joined later than this node. */
	if (rc == 0 && conf_read(&conf, s->options.masters_file, NULL) == 0) {
		const char *line;

		for (size_t i = 0; (line = conf_get_nth(&conf, "master", i)) != NULL; i++)
			add_line(s, line, NULL);
		conf_fini(&conf);
	}
	return rc;
}

static void on_closed(void *arg)
{
	struct session *s = arg;

	s->client = NULL;
	s->handles--;
	session_turn(s);
}

void link_close(struct session *s)
{
	if (s->client == NULL)
		return;
	s->handles++;
	sp_client_close(s->client, on_closed, s);
}
