/* Quantities, times, durations, label and field selectors: tables of texts. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/fields.h"
#include "common/api/kinds.h"
#include "common/api/labels.h"
#include "common/api/pack.h"
#include "common/api/quantity.h"
#include "common/api/times.h"
#include "common/base/cleanup.h"
#include "proto/k8s/core_v1.pb-c.h"

static const struct {
	const char *text, *canonical; /* NULL: refused. */
	int64_t value, milli;
} quantities[] = {
	{ "0", "0", 0, 0 },
	{ "100m", "100m", 1, 100 },
	{ "1000m", "1", 1, 1000 },
	{ "1.5", "1500m", 2, 1500 },
	{ "-1.5", "-1500m", -2, -1500 },
	{ "+3", "3", 3, 3000 },
	{ ".5", "500m", 1, 500 },
	{ "5.", "5", 5, 5000 },
	{ "1k", "1k", 1000, 1000000 },
	{ "1000", "1k", 1000, 1000000 },
	{ "1500", "1500", 1500, 1500000 },
	{ "1.5Gi", "1536Mi", 1610612736, 1610612736000 },
	{ "1024Mi", "1Gi", 1073741824, 1073741824000 },
	{ "512", "512", 512, 512000 },
	{ "0.5Ki", "512", 512, 512000 },
	{ "1023Ki", "1023Ki", 1047552, 1047552000 },
	{ "1.0001Ki", "1024102400u", 1025, 1024103 },
	{ "2e3", "2e3", 2000, 2000000 },
	{ "2E3", "2e3", 2000, 2000000 },
	{ "1e-3", "1e-3", 1, 1 },
	{ "12e1", "120", 120, 120000 },
	{ "1E", "1E", 1000000000000000000, INT64_MAX },
	{ "10E", "9223372036854775807", INT64_MAX, INT64_MAX },
	{ "9223372036854775807", "9223372036854775807", INT64_MAX, INT64_MAX },
	{ "99999999999999999999999999999999999999999999", "9223372036854775807", INT64_MAX,
	  INT64_MAX },
	{ "1e999", "9223372036854775807", INT64_MAX, INT64_MAX },
	{ "16Ei", "9223372036854775807", INT64_MAX, INT64_MAX },
	{ "1n", "1n", 1, 1 },
	{ "0.1n", "1n", 1, 1 },
	{ "1e-99", "1e-9", 1, 1 },
	{ "0.0000000000000000000000000000000000000000000000000001", "1n", 1, 1 },
	{ "1500u", "1500u", 1, 2 },
	{ "0Ki", "0", 0, 0 },
	{ "-0", "0", 0, 0 },
	{ "", NULL, 0, 0 },
	{ ".", NULL, 0, 0 },
	{ "-", NULL, 0, 0 },
	{ "m", NULL, 0, 0 },
	{ "1mm", NULL, 0, 0 },
	{ "1 ", NULL, 0, 0 },
	{ "1.2.3", NULL, 0, 0 },
	{ "1ki", NULL, 0, 0 },
	{ "1e", NULL, 0, 0 },
	{ "1e1.5", NULL, 0, 0 },
	{ "1i", NULL, 0, 0 },
	{ "0x10", NULL, 0, 0 },
};

static void quantities_are_canonical(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_size(quantities); i++) {
		char text[QUANTITY_TEXT_MAX], again[QUANTITY_TEXT_MAX];
		struct quantity q, r;
		int rc = quantity_parse(bytes_str(quantities[i].text), &q);

		if ((rc == 0) != (quantities[i].canonical != NULL))
			fail_msg("%s: rc %d", quantities[i].text, rc);
		if (rc < 0)
			continue;
		size_t len = quantity_print(&q, text);
		assert_int_equal(len, strlen(text));
		assert_string_equal(text, quantities[i].canonical);
		if (quantity_value(&q) != quantities[i].value ||
		    quantity_milli(&q) != quantities[i].milli)
			fail_msg("%s: value %lld milli %lld", text, (long long)quantity_value(&q),
				 (long long)quantity_milli(&q));
		assert_int_equal(quantity_parse(bytes_str(text), &r), 0);
		assert_int_equal(quantity_compare(&q, &r), 0);
		quantity_print(&r, again);
		assert_string_equal(again, text);
	}
}

