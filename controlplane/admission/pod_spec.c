/* What a PodSpec must be, in a Pod as in every template. Its containers are
 * in containers.c; volumes, and what containers mount of them, in volumes.c. */
#include <string.h>

#include "controlplane/admission/pod_spec.h"
#include "controlplane/admission/strategy.h"

static void check_label_name(struct checks *c, const struct field *f, const char *name)
{
	const char *wrong;

	if (!text_empty(name) && (wrong = name_is_label(name)) != NULL)
		check_invalid(c, f, name, "%s", wrong);
}

static void check_object_name(struct checks *c, const struct field *f, const char *name)
{
	const char *wrong;

	if (!text_empty(name) && (wrong = name_is_subdomain(name)) != NULL)
		check_invalid(c, f, name, "%s", wrong);
}

static void check_dns(struct checks *c, const struct field *f, const CoreV1__PodSpec *spec)
{
	enum { NAMESERVERS_MAX = 3, SEARCHES_MAX = 32, SEARCH_CHARS_MAX = 2048 };
	const CoreV1__PodDNSConfig *d = spec->dnsconfig;
	const struct field *at = FIELD(f, "dnsConfig");
	size_t chars = 0;

	if (text_is(spec->dnspolicy, "None") && d == NULL)
		check_required(c, at, "must provide `dnsConfig` when `dnsPolicy` is None");
	if (d == NULL)
		return;
	if (text_is(spec->dnspolicy, "None") && d->n_nameservers == 0)
		check_required(c, FIELD(at, "nameservers"),
			       "must provide at least one DNS nameserver when `dnsPolicy` is None");
	if (d->n_nameservers > NAMESERVERS_MAX)
		check_invalid_text(c, FIELD(at, "nameservers"),
				   arena_printf(c->arena, "%zu entries", d->n_nameservers),
				   "must not have more than %d nameservers", NAMESERVERS_MAX);
	for (size_t i = 0; i < d->n_nameservers; i++)
		if (!ip_valid(d->nameservers[i]))
			check_invalid(
				c, AT(FIELD(at, "nameservers"), i), d->nameservers[i],
				"must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
	for (size_t i = 0; i < d->n_searches; i++)
		chars += strlen(d->searches[i]) + 1;
	if (d->n_searches > SEARCHES_MAX)
		check_invalid_text(c, FIELD(at, "searches"),
				   arena_printf(c->arena, "%zu entries", d->n_searches),
				   "must not have more than %d search paths", SEARCHES_MAX);
	else if (chars > SEARCH_CHARS_MAX + 1)
		check_invalid_text(
			c, FIELD(at, "searches"), arena_printf(c->arena, "%zu characters", chars),
			"must not have more than %d characters (including spaces) in the "
			"search list",
			SEARCH_CHARS_MAX);
	for (size_t i = 0; i < d->n_options; i++)
		if (text_empty(d->options[i]->name))
			check_required(c, FIELD(AT(FIELD(at, "options"), i), "name"),
				       "must not be empty");
}

static void check_tolerations(struct checks *c, const struct field *f, const CoreV1__PodSpec *spec)
{
	for (size_t i = 0; i < spec->n_tolerations; i++) {
		const CoreV1__Toleration *t = spec->tolerations[i];
		const struct field *at = AT(f, i);
		const char *wrong;

		if (!text_empty(t->key) && (wrong = name_is_qualified(t->key)) != NULL)
			check_invalid(c, FIELD(at, "key"), t->key, "%s", wrong);
		if (text_empty(t->key) && !text_is(t->operator_, "Exists"))
			check_invalid(c, FIELD(at, "operator"), t->operator_,
				      "operator must be Exists when `key` is empty, which means "
				      "\"match all values and all keys\"");
		if (t->has_tolerationseconds && !text_is(t->effect, "NoExecute"))
			check_invalid(c, FIELD(at, "effect"), t->effect,
				      "effect must be 'NoExecute' when `tolerationSeconds` is set");
		if (text_is(t->operator_, "Exists") && !text_empty(t->value))
			check_invalid(c, FIELD(at, "operator"), t->value,
				      "value must be empty when `operator` is 'Exists'");
		if (!text_is(t->operator_, "Exists") && !text_empty(t->value) &&
		    (wrong = name_is_label_value(t->value)) != NULL)
			check_invalid(c, FIELD(at, "operator"), t->value, "%s", wrong);
	}
}

static void check_selector_term(struct checks *c, const struct field *f,
				const CoreV1__NodeSelectorTerm *term)
{
	for (size_t i = 0; term != NULL && i < term->n_matchexpressions; i++) {
		const CoreV1__NodeSelectorRequirement *r = term->matchexpressions[i];
		const struct field *at = AT(FIELD(f, "matchExpressions"), i);
		const char *op = text_of(r->operator_), *wrong;
		bool listed = strcmp(op, "In") == 0 || strcmp(op, "NotIn") == 0;
		bool compared = strcmp(op, "Gt") == 0 || strcmp(op, "Lt") == 0;

		if (listed && r->n_values == 0)
			check_required(c, FIELD(at, "values"),
				       "must be specified when `operator` is 'In' or 'NotIn'");
		else if (compared && r->n_values != 1)
			check_required(c, FIELD(at, "values"),
				       "must be specified single value when `operator` is 'Lt' or "
				       "'Gt'");
		else if (!listed && !compared && r->n_values > 0)
			check_forbidden(c, FIELD(at, "values"),
					"may not be specified when `operator` is 'Exists' or "
					"'DoesNotExist'");
		if ((wrong = name_is_qualified(text_of(r->key))) != NULL)
			check_invalid(c, FIELD(at, "key"), r->key, "%s", wrong);
		if (op[0] == '\0')
			check_invalid(c, FIELD(at, "operator"), op,
				      "not a valid selector operator");
	}
	for (size_t i = 0; term != NULL && i < term->n_matchfields; i++) {
		const CoreV1__NodeSelectorRequirement *r = term->matchfields[i];
		const struct field *at = AT(FIELD(f, "matchFields"), i);

		if (r->n_values != 1)
			check_required(c, FIELD(at, "values"),
				       "must be only one value when `operator` is 'In' or 'NotIn' "
				       "for node field selector");
		if (!text_is(r->key, "metadata.name"))
			check_invalid(c, FIELD(at, "key"), r->key,
				      "not a valid field selector key");
	}
}

void check_node_selector(struct checks *c, const struct field *f, const CoreV1__NodeSelector *s)
{
	const struct field *terms = FIELD(f, "nodeSelectorTerms");

	if (s->n_nodeselectorterms == 0)
		check_required(c, terms, "must have at least one node selector term");
	for (size_t i = 0; i < s->n_nodeselectorterms; i++)
		check_selector_term(c, AT(terms, i), s->nodeselectorterms[i]);
}

static void check_pod_terms(struct checks *c, const struct field *f,
			    CoreV1__PodAffinityTerm *const *t, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		check_label_selector(c, FIELD(AT(f, i), "labelSelector"), t[i]->labelselector);
		if (text_empty(t[i]->topologykey))
			check_required(c, FIELD(AT(f, i), "topologyKey"), "can not be empty");
	}
}

