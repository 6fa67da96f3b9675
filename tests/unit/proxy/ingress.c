/* Ingresses in; maps, backends and HAProxy's commands out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "proxy/ingress/answers.h"
#include "proxy/ingress/config.h"
#include "proxy/ingress/text.h"
#include "tests/unit/proxy/support.h"

/* In texts ' stands for ". */
static void put(struct world *w, const char *text)
{
	autofree char *json = xstrdup(text);

	for (char *c = json; *c != '\0'; c++)
		if (*c == '\'')
			*c = '"';
	support_put(w, json);
}

#define SERVICE(name)                                                                              \
	"{'apiVersion':'v1','kind':'Service','metadata':{'namespace':'d','name':'" name            \
	"'},'spec':{'clusterIP':'10.96.0.1','ports':[{'name':'http','port':80},{'name':'udp',"     \
	"'protocol':'UDP','port':81}]}}"
#define SLICE(service, endpoints)                                                                  \
	"{'apiVersion':'discovery.k8s.io/v1','kind':'EndpointSlice','metadata':{'namespace':'d',"  \
	"'name':'" service "-1','labels':{'kubernetes.io/service-name':'" service                  \
	"'}},'addressType':'IPv4','ports':[{'name':'http','port':8080}],'endpoints':[" endpoints   \
	"]}"
#define ENDPOINT(ip) "{'addresses':['" ip "']}"
#define UNREADY(ip) "{'addresses':['" ip "'],'conditions':{'ready':false}}"
#define ENDING(ip)                                                                                 \
	"{'addresses':['" ip "'],'conditions':{'ready':false,'serving':true,'terminating':true}}"
#define INGRESS(name, created, annotations, spec)                                                         \
	"{'apiVersion':'networking.k8s.io/v1','kind':'Ingress','metadata':{'namespace':'d','name':'" name \
	"','creationTimestamp':'" created "','annotations':{" annotations                                 \
	"}},'spec':{'ingressClassName':'sampan'," spec "}}"
#define PATH(type, path, service)                                                                  \
	"{'pathType':'" type "','path':'" path "','backend':{'service':{'name':'" service          \
	"','port':{'number':80}}}}"
#define RULE(host, paths) "{'host':'" host "','http':{'paths':[" paths "]}}"
#define RULES(rules) "'rules':[" rules "]"
#define YOUNG "2026-02-01T00:00:00Z"
#define OLD "2026-01-01T00:00:00Z"

static void begin(struct world *w)
{
	world_init(w);
	w->with_ingress = true;
	put(w, "{'apiVersion':'networking.k8s.io/v1','kind':'IngressClass','metadata':{'name':"
	       "'sampan'},'spec':{'controller':'sampan.io/ingress'}}");
	put(w, "{'apiVersion':'networking.k8s.io/v1','kind':'IngressClass','metadata':{'name':"
	       "'other'},'spec':{'controller':'example.com/ingress'}}");
	put(w, SERVICE("a"));
	put(w, SERVICE("b"));
	put(w, SLICE("a", ENDPOINT("10.0.0.1")));
	put(w, SLICE("b", ENDPOINT("10.0.0.2")));
}

/* Every route with the endpoints it leads to. */
static char *print(struct world *w)
{
	auto_with(model_fini) struct model m = { 0 };
	auto_with(buf_fini) struct buf out = { 0 };
	char ip[64];

	model_build(&m, w);
	for (int exact = 1; exact >= 0; exact--) {
		const struct model_route *routes = exact ? m.exact : m.prefix;

		for (size_t i = 0; i < (exact ? m.n_exact : m.n_prefix); i++) {
			const struct model_route *r = &routes[i];

			buf_printf(&out, "%s%s%s", exact ? "=" : "", r->key,
				   r->secure ? " tls" : "");
			if (r->redirect != NULL)
				buf_printf(&out, " > %s", r->redirect);
			for (size_t k = 0;
			     r->redirect == NULL && k < m.backends[r->backend].n_servers; k++)
				buf_printf(&out, " %s",
					   ip_print(&m.backends[r->backend].servers[k].ip, ip,
						    sizeof(ip)));
			buf_put_str(&out, "\n");
		}
	}
	if (m.otherwise != NULL)
		buf_printf(&out, "otherwise %s\n", m.backends[m.otherwise->backend].key);
	return xstrdup(buf_cstr(&out));
}

