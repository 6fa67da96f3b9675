/* Certificates, requests, tokens, and what TLS makes of them. */
#include "world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/io/http_client.h"
#include "common/io/http_server.h"
#include "common/io/jwt.h"
#include "common/io/pki.h"

static const char *const orgs[] = { "system:nodes", "second" };
static const char *const sans[] = { "node-1", "10.0.0.1", "fd00::1" };

static void certificates_say_what_was_asked(void **state)
{
	struct world *w = *state;
	struct pki_subject subject = { "system:node:node-1", orgs, 2, sans, 3 };
	struct pki_terms terms = { PKI_CLIENT, 1000, 2000 };
	autofree char *key = NULL, *csr = NULL, *cert = NULL;
	struct tls_identity *asked, *got;
	uint8_t digest[32];

	assert_int_equal(pki_key_create(&key, NULL), 0);
	assert_int_equal(pki_csr_create(key, &subject, &csr, NULL), 0);
	assert_int_equal(pki_csr_parse(csr, &asked, NULL), 0);
	assert_string_equal(asked->cn, "system:node:node-1");
	assert_int_equal(asked->n_orgs, 2);
	assert_string_equal(asked->orgs[1], "second");
	assert_int_equal(asked->n_sans, 3);
	assert_string_equal(asked->sans[1], "10.0.0.1");
	assert_string_equal(asked->sans[2], "fd00::1");
	tls_identity_unref(asked);

	assert_int_equal(pki_csr_sign(w->certs.ca_pem, w->certs.ca_key_pem, csr, &subject, &terms,
				      &cert, NULL),
			 0);
	assert_int_equal(pki_cert_parse(cert, &got, NULL), 0);
	assert_string_equal(got->cn, "system:node:node-1");
	assert_true(tls_identity_in_org(got, "system:nodes"));
	assert_false(tls_identity_in_org(got, "system:masters"));
	assert_int_equal(got->not_before_s, 1000);
	assert_int_equal(got->not_after_s, 2000);
	assert_int_equal(pki_cert_sha256(cert, digest, NULL), 0);
	assert_memory_equal(digest, got->sha256, 32);
	assert_true(pki_key_matches(cert, key));
	assert_false(pki_key_matches(cert, w->certs.ca_key_pem));
	tls_identity_unref(got);
}

static void verification_knows_time_use_and_signer(void **state)
{
	struct world *w = *state;
	int64_t now = time(NULL);
	struct status st = { 0 };

	assert_int_equal(
		pki_cert_verify(w->certs.admin_pem, w->certs.ca_pem, PKI_CLIENT, now, NULL), 0);
	assert_int_equal(
		pki_cert_verify(w->certs.admin_pem, w->certs.ca_pem, PKI_SERVER, now, NULL),
		-EACCES);
	assert_int_equal(
		pki_cert_verify(w->certs.master_pem, w->certs.ca_pem, PKI_SERVER, now, NULL), 0);
	assert_int_equal(
		pki_cert_verify(w->certs.admin_pem, w->certs.ca_pem, PKI_CLIENT, now + 7200, &st),
		-EACCES);
	assert_string_equal(st.message, "certificate: certificate has expired");
	status_fini(&st);
	assert_int_equal(
		pki_cert_verify(w->certs.foreign_pem, w->certs.ca_pem, PKI_CLIENT, now, NULL),
		-EACCES);
	assert_int_equal(
		pki_cert_verify(w->certs.foreign_pem, w->certs.other_ca_pem, PKI_CLIENT, now, NULL),
		0);
}

static void broken_texts_are_refused(void **state)
{
	struct world *w = *state;
	struct pki_subject subject = { .cn = "node-1" };
	struct tls_identity *id;
	autofree char *key = NULL, *csr = NULL;
	struct status st = { 0 };

	assert_int_equal(pki_cert_parse("no certificate", &id, &st), -EINVAL);
	status_fini(&st);
	assert_int_equal(pki_csr_parse(w->certs.admin_pem, &id, NULL), -EINVAL);
	pki_key_create(&key, NULL);
	pki_csr_create(key, &subject, &csr, NULL);
	/* Somewhere in the middle of the base64: the signature no longer fits. */
	csr[strlen(csr) / 2] = csr[strlen(csr) / 2] == 'A' ? 'B' : 'A';
	assert_int_equal(pki_csr_parse(csr, &id, NULL), -EINVAL);
}

