#include "controlplane/budgets/amounts.h"

#include <string.h>

#include "common/api/resources.h"

static size_t find(const struct amounts *a, const char *name, bool *ret_there)
{
	size_t i = 0;
	int order = 1;

	while (i < a->n && (order = strcmp(a->items[i].name, name)) < 0)
		i++;
	*ret_there = i < a->n && order == 0;
	return i;
}

struct quantity *amounts_get(const struct amounts *a, const char *name)
{
	bool there;
	size_t i = find(a, name, &there);

	return there ? &a->items[i].quantity : NULL;
}

struct quantity *amounts_make(struct amounts *a, const char *name)
{
	bool there;
	size_t i = find(a, name, &there);

	if (there)
		return &a->items[i].quantity;
	if (a->n == a->cap) {
		struct amount *grown;

		a->cap = a->cap > 0 ? a->cap * 2 : 8;
		grown = arena_array(a->arena, struct amount, a->cap);
		if (a->n > 0)
			memcpy(grown, a->items, a->n * sizeof(*grown));
		a->items = grown;
	}
	memmove(&a->items[i + 1], &a->items[i], (a->n - i) * sizeof(*a->items));
	a->n++;
	a->items[i] = (struct amount){ .name = name };
	return &a->items[i].quantity;
}

void amounts_add_number(struct amounts *a, const char *name, int64_t value)
{
	struct quantity q;

	quantity_set(&q, value, QUANTITY_DECIMAL);
	quantity_add(amounts_make(a, name), &q);
}

void amounts_add(struct amounts *a, const struct amounts *b)
{
	for (size_t i = 0; i < b->n; i++)
		quantity_add(amounts_make(a, b->items[i].name), &b->items[i].quantity);
}

void amounts_max(struct amounts *a, const struct amounts *b)
{
	for (size_t i = 0; i < b->n; i++) {
		struct quantity *q = amounts_make(a, b->items[i].name);

		if (quantity_compare(q, &b->items[i].quantity) < 0)
			*q = b->items[i].quantity;
	}
}

void amounts_read(struct amounts *a, const void *entries, size_t n)
{
	struct resource_entry *const *list = entries;

	for (size_t i = 0; i < n; i++) {
		struct quantity q = { 0 };
		const char *text = list[i]->value != NULL ? text_of(list[i]->value->string) : "";

		if (quantity_parse(bytes_str(text), &q) == 0)
			quantity_add(amounts_make(a, text_of(list[i]->key)), &q);
	}
}

char *amounts_print(const struct amounts *a)
{
	char *text = arena_strdup(a->arena, "");

	for (size_t i = 0; i < a->n; i++) {
		char quantity[QUANTITY_TEXT_MAX];

		quantity_print(&a->items[i].quantity, quantity);
		text = arena_printf(a->arena, "%s%s%s=%s", text, i > 0 ? "," : "", a->items[i].name,
				    quantity);
	}
	return text;
}

/* --- Pods ------------------------------------------------------------------------------ */

void amounts_of_container(struct amounts *a, const CoreV1__Container *c, enum amount_of what)
{
	const CoreV1__ResourceRequirements *r = c->resources;

	if (r == NULL)
		return;
	if (what == AMOUNT_OF_LIMITS)
		amounts_read(a, r->limits, r->n_limits);
	else
		amounts_read(a, r->requests, r->n_requests);
}

void amounts_of_pod(struct amounts *a, const CoreV1__PodSpec *spec, enum amount_of what)
{
	struct amounts sidecars = { .arena = a->arena }, peak = { .arena = a->arena };

	for (size_t i = 0; i < spec->n_containers; i++)
		amounts_of_container(a, spec->containers[i], what);
	for (size_t i = 0; i < spec->n_initcontainers; i++) {
		const CoreV1__Container *c = spec->initcontainers[i];
		struct amounts now = { .arena = a->arena };

		if (text_is(c->restartpolicy, "Always")) {
			amounts_of_container(&sidecars, c, what);
			amounts_max(&peak, &sidecars);
		} else {
			amounts_of_container(&now, c, what);
			amounts_add(&now, &sidecars);
			amounts_max(&peak, &now);
		}
	}
	amounts_add(a, &sidecars);
	amounts_max(a, &peak);
	/* Of limits, overhead raises what is limited at all. */
	for (size_t i = 0; i < spec->n_overhead; i++) {
		struct amounts overhead = { .arena = a->arena };
		const char *name = text_of(spec->overhead[i]->key);

		amounts_read(&overhead, &spec->overhead[i], 1);
		if (what == AMOUNT_OF_REQUESTS || amounts_get(a, name) != NULL)
			amounts_add(a, &overhead);
	}
}