static const struct {
	const char *name, *objects[3], *routes;
} models[] = {
	{ "exact before prefix, longest first",
	  { INGRESS("i", OLD, "",
		    RULES(RULE("x.io",
			       PATH("Prefix", "/", "a") "," PATH("Prefix", "/p/", "b") "," PATH(
				       "Exact", "/p", "a")))) },
	  "=x.io/p 10.0.0.1\nx.io/ 10.0.0.1\nx.io/p/ 10.0.0.2\n" },
	{ "wildcards, hosts of all, case",
	  { INGRESS("i", OLD, "",
		    RULES(RULE("*.x.io", PATH("Prefix", "/", "a")) ",{'http':{'paths':[" PATH(
			    "ImplementationSpecific", "", "b") "]}}")) },
	  "*/ 10.0.0.2\n.x.io/ 10.0.0.1\n" },
	{ "the older of two keeps the path",
	  { INGRESS("young", YOUNG, "", RULES(RULE("x.io", PATH("Prefix", "/", "b")))),
	    INGRESS("zold", OLD, "", RULES(RULE("x.io", PATH("Prefix", "/", "a")))) },
	  "x.io/ 10.0.0.1\n" },
	{ "another class is another's",
	  { "{'apiVersion':'networking.k8s.io/v1','kind':'Ingress','metadata':{'namespace':'d',"
	    "'name':'i'},'spec':{'ingressClassName':'other'," RULES(
		    RULE("x.io", PATH("Prefix", "/", "a"))) "}}" },
	  "" },
	{ "the older annotation names a class, too",
	  { "{'apiVersion':'networking.k8s.io/v1','kind':'Ingress','metadata':{'namespace':'d',"
	    "'name':'i','annotations':{'kubernetes.io/ingress.class':'sampan'}},'spec':{" RULES(
		    RULE("x.io", PATH("Prefix", "/", "a"))) "}}" },
	  "x.io/ 10.0.0.1\n" },
	{ "a default backend",
	  { INGRESS("i", OLD, "",
		    "'defaultBackend':{'service':{'name':'a',"
		    "'port':{'name':'http'}}}") },
	  "otherwise d/a:http \n\n" },
	{ "a Service that is not there",
	  { INGRESS("i", OLD, "", RULES(RULE("x.io", PATH("Prefix", "/", "none")))) },
	  "x.io/\n" },
	{ "endpoints that are not ready",
	  { SLICE("a", UNREADY("10.0.0.8") "," ENDPOINT("10.0.0.9")),
	    INGRESS("i", OLD, "", RULES(RULE("x.io", PATH("Prefix", "/", "a")))) },
	  "x.io/ 10.0.0.9\n" },
	{ "those that end, when there are no others",
	  { SLICE("a", UNREADY("10.0.0.8") "," ENDING("10.0.0.9")),
	    INGRESS("i", OLD, "", RULES(RULE("x.io", PATH("Prefix", "/", "a")))) },
	  "x.io/ 10.0.0.9\n" },
	{ "TLS of the host",
	  { INGRESS("i", OLD, "",
		    "'tls':[{'hosts':['*.x.io'],'secretName':'s'}]," RULES(
			    RULE("a.x.io", PATH("Prefix", "/", "a")) "," RULE(
				    "x.io", PATH("Prefix", "/", "a")))) },
	  "a.x.io/ tls 10.0.0.1\nx.io/ 10.0.0.1\n" },
	{ "TLS without a redirect",
	  { INGRESS("i", OLD, "'ingress.sampan.io/ssl-redirect':'false'",
		    "'tls':[{'secretName':'s'}]," RULES(RULE("x.io", PATH("Prefix", "/", "a")))) },
	  "x.io/ 10.0.0.1\n" },
	{ "a redirect",
	  { INGRESS("i", OLD, "'ingress.sampan.io/redirect':'https://y.io/z?a=b'",
		    RULES(RULE("x.io", PATH("Prefix", "/", "a")))) },
	  "x.io/ > https://y.io/z?a=b\n" },
	{ "what is refused is not there",
	  { INGRESS("i", OLD, "'ingress.sampan.io/timeout-seconds':'0'",
		    RULES(RULE("x.io", PATH("Prefix", "/", "a")))) },
	  "" },
	{ "no redirect into a header",
	  { INGRESS("i", OLD, "'ingress.sampan.io/redirect':'https://y.io/\\r\\nX: 1'",
		    RULES(RULE("x.io", PATH("Prefix", "/", "a")))) },
	  "" },
	{ "no path of two words",
	  { INGRESS("i", OLD, "", RULES(RULE("x.io", PATH("Prefix", "/a b", "a")))) },
	  "" },
};

