/* Jobs at the door, and the Job templates of CronJobs. */
#include <limits.h>
#include <string.h>

#include "common/api/index_list.h"
#include "common/api/labels.h"
#include "common/base/cleanup.h"
#include "controlplane/admission/job.h"
#include "controlplane/admission/strategy.h"

static const char uid_label[] = "batch.kubernetes.io/controller-uid";
static const char name_label[] = "batch.kubernetes.io/job-name";
static const char old_uid_label[] = "controller-uid";
static const char old_name_label[] = "job-name";

enum {
	PARALLELISM_MAX = 100000, /* Of an Indexed Job, and what follows from it. */
	COMPLETIONS_PLAIN_MAX = 100000,
	FAILED_INDEXES_MAX = 10000,
	RULES_MAX = 20,
	PATTERNS_MAX = 20,
	EXIT_CODES_MAX = 255,
	MANAGER_BYTES_MAX = 63,
};

/* --- What the server fills in ----------------------------------------------------- */

static void label_if_missing(struct arena *a, MetaV1__ObjectMeta *meta, const char *key,
			     const char *value)
{
	if (meta_label(meta, key) == NULL)
		meta_set_label(a, meta, key, value);
}

static void generate_selector(struct arena *a, const MetaV1__ObjectMeta *meta,
			      BatchV1__JobSpec *spec)
{
	MetaV1__ObjectMeta *template;

	if (spec->template_ == NULL)
		spec->template_ = make(a, CoreV1__PodTemplateSpec, core_v1__pod_template_spec);
	template = message_metadata_make(spec->template_, a);
	label_if_missing(a, template, old_uid_label, meta->uid);
	label_if_missing(a, template, old_name_label, text_of(meta->name));
	label_if_missing(a, template, uid_label, meta->uid);
	label_if_missing(a, template, name_label, text_of(meta->name));
	if (spec->selector == NULL)
		spec->selector = make(a, MetaV1__LabelSelector, meta_v1__label_selector);
	if (string_map_get((struct string_entry *const *)spec->selector->matchlabels,
			   spec->selector->n_matchlabels, uid_label) == NULL)
		string_map_set(spec->selector, "matchLabels", uid_label, meta->uid, a);
}

static void prepare(struct admission *a, ProtobufCMessage *message, ProtobufCMessage *old)
{
	BatchV1__Job *job = (BatchV1__Job *)message;

	if (job->spec == NULL)
		job->spec = make(a->arena, BatchV1__JobSpec, batch_v1__job_spec);
	if (old == NULL && !job->spec->manualselector)
		generate_selector(a->arena, job->metadata, job->spec);
}

/* --- Policies --------------------------------------------------------------------- */

static bool has_container(const CoreV1__PodSpec *spec, const char *name)
{
	for (size_t i = 0; spec != NULL && i < spec->n_containers; i++)
		if (text_is(spec->containers[i]->name, name))
			return true;
	for (size_t i = 0; spec != NULL && i < spec->n_initcontainers; i++)
		if (text_is(spec->initcontainers[i]->name, name))
			return true;
	return false;
}

static void check_exit_codes(struct checks *c, const struct field *f,
			     const BatchV1__PodFailurePolicyOnExitCodesRequirement *r,
			     const CoreV1__PodSpec *pod)
{
	const struct field *values = FIELD(f, "values");

	if (r->containername != NULL && !has_container(pod, r->containername))
		check_invalid(c, FIELD(f, "containerName"), r->containername,
			      "must be one of the container or initContainer names in the pod "
			      "template");
	if (text_empty(r->operator_))
		check_required(c, FIELD(f, "operator"), "valid values: [In NotIn]");
	if (r->n_values == 0)
		check_invalid_text(c, values, "[]", "at least one value is required");
	else if (r->n_values > EXIT_CODES_MAX)
		check_too_many(c, values, r->n_values, EXIT_CODES_MAX);
	for (size_t i = 0; i < r->n_values && i < EXIT_CODES_MAX; i++) {
		if (text_is(r->operator_, "In") && r->values[i] == 0)
			check_invalid_int(c, AT(values, i), 0, "must not be 0 for the In operator");
		if (i > 0 && r->values[i] == r->values[i - 1])
			check_duplicate_text(c, AT(values, i),
					     arena_printf(c->arena, "%d", r->values[i]));
		else if (i > 0 && r->values[i] < r->values[i - 1])
			check_invalid_int(c, AT(values, i), r->values[i], "must be ordered");
	}
}

