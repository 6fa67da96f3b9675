#include "controlplane/scheduler/spaces.h"

#include <stdlib.h>
#include <string.h>

#include "common/api/make.h"
#include "common/base/alloc.h"
#include "controlplane/scheduler/terms.h"
#include "controlplane/store/view.h"
#include "proto/k8s/policy_v1.pb-c.h"

struct space *space_make(struct cluster *c, const char *name)
{
	struct space *s = map_get(&c->spaces, name);

	if (s != NULL)
		return s;
	s = xcalloc(1, sizeof(*s));
	s->name = xstrdup(name);
	map_put(&c->spaces, name, s);
	return s;
}

static void service_free(struct service_selector *s)
{
	arena_fini(&s->arena);
	free(s->name);
	free(s);
}

static void budget_free(struct budget *b)
{
	arena_fini(&b->arena);
	free(b->name);
	free(b);
}

static void space_free(struct space *s)
{
	for (size_t i = 0; i < s->n_services; i++)
		service_free(s->services[i]);
	for (size_t i = 0; i < s->n_budgets; i++)
		budget_free(s->budgets[i]);
	object_unref((struct object *)s->object);
	free(s->services);
	free(s->budgets);
	free(s->name);
	free(s);
}

void space_drop(struct cluster *c, struct space *s)
{
	if (s->object != NULL || s->n_classes + s->n_services + s->n_budgets > 0)
		return;
	map_remove(&c->spaces, s->name);
	space_free(s);
}

void spaces_fini(struct cluster *c)
{
	map_for_each (slot, &c->spaces)
		space_free(slot->value);
	map_fini(&c->spaces);
}

static bool labels_equal(const struct facts *a, const struct facts *b)
{
	if (a->n_labels != b->n_labels)
		return false;
	for (size_t i = 0; i < a->n_labels; i++)
		if (strcmp(a->labels[i].key, b->labels[i].key) != 0 ||
		    strcmp(a->labels[i].value, b->labels[i].value) != 0)
			return false;
	return true;
}

void spaces_on_namespace(struct cluster *c, const struct object *old, const struct object *new)
{
	struct space *s = space_make(c, (new ? new : old)->name);
	const struct object *before = s->object;
	bool differs = before == NULL || new == NULL || !labels_equal(&before->facts, &new->facts);

	s->object = object_ref(new);
	if (differs)
		terms_space_changed(c, s);
	object_unref((struct object *)before);
	space_drop(c, s);
}

/* --- Services ----------------------------------------------------------------------- */

