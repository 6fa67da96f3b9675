/* Deployments, ReplicaSets and PodTemplates: templates kept running. */
#include <string.h>

#include "common/api/labels.h"
#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "controlplane/admission/workloads.h"
#include "proto/k8s/apps_v1.pb-c.h"

/* The labels of a template as JSON. */
static const char *labels_json(struct arena *a, const MetaV1__ObjectMeta *meta)
{
	auto_with(buf_fini) struct buf json = { 0 };

	if (meta->n_labels == 0)
		return "null";
	for (size_t i = 0; i < meta->n_labels; i++)
		buf_printf(&json, "%s%s:%s", i ? "," : "{", quoted(a, meta->labels[i]->key),
			   quoted(a, meta->labels[i]->value));
	return arena_printf(a, "%s}", buf_cstr(&json));
}

static void check_template_labels(struct checks *c, const struct field *f,
				  const struct label_selector *selector,
				  const CoreV1__PodTemplateSpec *template)
{
	const MetaV1__ObjectMeta *meta = template ? template->metadata : NULL;
	MetaV1__ObjectMeta none = META_V1__OBJECT_META__INIT;

	if (meta == NULL)
		meta = &none;
	if (!label_selector_matches_map(selector, (struct string_entry *const *)meta->labels,
					meta->n_labels))
		check_invalid_text(c, FIELD(FIELD(FIELD(f, "template"), "metadata"), "labels"),
				   labels_json(c->arena, meta),
				   "`selector` does not match template `labels`");
}

void check_workload_selector(struct checks *c, const struct field *f,
			     const MetaV1__LabelSelector *s,
			     const CoreV1__PodTemplateSpec *template, const char *kind)
{
	const struct field *at = FIELD(f, "selector");
	struct label_selector selector;

	if (s == NULL) {
		check_required(c, at, "");
		return;
	}
	check_label_selector(c, at, s);
	if (s->n_matchlabels == 0 && s->n_matchexpressions == 0) {
		check_invalid_message(c, at, &s->base, "empty selector is invalid for %s", kind);
		return;
	}
	if (c->n > 0 || label_selector_of(s, c->arena, &selector, NULL) < 0)
		return;

	check_template_labels(c, f, &selector, template);
}

void check_workload_template(struct checks *c, const struct field *f,
			     const CoreV1__PodTemplateSpec *t, const char *kind)
{
	if (t == NULL) {
		check_required(c, f, "");
		return;
	}
	if (t->metadata != NULL)
		check_labels(c, FIELD(f, "labels"),
			     (struct string_entry *const *)t->metadata->labels,
			     t->metadata->n_labels);
	check_pod_spec(c, FIELD(f, "spec"), t->spec, NULL);
	if (t->spec == NULL)
		return;
	if (!text_is(t->spec->restartpolicy, "Always"))
		check_unsupported(c, FIELD(FIELD(f, "spec"), "restartPolicy"),
				  t->spec->restartpolicy, (const char *const[]){ "Always", NULL });
	if (t->spec->has_activedeadlineseconds)
		check_forbidden(c, FIELD(FIELD(f, "spec"), "activeDeadlineSeconds"),
				"activeDeadlineSeconds in %s is not Supported", kind);
}

int check_amount(struct checks *c, const struct field *f, const Intstr__IntOrString *v,
		 bool *ret_percent)
{
	*ret_percent = false;
	if (v == NULL)
		return 0;
	if (v->type == 0) {
		check_not_negative(c, f, v->intval);
		return v->intval;
	}

	const char *text = text_of(v->strval);
	size_t digits = strspn(text, "0123456789");

	*ret_percent = true;
	if (digits == 0 || digits > 7 || strcmp(text + digits, "%") != 0) {
		check_invalid(c, f, text,
			      "a valid percent string must be a numeric string followed by an "
			      "ending '%%' (e.g. '1%%',  or '93%%', regex used for validation is "
			      "'[0-9]+%%')");
		return -1;
	}

	int n = 0;

	for (size_t i = 0; i < digits; i++)
		n = n * 10 + (text[i] - '0');
	return n;
}

void check_part(struct checks *c, const struct field *f, int64_t part, int64_t all,
		const char *whole)
{
	check_not_negative(c, f, part);
	if (part > all)
		check_invalid_int(c, f, part, "cannot be greater than %s", whole);
}

static void check_strategy(struct checks *c, const struct field *f,
			   const AppsV1__DeploymentStrategy *s)
{
	const struct field *rolling = FIELD(f, "rollingUpdate");
	bool percent;

	if (s == NULL)
		return;
	if (text_is(s->type, "Recreate")) {
		if (s->rollingupdate != NULL)
			check_forbidden(c, rolling,
					"may not be specified when strategy `type` is 'Recreate'");
		return;
	}
	if (!text_is(s->type, "RollingUpdate"))
		return; /* The enumeration is checked elsewhere. */
	if (s->rollingupdate == NULL) {
		check_required(c, rolling, "this should be defaulted and never be nil");
		return;
	}

	int surge =
		check_amount(c, FIELD(rolling, "maxSurge"), s->rollingupdate->maxsurge, &percent);
	int down = check_amount(c, FIELD(rolling, "maxUnavailable"),
				s->rollingupdate->maxunavailable, &percent);

	if (percent && down > 100)
		check_invalid(c, FIELD(rolling, "maxUnavailable"),
			      s->rollingupdate->maxunavailable->strval,
			      "must not be greater than 100%%");
	if (surge == 0 && down == 0)
		check_invalid_text(c, FIELD(rolling, "maxUnavailable"), percent ? "\"0%\"" : "0",
				   "may not be 0 when `maxSurge` is 0");
}