static void check_patterns(struct checks *c, const struct field *f,
			   const BatchV1__PodFailurePolicyRule *r)
{
	static const char *const statuses[] = { "False", "True", "Unknown", NULL };

	if (r->n_onpodconditions > PATTERNS_MAX)
		check_too_many(c, f, r->n_onpodconditions, PATTERNS_MAX);
	for (size_t i = 0; i < r->n_onpodconditions && i < PATTERNS_MAX; i++) {
		const BatchV1__PodFailurePolicyOnPodConditionsPattern *p = r->onpodconditions[i];
		const char *wrong = name_is_qualified(text_of(p->type));

		if (wrong != NULL)
			check_invalid(c, FIELD(AT(f, i), "type"), p->type, "%s", wrong);
		check_one_of(c, FIELD(AT(f, i), "status"), p->status, statuses);
	}
}

static void check_failure_rule(struct checks *c, const struct field *f,
			       const BatchV1__PodFailurePolicyRule *r, const BatchV1__JobSpec *spec)
{
	const CoreV1__PodSpec *pod = spec->template_ ? spec->template_->spec : NULL;

	if (text_empty(r->action))
		check_required(c, FIELD(f, "action"),
			       "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]");
	if (text_is(r->action, "FailIndex") && !spec->has_backofflimitperindex)
		check_invalid(c, FIELD(f, "action"), r->action,
			      "requires the backoffLimitPerIndex to be set");
	if (r->onexitcodes != NULL)
		check_exit_codes(c, FIELD(f, "onExitCodes"), r->onexitcodes, pod);
	check_patterns(c, FIELD(f, "onPodConditions"), r);
	if (r->onexitcodes != NULL && r->n_onpodconditions > 0)
		check_invalid(c, f, "",
			      "specifying both OnExitCodes and OnPodConditions is not supported");
	else if (r->onexitcodes == NULL && r->n_onpodconditions == 0)
		check_invalid(c, f, "",
			      "specifying one of OnExitCodes and OnPodConditions is required");
}

static void check_failure_policy(struct checks *c, const struct field *f,
				 const BatchV1__JobSpec *spec)
{
	const BatchV1__PodFailurePolicy *p = spec->podfailurepolicy;
	const struct field *rules = FIELD(FIELD(f, "podFailurePolicy"), "rules");
	const CoreV1__PodSpec *pod = spec->template_ ? spec->template_->spec : NULL;

	if (p == NULL)
		return;
	if (pod != NULL && !text_is(pod->restartpolicy, "Never"))
		check_invalid(c, FIELD(FIELD(FIELD(f, "template"), "spec"), "restartPolicy"),
			      pod->restartpolicy,
			      "only \"Never\" is supported when podFailurePolicy is specified");
	if (spec->podreplacementpolicy != NULL && !text_is(spec->podreplacementpolicy, "Failed"))
		check_unsupported(c, FIELD(f, "podReplacementPolicy"), spec->podreplacementpolicy,
				  (const char *const[]){ "Failed", NULL });
	if (p->n_rules > RULES_MAX)
		check_too_many(c, rules, p->n_rules, RULES_MAX);
	for (size_t i = 0; i < p->n_rules && i < RULES_MAX; i++)
		check_failure_rule(c, AT(rules, i), p->rules[i], spec);
}

