#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "agent/images/pull/registry.h"
#include "common/base/alloc.h"

bool challenge_is(const char *header, const char *scheme)
{
	size_t n = strlen(scheme);

	return strncasecmp(header, scheme, n) == 0 && (header[n] == ' ' || header[n] == '\0');
}

static const char *skip_quoted(const char *at)
{
	for (at++; *at != '\0' && *at != '"'; at++) {
		if (*at == '\\' && at[1] != '\0')
			at++;
	}
	return *at == '"' ? at + 1 : at;
}

static char *unquote(const char *at, const char *end)
{
	char *text = xmalloc((size_t)(end - at) + 1), *to = text;

	if (*at == '"')
		at++;
	for (; at < end && *at != '"'; at++) {
		if (*at == '\\' && at + 1 < end)
			at++;
		*to++ = *at;
	}
	*to = '\0';
	return text;
}

char *challenge_parameter(const char *header, const char *name)
{
	const char *at = header + strcspn(header, " ");
	size_t n = strlen(name);

	while (*at != '\0') {
		at += strspn(at, " ,\t");
		size_t key = strcspn(at, "= ,\t");
		const char *value = at + key;

		if (*value != '=') {
			at = value;
			continue;
		}
		value++;
		const char *end =
			*value == '"' ? skip_quoted(value) : value + strcspn(value, " ,\t");

		if (key == n && strncasecmp(at, name, n) == 0)
			return unquote(value, end);
		at = end;
	}
	return NULL;
}
