/* What a request asks for, from its text alone: paths, queries, media types,
 * continue tokens and ages. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "controlplane/apiserver/age.h"
#include "controlplane/apiserver/continue_token.h"
#include "controlplane/apiserver/negotiate.h"
#include "controlplane/apiserver/path.h"

/* "type group version namespace resource name subresource"; "-" is NULL. */
static const struct {
	const char *path, *expect;
} paths[] = {
	{ "/", "other" },
	{ "/healthz", "other" },
	{ "/api", "versions" },
	{ "/api/", "versions" },
	{ "/apis", "groups" },
	{ "/apis/apps", "group apps" },
	{ "/api/v1", "version  v1" },
	{ "/apis/apps/v1", "version apps v1" },
	{ "/api/v1/pods", "resource  v1 - pods - ." },
	{ "/api/v1/namespaces", "resource  v1 - namespaces - ." },
	{ "/api/v1/namespaces/default", "resource  v1 - namespaces default ." },
	{ "/api/v1/namespaces/default/status", "resource  v1 - namespaces default .status" },
	{ "/api/v1/namespaces/default/finalize", "resource  v1 - namespaces default .finalize" },
	{ "/api/v1/namespaces/default/pods", "resource  v1 default pods - ." },
	{ "/api/v1/namespaces/default/pods/a", "resource  v1 default pods a ." },
	{ "/api/v1/namespaces/default/pods/a/log", "resource  v1 default pods a .log" },
	{ "/api/v1//namespaces/default//pods/a%2Db", "resource  v1 default pods a-b ." },
	{ "/api/v1/nodes/n1/status", "resource  v1 - nodes n1 .status" },
	{ "/apis/apps/v1/namespaces/x/deployments/y/scale",
	  "resource apps v1 x deployments y .scale" },
	{ "/api/v1/namespaces/default/pods/a/b/c", "other" },
	{ "/api/v1/pods/%2e%2e%2fx", "error 400" },
	{ "/api/v1/pods/%zz", "error 400" },
	{ "/api/v1/pods/%4", "error 400" },
	{ "/api/v1/pods/a%00b", "error 400" },
	{ "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17", "error 404" },
};

static const char *or_dash(const char *s)
{
	return s != NULL ? s : "-";
}

static char *describe(struct arena *a, const char *path)
{
	struct api_path p;
	struct status st = { 0 };

	if (path_parse(a, path, &p, &st) < 0) {
		char *text = arena_printf(a, "error %d", st.http_code);

		status_fini(&st);
		return text;
	}
	switch (p.type) {
	case PATH_OTHER:
		return arena_strdup(a, "other");
	case PATH_API_VERSIONS:
		return arena_strdup(a, "versions");
	case PATH_API_GROUPS:
		return arena_strdup(a, "groups");
	case PATH_GROUP:
		return arena_printf(a, "group %s", p.group);
	case PATH_GROUP_VERSION:
		return arena_printf(a, "version %s %s", p.group, p.version);
	case PATH_RESOURCE:
		return arena_printf(a, "resource %s %s %s %s %s .%s", p.group, p.version,
				    or_dash(p.namespace), p.resource, or_dash(p.name),
				    p.subresource);
	}
	return NULL;
}

static void paths_name_what_they_name(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a, 0);
	for (size_t i = 0; i < array_size(paths); i++) {
		const char *got = describe(&a, paths[i].path);

		if (strcmp(got, paths[i].expect) != 0)
			fail_msg("%s: got \"%s\", expected \"%s\"", paths[i].path, got,
				 paths[i].expect);
	}
	arena_fini(&a);
}

