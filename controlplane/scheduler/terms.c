/* A term is found by its key: all that it says, as bytes. What it counts is kept
 * up to date from three sides: pods that come and go (terms_count), nodes whose
 * labels or taints change (they leave with the old and enter with the new), and
 * classes or terms that are new. A term that demands one value of one label is
 * looked up by it, so a new class is not compared with every term there is. */
#include "controlplane/scheduler/terms.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/make.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "controlplane/scheduler/places.h"
#include "controlplane/scheduler/spaces.h"

/* --- How few are in one place -------------------------------------------------------- */

static void histogram_add(struct lowest *l, int32_t pods, int by)
{
	counts_add(&l->histogram, (uint32_t)pods, by);
	if (by > 0 && (uint32_t)pods < l->least)
		l->least = (uint32_t)pods;
	if (counts_get(&l->histogram, l->least) == 0)
		l->least = counts_lowest(&l->histogram);
}

/* pods are those in the place that node enters (1) or leaves (-1). */
static void lowest_node(struct lowest *l, uint32_t place, int32_t pods, int sign)
{
	int32_t nodes = counts_add(&l->nodes, place, sign);

	if (nodes != (sign > 0 ? 1 : 0))
		return;
	l->n_places += (uint32_t)sign;
	histogram_add(l, pods, sign);
}

static void lowest_pod(struct lowest *l, int32_t before, int32_t now)
{
	counts_add(&l->histogram, (uint32_t)now, 1);
	if ((uint32_t)now < l->least)
		l->least = (uint32_t)now;
	histogram_add(l, before, -1);
}

/* --- Terms ------------------------------------------------------------------------------ */

static const char *class_label(const void *class, const char *key)
{
	const struct class *c = class;

	for (size_t i = 0; i < c->n_labels; i++)
		if (strcmp(c->labels[i].key, key) == 0)
			return c->labels[i].value;
	return NULL;
}

static const char *space_label(const void *space, const char *key)
{
	const struct space *s = space;

	return s->object ? object_label(s->object, key) : NULL;
}

static bool scope_covers(const struct scope *s, const struct space *space)
{
	if (s->everywhere)
		return true;
	for (size_t i = 0; i < s->n_namespaces; i++)
		if (strcmp(s->namespaces[i], space->name) == 0)
			return true;
	return s->spaces != NULL && space->object != NULL &&
	       label_selector_matches(s->spaces, space_label, space);
}

bool term_speaks_of(const struct term *term, const struct class *class)
{
	for (size_t i = 0; i < term->n_scopes; i++)
		if (!scope_covers(&term->scopes[i], class->space) ||
		    !label_selector_matches(&term->scopes[i].pods, class_label, class))
			return false;
	return true;
}

static void term_count(struct term *t, bool dying, const struct node *node, int sign)
{
	int32_t place = node_place(node, t->topology), now;

	if (place < 0 || (t->living && dying) || !inclusion_has(t->inclusion, node))
		return;
	now = counts_add(&t->matching, (uint32_t)place, sign);
	t->n_matching += sign;
	if (t->lowest != NULL)
		lowest_pod(t->lowest, now - sign, now);
}

static void hold_count(const struct hold *h, const struct node *node, int sign)
{
	struct term *t = h->term;
	int32_t place = node_place(node, t->topology);

	if (place < 0)
		return;
	if (h->role == ROLE_SHUNS) {
		counts_add(&t->shunning, (uint32_t)place, sign);
		t->n_shunning += sign;
	} else {
		counts_add(&t->liking, (uint32_t)place, sign * h->weight);
	}
}

void terms_count(const struct class *class, bool dying, const struct node *node, int sign)
{
	for (size_t i = 0; i < class->n_matched; i++)
		term_count(class->matched[i].term, dying, node, sign);
	for (size_t i = 0; i < class->n_holds; i++)
		hold_count(&class->holds[i], node, sign);
}

