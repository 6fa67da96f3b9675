/* A master's certificate is renewed by the CA in the state, for the same key and names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/api/pack.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/io/pki.h"
#include "controlplane/renewal.h"
#include "controlplane/trust/internal.h"
#include "controlplane/trust/sealing.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "tests/unit/support/store_fill.h"

#define BEGIN_S 1800000000ll
#define LIFE_S (300ll * 24 * 3600)

static const uint8_t kek[TRUST_KEK_BYTES] = "0123456789abcdef0123456789abcde";
static char *renewed;

static void on_renewed(void *ctx, const char *cert_pem)
{
	free(renewed);
	renewed = strdup(cert_pem);
}

static CoreV1__Secret__DataEntry entry_of(const char *key, struct bytes value)
{
	CoreV1__Secret__DataEntry entry = CORE_V1__SECRET__DATA_ENTRY__INIT;

	entry.key = (char *)key;
	entry.has_value = true;
	entry.value = (ProtobufCBinaryData){ value.len, (uint8_t *)value.data };
	return entry;
}

static void put_secret(struct store *s, struct arena *a, const char *name,
		       CoreV1__Secret__DataEntry **data, size_t n, const struct trust *t)
{
	CoreV1__Secret secret = CORE_V1__SECRET__INIT;
	struct bytes packed;

	secret.data = data;
	secret.n_data = n;
	packed = pack_message_in(a, &secret);
	if (t != NULL)
		assert_int_equal(sealing_seal(t, "kube-system", name, packed, a, &packed, NULL), 0);
	store_put_packed(s, "secrets", "kube-system", name, packed);
}

static void test_renewal(void **state)
{
	static const uint8_t data_key[DATA_KEY_BYTES] = "the data key, of thirty-two byt";
	static const char *const orgs[] = { "sampan:masters" };
	static const char *const sans[] = { "sampan-master", "10.0.0.1" };
	char path[] = "/tmp/master-cert-XXXXXX";
	int fd = mkstemp(path);
	autofree char *ca_key = NULL, *ca = NULL, *key = NULL, *cert = NULL;
	struct store *store = store_new();
	struct trust *trust = trust_create(store, kek);
	struct master_config config = { .id = 7, .cert_file = path };
	struct renewal r = { .config = &config, .trust = trust, .renewed = on_renewed };
	struct buf on_disk = { 0 };
	struct tls_identity *id;
	struct arena a;
	uv_loop_t loop;

	assert_true(fd >= 0);
	close(fd);
	arena_init(&a, 0);
	assert_int_equal(pki_key_create(&ca_key, NULL), 0);
	assert_int_equal(
		pki_ca_create(ca_key, "ca", BEGIN_S - 10, BEGIN_S + 10 * LIFE_S, &ca, NULL), 0);
	assert_int_equal(pki_key_create(&key, NULL), 0);

	CoreV1__Secret__DataEntry sealed =
		entry_of("key", seal_value(kek, 0, bytes_str("kube-system/sampan-data-key/key"),
					   bytes_of(data_key, sizeof(data_key)), &a));
	CoreV1__Secret__DataEntry crt = entry_of("tls.crt", bytes_str(ca)),
				  ca_key_entry = entry_of("tls.key", bytes_str(ca_key));

	put_secret(store, &a, TRUST_DATA_KEY_SECRET, (CoreV1__Secret__DataEntry *[]){ &sealed }, 1,
		   NULL);
	put_secret(store, &a, TRUST_CA_SECRET,
		   (CoreV1__Secret__DataEntry *[]){ &crt, &ca_key_entry }, 2, trust);

	const struct pki_subject subject = { "sampan:master:0000000000000007", orgs, 1, sans, 2 };
	const struct pki_terms terms = { PKI_SERVER | PKI_CLIENT, BEGIN_S, BEGIN_S + LIFE_S };

	assert_int_equal(pki_cert_create(ca, ca_key, key, &subject, &terms, &cert, NULL), 0);
	r.key_pem = key;
	uv_loop_init(&loop);
	assert_int_equal(renewal_start(&r, &loop, cert, NULL), 0);
	assert_false(renewal_is_due(r.id, BEGIN_S + LIFE_S / 2));
	assert_true(renewal_is_due(r.id, BEGIN_S + LIFE_S / 3 * 2));

	assert_int_equal(renewal_run(&r, BEGIN_S + LIFE_S / 3 * 2, NULL), 0);
	assert_non_null(renewed);
	assert_int_equal(file_read(path, 1 << 20, &on_disk, NULL), 0);
	assert_string_equal(buf_cstr(&on_disk), renewed);
	assert_int_equal(pki_cert_parse(renewed, &id, NULL), 0);
	assert_string_equal(id->cn, subject.cn);
	assert_int_equal(id->n_sans, 2);
	assert_true(id->not_after_s > BEGIN_S + LIFE_S);
	assert_int_equal(pki_cert_verify(renewed, ca, PKI_SERVER, BEGIN_S + LIFE_S, NULL), 0);
	assert_false(renewal_is_due(r.id, BEGIN_S + LIFE_S));

	tls_identity_unref(id);
	renewal_stop(&r);
	uv_close((uv_handle_t *)&r.timer, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_loop_close(&loop);
	buf_fini(&on_disk);
	free(renewed);
	unlink(path);
	trust_destroy(trust);
	store_destroy(store);
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_renewal) };

	return cmocka_run_group_tests_name("master renewal", tests, NULL, NULL);
}
