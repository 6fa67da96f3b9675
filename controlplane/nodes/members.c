/* The registry of masters, and who is a member.
 *
 *   ConfigMap kube-system/sampan-masters
 *     <16 hex digits of the member id>: name=N api=H:P rpc=H:P raft=H:P live=true|false
 *
 * It tells agents where to call, and the controller of the Service kubernetes
 * whom to list. Only the leader changes it: a join adds a line, a removal takes
 * it away, and live follows the connections the leader sees. Nothing is written
 * while nothing changes. A member that was added becomes standby at once, so that
 * it catches up before it counts, and a voter when it is connected. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/json_text.h"
#include "common/api/kinds.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/log.h"
#include "controlplane/consensus/consensus.h"
#include "controlplane/nodes/internal.h"
#include "controlplane/writes/rpc.h"
#include "controlplane/writes/writes.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "proto/sampan/master.pb-c.h"

#define REGISTRY "sampan-masters"
#define MEMBERS_MAX 32
#define LOOK_MS 1000
/* A connection lost for less is not worth an entry in the log. */
#define DEAD_MS 2000
#define CALL_TIMEOUT_MS 10000

struct members {
	bool writing; /* A patch of the registry is under way. */
	bool changing; /* So is a change of the configuration. */
	uint64_t look_ms;
	uint64_t warned_id;
};

static void members_on_request(void *ctx, struct rpc_asked asked,
			       const SampanMaster__Message *question);

void members_start(struct nodes *nodes)
{
	nodes->members = xcalloc(1, sizeof(*nodes->members));
	rpc_handle(nodes->config.rpc, RPC_MEMBER, members_on_request, nodes);
}

void members_stop(struct nodes *nodes)
{
	free(nodes->members);
	nodes->members = NULL;
}

/* --- Reading the registry ------------------------------------------------------------ */

static const CoreV1__ConfigMap *registry(struct nodes *nodes, struct arena *arena)
{
	const struct object *o = store_get(nodes->config.store, kind_of_resource("configmaps"),
					   "kube-system", REGISTRY);

	return o ? unpack_stored(o->kind->descriptor, o->packed, arena) : NULL;
}

/* The word after "name=" in a line, in the arena; "" when it is not there. */
static const char *word(struct arena *arena, const char *line, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = line; p != NULL; p = strchr(p, ' ')) {
		p += *p == ' ';
		if (strncmp(p, name, n) == 0 && p[n] == '=')
			return arena_strndup(arena, p + n + 1, strcspn(p + n + 1, " "));
	}
	return "";
}

static struct master_line *parse_line(struct arena *arena, const char *line)
{
	struct master_line *l = arena_new(arena, struct master_line);

	l->name = word(arena, line, "name");
	l->api = word(arena, line, "api");
	l->rpc = word(arena, line, "rpc");
	l->raft = word(arena, line, "raft");
	l->live = strcmp(word(arena, line, "live"), "true") == 0;
	return l;
}

const struct master_line *members_line(struct nodes *nodes, struct arena *arena, const char *key)
{
	const CoreV1__ConfigMap *map = registry(nodes, arena);

	for (size_t i = 0; map != NULL && i < map->n_data; i++)
		if (strcmp(map->data[i]->key, key) == 0)
			return parse_line(arena, map->data[i]->value);
	return NULL;
}

SampanNode__Master **members_list(struct nodes *nodes, struct arena *arena, size_t *ret_n)
{
	const CoreV1__ConfigMap *map = registry(nodes, arena);
	size_t n = map ? map->n_data : 0;
	SampanNode__Master **masters = arena_array(arena, SampanNode__Master *, n + 1);

	for (size_t i = 0; i < n; i++) {
		const struct master_line *l = parse_line(arena, map->data[i]->value);
		SampanNode__Master *m = arena_new(arena, SampanNode__Master);

		sampan_node__master__init(m);
		m->has_id = true;
		m->id = strtoull(map->data[i]->key, NULL, 16);
		m->rpc_address = (char *)l->rpc;
		m->api_address = (char *)l->api;
		masters[i] = m;
	}
	*ret_n = n;
	return masters;
}

