#include "tests/sim/cluster/cluster.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/json.h"
#include "common/api/kinds.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"

#define STEP_NS 1000000ull

unsigned sim_draw(struct sim *sim, unsigned below)
{
	return (unsigned)source_random_below(&sim->source.base, below);
}

/* --- The log and the network ------------------------------------------------------------- */

static void doom(struct sim_master *m, log_propose_cb *cb, void *ctx)
{
	if (cb == NULL)
		return;
	array_grow(m->doomed, m->n_doomed, m->cap_doomed);
	m->doomed[m->n_doomed++] = (struct sim_doomed){ cb, ctx };
}

static int link_propose(void *ctx, void *data, size_t n, log_propose_cb *cb, void *cb_ctx)
{
	struct sim_master *m = ctx;
	struct sim *sim = m->sim;

	if (!m->leading) {
		free(data);
		return -ESHUTDOWN;
	}
	if (m->cut_off) {
		free(data);
		doom(m, cb, cb_ctx);
		return 0;
	}
	array_grow(sim->log, sim->n_log, sim->cap_log);
	sim->log[sim->n_log++] = (struct sim_entry){
		.data = data,
		.n = n,
		.proposer = (unsigned)(m - sim->masters),
		.incarnation = sim->incarnations[m - sim->masters],
		.commit_ns = sim->now_ns +
			     1000ull * sim_draw(sim, (unsigned)sim->options.commit_us_max + 1),
		.cb = cb,
		.ctx = cb_ctx,
	};
	return 0;
}

static int link_confirm(void *ctx, log_propose_cb *cb, void *cb_ctx)
{
	struct sim_master *m = ctx;
	struct sim *sim = m->sim;

	if (!m->leading)
		return -ESHUTDOWN;
	if (m->cut_off) {
		doom(m, cb, cb_ctx);
		return 0;
	}
	array_grow(m->confirms, m->n_confirms, m->cap_confirms);
	m->confirms[m->n_confirms++] = (struct sim_confirm){
		sim->now_ns +
			1000ull * (1 + sim_draw(sim, (unsigned)sim->options.message_us_max + 1)),
		cb,
		cb_ctx,
	};
	return 0;
}

/* All of them, or those that are due. */
static void end_confirms(struct sim_master *m, uint64_t until_ns, int rc)
{
	for (size_t i = 0; i < m->n_confirms; i++) {
		struct sim_confirm confirm = m->confirms[i];

		if (confirm.due_ns > until_ns)
			continue;
		m->confirms[i--] = m->confirms[--m->n_confirms];
		confirm.cb(confirm.ctx, rc);
	}
}

static size_t link_entry_bytes_max(void *ctx)
{
	return 8 << 20;
}

static int link_send(void *ctx, uint64_t to, struct bytes message)
{
	struct sim_master *m = ctx;
	struct sim *sim = m->sim;

	if (to == 0 || to > sim->options.masters || !sim->masters[to - 1].up)
		return -ENOTCONN;
	if (sim_draw(sim, 100) < sim->options.loss_percent || m->cut_off)
		return 0;

	struct sim_message *sent = xcalloc(1, sizeof(*sent)), **at = &sim->messages;

	sent->from = (unsigned)(m - sim->masters);
	sent->to = (unsigned)(to - 1);
	sent->deliver_ns =
		sim->now_ns + 1000ull * sim_draw(sim, (unsigned)sim->options.message_us_max + 1);
	sent->data = xmemdup(message.data, message.len);
	sent->n = message.len;
	while (*at != NULL)
		at = &(*at)->next;
	*at = sent;
	return 0;
}

static bool link_leading(void *ctx)
{
	return ((struct sim_master *)ctx)->leading;
}

static uint64_t link_leader(void *ctx)
{
	struct sim_master *m = ctx;

	if (m->cut_off)
		return m->leading ? m->id : 0;
	return m->sim->leader >= 0 ? (uint64_t)m->sim->leader + 1 : 0;
}

