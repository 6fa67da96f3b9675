/* Bodies of requests, and the options of writes. */
#include <errno.h>
#include <string.h>

#include "common/api/envelope.h"
#include "common/api/json.h"
#include "common/api/message.h"
#include "common/api/pack.h"
#include "common/base/cleanup.h"
#include "controlplane/apiserver/internal.h"

#define FIELD_MANAGER_MAX 128

void add_warning(struct request *r, const char *text)
{
	auto_with(buf_fini) struct buf b = { 0 };

	buf_put_str(&b, "299 - \"");
	for (const char *at = text; *at != 0; at++) {
		if (*at == '"' || *at == '\\')
			buf_put_byte(&b, '\\');
		buf_put_byte(&b, (uint8_t)*at);
	}
	buf_put_byte(&b, '"');
	exchange_add_header(r->x, "Warning", buf_cstr(&b));
}

static int validation_of(struct request *r, enum field_validation *ret_validation,
			 struct status *st)
{
	const char *text = query_get(&r->query, "fieldValidation");

	*ret_validation = FIELDS_WARN;
	if (text == NULL || *text == 0 || strcmp(text, "Warn") == 0)
		return 0;
	if (strcmp(text, "Strict") == 0)
		*ret_validation = FIELDS_STRICT;
	else if (strcmp(text, "Ignore") == 0)
		*ret_validation = FIELDS_IGNORE;
	else
		return status_set(st, -EBADMSG,
				  "the query parameter fieldValidation must be Ignore, Warn or "
				  "Strict, not \"%.64s\"",
				  text);
	return 0;
}

/* Old clients evict with the version that had the same message before. */
static bool is_older_eviction(const char *kind, const char *read_version)
{
	return strcmp(kind, "Eviction") == 0 && strcmp(read_version, "policy/v1beta1") == 0;
}

/* What the body says it is must be what the path says. Both may be left out. */
static int type_check(const char *api_version, const char *kind, const char *read_version,
		      const char *read_kind, struct status *st)
{
	if (read_version != NULL && *read_version != 0 && strcmp(read_version, api_version) != 0 &&
	    !is_older_eviction(kind, read_version))
		return status_set(
			st, -EBADMSG,
			"the API version in the data (%.256s) does not match the expected "
			"API version (%s)",
			read_version, api_version);
	if (read_kind != NULL && *read_kind != 0 && strcmp(read_kind, kind) != 0)
		return status_set(
			st, -EBADMSG,
			"%.256s in version \"%s\" cannot be handled as a %s: the kind in the "
			"data does not match",
			read_kind, api_version, kind);
	return 0;
}

static int read_protobuf(struct request *r, const ProtobufCMessageDescriptor *descriptor,
			 const char *api_version, const char *kind, void **ret_message,
			 struct status *st)
{
	struct envelope envelope;
	int rc = envelope_open(r->x->body, &r->arena, &envelope, st);

	if (rc == 0)
		rc = type_check(api_version, kind, envelope.api_version, envelope.kind, st);
	if (rc == 0)
		rc = unpack_message(descriptor, envelope.raw, &r->body, ret_message, st);
	return rc;
}

static int read_json(struct request *r, const ProtobufCMessageDescriptor *descriptor,
		     const char *api_version, const char *kind, void **ret_message,
		     struct status *st)
{
	struct json_read read = { 0 };
	int rc = validation_of(r, &read.validation, st);

	if (rc < 0)
		return rc;
	rc = json_read_message(descriptor, r->x->body, &r->body, &read, ret_message, st);
	if (rc < 0) {
		/* The type is the better complaint when the body is of another one. */
		if (type_check(api_version, kind, read.api_version, read.kind, st) == 0 &&
		    rc == -EBADMSG)
			status_prefix(st, "%s in version \"%s\" cannot be handled as a %s", kind,
				      strrchr(api_version, '/') ? strrchr(api_version, '/') + 1
								: api_version,
				      kind);
		return rc;
	}
	rc = type_check(api_version, kind, read.api_version, read.kind, st);
	for (size_t i = 0; rc == 0 && read.validation == FIELDS_WARN && i < read.n_complaints; i++)
		add_warning(r, read.complaints[i]);
	return rc;
}

int body_read(struct request *r, const ProtobufCMessageDescriptor *descriptor,
	      const char *api_version, const char *kind, void **ret_message, struct status *st)
{
	enum body_type type;
	int rc = body_type_of(exchange_header(r->x, "content-type"), false, &type, st);

	if (rc < 0)
		return rc;
	if (r->x->body.len == 0)
		return status_set(st, -EBADMSG,
				  "the body of the request is empty: a %s is expected", kind);
	return type == BODY_PROTOBUF
		       ? read_protobuf(r, descriptor, api_version, kind, ret_message, st)
		       : read_json(r, descriptor, api_version, kind, ret_message, st);
}

