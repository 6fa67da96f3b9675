/* The table of kinds: one row for everything the API can name.
 *
 * Whatever works for all kinds is driven by these rows and by the schema of the
 * kind's message. Constant; any thread. A row that is not KIND_SERVED exists so
 * that its messages can be read, but must not be offered: no discovery, 404. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <protobuf-c/protobuf-c.h>

enum kind_verb {
	KIND_CREATE = 1 << 0,
	KIND_DELETE = 1 << 1,
	KIND_DELETE_COLLECTION = 1 << 2,
	KIND_GET = 1 << 3,
	KIND_LIST = 1 << 4,
	KIND_PATCH = 1 << 5,
	KIND_UPDATE = 1 << 6,
	KIND_WATCH = 1 << 7,
};

enum kind_flags {
	KIND_SERVED = 1 << 0,
	KIND_NAMESPACED = 1 << 1,
	KIND_PUT_CREATES = 1 << 2, /* PUT to a name that does not exist creates. */
	KIND_BLIND_PUT = 1 << 3,   /* PUT without resourceVersion is allowed. */
	KIND_STATUS = 1 << 4,      /* Has /status; a write of the object keeps its status. */
	KIND_GENERATION = 1 << 5,  /* metadata.generation counts changes of the rest. */
	KIND_VIRTUAL = 1 << 6,     /* A question with an answer: create only, never stored. */
	KIND_MEASURED = 1 << 7,    /* Read only, made of what the leader remembers: never stored. */
};

struct kind_subresource {
	const char *name;
	const char *group, *version, *kind; /* Of the body. */
	unsigned verbs;
	bool served;
	const ProtobufCMessageDescriptor *descriptor;
};

struct kind {
	const char *group, *version;  /* "apps", "v1"; the core group is "". */
	const char *api_version;      /* "apps/v1", "v1" */
	const char *kind, *list_kind; /* list_kind is NULL for virtual kinds. */
	const char *singular, *plural;
	const char *resource; /* "deployments.apps", "pods": what the store calls the kind. */
	const char *const *short_names, *const *categories; /* NULL-terminated, or NULL. */
	/* Beyond metadata.name and metadata.namespace; NULL-terminated, or NULL. */
	const char *const *field_selectors;
	unsigned verbs, flags;
	const ProtobufCMessageDescriptor *descriptor, *list_descriptor;
	const struct kind_subresource *subresources;
	size_t n_subresources;
};

extern const struct kind kinds_all[];
extern const size_t kinds_count;

#define kinds_for_each(k) for (const struct kind *k = kinds_all; k < kinds_all + kinds_count; k++)

/* All return NULL when there is none; served or not is the caller's question. */
const struct kind *kind_lookup(const char *group, const char *version, const char *plural);
/* The first version of the kind: kind_named("apps", "Deployment"). */
const struct kind *kind_named(const char *group, const char *kind);
const struct kind *kind_of_type(const char *api_version, const char *kind);
const struct kind *kind_of_resource(const char *resource);
const struct kind *kind_of(const ProtobufCMessageDescriptor *descriptor);
const struct kind_subresource *kind_subresource(const struct kind *kind, const char *name);
/* The kind whose rows are stored: itself, except for a second view of another kind
 * (Event of events.k8s.io is stored as the core group's Event, HorizontalPodAutoscaler of
 * autoscaling/v1 as v2's). */
const struct kind *kind_stored(const struct kind *kind);
