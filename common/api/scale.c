#include "common/api/scale.h"

#include <string.h>

#include "common/api/labels.h"
#include "common/api/message.h"
#include "common/api/pack.h"
#include "proto/k8s/core_v1.pb-c.h"

/* The field of a message by its JSON name, or NULL. */
static const ProtobufCFieldDescriptor *field(const ProtobufCMessage *m, const char *name,
					     ProtobufCType type)
{
	const struct schema *s = schema_of(m->descriptor);
	const struct schema_field *f = s != NULL ? schema_find(s, name, strlen(name)) : NULL;

	if (f == NULL || f->type != type)
		return NULL;
	return protobuf_c_message_descriptor_get_field(m->descriptor, f->number);
}

static int32_t get_int(const ProtobufCMessage *m, const char *name)
{
	const ProtobufCFieldDescriptor *f =
		m != NULL ? field(m, name, PROTOBUF_C_TYPE_INT32) : NULL;

	if (f == NULL || !*(const protobuf_c_boolean *)((const char *)m + f->quantifier_offset))
		return 0;
	return *(const int32_t *)((const char *)m + f->offset);
}

/* The selector as a query: of a LabelSelector message, or of a plain map. */
static const char *selector_text(const ProtobufCMessage *spec, struct arena *a)
{
	const ProtobufCMessage *selector = message_child(spec, "selector");
	struct label_selector parsed;

	if (spec->descriptor == &core_v1__replication_controller_spec__descriptor) {
		const CoreV1__ReplicationControllerSpec *s =
			(const CoreV1__ReplicationControllerSpec *)spec;

		label_selector_of_map((struct string_entry *const *)s->selector, s->n_selector, a,
				      &parsed);
		return label_selector_print(&parsed, a);
	}
	if (selector == NULL || selector->descriptor != &meta_v1__label_selector__descriptor ||
	    label_selector_of((const MetaV1__LabelSelector *)selector, a, &parsed, NULL) < 0)
		return NULL;
	return label_selector_print(&parsed, a);
}

static MetaV1__ObjectMeta *copy_metadata(const MetaV1__ObjectMeta *meta, uint64_t revision,
					 struct arena *a)
{
	MetaV1__ObjectMeta *copy = message_new(&meta_v1__object_meta__descriptor, a);

	copy->name = meta->name;
	copy->namespace_ = meta->namespace_;
	copy->uid = meta->uid;
	copy->creationtimestamp = meta->creationtimestamp;
	if (revision != 0)
		copy->resourceversion = arena_printf(a, "%llu", (unsigned long long)revision);
	return copy;
}

AutoscalingV1__Scale *scale_from(const struct kind *kind, struct bytes packed, uint64_t revision,
				 struct arena *a)
{
	const ProtobufCMessage *object = unpack_stored(kind->descriptor, packed, a);
	const ProtobufCMessage *spec = message_child(object, "spec");
	const ProtobufCMessage *status = message_child(object, "status");
	const MetaV1__ObjectMeta *meta = message_metadata(object);

	if (spec == NULL || meta == NULL || field(spec, "replicas", PROTOBUF_C_TYPE_INT32) == NULL)
		return NULL;

	AutoscalingV1__Scale *scale = message_new(&autoscaling_v1__scale__descriptor, a);

	scale->metadata = copy_metadata(meta, revision, a);
	scale->spec = message_new(&autoscaling_v1__scale_spec__descriptor, a);
	scale->spec->has_replicas = true;
	scale->spec->replicas = get_int(spec, "replicas");
	scale->status = message_new(&autoscaling_v1__scale_status__descriptor, a);
	scale->status->has_replicas = true;
	scale->status->replicas = get_int(status, "replicas");
	scale->status->selector = (char *)selector_text(spec, a);
	return scale;
}

bool scale_to(const AutoscalingV1__Scale *scale, void *message, struct arena *a)
{
	ProtobufCMessage *spec = message_child(message, "spec");
	const ProtobufCFieldDescriptor *f =
		spec != NULL ? field(spec, "replicas", PROTOBUF_C_TYPE_INT32) : NULL;

	if (f == NULL)
		return false;
	*(protobuf_c_boolean *)((char *)spec + f->quantifier_offset) = true;
	*(int32_t *)((char *)spec + f->offset) = scale->spec != NULL ? scale->spec->replicas : 0;
	return true;
}
