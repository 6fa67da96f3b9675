/* Register once, then poll for ever.
 *
 *   (no leader) -> REGISTER -> POLL(0, inventory) -> POLL(n, digest) -> POLL(n+1, digest) ...
 *        ^             |              |                    |
 *        +-------------+--------------+---- on failure ----+     (already registered: straight to POLL 0)
 *
 * session_turn() is called after everything that happens and starts whatever is missing. */
#include "agent/session/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/session/internal.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/source.h"
#include "common/io/tls.h"

enum { NODE_BYTES_MAX = 4 * 1024 * 1024 };

static void on_retry(uv_timer_t *timer)
{
	struct session *s = container_of(timer, struct session, retry);

	s->waiting = false;
	session_turn(s);
}

void session_pause(struct session *s)
{
	s->retry_ms = s->retry_ms == 0 ? RETRY_FIRST_MS : s->retry_ms * 2;
	if (s->retry_ms > RETRY_MAX_MS)
		s->retry_ms = RETRY_MAX_MS;
	s->waiting = true;
	uv_timer_start(&s->retry, on_retry, s->retry_ms, 0);
}

/* A call to the presumed leader failed. -ESTALE names the real one, if there is one. */
static void leader_failed(struct session *s, int rc, const SampanNode__Reply *reply, const char *what)
{
	if (s->connected)
		log_warn("lost the leader", "call=%s error=%s", what, log_quote(strerror(-rc)));
	s->connected = false;
	s->sequence = 0;
	if (reply != NULL && link_take_leader(s, reply->leader))
		return; /* At once. */
	if (rc != -ECANCELED)
		link_next_leader(s);
	session_pause(s);
}

static void take_registration(struct session *s, const SampanNode__RegisterReply *r)
{
	auto_with(arena_fini) struct arena arena = { 0 };
	struct session_cluster cluster = { .domain = r->cluster_domain,
		.dns_address = r->dns_address,
		.service_cidr = r->service_cidr };
	void *message;

	arena_init(&arena, NODE_BYTES_MAX);
	/* r->pod_cidr is the whole cluster's; ours is in the Node. */
	if (r->has_node && unpack_message(&core_v1__node__descriptor, bytes_of(r->node.data, r->node.len), &arena,
				   &message, NULL) == 0) {
		const CoreV1__Node *node = message;

		cluster.pod_cidr = node->spec && node->spec->podcidr && *node->spec->podcidr ? node->spec->podcidr : NULL;
	}
	log_info("registered", "node=%s pod_cidr=%s", s->options.node, cluster.pod_cidr ? cluster.pod_cidr : "none");
	link_take_masters(s, r->masters, r->n_masters);
	s->options.callbacks.cluster(s->options.callbacks.ctx, &cluster);
}

static void on_registered(struct node_call *call, int rc, const SampanNode__Reply *reply)
{
	struct session *s = call->session;

	if (s->stopping)
		return;
	if (rc == 0 && reply->register_ == NULL)
		rc = -EBADMSG;
	if (rc < 0) {
		if (rc != -ESTALE)
			log_warn("not registered", "error=%s",
				log_quote(reply && reply->message ? reply->message : strerror(-rc)));
		leader_failed(s, rc, reply, "register");
	} else {
		s->registered = true;
		s->retry_ms = 0;
		take_registration(s, reply->register_);
	}
	session_turn(s);
}

static void send_register(struct session *s)
{
	auto_with(arena_fini) struct arena arena = { 0 };
	SampanNode__Request request = SAMPAN_NODE__REQUEST__INIT;
	SampanNode__RegisterRequest body = SAMPAN_NODE__REGISTER_REQUEST__INIT;

	arena_init(&arena, 0);
	struct bytes packed = pack_message_in(&arena, s->options.callbacks.node(s->options.callbacks.ctx, &arena));

	body.has_node = 1;
	body.node = (ProtobufCBinaryData){ packed.len, (uint8_t *)packed.data };
	request.register_ = &body;
	if (link_call(s, s->leader, &request, CALL_TIMEOUT_MS, on_registered, NULL, &s->registering) < 0)
		session_pause(s);
}

static void take_change(struct session *s, const SampanNode__Change *change)
{
	const SampanNode__Held *key = change->key;
	struct session_callbacks *cb = &s->options.callbacks;

	if (key == NULL || key->resource == NULL || key->name == NULL)
		return;
	struct held_object *old = objects_find(s->options.objects, key->resource, key->namespace_, key->name);

	/* A pod of this name with another uid is another pod. */
	if (old != NULL && (change->deleted || (key->uid && strcmp(old->uid, key->uid) != 0))) {
		cb->removed(cb->ctx, old);
		objects_remove(s->options.objects, key->resource, key->namespace_, key->name);
	}
	if (change->deleted || !change->has_object)
		return;
	struct held_object *o = objects_put(s->options.objects, key->resource, key->namespace_, key->name, key->uid,
		key->revision, bytes_of(change->object.data, change->object.len));

	cb->put(cb->ctx, o);
}

/* The masters forgot how things are here while they heard nothing of us. */
static void report_everything(struct session *s)
{
	session_report_node(s);
	for (struct held_object *o = objects_first(s->options.objects); o; o = objects_next(o))
		if (strcmp(o->resource, "pods") == 0)
			session_report_pod(s, o->uid);
}

