#include "controlplane/scheduler/fit.h"

#include <stdlib.h>
#include <string.h>

#include "common/api/make.h"
#include "common/base/alloc.h"
#include "controlplane/scheduler/node_rules.h"
#include "controlplane/scheduler/terms.h"

/* --- Rows --------------------------------------------------------------------------- */

/* Bytes of all rows together; at least one wish has its rows. */
enum { ROWS_BYTES_MAX = 4 << 20 };

void row_cache_init(struct row_cache *cache)
{
	*cache = (struct row_cache){ 0 };
	list_init(&cache->used);
}

void rows_drop(struct wish *wish)
{
	if (wish->rows == NULL)
		return;
	list_remove(&wish->rows->used);
	free(wish->rows);
	wish->rows = NULL;
}

void row_cache_fini(struct row_cache *cache)
{
	list_for_each (rows, &cache->used, struct rows, used)
		rows_drop(rows->wish);
}

static size_t rows_bytes(size_t n)
{
	return sizeof(struct rows) + n * sizeof(struct row);
}

struct rows *rows_get(struct row_cache *cache, struct wish *wish, const struct cluster *c)
{
	struct rows *rows = wish->rows;

	if (rows != NULL && rows->order_version == c->order_version) {
		list_remove(&rows->used);
		list_push_back(&cache->used, &rows->used);
		return rows;
	}
	rows_drop(wish);

	size_t bytes = rows_bytes(c->n_order), held = bytes;

	/* All are of about the same size; count from the newest, drop the old. */
	for (struct list *l = cache->used.prev; l != &cache->used;) {
		struct rows *old = container_of(l, struct rows, used);

		l = l->prev;
		held += rows_bytes(old->n);
		if (held > ROWS_BYTES_MAX)
			rows_drop(old->wish);
	}
	rows = xcalloc(1, bytes);
	rows->wish = wish;
	rows->n = c->n_order;
	rows->order_version = c->order_version;
	wish->rows = rows;
	list_push_back(&cache->used, &rows->used);
	return rows;
}

/* --- The node's object ---------------------------------------------------------------- */

static enum misfit object_misfit(const CoreV1__PodSpec *spec, const struct object *node)
{
	static const struct taint cordon = { .key = "node.kubernetes.io/unschedulable",
					     .value = "",
					     .effect = "NoSchedule" };
	const struct node_facts *facts = node->facts.node;

	if (facts->unschedulable && !node_rules_tolerates(spec, &cordon))
		return MISFIT_UNSCHEDULABLE;
	if (facts->n_taints > 0 && !node_rules_taints(spec, facts))
		return MISFIT_TAINT;
	return node_rules_affinity(spec, node) ? FITS : MISFIT_AFFINITY;
}

static int32_t preferred(const CoreV1__PodSpec *spec, const struct object *node)
{
	const CoreV1__NodeAffinity *a = spec->affinity ? spec->affinity->nodeaffinity : NULL;
	int32_t sum = 0;

	for (size_t i = 0; a != NULL && i < a->n_preferredduringschedulingignoredduringexecution;
	     i++) {
		const CoreV1__PreferredSchedulingTerm *t =
			a->preferredduringschedulingignoredduringexecution[i];

		if (t->weight != 0 && node_rules_term(t->preference, node))
			sum += t->weight;
	}
	return sum;
}

static uint32_t images_held(const struct wish *w, const struct node *node)
{
	uint32_t held = 0;

	for (size_t i = 0; i < w->n_images; i++) {
		if (w->images[i]->nodes == 0)
			continue;
		for (size_t k = 0; k < node->n_images; k++)
			if (node->images[k] == w->images[i]) {
				held |= UINT32_C(1) << i;
				break;
			}
	}
	return held;
}

static void look_at_object(struct row *row, const struct wish *w, const struct node *node)
{
	const struct object *o = node->object;
	size_t soft;

	row->object_version = node->object_version;
	row->object_misfit = object_misfit(w->spec, o);
	if (row->object_misfit != FITS)
		return;
	soft = o->facts.node->n_taints == 0
		       ? 0
		       : node_rules_untolerated(w->spec, o->facts.node, "PreferNoSchedule");
	row->soft_taints = soft > UINT16_MAX ? UINT16_MAX : (uint16_t)soft;
	row->affinity = preferred(w->spec, o);
	row->images = images_held(w, node);
}