static void tokens_verify_only_as_they_were_signed(void **state)
{
	autofree char *pem = NULL, *other_pem = NULL, *token = NULL;
	struct jwt_key *key, *other, *keys[2];
	struct buf claims = { 0 };

	(void)state;
	pki_key_create(&pem, NULL);
	pki_key_create(&other_pem, NULL);
	assert_int_equal(jwt_key_create(pem, &key, NULL), 0);
	assert_int_equal(jwt_key_create(other_pem, &other, NULL), 0);
	keys[0] = other;
	keys[1] = key;
	assert_int_equal(jwt_sign(key, "{\"sub\":\"x\"}", &token, NULL), 0);
	assert_int_equal(jwt_verify(keys, 2, token, &claims, NULL), 0);
	assert_string_equal(buf_cstr(&claims), "{\"sub\":\"x\"}");
	assert_int_equal(jwt_verify(keys, 1, token, &claims, NULL), -EACCES);
	assert_int_equal(jwt_verify(keys, 2, "", &claims, NULL), -EACCES);
	assert_int_equal(jwt_verify(keys, 2, "a.b.c", &claims, NULL), -EACCES);
	for (size_t i = 0; i < strlen(token); i++) {
		char was = token[i];

		token[i] = was == 'A' ? 'B' : 'A';
		assert_int_equal(jwt_verify(keys, 2, token, &claims, NULL), -EACCES);
		token[i] = was;
	}
	jwt_key_destroy(key);
	jwt_key_destroy(other);
	buf_fini(&claims);
}

static void base64url_has_one_text_per_value(void **state)
{
	struct buf b = { 0 };

	(void)state;
	base64url_put(&b, "\xff\xfe", 2);
	assert_string_equal(buf_cstr(&b), "__4");
	buf_clear(&b);
	assert_int_equal(base64url_decode("__4", 3, &b), 0);
	assert_memory_equal(b.data, "\xff\xfe", 2);
	assert_int_equal(base64url_decode("__5", 3, &b), -EINVAL);
	assert_int_equal(base64url_decode("a", 1, &b), -EINVAL);
	assert_int_equal(base64url_decode("ab==", 4, &b), -EINVAL);
	buf_fini(&b);
}

/* Whom a client trusts. */

struct answer {
	bool done;
	int rc, status;
	struct buf body;
};

static void on_response(void *arg, int rc, const struct http_response *r,
			struct byte_stream *stream)
{
	struct answer *a = arg;

	assert_null(stream);
	a->done = true;
	a->rc = rc;
	if (r != NULL) {
		a->status = r->status;
		buf_put(&a->body, r->body.data, r->body.len);
	}
}

static void on_request(struct exchange *x, void *arg)
{
	(void)arg;
	exchange_respond(x, 200, "text/plain", x->body.data, x->body.len);
}

static int post(struct world *w, int port, struct tls_context *tls, const char *name)
{
	struct http_request request = {
		.host = "127.0.0.1",
		.port = port,
		.tls = tls,
		.server_name = name,
		.method = "POST",
		.target = "/x",
		.body = bytes_str("hello"),
	};
	struct answer a = { 0 };

	http_client_send(&w->loop, &request, on_response, &a);
	world_run_until_true(w, &a.done);
	if (a.rc == 0) {
		assert_int_equal(a.status, 200);
		assert_string_equal(buf_cstr(&a.body), "hello");
	}
	buf_fini(&a.body);
	world_settle(w);
	return a.rc;
}

static struct tls_context *trusting(const char *ca_pem, const uint8_t *pin)
{
	struct tls_client_config config = { .ca_pem = ca_pem, .pin_sha256 = pin };
	struct tls_context *tls;