static void validate_deployment(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const AppsV1__DeploymentSpec *spec = ((AppsV1__Deployment *)message)->spec;
	const struct field *f = FIELD(NULL, "spec");

	if (spec == NULL) {
		check_required(c, FIELD(f, "selector"), "");
		return;
	}
	check_not_negative(c, FIELD(f, "replicas"), spec->replicas);
	check_workload_selector(c, f, spec->selector, spec->template_, "deployment");
	check_workload_template(c, FIELD(f, "template"), spec->template_, "ReplicaSet");
	check_strategy(c, FIELD(f, "strategy"), spec->strategy);
	check_not_negative(c, FIELD(f, "minReadySeconds"), spec->minreadyseconds);
	check_not_negative(c, FIELD(f, "revisionHistoryLimit"), spec->revisionhistorylimit);
	if (spec->has_progressdeadlineseconds) {
		check_not_negative(c, FIELD(f, "progressDeadlineSeconds"),
				   spec->progressdeadlineseconds);
		if (spec->progressdeadlineseconds <= spec->minreadyseconds)
			check_invalid_int(c, FIELD(f, "progressDeadlineSeconds"),
					  spec->progressdeadlineseconds,
					  "must be greater than minReadySeconds");
	}
	if (old != NULL && ((AppsV1__Deployment *)old)->spec != NULL)
		check_immutable(c, FIELD(f, "selector"), spec->selector,
				((AppsV1__Deployment *)old)->spec->selector);
}

static void validate_deployment_status(struct checks *c, ProtobufCMessage *message,
				       ProtobufCMessage *old)
{
	const AppsV1__DeploymentStatus *s = ((AppsV1__Deployment *)message)->status;
	const AppsV1__DeploymentStatus *before = ((AppsV1__Deployment *)old)->status;
	const struct field *f = FIELD(NULL, "status");

	if (s == NULL)
		return;
	check_not_negative(c, FIELD(f, "observedGeneration"), s->observedgeneration);
	check_not_negative(c, FIELD(f, "replicas"), s->replicas);
	check_part(c, FIELD(f, "updatedReplicas"), s->updatedreplicas, s->replicas,
		   "status.replicas");
	check_part(c, FIELD(f, "readyReplicas"), s->readyreplicas, s->replicas, "status.replicas");
	check_part(c, FIELD(f, "availableReplicas"), s->availablereplicas, s->readyreplicas,
		   "readyReplicas");
	check_not_negative(c, FIELD(f, "unavailableReplicas"), s->unavailablereplicas);
	check_not_negative(c, FIELD(f, "collisionCount"), s->collisioncount);
	if (before != NULL && s->collisioncount < before->collisioncount)
		check_invalid_int(c, FIELD(f, "collisionCount"), s->collisioncount,
				  "cannot be decremented");
}

const struct strategy strategy_deployment = {
	.descriptor = &apps_v1__deployment__descriptor,
	.validate = validate_deployment,
	.validate_status = validate_deployment_status,
};

static void validate_replica_set(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const AppsV1__ReplicaSetSpec *spec = ((AppsV1__ReplicaSet *)message)->spec;
	const struct field *f = FIELD(NULL, "spec");

	if (spec == NULL) {
		check_required(c, FIELD(f, "selector"), "");
		return;
	}
	check_not_negative(c, FIELD(f, "replicas"), spec->replicas);
	check_not_negative(c, FIELD(f, "minReadySeconds"), spec->minreadyseconds);
	check_workload_selector(c, f, spec->selector, spec->template_, "deployment");
	check_workload_template(c, FIELD(f, "template"), spec->template_, "ReplicaSet");
	if (old != NULL && ((AppsV1__ReplicaSet *)old)->spec != NULL)
		check_immutable(c, FIELD(f, "selector"), spec->selector,
				((AppsV1__ReplicaSet *)old)->spec->selector);
}

static void validate_replica_set_status(struct checks *c, ProtobufCMessage *message,
					ProtobufCMessage *old)
{
	const AppsV1__ReplicaSetStatus *s = ((AppsV1__ReplicaSet *)message)->status;

	if (s != NULL)
		check_replicas_status(c, FIELD(NULL, "status"), s);
}

const struct strategy strategy_replica_set = {
	.descriptor = &apps_v1__replica_set__descriptor,
	.validate = validate_replica_set,
	.validate_status = validate_replica_set_status,
};

static void validate_pod_template(struct checks *c, ProtobufCMessage *message,
				  ProtobufCMessage *old)
{
	const CoreV1__PodTemplateSpec *t = ((CoreV1__PodTemplate *)message)->template_;
	const struct field *f = FIELD(NULL, "template");

	if (t == NULL)
		check_required(c, f, "");
	else
		check_pod_spec(c, FIELD(f, "spec"), t->spec, NULL);
}

const struct strategy strategy_pod_template = {
	.descriptor = &core_v1__pod_template__descriptor,
	.validate = validate_pod_template,
};
