#include <string.h>

#include "common/api/kinds.h"
#include "common/api/make.h"
#include "common/api/message.h"
#include "common/api/pack.h"
#include "controlplane/store/hash.h"
#include "controlplane/writes/subresources.h"
#include "proto/k8s/core_v1.pb-c.h"

/* The name of an event is made of what it says, so saying it again counts up the
 * same object, and a controller that repeats itself for hours holds one. */

static uint64_t event_hash(const struct intent *i)
{
	uint64_t hash = hash_add_str(0, i->base->facts.uid);

	hash = hash_add_str(hash, i->component);
	hash = hash_add_str(hash, i->reason);
	return hash_add_str(hash, i->note);
}

static CoreV1__ObjectReference *make_reference(struct arena *a, const struct object *o)
{
	CoreV1__ObjectReference *r = make(a, CoreV1__ObjectReference, core_v1__object_reference);

	r->kind = (char *)o->kind->kind;
	r->apiversion = (char *)o->kind->api_version;
	r->namespace_ = o->namespace[0] != '\0' ? arena_strdup(a, o->namespace) : NULL;
	r->name = arena_strdup(a, o->name);
	r->uid = arena_strdup(a, o->facts.uid);
	r->resourceversion = arena_printf(a, "%llu", (unsigned long long)o->revision);
	return r;
}

static CoreV1__Event *make_event(struct write_change *c, const struct intent *i, const char *name)
{
	CoreV1__Event *e = make(c->arena, CoreV1__Event, core_v1__event);

	e->metadata = make(c->arena, MetaV1__ObjectMeta, meta_v1__object_meta);
	e->metadata->name = (char *)name;
	e->involvedobject = make_reference(c->arena, i->base);
	e->reason = arena_strdup(c->arena, i->reason);
	e->message = arena_strdup(c->arena, i->note);
	e->type = arena_strdup(c->arena, i->event_type);
	e->source = make(c->arena, CoreV1__EventSource, core_v1__event_source);
	e->source->component = arena_strdup(c->arena, i->component);
	e->reportingcomponent = e->source->component;
	e->firsttimestamp = make_time(c->arena, c->context->now_ns);
	e->lasttimestamp = e->firsttimestamp;
	make_set(e, count, 1);
	return e;
}

int event_record(struct write_change *c, const struct intent *i, struct status *st)
{
	const struct kind *kind = kind_of_resource("events");
	const char *namespace = i->base->namespace[0] != '\0' ? i->base->namespace : "default";
	const char *name = arena_printf(c->arena, "%.200s.%016llx", i->base->name,
					(unsigned long long)event_hash(i));
	const struct object *old = overlay_get(c->context->overlay, kind, namespace, name);
	CoreV1__Event *event;

	if (old == NULL)
		return change_create(c, kind, namespace, &make_event(c, i, name)->base, st);
	event = unpack_stored(kind->descriptor, old->packed, c->arena);
	make_set(event, count, event->count + 1);
	event->lasttimestamp = make_time(c->arena, c->context->now_ns);
	return change_update(c, old, &event->base, "", st);
}
