#include "controlplane/apiserver/continue_token.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The text under the base64 is "1 REVISION NAMESPACE NAME"; 1 is its version. Names
 * hold no spaces. */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static char *base64url(struct arena *arena, const char *s, size_t n)
{
	char *out = arena_alloc(arena, (n + 2) / 3 * 4 + 1), *at = out;

	for (size_t i = 0; i < n; i += 3) {
		size_t left = n - i;
		unsigned b0 = (unsigned char)s[i];
		unsigned b1 = left > 1 ? (unsigned char)s[i + 1] : 0;
		unsigned b2 = left > 2 ? (unsigned char)s[i + 2] : 0;

		*at++ = digits[b0 >> 2];
		*at++ = digits[(b0 & 3) << 4 | b1 >> 4];
		if (left > 1)
			*at++ = digits[(b1 & 15) << 2 | b2 >> 6];
		if (left > 2)
			*at++ = digits[b2 & 63];
	}
	*at = 0;
	return out;
}

static char *base64url_decode(struct arena *arena, const char *s)
{
	size_t n = strlen(s);

	while (n > 0 && s[n - 1] == '=')
		n--;

	char *out = arena_alloc(arena, n + 1), *at = out;
	unsigned bits = 0, have = 0;

	for (size_t i = 0; i < n; i++) {
		const char *digit = strchr(digits, s[i]);

		if (digit == NULL)
			return NULL;
		bits = bits << 6 | (unsigned)(digit - digits);
		have += 6;
		if (have >= 8) {
			have -= 8;
			*at++ = (char)(bits >> have & 255);
		}
	}
	*at = 0;
	return strlen(out) == (size_t)(at - out) ? out : NULL;
}

char *continue_token_encode(struct arena *arena, const struct continue_token *token)
{
	char *text = arena_printf(arena, "1 %llu %s %s", (unsigned long long)token->revision,
				  token->namespace, token->name);

	return base64url(arena, text, strlen(text));
}

int continue_token_decode(struct arena *arena, const char *text, struct continue_token *ret_token,
			  struct status *st)
{
	char *at = strlen(text) <= CONTINUE_TOKEN_MAX ? base64url_decode(arena, text) : NULL;
	char *version = at != NULL ? strsep(&at, " ") : NULL, *revision = strsep(&at, " ");
	char *namespace = strsep(&at, " "), *end = NULL;

	errno = 0;
	unsigned long long number = revision != NULL ? strtoull(revision, &end, 10) : 0;

	if (at == NULL || *at == 0 || strcmp(version, "1") != 0 || number == 0 || errno != 0 ||
	    *end != 0)
		return status_set(st, -EBADMSG, "continue key is not valid");
	*ret_token = (struct continue_token){ number, namespace, at };
	return 0;
}
