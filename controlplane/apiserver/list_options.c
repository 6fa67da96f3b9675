/* What a client may say about which objects it wants and how new they must be. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "controlplane/apiserver/internal.h"

int selection_parse(struct request *r, struct selection *ret_selection, struct status *st)
{
	struct selection s = {
		.kind = r->kind,
		.stored = r->stored,
		.namespace = r->path.namespace,
		.name = r->path.name,
	};
	int rc = label_selector_parse(query_get(&r->query, "labelSelector"), &r->arena, &s.labels,
				      st);

	if (rc == 0)
		rc = field_selector_parse(query_get(&r->query, "fieldSelector"), r->kind, &r->arena,
					  &s.fields, st);
	if (rc < 0)
		return rc;

	const char *name = field_selector_exact(&s.fields, "metadata.name");
	const char *namespace = field_selector_exact(&s.fields, "metadata.namespace");

	if (s.name == NULL)
		s.name = name;
	if (s.namespace == NULL && namespace != NULL && *namespace != 0)
		s.namespace = namespace;
	*ret_selection = s;
	return 0;
}

static const char *get_label(const void *object, const char *key)
{
	return object_label(object, key);
}

bool selection_matches(const struct selection *s, struct apiserver *api, const struct object *o)
{
	if (s->namespace != NULL && strcmp(s->namespace, o->namespace) != 0)
		return false;
	if (s->name != NULL && strcmp(s->name, o->name) != 0)
		return false;
	if (!label_selector_matches(&s->labels, get_label, o))
		return false;
	if (s->fields.n_requirements == 0)
		return true;
	if (s->kind->descriptor == o->kind->descriptor)
		return field_selector_matches(&s->fields, s->kind, o->packed);

	auto_with(arena_fini) struct arena scratch = { 0 };

	arena_init(&scratch, 0);
	return field_selector_matches(&s->fields, s->kind,
				      item_of(api, s->kind, o, &scratch).packed);
}

struct walk {
	const struct selection *selection;
	struct apiserver *api;
	store_walk_cb *cb;
	void *ctx;
	const char *after_namespace, *after_name;
};

static bool walk_one(void *ctx, const struct object *o)
{
	struct walk *w = ctx;

	if (w->after_name != NULL) {
		int order = strcmp(o->namespace, w->after_namespace);

		if (order < 0 || (order == 0 && strcmp(o->name, w->after_name) <= 0))
			return true;
	}
	return !selection_matches(w->selection, w->api, o) || w->cb(w->ctx, o);
}

void selection_walk(const struct selection *s, struct apiserver *api, const char *after_namespace,
		    const char *after_name, store_walk_cb *cb, void *ctx)
{
	const struct store *store = api->config.store;
	struct walk w = { s, api, cb, ctx, after_namespace, after_name };
	const struct label_requirement *first = s->labels.requirements;
	const char *node = field_selector_exact(&s->fields, "spec.nodeName");

	if (s->name != NULL && (s->namespace != NULL || !(s->stored->flags & KIND_NAMESPACED))) {
		const struct object *o =
			store_get(store, s->stored, s->namespace ? s->namespace : "", s->name);

		if (o != NULL)
			walk_one(&w, o);
	} else if (node != NULL && strcmp(s->stored->resource, "pods") == 0) {
		store_walk_node_pods(store, node, walk_one, &w);
	} else if (s->namespace != NULL && s->labels.n_requirements > 0 && first->op == LABEL_IN &&
		   first->n_values == 1) {
		store_walk_label(store, s->stored, s->namespace, first->key, first->values[0],
				 walk_one, &w);
	} else {
		store_walk(store, s->stored, s->namespace, after_namespace, after_name, walk_one,
			   &w);
	}
}

/* A resourceVersion is a decimal number; 0 stands for any. */
static int revision_number(const char *text, uint64_t *ret_revision, struct status *st)
{
	char *end;

	errno = 0;
	unsigned long long number = strtoull(text, &end, 10);

	if (errno != 0 || *end != 0 || *text < '0' || *text > '9')
		return status_set(st, -EBADMSG,
				  "Invalid value: \"%.64s\": resourceVersion must be a number",
				  text);
	*ret_revision = number;
	return 0;
}