	assert_int_equal(tls_client_context_create(&config, &tls, NULL), 0);
	return tls;
}

static void clients_trust_the_ca_or_its_hash(void **state)
{
	struct world *w = *state;
	autofree char *chain = xasprintf("%s%s", w->certs.master_pem, w->certs.ca_pem);
	struct http_server_config config = { .host = "127.0.0.1", .on_request = on_request };
	struct http_server *s;
	uint8_t pin[32], leaf[32], wrong[32] = { 0 };
	bool closed = false;

	/* For pinning the server sends the CA's certificate along. */
	assert_int_equal(tls_context_replace(w->server_tls, chain, w->certs.master_key_pem, NULL),
			 0);
	config.tls = w->server_tls;
	assert_int_equal(http_server_create(&w->loop, &config, &s, NULL), 0);
	assert_int_equal(pki_cert_sha256(w->certs.ca_pem, pin, NULL), 0);
	assert_int_equal(pki_cert_sha256(w->certs.master_pem, leaf, NULL), 0);

	struct {
		struct tls_context *tls;
		const char *name;
		int rc;
	} cases[] = {
		{ trusting(w->certs.ca_pem, NULL), TLS_MASTER_NAME, 0 },
		{ trusting(w->certs.ca_pem, NULL), "127.0.0.1", 0 },
		{ trusting(w->certs.ca_pem, NULL), "10.9.9.9", -EPROTO },
		{ trusting(w->certs.ca_pem, NULL), "someone-else", -EPROTO },
		{ trusting(w->certs.other_ca_pem, NULL), TLS_MASTER_NAME, -EPROTO },
		{ trusting(NULL, pin), TLS_MASTER_NAME, 0 },
		{ trusting(NULL, pin), "someone-else", -EPROTO },
		{ trusting(NULL, wrong), TLS_MASTER_NAME, -EPROTO },
	};

	for (size_t i = 0; i < array_size(cases); i++) {
		print_message("# trust case %zu\n", i);
		assert_int_equal(post(w, http_server_port(s), cases[i].tls, cases[i].name),
				 cases[i].rc);
		tls_context_destroy(cases[i].tls);
	}
	http_server_close(s, world_set_true, &closed);
	world_run_until_true(w, &closed);
	assert_int_equal(tls_context_replace(w->server_tls, "broken", "broken", NULL), -EINVAL);
}

/* A client that leaves its loop right after the answer, while the connection says goodbye. */
static void loop_ends_while_connections_finish(void **state)
{
	struct world *w = *state;
	struct http_server_config config = { .host = "127.0.0.1",
					     .on_request = on_request,
					     .tls = w->server_tls };
	struct http_request request = { .host = "127.0.0.1",
					.tls = w->anonymous,
					.server_name = TLS_MASTER_NAME,
					.target = "/" };
	struct http_server *s;
	struct answer a = { 0 };
	bool closed = false;
	struct io_loop loop;
	uv_loop_t uv;

	assert_int_equal(http_server_create(&w->loop, &config, &s, NULL), 0);
	request.port = http_server_port(s);
	uv_loop_init(&uv);
	io_loop_init(&loop, &uv);
	http_client_send(&loop, &request, on_response, &a);
	while (!a.done) {
		uv_run(&uv, UV_RUN_NOWAIT);
		uv_run(&w->uv, UV_RUN_NOWAIT);
	}
	assert_int_equal(a.status, 200);
	io_loop_fini(&loop);
	assert_int_equal(uv_loop_close(&uv), 0);
	http_server_close(s, world_set_true, &closed);
	world_run_until_true(w, &closed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(certificates_say_what_was_asked),
		cmocka_unit_test(verification_knows_time_use_and_signer),
		cmocka_unit_test(broken_texts_are_refused),
		cmocka_unit_test(tokens_verify_only_as_they_were_signed),
		cmocka_unit_test(base64url_has_one_text_per_value),
		cmocka_unit_test(clients_trust_the_ca_or_its_hash),
		cmocka_unit_test(loop_ends_while_connections_finish),
	};

	return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