/* The first of those sorted by name whose name is not below. */
static size_t service_position(const struct space *s, const char *name)
{
	size_t low = 0, high = s->n_services;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (strcmp(s->services[mid]->name, name) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static void service_remove(struct space *s, size_t at)
{
	service_free(s->services[at]);
	s->n_services--;
	memmove(s->services + at, s->services + at + 1,
		(s->n_services - at) * sizeof(*s->services));
}

void spaces_on_service(struct cluster *c, const struct object *old, const struct object *new)
{
	struct space *s = space_make(c, (new ? new : old)->namespace);
	const char *name = (new ? new : old)->name;
	size_t at = service_position(s, name);

	if (at < s->n_services && strcmp(s->services[at]->name, name) == 0)
		service_remove(s, at);
	if (new != NULL) {
		struct service_selector *service = xcalloc(1, sizeof(*service));

		arena_init(&service->arena, 0);
		service->service = object_message(new, &service->arena);
		service->name = xstrdup(name);
		if (service->service->spec == NULL || service->service->spec->n_selector == 0) {
			service_free(service);
		} else {
			array_grow(s->services, s->n_services, s->cap_services);
			memmove(s->services + at + 1, s->services + at,
				(s->n_services - at) * sizeof(*s->services));
			s->services[at] = service;
			s->n_services++;
		}
	}
	s->services_version++;
	space_drop(c, s);
}

static const char *label_value(const struct class *class, const char *key)
{
	for (size_t i = 0; i < class->n_labels; i++)
		if (strcmp(class->labels[i].key, key) == 0)
			return class->labels[i].value;
	return NULL;
}

static bool service_selects(const CoreV1__ServiceSpec *spec, const struct class *class)
{
	for (size_t i = 0; i < spec->n_selector; i++) {
		const char *value = label_value(class, text_of(spec->selector[i]->key));

		if (value == NULL || !text_is(spec->selector[i]->value, value))
			return false;
	}
	return true;
}

MetaV1__LabelSelector *space_services_of(const struct space *s, struct arena *a,
					 const struct class *class)
{
	MetaV1__LabelSelector *all = NULL;

	for (size_t i = 0; i < s->n_services; i++) {
		const CoreV1__ServiceSpec *spec = s->services[i]->service->spec;

		if (!service_selects(spec, class))
			continue;
		if (all == NULL)
			all = make(a, MetaV1__LabelSelector, meta_v1__label_selector);
		for (size_t k = 0; k < spec->n_selector; k++)
			string_map_set(all, "matchLabels", text_of(spec->selector[k]->key),
				       text_of(spec->selector[k]->value), a);
	}
	return all;
}

/* --- Budgets ------------------------------------------------------------------------ */

static size_t budget_position(const struct space *s, const char *name)
{
	size_t at = 0;

	while (at < s->n_budgets && strcmp(s->budgets[at]->name, name) < 0)
		at++;
	return at;
}

static struct budget *budget_make(const struct object *o)
{
	struct budget *b = xcalloc(1, sizeof(*b));

	arena_init(&b->arena, 0);
	b->name = xstrdup(o->name);

	const PolicyV1__PodDisruptionBudget *m = object_message(o, &b->arena);

	if (m->spec == NULL ||
	    label_selector_of(m->spec->selector, &b->arena, &b->selector, NULL) < 0)
		b->selector.nothing = true;
	/* An empty selector speaks of nobody here, as in Kubernetes' preemption. */
	if (b->selector.n_requirements == 0)
		b->selector.nothing = true;
	if (m->status == NULL)
		return b;
	b->allowed = m->status->disruptionsallowed;
	b->n_disrupted = m->status->n_disruptedpods;
	b->disrupted = arena_array(&b->arena, const char *, b->n_disrupted + 1);
	for (size_t i = 0; i < b->n_disrupted; i++)
		b->disrupted[i] = text_of(m->status->disruptedpods[i]->key);
	return b;
}

void spaces_on_budget(struct cluster *c, const struct object *old, const struct object *new)
{
	struct space *s = space_make(c, (new ? new : old)->namespace);
	size_t at = budget_position(s, (new ? new : old)->name);
	bool there =
		at < s->n_budgets && strcmp(s->budgets[at]->name, (new ? new : old)->name) == 0;

	if (there)
		budget_free(s->budgets[at]);
	if (new != NULL && !there) {
		array_grow(s->budgets, s->n_budgets, s->cap_budgets);
		memmove(s->budgets + at + 1, s->budgets + at,
			(s->n_budgets - at) * sizeof(*s->budgets));
		s->n_budgets++;
	}
	if (new != NULL) {
		s->budgets[at] = budget_make(new);
	} else if (there) {
		s->n_budgets--;
		memmove(s->budgets + at, s->budgets + at + 1,
			(s->n_budgets - at) * sizeof(*s->budgets));
	}
	space_drop(c, s);
}

static const char *object_label_of(const void *object, const char *key)
{
	return object_label(object, key);
}

bool budget_covers(const struct budget *b, const struct pod *pod)
{
	if (!label_selector_matches(&b->selector, object_label_of, pod->object))
		return false;
	for (size_t i = 0; i < b->n_disrupted; i++)
		if (strcmp(b->disrupted[i], pod->object->name) == 0)
			return false;
	return true;
}
