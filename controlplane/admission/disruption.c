/* PodDisruptionBudgets at the door. */
#include <stdlib.h>
#include <string.h>

#include "controlplane/admission/strategy.h"
#include "proto/k8s/policy_v1.pb-c.h"

static bool is_percent(const char *s)
{
	size_t n = strspn(s, "0123456789");

	return n > 0 && s[n] == '%' && s[n + 1] == '\0';
}

/* How many, as a number or a share of all. */
static void check_amount(struct checks *c, const struct field *f, const Intstr__IntOrString *v)
{
	if (v == NULL)
		return;
	if (v->type == 0)
		check_not_negative(c, f, v->intval);
	else if (!is_percent(text_of(v->strval)))
		check_invalid(c, f, v->strval,
			      "a valid percent string must be a numeric string followed by an "
			      "ending '%%' (e.g. '1%%',  or '93%%', regex used for validation is "
			      "'[0-9]+%%')");
	else if (strlen(v->strval) > 4 || strtol(v->strval, NULL, 10) > 100)
		check_invalid(c, f, v->strval, "must not be greater than 100%%");
}

static void validate(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const PolicyV1__PodDisruptionBudgetSpec *spec =
		((PolicyV1__PodDisruptionBudget *)message)->spec;
	const struct field *f = FIELD(NULL, "spec");

	if (spec == NULL)
		return;
	if (spec->minavailable != NULL && spec->maxunavailable != NULL)
		check_invalid_message(c, f, &spec->base,
				      "minAvailable and maxUnavailable cannot be both set");
	check_amount(c, FIELD(f, "minAvailable"), spec->minavailable);
	check_amount(c, FIELD(f, "maxUnavailable"), spec->maxunavailable);
	check_label_selector(c, FIELD(f, "selector"), spec->selector);
}

const struct strategy strategy_disruption_budget = {
	.descriptor = &policy_v1__pod_disruption_budget__descriptor,
	.validate = validate,
};
