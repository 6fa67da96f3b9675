#include "controlplane/apiserver/discovery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/map.h"

/* Documents are written on their first use and kept under
 * "VIEW PATH", for example "v2 /apis" or "legacy /apis/apps/v1". */

struct document {
	struct buf body;
	char etag[20];
	struct document *next;
};

struct discovery {
	struct map documents;
	struct document *all;
};

/* Highest priority first; groups that are not listed follow in the table's order. */
static const char *const group_order[] = {
	"",
	"apiregistration.k8s.io",
	"apps",
	"events.k8s.io",
	"authentication.k8s.io",
	"authorization.k8s.io",
	"autoscaling",
	"batch",
	"certificates.k8s.io",
	"networking.k8s.io",
	"policy",
	"rbac.authorization.k8s.io",
	"storage.k8s.io",
	"admissionregistration.k8s.io",
	"apiextensions.k8s.io",
	"scheduling.k8s.io",
	"coordination.k8s.io",
	"node.k8s.io",
	"discovery.k8s.io",
};

static size_t group_rank(const char *group)
{
	for (size_t i = 0; i < array_size(group_order); i++)
		if (strcmp(group_order[i], group) == 0)
			return i;
	return array_size(group_order);
}

/* Newer versions first: v2 before v1 before v1beta1. */
static int version_compare(const char *a, const char *b)
{
	bool a_beta = strstr(a, "beta") != NULL, b_beta = strstr(b, "beta") != NULL;

	if (a_beta != b_beta)
		return a_beta ? 1 : -1;
	return strcmp(b, a);
}

static int kind_order(const void *x, const void *y)
{
	const struct kind *a = *(const struct kind *const *)x, *b = *(const struct kind *const *)y;
	size_t rank_a = group_rank(a->group), rank_b = group_rank(b->group);

	if (rank_a != rank_b)
		return rank_a < rank_b ? -1 : 1;
	int order = strcmp(a->group, b->group);

	if (order == 0)
		order = version_compare(a->version, b->version);
	return order != 0 ? order : strcmp(a->plural, b->plural);
}

/* Served kinds in the order in which they are shown; ended by NULL. Sorted on first use. */
static const struct kind *const *served(void)
{
	static const struct kind **sorted;
	size_t n = 0;

	if (sorted != NULL)
		return sorted;
	sorted = xcalloc(kinds_count + 1, sizeof(*sorted));
	kinds_for_each(k) if (k->flags & KIND_SERVED) sorted[n++] = k;
	qsort(sorted, n, sizeof(*sorted), kind_order);
	return sorted;
}

static bool same_version(const struct kind *a, const struct kind *b)
{
	return strcmp(a->group, b->group) == 0 && strcmp(a->version, b->version) == 0;
}

bool group_version_at(size_t i, struct group_version *ret_gv)
{
	const struct kind *last = NULL;

	for (const struct kind *const *k = served(); *k != NULL; k++) {
		if (last != NULL && same_version(last, *k))
			continue;
		last = *k;
		if (i-- == 0) {
			*ret_gv = (struct group_version){ last->group, last->version,
							  last->api_version };
			return true;
		}
	}
	return false;
}

bool group_served(const char *group)
{
	for (const struct kind *const *k = served(); *k != NULL; k++)
		if (strcmp((*k)->group, group) == 0)
			return true;
	return false;
}

static void put_names(struct buf *b, const char *key, const char *const *names)
{
	if (names == NULL || names[0] == NULL)
		return;
	buf_printf(b, ",\"%s\":[", key);
	for (size_t i = 0; names[i] != NULL; i++)
		buf_printf(b, "%s\"%s\"", i ? "," : "", names[i]);
	buf_put_byte(b, ']');
}

static void put_verbs(struct buf *b, unsigned verbs)
{
	/* clang-format off */
	static const struct { unsigned verb; const char *name; } names[] = {
		{ KIND_CREATE, "create" }, { KIND_DELETE, "delete" },
		{ KIND_DELETE_COLLECTION, "deletecollection" }, { KIND_GET, "get" },
		{ KIND_LIST, "list" }, { KIND_PATCH, "patch" }, { KIND_UPDATE, "update" },
		{ KIND_WATCH, "watch" },
	};
	/* clang-format on */
	const char *comma = "";

	buf_put_str(b, "\"verbs\":[");
	for (size_t i = 0; i < array_size(names); i++) {
		if (verbs & names[i].verb) {
			buf_printf(b, "%s\"%s\"", comma, names[i].name);
			comma = ",";
		}
	}
	buf_put_byte(b, ']');
}

/* --- Legacy documents ---------------------------------------------------------------- */

