/* Paths outside of /api and /apis: health, version, metrics, OpenAPI, keys. */
#include <errno.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "controlplane/apiserver/internal.h"
#include "controlplane/apiserver/openapi.h"
#include "controlplane/consensus/consensus.h"
#include "controlplane/trust/trust.h"

/* --- Health -------------------------------------------------------------------------- */

static const char *check_ping(const struct apiserver *api)
{
	(void)api;
	return NULL;
}

static const char *check_shutdown(const struct apiserver *api)
{
	return api->stopping ? "shutting down" : NULL;
}

static const char *check_leader(const struct apiserver *api)
{
	const char *address;
	uint64_t id;

	return consensus_leader(api->config.consensus, &id, &address) ? NULL : "no leader is known";
}

static const char *check_storage(const struct apiserver *api)
{
	struct consensus_stats stats;

	consensus_stats(api->config.consensus, &stats);
	return stats.storage_low ? "the disk is nearly full" : NULL;
}

/* Which check belongs to which endpoint; what is alive may still not be ready. */
static const struct check {
	const char *name;
	const char *(*run)(const struct apiserver *api); /* NULL: well; else why not. */
	bool live, ready;
} checks[] = {
	{ "ping", check_ping, true, true },
	{ "log", check_storage, false, true },
	{ "leader", check_leader, false, true },
	{ "shutdown", check_shutdown, false, true },
};

static bool check_is_excluded(const struct request *r, const char *name)
{
	for (size_t i = 0; i < r->query.n; i++)
		if (strcmp(r->query.pairs[i].name, "exclude") == 0 &&
		    strcmp(r->query.pairs[i].value, name) == 0)
			return true;
	return false;
}

/* endpoint is "healthz", "livez" or "readyz"; only one check when one is named. */
static void respond_health(struct request *r, const char *endpoint, const char *only)
{
	bool ready = strcmp(endpoint, "readyz") == 0, failed = false, found = false;
	auto_with(buf_fini) struct buf text = { 0 };

	for (size_t i = 0; i < array_size(checks); i++) {
		const struct check *c = &checks[i];
		const char *why;

		if (!(ready ? c->ready : c->live) || (only != NULL && strcmp(only, c->name) != 0))
			continue;
		found = true;
		if (check_is_excluded(r, c->name)) {
			buf_printf(&text, "[+]%s excluded: ok\n", c->name);
			continue;
		}
		why = c->run(r->api);
		failed |= why != NULL;
		if (why != NULL)
			buf_printf(&text, "[-]%s failed: %s\n", c->name, why);
		else
			buf_printf(&text, "[+]%s ok\n", c->name);
	}
	if (!found) {
		respond_not_found(r);
		return;
	}
	buf_printf(&text, "%s check %s\n", endpoint, failed ? "failed" : "passed");
	if (failed)
		respond_text(r, 500, "text/plain; charset=utf-8", buf_cstr(&text));
	else if (query_get(&r->query, "verbose") != NULL)
		respond_text(r, 200, "text/plain; charset=utf-8", buf_cstr(&text));
	else
		respond_text(r, 200, "text/plain; charset=utf-8", "ok");
}

static void handle_health(struct request *r)
{
	const char *endpoint = r->path.text + 1, *slash = strchr(endpoint, '/');
	size_t n = slash != NULL ? (size_t)(slash - endpoint) : strlen(endpoint);

	respond_health(r, arena_strndup(&r->arena, endpoint, n), slash != NULL ? slash + 1 : NULL);
}

/* --- Version, metrics, keys ---------------------------------------------------------- */

#if defined(__x86_64__)
#define ARCHITECTURE "amd64"
#elif defined(__aarch64__)
#define ARCHITECTURE "arm64"
#else
#define ARCHITECTURE "unknown"
#endif

static void handle_version(struct request *r)
{
	respond_text(r, 200, "application/json",
		     "{\n  \"major\": \"1\",\n  \"minor\": \"33\",\n"
		     "  \"gitVersion\": \"v1.33.0+sampan-" SAMPAN_VERSION "\",\n"
		     "  \"gitCommit\": \"\",\n  \"gitTreeState\": \"clean\",\n"
		     "  \"buildDate\": \"1970-01-01T00:00:00Z\",\n  \"goVersion\": \"none\",\n"
		     "  \"compiler\": \"cc\",\n  \"platform\": \"linux/" ARCHITECTURE "\"\n}\n");
}

