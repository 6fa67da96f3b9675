/* HorizontalPodAutoscalers of autoscaling/v1 as JSON, whose annotations hold more JSON: as v2, and
 * back. What came back once stays the same. */
#include <stdlib.h>

#include "common/api/convert.h"
#include "common/api/json.h"
#include "common/api/message.h"
#include "common/base/arena.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct kind *v1 = kind_of_type("autoscaling/v1", "HorizontalPodAutoscaler");
	const struct kind *v2 = kind_stored(v1);
	void *message, *as_v2, *again;
	struct arena body, a;

	arena_init(&body, 16u << 20);
	arena_init(&a, 0);
	if (json_read_message(v1->descriptor, bytes_of(data, size), &body, NULL, &message, NULL) ==
	    0) {
		as_v2 = convert_message(v1, v2, message, &a);
		again = convert_message(v1, v2, convert_message(v2, v1, as_v2, &a), &a);
		if (again == NULL)
			abort();
	}
	arena_fini(&a);
	arena_fini(&body);
	return 0;
}
