/* The history of a pod template, kept as ControllerRevisions: what a StatefulSet
 * or a DaemonSet was made of before, for rollouts that take a while and for
 * "kubectl rollout history" and "undo" (private to this folder).
 *
 * A revision's data is the strategic merge patch that puts its template back:
 * {"spec":{"template":{"$patch":"replace",...}}} with sorted keys. Equal data is
 * one revision: a template that comes back takes its old revision along to the
 * front. Everything is made in the intents' arena. */
#pragma once

#include "controlplane/controllers/common.h"

struct revision {
	const struct object *object;          /* NULL: made by this plan. */
	AppsV1__ControllerRevision *message;  /* A copy, to be changed. */
	const CoreV1__PodTemplateSpec *cache; /* See revision_template(). */
	bool changed;                         /* Written by revisions_write(). */
};

struct revisions {
	struct view *view;
	struct intents *intents;
	const struct object *owner;
	struct revision *list; /* By number, the newest last. */
	size_t n;
	struct revision *update; /* That of the owner's template: always the last. */
	int32_t collisions;      /* For status.collisionCount. */
};

/* Which revisions owner has (orphans that the selector selects are adopted), and the one of
 * its template, to be made when there is none. hash_label is the label that carries the hash of a
 * revision: "controller.kubernetes.io/hash" (StatefulSet) or "controller-revision-hash"
 * (DaemonSet). collisions is what the status says. */
struct revisions revisions_of(struct view *v, struct intents *intents, const struct object *owner,
			      const struct label_selector *selector,
			      const CoreV1__PodTemplateSpec *template, const char *hash_label,
			      int32_t collisions);

const char *revision_name(const struct revision *r);
/* The one of that name, or NULL. */
struct revision *revisions_find(const struct revisions *r, const char *name);
/* The template it stands for; NULL when its data is none. */
const CoreV1__PodTemplateSpec *revision_template(struct revisions *r, struct revision *revision);

/* Deletes the oldest beyond limit of those that are neither update nor, by is_live, in use. */
void revisions_trim(struct revisions *r, int32_t limit,
		    bool (*is_live)(void *ctx, const struct revision *revision), void *ctx);
/* Intents for everything made or changed. Once, before intents that need the revision. */
void revisions_write(struct revisions *r);
