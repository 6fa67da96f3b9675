/* Tokens: nothing that was not signed verifies. And base64url, which has one text per value. */
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/io/jwt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char key_pem[] = "-----BEGIN PUBLIC KEY-----\n"
			      "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEX1Pl030sRHIXHaO+JDpOQ+LGS/1p\n"
			      "Wt4SZfcKZD91AI/a+Ktp9siTcxsnzQ4ixIdjnv0QIpxAuUbhN71922vUlQ==\n"
			      "-----END PUBLIC KEY-----\n";

static void round_trip(const char *text, size_t n)
{
	struct buf decoded = { 0 }, again = { 0 };

	if (base64url_decode(text, n, &decoded) == 0) {
		base64url_put(&again, decoded.data, decoded.len);
		if (again.len != n || (n > 0 && memcmp(again.data, text, n) != 0))
			abort();
	}
	buf_fini(&decoded);
	buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct jwt_key *key;
	char *token = xstrndup((const char *)data, size);
	struct buf claims = { 0 }, ours = { 0 };

	if (key == NULL && jwt_key_create(key_pem, &key, NULL) < 0)
		abort();
	if (jwt_verify(&key, 1, token, &claims, NULL) == 0)
		abort();
	/* The same behind the right header, which nobody guesses. */
	buf_printf(&ours, "{\"alg\":\"ES256\",\"kid\":\"%s\"}", jwt_key_id(key));
	struct buf behind = { 0 };

	base64url_put(&behind, ours.data, ours.len);
	buf_printf(&behind, ".%s", token);
	if (jwt_verify(&key, 1, buf_cstr(&behind), &claims, NULL) == 0 || claims.len != 0)
		abort();
	round_trip(token, strlen(token));
	buf_fini(&ours);
	buf_fini(&behind);
	free(token);
	return 0;
}