static void check_success_rule(struct checks *c, const struct field *f,
			       const BatchV1__SuccessPolicyRule *r, const BatchV1__JobSpec *spec)
{
	struct index_list indexes = { 0 };
	int32_t completions = spec->has_completions ? spec->completions : 0;

	if (r->succeededindexes == NULL && !r->has_succeededcount) {
		check_required(
			c, f,
			"at least one of succeededCount or succeededIndexes must be specified");
		return;
	}
	if (r->succeededindexes != NULL) {
		int rc = index_list_parse(r->succeededindexes, INT32_MAX, c->arena, &indexes);

		if (rc < 0 || indexes.n == 0 || indexes.ranges[indexes.n - 1].last >= completions)
			check_invalid(c, FIELD(f, "succeededIndexes"), r->succeededindexes,
				      "must be ascending indexes below completions, such as "
				      "\"0,2-4\"");
	}
	if (!r->has_succeededcount)
		return;
	check_not_negative(c, FIELD(f, "succeededCount"), r->succeededcount);
	if (r->succeededcount > completions)
		check_invalid_int(c, FIELD(f, "succeededCount"), r->succeededcount,
				  "must be less than or equal to %d (the number of specified "
				  "completions)",
				  completions);
	else if (r->succeededindexes != NULL && r->succeededcount > index_list_count(&indexes))
		check_invalid_int(c, FIELD(f, "succeededCount"), r->succeededcount,
				  "must be less than or equal to %d (the number of indexes in the "
				  "specified succeededIndexes field)",
				  (int)index_list_count(&indexes));
}

static void check_success_policy(struct checks *c, const struct field *f,
				 const BatchV1__JobSpec *spec)
{
	const BatchV1__SuccessPolicy *p = spec->successpolicy;
	const struct field *at = FIELD(f, "successPolicy"), *rules = FIELD(at, "rules");

	if (p == NULL)
		return;
	if (!text_is(spec->completionmode, "Indexed"))
		check_invalid_message(c, at, &p->base, "requires indexed completion mode");
	if (p->n_rules == 0)
		check_required(c, rules,
			       "at least one rules must be specified when the successPolicy is "
			       "specified");
	if (p->n_rules > RULES_MAX)
		check_too_many(c, rules, p->n_rules, RULES_MAX);
	for (size_t i = 0; i < p->n_rules && i < RULES_MAX; i++)
		check_success_rule(c, AT(rules, i), p->rules[i], spec);
}

/* --- The numbers ------------------------------------------------------------------ */

static void check_many_indexes(struct checks *c, const struct field *f,
			       const BatchV1__JobSpec *spec)
{
	static const char bound[] = "must be less than or equal to 10000 when completions are "
				    "above 100000 and used with backoff limit per index";

	if (!spec->has_maxfailedindexes)
		check_required(c, FIELD(f, "maxFailedIndexes"),
			       "must be specified when completions is above 100000");
	else if (spec->maxfailedindexes > FAILED_INDEXES_MAX)
		check_invalid_int(c, FIELD(f, "maxFailedIndexes"), spec->maxfailedindexes, "%s",
				  bound);
	if (spec->parallelism > FAILED_INDEXES_MAX)
		check_invalid_int(c, FIELD(f, "parallelism"), spec->parallelism, "%s", bound);
}

static void check_indexed(struct checks *c, const struct field *f, const BatchV1__JobSpec *spec)
{
	if (!spec->has_completions)
		check_required(c, FIELD(f, "completions"), "when completion mode is Indexed");
	if (spec->parallelism > PARALLELISM_MAX)
		check_invalid_int(c, FIELD(f, "parallelism"), spec->parallelism,
				  "must be less than or equal to %d when completion mode is "
				  "Indexed",
				  PARALLELISM_MAX);
	if (spec->has_backofflimitperindex && spec->completions > COMPLETIONS_PLAIN_MAX)
		check_many_indexes(c, f, spec);
}

