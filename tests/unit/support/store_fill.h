/* A store filled from JSON, for tests that read one. Objects go in as a committed
 * entry would, without admission: what a case says is all there is. */
#pragma once

#include "common/base/buf.h"
#include "controlplane/store/store.h"

struct store *store_new(void);
/* Put an object; its namespace and name come from the JSON's metadata. Fails the test when it
 * cannot be read. Returns its revision. */
uint64_t store_put_json(struct store *s, const char *resource, const char *json);
uint64_t store_put_packed(struct store *s, const char *resource, const char *namespace,
			  const char *name, struct bytes packed);
void store_delete(struct store *s, const char *resource, const char *namespace, const char *name);
