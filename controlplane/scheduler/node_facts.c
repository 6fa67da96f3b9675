#include "controlplane/scheduler/node_facts.h"
#include "controlplane/scheduler/node_rules.h"

#include <stdlib.h>
#include <string.h>

#include "common/api/quantity.h"
#include "common/base/alloc.h"
#include "controlplane/store/wire.h"

enum {
	NODE_STATUS = 3,
	STATUS_ALLOCATABLE = 2,
	STATUS_IMAGES = 8,
	IMAGE_NAMES = 1,
	IMAGE_SIZE = 2,
	ENTRY_KEY = 1,
	ENTRY_VALUE = 2,
	QUANTITY_TEXT = 1,
	/* Looked at per node; the agent reports 50 with two names each. */
	IMAGES_MAX = 256,
	RESOURCES_MAX = 64,
};

static int64_t read_amount(struct bytes entry, bool milli)
{
	struct quantity q;
	int64_t n;

	if (quantity_parse(wire_find(wire_find(entry, ENTRY_VALUE), QUANTITY_TEXT), &q) < 0)
		return 0;
	n = milli ? quantity_milli(&q) : quantity_value(&q);
	return n > 0 ? n : 0;
}

static void offer(struct cluster *c, struct node *node, struct bytes key, int64_t n)
{
	char *name = arena_strndup(&c->work, (const char *)key.data, key.len);
	struct resource *r = resource_ref(c, name);

	for (size_t i = 0; i < node->n_extended; i++)
		if (node->extended[i].resource == r) {
			node->extended[i].asked = n;
			resource_unref(c, r);
			return;
		}
	if (node->n_extended >= RESOURCES_MAX) {
		resource_unref(c, r);
		return;
	}
	array_grow(node->extended, node->n_extended, node->cap_extended);
	node->extended[node->n_extended++] = (struct amount){ .resource = r, .asked = n };
}

static void read_entry(struct cluster *c, struct node *node, struct bytes entry)
{
	struct bytes key = wire_find(entry, ENTRY_KEY);

	if (bytes_are(key, "cpu"))
		node->has.cpu_milli = read_amount(entry, true);
	else if (bytes_are(key, "memory"))
		node->has.memory_bytes = read_amount(entry, false);
	else if (bytes_are(key, "ephemeral-storage"))
		node->has.ephemeral_bytes = read_amount(entry, false);
	else if (bytes_are(key, "pods"))
		node->has.pods = read_amount(entry, false);
	else if (read_amount(entry, false) > 0)
		offer(c, node, key, read_amount(entry, false));
}

/* What is neither offered nor used any more is forgotten. */
static void tidy_extended(struct cluster *c, struct node *node)
{
	size_t kept = 0;

	for (size_t i = 0; i < node->n_extended; i++) {
		if (node->extended[i].asked == 0 && node->extended[i].used == 0)
			resource_unref(c, node->extended[i].resource);
		else
			node->extended[kept++] = node->extended[i];
	}
	node->n_extended = kept;
}

static void drop_images(struct cluster *c, struct node *node)
{
	for (size_t i = 0; i < node->n_images; i++) {
		node->images[i]->nodes--;
		image_unref(c, node->images[i]);
	}
	free(node->images);
	node->images = NULL;
	node->n_images = 0;
}

static void read_image(struct cluster *c, struct node *node, struct bytes image)
{
	struct wire w = wire_of(image);
	struct wire_field f;
	int64_t size = 0;

	while (wire_next(&w, &f))
		if (f.number == IMAGE_SIZE && f.type == WIRE_VARINT)
			size = (int64_t)f.value;
	w = wire_of(image);
	while (wire_next(&w, &f)) {
		if (f.number != IMAGE_NAMES || f.type != WIRE_BYTES || node->n_images == IMAGES_MAX)
			continue;

		const char *name = image_full_name(
			&c->work, arena_strndup(&c->work, (const char *)f.bytes.data, f.bytes.len));
		struct image *i = image_ref(c, name);

		i->size_bytes = size > 0 ? size : 0;
		i->nodes++;
		node->images[node->n_images++] = i;
	}
}

static void read_images(struct cluster *c, struct node *node, struct bytes status)
{
	struct wire w = wire_of(status);
	struct wire_field f;
	size_t n = 0;

	while (wire_next(&w, &f))
		if (f.number == STATUS_IMAGES && f.type == WIRE_BYTES)
			n += wire_count(f.bytes, IMAGE_NAMES);
	if (n == 0)
		return;
	node->images = xcalloc(n < IMAGES_MAX ? n : IMAGES_MAX, sizeof(*node->images));
	w = wire_of(status);
	while (wire_next(&w, &f))
		if (f.number == STATUS_IMAGES && f.type == WIRE_BYTES)
			read_image(c, node, f.bytes);
}

static struct bytes status_of(const struct object *o)
{
	return o ? wire_find(o->packed, NODE_STATUS) : bytes_of(NULL, 0);
}

void node_facts_read(struct cluster *c, struct node *node, const struct object *before)
{
	struct bytes status = status_of(node->object);
	struct wire w = wire_of(status);
	struct wire_field f;

	if (before != NULL && node->object != NULL && bytes_equal(status_of(before), status))
		return;
	node->has = (struct room){ 0 };
	for (size_t i = 0; i < node->n_extended; i++)
		node->extended[i].asked = 0;
	drop_images(c, node);
	while (wire_next(&w, &f))
		if (f.number == STATUS_ALLOCATABLE && f.type == WIRE_BYTES)
			read_entry(c, node, f.bytes);
	tidy_extended(c, node);
	read_images(c, node, status);
	arena_reset(&c->work);
}

void node_facts_fini(struct cluster *c, struct node *node)
{
	drop_images(c, node);
	for (size_t i = 0; i < node->n_extended; i++)
		resource_unref(c, node->extended[i].resource);
	node->n_extended = 0;
}

/* --- What differs -------------------------------------------------------------------- */

/* The whole map of what it offers, byte by byte: stored maps are sorted. */
static bool same_allocatable(const struct object *old, const struct object *new)
{
	struct wire a = wire_of(status_of(old)), b = wire_of(status_of(new));
	struct wire_field f = { 0 }, g = { 0 };
	bool more_a, more_b;

	for (;;) {
		while ((more_a = wire_next(&a, &f)) && f.number != STATUS_ALLOCATABLE)
			;
		while ((more_b = wire_next(&b, &g)) && g.number != STATUS_ALLOCATABLE)
			;
		if (!more_a || !more_b)
			return more_a == more_b;
		if (f.type != g.type || !bytes_equal(f.bytes, g.bytes))
			return false;
	}
}

bool node_facts_differ(const struct object *old, const struct object *new)
{
	return old->facts.node->unschedulable != new->facts.node->unschedulable ||
	       node_rules_move(old, new) || !same_allocatable(old, new);
}
