#include "controlplane/nodes/usage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "controlplane/store/arena_unpack.h"

/* Nobody has a million processors or 2^62 bytes; sums of such numbers still fit. */
#define CPU_NANOCORES_MAX UINT64_C(1000000000000000)
#define MEMORY_BYTES_MAX (UINT64_C(1) << 62)
#define WINDOW_MS_MAX 600000
#define NAME_MAX_LEN 253
#define ANSWER_BUDGET_BYTES ((size_t)8 << 20)

static int compare_name(const void *key, const struct tree_node *node)
{
	return strcmp(key, container_of(node, const struct node_usage, by_name)->name);
}

void usage_init(struct usage *u)
{
	tree_init(&u->nodes, compare_name);
}

static struct node_usage *find(const struct usage *u, const char *node)
{
	return tree_entry(tree_find(&u->nodes, node), struct node_usage, by_name);
}

static void node_free(struct usage *u, struct node_usage *n)
{
	tree_remove(&u->nodes, &n->by_name);
	free(n->block);
	free(n->name);
	free(n);
}

void usage_fini(struct usage *u)
{
	tree_for_each (n, &u->nodes, struct node_usage, by_name)
		node_free(u, n);
}

void usage_forget(struct usage *u, const char *node)
{
	struct node_usage *n = find(u, node);

	if (n != NULL)
		node_free(u, n);
}

/* --- What an agent tells --------------------------------------------------------------- */

static bool name_is_good(const char *name)
{
	return name != NULL && name[0] != '\0' && strlen(name) <= NAME_MAX_LEN;
}

static bool numbers_are_good(uint64_t cpu, uint64_t memory)
{
	return cpu <= CPU_NANOCORES_MAX && memory <= MEMORY_BYTES_MAX;
}

struct sizes {
	size_t containers, text;
};

static int measure(const SampanNode__Usage *told, struct sizes *ret)
{
	*ret = (struct sizes){ 0 };
	if (told->n_pods > USAGE_PODS_MAX || told->window_ms > WINDOW_MS_MAX ||
	    !numbers_are_good(told->cpu_nanocores, told->memory_bytes))
		return -EBADMSG;
	for (size_t i = 0; i < told->n_pods; i++) {
		const SampanNode__PodUsage *p = told->pods[i];

		ret->containers += p->n_containers;
		if (!name_is_good(p->uid) || p->window_ms > WINDOW_MS_MAX ||
		    ret->containers > USAGE_CONTAINERS_MAX)
			return -EBADMSG;
		ret->text += strlen(p->uid) + 1;
		for (size_t k = 0; k < p->n_containers; k++) {
			const SampanNode__ContainerUsage *c = p->containers[k];

			if (!name_is_good(c->name) ||
			    !numbers_are_good(c->cpu_nanocores, c->memory_bytes))
				return -EBADMSG;
			ret->text += strlen(c->name) + 1;
		}
	}
	return 0;
}

static const char *put_text(char **at, const char *s)
{
	size_t n = strlen(s) + 1;
	char *to = *at;

	memcpy(to, s, n);
	*at += n;
	return to;
}

static int compare_uid(const void *x, const void *y)
{
	return strcmp(((const struct pod_usage *)x)->uid, ((const struct pod_usage *)y)->uid);
}

static void fill(struct node_usage *n, const SampanNode__Usage *told, const struct sizes *sizes)
{
	size_t pods_bytes = told->n_pods * sizeof(struct pod_usage);
	size_t containers_bytes = sizes->containers * sizeof(struct container_usage);
	char *block = xmalloc(pods_bytes + containers_bytes + sizes->text + 1);
	struct pod_usage *pods = (struct pod_usage *)block;
	struct container_usage *c = (struct container_usage *)(block + pods_bytes);
	char *text = block + pods_bytes + containers_bytes;

	for (size_t i = 0; i < told->n_pods; i++) {
		const SampanNode__PodUsage *p = told->pods[i];

		pods[i] = (struct pod_usage){
			.uid = put_text(&text, p->uid),
			.measured_ns = n->measured_ns,
			.window_ns = (int64_t)p->window_ms * 1000000,
			.containers = c,
			.n_containers = p->n_containers,
		};
		for (size_t k = 0; k < p->n_containers; k++)
			*c++ = (struct container_usage){
				.name = put_text(&text, p->containers[k]->name),
				.cpu_nanocores = p->containers[k]->cpu_nanocores,
				.memory_bytes = p->containers[k]->memory_bytes,
			};
	}
	qsort(pods, told->n_pods, sizeof(*pods), compare_uid);
	n->pods = pods;
	n->n_pods = told->n_pods;
	n->block = block;
}

static int put_at(struct usage *u, const char *node, int64_t measured_ns,
		  const SampanNode__Usage *told)
{
	struct sizes sizes;
	int rc = measure(told, &sizes);

	if (rc < 0)
		return rc;

	struct node_usage *n = find(u, node);

	if (n == NULL) {
		n = xcalloc(1, sizeof(*n));
		n->name = xstrdup(node);
		tree_insert(&u->nodes, n->name, &n->by_name);
	}
	free(n->block);
	n->measured_ns = measured_ns;
	n->window_ns = (int64_t)told->window_ms * 1000000;
	n->cpu_nanocores = told->cpu_nanocores;
	n->memory_bytes = told->memory_bytes;
	fill(n, told, &sizes);
	return 0;
}

