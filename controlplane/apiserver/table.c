#include "controlplane/apiserver/table.h"

#include <assert.h>

#include "common/api/json_text.h"
#include "common/base/cleanup.h"
#include "controlplane/apiserver/columns/cells.h"

/* clang-format off */
static const struct column plain[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Created At", "date", "", 0, cell_created_at, "When the object was created." },
};
/* clang-format on */
static const struct table_columns plain_columns = { NULL, plain, array_size(plain) };

const struct table_columns *table_columns_of(const ProtobufCMessageDescriptor *descriptor)
{
	const struct {
		const struct table_columns *tables;
		size_t n;
	} all[] = {
		{ columns_pods, n_columns_pods },       { columns_workloads, n_columns_workloads },
		{ columns_network, n_columns_network }, { columns_cluster, n_columns_cluster },
		{ columns_config, n_columns_config },   { columns_storage, n_columns_storage },
		{ columns_policy, n_columns_policy },
		{ columns_autoscaling, n_columns_autoscaling },
		{ columns_batch, n_columns_batch },
	};

	for (size_t i = 0; i < array_size(all); i++)
		for (size_t t = 0; t < all[i].n; t++)
			if (all[i].tables[t].descriptor == descriptor)
				return &all[i].tables[t];
	return &plain_columns;
}

void table_put_columns(struct buf *out, const struct table_columns *columns)
{
	buf_put_byte(out, '[');
	for (size_t i = 0; i < columns->n_columns; i++) {
		const struct column *c = &columns->columns[i];

		buf_printf(out,
			   "%s{\"name\":\"%s\",\"type\":\"%s\",\"format\":\"%s\",\"description\":",
			   i ? "," : "", c->name, c->type, c->format);
		json_put_cstring(out, c->description);
		buf_printf(out, ",\"priority\":%d}", c->priority);
	}
	buf_put_byte(out, ']');
}

void table_put_cells(struct buf *out, const struct table_columns *columns, const void *message,
		     int64_t now_ns, struct arena *arena)
{
	struct cells c = { .out = out, .arena = arena, .now_ns = now_ns };

	buf_put_byte(out, '[');
	for (size_t i = 0; i < columns->n_columns; i++) {
		columns->columns[i].cell(&c, message);
		assert(c.count == i + 1);
	}
	buf_put_byte(out, ']');
}
