/* Entries of the log put together by hand, in one arena. A step that cannot be
 * applied fails the test. */
#pragma once

#include "common/base/arena.h"
#include "controlplane/store/store.h"
#include "proto/sampan/store.pb-c.h"

struct entry {
	struct arena arena;
	SampanStore__Entry message;
};

void entry_init(struct entry *e);
void entry_fini(struct entry *e);
/* Begin another entry in the same memory. */
void entry_reset(struct entry *e);

SampanStore__Plan *entry_plan(struct entry *e);
void plan_absent(struct entry *e, SampanStore__Plan *plan, const char *resource,
		 const char *namespace, const char *name);
/* uid NULL and revision 0: any. */
void plan_present(struct entry *e, SampanStore__Plan *plan, const char *resource,
		  const char *namespace, const char *name, const char *uid, uint64_t revision);
/* claims end with NULL; NULL: none. */
void put(struct entry *e, SampanStore__Plan *plan, const char *resource, const char *namespace,
	 const char *name, struct bytes packed, const char *const *claims);
void del(struct entry *e, SampanStore__Plan *plan, const char *resource, const char *namespace,
	 const char *name);
void session_open(struct entry *e, SampanStore__Plan *plan, uint64_t session, uint64_t ttl_ms);
void session_close(struct entry *e, SampanStore__Plan *plan, uint64_t session);
void plan_by(SampanStore__Plan *plan, uint64_t session, uint64_t sequence, uint64_t lowest);

struct bytes entry_pack(struct entry *e);
/* Results of all plans; valid until the next entry. */
const struct plan_result *entry_apply(struct entry *e, struct store *s);

/* A packed object from JSON, in the arena; ' stands for ". */
struct bytes packed_json(struct entry *e, const char *resource, const char *json);