static size_t link_members(void *ctx, uint64_t *ret_ids, size_t cap)
{
	struct sim *sim = ((struct sim_master *)ctx)->sim;

	for (size_t i = 0; i < sim->options.masters && i < cap; i++)
		ret_ids[i] = i + 1;
	return sim->options.masters;
}

static void deliver_messages(struct sim *sim)
{
	struct sim_message **at = &sim->messages;

	while (*at != NULL) {
		struct sim_message *message = *at;

		if (message->deliver_ns > sim->now_ns) {
			at = &message->next;
			continue;
		}
		*at = message->next;
		if (sim->masters[message->to].up && sim->masters[message->from].up &&
		    (message->to == message->from ||
		     (!sim->masters[message->to].cut_off && !sim->masters[message->from].cut_off)))
			rpc_received(sim->masters[message->to].rpc, message->from + 1,
				     bytes_of(message->data, message->n));
		free(message->data);
		free(message);
		/* The delivery may have sent more. */
		at = &sim->messages;
	}
}

/* --- Masters ----------------------------------------------------------------------------- */

static int64_t silence_ms(void *ctx, const char *node)
{
	const struct sim_master *m = ctx;
	const struct sim_options *options = &m->sim->options;

	return options->node_silence_ms(options->node_silence_ctx, (unsigned)(m - m->sim->masters),
					node);
}

static void master_start(struct sim *sim, unsigned index)
{
	struct sim_master *m = &sim->masters[index];
	struct store_limits limits = store_limits_default;

	*m = (struct sim_master){ .sim = sim, .id = index + 1, .up = true };
	sim->incarnations[index]++;
	seeded_source_init(&m->source, source_random_u64(&sim->source.base));
	m->source.now_ns = sim->now_ns;
	/* One master's clock may be wrong by hours. */
	if (index == 1)
		m->source.wall_offset_ns += 5ll * 3600 * 1000000000;
	m->link = (struct log_link){
		.ctx = m,
		.propose = link_propose,
		.confirm = link_confirm,
		.entry_bytes_max = link_entry_bytes_max,
		.send = link_send,
		.leading = link_leading,
		.leader = link_leader,
		.members = link_members,
	};
	if (sim->options.history_events != 0)
		limits.history_events = sim->options.history_events;
	m->store = store_create(&limits);
	m->rpc = rpc_create(&m->link, &m->source.base, m->id);
	m->writes = writes_create(&(struct writes_config){
		.store = m->store,
		.link = &m->link,
		.rpc = m->rpc,
		.source = &m->source.base,
		.cluster = &sim->config,
		.self = m->id,
	});
	if (sim->options.controllers)
		m->deciding = deciding_create(&(struct deciding_config){
			.store = m->store,
			.writes = m->writes,
			.source = &m->source.base,
			.controllers = controllers,
			.scheduler = true,
			.node_silence_ms = sim->options.node_silence_ms ? silence_ms : NULL,
			.node_silence_ctx = m,
		});
}

static void master_stop(struct sim_master *m)
{
	deciding_destroy(m->deciding);
	writes_destroy(m->writes);
	rpc_destroy(m->rpc);
	store_destroy(m->store);
	free(m->doomed);
	free(m->confirms);
	m->doomed = NULL;
	m->confirms = NULL;
	m->n_doomed = m->cap_doomed = m->n_confirms = m->cap_confirms = 0;
	m->up = m->leading = m->cut_off = false;
	m->deciding = NULL;
	m->writes = NULL;
	m->rpc = NULL;
	m->store = NULL;
}

/* --- Entries ----------------------------------------------------------------------------- */

static void apply_entry(struct sim *sim, struct sim_master *m)
{
	size_t index = m->applied++;
	struct status st = { 0 };

	if (writes_apply(m->writes, bytes_of(sim->log[index].data, sim->log[index].n), &st) < 0)
		fail_msg("seed %llu: entry %zu on master %llu: %s", (unsigned long long)sim->seed,
			 index, (unsigned long long)m->id, st.message);

	struct sim_entry *entry = &sim->log[index];
	uint64_t hash = store_hash(m->store);

	/* The oracle: the same entries make the same state. */
	if (entry->hash != 0 && entry->hash != hash)
		fail_msg("seed %llu: masters differ after entry %zu", (unsigned long long)sim->seed,
			 index);
	entry->hash = hash;
	if (entry->cb != NULL && entry->proposer == (unsigned)(m - sim->masters) &&
	    entry->incarnation == sim->incarnations[entry->proposer]) {
		log_propose_cb *cb = entry->cb;

		entry->cb = NULL;
		cb(entry->ctx, 0);
	}
}

