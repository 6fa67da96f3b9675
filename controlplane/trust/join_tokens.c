/* Join tokens are Kubernetes' bootstrap tokens: Secrets bootstrap-token-<id> of kube-system. */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include <openssl/crypto.h>

#include "common/api/times.h"
#include "common/base/cleanup.h"
#include "controlplane/trust/internal.h"

#define ID_CHARS 6
#define SECRET_CHARS 16

/* "[a-z0-9]{6}.[a-z0-9]{16}" */
static bool well_formed(const char *token)
{
	if (strlen(token) != ID_CHARS + 1 + SECRET_CHARS || token[ID_CHARS] != '.')
		return false;
	for (size_t i = 0; token[i] != '\0'; i++)
		if (i != ID_CHARS && !islower((unsigned char)token[i]) &&
		    !isdigit((unsigned char)token[i]))
			return false;
	return true;
}

static bool value_is(const struct trust *t, const char *name, const char *key, const char *wanted,
		     struct arena *arena)
{
	struct bytes value;

	return trust_secret_value(t, name, key, arena, &value) == 0 &&
	       value.len == strlen(wanted) && CRYPTO_memcmp(value.data, wanted, value.len) == 0;
}

static bool expired(const struct trust *t, const char *name, int64_t now_s, struct arena *arena)
{
	struct bytes value;
	int64_t until_s;
	int32_t nanos;

	if (trust_secret_value(t, name, "expiration", arena, &value) < 0)
		return false; /* Without one it does not expire, as in Kubernetes. */
	return time_parse(value, &until_s, &nanos) < 0 || until_s <= now_s;
}

int trust_token_check(const struct trust *t, const char *token, enum trust_token_use use,
		      int64_t now_s, struct status *st)
{
	const char *usage = use == TRUST_TOKEN_MASTER ? "usage-sampan-master"
						      : "usage-bootstrap-authentication";
	const char *other = use == TRUST_TOKEN_MASTER ? "usage-bootstrap-authentication"
						      : "usage-sampan-master";
	auto_with(arena_fini) struct arena arena = { 0 };

	arena_init(&arena, 0);
	if (!well_formed(token))
		return status_set(st, -EACCES, "not a join token");
	const char *name = arena_printf(&arena, "bootstrap-token-%.*s", ID_CHARS, token);
	bool right = value_is(t, name, "token-secret", token + ID_CHARS + 1, &arena);
	/* A token is for nodes or for masters, never both. */
	if (!right || expired(t, name, now_s, &arena) || !value_is(t, name, usage, "true", &arena) ||
	    value_is(t, name, other, "true", &arena))
		return status_set(st, -EACCES, "the join token is unknown, expired, or for another use");
	return 0;
}