static void handle_metrics(struct request *r)
{
	auto_with(buf_fini) struct buf text = { 0 };
	struct consensus_stats stats;

	metrics_print(&text, &r->api->metrics);
	consensus_stats(r->api->config.consensus, &stats);
	buf_printf(&text,
		   "# HELP sampan_store_revision Revision this master has reached.\n"
		   "# TYPE sampan_store_revision counter\nsampan_store_revision %llu\n"
		   "# HELP sampan_consensus_term Term of the consensus.\n"
		   "# TYPE sampan_consensus_term counter\nsampan_consensus_term %llu\n"
		   "# HELP sampan_consensus_leading Whether this master leads.\n"
		   "# TYPE sampan_consensus_leading gauge\nsampan_consensus_leading %d\n"
		   "# HELP sampan_consensus_disk_bytes_written_total Bytes written to the log.\n"
		   "# TYPE sampan_consensus_disk_bytes_written_total counter\n"
		   "sampan_consensus_disk_bytes_written_total %llu\n",
		   (unsigned long long)store_revision(r->api->config.store),
		   (unsigned long long)stats.term, stats.leading,
		   (unsigned long long)stats.disk_bytes_written);
	respond_text(r, 200, "text/plain; version=0.0.4; charset=utf-8", buf_cstr(&text));
}

static void handle_jwks(struct request *r)
{
	autofree char *json = NULL;
	struct status st = { 0 };

	if (trust_sa_jwks(r->api->config.trust, &json, &st) < 0) {
		respond_error(r, -ESHUTDOWN, "the cluster has no ServiceAccount key yet");
		status_fini(&st);
		return;
	}
	respond_text(r, 200, "application/jwk-set+json", json);
}

static void handle_openid(struct request *r)
{
	respond_text(r, 200, "application/json",
		     arena_printf(&r->arena,
				  "{\"issuer\":\"%s\",\"jwks_uri\":\"https://%s/openid/v1/jwks\","
				  "\"response_types_supported\":[\"id_token\"],"
				  "\"subject_types_supported\":[\"public\"],"
				  "\"id_token_signing_alg_values_supported\":[\"ES256\"]}\n",
				  TRUST_ISSUER, r->api->config.address));
}

static void handle_openapi_v2(struct request *r)
{
	const struct document *d = openapi_v2(r->api->openapi);

	/* '@' in a response's type breaks clients; a dot is what they take. */
	respond_document(r, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
			 buf_bytes(&d->body), d->etag);
}

static void handle_openapi_v3(struct request *r)
{
	const char *group_version = r->path.text + strlen("/openapi/v3");
	const struct document *d = openapi_v3(r->api->openapi, group_version);

	if (d == NULL)
		respond_not_found(r);
	else
		respond_document(r, "application/json", buf_bytes(&d->body), d->etag);
}

static void handle_index(struct request *r);

static const struct route {
	const char *path;
	bool below; /* Also what lies below it. */
	void (*handle)(struct request *r);
} routes[] = {
	{ "/healthz", true, handle_health },
	{ "/livez", true, handle_health },
	{ "/metrics", false, handle_metrics },
	{ "/openapi/v2", false, handle_openapi_v2 },
	{ "/openapi/v3", true, handle_openapi_v3 },
	{ "/openid/v1/jwks", false, handle_jwks },
	{ "/readyz", true, handle_health },
	{ "/version", false, handle_version },
	{ "/.well-known/openid-configuration", false, handle_openid },
	{ "/", false, handle_index },
};

static void handle_index(struct request *r)
{
	auto_with(buf_fini) struct buf out = { 0 };
	struct group_version gv;

	buf_put_str(&out, "{\"paths\":[\"/api\",\"/apis\"");
	for (size_t i = 0; group_version_at(i, &gv); i++)
		buf_printf(&out, ",\"/%s/%s\"", *gv.group ? "apis" : "api", gv.api_version);
	for (size_t i = 0; i + 1 < array_size(routes); i++)
		buf_printf(&out, ",\"%s\"", routes[i].path);
	buf_put_str(&out, "]}\n");
	respond_text(r, 200, "application/json", buf_cstr(&out));
}

void handle_other(struct request *r)
{
	for (size_t i = 0; i < array_size(routes); i++) {
		const struct route *route = &routes[i];
		size_t n = strlen(route->path);

		if (strcmp(r->path.text, route->path) == 0 ||
		    (route->below && strncmp(r->path.text, route->path, n) == 0 &&
		     r->path.text[n] == '/')) {
			route->handle(r);
			return;
		}
	}
	respond_not_found(r);
}

void handle_discovery(struct request *r)
{
	struct bytes body;
	const char *etag;

	if (!discovery_document(r->api->discovery, &r->path, &r->media, r->api->config.address,
				&body, &etag))
		respond_not_found(r);
	else
		respond_document(r, media_content_type(&r->media, false), body, etag);
}