/* --- Writing it ------------------------------------------------------------------------ */

struct patch {
	struct nodes *nodes;
	members_done_cb *done; /* May be NULL. */
	void *ctx;
};

static void on_patched(void *ctx, const void *response)
{
	struct patch *p = ctx;
	const SampanMaster__WriteResponse *w = response;

	p->nodes->members->writing = false;
	members_look(p->nodes);
	if (p->done != NULL)
		p->done(p->ctx, w->code < 300 ? 0 : -EAGAIN, "the registry of masters could not be written");
	free(p);
}

/* line NULL takes the entry away. */
static void patch_line(struct nodes *nodes, const char *key, const struct master_line *line,
		       members_done_cb *done, void *ctx)
{
	SampanMaster__WriteRequest w = SAMPAN_MASTER__WRITE_REQUEST__INIT;
	SampanMaster__User user = SAMPAN_MASTER__USER__INIT;
	static char *groups[] = { (char *)"system:masters" };
	struct patch *p = xcalloc(1, sizeof(*p));
	struct buf body = { 0 }, text = { 0 };

	*p = (struct patch){ nodes, done, ctx };
	buf_printf(&body, "{\"data\":{\"%s\":", key);
	if (line != NULL) {
		buf_printf(&text, "name=%s api=%s rpc=%s raft=%s live=%s", line->name, line->api,
			   line->rpc, line->raft, line->live ? "true" : "false");
		json_put_cstring(&body, buf_cstr(&text));
	} else {
		buf_put_str(&body, "null");
	}
	buf_put_str(&body, "}}");

	user.name = (char *)"system:masters-registry";
	user.groups = groups;
	user.n_groups = 1;
	w.user = &user;
	w.has_verb = w.has_patch_type = w.has_body = true;
	w.verb = SAMPAN_MASTER__WRITE_REQUEST__VERB__PATCH;
	w.patch_type = SAMPAN_MASTER__WRITE_REQUEST__PATCH_TYPE__MERGE_PATCH;
	w.resource = (char *)"configmaps";
	w.subresource = (char *)"";
	w.namespace_ = (char *)"kube-system";
	w.name = (char *)REGISTRY;
	w.body = (ProtobufCBinaryData){ body.len, body.data };
	nodes->members->writing = true;
	writes_submit(nodes->config.writes, &w, CALL_TIMEOUT_MS, on_patched, p);
	buf_fini(&body);
	buf_fini(&text);
}

/* --- The leader's look ------------------------------------------------------------------- */

static bool is_live(const struct consensus_member *m)
{
	return m->self || m->connected || m->last_contact_ms < DEAD_MS;
}

static void on_assigned(void *ctx, int rc)
{
	struct nodes *nodes = ctx;

	nodes->members->changing = false;
	if (rc < 0 && rc != -EALREADY)
		log_warn("a master is not yet a voter", "rc=%d", rc);
	members_look(nodes);
}

/* One step towards voter. A spare hears nothing and so never calls back: standby comes at once, and
 * once it is connected both ways it may vote. */
static void promote(struct nodes *nodes, const struct consensus_member *m)
{
	enum consensus_member_role next =
		m->role == CONSENSUS_SPARE ? CONSENSUS_STANDBY : CONSENSUS_VOTER;

	if (nodes->members->changing || m->role == CONSENSUS_VOTER ||
	    (m->role == CONSENSUS_STANDBY && !m->connected))
		return;
	int rc = consensus_member_assign(nodes->config.consensus, m->id, next, on_assigned, nodes);
	if (rc == 0) {
		nodes->members->changing = true;
		log_info("promoting a master", "id=%016" PRIx64 " to=%s", m->id,
			 next == CONSENSUS_VOTER ? "voter" : "standby");
	}
}