static void put_legacy_resource(struct buf *b, const struct kind *k, const char **comma)
{
	const char *namespaced = k->flags & KIND_NAMESPACED ? "true" : "false";

	buf_printf(b,
		   "%s{\"name\":\"%s\",\"singularName\":\"%s\",\"namespaced\":%s,\"kind\":\"%s\",",
		   *comma, k->plural, k->singular, namespaced, k->kind);
	*comma = ",";
	put_verbs(b, k->verbs);
	put_names(b, "shortNames", k->short_names);
	put_names(b, "categories", k->categories);
	buf_put_byte(b, '}');
	for (size_t i = 0; i < k->n_subresources; i++) {
		const struct kind_subresource *sub = &k->subresources[i];

		if (!sub->served)
			continue;
		buf_printf(b, ",{\"name\":\"%s/%s\",\"singularName\":\"\",\"namespaced\":%s,",
			   k->plural, sub->name, namespaced);
		if (strcmp(sub->group, k->group) != 0 || strcmp(sub->version, k->version) != 0)
			buf_printf(b, "\"group\":\"%s\",\"version\":\"%s\",", sub->group,
				   sub->version);
		buf_printf(b, "\"kind\":\"%s\",", sub->kind);
		put_verbs(b, sub->verbs);
		buf_put_byte(b, '}');
	}
}

static bool legacy_group_version(struct buf *b, const struct api_path *path)
{
	const char *comma = "";

	for (const struct kind *const *k = served(); *k != NULL; k++) {
		if (strcmp((*k)->group, path->group) != 0 ||
		    strcmp((*k)->version, path->version) != 0)
			continue;
		if (*comma == 0)
			buf_printf(b,
				   "{\"kind\":\"APIResourceList\",%s\"groupVersion\":\"%s\","
				   "\"resources\":[",
				   *path->group ? "\"apiVersion\":\"v1\"," : "", (*k)->api_version);
		put_legacy_resource(b, *k, &comma);
	}
	buf_put_str(b, "]}\n");
	return *comma != 0;
}

/* One APIGroup's inner part: name, versions and the preferred (first) version. */
static void put_group(struct buf *b, const char *group)
{
	struct group_version gv, first = { 0 };

	buf_printf(b, "\"name\":\"%s\",\"versions\":[", group);
	for (size_t i = 0; group_version_at(i, &gv); i++) {
		if (strcmp(gv.group, group) != 0)
			continue;
		buf_printf(b, "%s{\"groupVersion\":\"%s\",\"version\":\"%s\"}",
			   first.group ? "," : "", gv.api_version, gv.version);
		if (first.group == NULL)
			first = gv;
	}
	buf_printf(b, "],\"preferredVersion\":{\"groupVersion\":\"%s\",\"version\":\"%s\"}",
		   first.api_version, first.version);
}

static bool legacy_groups(struct buf *b)
{
	struct group_version gv;
	const char *last = "", *comma = "";

	buf_put_str(b, "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[");
	for (size_t i = 0; group_version_at(i, &gv); i++) {
		if (strcmp(gv.group, last) == 0)
			continue;
		last = gv.group;
		buf_printf(b, "%s{", comma);
		put_group(b, gv.group);
		buf_put_byte(b, '}');
		comma = ",";
	}
	buf_put_str(b, "]}\n");
	return true;
}

static bool legacy_document(struct buf *b, const struct api_path *path, const char *server_address)
{
	switch (path->type) {
	case PATH_API_VERSIONS:
		buf_printf(b,
			   "{\"kind\":\"APIVersions\",\"versions\":[\"v1\"],"
			   "\"serverAddressByClientCIDRs\":[{\"clientCIDR\":\"0.0.0.0/0\","
			   "\"serverAddress\":\"%s\"}]}\n",
			   server_address);
		return true;
	case PATH_API_GROUPS:
		return legacy_groups(b);
	case PATH_GROUP:
		if (!group_served(path->group))
			return false;
		buf_put_str(b, "{\"kind\":\"APIGroup\",\"apiVersion\":\"v1\",");
		put_group(b, path->group);
		buf_put_str(b, "}\n");
		return true;
	case PATH_GROUP_VERSION:
		return legacy_group_version(b, path);
	case PATH_RESOURCE:
	case PATH_OTHER:
		return false;
	}
	abort();
}

/* --- Aggregated documents ------------------------------------------------------------ */

static void put_response_kind(struct buf *b, const char *group, const char *version,
			      const char *kind)
{
	buf_printf(b, "\"responseKind\":{\"group\":\"%s\",\"version\":\"%s\",\"kind\":\"%s\"}",
		   group, version, kind);
}

