/* What a registry says: manifests, configurations, challenges; and pull secrets. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "agent/images/credentials.h"
#include "agent/images/pull/registry.h"
#include "agent/images/record.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	auto_with(arena_fini) struct arena arena = { 0 };
	auto_with(buf_fini) struct buf out = { 0 };
	autofree char *text = xstrndup((const char *)data, n);
	const char *texts[] = { text };
	struct manifest manifest;
	struct record record;
	struct reference ref;

	arena_init(&arena, 1 << 20);
	manifest_parse(&arena, bytes_of(data, n), platform_of_machine(), &manifest, NULL);
	if (record_parse(&arena, bytes_of(data, n), &record, NULL) == 0 && record.digest != NULL)
		record_put(&out, &record);
	free(challenge_parameter(text, "realm"));
	if (reference_parse(text, &ref, NULL) == 0)
		free(reference_text(&ref));
	reference_parse("quay.io/a/b", &ref, NULL);
	free(credentials_find(texts, 1, &ref));
	return 0;
}