static void what_they_add_up_to(void **state)
{
	for (size_t i = 0; i < array_size(models); i++) {
		auto_with(world_fini) struct world w;
		autofree char *got = NULL;

		begin(&w);
		for (size_t k = 0; k < array_size(models[i].objects) && models[i].objects[k]; k++)
			put(&w, models[i].objects[k]);
		got = print(&w);
		if (strcmp(got, models[i].routes) != 0)
			fail_msg("%s: got\n%s", models[i].name, got);
	}
}

/* --- From one to the next ------------------------------------------------------------------ */

static char *follow(struct running *r, struct world *w)
{
	auto_with(model_fini) struct model m = { 0 };
	auto_with(commands_fini) struct commands c = { 0 };
	auto_with(buf_fini) struct buf out = { 0 };

	model_build(&m, w);
	if (!running_follow(r, &m, "/d", &c)) {
		running_rebuild(r, &m);
		return xstrdup("load\n");
	}
	for (size_t i = 0; i < c.n; i++)
		buf_printf(&out, "%.*s\n", (int)strcspn(c.items[i].text, "\n"), c.items[i].text);
	return xstrdup(buf_cstr(&out));
}

static void expect(struct running *r, struct world *w, const char *want)
{
	autofree char *got = follow(r, w);

	if (strcmp(got, want) != 0)
		fail_msg("got\n%swanted\n%s", got, want);
}

#define SECRET(name, certificate)                                                                  \
	"{'apiVersion':'v1','kind':'Secret','metadata':{'namespace':'d','name':'" name             \
	"'},'type':'kubernetes.io/tls','data':{'tls.crt':'" certificate "','tls.key':'a2V5'}}"

static void changes_become_commands(void **state)
{
	auto_with(world_fini) struct world w;
	auto_with(running_fini) struct running r = { 0 };

	begin(&w);
	put(&w, INGRESS("i", OLD, "", RULES(RULE("x.io", PATH("Prefix", "/", "a")))));
	expect(&r, &w, "load\n");
	expect(&r, &w, "");

	/* Endpoints: those that come first, then those that go. */
	put(&w, SLICE("a", ENDPOINT("10.0.0.1") "," ENDPOINT("10.0.0.3")));
	expect(&r, &w,
	       "set server slot_0/s2 addr 10.0.0.3 port 8080\n"
	       "set server slot_0/s2 state ready\n");
	put(&w, SLICE("a", ENDPOINT("10.0.0.3") "," ENDPOINT("10.0.0.4")));
	expect(&r, &w,
	       "set server slot_0/s3 addr 10.0.0.4 port 8080\n"
	       "set server slot_0/s3 state ready\n"
	       "set server slot_0/s1 state maint\n");

	/* A new Service takes a spare; its backend is there before its route. */
	put(&w, INGRESS("j", YOUNG, "", RULES(RULE("y.io", PATH("Exact", "/z", "b")))));
	expect(&r, &w,
	       "set server slot_1/s1 addr 10.0.0.2 port 8080\n"
	       "set server slot_1/s1 state ready\n"
	       "add map /d/exact.map y.io/z slot_1\n"
	       "add map /d/hosts.map y.io y.io\n");
	put(&w, INGRESS("j", YOUNG, "", RULES(RULE("y.io", PATH("Exact", "/z", "a")))));
	expect(&r, &w,
	       "set map /d/exact.map y.io/z slot_0\n"
	       "set server slot_1/s1 state maint\n");
	support_delete(&w, "ingresses.networking.k8s.io", "d", "j");
	expect(&r, &w,
	       "del map /d/hosts.map y.io\n"
	       "del map /d/exact.map y.io/z\n");

	/* The spare that was free longest is next. */
	put(&w, INGRESS("j", YOUNG, "", RULES(RULE("y.io", PATH("Exact", "/z", "b")))));
	expect(&r, &w,
	       "set server slot_2/s1 addr 10.0.0.2 port 8080\n"
	       "set server slot_2/s1 state ready\n"
	       "add map /d/exact.map y.io/z slot_2\n"
	       "add map /d/hosts.map y.io y.io\n");

	/* Settings of its own need a new configuration. */
	put(&w, INGRESS("j", YOUNG, "'ingress.sampan.io/timeout-seconds':'600'",
			RULES(RULE("y.io", PATH("Exact", "/z", "b")))));
	expect(&r, &w, "load\n");
}

