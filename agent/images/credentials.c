#include "agent/images/credentials.h"

#include <fnmatch.h>
#include <string.h>

#include "agent/images/json.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"

#define CONFIG_BUDGET_BYTES (8u << 20)

static char *base64(const char *text)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n = strlen(text);
	char *out = xmalloc((n + 2) / 3 * 4 + 1), *to = out;

	for (size_t i = 0; i < n; i += 3) {
		unsigned left = n - i > 2 ? 3 : (unsigned)(n - i);
		unsigned bits = (unsigned)(unsigned char)text[i] << 16;

		if (left > 1)
			bits |= (unsigned)(unsigned char)text[i + 1] << 8;
		if (left > 2)
			bits |= (unsigned char)text[i + 2];
		*to++ = digits[bits >> 18];
		*to++ = digits[bits >> 12 & 63];
		*to++ = left > 1 ? digits[bits >> 6 & 63] : '=';
		*to++ = left > 2 ? digits[bits & 63] : '=';
	}
	*to = '\0';
	return out;
}

/* As long as both have labels, each must fit: *.example.com is not for a.b.example.com. */
static bool host_fits(const char *pattern, const char *host)
{
	size_t labels = 0;

	for (const char *c = pattern; *c != '\0'; c++)
		labels += *c == '.';
	for (const char *c = host; *c != '\0'; c++)
		labels -= *c == '.';
	return labels == 0 && fnmatch(pattern, host, 0) == 0;
}

static bool key_fits(const char *key, const struct reference *ref)
{
	const char *scheme = strstr(key, "://");
	autofree char *host = xstrdup(scheme != NULL ? scheme + 3 : key);
	char *path = strchr(host, '/');

	if (path != NULL) {
		*path++ = '\0';
		path[strcspn(path, "?#")] = '\0';
		size_t n = strlen(path);

		if (n > 0 && path[n - 1] == '/')
			path[--n] = '\0';
		if (strcmp(path, "v1") == 0 || strcmp(path, "v2") == 0)
			*path = '\0';
	}
	if (strcmp(host, "index.docker.io") == 0 || strcmp(host, "registry-1.docker.io") == 0)
		strcpy(host, "docker.io");
	if (!host_fits(host, ref->domain))
		return false;
	if (path == NULL || *path == '\0')
		return true;
	size_t n = strlen(path);

	return strncmp(ref->repository, path, n) == 0 &&
	       (ref->repository[n] == '\0' || ref->repository[n] == '/');
}

static char *credentials_of_entry(const struct json *entry)
{
	const char *auth = json_text(entry, "auth");
	const char *user = json_text(entry, "username"), *password = json_text(entry, "password");

	if (user != NULL && password != NULL) {
		autofree char *both = xasprintf("%s:%s", user, password);

		return base64(both);
	}
	/* What goes into a header line may hold no line ends. */
	if (auth == NULL || auth[strspn(auth, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
					      "0123456789+/=")] != '\0')
		return NULL;
	return xstrdup(auth);
}

static char *credentials_of_config(const struct json *config, const struct reference *ref)
{
	const struct json *auths = json_member(config, "auths"), *best = NULL;

	if (auths == NULL)
		auths = config;
	if (auths->type != JSON_OBJECT)
		return NULL;
	json_for_each(entry, auths)
	{
		if (key_fits(entry->key, ref) &&
		    (best == NULL || strlen(entry->key) > strlen(best->key)))
			best = entry;
	}
	return best != NULL ? credentials_of_entry(best) : NULL;
}

char *credentials_find(const char *const *docker_configs, size_t n, const struct reference *ref)
{
	for (size_t i = 0; i < n; i++) {
		auto_with(arena_fini) struct arena arena = { 0 };
		const struct json *config;
		char *found = NULL;

		arena_init(&arena, CONFIG_BUDGET_BYTES);
		if (json_parse(&arena, bytes_str(docker_configs[i]), &config) == 0)
			found = credentials_of_config(config, ref);
		if (found != NULL)
			return found;
	}
	return NULL;
}