static void check_per_index(struct checks *c, const struct field *f, const BatchV1__JobSpec *spec)
{
	bool indexed = text_is(spec->completionmode, "Indexed");

	if (spec->has_backofflimitperindex) {
		check_not_negative(c, FIELD(f, "backoffLimitPerIndex"), spec->backofflimitperindex);
		if (!indexed)
			check_invalid_int(c, FIELD(f, "backoffLimitPerIndex"),
					  spec->backofflimitperindex,
					  "requires indexed completion mode");
	}
	if (!spec->has_maxfailedindexes)
		return;
	check_not_negative(c, FIELD(f, "maxFailedIndexes"), spec->maxfailedindexes);
	if (!spec->has_backofflimitperindex)
		check_required(c, FIELD(f, "backoffLimitPerIndex"),
			       "when maxFailedIndexes is specified");
	if (!indexed)
		check_invalid_int(c, FIELD(f, "maxFailedIndexes"), spec->maxfailedindexes,
				  "requires indexed completion mode");
	if (spec->has_completions && spec->maxfailedindexes > spec->completions)
		check_invalid_int(c, FIELD(f, "maxFailedIndexes"), spec->maxfailedindexes,
				  "must be less than or equal to completions");
}

/* "example.com/name" */
static void check_manager(struct checks *c, const struct field *f, const char *manager)
{
	const char *wrong = name_is_qualified(manager);

	if (strlen(manager) > MANAGER_BYTES_MAX)
		check_too_long(c, f, MANAGER_BYTES_MAX);
	if (strchr(manager, '/') == NULL || wrong != NULL)
		check_invalid(c, f, manager,
			      "must be a domain-prefixed path (such as "
			      "\"acme.io/foo\")");
}

static void check_job_template(struct checks *c, const struct field *f,
			       const CoreV1__PodTemplateSpec *t)
{
	const CoreV1__PodSpec *spec = t != NULL ? t->spec : NULL;

	if (t != NULL && t->metadata != NULL)
		check_labels(c, FIELD(FIELD(f, "metadata"), "labels"),
			     (struct string_entry *const *)t->metadata->labels,
			     t->metadata->n_labels);
	check_pod_spec(c, FIELD(f, "spec"), spec, NULL);
	if (spec != NULL && !text_is(spec->restartpolicy, "OnFailure") &&
	    !text_is(spec->restartpolicy, "Never"))
		check_required(c, FIELD(FIELD(f, "spec"), "restartPolicy"),
			       "valid values: \"OnFailure\", \"Never\"");
}

void check_job_spec(struct checks *c, const struct field *f, const BatchV1__JobSpec *spec)
{
	check_not_negative(c, FIELD(f, "parallelism"), spec->parallelism);
	check_not_negative(c, FIELD(f, "completions"), spec->completions);
	check_not_negative(c, FIELD(f, "activeDeadlineSeconds"), spec->activedeadlineseconds);
	check_not_negative(c, FIELD(f, "backoffLimit"), spec->backofflimit);
	check_not_negative(c, FIELD(f, "ttlSecondsAfterFinished"), spec->ttlsecondsafterfinished);
	check_per_index(c, f, spec);
	if (spec->managedby != NULL)
		check_manager(c, FIELD(f, "managedBy"), spec->managedby);
	if (text_is(spec->completionmode, "Indexed"))
		check_indexed(c, f, spec);
	check_failure_policy(c, f, spec);
	check_success_policy(c, f, spec);
	check_job_template(c, FIELD(f, "template"), spec->template_);
}

/* --- Create and update ------------------------------------------------------------ */

/* Of a selector that the server made: it says exactly which Job's pods these are. */
static void check_generated(struct checks *c, const struct field *f, const BatchV1__Job *job)
{
	const BatchV1__JobSpec *spec = job->spec;
	const MetaV1__ObjectMeta *labels = spec->template_->metadata;
	const struct field *at = FIELD(FIELD(FIELD(f, "template"), "metadata"), "labels");
	const struct {
		const char *key, *value;
	} wanted[] = {
		{ uid_label, job->metadata->uid },
		{ old_uid_label, job->metadata->uid },
		{ name_label, text_of(job->metadata->name) },
		{ old_name_label, text_of(job->metadata->name) },
	};

	for (size_t i = 0; i < array_size(wanted); i++)
		if (!text_is(meta_label(labels, wanted[i].key), wanted[i].value))
			check_invalid(c, KEY(at, wanted[i].key), meta_label(labels, wanted[i].key),
				      "must be '%s'", wanted[i].value);
	if (spec->selector->n_matchlabels != 1 || spec->selector->n_matchexpressions > 0 ||
	    !text_is(spec->selector->matchlabels[0]->value, job->metadata->uid))
		check_invalid_message(c, FIELD(f, "selector"), &spec->selector->base,
				      "`selector` not auto-generated");
}

