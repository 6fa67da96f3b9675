#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/pack.h"
#include "controlplane/writes/internal.h"
#include "controlplane/writes/status_message.h"

typedef SampanMaster__WriteResponse WriteResponse;

void response_fail(WriteResponse *response, const struct status *st, struct arena *a)
{
	struct bytes packed = pack_message_in(a, status_message(st, a));

	response->has_code = response->has_status = true;
	response->code = st->http_code;
	response->status = (ProtobufCBinaryData){ packed.len, (uint8_t *)packed.data };
}

static void set_object(WriteResponse *response, struct bytes packed, uint64_t revision)
{
	response->has_object = response->has_revision = true;
	response->object = (ProtobufCBinaryData){ packed.len, (uint8_t *)packed.data };
	response->revision = revision;
}

/* Done by an earlier leader: the history tells what became of the object, if it still knows. */
static void answer_known(struct writes *w, struct incoming *i, WriteResponse *response)
{
	const struct change *change = store_change(w->config.store, i->known_revision);
	const struct object *o = NULL;

	response->has_code = response->has_deleted = true;
	response->code = 200;
	if (i->request != NULL && i->request->verb == SAMPAN_MASTER__WRITE_REQUEST__VERB__CREATE)
		response->code = 201;
	if (change != NULL) {
		o = change->new != NULL ? change->new : change->old;
		response->deleted = change->new == NULL;
	}
	i->change.context = &w->context;
	i->change.arena = &i->arena;
	if (o != NULL)
		set_object(response, change_clear(&i->change, o), o->revision);
}

static void answer_decided(struct incoming *i, WriteResponse *response)
{
	response->has_code = response->has_deleted = true;
	response->code = i->decision.code;
	response->deleted = i->change.removed;
	set_object(response, i->change.packed, i->change.revision);
	response->n_warnings = i->change.n_warnings;
	response->warnings = (char **)i->change.warnings;
}

static void deliver(struct writes *w, struct incoming *i, WriteResponse *response)
{
	if (i->outgoing != NULL) {
		struct outgoing *o = i->outgoing;

		o->incoming = NULL;
		i->outgoing = NULL;
		outgoing_local(o, response);
	} else if (i->asked.from != 0) {
		SampanMaster__Message message = SAMPAN_MASTER__MESSAGE__INIT;

		message.written = response;
		rpc_reply(w->config.rpc, i->asked, &message);
	}
}

void incoming_free(struct writes *w, struct incoming *i)
{
	list_remove(&i->link);
	if (i->session != 0)
		tree_remove(&w->incoming, &i->by_sequence);
	if (i->outgoing != NULL)
		i->outgoing->incoming = NULL;
	status_fini(&i->st);
	arena_fini(&i->arena);
	arena_fini(&i->body);
	free(i);
}

void incoming_answer(struct writes *w, struct incoming *i)
{
	WriteResponse response = SAMPAN_MASTER__WRITE_RESPONSE__INIT;

	list_remove(&i->link);
	if (i->intents_done != NULL) {
		i->intents_done(i->intents_ctx, i->st.rc);
	} else {
		if (i->st.rc == -EKEYEXPIRED) {
			response.has_rc = true;
			response.rc = i->st.rc;
		} else if (i->st.rc < 0) {
			response_fail(&response, &i->st, &i->arena);
		} else if (i->known) {
			answer_known(w, i, &response);
		} else {
			answer_decided(i, &response);
		}
		response.has_session_open = true;
		response.session_open = store_has_session(w->config.store, i->session);
		deliver(w, i, &response);
	}
	incoming_free(w, i);
}
