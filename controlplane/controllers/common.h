/* What several controllers need: owners, pods, conditions (private to this folder). */
#pragma once

#include "common/api/kinds.h"
#include "common/api/labels.h"
#include "common/api/make.h"
#include "controlplane/controllers/controller.h"
#include "proto/k8s/apps_v1.pb-c.h"
#include "proto/k8s/core_v1.pb-c.h"

#define NS_PER_S INT64_C(1000000000)

/* Objects that one plan changes at most; the rest follows in the next. */
enum { BATCH_MAX = 500 };

/* Neither finished nor on its way out. */
bool pod_is_active(const struct pod_facts *p);
/* Ready for min_ready_s; when it is not yet but will be, *again_ns (if earlier) says when. */
bool pod_is_available(const struct pod_facts *p, int32_t min_ready_s, int64_t now_ns,
		      int64_t *again_ns);

/* A controlling owner reference to o. */
MetaV1__OwnerReference *make_owner(struct arena *a, const struct object *o);
void remove_owner(MetaV1__ObjectMeta *meta, const char *uid);
/* The controller of o when it is of that kind ("ReplicaSet"), or NULL. */
const struct owner_ref *controlled_by(const struct object *o, const char *kind);

/* o as a fresh message of the arena, to change it. */
#define changed(o, arena) object_message((o), (arena))

/* Whether the labels of o match. */
bool selector_selects(const struct label_selector *s, const struct object *o);

/* Marks the controller that owns o (old and new of a change), and for an orphan all objects of
 * resource in its namespace whose selector may want it. */
void keys_add_owner(struct keys *keys, const struct object *o, const char *kind);
void keys_add_all(struct keys *keys, const struct view *view, const char *resource,
		  const char *namespace);
void keys_add_object(struct keys *keys, const struct object *old, const struct object *new);
bool change_is_of(const struct object *old, const struct object *new, const char *resource);

/* n characters of the alphabet of generated names, from a number. */
char *suffix_of(struct arena *a, uint64_t number, size_t n);
/* A name that no object of resource has: base, then 5 characters that follow from the owner, the
 * revision looked at and index. */
char *free_name(const struct view *v, struct arena *a, const char *resource, const char *namespace,
		const char *base, const char *owner_uid, uint64_t index);

/* A count or a percentage of total. */
int32_t scaled(const Intstr__IntOrString *v, int32_t total, bool round_up);
