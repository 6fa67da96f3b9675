/* A namespace gets what pods need to live in it; a namespace on its way out is
 * emptied, kind by kind, and let go when nothing is left. */
#include <string.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "controlplane/controllers/common.h"

static const char root_ca[] = "kube-root-ca.crt";
static const char ca_secret[] = "sampan-ca";

/* --- What every namespace has ---------------------------------------------------- */

static void ensure_account(struct view *v, const char *namespace, struct intents *intents)
{
	if (view_get(v, "serviceaccounts", namespace, "default") != NULL)
		return;

	CoreV1__ServiceAccount *account =
		make(intents->arena, CoreV1__ServiceAccount, core_v1__service_account);
	MetaV1__ObjectMeta *meta = message_metadata_make(account, intents->arena);

	meta->name = arena_strdup(intents->arena, "default");
	meta->namespace_ = arena_strdup(intents->arena, namespace);
	intend_create(intents, "serviceaccounts", namespace, &account->base);
}

/* The certificate that the cluster signs with, or NULL while the state has none. */
static const char *cluster_ca(struct view *v)
{
	const struct object *o = view_get(v, "secrets", "kube-system", ca_secret);
	const CoreV1__Secret *secret = o != NULL ? view_secret(v, o, v->arena) : NULL;

	for (size_t i = 0; secret != NULL && i < secret->n_data; i++)
		if (text_is(secret->data[i]->key, "tls.crt"))
			return arena_strndup(v->arena, (const char *)secret->data[i]->value.data,
					     secret->data[i]->value.len);
	return NULL;
}

/* Whatever somebody writes there, it is the cluster's CA and nothing else. */
static void ensure_root_ca(struct view *v, const char *namespace, struct intents *intents)
{
	const struct object *there = view_get(v, "configmaps", namespace, root_ca);
	const char *wanted = cluster_ca(v);
	CoreV1__ConfigMap *to;

	if (wanted == NULL)
		return;

	if (there != NULL) {
		to = changed(there, intents->arena);
	} else {
		to = make(intents->arena, CoreV1__ConfigMap, core_v1__config_map);
		MetaV1__ObjectMeta *meta = message_metadata_make(to, intents->arena);

		meta->name = arena_strdup(intents->arena, root_ca);
		meta->namespace_ = arena_strdup(intents->arena, namespace);
		meta_set_annotation(
			intents->arena, meta, "kubernetes.io/description",
			"Contains a CA bundle that can be used to verify the API server.");
	}

	const char *has =
		string_map_get((struct string_entry *const *)to->data, to->n_data, "ca.crt");

	if (has != NULL && strcmp(has, wanted) == 0 && to->n_data == 1)
		return;
	to->n_data = 0;
	to->data = NULL;
	string_map_set(to, "data", "ca.crt", wanted, intents->arena);
	if (there != NULL)
		intend_update(intents, there, &to->base);
	else
		intend_create(intents, "configmaps", namespace, &to->base);
}

/* --- The end of a namespace --------------------------------------------------------- */

struct remains {
	struct arena *arena;
	size_t objects, with_finalizers;
	struct buf kinds; /* "pods. has 2 resource instances" and so on. */
	struct held {
		const char *finalizer;
		size_t objects;
	} * *finalizers; /* By name. */
	size_t n_finalizers;
};

/* How many objects each finalizer holds. */
static void count_finalizer(struct remains *r, const char *finalizer)
{
	size_t i = 0;

	while (i < r->n_finalizers && strcmp(r->finalizers[i]->finalizer, finalizer) < 0)
		i++;
	if (i == r->n_finalizers || strcmp(r->finalizers[i]->finalizer, finalizer) != 0) {
		struct held *held = arena_new(r->arena, struct held);

		held->finalizer = finalizer;
		make_append(r->arena, r, finalizers, held);
		memmove(&r->finalizers[i + 1], &r->finalizers[i],
			(r->n_finalizers - 1 - i) * sizeof(*r->finalizers));
		r->finalizers[i] = held;
	}
	r->finalizers[i]->objects++;
}

