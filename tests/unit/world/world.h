/* A small cluster in memory for tests of deciding code: a store filled from
 * JSON, a reader for admission, and a driver that runs controllers until
 * nothing is left to do. In JSON texts of tests, ' stands for ". */
#pragma once

#include "common/base/arena.h"
#include "common/base/source.h"
#include "controlplane/admission/admission.h"
#include "controlplane/controllers/controller.h"
#include "controlplane/store/view.h"

struct world {
	struct store *store;
	struct arena arena; /* Lives as long as the world. */
	struct seeded_source source;
	struct cluster_config config;
	struct admission_reader reader;
	int64_t now_ns;
	/* Of every node: how long it has been silent; nodes by name, NULL ends. */
	const char *silent_node;
	int64_t silence_ms;
	/* Creates of controllers are refused (403) when there are so many objects of that resource;
	 * NULL: never. What controllers say to a refusal is applied, too. */
	const char *quota_resource;
	size_t quota, refusals;
	size_t writes; /* Plans applied. */
};

void world_init(struct world *w);
void world_fini(struct world *w);

/* ' becomes ". */
char *world_json(struct world *w, const char *text);
/* The message of a text with apiVersion and kind; fails the test when it cannot be read. */
ProtobufCMessage *world_message(struct world *w, const char *text, const struct kind **ret_kind);
/* Puts the object as it is, without admission; a uid that the text lacks is "uid-<name>". */
const struct object *world_put(struct world *w, const char *text);
/* Through admission, like a client's create. Returns NULL with the reason in st (may be NULL). */
const struct object *world_create(struct world *w, const char *text, struct status *st);
int world_update(struct world *w, const char *text, const char *subresource, struct status *st);
/* Like a client's delete; grace -1 is the object's own. */
int world_delete(struct world *w, const char *resource, const char *namespace, const char *name,
		 int64_t grace_s, const char *propagation);
const struct object *world_get(struct world *w, const char *resource, const char *namespace,
			       const char *name);
/* The object as JSON. */
char *world_print(struct world *w, const struct object *o);
size_t world_count(struct world *w, const char *resource);

struct view world_view(struct world *w);
/* What one reconcile intends, as text (events left out unless events is set). */
char *world_reconcile(struct world *w, const struct controller *c, const char *namespace,
		      const char *name, bool events);
/* The same for the plan of that reconcile when its create number n (from 0) is refused. */
char *world_refused(struct world *w, const struct controller *c, const char *namespace,
		    const char *name, size_t n);
/* Applies intents the way the leader does: admission, then one plan. 0, or what was refused. */
int world_apply(struct world *w, const struct intents *intents, struct status *st);
/* Runs all controllers on everything, again and again, until nothing changes; then the earliest
 * time somebody asked for (0: nobody). Fails the test after 200 rounds. */
int64_t world_settle(struct world *w);