static unsigned masters_up(const struct sim *sim)
{
	unsigned n = 0;

	for (unsigned i = 0; i < sim->options.masters; i++)
		n += sim->masters[i].up && !sim->masters[i].cut_off;
	return n;
}

static void commit_and_apply(struct sim *sim)
{
	bool majority = masters_up(sim) > sim->options.masters / 2;

	while (sim->leader >= 0 && majority && sim->n_committed < sim->n_log &&
	       sim->log[sim->n_committed].commit_ns <= sim->now_ns)
		sim->log[sim->n_committed++].committed = true;
	for (unsigned i = 0; i < sim->options.masters; i++) {
		struct sim_master *m = &sim->masters[i];

		/* Followers lag now and then. */
		while (m->up && !m->cut_off && m->applied < sim->n_committed &&
		       (m->leading || sim_draw(sim, 4) != 0))
			apply_entry(sim, m);
	}
}

/* --- Leadership -------------------------------------------------------------------------- */

static void tell_leader(struct sim *sim)
{
	uint64_t id = sim->leader >= 0 ? (uint64_t)sim->leader + 1 : 0;

	for (unsigned i = 0; i < sim->options.masters; i++)
		if (sim->masters[i].up && !sim->masters[i].cut_off) {
			rpc_leader_changed(sim->masters[i].rpc, id);
			writes_leader_changed(sim->masters[i].writes);
		}
}

static void end_proposal(struct sim *sim, struct sim_entry *entry)
{
	log_propose_cb *cb = entry->cb;

	entry->cb = NULL;
	if (cb != NULL && entry->incarnation == sim->incarnations[entry->proposer])
		cb(entry->ctx, -EUNATCH);
}

static void fail_proposal(struct sim *sim, struct sim_entry *entry)
{
	if (sim->masters[entry->proposer].up)
		end_proposal(sim, entry);
}

void sim_depose(struct sim *sim)
{
	if (sim->leader < 0)
		return;

	struct sim_master *m = &sim->masters[sim->leader];
	size_t kept =
		sim->n_committed + sim_draw(sim, (unsigned)(sim->n_log - sim->n_committed) + 1);
	bool callbacks_first = sim_draw(sim, 2) != 0;

	sim->leader = -1;
	m->leading = false;
	if (m->up && !callbacks_first) {
		if (m->deciding != NULL)
			deciding_stop(m->deciding);
		writes_lost_leadership(m->writes);
	}
	for (size_t i = sim->n_committed; i < sim->n_log; i++)
		fail_proposal(sim, &sim->log[i]);
	end_confirms(m, UINT64_MAX, -ETIMEDOUT);
	if (m->up && callbacks_first) {
		if (m->deciding != NULL)
			deciding_stop(m->deciding);
		writes_lost_leadership(m->writes);
	}
	while (sim->n_log > kept)
		free(sim->log[--sim->n_log].data);
	tell_leader(sim);
}

void sim_cut_off_leader(struct sim *sim)
{
	if (sim->leader < 0)
		return;

	struct sim_master *m = &sim->masters[sim->leader];
	size_t kept =
		sim->n_committed + sim_draw(sim, (unsigned)(sim->n_log - sim->n_committed) + 1);

	/* What reached the others may be committed by the next leader. */
	for (size_t i = sim->n_committed; i < sim->n_log; i++) {
		struct sim_entry *entry = &sim->log[i];

		if (entry->incarnation == sim->incarnations[m->id - 1] &&
		    entry->proposer == m->id - 1)
			doom(m, entry->cb, entry->ctx);
		entry->cb = NULL;
	}
	while (sim->n_log > kept)
		free(sim->log[--sim->n_log].data);
	for (; m->n_confirms > 0; m->n_confirms--)
		doom(m, m->confirms[m->n_confirms - 1].cb, m->confirms[m->n_confirms - 1].ctx);
	m->cut_off = true;
	sim->leader = -1;
	tell_leader(sim);
}