/* --- Ports and room --------------------------------------------------------------------- */

static bool any_address(const char *ip)
{
	return ip[0] == '\0' || strcmp(ip, "0.0.0.0") == 0;
}

static bool ports_collide(const struct host_port *a, const struct host_port *b)
{
	return a->port == b->port && strcmp(a->protocol, b->protocol) == 0 &&
	       (any_address(a->ip) || any_address(b->ip) || strcmp(a->ip, b->ip) == 0);
}

static bool ports_free(const struct class *class, const struct node *node)
{
	for (size_t i = 0; i < class->n_ports; i++)
		for (size_t k = 0; k < node->n_ports; k++)
			if (ports_collide(&class->ports[i], node->ports[k].port))
				return false;
	return true;
}

static void lacks(struct row *row, unsigned bit, int64_t asked, int64_t used, int64_t has)
{
	if (asked <= 0 || asked <= has - used)
		return;
	row->lacking |= UINT64_C(1) << (bit < LACKS_MAX ? bit : LACKS_MAX);
	row->hopeless = row->hopeless || asked > has;
}

static void look_at_extended(struct row *row, const struct class *class, const struct node *node)
{
	for (unsigned i = 0; i < class->n_extended; i++) {
		const struct amount *asked = &class->extended[i], none = { 0 }, *has = &none;

		for (size_t k = 0; k < node->n_extended; k++)
			if (node->extended[k].resource == asked->resource)
				has = &node->extended[k];
		lacks(row, LACKS_EXTENDED + i, asked->asked, has->used, has->asked);
	}
}

static void look_at_room(struct row *row, const struct class *class, const struct node *node)
{
	const struct room *asked = &class->asked, *used = &node->used, *has = &node->has;

	row->lacking = 0;
	row->hopeless = false;
	lacks(row, LACKS_PODS, 1, used->pods, has->pods);
	lacks(row, LACKS_CPU, asked->cpu_milli, used->cpu_milli, has->cpu_milli);
	lacks(row, LACKS_MEMORY, asked->memory_bytes, used->memory_bytes, has->memory_bytes);
	lacks(row, LACKS_STORAGE, asked->ephemeral_bytes, used->ephemeral_bytes,
	      has->ephemeral_bytes);
	if (class->n_extended > 0)
		look_at_extended(row, class, node);
}

/* --- What speaks for it -------------------------------------------------------------------- */

static int64_t free_share(int64_t wanted, int64_t has)
{
	if (has <= 0 || wanted > has)
		return 0;
	/* Where the product would not fit, hundredths are exact enough. */
	return has - wanted < INT64_MAX / 100 ? (has - wanted) * 100 / has
					      : (has - wanted) / (has / 100);
}

/* The mean free share of cpu and memory. */
static uint8_t least_allocated(const struct class *class, const struct node *node)
{
	int64_t sum = 0, n = 0;

	if (node->has.cpu_milli > 0) {
		sum += free_share(node->used.scored_cpu_milli + class->asked.scored_cpu_milli,
				  node->has.cpu_milli);
		n++;
	}
	if (node->has.memory_bytes > 0) {
		sum += free_share(node->used.scored_memory_bytes + class->asked.scored_memory_bytes,
				  node->has.memory_bytes);
		n++;
	}
	return n == 0 ? 0 : (uint8_t)(sum / n);
}

static double share(int64_t wanted, int64_t has)
{
	double f = (double)wanted / (double)has;

	return f > 1 ? 1 : f;
}

/* How even cpu and memory would be used: 100 when their shares are the same. Two shares deviate
 * from their mean by half their distance. */
