#include "agent/images/pull/registry.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/images/json.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"

#define TOKEN_BYTES_MAX (1u << 20)
#define CHALLENGE_BYTES_MAX 4096u
#define STALLED_TRIES_MAX 5

struct registry {
	CURL *curl;
	char *host, *repository, *basic, *token, *ca_path;
	bool insecure, plain;
	bool send_basic; /* It was asked for once. */
	unsigned connect_timeout_s;
	/* The last answer. */
	char error[CURL_ERROR_SIZE];
	char *challenge;
};

struct transfer {
	struct registry *registry;
	registry_data_fn *on_data;
	void *arg;
	uint64_t skip, received, limit;
	int rc;
};

struct registry *registry_create(const struct registry_options *options)
{
	struct registry *r = xcalloc(1, sizeof(*r));

	r->curl = curl_easy_init();
	if (r->curl == NULL)
		abort();
	r->host = xstrdup(options->host);
	r->repository = xstrdup(options->repository);
	r->basic = options->auth != NULL ? xstrdup(options->auth) : NULL;
	r->ca_path = options->ca_path != NULL ? xstrdup(options->ca_path) : NULL;
	r->insecure = options->insecure;
	r->connect_timeout_s = options->connect_timeout_s;
	return r;
}

void registry_destroy(struct registry *r)
{
	if (r == NULL)
		return;
	curl_easy_cleanup(r->curl);
	free(r->host);
	free(r->repository);
	free(r->basic);
	free(r->token);
	free(r->ca_path);
	free(r->challenge);
	free(r);
}

static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
	static const char name[] = "www-authenticate:";
	struct transfer *t = arg;
	size_t len = size * n;

	if (len > CHALLENGE_BYTES_MAX || len < sizeof(name) ||
	    strncasecmp(data, name, sizeof(name) - 1) != 0)
		return len;
	/* Of several challenges a Bearer one is preferred: Basic would be refused where both are
	 * offered. */
	const char *at = data + sizeof(name) - 1;
	size_t rest = len - (sizeof(name) - 1);

	for (; rest > 0 && *at == ' '; at++)
		rest--;
	while (rest > 0 && (at[rest - 1] == '\r' || at[rest - 1] == '\n'))
		rest--;
	autofree char *text = xstrndup(at, rest);

	if (t->registry->challenge == NULL || challenge_is(text, "Bearer")) {
		free(t->registry->challenge);
		t->registry->challenge = steal_ptr(&text);
	}
	return len;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	size_t len = size * n, skip = len;
	long code = 0;

	/* What comes with an error or on the way through a redirection is not for the receiver. */
	curl_easy_getinfo(t->registry->curl, CURLINFO_RESPONSE_CODE, &code);
	if (code != 200 && code != 206)
		return len;
	/* A server that cannot continue in the middle begins anew. */
	if (code == 206)
		t->skip = 0;
	skip = t->skip < len ? (size_t)t->skip : len;
	t->skip -= skip;
	if (skip == len)
		return len;
	if (t->received + (len - skip) > t->limit) {
		t->rc = -EFBIG;
		return 0;
	}
	t->rc = t->on_data(t->arg, data + skip, len - skip);
	if (t->rc < 0)
		return 0;
	t->received += len - skip;
	return len;
}

static void set_options(struct registry *r, const char *url, struct transfer *t,
			struct curl_slist *headers)
{
	CURL *c = r->curl;

	curl_easy_reset(c);
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, r->insecure ? "http,https" : "https");
	curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, r->insecure ? "http,https" : "https");
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(c, CURLOPT_MAXREDIRS, 5L);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, r->error);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "sampan-pull/" SAMPAN_VERSION);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)r->connect_timeout_s);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, 30L);
	curl_easy_setopt(c, CURLOPT_BUFFERSIZE, 262144L);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
	if (r->ca_path != NULL)
		curl_easy_setopt(c, CURLOPT_CAINFO, r->ca_path);
	if (t->skip > 0)
		curl_easy_setopt(c, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)t->skip);
}

static int errno_of_curl(CURLcode code)
{
	switch (code) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_CONNECT:
		return -ECONNREFUSED;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
		return -EKEYREJECTED;
	case CURLE_SSL_CONNECT_ERROR:
		return -EPROTO;
	default:
		return -EIO;
	}
}

