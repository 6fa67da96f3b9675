/* Scopes narrow a quota to some pods (and claims): all of them must hold. */
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/make.h"
#include "common/base/cleanup.h"
#include "controlplane/budgets/quota.h"

/* Says neither how much cpu nor how much memory it wants. */
static bool is_best_effort(const CoreV1__PodSpec *spec, struct arena *arena)
{
	static const enum amount_of both[] = { AMOUNT_OF_REQUESTS, AMOUNT_OF_LIMITS };
	struct amounts all = { .arena = arena };
	const struct quantity *cpu, *memory;

	for (size_t k = 0; k < 2; k++) {
		for (size_t i = 0; i < spec->n_containers; i++)
			amounts_of_container(&all, spec->containers[i], both[k]);
		for (size_t i = 0; i < spec->n_initcontainers; i++)
			amounts_of_container(&all, spec->initcontainers[i], both[k]);
	}
	cpu = amounts_get(&all, "cpu");
	memory = amounts_get(&all, "memory");
	return (cpu == NULL || cpu->nano == 0) && (memory == NULL || memory->nano == 0);
}

static bool any_crosses(CoreV1__PodAffinityTerm *const *terms, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (terms[i]->n_namespaces > 0 || terms[i]->namespaceselector != NULL)
			return true;
	return false;
}

static bool any_weighted_crosses(CoreV1__WeightedPodAffinityTerm *const *terms, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (terms[i]->podaffinityterm != NULL && any_crosses(&terms[i]->podaffinityterm, 1))
			return true;
	return false;
}

/* Has affinity to pods of other namespaces. */
static bool crosses_namespaces(const CoreV1__PodSpec *spec)
{
	const CoreV1__PodAffinity *to = spec->affinity ? spec->affinity->podaffinity : NULL;
	const CoreV1__PodAntiAffinity *from =
		spec->affinity ? spec->affinity->podantiaffinity : NULL;

	return (to != NULL &&
		(any_crosses(to->requiredduringschedulingignoredduringexecution,
			     to->n_requiredduringschedulingignoredduringexecution) ||
		 any_weighted_crosses(to->preferredduringschedulingignoredduringexecution,
				      to->n_preferredduringschedulingignoredduringexecution))) ||
	       (from != NULL &&
		(any_crosses(from->requiredduringschedulingignoredduringexecution,
			     from->n_requiredduringschedulingignoredduringexecution) ||
		 any_weighted_crosses(from->preferredduringschedulingignoredduringexecution,
				      from->n_preferredduringschedulingignoredduringexecution)));
}

/* A named class (of priority, of volume attributes) against In, NotIn, Exists, DoesNotExist. */
static bool class_matches(const char *name, const char *op, char *const *values, size_t n)
{
	bool listed = false;

	for (size_t i = 0; i < n; i++)
		listed = listed || text_is(values[i], text_of(name));
	if (strcmp(op, "In") == 0)
		return !text_empty(name) && listed;
	if (strcmp(op, "NotIn") == 0)
		return text_empty(name) || !listed;
	return (strcmp(op, "DoesNotExist") == 0) == text_empty(name);
}

static bool pod_in_scope(const CoreV1__PodSpec *spec, const char *scope, const char *op,
			 char *const *values, size_t n, struct arena *arena)
{
	if (strcmp(scope, "Terminating") == 0)
		return spec->has_activedeadlineseconds && spec->activedeadlineseconds >= 0;
	if (strcmp(scope, "NotTerminating") == 0)
		return !spec->has_activedeadlineseconds;
	if (strcmp(scope, "BestEffort") == 0)
		return is_best_effort(spec, arena);
	if (strcmp(scope, "NotBestEffort") == 0)
		return !is_best_effort(spec, arena);
	if (strcmp(scope, "PriorityClass") == 0)
		return class_matches(spec->priorityclassname, op, values, n);
	if (strcmp(scope, "CrossNamespacePodAffinity") == 0)
		return crosses_namespaces(spec);
	return false;
}

static bool in_scope(const struct kind *kind, const void *message, const char *scope,
		     const char *op, char *const *values, size_t n, struct arena *arena)
{
	if (kind->descriptor == &core_v1__pod__descriptor) {
		const CoreV1__PodSpec *spec = ((const CoreV1__Pod *)message)->spec;

		return spec != NULL && pod_in_scope(spec, scope, op, values, n, arena);
	}
	if (kind->descriptor == &core_v1__persistent_volume_claim__descriptor &&
	    strcmp(scope, "VolumeAttributesClass") == 0) {
		const CoreV1__PersistentVolumeClaimSpec *spec =
			((const CoreV1__PersistentVolumeClaim *)message)->spec;

		return spec != NULL &&
		       class_matches(spec->volumeattributesclassname, op, values, n);
	}
	return false;
}

bool quota_covers(const CoreV1__ResourceQuota *quota, const struct kind *kind, const void *message)
{
	const CoreV1__ResourceQuotaSpec *spec = quota->spec;
	const CoreV1__ScopeSelector *selector = spec != NULL ? spec->scopeselector : NULL;
	auto_with(arena_fini) struct arena arena = { 0 };

	if (spec == NULL)
		return false;
	if (spec->n_scopes == 0 && (selector == NULL || selector->n_matchexpressions == 0))
		return true;
	arena_init(&arena, 0);
	for (size_t i = 0; i < spec->n_scopes; i++)
		if (!in_scope(kind, message, text_of(spec->scopes[i]), "Exists", NULL, 0, &arena))
			return false;
	for (size_t i = 0; selector != NULL && i < selector->n_matchexpressions; i++) {
		const CoreV1__ScopedResourceSelectorRequirement *r = selector->matchexpressions[i];

		if (!in_scope(kind, message, text_of(r->scopename), text_of(r->operator_),
			      r->values, r->n_values, &arena))
			return false;
	}
	return true;
}
