/* Sealed Secrets, join tokens, certificates and ServiceAccount tokens over a real store. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/json.h"
#include "common/api/kinds.h"
#include "common/api/pack.h"
#include "common/base/arena.h"
#include "common/io/pki.h"
#include "controlplane/trust/internal.h"
#include "controlplane/trust/sealing.h"
#include "controlplane/trust/trust.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "tests/unit/support/store_fill.h"

#define NOW_S 1800000000ll

static const uint8_t kek[TRUST_KEK_BYTES] = "0123456789abcdef0123456789abcde";

struct world {
	struct store *store;
	struct trust *trust;
	struct arena arena;
};

/* Put a Secret the way the door does: sealed. */
static void put_secret(struct world *w, const char *name, const char *json)
{
	struct bytes sealed;
	void *message;

	assert_int_equal(json_read_message(&core_v1__secret__descriptor, bytes_str(json), &w->arena,
					   NULL, &message, NULL), 0);
	struct bytes clear = pack_message_in(&w->arena, message);
	assert_int_equal(sealing_seal(w->trust, "kube-system", name, clear, &w->arena, &sealed, NULL),
			 0);
	store_put_packed(w->store, "secrets", "kube-system", name, sealed);
}

static void put_data_key(struct world *w)
{
	CoreV1__Secret secret = CORE_V1__SECRET__INIT;
	CoreV1__Secret__DataEntry entry = CORE_V1__SECRET__DATA_ENTRY__INIT, *data[] = { &entry };
	static const uint8_t key[DATA_KEY_BYTES] = "the data key, of thirty-two byt";
	struct bytes sealed = seal_value(kek, 0, bytes_str("kube-system/sampan-data-key/key"),
					 bytes_of(key, sizeof(key)), &w->arena);

	entry.key = (char *)"key";
	entry.has_value = true;
	entry.value = (ProtobufCBinaryData){ sealed.len, (uint8_t *)sealed.data };
	secret.data = data;
	secret.n_data = 1;
	store_put_packed(w->store, "secrets", "kube-system", TRUST_DATA_KEY_SECRET,
			 pack_message_in(&w->arena, &secret));
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	arena_init(&w->arena, 0);
	w->store = store_new();
	w->trust = trust_create(w->store, kek);
	put_data_key(w);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	trust_destroy(w->trust);
	store_destroy(w->store);
	arena_fini(&w->arena);
	free(w);
	return 0;
}

static const char secret_json[] =
	"{\"metadata\":{\"name\":\"s\",\"namespace\":\"kube-system\"},"
	"\"data\":{\"password\":\"aHVudGVyMg==\",\"empty\":\"\"}}";

static void sealed_values_hide_and_come_back(void **state)
{
	struct world *w = *state;

	put_secret(w, "s", secret_json);
	const struct object *o = store_get(w->store, kind_named("", "Secret"), "kube-system", "s");
	assert_null(memmem(o->packed.data, o->packed.len, "hunter2", 7));

	CoreV1__Secret *clear = unpack_stored(&core_v1__secret__descriptor,
					      sealing_open(w->trust, o, &w->arena), &w->arena);
	assert_int_equal(clear->n_data, 2);
	assert_string_equal(clear->data[0]->key, "empty");
	assert_int_equal(clear->data[0]->value.len, 0);
	assert_int_equal(clear->data[1]->value.len, 7);
	assert_memory_equal(clear->data[1]->value.data, "hunter2", 7);
}