static void match_add(struct term *t, struct class *class)
{
	array_grow(class->matched, class->n_matched, class->cap_matched);
	array_grow(t->members, t->n_members, t->cap_members);
	class->matched[class->n_matched] = (struct match){ t, (uint32_t)t->n_members };
	t->members[t->n_members++] = (struct member){ class, (uint32_t) class->n_matched++ };
	for (size_t i = 0; i < class->n_pods; i++)
		term_count(t, class->pods[i]->dying, class->pods[i]->node, 1);
}

static void match_take_out(struct term *t, struct class *class, uint32_t at_class, uint32_t at_term)
{
	struct match *last = &class->matched[--class->n_matched];

	class->matched[at_class] = *last;
	if (last->term != t)
		last->term->members[last->at].at = at_class;

	struct member *end = &t->members[--t->n_members];

	t->members[at_term] = *end;
	if (end->class != class)
		end->class->matched[end->at].at = at_term;
}

static void match_remove(struct term *t, struct class *class, uint32_t at_class, uint32_t at_term)
{
	for (size_t i = 0; i < class->n_pods; i++)
		term_count(t, class->pods[i]->dying, class->pods[i]->node, -1);
	match_take_out(t, class, at_class, at_term);
}

/* 0 is for terms that demand no one value. */
static uint64_t label_hash(const struct label *l)
{
	if (l == NULL || l->key == NULL)
		return 0;
	return (hash_bytes(l->key, strlen(l->key)) * 31 + hash_bytes(l->value, strlen(l->value))) |
	       1;
}

/* The one value that some label must have, if one must. */
static struct label demanded_label(const struct term *t)
{
	const struct label_selector *s = &t->scopes[0].pods;

	for (size_t i = 0; i < s->n_requirements; i++)
		if (s->requirements[i].op == LABEL_IN && s->requirements[i].n_values == 1)
			return (struct label){ s->requirements[i].key,
					       s->requirements[i].values[0] };
	return (struct label){ 0 };
}

static bool same_label(const struct label *a, const struct label *b)
{
	return strcmp(a->key, b->key) == 0 && strcmp(a->value, b->value) == 0;
}

/* With the terms that demand label; NULL: with those that demand none. */
static void match_class(struct cluster *c, struct class *class, const struct label *label)
{
	struct bag_node *n = bag_first(&c->terms_by_label, label_hash(label));

	for (; n != NULL; n = bag_next(n)) {
		struct term *t = container_of(n, struct term, by_label);

		if ((label == NULL || same_label(label, &t->demanded)) && term_speaks_of(t, class))
			match_add(t, class);
	}
}

void terms_class_begin(struct cluster *c, struct class *class)
{
	match_class(c, class, NULL);
	for (size_t i = 0; i < class->n_labels; i++)
		match_class(c, class, &class->labels[i]);
}

void terms_class_end(struct class *class)
{
	while (class->n_matched > 0) {
		struct match m = class->matched[class->n_matched - 1];

		match_remove(m.term, class, (uint32_t) class->n_matched - 1, m.at);
	}
}

struct selection term_selection(const struct class *class, const CoreV1__PodAffinityTerm *t)
{
	const MetaV1__LabelSelector *spaces = t->namespaceselector;
	bool own = t->n_namespaces == 0 && spaces == NULL;

	return (struct selection){
		.selector = t->labelselector,
		.same = t->matchlabelkeys,
		.n_same = t->n_matchlabelkeys,
		.differing = t->mismatchlabelkeys,
		.n_differing = t->n_mismatchlabelkeys,
		.namespaces = own ? (const char *const *)&class->space->name
				  : (const char *const *)t->namespaces,
		.n_namespaces = own ? 1 : t->n_namespaces,
		.everywhere =
			spaces != NULL && spaces->n_matchlabels + spaces->n_matchexpressions == 0,
		.spaces = spaces,
	};
}