static void correct_line(struct nodes *nodes, const struct consensus_member *m)
{
	struct arena arena;
	char key[17];

	if (nodes->members->writing)
		return;
	arena_init(&arena, 0);
	snprintf(key, sizeof(key), "%016" PRIx64, m->id);
	const struct master_line *line = members_line(nodes, &arena, key);
	if (line != NULL && line->live != is_live(m)) {
		struct master_line new = *line;

		new.live = is_live(m);
		log_info(new.live ? "a master is back" : "a master is away", "id=%s name=%s", key,
			 line->name);
		patch_line(nodes, key, &new, NULL, NULL);
	}
	arena_fini(&arena);
}

void members_look(struct nodes *nodes)
{
	nodes->members->look_ms = 0;
}

void members_tick(struct nodes *nodes, uint64_t now_ms)
{
	struct consensus_member members[MEMBERS_MAX];

	if (!nodes->leading || nodes->stopping || now_ms < nodes->members->look_ms)
		return;
	nodes->members->look_ms = now_ms + LOOK_MS;
	size_t n = consensus_members(nodes->config.consensus, members, MEMBERS_MAX);
	for (size_t i = 0; i < n && i < MEMBERS_MAX; i++) {
		promote(nodes, &members[i]);
		correct_line(nodes, &members[i]);
	}
}

void members_on_change(struct nodes *nodes, const struct change *change)
{
	const struct object *o = change->new ? change->new : change->old;

	if (strcmp(o->kind->resource, "configmaps") != 0 || strcmp(o->name, REGISTRY) != 0 ||
	    strcmp(o->namespace, "kube-system") != 0)
		return;
	tree_for_each (s, &nodes->states, struct node_state, by_name) {
		s->members_due = true;
		node_state_look(nodes, s);
	}
}

/* --- Adding and removing ------------------------------------------------------------------- */

/* On the leader: registry first, so that agents and the API know the master before it votes;
 * removal the other way round. */
struct membership {
	struct nodes *nodes;
	uint64_t id;
	char key[17];
	char *raft;
	members_done_cb *done;
	void *ctx;
};

static void membership_end(struct membership *m, int rc, const char *message)
{
	m->done(m->ctx, rc, message);
	free(m->raft);
	free(m);
}

static void on_member_added(void *ctx, int rc)
{
	struct membership *m = ctx;

	members_look(m->nodes);
	if (rc == -EEXIST)
		rc = 0;
	/* One change at a time: the master before may be on its way to a vote. */
	if (rc == -EBUSY)
		rc = -ESHUTDOWN;
	membership_end(m, rc, "the master could not be made a member; try again");
}

static void on_line_added(void *ctx, int rc, const char *message)
{
	struct membership *m = ctx;

	if (rc == 0)
		rc = consensus_member_add(m->nodes->config.consensus, m->id, m->raft, on_member_added, m);
	if (rc < 0)
		on_member_added(m, rc);
	(void)message;
}

static void on_line_removed(void *ctx, int rc, const char *message)
{
	membership_end(ctx, rc, message);
}

static void on_member_removed(void *ctx, int rc)
{
	struct membership *m = ctx;

	if (rc < 0 && rc != -ENOENT)
		membership_end(m, rc, "the master could not be removed; try again");
	else
		patch_line(m->nodes, m->key, NULL, on_line_removed, m);
}

static struct membership *membership_new(struct nodes *nodes, uint64_t id, const char *raft,
					 members_done_cb *done, void *ctx)
{
	struct membership *m = xcalloc(1, sizeof(*m));

	*m = (struct membership){ .nodes = nodes, .id = id, .done = done, .ctx = ctx };
	m->raft = xstrdup(raft);
	snprintf(m->key, sizeof(m->key), "%016" PRIx64, id);
	return m;
}

static void lead_add(struct nodes *nodes, uint64_t id, const struct master_line *line,
		     members_done_cb *done, void *ctx)
{
	struct membership *m = membership_new(nodes, id, line->raft, done, ctx);

	patch_line(nodes, m->key, line, on_line_added, m);
}

static void lead_remove(struct nodes *nodes, uint64_t id, members_done_cb *done, void *ctx)
{
	struct membership *m = membership_new(nodes, id, "", done, ctx);
	int rc = consensus_member_remove(nodes->config.consensus, id, on_member_removed, m);

	if (rc < 0)
		on_member_removed(m, rc);
}