static void sealing_is_deterministic_and_bound_to_its_name(void **state)
{
	struct world *w = *state;
	static const uint8_t key[DATA_KEY_BYTES] = { 1 }, other[DATA_KEY_BYTES] = { 2 };
	struct bytes a = seal_value(key, 7, bytes_str("ns/a/k"), bytes_str("v"), &w->arena);
	struct bytes again = seal_value(key, 7, bytes_str("ns/a/k"), bytes_str("v"), &w->arena);
	struct bytes b = seal_value(key, 7, bytes_str("ns/b/k"), bytes_str("v"), &w->arena), plain;

	assert_int_equal(a.len, again.len);
	assert_memory_equal(a.data, again.data, a.len);
	assert_memory_not_equal(a.data, b.data, a.len);
	assert_int_equal(open_value(key, 7, bytes_str("ns/a/k"), a, &w->arena, &plain), 0);
	/* Moved to another object, another key, another key's id, damaged, cut short. */
	assert_int_equal(open_value(key, 7, bytes_str("ns/b/k"), a, &w->arena, &plain), -EBADMSG);
	assert_int_equal(open_value(other, 7, bytes_str("ns/a/k"), a, &w->arena, &plain), -EBADMSG);
	assert_int_equal(open_value(key, 8, bytes_str("ns/a/k"), a, &w->arena, &plain), -EBADMSG);
	for (size_t n = 0; n < a.len; n++) {
		uint8_t *bad = arena_memdup(&w->arena, a.data, a.len);

		bad[n] ^= 1;
		assert_int_equal(open_value(key, 7, bytes_str("ns/a/k"), bytes_of(bad, a.len), &w->arena,
					    &plain), -EBADMSG);
		assert_int_equal(open_value(key, 7, bytes_str("ns/a/k"), bytes_of(a.data, n), &w->arena,
					    &plain), -EBADMSG);
	}
}

static void without_the_right_kek_nothing_opens(void **state)
{
	struct world *w = *state;
	static const uint8_t wrong[TRUST_KEK_BYTES] = { 9 };
	struct trust *stranger = trust_create(w->store, wrong);
	uint8_t key[DATA_KEY_BYTES];
	uint64_t id;

	assert_int_equal(trust_data_key(stranger, key, &id), -ENOKEY);
	assert_int_equal(trust_data_key(w->trust, key, &id), 0);
	trust_destroy(stranger);
}

static void put_token(struct world *w, const char *id, const char *more)
{
	put_secret(w, arena_printf(&w->arena, "bootstrap-token-%s", id),
		   arena_printf(&w->arena,
				"{\"metadata\":{\"name\":\"x\",\"namespace\":\"kube-system\"},"
				"\"data\":{\"token-secret\":\"MDEyMzQ1Njc4OWFiY2RlZg==\"%s}}",
				more));
}

static void join_tokens_are_for_one_use_and_end(void **state)
{
	/* dHJ1ZQ== is "true", MjAyNy0wMS0xNlQwMDowMDowMFo= is 2027-01-16T00:00:00Z, after NOW_S. */
	static const struct {
		const char *id, *more, *token;
		enum trust_token_use use;
		int rc;
	} cases[] = {
		{ "aaaaaa", ",\"usage-bootstrap-authentication\":\"dHJ1ZQ==\"",
		  "aaaaaa.0123456789abcdef", TRUST_TOKEN_NODE, 0 },
		{ "aaaaaa", ",\"usage-bootstrap-authentication\":\"dHJ1ZQ==\"",
		  "aaaaaa.0123456789abcdef", TRUST_TOKEN_MASTER, -EACCES },
		{ "aaaaaa", ",\"usage-bootstrap-authentication\":\"dHJ1ZQ==\"",
		  "aaaaaa.0123456789abcdee", TRUST_TOKEN_NODE, -EACCES },
		{ "bbbbbb", ",\"usage-sampan-master\":\"dHJ1ZQ==\"", "bbbbbb.0123456789abcdef",
		  TRUST_TOKEN_MASTER, 0 },
		{ "cccccc",
		  ",\"usage-sampan-master\":\"dHJ1ZQ==\",\"usage-bootstrap-authentication\":\"dHJ1ZQ==\"",
		  "cccccc.0123456789abcdef", TRUST_TOKEN_MASTER, -EACCES },
		{ "dddddd",
		  ",\"usage-sampan-master\":\"dHJ1ZQ==\",\"expiration\":\"MjAyNy0wMS0xNlQwMDowMDowMFo=\"",
		  "dddddd.0123456789abcdef", TRUST_TOKEN_MASTER, 0 },
		{ "eeeeee",
		  ",\"usage-sampan-master\":\"dHJ1ZQ==\",\"expiration\":\"MjAyNi0wMS0xNlQwMDowMDowMFo=\"",
		  "eeeeee.0123456789abcdef", TRUST_TOKEN_MASTER, -EACCES },
		{ "ffffff", "", "", TRUST_TOKEN_NODE, -EACCES },
		{ "ffffff", "", "../../x.0123456789abcdef", TRUST_TOKEN_NODE, -EACCES },
		{ "ffffff", "", "zzzzzz.0123456789abcdef", TRUST_TOKEN_NODE, -EACCES },
	};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct status st = { 0 };

		put_token(w, cases[i].id, cases[i].more);
		int rc = trust_token_check(w->trust, cases[i].token, cases[i].use, NOW_S, &st);
		if (rc != cases[i].rc)
			fail_msg("case %zu (%s): %d, %s", i, cases[i].token, rc, st.message);
		status_fini(&st);
	}
}