static int compare_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void selection_key(struct buf *key, struct arena *a, const struct class *class,
			  const struct selection *s)
{
	const char **sorted = arena_array(a, const char *, s->n_namespaces + 1);

	for (size_t i = 0; i < s->n_namespaces; i++)
		sorted[i] = s->namespaces[i];
	if (s->n_namespaces > 1)
		qsort(sorted, s->n_namespaces, sizeof(*sorted), compare_text);
	buf_put_byte(key, s->everywhere);
	for (size_t i = 0; !s->everywhere && i < s->n_namespaces; i++)
		key_put_str(key, sorted[i]);
	key_put_str(key, "");
	key_put_message(key, a, !s->everywhere && s->spaces ? &s->spaces->base : NULL);
	key_put_message(key, a, s->selector ? &s->selector->base : NULL);
	for (size_t i = 0; i < s->n_same + s->n_differing; i++) {
		const char *name = i < s->n_same ? s->same[i] : s->differing[i - s->n_same];
		const char *value = class_label(class, name);

		if (value == NULL)
			continue;
		buf_put_byte(key, i < s->n_same ? '=' : '!');
		key_put_str(key, name);
		key_put_str(key, value);
	}
}

/* The selector with one requirement more for every key that the class has a label for. */
static void add_own_labels(struct label_selector *to, struct arena *a, const struct class *class,
			   const struct selection *s)
{
	size_t n = to->n_requirements, room = n + s->n_same + s->n_differing;
	struct label_requirement *all = arena_array(a, struct label_requirement, room + 1);

	if (to->nothing || room == n)
		return;
	if (n > 0)
		memcpy(all, to->requirements, n * sizeof(*all));
	for (size_t i = 0; i < s->n_same + s->n_differing; i++) {
		const char *name = i < s->n_same ? s->same[i] : s->differing[i - s->n_same];
		const char *value = class_label(class, name);
		const char **values = arena_array(a, const char *, 1);

		if (value == NULL)
			continue;
		values[0] = arena_strdup(a, value);
		all[n++] = (struct label_requirement){
			.key = arena_strdup(a, name),
			.op = i < s->n_same ? LABEL_IN : LABEL_NOT_IN,
			.values = values,
			.n_values = 1,
		};
	}
	to->requirements = all;
	to->n_requirements = n;
}

static void scope_make(struct scope *scope, struct arena *a, const struct class *class,
		       const struct selection *s)
{
	if (label_selector_of(s->selector, a, &scope->pods, NULL) < 0)
		scope->pods = (struct label_selector){ .nothing = true };
	add_own_labels(&scope->pods, a, class, s);
	scope->everywhere = s->everywhere;
	scope->n_namespaces = s->n_namespaces;
	scope->namespaces = arena_array(a, const char *, s->n_namespaces + 1);
	for (size_t i = 0; i < s->n_namespaces; i++)
		scope->namespaces[i] = arena_strdup(a, s->namespaces[i]);
	if (s->spaces != NULL && !s->everywhere) {
		struct label_selector *spaces = arena_new(a, struct label_selector);

		if (label_selector_of(s->spaces, a, spaces, NULL) < 0)
			spaces->nothing = true;
		scope->spaces = spaces;
	}
}

static void term_node(struct term *t, const struct node *node, int sign)
{
	int32_t place = node_place(node, t->topology);

	if (t->lowest != NULL && place >= 0 && node->object != NULL &&
	    inclusion_has(t->inclusion, node))
		lowest_node(t->lowest, (uint32_t)place, counts_get(&t->matching, (uint32_t)place),
			    sign);
}

static struct term *term_find(const struct cluster *c, const struct buf *key, uint64_t hash)
{
	for (struct bag_node *n = bag_first(&c->terms, hash); n; n = bag_next(n)) {
		struct term *t = container_of(n, struct term, link);

		if (t->key_len == key->len && memcmp(t->key, key->data, key->len) == 0)
			return t;
	}
	return NULL;
}

/* The new term learns of all nodes and pods there are. */
static void term_begin(struct cluster *c, struct term *t)
{
	t->demanded = demanded_label(t);
	if (t->lowest != NULL || t->inclusion != NULL || t->by_space)
		list_push_back(&c->special, &t->special);
	bag_add(&c->terms_by_label, &t->by_label, label_hash(&t->demanded));
	for (size_t i = 0; i < c->n_nodes; i++)
		term_node(t, c->nodes[i], 1);
	bag_for_each (class, &c->classes, struct class, link)
		if (term_speaks_of(t, class))
			match_add(t, class);
}