static int dry_run_check(const char *text, bool *dry_run, struct status *st)
{
	if (text == NULL || *text == 0)
		return 0;
	if (strcmp(text, "All") == 0) {
		*dry_run = true;
		return 0;
	}
	status_set(
		st, -EINVAL,
		"DryRun \"\" is invalid: dryRun: Unsupported value: \"%.64s\": supported values: "
		"\"All\"",
		text);
	status_cause(st, "FieldValueNotSupported", "dryRun",
		     "Unsupported value: \"%.64s\": supported values: \"All\"", text);
	return -EINVAL;
}

int write_options_check(struct request *r, bool *ret_dry_run, struct status *st)
{
	const char *manager = query_get(&r->query, "fieldManager");
	enum field_validation validation;
	int rc = validation_of(r, &validation, st);

	*ret_dry_run = false;
	for (size_t i = 0; rc == 0 && i < r->query.n; i++)
		if (strcmp(r->query.pairs[i].name, "dryRun") == 0)
			rc = dry_run_check(r->query.pairs[i].value, ret_dry_run, st);
	if (rc < 0 || manager == NULL)
		return rc;
	if (strlen(manager) > FIELD_MANAGER_MAX)
		return status_set(st, -EBADMSG, "fieldManager may not be longer than %d bytes",
				  FIELD_MANAGER_MAX);
	for (const char *at = manager; *at != 0; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			return status_set(st, -EBADMSG,
					  "fieldManager must hold printable characters only");
	return 0;
}

/* The query's options win where the body says nothing. */
static int delete_query(struct request *r, MetaV1__DeleteOptions *o, struct status *st)
{
	const char *policy = query_get(&r->query, "propagationPolicy");
	const char *grace = query_get(&r->query, "gracePeriodSeconds");
	const char *orphan = query_get(&r->query, "orphanDependents");
	int rc = 0;

	if (policy != NULL && *policy != 0 && o->propagationpolicy == NULL)
		o->propagationpolicy = (char *)policy;
	if (grace != NULL && *grace != 0 && !o->has_graceperiodseconds) {
		o->has_graceperiodseconds = true;
		rc = query_int(&r->query, "gracePeriodSeconds", 0, &o->graceperiodseconds, st);
	}
	if (rc == 0 && orphan != NULL && !o->has_orphandependents) {
		bool value;

		rc = query_bool(&r->query, "orphanDependents", false, &value, st);
		o->has_orphandependents = true;
		o->orphandependents = value;
	}
	return rc;
}

static int delete_check(const MetaV1__DeleteOptions *o, struct status *st)
{
	const char *policy = o->propagationpolicy;

	if (policy != NULL && *policy != 0 && o->has_orphandependents) {
		status_set(
			st, -EINVAL,
			"DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Invalid "
			"value: \"%.64s\": orphanDependents and propagationPolicy cannot be both "
			"set",
			policy);
		return -EINVAL;
	}
	if (policy == NULL || *policy == 0 || strcmp(policy, "Background") == 0 ||
	    strcmp(policy, "Foreground") == 0 || strcmp(policy, "Orphan") == 0)
		return 0;
	status_set(
		st, -EINVAL,
		"DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: "
		"\"%.64s\": supported values: \"Foreground\", \"Background\", \"Orphan\"",
		policy);
	status_cause(st, "FieldValueNotSupported", "propagationPolicy",
		     "Unsupported value: \"%.64s\": supported values: \"Foreground\", "
		     "\"Background\", \"Orphan\"",
		     policy);
	return -EINVAL;
}

int delete_options_read(struct request *r, MetaV1__DeleteOptions **ret_options, bool *ret_dry_run,
			struct status *st)
{
	MetaV1__DeleteOptions *o = message_new(&meta_v1__delete_options__descriptor, &r->body);
	int rc = write_options_check(r, ret_dry_run, st);

	if (rc == 0 && r->x->body.len > 0) {
		/* Its type is v1, meta.k8s.io/v1 or the group's own: whatever it is, it is this. */
		bool protobuf = envelope_is(r->x->body);

		if (protobuf) {
			struct envelope envelope;

			rc = envelope_open(r->x->body, &r->arena, &envelope, st);
			if (rc == 0)
				rc = unpack_message(&meta_v1__delete_options__descriptor,
						    envelope.raw, &r->body, &o, st);
		} else {
			rc = json_read_message(&meta_v1__delete_options__descriptor, r->x->body,
					       &r->body, NULL, &o, st);
		}
	}
	if (rc == 0)
		rc = delete_query(r, o, st);
	for (size_t i = 0; rc == 0 && i < o->n_dryrun; i++)
		rc = dry_run_check(o->dryrun[i], ret_dry_run, st);
	if (rc == 0)
		rc = delete_check(o, st);
	*ret_options = o;
	return rc;
}
