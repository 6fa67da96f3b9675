/* ResourceQuotas at the door. That they are kept is the business of writes/charges.c;
 * here they are checked, and counted when they are made or say something new. */
#include <string.h>

#include "common/api/resources.h"
#include "common/base/cleanup.h"
#include "controlplane/admission/strategy.h"
#include "controlplane/budgets/quota.h"

/* --- Counting ----------------------------------------------------------------------- */

static void prepare(struct admission *a, ProtobufCMessage *message, ProtobufCMessage *old)
{
	CoreV1__ResourceQuota *quota = (CoreV1__ResourceQuota *)message;
	const CoreV1__ResourceQuota *was = (CoreV1__ResourceQuota *)old;
	const struct budget_reader reader = { .ctx = a->reader->ctx,
					      .get = a->reader->get,
					      .walk = a->reader->walk };
	const struct kind *kind = kind_of(message->descriptor);

	if (quota->spec == NULL)
		quota->spec =
			make(a->arena, CoreV1__ResourceQuotaSpec, core_v1__resource_quota_spec);
	if (was == NULL || was->status == NULL || was->spec == NULL ||
	    !message_equal(was->spec, quota->spec))
		quota_count(&reader, quota, text_of(quota->metadata->namespace_),
			    was == NULL ? kind : NULL, a->arena);
}

/* --- Validation ------------------------------------------------------------------------ */

static const char *const counted[] = {
	"pods",
	"resourcequotas",
	"services",
	"replicationcontrollers",
	"secrets",
	"configmaps",
	"persistentvolumeclaims",
	"services.nodeports",
	"services.loadbalancers",
};
static const char *const compute[] = {
	"cpu",
	"memory",
	"ephemeral-storage",
	"requests.cpu",
	"limits.cpu",
	"requests.memory",
	"requests.ephemeral-storage",
	"limits.memory",
	"limits.ephemeral-storage",
};

static bool among(const char *name, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i], name) == 0)
			return true;
	return false;
}

static bool is_standard(const char *name)
{
	return among(name, counted, array_size(counted)) ||
	       among(name, compute, array_size(compute)) || strcmp(name, "requests.storage") == 0 ||
	       strncmp(name, "hugepages-", 10) == 0 ||
	       strncmp(name, "requests.hugepages-", 19) == 0;
}

static void check_hard(struct checks *c, const struct field *f, const struct resource_entry *e)
{
	const char *key = text_of(e->key), *text = e->value ? text_of(e->value->string) : "0";
	const char *wrong = name_is_qualified(key);
	struct quantity q = { 0 };

	if (wrong != NULL)
		check_invalid(c, f, key, "%s", wrong);
	else if (strchr(key, '/') == NULL && !is_standard(key))
		check_invalid(c, f, key, "must be a standard resource for quota");
	quantity_parse(bytes_str(text), &q);
	if (q.nano < 0)
		check_invalid(c, f, text, "must be greater than or equal to 0");
	if ((among(key, counted, array_size(counted)) || strncmp(key, "count/", 6) == 0) &&
	    q.nano % 1000000000 != 0)
		check_invalid(c, f, text, "must be an integer");
}

/* What a scope may narrow: pods, and but for BestEffort what they ask for. */
static bool scope_fits(const char *scope, const char *name)
{
	if (!is_standard(name))
		return true;
	if (strcmp(scope, "VolumeAttributesClass") == 0)
		return strcmp(name, "persistentvolumeclaims") == 0 ||
		       strcmp(name, "requests.storage") == 0;
	if (strcmp(name, "pods") == 0)
		return true;
	return strcmp(scope, "BestEffort") != 0 && among(name, compute, array_size(compute));
}

static bool scope_fits_all(const CoreV1__ResourceQuotaSpec *spec, const char *scope)
{
	for (size_t i = 0; i < spec->n_hard; i++)
		if (!scope_fits(scope, text_of(spec->hard[i]->key)))
			return false;
	return true;
}

static const char *print_scopes(struct checks *c, const CoreV1__ResourceQuotaSpec *spec)
{
	char *text = arena_strdup(c->arena, "[");

	for (size_t i = 0; i < spec->n_scopes; i++)
		text = arena_printf(c->arena, "%s%s%s", text, i ? "," : "",
				    quoted(c->arena, spec->scopes[i]));
	return arena_printf(c->arena, "%s]", text);
}