/* --- Asked by another master ------------------------------------------------------------------- */

struct answer {
	struct nodes *nodes;
	struct rpc_asked asked;
};

static void on_answered(void *ctx, int rc, const char *message)
{
	struct answer *a = ctx;
	SampanMaster__Message reply = SAMPAN_MASTER__MESSAGE__INIT;
	SampanMaster__MemberReply member = SAMPAN_MASTER__MEMBER_REPLY__INIT;

	member.has_rc = true;
	member.rc = rc;
	member.message = (char *)(rc < 0 ? message : NULL);
	reply.member_reply = &member;
	rpc_reply(a->nodes->config.rpc, a->asked, &reply);
	free(a);
}

static void members_on_request(void *ctx, struct rpc_asked asked,
			       const SampanMaster__Message *question)
{
	struct nodes *nodes = ctx;
	const SampanMaster__MemberRequest *m = question->member;
	struct answer *a = xcalloc(1, sizeof(*a));

	*a = (struct answer){ nodes, asked };
	if (!nodes->leading)
		on_answered(a, -ESHUTDOWN, "this master does not lead (any more); try again");
	else if (m->change == SAMPAN_MASTER__MEMBER_REQUEST__CHANGE__REMOVE)
		lead_remove(nodes, m->id, on_answered, a);
	else if (!m->address || !m->rpc_address || !m->api_address || !m->name || m->id == 0)
		on_answered(a, -EINVAL, "a member has an id, a name and three addresses");
	else
		lead_add(nodes, m->id,
			 &(struct master_line){ .name = m->name, .api = m->api_address,
						.rpc = m->rpc_address, .raft = m->address },
			 on_answered, a);
}

/* --- Through the leader ------------------------------------------------------------------------ */

struct asked {
	members_done_cb *done;
	void *ctx;
};

static void on_reply(void *ctx, int rc, const SampanMaster__Message *reply)
{
	struct asked *a = ctx;

	if (rc == 0 && reply->member_reply != NULL)
		a->done(a->ctx, reply->member_reply->rc, reply->member_reply->message);
	else
		a->done(a->ctx, rc < 0 ? rc : -EAGAIN, "the leader did not answer");
	free(a);
}

static void ask_leader(struct nodes *nodes, SampanMaster__MemberRequest *request,
		       members_done_cb *done, void *ctx)
{
	SampanMaster__Message message = SAMPAN_MASTER__MESSAGE__INIT;
	struct asked *a = xcalloc(1, sizeof(*a));

	*a = (struct asked){ done, ctx };
	message.member = request;
	rpc_call(nodes->config.rpc, 0, &message, CALL_TIMEOUT_MS, on_reply, a);
}

void members_add(struct nodes *nodes, uint64_t id, const struct master_line *line,
		 members_done_cb *done, void *ctx)
{
	SampanMaster__MemberRequest request = SAMPAN_MASTER__MEMBER_REQUEST__INIT;

	if (nodes->leading) {
		lead_add(nodes, id, line, done, ctx);
		return;
	}
	request.has_change = request.has_id = true;
	request.change = SAMPAN_MASTER__MEMBER_REQUEST__CHANGE__ADD;
	request.id = id;
	request.name = (char *)line->name;
	request.address = (char *)line->raft;
	request.rpc_address = (char *)line->rpc;
	request.api_address = (char *)line->api;
	ask_leader(nodes, &request, done, ctx);
}

void members_remove(struct nodes *nodes, uint64_t id, members_done_cb *done, void *ctx)
{
	SampanMaster__MemberRequest request = SAMPAN_MASTER__MEMBER_REQUEST__INIT;

	if (nodes->leading) {
		lead_remove(nodes, id, done, ctx);
		return;
	}
	request.has_change = request.has_id = true;
	request.change = SAMPAN_MASTER__MEMBER_REQUEST__CHANGE__REMOVE;
	request.id = id;
	ask_leader(nodes, &request, done, ctx);
}
