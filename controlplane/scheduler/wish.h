/* Wishes: what pods without a node ask of one, shared by equal pods (private to
 * this folder).
 *
 * A wish holds the unpacked spec, its spread constraints as terms, and what was
 * found out about nodes (rows, see fit.h). It stays for a while when nobody has
 * it, because the next pod of the same owner will. */
#pragma once

#include "controlplane/scheduler/cluster.h"
#include "controlplane/scheduler/volumes.h"
#include "controlplane/store/view.h"

struct constraint {
	struct term *term;
	int32_t skew_max, places_min;
	bool self;     /* The pod itself is one that is spread. */
	bool per_node; /* Places are nodes. */
};

struct wish {
	struct bag_node link;
	struct list unused; /* In wishes.unused, when refs is 0. */
	struct list stuck;  /* In wishes.stuck, while pods wait for a change. */
	unsigned refs;
	uint8_t *key;
	size_t key_len;
	struct class *class;
	struct arena arena;
	const CoreV1__PodSpec *spec;
	int32_t priority;
	bool preempts; /* preemptionPolicy is not Never. */
	bool volumes;  /* Its volumes restrict nodes. */
	bool pinned;   /* Only nodes of these names can do. */
	const char **pins;
	size_t n_pins;
	struct constraint *hard, *soft;
	size_t n_hard, n_soft;
	/* The pod has no constraints of its own: those of the system, for pods of Services and
	 * controllers. */
	bool by_default;
	bool defaults_known;
	uint64_t defaults_version;
	const char *owner_kind, *owner_name; /* "" without a controller. */
	struct image **images;
	size_t n_images;
	size_t n_containers;
	struct rows *rows;
	struct list asleep;   /* UNSCHEDULABLE pods, the longest untried first. */
	struct list nominees; /* Those among them for whom room is being made. */
	uint64_t reasons;     /* Why no node fitted: bits of enum misfit. */
};

struct wishes {
	struct bag table;
	struct list unused; /* The longest unused first. */
	size_t n_unused;
	struct list stuck;
	const struct volume_rules *volume_rules; /* NULL: volumes are not looked at. */
};

void wishes_init(struct wishes *w);
/* Nobody has a wish any more. */
void wishes_fini(struct wishes *w, struct cluster *c);
/* A reference to the wish of the pod. */
struct wish *wish_ref(struct wishes *w, struct cluster *c, const struct pod *pod);
void wish_unref(struct wishes *w, struct cluster *c, struct wish *wish);
/* The system's own constraints, as of now: Services and owners say which pods belong together. */
void wish_look_for_defaults(struct wish *wish, struct cluster *c, struct view *view);