static void quantities_add_up(void **state)
{
	struct quantity a, b;
	char text[QUANTITY_TEXT_MAX];

	(void)state;
	quantity_set(&a, 0, QUANTITY_DECIMAL);
	assert_int_equal(quantity_parse(bytes_str("64Mi"), &b), 0);
	quantity_add(&a, &b);
	quantity_add(&a, &b);
	quantity_print(&a, text);
	assert_string_equal(text, "128Mi");
	quantity_subtract(&a, &b);
	assert_int_equal(quantity_compare(&a, &b), 0);
	quantity_set_milli(&b, 250);
	quantity_print(&b, text);
	assert_string_equal(text, "250m");
	assert_true(quantity_compare(&b, &a) < 0);
	quantity_set(&a, INT64_MAX, QUANTITY_DECIMAL);
	quantity_add(&a, &a);
	assert_int_equal(quantity_value(&a), INT64_MAX);
	assert_int_equal(quantity_text_milli("2"), 2000);
	assert_int_equal(quantity_text_value(NULL), 0);
}

static const struct {
	const char *text, *printed;
	int64_t seconds;
	int32_t nanos;
} times[] = {
	{ "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z", 0, 0 },
	{ "2024-02-29T12:34:56.789Z", "2024-02-29T12:34:56Z", 1709210096, 789000000 },
	{ "2024-02-29T12:34:56.7891234567Z", "2024-02-29T12:34:56Z", 1709210096, 789123456 },
	{ "2024-12-31T23:59:59-01:30", "2025-01-01T01:29:59Z", 1735694999, 0 },
	{ "0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z", -62167219200, 0 },
	{ "9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z", 253402300799, 0 },
	{ "2023-02-29T00:00:00Z", NULL, 0, 0 },
	{ "2024-13-01T00:00:00Z", NULL, 0, 0 },
	{ "2024-01-01T24:00:00Z", NULL, 0, 0 },
	{ "2024-01-01 00:00:00Z", NULL, 0, 0 },
	{ "2024-01-01T00:00:00", NULL, 0, 0 },
	{ "2024-01-01T00:00:00.Z", NULL, 0, 0 },
	{ "2024-01-01T00:00:00Zx", NULL, 0, 0 },
	{ "2024-1-1T00:00:00Z", NULL, 0, 0 },
	{ "", NULL, 0, 0 },
};

static void times_are_read_and_printed(void **state)
{
	char text[TIME_TEXT_MAX];
	int64_t seconds;
	int32_t nanos;

	(void)state;
	for (size_t i = 0; i < array_size(times); i++) {
		int rc = time_parse(bytes_str(times[i].text), &seconds, &nanos);

		if ((rc == 0) != (times[i].printed != NULL))
			fail_msg("%s: rc %d", times[i].text, rc);
		if (rc < 0)
			continue;
		if (seconds != times[i].seconds || nanos != times[i].nanos)
			fail_msg("%s: %lld.%d", times[i].text, (long long)seconds, nanos);
		assert_int_equal(time_print(seconds, text), 20);
		assert_string_equal(text, times[i].printed);
	}
	assert_int_equal(microtime_print(1709210096, 789123456, text), 27);
	assert_string_equal(text, "2024-02-29T12:34:56.789123Z");
	time_print(INT64_MAX, text);
	assert_string_equal(text, "9999-12-31T23:59:59Z");
	time_print(INT64_MIN, text);
	assert_string_equal(text, "0000-01-01T00:00:00Z");
}

static const struct {
	const char *text, *printed;
	int64_t ns;
} durations[] = {
	{ "0", "0s", 0 },
	{ "1h", "1h0m0s", 3600000000000 },
	{ "90s", "1m30s", 90000000000 },
	{ "1.5h", "1h30m0s", 5400000000000 },
	{ "300ms", "300ms", 300000000 },
	{ "1500us", "1.5ms", 1500000 },
	{ "2h3m4.005s", "2h3m4.005s", 7384005000000 },
	{ "-5s", "-5s", -5000000000 },
	{ "7ns", "7ns", 7 },
	{ "", NULL, 0 },
	{ "5", NULL, 0 },
	{ "s", NULL, 0 },
	{ "5 s", NULL, 0 },
	{ "9999999h", NULL, 0 },
};