static void check_manual(struct checks *c, const struct field *f, const BatchV1__JobSpec *spec)
{
	const MetaV1__ObjectMeta *labels = spec->template_ ? spec->template_->metadata : NULL;
	struct label_selector selector;

	if (spec->selector == NULL) {
		check_required(c, FIELD(f, "selector"), "");
		return;
	}
	check_label_selector(c, FIELD(f, "selector"), spec->selector);
	if (c->n > 0 || label_selector_of(spec->selector, c->arena, &selector, NULL) < 0)
		return;
	if (!label_selector_matches_map(
		    &selector, labels ? (struct string_entry *const *)labels->labels : NULL,
		    labels ? labels->n_labels : 0))
		check_invalid_message(c, FIELD(FIELD(FIELD(f, "template"), "metadata"), "labels"),
				      labels ? &labels->base : NULL,
				      "`selector` does not match template `labels`");
}

/* Where pods go may still change while none was ever made. */
static void check_template_kept(struct checks *c, const struct field *f, const BatchV1__Job *job,
				const BatchV1__Job *old)
{
	bool started = old->status != NULL && old->status->starttime != NULL;
	CoreV1__PodTemplateSpec *was = old->spec->template_, *now = job->spec->template_;

	if (old->spec->suspend && !started && was != NULL && now != NULL && was->spec != NULL &&
	    now->spec != NULL) {
		was = message_copy(was, c->arena);
		was->metadata = now->metadata;
		was->spec->n_nodeselector = now->spec->n_nodeselector;
		was->spec->nodeselector = now->spec->nodeselector;
		was->spec->n_tolerations = now->spec->n_tolerations;
		was->spec->tolerations = now->spec->tolerations;
		was->spec->n_schedulinggates = now->spec->n_schedulinggates;
		was->spec->schedulinggates = now->spec->schedulinggates;
		if (now->spec->affinity != NULL && was->spec->affinity == NULL)
			was->spec->affinity = make(c->arena, CoreV1__Affinity, core_v1__affinity);
		if (was->spec->affinity != NULL)
			was->spec->affinity->nodeaffinity =
				now->spec->affinity ? now->spec->affinity->nodeaffinity : NULL;
		/* An affinity that only named nodes may go as a whole. */
		if (now->spec->affinity == NULL && was->spec->affinity != NULL &&
		    was->spec->affinity->podaffinity == NULL &&
		    was->spec->affinity->podantiaffinity == NULL)
			was->spec->affinity = NULL;
	}
	check_immutable(c, FIELD(f, "template"), now, was);
}

static void check_completions_kept(struct checks *c, const struct field *f,
				   const BatchV1__JobSpec *spec, const BatchV1__JobSpec *was)
{
	bool same = spec->has_completions == was->has_completions &&
		    spec->completions == was->completions;

	if (same)
		return;
	if (!text_is(was->completionmode, "Indexed") || !spec->has_completions)
		check_invalid_int(c, FIELD(f, "completions"), spec->completions,
				  "field is immutable");
	else if (spec->completions != spec->parallelism)
		check_invalid_int(c, FIELD(f, "completions"), spec->completions,
				  "can only be modified in tandem with parallelism");
}

static void check_update(struct checks *c, const struct field *f, const BatchV1__Job *job,
			 const BatchV1__Job *old)
{
	const BatchV1__JobSpec *spec = job->spec, *was = old->spec;

	check_completions_kept(c, f, spec, was);
	check_immutable(c, FIELD(f, "selector"), spec->selector, was->selector);
	check_template_kept(c, f, job, old);
	if (!text_is(spec->completionmode, text_of(was->completionmode)))
		check_invalid(c, FIELD(f, "completionMode"), spec->completionmode,
			      "field is immutable");
	check_immutable(c, FIELD(f, "podFailurePolicy"), spec->podfailurepolicy,
			was->podfailurepolicy);
	check_immutable(c, FIELD(f, "successPolicy"), spec->successpolicy, was->successpolicy);
	if (spec->has_backofflimitperindex != was->has_backofflimitperindex ||
	    spec->backofflimitperindex != was->backofflimitperindex)
		check_invalid_int(c, FIELD(f, "backoffLimitPerIndex"), spec->backofflimitperindex,
				  "field is immutable");
	if (!text_is(spec->managedby, text_of(was->managedby)))
		check_invalid(c, FIELD(f, "managedBy"), spec->managedby, "field is immutable");
}

