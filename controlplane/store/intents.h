/* What a reconcile function wants done: values, not actions.
 *
 * Every intent passes the same defaulting and admission as a client's request
 * and becomes a plan; a refusal comes back as an event and a back-off of the
 * key. Messages belong to the caller's arena and are packed when the intent is
 * recorded. Loop thread only. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "common/base/arena.h"
#include "controlplane/store/object.h"

enum intent_type {
	INTENT_CREATE,        /* message; metadata.name or generateName */
	INTENT_UPDATE,        /* message, spec and metadata; only if still at base's revision */
	INTENT_UPDATE_STATUS, /* message, status only; only if still at base's revision */
	INTENT_DELETE,        /* base, by uid; grace_s and propagation as DELETE has them */
	INTENT_BIND,          /* pod base to node */
	INTENT_EVENT,         /* a core.v1 Event about regarding */
	INTENT_FINALIZE,      /* message; the subresource: spec.finalizers of a Namespace */
};

struct intent {
	enum intent_type type;
	const char *resource;
	const char *namespace, *name; /* name is "" for generateName. */
	const struct object *base;    /* What the decision was based on; NULL for CREATE. */
	ProtobufCMessage *message;    /* CREATE, UPDATE, UPDATE_STATUS. */
	const char *node;             /* BIND */
	int64_t grace_s;              /* DELETE: -1 is the object's own. */
	const char *propagation;      /* DELETE: NULL, "Background", "Foreground", "Orphan". */
	const char *event_type, *reason, *note; /* EVENT: Normal or Warning; reason; text. */
	const char *component; /* EVENT: who says so, e.g. "replicaset-controller". */
	struct intent *next;
};

struct intents {
	struct arena *arena;
	struct intent *first, **last;
	size_t count;
	/* Look again at this time even if nothing changes; 0: no need. */
	int64_t again_ns;
	/* What the next look at this key is to know (view.memo): text in the arena. It lives in the
	 * leader's memory only, so what is lost with it must not matter much. NULL: nothing. */
	const char *memo;
};

void intents_init(struct intents *intents, struct arena *arena);
void intend_create(struct intents *intents, const char *resource, const char *namespace,
		   ProtobufCMessage *message);
void intend_update(struct intents *intents, const struct object *base, ProtobufCMessage *message);
void intend_update_status(struct intents *intents, const struct object *base,
			  ProtobufCMessage *message);
/* Once the last finalizer is gone, so is the object. Only if still at base's revision. */
void intend_finalize(struct intents *intents, const struct object *base, ProtobufCMessage *message);
void intend_delete(struct intents *intents, const struct object *base, int64_t grace_s,
		   const char *propagation);
void intend_bind(struct intents *intents, const struct object *pod, const char *node);
void intend_event(struct intents *intents, const char *component, const struct object *regarding,
		  const char *event_type, const char *reason, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));
/* Look at this key again at time_ns at the latest. */
void intend_again(struct intents *intents, int64_t time_ns);
/* One line per intent ("create pods default/web-"), in order; what the tables of cases compare. */
char *intents_print(const struct intents *intents, struct arena *arena);