void sim_step_down(struct sim *sim, unsigned master)
{
	struct sim_master *m = &sim->masters[master];
	bool callbacks_first = sim_draw(sim, 2) != 0;

	if (!m->up || !m->cut_off || !m->leading)
		return;
	m->leading = false;
	for (unsigned step = 0; step < 2; step++) {
		for (size_t i = 0; (step == 0) == callbacks_first && i < m->n_doomed; i++)
			m->doomed[i].cb(m->doomed[i].ctx, -EUNATCH);
		if ((step == 0) != callbacks_first) {
			if (m->deciding != NULL)
				deciding_stop(m->deciding);
			writes_lost_leadership(m->writes);
		}
	}
	m->n_doomed = 0;
	rpc_leader_changed(m->rpc, 0);
	writes_leader_changed(m->writes);
}

void sim_join(struct sim *sim, unsigned master)
{
	struct sim_master *m = &sim->masters[master];

	sim_step_down(sim, master);
	if (!m->up || !m->cut_off)
		return;
	m->cut_off = false;
	tell_leader(sim);
}

void sim_elect(struct sim *sim, unsigned master)
{
	struct sim_master *m = &sim->masters[master];

	assert_true(m->up);
	assert_false(m->cut_off);
	assert_true(masters_up(sim) > sim->options.masters / 2);
	sim_depose(sim);
	/* What survived is committed under the new term, before anybody may propose. */
	for (; sim->n_committed < sim->n_log; sim->n_committed++)
		sim->log[sim->n_committed].committed = true;
	while (m->applied < sim->n_committed)
		apply_entry(sim, m);
	sim->leader = (int)master;
	m->leading = true;
	tell_leader(sim);
	writes_leading(m->writes);
	if (m->deciding != NULL)
		deciding_lead(m->deciding);
}

void sim_crash(struct sim *sim, unsigned master)
{
	struct sim_master *m = &sim->masters[master];

	if (!m->up)
		return;
	m->up = false;
	/* Only so that memory is given back: what they send is never delivered. */
	for (size_t i = m->applied; i < sim->n_log; i++)
		if (sim->log[i].proposer == master)
			end_proposal(sim, &sim->log[i]);
	for (size_t i = 0; i < m->n_doomed; i++)
		m->doomed[i].cb(m->doomed[i].ctx, -EUNATCH);
	end_confirms(m, UINT64_MAX, -ETIMEDOUT);
	sim->incarnations[master]++;
	if (sim->leader == (int)master)
		sim_depose(sim);
	master_stop(m);
}

static int write_buf(void *ctx, const void *data, size_t n)
{
	buf_put(ctx, data, n);
	return 0;
}

static ssize_t read_buf(void *ctx, void *to, size_t n)
{
	struct buf *b = ctx;

	if (n > b->len)
		n = b->len;
	memcpy(to, b->data, n);
	buf_consume(b, n);
	return (ssize_t)n;
}

static void restore_from(struct sim_master *m, const struct sim_master *other)
{
	struct store_snapshot *snap = store_snapshot_take(other->store);
	struct status st = { 0 };
	struct buf b = { 0 };

	assert_int_equal(store_snapshot_write(snap, write_buf, &b), 0);
	store_snapshot_release(snap);
	if (store_restore(m->store, read_buf, &b, &st) < 0)
		fail_msg("restore: %s", st.message);
	buf_fini(&b);
	m->applied = other->applied;
	assert_int_equal(store_hash(m->store), store_hash(other->store));
	writes_restored(m->writes);
}