static void durations_are_read_and_printed(void **state)
{
	char text[TIME_TEXT_MAX];
	int64_t ns;

	(void)state;
	for (size_t i = 0; i < array_size(durations); i++) {
		int rc = duration_parse(bytes_str(durations[i].text), &ns);

		if ((rc == 0) != (durations[i].printed != NULL))
			fail_msg("%s: rc %d", durations[i].text, rc);
		if (rc < 0)
			continue;
		assert_int_equal(ns, durations[i].ns);
		duration_print(ns, text);
		assert_string_equal(text, durations[i].printed);
	}
	duration_print(INT64_MIN, text);
	assert_string_equal(text, "-2562047h47m16.854775808s");
}

/* Matched against app=web, tier=front, n=5, empty="". */
static const struct {
	const char *text, *printed; /* printed NULL: refused. */
	bool matches;
} selectors[] = {
	{ "", "", true },
	{ "app=web", "app=web", true },
	{ "app==web", "app=web", true },
	{ " app = web , tier in ( back , front )", "app=web,tier in (back,front)", true },
	{ "tier,app", "app,tier", true },
	{ "app!=web", "app!=web", false },
	{ "none!=x", "none!=x", true },
	{ "none notin (a,b)", "none notin (a,b)", true },
	{ "tier notin (front)", "tier!=front", false },
	{ "!none", "!none", true },
	{ "!app", "!app", false },
	{ "none", "none", false },
	{ "empty=", "empty=", true },
	{ "none=", "none=", false },
	{ "n>4", "n>4", true },
	{ "n<5", "n<5", false },
	{ "app>1", "app>1", false },
	{ "example.com/a-b_c=x", "example.com/a-b_c=x", false },
	{ "in in (in,notin)", "in in (in,notin)", false },
	{ "app=web,", "app=web", true },
	{ "=web", NULL, false },
	{ "app=we b", NULL, false },
	{ "app in web", NULL, false },
	{ "app in (web", NULL, false },
	{ "app like x", NULL, false },
	{ "-app", NULL, false },
	{ "a/b/c", NULL, false },
	{ "Upper.Case/x", NULL, false },
	{ "n>x", NULL, false },
	{ "app=1234567890123456789012345678901234567890123456789012345678901234", NULL, false },
};

static const char *get_label(const void *labels, const char *key)
{
	static const char *const pairs[][2] = {
		{ "app", "web" }, { "tier", "front" }, { "n", "5" }, { "empty", "" }
	};

	(void)labels;
	for (size_t i = 0; i < array_size(pairs); i++)
		if (strcmp(pairs[i][0], key) == 0)
			return pairs[i][1];
	return NULL;
}

static void label_selectors_match(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_size(selectors); i++) {
		struct label_selector s;
		struct status st = { 0 };
		struct arena a;

		arena_init(&a, 0);
		int rc = label_selector_parse(selectors[i].text, &a, &s, &st);
		if ((rc == 0) != (selectors[i].printed != NULL))
			fail_msg("%s: rc %d", selectors[i].text, rc);
		if (rc == 0) {
			assert_string_equal(label_selector_print(&s, &a), selectors[i].printed);
			if (label_selector_matches(&s, get_label, NULL) != selectors[i].matches)
				fail_msg("%s", selectors[i].text);
		} else {
			assert_int_equal(st.http_code, 400);
		}
		status_fini(&st);
		arena_fini(&a);
	}
}

