/* Maps of resources to quantities: capacity, requests, limits, allocatable.
 *
 * Every entry of such a map has the same layout, whatever message it belongs
 * to; the functions take the map as it is: resource_text(pv->spec->capacity,
 * pv->spec->n_capacity, "storage"). Any thread. */
#pragma once

#include "common/api/make.h"
#include "common/api/quantity.h"
#include "proto/k8s/resource.pb-c.h"

struct resource_entry {
	ProtobufCMessage base;
	char *key;
	Resource__Quantity *value;
};

/* The quantity of name as text, or NULL. */
static inline const char *resource_text(const void *entries, size_t n, const char *name)
{
	struct resource_entry *const *list = entries;

	for (size_t i = 0; i < n; i++)
		if (text_is(list[i]->key, name))
			return list[i]->value ? text_of(list[i]->value->string) : "";
	return NULL;
}

/* The same as a number; 0 where it is absent. */
static inline struct quantity resource_quantity(const void *entries, size_t n, const char *name)
{
	const char *text = resource_text(entries, n, name);
	struct quantity q = { 0 };

	if (text != NULL)
		quantity_parse(bytes_str(text), &q);
	return q;
}

/* A new entry of the map type of descriptor, to be appended. */
static inline void *resource_entry_make(const ProtobufCMessageDescriptor *descriptor,
					const char *name, const char *text, struct arena *a)
{
	struct resource_entry *e = message_new(descriptor, a);

	e->key = arena_strdup(a, name);
	e->value = make(a, Resource__Quantity, resource__quantity);
	e->value->string = arena_strdup(a, text);
	return e;
}