int usage_put(struct usage *u, const char *node, int64_t now_ns, const SampanNode__Usage *told)
{
	return put_at(u, node, now_ns - (int64_t)told->age_ms * 1000000, told);
}

/* --- Reading ----------------------------------------------------------------------------- */

static bool is_fresh(const struct node_usage *n, int64_t now_ns)
{
	return now_ns - n->measured_ns <= USAGE_AGE_MAX_NS;
}

const struct node_usage *usage_node(const struct usage *u, const char *node, int64_t now_ns)
{
	const struct node_usage *n = find(u, node);

	return n != NULL && is_fresh(n, now_ns) ? n : NULL;
}

const struct pod_usage *usage_pod(const struct usage *u, const char *node, const char *uid,
				  int64_t now_ns)
{
	const struct node_usage *n = usage_node(u, node, now_ns);
	struct pod_usage key = { .uid = uid };

	if (n == NULL || n->n_pods == 0)
		return NULL;
	return bsearch(&key, n->pods, n->n_pods, sizeof(key), compare_uid);
}

/* --- Between masters ------------------------------------------------------------------------ */

static SampanNode__PodUsage *pod_message(struct arena *a, const struct pod_usage *p)
{
	SampanNode__PodUsage *m = arena_new(a, SampanNode__PodUsage);

	sampan_node__pod_usage__init(m);
	m->uid = (char *)p->uid;
	m->has_window_ms = true;
	m->window_ms = (uint32_t)(p->window_ns / 1000000);
	m->containers = arena_array(a, SampanNode__ContainerUsage *, p->n_containers + 1);
	m->n_containers = p->n_containers;
	for (size_t i = 0; i < p->n_containers; i++) {
		SampanNode__ContainerUsage *c = arena_new(a, SampanNode__ContainerUsage);

		sampan_node__container_usage__init(c);
		c->name = (char *)p->containers[i].name;
		c->has_cpu_nanocores = c->has_memory_bytes = true;
		c->cpu_nanocores = p->containers[i].cpu_nanocores;
		c->memory_bytes = p->containers[i].memory_bytes;
		m->containers[i] = c;
	}
	return m;
}

static SampanMaster__NodeUsage *node_message(struct arena *a, const struct node_usage *n)
{
	SampanMaster__NodeUsage *m = arena_new(a, SampanMaster__NodeUsage);
	SampanNode__Usage u = SAMPAN_NODE__USAGE__INIT;

	u.has_window_ms = u.has_cpu_nanocores = u.has_memory_bytes = true;
	u.window_ms = (uint32_t)(n->window_ns / 1000000);
	u.cpu_nanocores = n->cpu_nanocores;
	u.memory_bytes = n->memory_bytes;
	u.pods = arena_array(a, SampanNode__PodUsage *, n->n_pods + 1);
	u.n_pods = n->n_pods;
	for (size_t i = 0; i < n->n_pods; i++)
		u.pods[i] = pod_message(a, &n->pods[i]);
	sampan_master__node_usage__init(m);
	m->node = n->name;
	m->has_measured_ns = m->has_usage = true;
	m->measured_ns = n->measured_ns;
	m->usage.data = arena_alloc(a, sampan_node__usage__get_packed_size(&u) + 1);
	m->usage.len = sampan_node__usage__pack(&u, m->usage.data);
	return m;
}

void usage_answer(const struct usage *u, const SampanMaster__UsageRequest *question, int64_t now_ns,
		  struct arena *arena, SampanMaster__UsageReply *ret)
{
	const char *only = question->node != NULL ? question->node : "";
	const char *after = question->after != NULL ? question->after : "";
	struct tree_node *at = tree_lower_bound(&u->nodes, only[0] != '\0' ? only : after);
	size_t bytes = 0;

	sampan_master__usage_reply__init(ret);
	ret->nodes = arena_array(arena, SampanMaster__NodeUsage *, u->nodes.count + 1);
	for (; at != NULL; at = tree_next(at)) {
		const struct node_usage *n = container_of(at, struct node_usage, by_name);

		if (only[0] != '\0' && strcmp(n->name, only) != 0)
			return;
		if ((only[0] == '\0' && strcmp(n->name, after) == 0) || !is_fresh(n, now_ns))
			continue;
		if (bytes >= USAGE_REPLY_BYTES) {
			ret->has_more = ret->more = true;
			return;
		}

		SampanMaster__NodeUsage *m = node_message(arena, n);

		bytes += m->usage.len + strlen(n->name) + 16;
		ret->nodes[ret->n_nodes++] = m;
	}
}

int usage_take_answer(struct usage *u, const SampanMaster__UsageReply *reply)
{
	int rc = 0;

	for (size_t i = 0; i < reply->n_nodes && rc == 0; i++) {
		const SampanMaster__NodeUsage *n = reply->nodes[i];
		struct arena arena;

		arena_init(&arena, ANSWER_BUDGET_BYTES);

		const SampanNode__Usage *told =
			n->node != NULL ? arena_unpack(&arena, &sampan_node__usage__descriptor,
						       bytes_of(n->usage.data, n->usage.len))
					: NULL;

		rc = told != NULL ? put_at(u, n->node, n->measured_ns, told) : -EBADMSG;
		arena_fini(&arena);
	}
	return rc;
}
