#include "controlplane/scheduler/fit.h"

#include <stdlib.h>
#include <string.h>

#include "common/api/make.h"
#include "common/base/cleanup.h"
#include "controlplane/scheduler/neighbours.h"

/* What a container counts as for scoring when it asks for nothing. */
enum { SCORED_CPU_MILLI = 100, SCORED_MEMORY_BYTES = 200 * 1024 * 1024 };

int64_t scored_cpu(const struct pod_facts *p)
{
	return p->cpu_milli ? p->cpu_milli : SCORED_CPU_MILLI;
}

int64_t scored_memory(const struct pod_facts *p)
{
	return p->memory_bytes ? p->memory_bytes : SCORED_MEMORY_BYTES;
}

/* --- Taints --------------------------------------------------------------------- */

bool tolerates(const CoreV1__PodSpec *spec, const char *key, const char *value, const char *effect)
{
	for (size_t i = 0; i < spec->n_tolerations; i++) {
		const CoreV1__Toleration *t = spec->tolerations[i];

		if (!text_empty(t->effect) && !text_is(t->effect, effect))
			continue;
		if (!text_empty(t->key) && !text_is(t->key, key))
			continue;
		if (text_is(t->operator_, "Exists") || text_is(t->value, value))
			return true;
	}
	return false;
}

size_t untolerated_taints(const CoreV1__PodSpec *spec, const struct node_facts *node,
			  const char *effect)
{
	size_t n = 0;

	for (size_t i = 0; i < node->n_taints; i++) {
		const struct taint *t = &node->taints[i];

		n += strcmp(t->effect, effect) == 0 &&
		     !tolerates(spec, t->key, t->value, t->effect);
	}
	return n;
}

/* --- Node selector and affinity --------------------------------------------------- */

static bool value_listed(const CoreV1__NodeSelectorRequirement *r, const char *value)
{
	for (size_t i = 0; i < r->n_values; i++)
		if (text_is(r->values[i], value))
			return true;
	return false;
}

/* value is NULL when the node has no such label. */
static bool requirement_holds(const CoreV1__NodeSelectorRequirement *r, const char *value)
{
	const char *op = text_of(r->operator_);

	if (strcmp(op, "Exists") == 0)
		return value != NULL;
	if (strcmp(op, "DoesNotExist") == 0)
		return value == NULL;
	if (strcmp(op, "NotIn") == 0)
		return value == NULL || !value_listed(r, value);
	if (value == NULL)
		return false;
	if (strcmp(op, "In") == 0)
		return value_listed(r, value);

	char *end;
	long long have = strtoll(value, &end, 10);

	if (r->n_values != 1 || end == value || *end != '\0')
		return false;

	long long bound = strtoll(text_of(r->values[0]), NULL, 10);

	return strcmp(op, "Gt") == 0 ? have > bound : strcmp(op, "Lt") == 0 && have < bound;
}

/* All requirements of a term; a term without any matches nothing. */
bool term_matches(const CoreV1__NodeSelectorTerm *term, const struct object *node)
{
	if (term == NULL || term->n_matchexpressions + term->n_matchfields == 0)
		return false;
	for (size_t i = 0; i < term->n_matchexpressions; i++) {
		const CoreV1__NodeSelectorRequirement *r = term->matchexpressions[i];

		if (!requirement_holds(r, object_label(node, text_of(r->key))))
			return false;
	}
	for (size_t i = 0; i < term->n_matchfields; i++)
		if (!requirement_holds(term->matchfields[i], node->name))
			return false;
	return true;
}

bool affinity_matches(const CoreV1__PodSpec *spec, const struct object *node)
{
	for (size_t i = 0; i < spec->n_nodeselector; i++) {
		const char *value = object_label(node, text_of(spec->nodeselector[i]->key));

		if (value == NULL || !text_is(spec->nodeselector[i]->value, value))
			return false;
	}

	const CoreV1__NodeAffinity *a = spec->affinity ? spec->affinity->nodeaffinity : NULL;
	const CoreV1__NodeSelector *required =
		a ? a->requiredduringschedulingignoredduringexecution : NULL;

	if (required == NULL)
		return true;
	for (size_t i = 0; i < required->n_nodeselectorterms; i++)
		if (term_matches(required->nodeselectorterms[i], node))
			return true;
	return false;
}

/* --- Ports and resources ------------------------------------------------------------ */

static bool any_address(const char *ip)
{
	return ip[0] == '\0' || strcmp(ip, "0.0.0.0") == 0;
}

static bool ports_collide(const struct host_port *a, const struct host_port *b)
{
	return a->port == b->port && strcmp(a->protocol, b->protocol) == 0 &&
	       (any_address(a->ip) || any_address(b->ip) || strcmp(a->ip, b->ip) == 0);
}

static bool ports_free(const struct pod_facts *p, const struct node *node)
{
	for (size_t i = 0; i < p->n_host_ports; i++)
		for (size_t k = 0; k < node->n_ports; k++)
			if (ports_collide(&p->host_ports[i], &node->ports[k].port))
				return false;
	return true;
}

static enum misfit resource_misfit(const struct pod_facts *p, const struct node *node)
{
	const struct node_facts *has = node->object->facts.node;
	const struct room *used = &node->used;

