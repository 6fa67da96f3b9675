/* Patches: the input is a document, a zero byte, and a patch of all three kinds. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/patch.h"
#include "common/api/pack.h"
#include "common/base/arena.h"
#include "proto/k8s/core_v1.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What comes out is JSON again. */
static void check(const struct value *v, struct arena *a)
{
	struct buf text = { 0 };
	struct value *back;

	value_print(&text, v);
	int rc = value_parse(buf_bytes(&text), a, &back, NULL);
	if (rc == 0 ? !value_equal(v, back) : rc != -EFBIG)
		abort();
	buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *zero = size > 0 ? memchr(data, 0, size) : NULL;
	struct value *doc, *patch, *out;
	struct arena a;

	if (zero == NULL)
		return 0;
	struct bytes first = bytes_of(data, (size_t)(zero - data));
	struct bytes second = bytes_of(zero + 1, size - first.len - 1);
	const struct schema *pod = schema_of(&core_v1__pod__descriptor);

	arena_init(&a, 16u << 20);
	if (value_parse(second, &a, &patch, NULL) == 0 && value_parse(first, &a, &doc, NULL) == 0) {
		check(doc, &a);
		if (patch_json(doc, patch, &a, &out, NULL) == 0)
			check(out, &a);
		if (patch_merge(doc, patch, &a, &out, NULL) == 0)
			check(out, &a);
		if (patch_strategic(pod, doc, patch, &a, &out, NULL) == 0)
			check(out, &a);
	}
	arena_fini(&a);
	return 0;
}
