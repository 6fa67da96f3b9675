/* JSON bodies. The first byte picks the kind. What can be read must survive
 * bytes and JSON unchanged. */
#include <stdlib.h>
#include <string.h>

#include "common/api/json.h"
#include "common/api/kinds.h"
#include "common/api/pack.h"
#include "common/base/arena.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const ProtobufCMessageDescriptor *d, ProtobufCMessage *m, struct arena *a)
{
	struct buf json = { 0 }, packed = { 0 }, direct = { 0 }, again = { 0 };
	ProtobufCMessage *back;

	json_put_message(&json, m, NULL);
	pack_message(&packed, m);
	if (json_put_packed(&direct, d, buf_bytes(&packed), NULL) < 0)
		abort();
	if (json.len != direct.len || memcmp(json.data, direct.data, json.len) != 0)
		abort();
	if (json_read_message(d, buf_bytes(&json), a, NULL, &back, NULL) < 0)
		abort();
	pack_message(&again, back);
	if (packed.len != again.len ||
	    (again.len > 0 && memcmp(packed.data, again.data, again.len) != 0))
		abort();
	buf_fini(&json);
	buf_fini(&packed);
	buf_fini(&direct);
	buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json_read read = { .validation = FIELDS_STRICT };
	struct status st = { 0 };
	ProtobufCMessage *m;
	struct arena a;

	if (size == 0)
		return 0;
	const ProtobufCMessageDescriptor *d = kinds_all[data[0] % kinds_count].descriptor;
	arena_init(&a, 16u << 20);
	read.validation = data[0] & 0x80 ? FIELDS_STRICT : FIELDS_WARN;
	if (json_read_message(d, bytes_of(data + 1, size - 1), &a, &read, &m, &st) == 0)
		check(d, m, &a);
	else if (st.message == NULL)
		abort();
	status_fini(&st);
	arena_fini(&a);
	return 0;
}