	if (used->pods + 1 > has->pods)
		return MISFIT_PODS;
	if (p->cpu_milli > 0 && used->cpu_milli + p->cpu_milli > has->cpu_milli)
		return MISFIT_CPU;
	if (p->memory_bytes > 0 && used->memory_bytes + p->memory_bytes > has->memory_bytes)
		return MISFIT_MEMORY;
	if (p->ephemeral_bytes > 0 &&
	    used->ephemeral_bytes + p->ephemeral_bytes > has->ephemeral_bytes)
		return MISFIT_STORAGE;
	return FITS;
}

/* --- The whole filter ----------------------------------------------------------------- */

enum misfit node_misfit(const struct request *r, const struct node *node)
{
	const struct node_facts *facts = node->object->facts.node;

	if (facts->unschedulable &&
	    !tolerates(r->spec, "node.kubernetes.io/unschedulable", "", "NoSchedule"))
		return MISFIT_UNSCHEDULABLE;
	if (untolerated_taints(r->spec, facts, "NoSchedule") +
		    untolerated_taints(r->spec, facts, "NoExecute") >
	    0)
		return MISFIT_TAINT;
	if (!affinity_matches(r->spec, node->object))
		return MISFIT_AFFINITY;
	if (!ports_free(r->facts, node))
		return MISFIT_PORTS;
	if (r->extended != NULL)
		return MISFIT_EXTENDED;

	enum misfit m = resource_misfit(r->facts, node);

	return m == FITS && r->neighbours != NULL ? neighbours_misfit(r->neighbours, node->object)
						  : m;
}

const char *misfit_text(enum misfit m)
{
	static const char *const texts[MISFIT_COUNT] = {
		[MISFIT_UNSCHEDULABLE] = "node(s) were unschedulable",
		[MISFIT_TAINT] = "node(s) had untolerated taint(s)",
		[MISFIT_AFFINITY] = "node(s) didn't match Pod's node affinity/selector",
		[MISFIT_PORTS] = "node(s) didn't have free ports for the requested pod ports",
		[MISFIT_WANTED] = "node(s) didn't match pod affinity rules",
		[MISFIT_SHUNNED] = "node(s) didn't match pod anti-affinity rules",
		[MISFIT_SHUNS] = "node(s) didn't satisfy existing pods anti-affinity rules",
		[MISFIT_SPREAD] = "node(s) didn't match pod topology spread constraints",
		[MISFIT_PODS] = "Too many pods",
		[MISFIT_CPU] = "Insufficient cpu",
		[MISFIT_MEMORY] = "Insufficient memory",
		[MISFIT_STORAGE] = "Insufficient ephemeral-storage",
		[MISFIT_EXTENDED] = "Insufficient",
	};

	return texts[m];
}

/* --- Scores --------------------------------------------------------------------------- */

static int64_t free_share(int64_t used, int64_t has)
{
	return has <= 0 || used >= has ? 0 : (has - used) * 100 / has;
}

/* How even cpu and memory would be used: 100 when their shares are the same. */
static int64_t balance(const struct pod_facts *p, const struct node *node)
{
	const struct node_facts *has = node->object->facts.node;

	if (has->cpu_milli <= 0 || has->memory_bytes <= 0)
		return 0;

	int64_t cpu = (node->used.cpu_milli + p->cpu_milli) * 1000 / has->cpu_milli;
	int64_t memory = (int64_t)((double)(node->used.memory_bytes + p->memory_bytes) * 1000 /
				   (double)has->memory_bytes);
	int64_t apart = cpu > memory ? cpu - memory : memory - cpu;

	/* Two shares deviate from their mean by half their distance. */
	return apart >= 2000 ? 0 : 100 - apart / 20;
}

static int64_t preferred(const CoreV1__PodSpec *spec, const struct object *node)
{
	const CoreV1__NodeAffinity *a = spec->affinity ? spec->affinity->nodeaffinity : NULL;
	int64_t sum = 0;

	for (size_t i = 0; a != NULL && i < a->n_preferredduringschedulingignoredduringexecution;
	     i++) {
		const CoreV1__PreferredSchedulingTerm *t =
			a->preferredduringschedulingignoredduringexecution[i];

		if (t->weight != 0 && term_matches(t->preference, node))
			sum += t->weight;
	}
	return sum;
}

struct score node_score(const struct request *r, const struct node *node, uint64_t mark)
{
	const struct node_facts *has = node->object->facts.node;

	return (struct score){
		.affinity = preferred(r->spec, node->object),
		.soft_taints = (int64_t)untolerated_taints(r->spec, has, "PreferNoSchedule"),
		.least = (free_share(node->used.scored_cpu_milli + scored_cpu(r->facts),
				     has->cpu_milli) +
			  free_share(node->used.scored_memory_bytes + scored_memory(r->facts),
				     has->memory_bytes)) /
			 2,
		.balanced = balance(r->facts, node),
		.siblings = node->mark == mark ? node->siblings : 0,
	};
}

int64_t score_total(const struct score *s, const struct score *max)
{
	/* Kubernetes' weights: TaintToleration 3, NodeAffinity 2, spreading 2, the rest 1. */
	int64_t taints = max->soft_taints ? 100 - s->soft_taints * 100 / max->soft_taints : 100;
	int64_t affinity = max->affinity ? s->affinity * 100 / max->affinity : 0;
	int64_t spread = max->siblings ? 100 - s->siblings * 100 / max->siblings : 100;

	return 3 * taints + 2 * affinity + 2 * spread + s->least + s->balanced;
}