static void queries_are_decoded(void **state)
{
	struct arena a;
	struct query q;
	bool value;
	int64_t number;

	(void)state;
	arena_init(&a, 0);
	assert_int_equal(query_parse(&a,
				     "labelSelector=a%3Db%2Cc&watch=True&limit=500&x&y=1+2&&z=%26"
				     "&f=False&n=-7",
				     &q, NULL),
			 0);
	assert_string_equal(query_get(&q, "labelSelector"), "a=b,c");
	assert_string_equal(query_get(&q, "y"), "1 2");
	assert_string_equal(query_get(&q, "z"), "&");
	assert_null(query_get(&q, "absent"));
	assert_int_equal(query_bool(&q, "watch", false, &value, NULL), 0);
	assert_true(value);
	assert_int_equal(query_bool(&q, "x", false, &value, NULL), 0);
	assert_true(value);
	assert_int_equal(query_bool(&q, "f", true, &value, NULL), 0);
	assert_false(value);
	assert_int_equal(query_bool(&q, "y", false, &value, NULL), -EBADMSG);
	assert_int_equal(query_int(&q, "limit", 0, &number, NULL), 0);
	assert_int_equal(number, 500);
	assert_int_equal(query_int(&q, "n", 0, &number, NULL), 0);
	assert_int_equal(number, -7);
	assert_int_equal(query_int(&q, "y", 0, &number, NULL), -EBADMSG);
	assert_int_equal(query_int(&q, "absent", 3, &number, NULL), 0);
	assert_int_equal(number, 3);
	assert_int_equal(query_parse(&a, "a=%G1", &q, NULL), -EBADMSG);
	arena_fini(&a);
}

static void a_query_has_a_bound(void **state)
{
	struct arena a;
	struct query q;
	char text[4 * QUERY_PAIRS_MAX + 1];

	(void)state;
	arena_init(&a, 0);
	for (int i = 0; i < QUERY_PAIRS_MAX; i++)
		memcpy(text + 4 * i, "a=1&", 4);
	text[sizeof(text) - 1] = 0;
	assert_int_equal(query_parse(&a, text, &q, NULL), -EBADMSG);
	text[sizeof(text) - 2] = 0;
	assert_int_equal(query_parse(&a, text, &q, NULL), 0);
	assert_int_equal(q.n, QUERY_PAIRS_MAX);
	arena_fini(&a);
}

#define V2 "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
#define V2BETA1 "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
#define PROTOBUF "application/vnd.kubernetes.protobuf"

static const struct {
	const char *accept;
	unsigned offer;
	const char *expect; /* "format view version", or "406" */
} accepts[] = {
	{ NULL, OFFER_VIEWS, "json object v1" },
	{ "application/json", OFFER_VIEWS, "json object v1" },
	{ "*/*", OFFER_VIEWS, "json object v1" },
	{ "application/json, */*", OFFER_VIEWS, "json object v1" },
	{ PROTOBUF ",application/json", OFFER_VIEWS, "protobuf object v1" },
	{ PROTOBUF ", */*", OFFER_JSON_ONLY, "json object v1" },
	{ "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;"
	  "g=meta.k8s.io,application/json",
	  OFFER_VIEWS, "json table v1" },
	{ "application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", OFFER_VIEWS,
	  "json table v1beta1" },
	{ "application/json;as=Table;v=v9;g=meta.k8s.io,application/json", OFFER_VIEWS,
	  "json object v1" },
	{ "application/json;as=Table;v=v1;g=meta.k8s.io", OFFER_PLAIN, "406" },
	{ PROTOBUF ";as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", OFFER_VIEWS,
	  "protobuf partial v1" },
	{ V2 "," V2BETA1 ",application/json", OFFER_DISCOVERY, "json discovery v2" },
	{ V2BETA1 ",application/json", OFFER_DISCOVERY, "json discovery v2beta1" },
	{ "application/json;q=0.5," PROTOBUF ";q=0.9", OFFER_VIEWS, "protobuf object v1" },
	{ "text/html, application/xhtml+xml", OFFER_VIEWS, "406" },
	{ "application/yaml", OFFER_VIEWS, "406" },
	{ "Application/JSON ; charset=\"utf-8\"", OFFER_VIEWS, "json object v1" },
};