static struct term *term_get(struct cluster *c, const struct class *class, const char *topology_key,
			     const struct selection *selections, size_t n,
			     struct inclusion *inclusion, bool living, bool lowest)
{
	auto_with(buf_fini) struct buf key = { 0 };

	key_put_str(&key, topology_key);
	buf_put(&key, &inclusion, sizeof(struct inclusion *));
	buf_put_byte(&key, (uint8_t)(living + 2 * lowest));
	for (size_t i = 0; i < n; i++)
		selection_key(&key, &c->work, class, &selections[i]);

	uint64_t hash = hash_bytes(key.data, key.len);
	struct term *t = term_find(c, &key, hash);

	if (t != NULL) {
		t->refs++;
		return t;
	}
	t = xcalloc(1, sizeof(*t));
	t->refs = 1;
	t->key = buf_steal(&key, &t->key_len);
	arena_init(&t->arena, 0);
	list_init(&t->special);
	t->topology = topology_ref(c, topology_key);
	t->living = living;
	t->inclusion = inclusion;
	if (inclusion != NULL)
		inclusion->refs++;
	if (lowest) {
		t->lowest = xcalloc(1, sizeof(*t->lowest));
		t->lowest->least = UINT32_MAX;
	}
	t->scopes = arena_array(&t->arena, struct scope, n);
	t->n_scopes = n;
	for (size_t i = 0; i < n; i++) {
		scope_make(&t->scopes[i], &t->arena, class, &selections[i]);
		t->by_space = t->by_space || t->scopes[i].spaces != NULL;
	}
	bag_add(&c->terms, &t->link, hash);
	term_begin(c, t);
	return t;
}

struct term *term_ref(struct cluster *c, const struct class *class, const char *topology_key,
		      const struct selection *selections, size_t n)
{
	return term_get(c, class, topology_key, selections, n, NULL, false, false);
}

struct term *term_ref_spread(struct cluster *c, const struct class *class, const char *topology_key,
			     const struct selection *selection, struct inclusion *inclusion,
			     bool lowest)
{
	return term_get(c, class, topology_key, selection, 1, inclusion, true, lowest);
}

void term_unref(struct cluster *c, struct term *t)
{
	if (--t->refs > 0)
		return;
	while (t->n_members > 0) {
		struct member m = t->members[t->n_members - 1];

		match_take_out(t, m.class, m.at, (uint32_t)t->n_members - 1);
	}
	bag_remove(&c->terms, &t->link);
	bag_remove(&c->terms_by_label, &t->by_label);
	list_remove(&t->special);
	topology_unref(c, t->topology);
	inclusion_unref(c, t->inclusion);
	counts_fini(&t->matching);
	counts_fini(&t->shunning);
	counts_fini(&t->liking);
	if (t->lowest != NULL) {
		counts_fini(&t->lowest->nodes);
		counts_fini(&t->lowest->histogram);
		free(t->lowest);
	}
	arena_fini(&t->arena);
	free(t->members);
	free(t->key);
	free(t);
}

/* --- Nodes and namespaces that change ----------------------------------------------------- */

void terms_node_enter(struct cluster *c, struct node *node)
{
	places_node_enter(c, node);
	list_for_each (term, &c->special, struct term, special)
		term_node(term, node, 1);
}

void terms_node_leave(struct cluster *c, struct node *node)
{
	list_for_each (term, &c->special, struct term, special)
		term_node(term, node, -1);
	places_node_leave(c, node);
}

static void rematch(struct term *t, struct class *class)
{
	bool speaks = term_speaks_of(t, class);

	for (uint32_t i = 0; i < class->n_matched; i++)
		if (class->matched[i].term == t) {
			if (!speaks)
				match_remove(t, class, i, class->matched[i].at);
			return;
		}
	if (speaks)
		match_add(t, class);
}

void terms_space_changed(struct cluster *c, const struct space *space)
{
	list_for_each (term, &c->special, struct term, special) {
		if (!term->by_space)
			continue;
		bag_for_each (class, &c->classes, struct class, link)
			if (class->space == space)
				rematch(term, class);
	}
}
