/* The API objects this node holds: its pods and what they use, as the masters assigned them.
 *
 * An object is immutable and counted; who needs it on a worker thread takes a
 * list of references along and gives them back on the loop thread. With a
 * directory each object is also a file (0600; Secrets are in it in the clear, as
 * docs/agent.md says), so that a node can run its pods after a reboot without any
 * master. Files are written on a worker thread by rename; a broken one is dropped when
 * read. Loop thread only, but for object_list_find() and reading objects. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "common/base/buf.h"
#include "common/base/status.h"
#include "common/base/tree.h"

struct held_object {
	struct tree_node node;
	unsigned refs;
	char *key; /* "resource/namespace/name" */
	char *resource, *namespace, *name, *uid;
	uint64_t revision;
	struct bytes packed;
};

struct held_object *held_object_ref(struct held_object *o);
void held_object_unref(struct held_object *o);

struct objects;

/* dir NULL: nothing is kept on disk. Reads what is there. */
int objects_create(uv_loop_t *loop, const char *dir, struct objects **ret, struct status *st);
/* Writes that are under way go on; run the loop until it is empty. */
void objects_destroy(struct objects *objects);

/* Create or replace. Returns the object, which the set owns. */
struct held_object *objects_put(struct objects *objects, const char *resource, const char *namespace,
	const char *name, const char *uid, uint64_t revision, struct bytes packed);
void objects_remove(struct objects *objects, const char *resource, const char *namespace, const char *name);
struct held_object *objects_find(const struct objects *objects, const char *resource,
	const char *namespace, const char *name);
/* Sum of node_digest() over all. */
uint64_t objects_digest(const struct objects *objects);
size_t objects_count(const struct objects *objects);
struct held_object *objects_first(const struct objects *objects);
struct held_object *objects_next(struct held_object *o);

/* References for a piece of work. */
struct object_list {
	struct held_object **items;
	size_t n, cap;
};

void object_list_add(struct object_list *list, struct held_object *o);
void object_list_fini(struct object_list *list);
const struct held_object *object_list_find(const struct object_list *list, const char *resource,
	const char *namespace, const char *name);
