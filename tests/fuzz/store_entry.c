/* Bytes as an entry of the log: refused, or applied with the store still whole. */
#include <stdlib.h>

#include "common/base/status.h"
#include "controlplane/store/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct store *s = store_create(&store_limits_default);
	const struct plan_result *results;
	struct status st = { 0 };
	uint64_t revision;
	size_t n_results;

	/* Twice: the second time over what the first one left. */
	for (int i = 0; i < 2; i++) {
		revision = store_revision(s);
		if (store_apply(s, bytes_of(data, n), &results, &n_results, &st) < 0 &&
		    store_revision(s) != revision)
			abort();
	}
	status_fini(&st);
	store_destroy(s);
	return 0;
}