static int forbidden(struct status *st, const char *message)
{
	status_set(st, -EINVAL, "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: %s",
		   message);
	status_cause(st, "FieldValueForbidden", "resourceVersionMatch", "%s", message);
	status_details(st, "meta.k8s.io", "ListOptions", NULL);
	return -EINVAL;
}

int revision_parse(struct request *r, bool list, enum revision_mode *ret_mode,
		   uint64_t *ret_revision, struct status *st)
{
	const char *text = query_get(&r->query, "resourceVersion");
	const char *match = list ? query_get(&r->query, "resourceVersionMatch") : NULL;
	const char *limit = list ? query_get(&r->query, "limit") : NULL;
	const char *token = list ? query_get(&r->query, "continue") : NULL;
	bool has_match = match != NULL && *match != 0;

	*ret_revision = 0;
	*ret_mode = REVISION_NEWEST;
	if (text == NULL || *text == 0)
		return has_match ? forbidden(st, "Forbidden: resourceVersionMatch is forbidden "
						 "unless resourceVersion is provided")
				 : 0;
	if (token != NULL && *token != 0) {
		/* Clients repeat the revision they began with; the token knows better. */
		if (strcmp(text, "0") == 0 && !has_match)
			return 0;
		return status_set(st, -EBADMSG,
				  "specifying resource version is not allowed when using continue");
	}

	int rc = revision_number(text, ret_revision, st);

	if (rc < 0)
		return rc;

	bool limited = limit != NULL && *limit != 0 && strcmp(limit, "0") != 0;

	if (*ret_revision == 0)
		*ret_mode = REVISION_ANY;
	else
		*ret_mode = limited ? REVISION_EXACT : REVISION_AT_LEAST;
	if (!has_match)
		return 0;
	if (strcmp(match, "NotOlderThan") == 0) {
		*ret_mode = *ret_revision == 0 ? REVISION_ANY : REVISION_AT_LEAST;
		return 0;
	}
	if (strcmp(match, "Exact") != 0)
		return forbidden(st, "Unsupported value: supported values: \"Exact\", "
				     "\"NotOlderThan\"");
	if (*ret_revision == 0)
		return forbidden(st, "Forbidden: resourceVersionMatch \"Exact\" is forbidden for "
				     "resourceVersion \"0\"");
	*ret_mode = REVISION_EXACT;
	return 0;
}

void revision_await(struct request *r, enum revision_mode mode, uint64_t revision,
		    void (*ready)(struct request *r, int rc))
{
	if (mode == REVISION_NEWEST)
		request_barrier(r, ready);
	else if (mode == REVISION_ANY)
		ready(r, 0);
	else
		request_wait_revision(r, revision, ready);
}

void respond_unavailable(struct request *r, int rc)
{
	if (rc == -ERANGE) {
		struct status st = { 0 };

		status_set(&st, -ETIMEDOUT,
			   "Timeout: Too large resource version: %llu, current: %llu",
			   (unsigned long long)r->wait_revision,
			   (unsigned long long)store_revision(r->api->config.store));
		status_cause(&st, "ResourceVersionTooLarge", "", "Too large resource version");
		st.retry_after_s = 1;
		respond_status(r, &st);
	} else if (rc == -ETIMEDOUT) {
		respond_error(r, -ETIMEDOUT, "Timeout: no leader confirmed the read within %d ms",
			      LINEARIZABLE_WAIT_MS);
	} else {
		respond_error(r, -ESHUTDOWN, "this master is shutting down");
	}
}

const struct kind *request_rendering(struct request *r, struct rendering *ret_rendering)
{
	const char *include = query_get(&r->query, "includeObject");
	enum include_object what = INCLUDE_METADATA;
	const struct kind *kind = r->kind;

	if (include != NULL && strcmp(include, "Object") == 0)
		what = INCLUDE_OBJECT;
	else if (include != NULL && strcmp(include, "None") == 0)
		what = INCLUDE_NONE;
	/* Rows of a second view are those of the stored kind. */
	if (r->media.view == MEDIA_TABLE && what != INCLUDE_OBJECT)
		kind = r->stored;
	rendering_of_kind(ret_rendering, kind, &r->media, apiserver_now_ns(r->api));
	ret_rendering->include = what;
	return kind;
}