static void put_aggregated_resource(struct buf *b, const struct kind *k)
{
	const char *comma = ",\"subresources\":[";

	buf_printf(b, "{\"resource\":\"%s\",", k->plural);
	put_response_kind(b, k->group, k->version, k->kind);
	buf_printf(b, ",\"scope\":\"%s\",\"singularResource\":\"%s\",",
		   k->flags & KIND_NAMESPACED ? "Namespaced" : "Cluster", k->singular);
	put_verbs(b, k->verbs);
	put_names(b, "shortNames", k->short_names);
	put_names(b, "categories", k->categories);
	for (size_t i = 0; i < k->n_subresources; i++) {
		const struct kind_subresource *sub = &k->subresources[i];

		if (!sub->served)
			continue;
		buf_printf(b, "%s{\"subresource\":\"%s\",", comma, sub->name);
		put_response_kind(b, sub->group, sub->version, sub->kind);
		buf_put_byte(b, ',');
		put_verbs(b, sub->verbs);
		buf_put_byte(b, '}');
		comma = ",";
	}
	buf_put_str(b, comma[1] == 0 ? "]}" : "}");
}

static void put_aggregated_version(struct buf *b, const struct group_version *gv)
{
	const char *comma = "";

	buf_printf(b, "{\"version\":\"%s\",\"freshness\":\"Current\",\"resources\":[", gv->version);
	for (const struct kind *const *k = served(); *k != NULL; k++) {
		if (strcmp((*k)->group, gv->group) != 0 || strcmp((*k)->version, gv->version) != 0)
			continue;
		buf_put_str(b, comma);
		put_aggregated_resource(b, *k);
		comma = ",";
	}
	buf_put_str(b, "]}");
}

static bool aggregated_document(struct buf *b, enum path_type type, const char *version)
{
	struct group_version gv;
	const char *last = NULL;

	buf_printf(b,
		   "{\"kind\":\"APIGroupDiscoveryList\",\"apiVersion\":\"apidiscovery.k8s.io/%s\","
		   "\"metadata\":{},\"items\":[",
		   version);
	for (size_t i = 0; group_version_at(i, &gv); i++) {
		if ((*gv.group == 0) != (type == PATH_API_VERSIONS))
			continue;
		if (last == NULL || strcmp(gv.group, last) != 0) {
			buf_printf(b, "%s{\"metadata\":{", last != NULL ? "]}," : "");
			if (*gv.group != 0)
				buf_printf(b, "\"name\":\"%s\",", gv.group);
			buf_put_str(b, "\"creationTimestamp\":null},\"versions\":[");
		} else {
			buf_put_byte(b, ',');
		}
		put_aggregated_version(b, &gv);
		last = gv.group;
	}
	buf_put_str(b, last != NULL ? "]}]}\n" : "]}\n");
	return true;
}

/* --- Keeping them -------------------------------------------------------------------- */

struct discovery *discovery_create(void)
{
	return xcalloc(1, sizeof(struct discovery));
}

void discovery_destroy(struct discovery *d)
{
	if (d == NULL)
		return;
	while (d->all != NULL) {
		struct document *doc = d->all;

		d->all = doc->next;
		buf_fini(&doc->body);
		free(doc);
	}
	map_fini(&d->documents);
	free(d);
}

static struct document *document_create(const struct api_path *path, const struct media *media,
					const char *server_address)
{
	struct document *doc = xcalloc(1, sizeof(*doc));
	bool found = media->view == MEDIA_DISCOVERY
			     ? aggregated_document(&doc->body, path->type, media->version)
			     : legacy_document(&doc->body, path, server_address);

	if (!found) {
		buf_fini(&doc->body);
		free(doc);
		return NULL;
	}
	snprintf(doc->etag, sizeof(doc->etag), "\"%016llX\"",
		 (unsigned long long)hash_bytes(doc->body.data, doc->body.len));
	return doc;
}

bool discovery_document(struct discovery *d, const struct api_path *path, const struct media *media,
			const char *server_address, struct bytes *ret_body, const char **ret_etag)
{
	struct media form = *media;

	/* Only the two roots have an aggregated form. */
	if (path->type != PATH_API_VERSIONS && path->type != PATH_API_GROUPS)
		form.view = MEDIA_OBJECT;

	autofree char *key =
		xasprintf("%s %s %s", form.view == MEDIA_DISCOVERY ? form.version : "legacy",
			  path->text, path->type == PATH_API_VERSIONS ? server_address : "");
	struct document *doc = map_get(&d->documents, key);

	if (doc == NULL) {
		doc = document_create(path, &form, server_address);
		if (doc == NULL)
			return false;
		doc->next = d->all;
		d->all = doc;
		map_put(&d->documents, key, doc);
	}
	*ret_body = buf_bytes(&doc->body);
	*ret_etag = doc->etag;
	return true;
}