void sim_restart(struct sim *sim, unsigned master)
{
	struct sim_master *m = &sim->masters[master];

	if (m->up)
		return;
	master_start(sim, master);
	for (unsigned i = 0; i < sim->options.masters && sim_draw(sim, 2) != 0; i++)
		if (i != master && sim->masters[i].up) {
			restore_from(m, &sim->masters[i]);
			break;
		}
	tell_leader(sim);
}

/* --- Time -------------------------------------------------------------------------------- */

static void turns(struct sim *sim)
{
	for (unsigned i = 0; i < sim->options.masters; i++) {
		struct sim_master *m = &sim->masters[i];

		if (!m->up)
			continue;
		m->source.now_ns = sim->now_ns;
		rpc_turn(m->rpc);
		if (m->deciding != NULL)
			deciding_turn(m->deciding);
		writes_turn(m->writes);
	}
}

/* The first time at which anything may happen; 0: a master has work now or lags behind. */
static uint64_t next_event_ns(const struct sim *sim)
{
	uint64_t first = UINT64_MAX;

	if (sim->n_committed < sim->n_log)
		first = sim->log[sim->n_committed].commit_ns;
	for (const struct sim_message *m = sim->messages; m != NULL; m = m->next)
		first = m->deliver_ns < first ? m->deliver_ns : first;
	for (unsigned i = 0; i < sim->options.masters; i++) {
		const struct sim_master *m = &sim->masters[i];

		if (!m->up)
			continue;

		uint64_t times[] = { writes_deadline_ns(m->writes), rpc_deadline_ns(m->rpc),
				     m->deciding ? deciding_deadline_ns(m->deciding) : UINT64_MAX };

		if (m->applied < sim->n_committed && !m->cut_off)
			return 0;
		for (size_t k = 0; k < m->n_confirms; k++)
			first = m->confirms[k].due_ns < first ? m->confirms[k].due_ns : first;
		for (size_t k = 0; k < array_size(times); k++)
			first = times[k] < first ? times[k] : first;
	}
	return first;
}

static uint64_t step_ns(struct sim *sim)
{
	uint64_t step = 1000ull * (1 + sim_draw(sim, STEP_NS / 1000));

	if (sim->options.leap) {
		uint64_t next = next_event_ns(sim);

		/* Loops wake up a little late, never early. */
		if (next > sim->now_ns + step)
			return next == UINT64_MAX ? UINT64_MAX : next - sim->now_ns + step;
	}
	return step;
}

void sim_run(struct sim *sim, uint64_t us)
{
	uint64_t end_ns = sim->now_ns + us * 1000;

	sim->interrupted = false;
	while (sim->now_ns < end_ns && !sim->interrupted) {
		uint64_t step = step_ns(sim);

		sim->now_ns += step < end_ns - sim->now_ns ? step : end_ns - sim->now_ns;
		sim->source.now_ns = sim->now_ns;
		for (unsigned i = 0; i < sim->options.masters; i++)
			sim->masters[i].source.now_ns = sim->now_ns;
		if (sim->options.leap && next_event_ns(sim) > sim->now_ns)
			continue; /* Nobody is woken by time that only passes. */
		deliver_messages(sim);
		commit_and_apply(sim);
		if (sim->leader >= 0 && masters_up(sim) > sim->options.masters / 2)
			end_confirms(&sim->masters[sim->leader], sim->now_ns, 0);
		turns(sim);
	}
}

void sim_until(struct sim *sim, bool (*fn)(struct sim *sim, void *ctx), void *ctx, unsigned seconds,
	       const char *what)
{
	for (unsigned i = 0; i < seconds * 1000; i++) {
		if (fn(sim, ctx))
			return;
		sim_run(sim, 1000);
	}
	fail_msg("seed %llu: not within %u s: %s", (unsigned long long)sim->seed, seconds, what);
}

/* --- Life -------------------------------------------------------------------------------- */