/* One exchange; the HTTP code goes to *ret_code. */
static int perform(struct registry *r, const char *url, const char *accept,
		   const char *authorization, struct transfer *t, long *ret_code)
{
	struct curl_slist *headers = NULL;

	if (accept != NULL) {
		autofree char *line = xasprintf("Accept: %s", accept);

		headers = curl_slist_append(headers, line);
	}
	if (authorization != NULL) {
		autofree char *line = xasprintf("Authorization: %s", authorization);

		headers = curl_slist_append(headers, line);
	}
	r->error[0] = '\0';
	free(r->challenge);
	r->challenge = NULL;
	t->registry = r;
	t->rc = 0;
	*ret_code = 0;
	set_options(r, url, t, headers);
	CURLcode code = curl_easy_perform(r->curl);

	if (r->error[0] == '\0')
		snprintf(r->error, sizeof(r->error), "%s", curl_easy_strerror(code));
	curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, ret_code);
	curl_slist_free_all(headers);
	/* Must not refer to the list any more. */
	curl_easy_setopt(r->curl, CURLOPT_HTTPHEADER, NULL);
	if (t->rc < 0)
		return t->rc;
	return code == CURLE_OK ? 0 : errno_of_curl(code);
}

static int into_buf(void *arg, const void *data, size_t n)
{
	buf_put(arg, data, n);
	return 0;
}

static char *token_url(struct registry *r, const char *realm, const char *service)
{
	char *service_text = service != NULL ? curl_easy_escape(r->curl, service, 0) : NULL;
	char *repository = curl_easy_escape(r->curl, r->repository, 0);
	char *url = xasprintf(
		"%s%c%s%s%sscope=repository:%s:pull", realm, strchr(realm, '?') != NULL ? '&' : '?',
		service_text != NULL ? "service=" : "", service_text != NULL ? service_text : "",
		service_text != NULL ? "&" : "", repository);

	curl_free(service_text);
	curl_free(repository);
	return url;
}

static int fetch_token(struct registry *r, const char *challenge, struct status *st)
{
	autofree char *realm = challenge_parameter(challenge, "realm");
	autofree char *service = challenge_parameter(challenge, "service");
	autofree char *basic = r->basic != NULL ? xasprintf("Basic %s", r->basic) : NULL;
	auto_with(buf_fini) struct buf body = { 0 };
	auto_with(arena_fini) struct arena arena = { 0 };
	const struct json *doc;
	long code;

	arena_init(&arena, 4 * TOKEN_BYTES_MAX);
	if (realm == NULL)
		return status_set(st, -EPROTO, "registry %s asks for a token without saying where",
				  r->host);
	autofree char *url = token_url(r, realm, service);
	struct transfer t = { .on_data = into_buf, .arg = &body, .limit = TOKEN_BYTES_MAX };
	int rc = perform(r, url, NULL, basic, &t, &code);

	if (rc < 0)
		return status_set(st, rc, "token server %s: %s", realm, r->error);
	if (code == 401 || code == 403)
		return status_set(st, -EACCES, "token server %s refused the credentials (HTTP %ld)",
				  realm, code);
	if (code != 200)
		return status_set(st, -EPROTO, "token server %s answered HTTP %ld", realm, code);
	if (json_parse(&arena, buf_bytes(&body), &doc) < 0)
		return status_set(st, -EPROTO, "token server %s did not answer with JSON", realm);
	const char *token = json_text(doc, "token");

	if (token == NULL)
		token = json_text(doc, "access_token");
	if (token == NULL || token[strcspn(token, "\r\n")] != '\0')
		return status_set(st, -EPROTO, "token server %s sent no token", realm);
	free(r->token);
	r->token = xstrdup(token);
	return 0;
}

static char *authorization_of(const struct registry *r)
{
	if (r->token != NULL)
		return xasprintf("Bearer %s", r->token);
	return r->send_basic && r->basic != NULL ? xasprintf("Basic %s", r->basic) : NULL;
}

