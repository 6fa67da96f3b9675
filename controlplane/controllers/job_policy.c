/* Which failures count, and which successes are enough. */
#include <string.h>

#include "controlplane/controllers/job.h"

/* --- podFailurePolicy ------------------------------------------------------------- */

static bool code_matches(const BatchV1__PodFailurePolicyOnExitCodesRequirement *r, int32_t code)
{
	bool listed = false;

	for (size_t i = 0; i < r->n_values; i++)
		listed = listed || r->values[i] == code;
	return text_is(r->operator_, "In") ? listed : text_is(r->operator_, "NotIn") && !listed;
}

/* The first container that ended in a failure the rule means. */
static const CoreV1__ContainerStatus *
container_matches(const BatchV1__PodFailurePolicyOnExitCodesRequirement *r,
		  CoreV1__ContainerStatus *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const CoreV1__ContainerStateTerminated *t =
			list[i]->state ? list[i]->state->terminated : NULL;

		if (r->containername != NULL && !text_is(list[i]->name, r->containername))
			continue;
		if (t != NULL && t->exitcode != 0 && code_matches(r, t->exitcode))
			return list[i];
	}
	return NULL;
}

static bool pattern_matches(const BatchV1__PodFailurePolicyOnPodConditionsPattern *p,
			    const CoreV1__PodCondition *c)
{
	const char *status = text_empty(p->status) ? "True" : p->status;

	return text_is(c->type, text_of(p->type)) && text_is(c->status, status);
}

static const CoreV1__PodCondition *condition_matches(const BatchV1__PodFailurePolicyRule *rule,
						     const CoreV1__PodStatus *s)
{
	for (size_t i = 0; i < s->n_conditions; i++)
		for (size_t k = 0; k < rule->n_onpodconditions; k++)
			if (pattern_matches(rule->onpodconditions[k], s->conditions[i]))
				return s->conditions[i];
	return NULL;
}

/* What about the pod makes the rule match, as a sentence; NULL when it does not. */
static const char *rule_matches(const struct job *j, const BatchV1__PodFailurePolicyRule *rule,
				size_t number, const struct object *o, const CoreV1__PodStatus *s)
{
	if (rule->onexitcodes != NULL) {
		const CoreV1__ContainerStatus *c = container_matches(
			rule->onexitcodes, s->containerstatuses, s->n_containerstatuses);

		if (c == NULL)
			c = container_matches(rule->onexitcodes, s->initcontainerstatuses,
					      s->n_initcontainerstatuses);
		if (c != NULL)
			return arena_printf(j->intents->arena,
					    "Container %s for pod %s/%s failed with exit code %d "
					    "matching %s rule at index %zu",
					    c->name, o->namespace, o->name,
					    c->state->terminated->exitcode, rule->action, number);
		return NULL;
	}

	const CoreV1__PodCondition *c = condition_matches(rule, s);

	return c == NULL ? NULL
			 : arena_printf(j->intents->arena,
					"Pod %s/%s has condition %s matching %s rule at index %zu",
					o->namespace, o->name, c->type, rule->action, number);
}

static enum job_action action_of(const struct job *j, const BatchV1__PodFailurePolicyRule *rule)
{
	if (text_is(rule->action, "Ignore"))
		return JOB_IGNORE;
	if (text_is(rule->action, "FailJob"))
		return JOB_FAIL_JOB;
	return text_is(rule->action, "FailIndex") && j->per_index ? JOB_FAIL_INDEX : JOB_COUNT;
}

enum job_action job_failure_action(const struct job *j, const struct job_pod *p,
				   const char **ret_message)
{
	const BatchV1__PodFailurePolicy *policy = j->spec->podfailurepolicy;
	const CoreV1__PodStatus *s;

	if (policy == NULL || p->facts->phase != PHASE_FAILED)
		return JOB_COUNT;
	s = ((const CoreV1__Pod *)view_message(j->view, p->facts->object))->status;
	for (size_t i = 0; i < policy->n_rules; i++) {
		const char *why = rule_matches(j, policy->rules[i], i, p->facts->object, s);

		if (why == NULL)
			continue;
		*ret_message = why;
		return action_of(j, policy->rules[i]);
	}
	return JOB_COUNT;
}

/* --- successPolicy ---------------------------------------------------------------- */

static bool success_rule_met(const struct job *j, const BatchV1__SuccessPolicyRule *rule)
{
	struct index_list wanted;
	int64_t have;

	if (rule->succeededindexes == NULL)
		return rule->has_succeededcount &&
		       index_list_count(&j->succeeded_at) >= rule->succeededcount;
	if (index_list_parse(rule->succeededindexes, j->spec->completions, j->view->arena,
			     &wanted) < 0)
		return false;
	have = index_list_common(&wanted, &j->succeeded_at);
	return have >=
	       (rule->has_succeededcount ? rule->succeededcount : index_list_count(&wanted));
}

bool job_success_met(const struct job *j, const char **ret_message)
{
	const BatchV1__SuccessPolicy *policy = j->spec->successpolicy;

	for (size_t i = 0; policy != NULL && i < policy->n_rules; i++)
		if (success_rule_met(j, policy->rules[i])) {
			*ret_message =
				arena_printf(j->intents->arena, "Matched rules at index %zu", i);
			return true;
		}
	return false;
}
