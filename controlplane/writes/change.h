/* One change of one object: admission, packing, sealing, and the operation that
 * goes into the plan and the overlay. Requests and intents share it, so that a
 * controller's write passes exactly what a client's passes. Loop thread only. */
#pragma once

#include "controlplane/admission/admission.h"
#include "controlplane/writes/overlay.h"
#include "controlplane/writes/plan.h"

struct trust;

/* Of the master; lives as long as the door. */
struct change_context {
	struct overlay *overlay;
	struct source *source;
	const struct cluster_config *cluster;
	const struct trust *trust; /* NULL: Secrets are not sealed (tests). */
	int64_t now_ns;            /* The cluster's time of this turn. */
};

/* Of one write. */
struct write_change {
	struct change_context *context;
	struct arena *arena; /* Until the plan is packed. */
	struct arena *body;  /* As long, with a budget: what clients sent is unpacked into it. */
	struct plan *plan;
	uint64_t batch;
	size_t plan_bytes_max; /* 0: none. A plan that takes more is refused with 413. */
	bool dry_run;
	bool many;              /* Of a controller: quotas are written once, at the end of the plan. */
	struct charge *charges; /* charges.c */
	/* What the plan's first operation will be numbered: an object of this revision or later is
	 * the plan's own work and needs no precondition. */
	uint64_t first_revision;
	const char *user;
	const char *const *groups;
	size_t n_groups;
	/* Out: what becomes of the object, in the arena. */
	const char *namespace, *name;
	struct bytes packed; /* In the clear. */
	uint64_t revision;   /* As foreseen; of the object that stays when nothing changed. */
	bool changed, removed;
	const char *const *warnings;
	size_t n_warnings;
};

/* The key a create of this message will have: namespace is the request's. */
int change_create(struct write_change *c, const struct kind *kind, const char *namespace,
		  ProtobufCMessage *message, struct status *st);
/* subresource is "" for the object itself. An object that is being deleted and has nothing to wait
 * for any more is removed. */
int change_update(struct write_change *c, const struct object *old, ProtobufCMessage *message,
		  const char *subresource, struct status *st);
/* options is a MetaV1__DeleteOptions or NULL. */
int change_delete(struct write_change *c, const struct object *old, const ProtobufCMessage *options,
		  struct status *st);
/* The same of a pod that is evicted: until it is gone it has the condition that says so. */
int change_evict(struct write_change *c, const struct object *pod, const ProtobufCMessage *options,
		 struct status *st);
/* The pod as it will be when bound; put it with change_put(). */
int change_binding(struct write_change *c, const struct object *pod, const CoreV1__Binding *binding,
		   ProtobufCMessage **ret_message, struct status *st);
/* Put message as it is, without admission: for changes made of nothing but fields that the caller
 * checked (a binding, an event). */
int change_put(struct write_change *c, const struct kind *kind, const struct object *old,
	       const char *namespace, const char *name, ProtobufCMessage *message,
	       const char *const *claims, size_t n_claims, struct status *st);

/* The same of an object that stays where it is, for what charges.c does to quotas. It leaves no
 * trace in c's results. */
int change_put_uncharged(struct write_change *c, const struct object *old,
			 ProtobufCMessage *message, struct status *st);

/* Texts for Warning headers beyond those of admission. */
void change_warn(struct write_change *c, const char *const *warnings, size_t n);
/* The object's bytes as clients know them. */
struct bytes change_clear(const struct write_change *c, const struct object *o);

/* 404, 409 and 409 in Kubernetes' words. */
int refuse_missing(struct status *st, const struct kind *kind, const char *name);
int refuse_existing(struct status *st, const struct kind *kind, const char *name);
int refuse_stale(struct status *st, const struct kind *kind, const char *name);