static bool has_scope(const CoreV1__ResourceQuotaSpec *spec, const char *scope)
{
	for (size_t i = 0; i < spec->n_scopes; i++)
		if (text_is(spec->scopes[i], scope))
			return true;
	return false;
}

static void check_scopes(struct checks *c, const struct field *f,
			 const CoreV1__ResourceQuotaSpec *spec)
{
	for (size_t i = 0; i < spec->n_scopes; i++)
		if (!scope_fits_all(spec, text_of(spec->scopes[i])))
			check_invalid_text(c, f, print_scopes(c, spec),
					   "unsupported scope applied to resource");
	if ((has_scope(spec, "BestEffort") && has_scope(spec, "NotBestEffort")) ||
	    (has_scope(spec, "Terminating") && has_scope(spec, "NotTerminating")))
		check_invalid_text(c, f, print_scopes(c, spec), "conflicting scopes");
}

static bool is_class_scope(const char *scope)
{
	return strcmp(scope, "PriorityClass") == 0 || strcmp(scope, "VolumeAttributesClass") == 0;
}

static void check_selector(struct checks *c, const struct field *f,
			   const CoreV1__ResourceQuotaSpec *spec)
{
	const CoreV1__ScopeSelector *s = spec->scopeselector;

	for (size_t i = 0; s != NULL && i < s->n_matchexpressions; i++) {
		const CoreV1__ScopedResourceSelectorRequirement *r = s->matchexpressions[i];
		const struct field *at = AT(FIELD(f, "matchExpressions"), i);
		bool listed = text_is(r->operator_, "In") || text_is(r->operator_, "NotIn");

		if (!scope_fits_all(spec, text_of(r->scopename)))
			check_invalid(c, FIELD(at, "scopeName"), r->scopename,
				      "unsupported scope applied to resource");
		if (!is_class_scope(text_of(r->scopename)) && !text_is(r->operator_, "Exists"))
			check_invalid(c, FIELD(at, "operator"), r->operator_,
				      "must be 'Exist' only operator when scope is any of "
				      "ResourceQuotaScopeTerminating, "
				      "ResourceQuotaScopeNotTerminating, "
				      "ResourceQuotaScopeBestEffort, "
				      "ResourceQuotaScopeNotBestEffort or "
				      "ResourceQuotaScopeCrossNamespacePodAffinity");
		if (listed && r->n_values == 0)
			check_required(c, FIELD(at, "values"),
				       "must be at least one value when `operator` is 'In' or "
				       "'NotIn' for scope selector");
		if (!listed && r->n_values > 0)
			check_forbidden(c, FIELD(at, "values"),
					"must be no value when `operator` is 'Exist' or "
					"'DoesNotExist' for scope selector");
	}
}

static bool same_scopes(const CoreV1__ResourceQuotaSpec *a, const CoreV1__ResourceQuotaSpec *b)
{
	for (size_t i = 0; i < a->n_scopes; i++)
		if (!has_scope(b, text_of(a->scopes[i])))
			return false;
	return a->n_scopes == b->n_scopes;
}

static void validate(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const CoreV1__ResourceQuotaSpec *spec = ((CoreV1__ResourceQuota *)message)->spec;
	const CoreV1__ResourceQuotaSpec *was = old ? ((CoreV1__ResourceQuota *)old)->spec : NULL;
	const struct field *f = FIELD(NULL, "spec");

	for (size_t i = 0; i < spec->n_hard; i++)
		check_hard(c, KEY(FIELD(f, "hard"), text_of(spec->hard[i]->key)),
			   (const struct resource_entry *)spec->hard[i]);
	check_scopes(c, FIELD(f, "scopes"), spec);
	check_selector(c, FIELD(f, "scopeSelector"), spec);
	if (was != NULL && !same_scopes(spec, was))
		check_invalid_text(c, FIELD(f, "scopes"), print_scopes(c, spec),
				   "field is immutable");
}

const struct strategy strategy_resource_quota = {
	.descriptor = &core_v1__resource_quota__descriptor,
	.prepare = prepare,
	.validate = validate,
};