static void label_selector_messages_match(void **state)
{
	MetaV1__LabelSelector m = META_V1__LABEL_SELECTOR__INIT;
	MetaV1__LabelSelectorRequirement e = META_V1__LABEL_SELECTOR_REQUIREMENT__INIT;
	MetaV1__LabelSelectorRequirement *list[] = { &e };
	char *values[] = { (char *)"front", (char *)"back" };
	struct label_selector s;
	struct status st = { 0 };
	struct arena a;

	(void)state;
	arena_init(&a, 0);
	assert_int_equal(label_selector_of(NULL, &a, &s, NULL), 0);
	assert_false(label_selector_matches(&s, get_label, NULL));
	assert_int_equal(label_selector_of(&m, &a, &s, NULL), 0);
	assert_true(label_selector_matches(&s, get_label, NULL));

	string_map_set(&m, "matchLabels", "app", "web", &a);
	m.matchexpressions = list;
	m.n_matchexpressions = 1;
	e.key = (char *)"tier";
	e.operator_ = (char *)"In";
	e.values = values;
	e.n_values = 2;
	assert_int_equal(label_selector_of(&m, &a, &s, NULL), 0);
	assert_true(label_selector_matches(&s, get_label, NULL));
	e.operator_ = (char *)"NotIn";
	assert_int_equal(label_selector_of(&m, &a, &s, NULL), 0);
	assert_false(label_selector_matches(&s, get_label, NULL));
	e.operator_ = (char *)"Exists";
	assert_int_equal(label_selector_of(&m, &a, &s, &st), -EINVAL);
	status_fini(&st);
	arena_fini(&a);
}

static const struct {
	const char *text;
	bool refused, matches;
} field_cases[] = {
	{ "", false, true },
	{ "metadata.name=web", false, true },
	{ "metadata.name!=web", false, false },
	{ "metadata.name==web,spec.nodeName=n1", false, true },
	{ "spec.host=n1", false, true },
	{ "spec.nodeName=", false, false },
	{ "status.phase=Running", false, true },
	{ "status.phase!=Failed,status.phase!=Succeeded", false, true },
	{ "spec.hostNetwork=false", false, true },
	{ "status.nominatedNodeName=", false, true },
	{ "metadata.namespace=a\\,b", false, true },
	{ "metadata.uid=1", true, false },
	{ "metadata.name", true, false },
	{ "metadata.name=a=b", true, false },
};

static void field_selectors_match(void **state)
{
	const struct kind *kind = kind_named("", "Pod");
	struct arena a;

	(void)state;
	arena_init(&a, 0);
	CoreV1__Pod *pod = message_new(&core_v1__pod__descriptor, &a);
	MetaV1__ObjectMeta *meta = message_metadata_make(pod, &a);
	meta->name = arena_strdup(&a, "web");
	meta->namespace_ = arena_strdup(&a, "a,b");
	pod->spec = message_new(&core_v1__pod_spec__descriptor, &a);
	pod->spec->nodename = arena_strdup(&a, "n1");
	pod->status = message_new(&core_v1__pod_status__descriptor, &a);
	pod->status->phase = arena_strdup(&a, "Running");
	struct bytes packed = pack_message_in(&a, pod);

	for (size_t i = 0; i < array_size(field_cases); i++) {
		struct field_selector s;
		struct status st = { 0 };
		int rc = field_selector_parse(field_cases[i].text, kind, &a, &s, &st);

		if ((rc < 0) != field_cases[i].refused)
			fail_msg("%s: %s", field_cases[i].text,
				 st.message ? st.message : "accepted");
		if (rc == 0 && field_selector_matches(&s, kind, packed) != field_cases[i].matches)
			fail_msg("%s", field_cases[i].text);
		status_fini(&st);
	}
	const char *text;
	assert_true(field_text(&core_v1__pod__descriptor, packed, "spec.nodeName", &a, &text));
	assert_string_equal(text, "n1");
	assert_false(field_text(&core_v1__pod__descriptor, packed, "spec", &a, &text));
	assert_false(
		field_text(&core_v1__pod__descriptor, packed, "spec.containers.name", &a, &text));
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quantities_are_canonical),
		cmocka_unit_test(quantities_add_up),
		cmocka_unit_test(times_are_read_and_printed),
		cmocka_unit_test(durations_are_read_and_printed),
		cmocka_unit_test(label_selectors_match),
		cmocka_unit_test(label_selector_messages_match),
		cmocka_unit_test(field_selectors_match),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