static void check_pod_weights(struct checks *c, const struct field *f,
			      CoreV1__WeightedPodAffinityTerm *const *t, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct field *at = AT(f, i);

		if (t[i]->weight < 1 || t[i]->weight > 100)
			check_invalid_int(c, FIELD(at, "weight"), t[i]->weight,
					  "must be in the range 1-100");
		if (t[i]->podaffinityterm == NULL || text_empty(t[i]->podaffinityterm->topologykey))
			check_required(c, FIELD(FIELD(at, "podAffinityTerm"), "topologyKey"),
				       "can not be empty");
	}
}

static void check_affinity(struct checks *c, const struct field *f, const CoreV1__Affinity *a)
{
	static const char hard[] = "requiredDuringSchedulingIgnoredDuringExecution";
	static const char soft[] = "preferredDuringSchedulingIgnoredDuringExecution";

	if (a->nodeaffinity != NULL) {
		const CoreV1__NodeAffinity *n = a->nodeaffinity;
		const CoreV1__NodeSelector *required =
			n->requiredduringschedulingignoredduringexecution;
		const struct field *node = FIELD(f, "nodeAffinity");

		if (required != NULL)
			check_node_selector(c, FIELD(node, hard), required);
		for (size_t i = 0; i < n->n_preferredduringschedulingignoredduringexecution; i++) {
			const CoreV1__PreferredSchedulingTerm *t =
				n->preferredduringschedulingignoredduringexecution[i];
			const struct field *at = AT(FIELD(node, soft), i);

			if (t->weight < 1 || t->weight > 100)
				check_invalid_int(c, FIELD(at, "weight"), t->weight,
						  "must be in the range 1-100");
			check_selector_term(c, FIELD(at, "preference"), t->preference);
		}
	}
	if (a->podaffinity != NULL) {
		const struct field *at = FIELD(f, "podAffinity");

		check_pod_terms(c, FIELD(at, hard),
				a->podaffinity->requiredduringschedulingignoredduringexecution,
				a->podaffinity->n_requiredduringschedulingignoredduringexecution);
		check_pod_weights(
			c, FIELD(at, soft),
			a->podaffinity->preferredduringschedulingignoredduringexecution,
			a->podaffinity->n_preferredduringschedulingignoredduringexecution);
	}
	if (a->podantiaffinity != NULL) {
		const struct field *at = FIELD(f, "podAntiAffinity");

		check_pod_terms(
			c, FIELD(at, hard),
			a->podantiaffinity->requiredduringschedulingignoredduringexecution,
			a->podantiaffinity->n_requiredduringschedulingignoredduringexecution);
		check_pod_weights(
			c, FIELD(at, soft),
			a->podantiaffinity->preferredduringschedulingignoredduringexecution,
			a->podantiaffinity->n_preferredduringschedulingignoredduringexecution);
	}
}

