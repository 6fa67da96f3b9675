/* Secrets that end: when their time is over, and with their account. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "tests/unit/world/world.h"

extern const struct controller controller_tokens;

#define BOOTSTRAP(namespace, data)                                                                                              \
	"{'kind':'Secret','metadata':{'name':'s','namespace':'" namespace "'},'type':"                                          \
									  "'bootstrap.kubernetes.io/token','stringData':{" data \
									  "}}"
#define ACCOUNT_TOKEN(uid)                                                                         \
	"{'kind':'Secret','metadata':{'name':'s','namespace':'default','annotations':{"            \
	"'kubernetes.io/service-account.name':'bot'" uid "}},'type':"                              \
	"'kubernetes.io/service-account-token'}"
#define UID(uid) ",'kubernetes.io/service-account.uid':'" uid "'"
#define BOT "{'kind':'ServiceAccount','metadata':{'name':'bot','namespace':'default'}}"

/* The world's time is 2023-11-14T22:13:20Z. */
static const struct {
	const char *name, *account, *secret, *intents;
	int64_t again_s; /* From now; 0: never. */
} cases[] = {
	{ "a token that lasts", NULL,
	  BOOTSTRAP("kube-system", "'expiration':'2023-11-14T23:13:20Z'"), "", 3600 },
	{ "one in another zone", NULL,
	  BOOTSTRAP("kube-system", "'expiration':'2023-11-15T00:13:20+02:00'"),
	  "delete secrets kube-system/s\n", 0 },
	{ "its time is over", NULL, BOOTSTRAP("kube-system", "'expiration':'2023-11-14T22:13:20Z'"),
	  "delete secrets kube-system/s\n", 0 },
	{ "a time that cannot be read is over", NULL,
	  BOOTSTRAP("kube-system", "'expiration':'tomorrow'"), "delete secrets kube-system/s\n",
	  0 },
	{ "without a time it stays", NULL, BOOTSTRAP("kube-system", "'token-id':'abcdef'"), "", 0 },
	{ "elsewhere it is no bootstrap token", NULL,
	  BOOTSTRAP("default", "'expiration':'2020-01-01T00:00:00Z'"), "", 0 },
	{ "other Secrets expire never", NULL,
	  "{'kind':'Secret','metadata':{'name':'s','namespace':'kube-system'},'stringData':{"
	  "'expiration':'2020-01-01T00:00:00Z'}}",
	  "", 0 },
	{ "an account's token", BOT, ACCOUNT_TOKEN(UID("uid-bot")), "", 0 },
	{ "its account is gone", NULL, ACCOUNT_TOKEN(UID("uid-bot")), "delete secrets default/s\n",
	  0 },
	{ "its account is another of that name", BOT, ACCOUNT_TOKEN(UID("uid-before")),
	  "delete secrets default/s\n", 0 },
	{ "there never was one", NULL, ACCOUNT_TOKEN(""), "delete secrets default/s\n", 0 },
};

static void when_secrets_end(void **state)
{
	for (size_t i = 0; i < array_size(cases); i++) {
		auto_with(world_fini) struct world w = { 0 };
		struct intents intents;
		const char *namespace = strstr(cases[i].secret, "'namespace':'default'")
						? "default"
						: "kube-system";

		world_init(&w);
		world_put(&w,
			  arena_printf(&w.arena, "{'kind':'Namespace','metadata':{'name':'%s'}}",
				       namespace));
		if (cases[i].account != NULL)
			world_put(&w, cases[i].account);
		assert_non_null(world_create(&w, cases[i].secret, NULL));

		struct view v = world_view(&w);

		intents_init(&intents, &w.arena);
		controller_tokens.reconcile(&v, (struct key){ namespace, "s" }, &intents);
		if (strcmp(intents_print(&intents, &w.arena), cases[i].intents) != 0)
			fail_msg("%s: %s", cases[i].name, intents_print(&intents, &w.arena));
		assert_int_equal(intents.again_ns,
				 cases[i].again_s == 0 ? 0
						       : w.now_ns + cases[i].again_s * 1000000000);
	}
}

static void an_account_takes_its_tokens_along(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	world_init(&w);
	world_put(&w, "{'kind':'Namespace','metadata':{'name':'default'}}");
	world_put(&w, BOT);
	world_create(&w, ACCOUNT_TOKEN(UID("uid-bot")), NULL);
	world_settle(&w);
	assert_int_equal(world_count(&w, "secrets"), 1);
	world_delete(&w, "serviceaccounts", "default", "bot", -1, NULL);
	world_settle(&w);
	assert_int_equal(world_count(&w, "secrets"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(when_secrets_end),
		cmocka_unit_test(an_account_takes_its_tokens_along),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