static uint8_t balanced(const struct class *class, const struct node *node)
{
	const struct room *asked = &class->asked;
	double cpu, memory, apart;

	if (asked->cpu_milli + asked->memory_bytes == 0)
		return 0;
	if (node->has.cpu_milli <= 0 || node->has.memory_bytes <= 0)
		return 100;
	cpu = share(node->used.cpu_milli + asked->cpu_milli, node->has.cpu_milli);
	memory = share(node->used.memory_bytes + asked->memory_bytes, node->has.memory_bytes);
	apart = cpu > memory ? cpu - memory : memory - cpu;
	return (uint8_t)((1 - apart / 2) * 100);
}

void row_look(struct row *row, const struct wish *w, const struct node *node)
{
	if (row->version == node->version)
		return;
	if (row->object_version != node->object_version)
		look_at_object(row, w, node);
	row->version = node->version;
	row->misfit = row->object_misfit;
	if (row->misfit != FITS)
		return;
	if (!ports_free(w->class, node)) {
		row->misfit = MISFIT_PORTS;
		return;
	}
	look_at_room(row, w->class, node);
	if (row->lacking != 0) {
		row->misfit = MISFIT_ROOM;
		return;
	}
	row->least = least_allocated(w->class, node);
	row->balanced = balanced(w->class, node);
}

/* --- Places ----------------------------------------------------------------------------------- */

void look_begin(struct look *l, struct cluster *c, const struct wish *w, const struct waiting *self)
{
	const struct class *class = w->class;

	*l = (struct look){ .cluster = c, .wish = w, .self = self };
	l->company = w->n_hard + class->n_wants > 0;
	l->wants_itself = class->n_wants > 0 && term_speaks_of(class->wants[0], class);
	for (size_t i = 0; !l->company && i < class->n_holds; i++)
		l->company = class->holds[i].role == ROLE_SHUNS;
	for (size_t i = 0; !l->company && i < class->n_matched; i++)
		l->company = class->matched[i].term->n_shunning > 0;
}

static enum misfit spread_misfit(const struct constraint *k, const struct node *node)
{
	const struct lowest *l = k->term->lowest;
	int32_t there = term_matching(k->term, node);
	int64_t least = l->least;

	if (there < 0)
		return MISFIT_NO_PLACE;
	if (l->n_places < (uint32_t)k->places_min)
		least = 0;
	return there + (int64_t)k->self - least > k->skew_max ? MISFIT_SPREAD : FITS;
}

/* The first of a group that wants its own kind has to begin somewhere. */
static bool wants_met(const struct look *l, const struct node *node)
{
	const struct class *class = l->wish->class;
	bool there = true, anywhere = false;

	for (size_t i = 0; i < class->n_wants; i++) {
		int32_t n = term_matching(class->wants[i], node);

		if (n < 0)
			return false;
		there = there && n > 0;
		anywhere = anywhere || class->wants[i]->n_matching > 0;
	}
	return there || (!anywhere && l->wants_itself);
}

static bool is_shunned(const struct class *class, const struct node *node)
{
	for (size_t i = 0; i < class->n_holds; i++)
		if (class->holds[i].role == ROLE_SHUNS &&
		    term_matching(class->holds[i].term, node) > 0)
			return true;
	return false;
}

static bool shuns_it(const struct class *class, const struct node *node)
{
	for (size_t i = 0; i < class->n_matched; i++) {
		const struct term *t = class->matched[i].term;
		int32_t place = t->n_shunning > 0 ? node_place(node, t->topology) : -1;

		if (place >= 0 && counts_get(&t->shunning, (uint32_t)place) > 0)
			return true;
	}
	return false;
}

static enum misfit company_misfit(const struct look *l, const struct node *node)
{
	const struct wish *w = l->wish;

	for (size_t i = 0; i < w->n_hard; i++) {
		enum misfit m = spread_misfit(&w->hard[i], node);

		if (m != FITS)
			return m;
	}
	if (!wants_met(l, node))
		return MISFIT_WANTED;
	if (is_shunned(w->class, node))
		return MISFIT_SHUNNED;
	return shuns_it(w->class, node) ? MISFIT_SHUNS : FITS;
}

