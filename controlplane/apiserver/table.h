/* Tables: rows of cells instead of whole objects, as kubectl get asks for them.
 *
 * The columns of each kind are rows in columns/; kinds without own columns show
 * their name and when they were created. Pure. */
#pragma once

#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "common/base/arena.h"
#include "common/base/buf.h"

struct table_columns;

const struct table_columns *table_columns_of(const ProtobufCMessageDescriptor *descriptor);
/* Append the columnDefinitions array. */
void table_put_columns(struct buf *out, const struct table_columns *columns);
/* Append the cells array of one row; message is unpacked, its columns' kind. */
void table_put_cells(struct buf *out, const struct table_columns *columns, const void *message,
		     int64_t now_ns, struct arena *arena);
