/* Whether a pod fits a node, and what speaks for the node (private to this folder).
 *
 * What follows from the node and its pods alone is kept in rows, one per wish and
 * node, and looked at again only when the node's version has changed. Places,
 * where other nodes matter too, are looked up each time. */
#pragma once

#include "controlplane/scheduler/wish.h"

/* Why a node does not fit; the order is of checking. */
enum misfit {
	FITS,
	MISFIT_UNSCHEDULABLE,
	MISFIT_TAINT,
	MISFIT_AFFINITY,
	MISFIT_PORTS,
	MISFIT_ROOM,     /* row.lacking says of what. */
	MISFIT_VOLUME,   /* look.volume_why says why. */
	MISFIT_NO_PLACE, /* It has no label to spread by. */
	MISFIT_SPREAD,
	MISFIT_WANTED,    /* Pods that it wants beside it are not there. */
	MISFIT_SHUNNED,   /* Pods are there that it does not want, */
	MISFIT_SHUNS,     /* or that do not want it. */
	MISFIT_NOT_NAMED, /* Pinned to others. */
	MISFIT_COUNT,
};

/* Bits of row.lacking; resources of class.extended follow, the last bit is for all beyond. */
enum { LACKS_PODS, LACKS_CPU, LACKS_MEMORY, LACKS_STORAGE, LACKS_EXTENDED, LACKS_MAX = 63 };

struct row {
	uint64_t version, object_version; /* Of the node, when this was found. 0: never. */
	uint64_t lacking;
	uint32_t images; /* A bit per image of the wish that the node holds. */
	int32_t affinity;
	uint16_t soft_taints;
	uint8_t misfit, object_misfit; /* The second is of the node's object alone. */
	uint8_t least, balanced;
	bool hopeless; /* MISFIT_ROOM: it would not even fit alone. */
};

struct rows {
	struct list used; /* The longest unused first. */
	struct wish *wish;
	uint64_t order_version;
	size_t n;
	struct row rows[];
};

/* Rows of some wishes; bounded in bytes. */
struct row_cache {
	struct list used;
	size_t bytes;
};

void row_cache_init(struct row_cache *cache);
/* By position in cluster.order. */
struct rows *rows_get(struct row_cache *cache, struct wish *wish, const struct cluster *c);
void rows_drop(struct wish *wish);
void row_cache_fini(struct row_cache *cache);

/* Brings the row up to date. */
void row_look(struct row *row, const struct wish *wish, const struct node *node);

/* One decision about one pod. */
struct look {
	struct cluster *cluster;
	const struct wish *wish;
	const struct volume_rules *volume_rules;
	struct volume_claims *claims; /* NULL: volumes do not matter. */
	const struct waiting *self;
	/* Of the last node looked at. */
	const char *volume_why;
	bool volume_final;
	bool company;      /* Places matter. */
	bool wants_itself; /* The company it requires may be its own kind. */
};

void look_begin(struct look *l, struct cluster *c, const struct wish *wish,
		const struct waiting *self);
/* Brings the row up to date, with those for whom room is being made. Not for the node where it is
 * being made for the pod itself. */
void look_row(struct look *l, struct node *node, struct row *row);
/* row is of the node and up to date. */
enum misfit look_misfit(struct look *l, struct node *node, const struct row *row);
/* The same with a row of its own, and as if those were there for whom room is being made. */
enum misfit look_again(struct look *l, struct node *node, struct row *row);
/* Whether anybody as important as the pod has room made on the node. */
bool look_meets_nominated(const struct look *l, const struct node *node);

/* "node(s) had untolerated taint(s)"; NULL for MISFIT_ROOM and MISFIT_VOLUME. */
const char *misfit_text(enum misfit m);
/* Whether removing pods could help. */
bool misfit_yields(enum misfit m, const struct row *row, bool volume_final);