void sim_init(struct sim *sim, uint64_t seed, const struct sim_options *options)
{
	*sim = (struct sim){ .options = *options, .seed = seed, .leader = -1 };
	seeded_source_init(&sim->source, seed);
	sim->now_ns = sim->source.now_ns + STEP_NS;
	arena_init(&sim->arena, 0);
	sim->config = (struct cluster_config){
		.domain = "cluster.local",
		.service_cidr = "10.96.0.0/24",
		.pod_cidr = "10.244.0.0/16",
		.node_prefix = 24,
		.node_port_min = 30000,
		.node_port_max = 30049,
		.dns_address = "10.96.0.10",
	};
	for (unsigned i = 0; i < options->masters; i++)
		master_start(sim, i);
}

void sim_fini(struct sim *sim)
{
	for (unsigned i = 0; i < sim->options.masters; i++)
		sim_crash(sim, i);
	for (size_t i = 0; i < sim->n_log; i++)
		free(sim->log[i].data);
	free(sim->log);
	while (sim->messages != NULL) {
		struct sim_message *message = sim->messages;

		sim->messages = message->next;
		free(message->data);
		free(message);
	}
	arena_fini(&sim->arena);
}

static struct arena *requests_of(struct sim *sim)
{
	return sim->requests != NULL ? sim->requests : &sim->arena;
}

static SampanMaster__WriteRequest *request_new(struct sim *sim,
					       SampanMaster__WriteRequest__Verb verb,
					       const char *resource, const char *namespace,
					       const char *name)
{
	struct arena *a = requests_of(sim);
	SampanMaster__WriteRequest *r = arena_new(a, SampanMaster__WriteRequest);

	sampan_master__write_request__init(r);
	r->has_verb = true;
	r->verb = verb;
	r->resource = arena_strdup(a, resource);
	r->namespace_ = arena_strdup(a, namespace);
	r->name = arena_strdup(a, name);
	r->field_validation = (char *)"Strict";
	return r;
}

static char *json_text(struct arena *a, const char *json)
{
	char *text = arena_strdup(a, json);

	for (char *c = text; *c != '\0'; c++)
		if (*c == '\'')
			*c = '"';
	return text;
}

static void set_body(struct sim *sim, SampanMaster__WriteRequest *r,
		     const ProtobufCMessageDescriptor *descriptor, const char *json)
{
	struct arena *a = requests_of(sim);
	struct status st = { 0 };
	void *message;

	if (json_read_message(descriptor, bytes_str(json_text(a, json)), a, NULL, &message, &st) <
	    0)
		fail_msg("%s: %s", json, st.message);

	struct bytes packed = pack_message_in(a, message);

	r->has_body = true;
	r->body = (ProtobufCBinaryData){ packed.len, (uint8_t *)packed.data };
}

SampanMaster__WriteRequest *sim_request(struct sim *sim, SampanMaster__WriteRequest__Verb verb,
					const char *resource, const char *namespace,
					const char *name, const char *json)
{
	SampanMaster__WriteRequest *r = request_new(sim, verb, resource, namespace, name);

	if (json != NULL && verb == SAMPAN_MASTER__WRITE_REQUEST__VERB__PATCH) {
		char *text = json_text(requests_of(sim), json);

		r->has_patch_type = true;
		r->patch_type = SAMPAN_MASTER__WRITE_REQUEST__PATCH_TYPE__MERGE_PATCH;
		r->has_body = true;
		r->body = (ProtobufCBinaryData){ strlen(text), (uint8_t *)text };
	} else if (json != NULL) {
		set_body(sim, r, kind_of_resource(resource)->descriptor, json);
	}
	return r;
}

SampanMaster__WriteRequest *sim_request_of(struct sim *sim, const char *subresource,
					   const char *resource, const char *namespace,
					   const char *name, const char *json)
{
	SampanMaster__WriteRequest *r = request_new(sim, SAMPAN_MASTER__WRITE_REQUEST__VERB__CREATE,
						    resource, namespace, name);

	r->subresource = arena_strdup(requests_of(sim), subresource);
	set_body(sim, r, kind_subresource(kind_of_resource(resource), subresource)->descriptor,
		 json);
	return r;
}

const struct object *sim_get(struct sim *sim, unsigned master, const char *resource,
			     const char *namespace, const char *name)
{
	return store_get(sim->masters[master].store, kind_of_resource(resource), namespace, name);
}
