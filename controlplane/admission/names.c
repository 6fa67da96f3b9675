#include "controlplane/admission/names.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off */
static const char label_text[] =
	"a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must "
	"start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for "
	"validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
static const char subdomain_text[] =
	"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
	"and must start and end with an alphanumeric character (e.g. 'example.com', regex used for "
	"validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
static const char label_1035_text[] =
	"a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
	"alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
	"regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
static const char qualified_text[] =
	"name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with "
	"an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
	"validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
static const char qualified_parts_text[] =
	"a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and "
	"end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
	"validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix "
	"and '/' (e.g. 'example.com/MyName')";
static const char qualified_prefix_text[] =
	"prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, "
	"'-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex "
	"used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
static const char label_value_text[] =
	"a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
	"and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or "
	"'12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
static const char config_key_text[] =
	"a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  "
	"or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
/* clang-format on */

static bool is_lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
	return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

static bool is_label(const char *s, size_t n)
{
	if (n == 0 || !is_lower_alnum(s[0]) || !is_lower_alnum(s[n - 1]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_lower_alnum(s[i]) && s[i] != '-')
			return false;
	return true;
}

static bool is_subdomain(const char *s, size_t n)
{
	size_t begin = 0;

	for (size_t i = 0; i <= n; i++) {
		if (i < n && s[i] != '.')
			continue;
		if (!is_label(s + begin, i - begin))
			return false;
		begin = i + 1;
	}
	return true;
}

/* The shape of label values and of the name part of keys. */
static bool is_word(const char *s, size_t n)
{
	if (n == 0 || !is_alnum(s[0]) || !is_alnum(s[n - 1]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_alnum(s[i]) && s[i] != '-' && s[i] != '_' && s[i] != '.')
			return false;
	return true;
}

const char *name_is_label(const char *s)
{
	size_t n = strlen(s);

	if (!is_label(s, n))
		return label_text;
	return n > 63 ? "must be no more than 63 characters" : NULL;
}

const char *name_is_subdomain(const char *s)
{
	size_t n = strlen(s);

	if (!is_subdomain(s, n))
		return subdomain_text;
	return n > 253 ? "must be no more than 253 characters" : NULL;
}

const char *name_is_label_1035(const char *s)
{
	size_t n = strlen(s);

	if (!is_label(s, n) || s[0] < 'a')
		return label_1035_text;
	return n > 63 ? "must be no more than 63 characters" : NULL;
}

const char *name_is_path_segment(const char *s)
{
	if (strcmp(s, ".") == 0)
		return "may not be '.'";
	if (strcmp(s, "..") == 0)
		return "may not be '..'";
	if (strchr(s, '/') != NULL)
		return "may not contain '/'";
	return strchr(s, '%') != NULL ? "may not contain '%'" : NULL;
}

const char *name_is_qualified(const char *s)
{
	const char *slash = strchr(s, '/'), *name = slash ? slash + 1 : s;

	if (slash != NULL) {
		size_t n = (size_t)(slash - s);

		if (strchr(name, '/') != NULL)
			return qualified_parts_text;
		if (n == 0)
			return "prefix part must be non-empty";
		if (!is_subdomain(s, n))
			return qualified_prefix_text;
		if (n > 253)
			return "prefix part must be no more than 253 characters";
	}
	if (name[0] == '\0')
		return "name part must be non-empty";
	if (!is_word(name, strlen(name)))
		return qualified_text;
	return strlen(name) > 63 ? "name part must be no more than 63 characters" : NULL;
}

const char *name_is_label_value(const char *s)
{
	size_t n = strlen(s);

	if (n > 63)
		return "must be no more than 63 characters";
	return n > 0 && !is_word(s, n) ? label_value_text : NULL;
}

const char *name_is_port(const char *s)
{
	size_t n = strlen(s);
	bool letter = false;

	if (n > 15)
		return "must be no more than 15 characters";
	for (size_t i = 0; i < n; i++) {
		letter = letter || (s[i] >= 'a' && s[i] <= 'z');
		if (!is_lower_alnum(s[i]) && s[i] != '-')
			return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)";
	}
	if (!letter)
		return "must contain at least one letter (a-z)";
	if (strstr(s, "--") != NULL)
		return "must not contain consecutive hyphens";
	if (s[0] == '-' || s[n - 1] == '-')
		return "must not begin or end with a hyphen";
	return NULL;
}

const char *name_is_config_key(const char *s)
{
	size_t n = strlen(s);

	if (n > 253)
		return "must be no more than 253 characters";
	for (size_t i = 0; i < n; i++)
		if (!is_alnum(s[i]) && s[i] != '-' && s[i] != '_' && s[i] != '.')
			return config_key_text;
	if (n == 0)
		return config_key_text;
	if (strcmp(s, ".") == 0)
		return "must not be '.'";
	if (strcmp(s, "..") == 0)
		return "must not be '..'";
	return strncmp(s, "..", 2) == 0 ? "must not start with '..'" : NULL;
}

const char *name_is_env(const char *s)
{
	for (const char *c = s; *c != '\0'; c++)
		if (*c < 0x20 || *c > 0x7e || *c == '=')
			return "a valid environment variable name must consist only of printable "
			       "ASCII characters other than '='";
	return NULL;
}

const char *name_prefix_check(name_rule *rule, const char *prefix)
{
	char filled[512];
	size_t n = strlen(prefix);

	/* What is added is 5 characters, so the last one given need not be able to end a name. */
	if (n == 0 || n + 2 > sizeof(filled) || prefix[n - 1] != '-')
		return rule(prefix);
	memcpy(filled, prefix, n);
	filled[n - 1] = 'a';
	filled[n] = '\0';
	return rule(filled);
}

bool ipv4_parse(const char *s, uint32_t *ret_address)
{
	struct in_addr a;

	if (s == NULL || inet_pton(AF_INET, s, &a) != 1)
		return false;
	*ret_address = ntohl(a.s_addr);
	return true;
}

bool ip_valid(const char *s)
{
	struct in6_addr a;

	return s != NULL && (inet_pton(AF_INET, s, &a) == 1 || inet_pton(AF_INET6, s, &a) == 1);
}

bool cidr_parse(const char *s, uint32_t *ret_address, int *ret_bits)
{
	char address[INET_ADDRSTRLEN];
	const char *slash = s ? strchr(s, '/') : NULL;

	if (slash == NULL || (size_t)(slash - s) >= sizeof(address))
		return false;
	memcpy(address, s, (size_t)(slash - s));
	address[slash - s] = '\0';

	char *end;
	long bits = strtol(slash + 1, &end, 10);

	if (end == slash + 1 || *end != '\0' || bits < 0 || bits > 32)
		return false;
	*ret_bits = (int)bits;
	return ipv4_parse(address, ret_address);
}
