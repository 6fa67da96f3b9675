#include "agent/images/reference.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "common/base/alloc.h"

static bool is_lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool digest_is_valid(const char *text)
{
	if (strncmp(text, "sha256:", 7) != 0 || strlen(text) != DIGEST_SIZE - 1)
		return false;
	return strspn(text + 7, "0123456789abcdef") == 64;
}

/* Components of lower-case letters and digits, joined inside by one of . _ __ or any number of -.
 */
static bool repository_is_valid(const char *text)
{
	char before = '/';

	for (const char *c = text; *c != '\0'; c++) {
		bool joint = *c == '.' || *c == '_' || *c == '-';

		if (!is_lower_alnum(*c) && !joint && *c != '/')
			return false;
		if ((joint || *c == '/') && before == '/')
			return false;
		if (*c == '/' && !is_lower_alnum(before))
			return false;
		if ((*c == '.' || before == '.') && !is_lower_alnum(*c) && !is_lower_alnum(before))
			return false;
		before = *c;
	}
	return is_lower_alnum(before);
}

static bool tag_is_valid(const char *text)
{
	size_t n = strlen(text);

	if (n == 0 || n > 128 || text[0] == '.' || text[0] == '-')
		return false;
	for (; *text != '\0'; text++) {
		if (!isalnum((unsigned char)*text) && strchr("_.-", *text) == NULL)
			return false;
	}
	return true;
}

static bool domain_is_valid(const char *text)
{
	const char *port = strrchr(text, ':');
	size_t host =
		port != NULL && strchr(text, ']') < port ? (size_t)(port - text) : strlen(text);

	if (host == 0)
		return false;
	for (size_t i = 0; i < host; i++) {
		if (!isalnum((unsigned char)text[i]) && strchr(".-[]:", text[i]) == NULL)
			return false;
	}
	if (text[host] == '\0')
		return true;
	size_t digits = strspn(port + 1, "0123456789");

	return digits > 0 && digits <= 5 && port[1 + digits] == '\0';
}

/* The first component is a domain if it could not be the first word of a repository. */
static size_t domain_length(const char *name)
{
	const char *slash = strchr(name, '/');
	size_t n;

	if (slash == NULL)
		return 0;
	n = (size_t)(slash - name);
	if (n == strlen("localhost") && memcmp(name, "localhost", n) == 0)
		return n;
	for (size_t i = 0; i < n; i++) {
		if (name[i] == '.' || name[i] == ':' || isupper((unsigned char)name[i]))
			return n;
	}
	return 0;
}

static int refuse(struct status *st, const char *name, const char *why)
{
	status_set(st, -EINVAL, "image name \"%.300s\": %s", name, why);
	status_http(st, 400, "InvalidImageName");
	return -EINVAL;
}

int reference_parse(const char *name, struct reference *ret, struct status *st)
{
	struct reference ref = { .domain = "docker.io" };
	char rest[2 * REFERENCE_MAX + 1];
	size_t domain = domain_length(name);

	if (name[0] == '\0')
		return refuse(st, name, "it is empty");
	if (strlen(name) >= sizeof(rest))
		return refuse(st, name, "it is too long");
	if (domain > REFERENCE_MAX)
		return refuse(st, name, "its domain is too long");
	if (domain > 0) {
		memcpy(ref.domain, name, domain);
		ref.domain[domain] = '\0';
		name += domain + 1;
		if (!domain_is_valid(ref.domain))
			return refuse(st, ref.domain, "not a host with an optional port");
		if (strcmp(ref.domain, "index.docker.io") == 0)
			strcpy(ref.domain, "docker.io");
	}
	strcpy(rest, name);

	char *at = strchr(rest, '@');

	if (at != NULL) {
		*at++ = '\0';
		if (!digest_is_valid(at))
			return refuse(st, name, "the digest is not sha256: and 64 hex digits");
		strcpy(ref.digest, at);
	}
	char *colon = strchr(rest, ':');

	if (colon != NULL) {
		*colon++ = '\0';
		if (!tag_is_valid(colon))
			return refuse(st, name, "the tag is not valid");
		strcpy(ref.tag, colon);
	} else if (at == NULL) {
		strcpy(ref.tag, "latest");
	}

	bool library = strcmp(ref.domain, "docker.io") == 0 && strchr(rest, '/') == NULL;

	if (!repository_is_valid(rest))
		return refuse(st, name, "a repository is lower-case words joined by / . _ or -");
	if (strlen(ref.domain) + 1 + strlen("library/") + strlen(rest) > REFERENCE_MAX)
		return refuse(st, name, "it is too long");
	strcpy(ref.repository, library ? "library/" : "");
	strcat(ref.repository, rest);
	*ret = ref;
	return 0;
}

char *reference_text(const struct reference *ref)
{
	return xasprintf("%s/%s%s%s%s%s", ref->domain, ref->repository, ref->tag[0] ? ":" : "",
			 ref->tag, ref->digest[0] ? "@" : "", ref->digest);
}

const char *reference_registry(const struct reference *ref)
{
	return strcmp(ref->domain, "docker.io") == 0 ? "registry-1.docker.io" : ref->domain;
}