static void certificates_are_replaced(void **state)
{
	auto_with(world_fini) struct world w;
	auto_with(running_fini) struct running r = { 0 };

	begin(&w);
	put(&w, INGRESS("i", OLD, "",
			"'tls':[{'hosts':['x.io'],'secretName':'s'}]," RULES(
				RULE("x.io", PATH("Prefix", "/", "a")))));
	expect(&r, &w, "load\n");
	put(&w, SECRET("s", "b25l"));
	expect(&r, &w, "load\n");
	put(&w, SECRET("s", "dHdv"));
	expect(&r, &w, "set ssl cert /d/certs/d_s.pem <<\ncommit ssl cert /d/certs/d_s.pem\n");
	put(&w, SECRET("unused", "dHdv"));
	expect(&r, &w, "");

	auto_with(buf_fini) struct buf list = { 0 };

	config_print_list(&list, &r, "/d");
	assert_string_equal(buf_cstr(&list), "/d/certs/d_s.pem x.io\n");
	support_delete(&w, "secrets", "d", "s");
	expect(&r, &w, "load\n");
}

static void more_endpoints_than_room(void **state)
{
	auto_with(world_fini) struct world w;
	auto_with(running_fini) struct running r = { 0 };
	auto_with(buf_fini) struct buf config = { 0 };
	struct config_settings settings = { .dir = "/d", .http_port = 80, .https_port = 443 };

	begin(&w);
	put(&w, INGRESS("i", OLD, "'ingress.sampan.io/rewrite-prefix':'/v2/'",
			RULES(RULE("x.io", PATH("Prefix", "/a.b", "a")))));
	expect(&r, &w, "load\n");
	config_print(&config, &r, &settings);
	assert_non_null(
		strstr(buf_cstr(&config),
		       "    http-request replace-path \\^/a\\\\.b/?\\(.*\\)\\$ /v2/\\\\1\n"));
	put(&w,
	    SLICE("a",
		  ENDPOINT("10.0.0.1") "," ENDPOINT("10.0.0.2") "," ENDPOINT("10.0.0.3") "," ENDPOINT("10.0.0.4") "," ENDPOINT(
			  "10.0.0.5") "," ENDPOINT("10.0.0.6") "," ENDPOINT("10.0.0.7") "," ENDPOINT("10.0.0.8") "," ENDPOINT("10.0.0.9")));
	expect(&r, &w, "load\n");
	expect(&r, &w, "");
}

/* --- What HAProxy says ----------------------------------------------------------------------- */

static void answers_come_in_pieces(void **state)
{
	static const char talk[] = "\n> \n> IP changed from 'a' to 'b'\n\n> No such server.\n\n> ";
	static const char *const want[] = { "", "IP changed from 'a' to 'b'", "No such server." };

	for (size_t piece = 1; piece < sizeof(talk); piece++) {
		auto_with(answers_fini) struct answers a = { 0 };
		auto_with(buf_fini) struct buf answer = { 0 };
		size_t n = 0;

		for (size_t at = 0; at < sizeof(talk) - 1; at += piece) {
			size_t left = sizeof(talk) - 1 - at;

			assert_int_equal(answers_put(&a, talk + at, piece < left ? piece : left),
					 0);
			while (answers_next(&a, &answer)) {
				assert_true(n < array_size(want));
				assert_string_equal(buf_cstr(&answer), want[n++]);
			}
		}
		assert_int_equal(n, array_size(want));
	}
	assert_true(answer_is_good("", NULL));
	assert_false(answer_is_good("No such server.", NULL));
	assert_true(answer_is_good("no need to change the addr", "chang"));
	assert_false(answer_is_good("No such server.", "chang"));
}

static void words_stay_words(void **state)
{
	auto_with(buf_fini) struct buf word = { 0 };

	text_put_word(&word, "/a b;c'd\"e\\f#g");
	assert_string_equal(buf_cstr(&word), "/a\\ b\\;c\\'d\\\"e\\\\f\\#g");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_they_add_up_to),
		cmocka_unit_test(changes_become_commands),
		cmocka_unit_test(certificates_are_replaced),
		cmocka_unit_test(more_endpoints_than_room),
		cmocka_unit_test(answers_come_in_pieces),
		cmocka_unit_test(words_stay_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
