/* What a node says it uses: whatever is taken can be found, and goes to another master unchanged.
 */
#include <stdlib.h>
#include <string.h>

#include "controlplane/nodes/usage.h"
#include "controlplane/store/arena_unpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct usage *u, struct arena *a)
{
	SampanMaster__UsageRequest question = SAMPAN_MASTER__USAGE_REQUEST__INIT;
	SampanMaster__UsageReply reply;
	struct usage copy;

	usage_init(&copy);
	usage_answer(u, &question, 0, a, &reply);
	if (usage_take_answer(&copy, &reply) < 0 || copy.nodes.count != u->nodes.count)
		abort();
	tree_for_each (n, &u->nodes, struct node_usage, by_name)
		for (size_t i = 0; i < n->n_pods; i++)
			if (usage_pod(&copy, n->name, n->pods[i].uid, 0) == NULL)
				abort();
	usage_fini(&copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const SampanNode__Usage *told;
	struct usage u;
	struct arena a;

	usage_init(&u);
	arena_init(&a, 16u << 20);
	told = arena_unpack(&a, &sampan_node__usage__descriptor, bytes_of(data, size));
	if (told != NULL && usage_put(&u, "n", (int64_t)told->age_ms * 1000000, told) == 0)
		check(&u, &a);
	arena_fini(&a);
	usage_fini(&u);
	return 0;
}
