/* From packed bytes to struct facts, in two passes of the same code: the first
 * measures how much memory the facts take, the second fills it. Any bytes are
 * safe; what cannot be read is as if it were absent. Used by object.c alone. */
#pragma once

#include "controlplane/store/object.h"

/* Memory that facts are written to; without a base it only counts. */
struct pen {
	char *base;
	size_t used;
};

void *pen_take(struct pen *pen, size_t size);
/* A C string; "" for no bytes. Embedded zeros end it early. */
const char *pen_str(struct pen *pen, struct bytes text);

/* facts of o from o->kind and o->packed; pod and node facts point back to o. */
void facts_read(struct pen *pen, struct object *o);