static void check_spread(struct checks *c, const struct field *f, const CoreV1__PodSpec *spec)
{
	for (size_t i = 0; i < spec->n_topologyspreadconstraints; i++) {
		const CoreV1__TopologySpreadConstraint *t = spec->topologyspreadconstraints[i];
		const struct field *at = AT(f, i);

		if (t->maxskew <= 0)
			check_invalid_int(c, FIELD(at, "maxSkew"), t->maxskew,
					  "must be greater than zero");
		if (text_empty(t->topologykey))
			check_required(c, FIELD(at, "topologyKey"), "can not be empty");
		check_one_of(c, FIELD(at, "whenUnsatisfiable"), t->whenunsatisfiable,
			     (const char *const[]){ "DoNotSchedule", "ScheduleAnyway", NULL });
		for (size_t k = 0; k < i; k++)
			if (text_is(spec->topologyspreadconstraints[k]->topologykey,
				    text_of(t->topologykey)) &&
			    text_is(spec->topologyspreadconstraints[k]->whenunsatisfiable,
				    text_of(t->whenunsatisfiable)))
				check_duplicate_text(
					c, at,
					arena_printf(c->arena, "{%s, %s}",
						     quoted(c->arena, t->topologykey),
						     quoted(c->arena, t->whenunsatisfiable)));
		check_label_selector(c, FIELD(at, "labelSelector"), t->labelselector);
	}
}

static void check_host_aliases(struct checks *c, const struct field *f, const CoreV1__PodSpec *spec)
{
	for (size_t i = 0; i < spec->n_hostaliases; i++) {
		const CoreV1__HostAlias *h = spec->hostaliases[i];
		const struct field *at = AT(f, i);

		if (!ip_valid(h->ip))
			check_invalid(
				c, FIELD(at, "ip"), h->ip,
				"must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
		for (size_t k = 0; k < h->n_hostnames; k++)
			check_object_name(c, AT(FIELD(at, "hostnames"), k), h->hostnames[k]);
	}
}

void check_pod_spec(struct checks *c, const struct field *f, const CoreV1__PodSpec *spec,
		    const MetaV1__ObjectMeta *meta)
{
	if (spec == NULL) {
		check_required(c, FIELD(f, "containers"), "");
		return;
	}
	check_volumes(c, FIELD(f, "volumes"), spec);
	check_containers(c, f, spec);
	if (text_empty(spec->restartpolicy))
		check_required(c, FIELD(f, "restartPolicy"), "");
	if (text_empty(spec->dnspolicy))
		check_required(c, FIELD(f, "dnsPolicy"), "");
	check_dns(c, f, spec);
	check_labels(c, FIELD(f, "nodeSelector"), (struct string_entry *const *)spec->nodeselector,
		     spec->n_nodeselector);
	check_object_name(c, FIELD(f, "serviceAccountName"), spec->serviceaccountname);
	check_object_name(c, FIELD(f, "nodeName"), spec->nodename);
	check_label_name(c, FIELD(f, "hostname"), spec->hostname);
	check_label_name(c, FIELD(f, "subdomain"), spec->subdomain);
	check_object_name(c, FIELD(f, "priorityClassName"), spec->priorityclassname);
	if (spec->runtimeclassname != NULL)
		check_object_name(c, FIELD(f, "runtimeClassName"), spec->runtimeclassname);
	check_tolerations(c, FIELD(f, "tolerations"), spec);
	if (spec->affinity != NULL)
		check_affinity(c, FIELD(f, "affinity"), spec->affinity);
	check_spread(c, FIELD(f, "topologySpreadConstraints"), spec);
	check_host_aliases(c, FIELD(f, "hostAliases"), spec);
	if (spec->has_activedeadlineseconds &&
	    (spec->activedeadlineseconds < 1 || spec->activedeadlineseconds > INT32_MAX))
		check_invalid_int(c, FIELD(f, "activeDeadlineSeconds"), spec->activedeadlineseconds,
				  "must be between 1 and 2147483647, inclusive");
	if (spec->has_terminationgraceperiodseconds)
		check_not_negative(c, FIELD(f, "terminationGracePeriodSeconds"),
				   spec->terminationgraceperiodseconds);
	if (spec->n_schedulinggates > 0 && !text_empty(spec->nodename))
		check_forbidden(c, FIELD(f, "nodeName"),
				"cannot be set until all schedulingGates have been cleared");
}