/* The text of a PEM as a JSON string of base64 is what a Secret wants; write it as stringData. */
static void put_keys(struct world *w)
{
	char *ca_key, *ca_cert, *sa_key;
	struct buf json = { 0 };

	assert_int_equal(pki_key_create(&ca_key, NULL), 0);
	assert_int_equal(pki_ca_create(ca_key, "test-ca", NOW_S - 10, NOW_S + 100000, &ca_cert, NULL), 0);
	assert_int_equal(pki_key_create(&sa_key, NULL), 0);

	CoreV1__Secret secret = CORE_V1__SECRET__INIT;
	CoreV1__Secret__DataEntry a = CORE_V1__SECRET__DATA_ENTRY__INIT, b = a, c = a;
	CoreV1__Secret__DataEntry *ca[] = { &a, &b }, *sa[] = { &c };
	struct bytes sealed;

	a.key = (char *)"tls.crt";
	b.key = (char *)"tls.key";
	c.key = (char *)"key.pem";
	a.has_value = b.has_value = c.has_value = true;
	a.value = (ProtobufCBinaryData){ strlen(ca_cert), (uint8_t *)ca_cert };
	b.value = (ProtobufCBinaryData){ strlen(ca_key), (uint8_t *)ca_key };
	c.value = (ProtobufCBinaryData){ strlen(sa_key), (uint8_t *)sa_key };
	secret.data = ca;
	secret.n_data = 2;
	assert_int_equal(sealing_seal(w->trust, "kube-system", TRUST_CA_SECRET,
				      pack_message_in(&w->arena, &secret), &w->arena, &sealed, NULL), 0);
	store_put_packed(w->store, "secrets", "kube-system", TRUST_CA_SECRET, sealed);
	secret.data = sa;
	secret.n_data = 1;
	assert_int_equal(sealing_seal(w->trust, "kube-system", TRUST_SA_SECRET,
				      pack_message_in(&w->arena, &secret), &w->arena, &sealed, NULL), 0);
	store_put_packed(w->store, "secrets", "kube-system", TRUST_SA_SECRET, sealed);
	buf_fini(&json);
	free(ca_key);
	free(ca_cert);
	free(sa_key);
}

static void nodes_and_masters_get_certificates(void **state)
{
	struct world *w = *state;
	struct tls_identity *id;
	char *key, *csr, *cert;
	const struct pki_subject asks = { .cn = "root of everything" };

	put_keys(w);
	assert_int_equal(pki_key_create(&key, NULL), 0);
	assert_int_equal(pki_csr_create(key, &asks, &csr, NULL), 0);
	assert_int_equal(trust_sign_node(w->trust, csr, "n1", NOW_S, &cert, NULL), 0);
	assert_int_equal(pki_cert_verify(cert, trust_ca_pem(w->trust), PKI_CLIENT, NOW_S, NULL), 0);
	assert_int_equal(pki_cert_parse(cert, &id, NULL), 0);
	assert_string_equal(id->cn, "system:node:n1"); /* Not what it asked for. */
	assert_true(tls_identity_in_org(id, "system:nodes"));
	tls_identity_unref(id);
	free(cert);

	assert_int_equal(trust_sign_master(w->trust, csr, 0xabc, NULL, 0, NOW_S, &cert, NULL), 0);
	assert_int_equal(pki_cert_parse(cert, &id, NULL), 0);
	assert_string_equal(id->cn, "sampan:master:0000000000000abc");
	tls_identity_unref(id);
	free(cert);
	free(csr);
	free(key);
}

