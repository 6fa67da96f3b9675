#include "controlplane/apiserver/negotiate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/cleanup.h"

struct clause {
	const char *type; /* Lower case: "application/json". */
	const char *as, *group, *version;
	double quality;
};

static char *trim(char *s)
{
	s += strspn(s, " \t");
	for (size_t n = strlen(s); n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t'); n--)
		s[n - 1] = 0;
	return s;
}

static void clause_param(struct clause *c, char *param)
{
	char *value = strchr(param, '=');

	if (value == NULL)
		return;
	*value++ = 0;
	value = trim(value);

	size_t n = strlen(value);

	if (n >= 2 && value[0] == '"' && value[n - 1] == '"') {
		value[n - 1] = 0;
		value++;
	}
	param = trim(param);
	if (strcmp(param, "as") == 0)
		c->as = value;
	else if (strcmp(param, "g") == 0)
		c->group = value;
	else if (strcmp(param, "v") == 0)
		c->version = value;
	else if (strcmp(param, "q") == 0)
		c->quality = strtod(value, NULL);
}

/* By falling quality; equal ones stay in the client's order. */
static void clauses_sort(struct clause *c, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		struct clause it = c[i];
		size_t at = i;

		for (; at > 0 && c[at - 1].quality < it.quality; at--)
			c[at] = c[at - 1];
		c[at] = it;
	}
}

static size_t clauses_parse(struct arena *arena, const char *accept,
			    struct clause ret_clauses[ACCEPT_CLAUSES_MAX])
{
	char *rest = arena_strdup(arena, accept), *part;
	size_t n = 0;

	while (n < ACCEPT_CLAUSES_MAX && (part = strsep(&rest, ",")) != NULL) {
		struct clause c = { .quality = 1 };
		char *param;

		c.type = trim(strsep(&part, ";"));
		for (char *at = (char *)c.type; *at != 0; at++)
			if (*at >= 'A' && *at <= 'Z')
				*at = (char)(*at + 32);
		while ((param = strsep(&part, ";")) != NULL)
			clause_param(&c, trim(param));
		if (*c.type != 0 && c.quality > 0)
			ret_clauses[n++] = c;
	}
	clauses_sort(ret_clauses, n);
	return n;
}

static const char *one_of(const char *text, const char *a, const char *b)
{
	if (text == NULL)
		return NULL;
	return strcmp(text, a) == 0 ? a : strcmp(text, b) == 0 ? b : NULL;
}

/* The view a clause asks for; false when it cannot be served here. */
static bool clause_view(const struct clause *c, unsigned offer, struct media *m)
{
	m->view = MEDIA_OBJECT;
	m->version = "v1";
	if (c->as == NULL || *c->as == 0)
		return true;
	if (offer & OFFER_DISCOVERY) {
		m->view = MEDIA_DISCOVERY;
		m->version = one_of(c->version, "v2", "v2beta1");
		return m->format == MEDIA_JSON && m->version != NULL && c->group != NULL &&
		       strcmp(c->group, "apidiscovery.k8s.io") == 0 &&
		       strcmp(c->as, "APIGroupDiscoveryList") == 0;
	}
	m->version = one_of(c->version, "v1", "v1beta1");
	if (!(offer & OFFER_VIEWS) || m->version == NULL || c->group == NULL ||
	    strcmp(c->group, "meta.k8s.io") != 0)
		return false;
	if (strcmp(c->as, "Table") == 0) {
		m->view = MEDIA_TABLE;
		return m->format == MEDIA_JSON; /* Rows have no protobuf form. */
	}
	m->view = MEDIA_PARTIAL;
	return strcmp(c->as, "PartialObjectMetadata") == 0 ||
	       strcmp(c->as, "PartialObjectMetadataList") == 0;
}

static bool clause_serve(const struct clause *c, unsigned offer, struct media *m)
{
	if (strcmp(c->type, "application/vnd.kubernetes.protobuf") == 0)
		m->format = MEDIA_PROTOBUF;
	else if (strcmp(c->type, "application/json") == 0 || strcmp(c->type, "*/*") == 0 ||
		 strcmp(c->type, "application/*") == 0)
		m->format = MEDIA_JSON;
	else
		return false;
	if (m->format == MEDIA_PROTOBUF && (offer & (OFFER_JSON_ONLY | OFFER_DISCOVERY)))
		return false;
	return clause_view(c, offer, m);
}

int media_negotiate(struct arena *arena, const char *accept, unsigned offer,
		    struct media *ret_media, struct status *st)
{
	struct clause clauses[ACCEPT_CLAUSES_MAX];

	*ret_media = (struct media){ MEDIA_JSON, MEDIA_OBJECT, "v1" };
	if (accept == NULL || *accept == 0 || strcmp(accept, "application/json") == 0)
		return 0;

	size_t n = clauses_parse(arena, accept, clauses);

	if (n == 0)
		return 0;
	for (size_t i = 0; i < n; i++) {
		struct media m = { 0 };

		if (clause_serve(&clauses[i], offer, &m)) {
			*ret_media = m;
			return 0;
		}
	}
	status_set(st, -ENOTSUP, "only the following media types are accepted: application/json%s",
		   offer & (OFFER_JSON_ONLY | OFFER_DISCOVERY)
			   ? ""
			   : ", application/vnd.kubernetes.protobuf");
	status_http(st, 406, "NotAcceptable");
	return -ENOTSUP;
}

/* clang-format off */
static const struct {
	const char *name;
	enum body_type type;
	bool patch;
} body_types[] = {
	{ "application/json",                       BODY_JSON,            false },
	{ "application/vnd.kubernetes.protobuf",    BODY_PROTOBUF,        false },
	{ "application/json-patch+json",            BODY_JSON_PATCH,      true },
	{ "application/merge-patch+json",           BODY_MERGE_PATCH,     true },
	{ "application/strategic-merge-patch+json", BODY_STRATEGIC_PATCH, true },
	{ "application/apply-patch+yaml",           BODY_APPLY_PATCH,     true },
};
/* clang-format on */

int body_type_of(const char *content_type, bool patch, enum body_type *ret_type, struct status *st)
{
	size_t n = content_type != NULL ? strcspn(content_type, ";") : 0;

	while (n > 0 && (content_type[n - 1] == ' ' || content_type[n - 1] == '\t'))
		n--;
	if (n == 0 && !patch) {
		*ret_type = BODY_JSON;
		return 0;
	}
	for (size_t i = 0; i < array_size(body_types); i++) {
		if (body_types[i].patch == patch && strlen(body_types[i].name) == n &&
		    strncasecmp(content_type, body_types[i].name, n) == 0) {
			*ret_type = body_types[i].type;
			return 0;
		}
	}
	return status_set(st, -EPROTONOSUPPORT,
			  "the body of the request was in an unknown format - accepted media types "
			  "include: %s",
			  patch ? "application/json-patch+json, application/merge-patch+json, "
				  "application/strategic-merge-patch+json, "
				  "application/apply-patch+yaml"
				: "application/json, application/vnd.kubernetes.protobuf");
}

const char *media_content_type(const struct media *m, bool watch)
{
	if (m->format == MEDIA_PROTOBUF)
		return watch ? "application/vnd.kubernetes.protobuf;stream=watch"
			     : "application/vnd.kubernetes.protobuf";
	if (m->view == MEDIA_DISCOVERY)
		return strcmp(m->version, "v2") == 0
			       ? "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
			       : "application/json;g=apidiscovery.k8s.io;v=v2beta1;as="
				 "APIGroupDiscoveryList";
	return "application/json";
}