/* Pods first: what they use may go when they are gone. */
static void empty_kind(struct view *v, const struct kind *kind, const char *namespace,
		       struct intents *intents, struct remains *r)
{
	size_t n, held = 0;
	const struct object *const *list = view_list(v, kind->resource, namespace, &n);

	for (size_t i = 0; i < n; i++) {
		held += list[i]->facts.n_finalizers > 0;
		for (size_t k = 0; k < list[i]->facts.n_finalizers; k++)
			count_finalizer(r, list[i]->facts.finalizers[k]);
		if (list[i]->facts.deleted_ns == 0 && intents->count < BATCH_MAX)
			intend_delete(intents, list[i], -1, "Background");
	}
	if (n == 0)
		return;
	buf_printf(&r->kinds, "%s%s.%s has %zu resource instances", r->kinds.len ? ", " : "",
		   kind->plural, kind->group, n);
	r->objects += n;
	r->with_finalizers += held;
}

static CoreV1__NamespaceCondition *make_condition(struct view *v, const char *type, bool true_,
						  const char *reason, const char *message)
{
	CoreV1__NamespaceCondition *c =
		make(v->arena, CoreV1__NamespaceCondition, core_v1__namespace_condition);

	c->type = arena_strdup(v->arena, type);
	c->status = arena_strdup(v->arena, true_ ? "True" : "False");
	c->reason = arena_strdup(v->arena, reason);
	c->message = arena_strdup(v->arena, message);
	c->lasttransitiontime = make_time(v->arena, v->now_ns);
	return c;
}

/* Conditions keep the time of their last change. */
static void set_condition(struct view *v, CoreV1__NamespaceStatus *s, CoreV1__NamespaceCondition *c)
{
	for (size_t i = 0; i < s->n_conditions; i++) {
		if (!text_is(s->conditions[i]->type, c->type))
			continue;
		if (text_is(s->conditions[i]->status, c->status))
			c->lasttransitiontime = s->conditions[i]->lasttransitiontime;
		s->conditions[i] = c;
		return;
	}
	make_append(v->arena, s, conditions, c);
}

static const char *print_finalizers(const struct remains *r)
{
	const char *text = "Some content in the namespace has finalizers remaining: ";

	for (size_t i = 0; i < r->n_finalizers; i++)
		text = arena_printf(r->arena, "%s%s%s in %zu resource instances", text,
				    i > 0 ? ", " : "", r->finalizers[i]->finalizer,
				    r->finalizers[i]->objects);
	return text;
}

/* What could go wrong elsewhere and cannot here: all kinds are known, and deleting an object is
 * refused to nobody. */
static void report_ways(struct view *v, CoreV1__NamespaceStatus *s)
{
	static const struct {
		const char *type, *reason, *message;
	} ways[] = {
		{ "NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered",
		  "All resources successfully discovered" },
		{ "NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions",
		  "All legacy kube types successfully parsed" },
		{ "NamespaceDeletionContentFailure", "ContentDeleted",
		  "All content successfully deleted, may be waiting on finalization" },
	};

	for (size_t i = 0; i < array_size(ways); i++)
		set_condition(
			v, s,
			make_condition(v, ways[i].type, false, ways[i].reason, ways[i].message));
}

