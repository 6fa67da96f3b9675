/* Protobuf bodies and stored bytes. The first byte picks the kind. Bytes from
 * outside become canonical, and canonical bytes stay as they are; bytes that are
 * not canonical may be refused by the writer of JSON, but do no harm. */
#include <stdlib.h>
#include <string.h>

#include "common/api/envelope.h"
#include "common/api/fields.h"
#include "common/api/json.h"
#include "common/api/kinds.h"
#include "common/api/pack.h"
#include "common/base/arena.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_canonical(const struct kind *k, struct bytes in, struct arena *a)
{
	struct buf once = { 0 }, twice = { 0 }, json = { 0 }, revised = { 0 };
	const struct json_head head = { k->api_version, k->kind, 7 };
	ProtobufCMessage *m;

	if (pack_normalise(&once, k->descriptor, in, a, NULL) == 0) {
		if (pack_normalise(&twice, k->descriptor, buf_bytes(&once), a, NULL) < 0)
			abort();
		if (once.len != twice.len ||
		    (once.len > 0 && memcmp(once.data, twice.data, once.len) != 0))
			abort();
		if (json_put_packed(&json, k->descriptor, buf_bytes(&once), &head) < 0)
			abort();
		if (json_read_message(k->descriptor, buf_bytes(&json), a, NULL, &m, NULL) < 0)
			abort();
		packed_put_revision(&revised, buf_bytes(&once), 7);
		if (unpack_message(k->descriptor, buf_bytes(&revised), a, &m, NULL) < 0)
			abort();
	}
	buf_fini(&once);
	buf_fini(&twice);
	buf_fini(&json);
	buf_fini(&revised);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct envelope envelope;
	struct buf json = { 0 }, rest = { 0 };
	struct arena a;
	const char *text;

	if (size == 0)
		return 0;
	const struct kind *k = &kinds_all[data[0] % kinds_count];
	struct bytes in = bytes_of(data + 1, size - 1);

	arena_init(&a, 16u << 20);
	check_canonical(k, in, &a);
	json_put_packed(&json, k->descriptor, in, NULL);
	packed_put_revision(&rest, in, 3);
	field_text(k->descriptor, in, "metadata.name", &a, &text);
	field_text(k->descriptor, in, "spec.nodeName", &a, &text);
	envelope_open(in, &a, &envelope, NULL);
	buf_fini(&json);
	buf_fini(&rest);
	arena_fini(&a);
	return 0;
}
