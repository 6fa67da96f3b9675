#include "controlplane/store/intents.h"

#include <string.h>

#include "common/api/kinds.h"
#include "common/api/message.h"
#include "common/base/buf.h"
#include "common/base/cleanup.h"

void intents_init(struct intents *intents, struct arena *arena)
{
	*intents = (struct intents){ .arena = arena };
	intents->last = &intents->first;
}

static struct intent *intend(struct intents *intents, enum intent_type type)
{
	struct intent *intent = arena_new(intents->arena, struct intent);

	intent->type = type;
	intent->grace_s = -1;
	*intents->last = intent;
	intents->last = &intent->next;
	intents->count++;
	return intent;
}

static struct intent *intend_on(struct intents *intents, enum intent_type type,
				const struct object *base)
{
	struct intent *intent = intend(intents, type);

	intent->base = base;
	intent->resource = base->kind->resource;
	intent->namespace = base->namespace;
	intent->name = base->name;
	return intent;
}

void intend_create(struct intents *intents, const char *resource, const char *namespace,
		   ProtobufCMessage *message)
{
	struct intent *intent = intend(intents, INTENT_CREATE);
	const MetaV1__ObjectMeta *meta = message_metadata(message);

	intent->resource = resource;
	intent->namespace = arena_strdup(intents->arena, namespace);
	intent->name = meta != NULL && meta->name != NULL ? meta->name : "";
	intent->message = message;
}

void intend_update(struct intents *intents, const struct object *base, ProtobufCMessage *message)
{
	intend_on(intents, INTENT_UPDATE, base)->message = message;
}

void intend_update_status(struct intents *intents, const struct object *base,
			  ProtobufCMessage *message)
{
	intend_on(intents, INTENT_UPDATE_STATUS, base)->message = message;
}

void intend_finalize(struct intents *intents, const struct object *base, ProtobufCMessage *message)
{
	intend_on(intents, INTENT_FINALIZE, base)->message = message;
}

void intend_delete(struct intents *intents, const struct object *base, int64_t grace_s,
		   const char *propagation)
{
	struct intent *intent = intend_on(intents, INTENT_DELETE, base);

	intent->grace_s = grace_s;
	intent->propagation = propagation;
}

void intend_bind(struct intents *intents, const struct object *pod, const char *node)
{
	intend_on(intents, INTENT_BIND, pod)->node = arena_strdup(intents->arena, node);
}

void intend_event(struct intents *intents, const char *component, const struct object *regarding,
		  const char *event_type, const char *reason, const char *fmt, ...)
{
	struct intent *intent = intend_on(intents, INTENT_EVENT, regarding);
	va_list args;

	va_start(args, fmt);
	intent->note = arena_vprintf(intents->arena, fmt, args);
	va_end(args);
	intent->component = component;
	intent->event_type = event_type;
	intent->reason = reason;
}

void intend_again(struct intents *intents, int64_t time_ns)
{
	if (intents->again_ns == 0 || time_ns < intents->again_ns)
		intents->again_ns = time_ns;
}

/* --- As text ----------------------------------------------------------------------- */

static void print_key(struct buf *b, const struct intent *i)
{
	buf_printf(b, " %s ", i->resource);
	if (i->namespace[0] != '\0')
		buf_printf(b, "%s/", i->namespace);
	if (i->name[0] != '\0') {
		buf_put_str(b, i->name);
		return;
	}

	const MetaV1__ObjectMeta *meta = i->message != NULL ? message_metadata(i->message) : NULL;

	if (meta != NULL && meta->generatename != NULL)
		buf_put_str(b, meta->generatename);
}

static void print_intent(struct buf *b, const struct intent *i)
{
	static const char *const verbs[] = {
		[INTENT_CREATE] = "create",
		[INTENT_UPDATE] = "update",
		[INTENT_UPDATE_STATUS] = "status",
		[INTENT_DELETE] = "delete",
		[INTENT_BIND] = "bind",
		[INTENT_EVENT] = "event",
		[INTENT_FINALIZE] = "finalize",
	};

	buf_put_str(b, verbs[i->type]);
	print_key(b, i);
	if (i->type == INTENT_BIND)
		buf_printf(b, " %s", i->node);
	if (i->type == INTENT_EVENT)
		buf_printf(b, " %s %s: %s", i->event_type, i->reason, i->note);
	if (i->type == INTENT_DELETE && i->grace_s >= 0)
		buf_printf(b, " grace=%lld", (long long)i->grace_s);
	if (i->type == INTENT_DELETE && i->propagation != NULL)
		buf_printf(b, " %s", i->propagation);
	buf_put_byte(b, '\n');
}

char *intents_print(const struct intents *intents, struct arena *arena)
{
	auto_with(buf_fini) struct buf b = { 0 };

	for (const struct intent *i = intents->first; i != NULL; i = i->next)
		print_intent(&b, i);
	return arena_strdup(arena, buf_cstr(&b));
}