static void account_tokens_die_with_what_they_are_bound_to(void **state)
{
	struct world *w = *state;
	static const char *const audiences[] = { TRUST_ISSUER };
	struct trust_sa_claims claims = {
		.namespace = "default", .service_account = "default", .uid = "u-sa", .pod = "p",
		.pod_uid = "u-pod", .node = "n1", .audiences = audiences, .n_audiences = 1,
		.issued_s = NOW_S, .expires_s = NOW_S + 600, .id = "some-id",
	}, got;
	char *token;

	put_keys(w);
	store_put_json(w->store, "serviceaccounts",
		       "{\"metadata\":{\"name\":\"default\",\"namespace\":\"default\",\"uid\":\"u-sa\"}}");
	store_put_json(w->store, "pods",
		       "{\"metadata\":{\"name\":\"p\",\"namespace\":\"default\",\"uid\":\"u-pod\"}}");
	assert_int_equal(trust_sa_sign(w->trust, &claims, &token, NULL), 0);
	assert_int_equal(trust_sa_verify(w->trust, token, TRUST_ISSUER, NOW_S + 1, &w->arena, &got, NULL), 0);
	assert_string_equal(got.service_account, "default");
	assert_string_equal(got.pod_uid, "u-pod");
	assert_int_equal(trust_sa_verify(w->trust, token, "elsewhere", NOW_S + 1, &w->arena, &got, NULL),
			 -EACCES);
	assert_int_equal(trust_sa_verify(w->trust, token, TRUST_ISSUER, NOW_S + 601, &w->arena, &got, NULL),
			 -EACCES);
	token[strlen(token) / 2] ^= 1;
	assert_int_equal(trust_sa_verify(w->trust, token, TRUST_ISSUER, NOW_S + 1, &w->arena, &got, NULL),
			 -EACCES);
	token[strlen(token) / 2] ^= 1;
	store_delete(w->store, "pods", "default", "p");
	assert_int_equal(trust_sa_verify(w->trust, token, TRUST_ISSUER, NOW_S + 1, &w->arena, &got, NULL),
			 -EACCES);
	free(token);

	/* One that never expires dies with its Secret, and there is none without. */
	claims.pod = claims.pod_uid = claims.node = NULL;
	claims.expires_s = 0;
	assert_int_equal(trust_sa_sign(w->trust, &claims, &token, NULL), 0);
	assert_int_equal(trust_sa_verify(w->trust, token, TRUST_ISSUER, NOW_S + 1, &w->arena, &got, NULL),
			 -EACCES);
	free(token);
	store_put_json(w->store, "secrets",
		       "{\"metadata\":{\"name\":\"t\",\"namespace\":\"default\",\"uid\":\"u-t\"}}");
	claims.secret = "t";
	claims.secret_uid = "u-t";
	assert_int_equal(trust_sa_sign(w->trust, &claims, &token, NULL), 0);
	assert_int_equal(trust_sa_verify(w->trust, token, TRUST_ISSUER, NOW_S + 100000000, &w->arena,
					 &got, NULL), 0);
	assert_string_equal(got.secret, "t");
	store_delete(w->store, "secrets", "default", "t");
	assert_int_equal(trust_sa_verify(w->trust, token, TRUST_ISSUER, NOW_S + 1, &w->arena, &got, NULL),
			 -EACCES);
	free(token);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(sealed_values_hide_and_come_back, setup, teardown),
		cmocka_unit_test_setup_teardown(sealing_is_deterministic_and_bound_to_its_name, setup, teardown),
		cmocka_unit_test_setup_teardown(without_the_right_kek_nothing_opens, setup, teardown),
		cmocka_unit_test_setup_teardown(join_tokens_are_for_one_use_and_end, setup, teardown),
		cmocka_unit_test_setup_teardown(nodes_and_masters_get_certificates, setup, teardown),
		cmocka_unit_test_setup_teardown(account_tokens_die_with_what_they_are_bound_to, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
