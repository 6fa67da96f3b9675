#include "controlplane/writes/subresources.h"

#include <errno.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/message.h"
#include "common/api/pack.h"
#include "common/api/scale.h"
#include "proto/k8s/autoscaling_v1.pb-c.h"
#include "proto/k8s/certificates_v1.pb-c.h"
#include "proto/k8s/core_v1.pb-c.h"

static int unsupported(struct status *st, const struct object *o, const char *subresource)
{
	status_set(st, -EOPNOTSUPP, "the server does not allow this method on %s/%s",
		   o->kind->resource, subresource);
	return status_http(st, 405, "MethodNotAllowed");
}

/* --- Binding ---------------------------------------------------------------------- */

static int create_binding(struct write_change *c, const struct object *o,
			  const CoreV1__Binding *binding, struct status *st)
{
	ProtobufCMessage *message;
	int rc = change_binding(c, o, binding, &message, st);

	if (rc < 0)
		return rc;
	return change_put(c, o->kind, o, o->namespace, o->name, message, o->claims, o->n_claims,
			  st);
}

int pod_bind(struct write_change *c, const struct object *o, const char *node, struct status *st)
{
	CoreV1__ObjectReference target = CORE_V1__OBJECT_REFERENCE__INIT;
	CoreV1__Binding binding = CORE_V1__BINDING__INIT;

	target.kind = (char *)"Node";
	target.name = (char *)node;
	binding.target = &target;
	return create_binding(c, o, &binding, st);
}

int subresource_create(struct write_change *c, const struct object *old, const char *subresource,
		       ProtobufCMessage *body, struct status *st)
{
	if (body->descriptor == &core_v1__binding__descriptor)
		return create_binding(c, old, (const CoreV1__Binding *)body, st);
	if (body->descriptor == &policy_v1__eviction__descriptor)
		return pod_evict(c, old, (const PolicyV1__Eviction *)body, st);
	return unsupported(st, old, subresource);
}

/* --- Scale and approval ------------------------------------------------------------ */

static int update_scale(struct write_change *c, const struct object *old,
			const AutoscalingV1__Scale *scale, struct status *st)
{
	ProtobufCMessage *message = unpack_stored(old->kind->descriptor, old->packed, c->arena);

	if (scale->spec != NULL && scale->spec->replicas < 0) {
		status_cause(st, "FieldValueInvalid", "spec.replicas",
			     "Invalid value: %d: must be greater than or equal to 0",
			     scale->spec->replicas);
		return status_set(st, -EINVAL,
				  "Scale.autoscaling \"%s\" is invalid: spec.replicas: Invalid "
				  "value: %d: must be greater than or equal to 0",
				  old->name, scale->spec->replicas);
	}
	if (!scale_to(scale, message, c->arena))
		return unsupported(st, old, "scale");
	return change_update(c, old, message, "", st);
}

/* Only the conditions come from the client. */
static int update_approval(struct write_change *c, const struct object *old,
			   const CertificatesV1__CertificateSigningRequest *given,
			   struct status *st)
{
	CertificatesV1__CertificateSigningRequest *csr =
		unpack_stored(old->kind->descriptor, old->packed, c->arena);

	if (csr->status == NULL)
		csr->status = message_new(
			&certificates_v1__certificate_signing_request_status__descriptor, c->arena);
	csr->status->conditions = given->status != NULL ? given->status->conditions : NULL;
	csr->status->n_conditions = given->status != NULL ? given->status->n_conditions : 0;
	return change_update(c, old, &csr->base, "status", st);
}

int subresource_update(struct write_change *c, const struct object *old, const char *subresource,
		       ProtobufCMessage *body, struct status *st)
{
	if (body->descriptor == &autoscaling_v1__scale__descriptor)
		return update_scale(c, old, (const AutoscalingV1__Scale *)body, st);
	if (strcmp(subresource, "approval") == 0)
		return update_approval(c, old,
				       (const CertificatesV1__CertificateSigningRequest *)body, st);
	return unsupported(st, old, subresource);
}

int subresource_show(struct write_change *c, const struct object *old, const char *subresource,
		     struct bytes *ret_packed, struct status *st)
{
	AutoscalingV1__Scale *scale = NULL;

	if (strcmp(subresource, "scale") == 0)
		scale = scale_from(old->kind, old->packed, 0, c->arena);
	if (scale == NULL)
		return unsupported(st, old, subresource);
	*ret_packed = pack_message_in(c->arena, scale);
	return 0;
}
