/* The rules of ObjectMeta, and other rules that hold wherever a message stands. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/api/schema.h"
#include "controlplane/admission/strategy.h"

enum { ANNOTATIONS_BYTES_MAX = 256 * 1024 };

static const struct field *meta_field(void)
{
	static const struct field f = { .name = "metadata" };

	return &f;
}

static void check_name(struct checks *c, const struct kind *kind, name_rule *rule,
		       const MetaV1__ObjectMeta *meta)
{
	const struct field *f = meta_field();
	const char *wrong;

	if (!text_empty(meta->generatename) &&
	    (wrong = name_prefix_check(rule, meta->generatename)) != NULL)
		check_invalid(c, FIELD(f, "generateName"), meta->generatename, "%s", wrong);
	if (text_empty(meta->name))
		check_required(c, FIELD(f, "name"), "name or generateName is required");
	else if ((wrong = rule(meta->name)) != NULL)
		check_invalid(c, FIELD(f, "name"), meta->name, "%s", wrong);
	if (!(kind->flags & KIND_NAMESPACED)) {
		if (!text_empty(meta->namespace_))
			check_forbidden(c, FIELD(f, "namespace"), "not allowed on this type");
		return;
	}
	if (text_empty(meta->namespace_))
		check_required(c, FIELD(f, "namespace"), "");
	else if ((wrong = name_is_label(meta->namespace_)) != NULL)
		check_invalid(c, FIELD(f, "namespace"), meta->namespace_, "%s", wrong);
}

void check_labels(struct checks *c, const struct field *f, struct string_entry *const *labels,
		  size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *wrong = name_is_qualified(text_of(labels[i]->key));

		if (wrong != NULL)
			check_invalid(c, f, labels[i]->key, "%s", wrong);
		wrong = name_is_label_value(text_of(labels[i]->value));
		if (wrong != NULL)
			check_invalid(c, f, labels[i]->value, "%s", wrong);
	}
}

static void check_annotations(struct checks *c, const MetaV1__ObjectMeta *meta)
{
	const struct field *f = FIELD(meta_field(), "annotations");
	size_t bytes = 0;

	for (size_t i = 0; i < meta->n_annotations; i++) {
		char *key = arena_strdup(c->arena, text_of(meta->annotations[i]->key));

		bytes += strlen(key) + strlen(text_of(meta->annotations[i]->value));
		for (char *k = key; *k != '\0'; k++)
			if (*k >= 'A' && *k <= 'Z')
				*k = (char)(*k - 'A' + 'a');

		const char *wrong = name_is_qualified(key);

		if (wrong != NULL)
			check_invalid(c, f, meta->annotations[i]->key, "%s", wrong);
	}
	if (bytes > ANNOTATIONS_BYTES_MAX)
		check_too_long(c, f, ANNOTATIONS_BYTES_MAX);
}

static void check_owners(struct checks *c, const MetaV1__ObjectMeta *meta)
{
	const struct field *owners = FIELD(meta_field(), "ownerReferences");
	const char *controller = NULL;

	for (size_t i = 0; i < meta->n_ownerreferences; i++) {
		const MetaV1__OwnerReference *o = meta->ownerreferences[i];
		const struct field *f = AT(owners, i);

		if (text_empty(o->apiversion))
			check_invalid(c, FIELD(f, "apiVersion"), o->apiversion,
				      "version must not be empty");
		if (text_empty(o->kind))
			check_invalid(c, FIELD(f, "kind"), o->kind, "must not be empty");
		if (text_empty(o->name))
			check_invalid(c, FIELD(f, "name"), o->name, "must not be empty");
		if (text_empty(o->uid))
			check_invalid(c, FIELD(f, "uid"), o->uid, "must not be empty");
		if (text_is(o->kind, "Event") && text_is(o->apiversion, "v1"))
			check_invalid_message(c, owners, &o->base,
					      "/v1, Kind=Event is disallowed from being an owner");
		if (o->controller && controller != NULL)
			check_invalid_message(c, owners, &o->base,
					      "Only one reference can have Controller set to true. "
					      "Found \"true\" in references for %s and %s",
					      controller, text_of(o->name));
		if (o->controller)
			controller = text_of(o->name);
	}
}

static void check_finalizers(struct checks *c, const MetaV1__ObjectMeta *meta)
{
	const struct field *f = FIELD(meta_field(), "finalizers");

	for (size_t i = 0; i < meta->n_finalizers; i++) {
		const char *name = text_of(meta->finalizers[i]);
		const char *wrong = name_is_qualified(name);

		if (wrong != NULL)
			check_invalid(c, f, name, "%s", wrong);
		else if (strchr(name, '/') == NULL && strcmp(name, "orphan") != 0 &&
			 strcmp(name, "foregroundDeletion") != 0 && strcmp(name, "kubernetes") != 0)
			check_invalid(c, f, name,
				      "name is neither a standard finalizer name nor is it fully "
				      "qualified");
	}
	if (meta_has_finalizer(meta, "orphan") && meta_has_finalizer(meta, "foregroundDeletion"))
		check_invalid_text(c, f, "[\"orphan\",\"foregroundDeletion\"]",
				   "finalizer orphan and foregroundDeletion cannot be both set");
}

void metadata_validate(struct checks *c, const struct kind *kind, name_rule *rule,
		       const MetaV1__ObjectMeta *meta)
{
	check_name(c, kind, rule, meta);
	check_labels(c, FIELD(meta_field(), "labels"), (struct string_entry *const *)meta->labels,
		     meta->n_labels);
	check_annotations(c, meta);
	check_owners(c, meta);
	check_finalizers(c, meta);
}

static bool same(const char *a, const char *b)
{
	return strcmp(text_of(a), text_of(b)) == 0;
}

void metadata_validate_update(struct checks *c, const MetaV1__ObjectMeta *meta,
			      const MetaV1__ObjectMeta *old)
{
	const struct field *f = meta_field();

	if (!same(meta->name, old->name))
		check_invalid(c, FIELD(f, "name"), meta->name, "field is immutable");
	if (!same(meta->namespace_, old->namespace_))
		check_invalid(c, FIELD(f, "namespace"), meta->namespace_, "field is immutable");
	if (!same(meta->uid, old->uid))
		check_invalid(c, FIELD(f, "uid"), meta->uid, "field is immutable");
	for (size_t i = 0; old->deletiontimestamp != NULL && i < meta->n_finalizers; i++) {
		if (meta_has_finalizer(old, text_of(meta->finalizers[i])))
			continue;
		check_forbidden(c, FIELD(f, "finalizers"),
				"no new finalizers can be added if the object is being deleted, "
				"found new finalizers [%s]",
				quoted(c->arena, meta->finalizers[i]));
	}
}

void check_label_selector(struct checks *c, const struct field *f, const MetaV1__LabelSelector *s)
{
	if (s == NULL)
		return;
	check_labels(c, FIELD(f, "matchLabels"), (struct string_entry *const *)s->matchlabels,
		     s->n_matchlabels);
	for (size_t i = 0; i < s->n_matchexpressions; i++) {
		const MetaV1__LabelSelectorRequirement *r = s->matchexpressions[i];
		const struct field *list = FIELD(f, "matchExpressions"), *at = AT(list, i);
		bool listed = text_is(r->operator_, "In") || text_is(r->operator_, "NotIn");
		const char *wrong = name_is_qualified(text_of(r->key));

		if (!listed && !text_is(r->operator_, "Exists") &&
		    !text_is(r->operator_, "DoesNotExist"))
			check_invalid(c, FIELD(at, "operator"), r->operator_,
				      "not a valid selector operator");
		else if (listed && r->n_values == 0)
			check_required(c, FIELD(at, "values"),
				       "must be specified when `operator` is 'In' or 'NotIn'");
		else if (!listed && r->n_values > 0)
			check_forbidden(c, FIELD(at, "values"),
					"may not be specified when `operator` is 'Exists' or "
					"'DoesNotExist'");
		if (wrong != NULL)
			check_invalid(c, FIELD(at, "key"), r->key, "%s", wrong);
		for (size_t k = 0; k < r->n_values; k++)
			if ((wrong = name_is_label_value(text_of(r->values[k]))) != NULL)
				check_invalid(c, AT(FIELD(at, "values"), k), r->values[k], "%s",
					      wrong);
	}
}

bool check_immutable(struct checks *c, const struct field *f, const void *message, const void *old)
{
	if (message == old || (message != NULL && old != NULL && message_equal(message, old)))
		return true;
	return check_invalid_message(c, f, message, "field is immutable");
}

static bool is_known(const char *value, const char *const *values)
{
	for (; *values != NULL; values++)
		if (strcmp(value, *values) == 0)
			return true;
	return false;
}

static void check_enum(struct checks *c, const struct field *f, const struct schema_field *sf,
		       const char *value)
{
	if (!text_empty(value) && !is_known(value, sf->extra->enum_values))
		check_unsupported(c, f, value, sf->extra->enum_values);
}

void check_enums(struct checks *c, const struct field *f, const ProtobufCMessage *message)
{
	const struct schema *s = schema_of(message->descriptor);

	for (unsigned i = 0; s != NULL && s->form == SCHEMA_FORM_OBJECT && i < s->n_fields; i++) {
		const struct schema_field *sf = &s->fields[i];
		const char *at = (const char *)message + sf->offset;
		bool closed = (sf->flags & SCHEMA_CLOSED) && sf->extra != NULL &&
			      sf->extra->enum_values != NULL && sf->type == PROTOBUF_C_TYPE_STRING;
		const struct field *path =
			(sf->flags & SCHEMA_INLINE) ? f : FIELD(f, sf->json_name);

		if (sf->label == SCHEMA_MAP || (sf->type != PROTOBUF_C_TYPE_MESSAGE && !closed))
			continue;
		if (sf->label == SCHEMA_LIST) {
			void *const *items = *(void *const *const *)at;
			size_t n = *(const size_t *)((const char *)message + sf->quantifier_offset);

			for (size_t k = 0; k < n; k++) {
				if (closed)
					check_enum(c, AT(path, k), sf, items[k]);
				else
					check_enums(c, AT(path, k), items[k]);
			}
		} else if (closed) {
			check_enum(c, path, sf, *(char *const *)at);
		} else if (*(void *const *)at != NULL) {
			check_enums(c, path, *(const ProtobufCMessage *const *)at);
		}
	}
}
