/* Requests of machines and operators below /sampan/v1/. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/json_text.h"
#include "common/base/buf.h"
#include "common/io/exchange.h"
#include "controlplane/consensus/consensus.h"
#include "controlplane/nodes/http.h"
#include "controlplane/nodes/internal.h"

#define MEMBERS_MAX 32

void http_status(struct exchange *x, int code, const char *reason, const char *fmt, ...)
{
	struct buf message = { 0 }, body = { 0 };
	va_list args;

	va_start(args, fmt);
	buf_vprintf(&message, fmt, args);
	va_end(args);
	buf_put_str(&body, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":");
	buf_printf(&body, "\"%s\",\"message\":", code < 300 ? "Success" : "Failure");
	json_put_cstring(&body, buf_cstr(&message));
	buf_printf(&body, ",\"reason\":\"%s\",\"code\":%d}\n", reason, code);
	exchange_respond_buf(x, code, "application/json", &body);
	buf_fini(&message);
}

static bool is_operator(struct exchange *x)
{
	return x->peer != NULL && tls_identity_in_org(x->peer, "system:masters");
}

static const char *const role_names[] = { "follower", "candidate", "leader" };
static const char *const member_role_names[] = { "spare", "standby", "voter" };

static void put_member(struct buf *out, struct nodes *nodes, const struct consensus_member *m,
		       uint64_t leader_id)
{
	char key[17];
	struct arena arena;

	arena_init(&arena, 0);
	snprintf(key, sizeof(key), "%016" PRIx64, m->id);
	const struct master_line *line = members_line(nodes, &arena, key);
	buf_printf(out, "{\"id\":\"%s\",\"name\":", key);
	json_put_cstring(out, line ? line->name : "");
	buf_put_str(out, ",\"raftAddress\":");
	json_put_cstring(out, m->address);
	buf_put_str(out, ",\"apiAddress\":");
	json_put_cstring(out, line ? line->api : "");
	buf_put_str(out, ",\"rpcAddress\":");
	json_put_cstring(out, line ? line->rpc : "");
	buf_printf(out, ",\"role\":\"%s\",\"leader\":%s,\"self\":%s,\"connected\":%s",
		   member_role_names[m->role], m->id == leader_id ? "true" : "false",
		   m->self ? "true" : "false", m->self || m->connected ? "true" : "false");
	if (m->last_contact_ms != UINT64_MAX)
		buf_printf(out, ",\"lastContactMs\":%" PRIu64, m->last_contact_ms);
	buf_put_str(out, "}");
	arena_fini(&arena);
}

static void serve_members(struct nodes *nodes, struct exchange *x)
{
	struct consensus_member members[MEMBERS_MAX];
	size_t n = consensus_members(nodes->config.consensus, members, MEMBERS_MAX);
	struct buf body = { 0 };

	buf_put_str(&body, "{\"members\":[");
	for (size_t i = 0; i < n && i < MEMBERS_MAX; i++) {
		if (i > 0)
			buf_put_byte(&body, ',');
		put_member(&body, nodes, &members[i], nodes->leader_id);
	}
	buf_put_str(&body, "]}\n");
	exchange_respond_buf(x, 200, "application/json", &body);
}

static void serve_status(struct nodes *nodes, struct exchange *x)
{
	struct consensus_stats s;
	const struct store *store = nodes->config.store;
	struct buf body = { 0 };

	consensus_stats(nodes->config.consensus, &s);
	buf_printf(&body, "{\"id\":\"%016" PRIx64 "\",\"name\":", s.id);
	json_put_cstring(&body, nodes->config.name);
	buf_printf(&body,
		   ",\"version\":\"%s\",\"role\":\"%s\",\"leading\":%s,\"leader\":\"%016" PRIx64
		   "\",\"term\":%" PRIu64 ",\"lastIndex\":%" PRIu64 ",\"commitIndex\":%" PRIu64
		   ",\"appliedIndex\":%" PRIu64 ",\"snapshotIndex\":%" PRIu64
		   ",\"logBytes\":%" PRIu64 ",\"diskBytesWritten\":%" PRIu64
		   ",\"storageLow\":%s,\"revision\":%" PRIu64 ",\"hash\":\"%016" PRIx64 "\"}\n",
		   SAMPAN_VERSION, role_names[s.role], s.leading ? "true" : "false", s.leader_id,
		   s.term, s.last_index, s.commit_index, s.applied_index, s.snapshot_index,
		   s.log_bytes, s.disk_bytes_written, s.storage_low ? "true" : "false",
		   store_revision(store), store_hash(store));
	exchange_respond_buf(x, 200, "application/json", &body);
}

/* An answer that comes later; the exchange stays valid until it is ended. */
static void on_changed(void *ctx, int rc, const char *message)
{
	struct exchange *x = ctx;

	if (rc == 0)
		http_status(x, 200, "", "done");
	else
		http_status(x, http_code_of_errno(rc), reason_of_errno(rc), "%s", message);
}

static void remove_member(struct nodes *nodes, struct exchange *x, const char *id)
{
	char *end;
	uint64_t member = strtoull(id, &end, 16);

	if (end == id || *end != '\0' || member == 0)
		http_status(x, 400, "BadRequest", "\"%s\" is not the id of a member", id);
	else
		members_remove(nodes, member, on_changed, x);
}

static void on_transferred(void *ctx, int rc)
{
	on_changed(ctx, rc, rc == -ESHUTDOWN ? "this master does not lead" : "nobody took over in time");
}

static void transfer(struct nodes *nodes, struct exchange *x)
{
	int rc = consensus_transfer(nodes->config.consensus, 0, on_transferred, x);

	if (rc < 0)
		on_transferred(x, rc);
}

static const char *below(const char *path, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(path, prefix, n) == 0 && path[n] != '\0' ? path + n : NULL;
}

void nodes_http(struct nodes *nodes, struct exchange *x)
{
	const char *path = x->path, *rest;
	bool get = strcmp(x->method, "GET") == 0, post = strcmp(x->method, "POST") == 0;

	if (post && strcmp(path, "/sampan/v1/join") == 0)
		join_http(nodes, x);
	else if (get && (rest = below(path, "/sampan/v1/streams/")) != NULL)
		streams_http(nodes, x, rest);
	else if (!is_operator(x))
		http_status(x, x->peer ? 403 : 401, x->peer ? "Forbidden" : "Unauthorized",
			    "%s", x->peer ? "only members of system:masters may do this" : "Unauthorized");
	else if (get && strcmp(path, "/sampan/v1/status") == 0)
		serve_status(nodes, x);
	else if (get && strcmp(path, "/sampan/v1/members") == 0)
		serve_members(nodes, x);
	else if (strcmp(x->method, "DELETE") == 0 &&
		 (rest = below(path, "/sampan/v1/members/")) != NULL)
		remove_member(nodes, x, rest);
	else if (post && strcmp(path, "/sampan/v1/transfer") == 0)
		transfer(nodes, x);
	else
		http_status(x, 404, "NotFound", "there is nothing at %s %s", x->method, path);
}