static void on_polled(struct node_call *call, int rc, const SampanNode__Reply *reply)
{
	struct session *s = call->session;

	if (s->stopping)
		return;
	if (rc == 0 && reply->poll == NULL)
		rc = -EBADMSG;
	if (rc < 0) {
		leader_failed(s, rc, reply, "poll");
		session_turn(s);
		return;
	}
	const SampanNode__PollReply *poll = reply->poll;

	if (!s->connected) {
		log_info("connected", "objects=%zu", objects_count(s->options.objects));
		s->connected = true;
	}
	s->retry_ms = 0;
	if (poll->want_inventory) {
		/* Twice in a row would mean that we disagree for good: not faster than the pause allows. */
		if (s->sequence == 0)
			session_pause(s);
		s->sequence = 0;
	} else {
		for (size_t i = 0; i < poll->n_changes; i++)
			take_change(s, poll->changes[i]);
		s->sequence = poll->sequence;
	}
	if (poll->want_status)
		report_everything(s);
	link_take_masters(s, poll->masters, poll->n_masters);
	for (size_t i = 0; i < poll->n_streams; i++)
		s->options.callbacks.stream(s->options.callbacks.ctx, poll->streams[i]);
	session_turn(s);
}

static void fill_inventory(struct session *s, struct arena *arena, SampanNode__PollRequest *poll)
{
	size_t n = objects_count(s->options.objects), i = 0;
	SampanNode__Held **inventory = arena_array(arena, SampanNode__Held *, n + 1);

	for (struct held_object *o = objects_first(s->options.objects); o; o = objects_next(o)) {
		SampanNode__Held *h = arena_new(arena, SampanNode__Held);

		sampan_node__held__init(h);
		h->resource = o->resource;
		h->namespace_ = o->namespace;
		h->name = o->name;
		h->uid = o->uid;
		h->has_revision = 1;
		h->revision = o->revision;
		inventory[i++] = h;
	}
	poll->inventory = inventory;
	poll->n_inventory = i;
}

static void send_poll(struct session *s)
{
	auto_with(arena_fini) struct arena arena = { 0 };
	SampanNode__Request request = SAMPAN_NODE__REQUEST__INIT;
	SampanNode__PollRequest poll = SAMPAN_NODE__POLL_REQUEST__INIT;

	arena_init(&arena, 0);
	poll.node = (char *)s->options.node;
	poll.has_incarnation = poll.has_sequence = poll.has_digest = poll.has_park_ms = 1;
	poll.incarnation = s->incarnation;
	poll.sequence = s->sequence;
	poll.digest = objects_digest(s->options.objects);
	poll.park_ms = PARK_MS;
	if (s->sequence == 0)
		fill_inventory(s, &arena, &poll);
	poll.usage = s->options.callbacks.usage(s->options.callbacks.ctx, s->sequence == 0);
	request.poll = &poll;
	if (link_call(s, s->leader, &request, PARKED_TIMEOUT_MS, on_polled, NULL, &s->polling) < 0)
		session_pause(s);
}

static void maybe_free(struct session *s)
{
	if (s->handles > 0)
		return;
	for (int i = 0; i < MASTERS_MAX; i++) {
		free(s->masters[i].rpc_address);
		free(s->masters[i].api_address);
	}
	report_fini(s);
	tls_context_destroy(s->tls);
	free(s->ca_pem);
	free(s->cert_pem);
	free(s->key_pem);
	if (s->stopped != NULL)
		s->stopped(s->stopped_arg);
	free(s);
}

void session_turn(struct session *s)
{
	if (s->stopping) {
		maybe_free(s);
		return;
	}
	link_standby_all(s);
	if (s->waiting || s->leader < 0)
		return;
	if (!s->registered) {
		if (s->registering == NULL)
			send_register(s);
		return;
	}
	if (s->polling == NULL)
		send_poll(s);
	if (s->connected) {
		renew_due(s);
		report_flush(s);
	}
}

static int read_pem(const char *path, char **ret, struct status *st)
{
	auto_with(buf_fini) struct buf text = { 0 };
	int rc = path ? file_read(path, 256 * 1024, &text, st)
		      : status_set(st, -EINVAL, "ca_file, cert_file and key_file are needed beside master");

	if (rc == 0)
		*ret = xstrdup(buf_cstr(&text));
	return rc;
}

static int open_session(struct session *s, struct status *st)
{
	const struct session_options *o = &s->options;
	int rc = read_pem(o->ca_file, &s->ca_pem, st);

	if (rc == 0)
		rc = read_pem(o->cert_file, &s->cert_pem, st);
	if (rc == 0)
		rc = read_pem(o->key_file, &s->key_pem, st);
	if (rc < 0)
		return rc;
	struct tls_client_config tls = { .ca_pem = s->ca_pem, .cert_pem = s->cert_pem, .key_pem = s->key_pem };

	rc = tls_client_context_create(&tls, &s->tls, st);
	if (rc == 0)
		rc = link_open(s, st);
	return rc < 0 ? rc : renew_start(s, st);
}

int session_start(const struct session_options *options, struct session **ret, struct status *st)
{
	struct session *s = xcalloc(1, sizeof(*s));

	s->options = *options;
	s->incarnation = source_random_u64(&system_source) | 1;
	uv_timer_init(options->loop->uv, &s->retry);
	uv_timer_init(options->loop->uv, &s->batch);
	uv_timer_init(options->loop->uv, &s->renewal);
	s->handles = 3;
	report_init(s);
	*ret = s;
	int rc = open_session(s, st);

	if (rc == 0)
		session_turn(s);
	return rc;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct session *s = handle->data;

	s->handles--;
	maybe_free(s);
}

void session_stop(struct session *s, void (*cb)(void *arg), void *arg)
{
	uv_timer_t *timers[] = { &s->retry, &s->batch, &s->renewal };

	s->stopped = cb;
	s->stopped_arg = arg;
	s->stopping = true;
	for (size_t i = 0; i < array_size(timers); i++) {
		timers[i]->data = s;
		uv_close((uv_handle_t *)timers[i], on_timer_closed);
	}
	link_close(s);
}

struct tls_context *session_tls(struct session *s)
{
	return s->tls;
}