static void report_remains(struct view *v, const struct object *ns, const struct remains *r,
			   const char *kinds, struct intents *intents)
{
	CoreV1__Namespace *message = changed(ns, intents->arena);
	const CoreV1__Namespace *before = view_message(v, ns);

	if (message->status == NULL)
		message->status =
			make(v->arena, CoreV1__NamespaceStatus, core_v1__namespace_status);
	message->status->phase = arena_strdup(v->arena, "Terminating");
	report_ways(v, message->status);
	set_condition(
		v, message->status,
		make_condition(v, "NamespaceContentRemaining", r->objects > 0,
			       r->objects ? "SomeResourcesRemain" : "ContentRemoved",
			       r->objects ? arena_printf(v->arena,
							 "Some resources are remaining: %s", kinds)
					  : "All content successfully removed"));
	set_condition(v, message->status,
		      make_condition(v, "NamespaceFinalizersRemaining", r->with_finalizers > 0,
				     r->with_finalizers ? "SomeFinalizersRemain"
							: "ContentHasNoFinalizers",
				     r->with_finalizers
					     ? print_finalizers(r)
					     : "All content-preserving finalizers finished"));
	if (!message_equal(message->status, before->status))
		intend_update_status(intents, ns, &message->base);
}

static void finalize(struct view *v, const struct object *ns, struct intents *intents)
{
	CoreV1__Namespace *message = changed(ns, intents->arena);
	size_t kept = 0;

	for (size_t i = 0; message->spec != NULL && i < message->spec->n_finalizers; i++)
		if (!text_is(message->spec->finalizers[i], "kubernetes"))
			message->spec->finalizers[kept++] = message->spec->finalizers[i];
	if (message->spec == NULL || kept == message->spec->n_finalizers)
		return;
	message->spec->n_finalizers = kept;
	intend_finalize(intents, ns, &message->base);
}

static void empty(struct view *v, const struct object *ns, struct intents *intents)
{
	struct remains r = { .arena = v->arena };
	const struct kind *pods = kind_named("", "Pod");

	empty_kind(v, pods, ns->name, intents, &r);
	kinds_for_each(kind)
	{
		/* Kinds that another kind stores are met there. */
		if ((kind->flags & KIND_NAMESPACED) && !(kind->flags & KIND_VIRTUAL) &&
		    kind != pods && kind_stored(kind) == kind)
			empty_kind(v, kind, ns->name, intents, &r);
	}
	if (r.objects == 0)
		finalize(v, ns, intents);
	else
		report_remains(v, ns, &r, buf_cstr(&r.kinds), intents);
	buf_fini(&r.kinds);
}

/* --- The controller ------------------------------------------------------------------- */

static void reconcile(struct view *v, struct key key, struct intents *intents)
{
	const struct object *ns = view_get(v, "namespaces", "", key.name);

	if (ns == NULL)
		return;
	if (ns->facts.deleted_ns != 0) {
		empty(v, ns, intents);
		return;
	}
	ensure_account(v, ns->name, intents);
	ensure_root_ca(v, ns->name, intents);
}

static void on_change(const struct view *v, const struct object *old, const struct object *new,
		      struct keys *keys)
{
	const struct object *o = new ? new : old;

	if (change_is_of(old, new, "namespaces")) {
		keys_add(keys, "", o->name);
		return;
	}
	if (change_is_of(old, new, "configmaps") && strcmp(o->name, root_ca) == 0) {
		keys_add(keys, "", o->namespace);
		return;
	}
	if (change_is_of(old, new, "secrets") && strcmp(o->name, ca_secret) == 0 &&
	    strcmp(o->namespace, "kube-system") == 0) {
		keys_add_all(keys, v, "namespaces", NULL);
		return;
	}
	if (new == NULL && change_is_of(old, new, "serviceaccounts") &&
	    strcmp(o->name, "default") == 0) {
		keys_add(keys, "", o->namespace);
		return;
	}
	if (o->namespace[0] == '\0')
		return;

	/* Something in a namespace that is being emptied came or went. */
	const struct object *ns = view_get(v, "namespaces", "", o->namespace);

	if (ns != NULL && ns->facts.deleted_ns != 0 && (old == NULL || new == NULL))
		keys_add(keys, "", o->namespace);
}

static void seed(const struct view *v, struct keys *keys)
{
	keys_add_all(keys, v, "namespaces", NULL);
}

const struct controller controller_namespace = {
	.name = "namespace-controller",
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
};