static void accept_is_negotiated(void **state)
{
	static const char *const views[] = { "object", "table", "partial", "discovery" };
	struct arena a;

	(void)state;
	arena_init(&a, 0);
	for (size_t i = 0; i < array_size(accepts); i++) {
		struct status st = { 0 };
		struct media m;
		const char *got;

		if (media_negotiate(&a, accepts[i].accept, accepts[i].offer, &m, &st) < 0)
			got = arena_printf(&a, "%d", st.http_code);
		else
			got = arena_printf(&a, "%s %s %s",
					   m.format == MEDIA_JSON ? "json" : "protobuf",
					   views[m.view], m.version);
		status_fini(&st);
		if (strcmp(got, accepts[i].expect) != 0)
			fail_msg("%s: got %s, expected %s", accepts[i].accept, got,
				 accepts[i].expect);
	}
	arena_fini(&a);
}

static void bodies_have_types(void **state)
{
	enum body_type type;
	struct status st = { 0 };

	(void)state;
	assert_int_equal(body_type_of(NULL, false, &type, NULL), 0);
	assert_int_equal(type, BODY_JSON);
	assert_int_equal(body_type_of("application/json; charset=utf-8", false, &type, NULL), 0);
	assert_int_equal(body_type_of(PROTOBUF, false, &type, NULL), 0);
	assert_int_equal(type, BODY_PROTOBUF);
	assert_int_equal(body_type_of("application/strategic-merge-patch+json", true, &type, NULL),
			 0);
	assert_int_equal(type, BODY_STRATEGIC_PATCH);
	assert_int_equal(body_type_of(NULL, true, &type, NULL), -EPROTONOSUPPORT);
	assert_int_equal(body_type_of("application/yaml", false, &type, &st), -EPROTONOSUPPORT);
	assert_int_equal(st.http_code, 415);
	status_fini(&st);
}

static void continue_tokens_survive_the_client(void **state)
{
	static const char *const bad[] = { "", "x", "MSAw", "!!!!", "MSAxIGEgYg==x y", "AAAA" };
	struct continue_token token = { 42, "default", "web-1" }, back;
	struct arena a;

	(void)state;
	arena_init(&a, 0);

	char *text = continue_token_encode(&a, &token);

	assert_int_equal(strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789-_"),
			 strlen(text));
	assert_int_equal(continue_token_decode(&a, text, &back, NULL), 0);
	assert_int_equal(back.revision, 42);
	assert_string_equal(back.namespace, "default");
	assert_string_equal(back.name, "web-1");
	token.namespace = "";
	text = continue_token_encode(&a, &token);
	assert_int_equal(continue_token_decode(&a, text, &back, NULL), 0);
	assert_string_equal(back.namespace, "");
	for (size_t i = 0; i < array_size(bad); i++)
		assert_int_equal(continue_token_decode(&a, bad[i], &back, NULL), -EBADMSG);
	arena_fini(&a);
}

static const struct {
	int64_t seconds;
	const char *text;
} ages[] = {
	{ -5, "<invalid>" },  { -1, "0s" },       { 0, "0s" },          { 119, "119s" },
	{ 120, "2m" },        { 125, "2m5s" },    { 599, "9m59s" },     { 600, "10m" },
	{ 10799, "179m" },    { 10800, "3h" },    { 10860, "3h1m" },    { 28800, "8h" },
	{ 172799, "47h" },    { 172800, "2d" },   { 176400, "2d1h" },   { 691200, "8d" },
	{ 63071999, "729d" }, { 63072000, "2y" }, { 63158400, "2y1d" }, { 252288000, "8y" },
};

static void ages_are_short(void **state)
{
	char text[AGE_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < array_size(ages); i++) {
		age_print_seconds(ages[i].seconds, text);
		if (strcmp(text, ages[i].text) != 0)
			fail_msg("%lld s: got %s, expected %s", (long long)ages[i].seconds, text,
				 ages[i].text);
	}
	age_print(5000000000, 0, text);
	assert_string_equal(text, "<unknown>");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_name_what_they_name),
		cmocka_unit_test(queries_are_decoded),
		cmocka_unit_test(a_query_has_a_bound),
		cmocka_unit_test(accept_is_negotiated),
		cmocka_unit_test(bodies_have_types),
		cmocka_unit_test(continue_tokens_survive_the_client),
		cmocka_unit_test(ages_are_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