/* The pods of an Indexed Job are called after it and their index. */
static void check_host_names(struct checks *c, const BatchV1__Job *job)
{
	const BatchV1__JobSpec *spec = job->spec;

	if (!text_is(spec->completionmode, "Indexed") || spec->completions <= 0)
		return;

	const char *longest = arena_printf(c->arena, "%s-%d", text_of(job->metadata->name),
					   spec->completions - 1);
	const char *wrong = name_is_label(longest);

	if (wrong != NULL)
		check_invalid(c, FIELD(FIELD(NULL, "metadata"), "name"), job->metadata->name,
			      "will not able to create pod with invalid DNS label %s: %s", longest,
			      wrong);
}

static void validate(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const BatchV1__Job *job = (BatchV1__Job *)message, *was = (BatchV1__Job *)old;
	const struct field *f = FIELD(NULL, "spec");

	check_job_spec(c, f, job->spec);
	if (was != NULL && was->spec != NULL) {
		check_update(c, f, job, was);
		return;
	}
	check_host_names(c, job);
	if (job->spec->manualselector)
		check_manual(c, f, job->spec);
	else
		check_generated(c, f, job);
}

/* --- Status ----------------------------------------------------------------------- */

static bool has_condition(const BatchV1__JobStatus *s, const char *type)
{
	for (size_t i = 0; s != NULL && i < s->n_conditions; i++)
		if (text_is(s->conditions[i]->type, type) &&
		    text_is(s->conditions[i]->status, "True"))
			return true;
	return false;
}

/* A Job that has ended stays as it ended, whoever manages it. */
static void validate_status(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const BatchV1__JobStatus *s = ((BatchV1__Job *)message)->status;
	const BatchV1__JobStatus *was = ((BatchV1__Job *)old)->status;
	const struct field *f = FIELD(NULL, "status"), *conditions = FIELD(f, "conditions");
	static const char *const final[] = { "Complete", "Failed", "SuccessCriteriaMet",
					     "FailureTarget" };
	struct index_list indexes;

	if (s == NULL)
		return;
	for (size_t i = 0; i < array_size(final); i++)
		if (has_condition(was, final[i]) && !has_condition(s, final[i]))
			check_invalid(c, conditions, final[i], "may not be taken back");
	if (has_condition(s, "Complete") && has_condition(s, "Failed"))
		check_invalid(c, conditions, "Complete",
			      "cannot set Complete=True and Failed=True "
			      "conditions");
	if (s->completiontime != NULL && !has_condition(s, "Complete"))
		check_invalid(c, FIELD(f, "completionTime"), "",
			      "cannot set completionTime when there is no Complete=True condition");
	check_not_negative(c, FIELD(f, "active"), s->active);
	check_not_negative(c, FIELD(f, "succeeded"), s->succeeded);
	check_not_negative(c, FIELD(f, "failed"), s->failed);
	if (index_list_parse(s->completedindexes, INT32_MAX, c->arena, &indexes) < 0)
		check_invalid(c, FIELD(f, "completedIndexes"), s->completedindexes,
			      "must be ascending indexes");
	if (index_list_parse(s->failedindexes, INT32_MAX, c->arena, &indexes) < 0)
		check_invalid(c, FIELD(f, "failedIndexes"), s->failedindexes,
			      "must be ascending indexes");
}

const struct strategy strategy_job = {
	.descriptor = &batch_v1__job__descriptor,
	.orphans = true,
	.prepare = prepare,
	.validate = validate,
	.validate_status = validate_status,
};
