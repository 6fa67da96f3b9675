#include "common/api/convert.h"

#include <assert.h>
#include <string.h>

#include "common/api/convert_hpa.h"
#include "common/api/message.h"
#include "common/api/pack.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "proto/k8s/events_v1.pb-c.h"

static EventsV1__Event *event_of_core(const CoreV1__Event *core, struct arena *arena)
{
	EventsV1__Event *e = message_new(&events_v1__event__descriptor, arena);

	e->metadata = core->metadata;
	e->eventtime = core->eventtime;
	e->reportingcontroller = core->reportingcomponent;
	e->reportinginstance = core->reportinginstance;
	e->action = core->action;
	e->reason = core->reason;
	e->regarding = core->involvedobject;
	e->related = core->related;
	e->note = core->message;
	e->type = core->type;
	e->deprecatedsource = core->source;
	e->deprecatedfirsttimestamp = core->firsttimestamp;
	e->deprecatedlasttimestamp = core->lasttimestamp;
	e->has_deprecatedcount = core->has_count;
	e->deprecatedcount = core->count;
	if (core->series != NULL) {
		e->series = message_new(&events_v1__event_series__descriptor, arena);
		e->series->has_count = core->series->has_count;
		e->series->count = core->series->count;
		e->series->lastobservedtime = core->series->lastobservedtime;
	}
	return e;
}

static CoreV1__Event *core_of_event(const EventsV1__Event *e, struct arena *arena)
{
	CoreV1__Event *core = message_new(&core_v1__event__descriptor, arena);

	core->metadata = e->metadata;
	core->eventtime = e->eventtime;
	core->reportingcomponent = e->reportingcontroller;
	core->reportinginstance = e->reportinginstance;
	core->action = e->action;
	core->reason = e->reason;
	core->involvedobject = e->regarding;
	core->related = e->related;
	core->message = e->note;
	core->type = e->type;
	core->source = e->deprecatedsource;
	core->firsttimestamp = e->deprecatedfirsttimestamp;
	core->lasttimestamp = e->deprecatedlasttimestamp;
	core->has_count = e->has_deprecatedcount;
	core->count = e->deprecatedcount;
	if (e->series != NULL) {
		core->series = message_new(&core_v1__event_series__descriptor, arena);
		core->series->has_count = e->series->has_count;
		core->series->count = e->series->count;
		core->series->lastobservedtime = e->series->lastobservedtime;
	}
	return core;
}

void *convert_message(const struct kind *from, const struct kind *to, const void *message,
		      struct arena *arena)
{
	if (from->descriptor == to->descriptor)
		return (void *)message;
	if (from->descriptor == &core_v1__event__descriptor) {
		assert(to->descriptor == &events_v1__event__descriptor);
		return event_of_core(message, arena);
	}
	if (from->descriptor == &events_v1__event__descriptor) {
		assert(to->descriptor == &core_v1__event__descriptor);
		return core_of_event(message, arena);
	}
	if (from->descriptor == &autoscaling_v2__horizontal_pod_autoscaler__descriptor) {
		assert(to->descriptor == &autoscaling_v1__horizontal_pod_autoscaler__descriptor);
		return hpa_v1_of_v2(message, arena);
	}
	assert(from->descriptor == &autoscaling_v1__horizontal_pod_autoscaler__descriptor);
	assert(to->descriptor == &autoscaling_v2__horizontal_pod_autoscaler__descriptor);
	return hpa_v2_of_v1(message, arena);
}

const struct kind *kind_view(const struct kind *stored, const char *api_version)
{
	const struct kind *kind = kind_of_type(api_version, stored->kind);

	return kind != NULL && kind_stored(kind) == stored ? kind : NULL;
}

struct bytes convert_packed(const struct kind *from, const struct kind *to, struct bytes packed,
			    struct arena *arena)
{
	void *message = unpack_stored(from->descriptor, packed, arena);

	return pack_message_in(arena, convert_message(from, to, message, arena));
}
