/* How much of which resource: a list of names and quantities, and what a pod
 * asks for. Pure; everything lives in the arena. */
#pragma once

#include "common/api/quantity.h"
#include "common/base/arena.h"
#include "proto/k8s/core_v1.pb-c.h"

struct amount {
	const char *name;
	struct quantity quantity;
};

struct amounts {
	struct arena *arena;
	struct amount *items; /* In the order of their names. */
	size_t n, cap;
};

/* NULL when there is none of that name. */
struct quantity *amounts_get(const struct amounts *a, const char *name);
/* Made (zero) when there is none yet. name must live as long as the arena. */
struct quantity *amounts_make(struct amounts *a, const char *name);
void amounts_add_number(struct amounts *a, const char *name, int64_t value);
void amounts_add(struct amounts *a, const struct amounts *b);
void amounts_max(struct amounts *a, const struct amounts *b);
/* A map of resources to quantities, of whatever message. */
void amounts_read(struct amounts *a, const void *entries, size_t n);
/* "cpu=1,pods=2", as refusals have it. */
char *amounts_print(const struct amounts *a);

/* What a pod may use or asks for: max(containers + sidecars, the dearest moment of initialisation)
 * + overhead. */
enum amount_of { AMOUNT_OF_REQUESTS, AMOUNT_OF_LIMITS };
void amounts_of_pod(struct amounts *a, const CoreV1__PodSpec *spec, enum amount_of what);
/* Of one container. */
void amounts_of_container(struct amounts *a, const CoreV1__Container *c, enum amount_of what);