/* Answer the challenge of a 401. EACCES: there is nothing (more) to answer with. */
static int authorize(struct registry *r, struct status *st)
{
	autofree char *challenge = steal_ptr(&r->challenge);

	if (challenge != NULL && challenge_is(challenge, "Bearer"))
		return fetch_token(r, challenge, st);
	if (challenge != NULL && challenge_is(challenge, "Basic") && r->basic != NULL &&
	    !r->send_basic) {
		r->send_basic = true;
		return 0;
	}
	return status_set(st, -EACCES, "registry %s %s", r->host,
			  r->basic != NULL ? "refused the credentials"
					   : "wants credentials and there are none");
}

static int code_to_status(struct registry *r, const char *path, long code, struct status *st)
{
	switch (code) {
	case 200:
	case 206:
		return 0;
	case 401:
	case 403:
		return status_set(st, -EACCES, "registry %s %s for %s (HTTP %ld)", r->host,
				  r->basic != NULL ? "refused the credentials" : "refused access",
				  r->repository, code);
	case 404:
		return status_set(st, -ENOENT, "%s/%s: %s not found", r->host, r->repository, path);
	case 429:
		return status_set(st, -EAGAIN, "registry %s: too many requests (HTTP 429)",
				  r->host);
	default:
		return status_set(st, -EIO, "registry %s: HTTP %ld for %s/%s", r->host, code,
				  r->repository, path);
	}
}

static int request(struct registry *r, const char *path, const char *accept, struct transfer *t,
		   struct status *st)
{
	bool retried = false;

	for (;;) {
		autofree char *url = xasprintf("%s://%s/v2/%s/%s", r->plain ? "http" : "https",
					       r->host, r->repository, path);
		autofree char *authorization = authorization_of(r);
		uint64_t before = t->received;
		long code;
		int rc = perform(r, url, accept, authorization, t, &code);

		/* Nobody who speaks TLS there: TLS libraries call that a wrong version. */
		if (rc == -EPROTO && r->insecure && !r->plain) {
			r->plain = true;
			continue;
		}
		if (rc < 0 && t->rc < 0)
			return status_set(st, rc, "%s", strerror(-rc));
		if (rc < 0)
			return status_set(st, rc, "registry %s: %s", r->host, r->error);
		if (code != 401 || retried || t->received != before)
			return code_to_status(r, path, code, st);
		retried = true;
		rc = authorize(r, st);
		if (rc < 0)
			return rc;
	}
}

int registry_get(struct registry *r, const char *path, const char *accept, size_t limit,
		 struct buf *ret, struct status *st)
{
	struct transfer t = { .on_data = into_buf, .arg = ret, .limit = limit };
	int rc = request(r, path, accept, &t, st);

	if (rc == -EFBIG)
		return status_set(st, rc, "registry %s: %s is larger than %zu bytes", r->host, path,
				  limit);
	return rc;
}

static bool worth_another_try(int rc)
{
	return rc == -EIO || rc == -ETIMEDOUT || rc == -ECONNREFUSED;
}

int registry_stream(struct registry *r, const char *digest, uint64_t size_bytes,
		    registry_data_fn *on_data, void *arg, struct status *st)
{
	struct transfer t = { .on_data = on_data, .arg = arg, .limit = size_bytes };
	autofree char *path = xasprintf("blobs/%s", digest);
	int stalled = 0;

	for (;;) {
		auto_with(status_fini) struct status why = { 0 };
		uint64_t before = t.received;
		int rc;

		t.skip = t.received;
		rc = request(r, path, NULL, &t, &why);
		if (rc == 0 && t.received == size_bytes)
			return 0;
		if (rc == -EFBIG)
			return status_set(st, rc, "%s is larger than its manifest says", digest);
		if (rc == 0)
			status_set(&why, -EIO, "%s ended after %llu of %llu bytes", digest,
				   (unsigned long long)t.received, (unsigned long long)size_bytes);
		stalled = t.received > before ? 0 : stalled + 1;
		if ((rc < 0 && !worth_another_try(rc)) || t.rc < 0 ||
		    stalled >= STALLED_TRIES_MAX) {
			rc = why.rc;
			status_move(st, &why);
			return rc;
		}
	}
}