enum misfit look_misfit(struct look *l, struct node *node, const struct row *row)
{
	if (row->misfit != FITS)
		return row->misfit;
	if (l->claims != NULL) {
		l->volume_final = false;
		l->volume_why = l->volume_rules->misfit(l->claims, node, &l->volume_final);
		if (l->volume_why != NULL)
			return MISFIT_VOLUME;
	}
	return l->company ? company_misfit(l, node) : FITS;
}

/* --- Those for whom room is being made ----------------------------------------------------------
 */

static bool counts_before(const struct look *l, const struct waiting *other)
{
	return other != l->self && other->pod->node == NULL &&
	       other->pod->priority >= l->wish->priority;
}

bool look_meets_nominated(const struct look *l, const struct node *node)
{
	for (size_t i = 0; i < node->n_nominated; i++)
		if (counts_before(l, node->nominated[i]))
			return true;
	return false;
}

static void pretend_nominated(struct look *l, struct node *node, int sign)
{
	for (size_t i = 0; i < node->n_nominated; i++)
		if (counts_before(l, node->nominated[i]))
			cluster_pretend(l->cluster, node->nominated[i]->pod, node, sign);
}

static enum misfit look_afresh(struct look *l, struct node *node, struct row *row)
{
	struct look with = *l;
	enum misfit m;

	*row = (struct row){ 0 };
	row_look(row, l->wish, node);
	/* Who is pretended to be there may shun it. */
	look_begin(&with, l->cluster, l->wish, l->self);
	with.claims = l->claims;
	with.volume_rules = l->volume_rules;
	m = look_misfit(&with, node, row);
	l->volume_why = with.volume_why;
	l->volume_final = with.volume_final;
	return m;
}

/* Rows count what those take who come first there; the pod's own node has no such row. */
void look_row(struct look *l, struct node *node, struct row *row)
{
	bool crowded;

	if (row->version == node->version)
		return;
	crowded = node->n_nominated > 0 && look_meets_nominated(l, node);
	if (crowded)
		pretend_nominated(l, node, 1);
	row_look(row, l->wish, node);
	if (crowded)
		pretend_nominated(l, node, -1);
}

/* With those who come first there, and without them: it must not depend on them either. */
enum misfit look_again(struct look *l, struct node *node, struct row *row)
{
	enum misfit m;

	if (!look_meets_nominated(l, node))
		return look_afresh(l, node, row);
	pretend_nominated(l, node, 1);
	m = look_afresh(l, node, row);
	pretend_nominated(l, node, -1);
	return m != FITS ? m : look_afresh(l, node, row);
}

/* --- Words ---------------------------------------------------------------------------------------
 */

const char *misfit_text(enum misfit m)
{
	static const char *const texts[MISFIT_COUNT] = {
		[MISFIT_UNSCHEDULABLE] = "node(s) were unschedulable",
		[MISFIT_TAINT] = "node(s) had untolerated taint(s)",
		[MISFIT_AFFINITY] = "node(s) didn't match Pod's node affinity/selector",
		[MISFIT_PORTS] = "node(s) didn't have free ports for the requested pod ports",
		[MISFIT_NO_PLACE] = "node(s) didn't match pod topology spread constraints "
				    "(missing required label)",
		[MISFIT_SPREAD] = "node(s) didn't match pod topology spread constraints",
		[MISFIT_WANTED] = "node(s) didn't match pod affinity rules",
		[MISFIT_SHUNNED] = "node(s) didn't match pod anti-affinity rules",
		[MISFIT_SHUNS] = "node(s) didn't satisfy existing pods anti-affinity rules",
		[MISFIT_NOT_NAMED] = "node(s) didn't satisfy plugin(s) [NodeAffinity]",
	};

	return texts[m];
}

bool misfit_yields(enum misfit m, const struct row *row, bool volume_final)
{
	switch (m) {
	case MISFIT_PORTS:
	case MISFIT_SPREAD:
	case MISFIT_SHUNNED:
	case MISFIT_SHUNS:
		return true;
	case MISFIT_ROOM:
		return !row->hopeless;
	case MISFIT_VOLUME:
		return !volume_final;
	default:
		return false;
	}
}
