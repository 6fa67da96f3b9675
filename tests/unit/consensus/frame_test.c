/* Frames: every kind survives, and no shortened or bent one is taken for something. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "controlplane/consensus/consensus.h"
#include "controlplane/consensus/core.h"
#include "controlplane/consensus/frame.h"

static void put_append(struct buf *out)
{
	struct frame f = { .type = FRAME_APPEND, .stamp = 5,
			   .append = { .term = 3, .prev_index = 9, .prev_term = 2, .commit = 8, .n = 2 } };
	size_t at = frame_begin_append(out, &f);

	frame_put_entry(out, &(struct frame_entry){ 3, 1, bytes_str("first") });
	frame_put_entry(out, &(struct frame_entry){ 3, 3, bytes_str("") });
	frame_end_append(out, at);
}

static void put_kind(struct buf *out, enum frame_type type)
{
	struct frame f = { .type = type, .stamp = 5 };

	if (type == FRAME_APPEND) {
		put_append(out);
		return;
	}
	if (type == FRAME_HELLO) {
		f.hello.id = 7;
		f.hello.address = bytes_str("host:1");
	} else if (type == FRAME_INSTALL) {
		f.install.last_index = f.install.last_term = 4;
		f.install.configuration = bytes_str("c");
	} else if (type == FRAME_CHUNK) {
		f.chunk.data = bytes_str("chunk");
	} else if (type == FRAME_APP) {
		f.app = bytes_str("message");
	} else if (type == FRAME_APPEND_RESULT) {
		f.append_result.echo = 77;
	}
	frame_put(out, &f);
}

static void every_kind_survives(void **state)
{
	(void)state;
	for (enum frame_type type = FRAME_HELLO; type < FRAME_TYPES; type++) {
		struct buf out = { 0 };
		struct frame f;

		put_kind(&out, type);
		assert_int_equal(frame_size(out.data, out.len), out.len);
		assert_int_equal(frame_decode(out.data, out.len, &f), 0);
		assert_int_equal(f.type, type);
		assert_int_equal(f.stamp, 5);
		if (type == FRAME_APPEND) {
			struct bytes left = f.append.entries;
			struct frame_entry e = frame_next_entry(&left);

			assert_int_equal(e.term, 3);
			assert_int_equal(e.data.len, 5);
			e = frame_next_entry(&left);
			assert_int_equal(e.type, 3);
			assert_int_equal(e.data.len, 0);
			assert_int_equal(left.len, 0);
		}
		if (type == FRAME_APPEND_RESULT)
			assert_int_equal(f.append_result.echo, 77);
		buf_fini(&out);
	}
}

static void every_shortening_is_refused(void **state)
{
	(void)state;
	for (enum frame_type type = FRAME_HELLO; type < FRAME_TYPES; type++) {
		struct buf out = { 0 };
		struct frame f;

		put_kind(&out, type);
		for (size_t n = FRAME_HEADER; n < out.len; n++)
			assert_int_equal(frame_decode(out.data, n, &f), -EBADMSG);
		buf_put_byte(&out, 0);
		assert_int_equal(frame_decode(out.data, out.len, &f), -EBADMSG);
		buf_fini(&out);
	}
}

static void sizes_are_bounded(void **state)
{
	uint8_t header[FRAME_HEADER] = { 0, 0, 0, 1, FRAME_GOODBYE, FRAME_VERSION };

	(void)state;
	assert_int_equal(frame_size(header, 15), 0);
	assert_int_equal(frame_size(header, 16), FRAME_MAX);
	header[0] = 1;
	assert_int_equal(frame_size(header, 16), -EBADMSG);
	memset(header, 0, 4);
	assert_int_equal(frame_size(header, 16), -EBADMSG);
	header[0] = 16;
	assert_int_equal(frame_size(header, 16), 16);
	header[5] = 9;
	assert_int_equal(frame_size(header, 16), -EBADMSG);
}

static void names_of_members(void **state)
{
	char name[CONSENSUS_NAME_SIZE];

	(void)state;
	consensus_member_name(0x12ab, name);
	assert_string_equal(name, "sampan:master:00000000000012ab");
	assert_int_equal(consensus_member_id(name), 0x12ab);
	assert_int_equal(consensus_member_id("sampan:master:00000000000012AB"), 0);
	assert_int_equal(consensus_member_id("sampan:master:12ab"), 0);
	assert_int_equal(consensus_member_id("system:node:00000000000012ab"), 0);
	assert_int_equal(consensus_member_id("sampan:master:00000000000012ab0"), 0);
}

static void configurations_are_read_with_suspicion(void **state)
{
	struct raft_configuration c, d;
	struct raft_buffer b;

	(void)state;
	raft_configuration_init(&c);
	for (unsigned i = 1; i <= 5; i++) {
		char address[16] = "host:0";

		address[5] = (char)('0' + i);
		assert_int_equal(raft_configuration_add(&c, i, address, (int)(i % 3)), 0);
	}
	assert_int_equal(raft_configuration_encode(&c, &b), 0);
	assert_int_equal(core_configuration_decode(bytes_of(b.base, b.len), &d), 0);
	assert_int_equal(d.n, 5);
	assert_string_equal(d.servers[4].address, "host:5");
	assert_int_equal(d.servers[4].role, 2);
	raft_configuration_close(&d);
	for (size_t n = 0; n < 9 + 5 * 16 - 1; n++)
		assert_int_equal(core_configuration_decode(bytes_of(b.base, n), &d), -EBADMSG);
	raft_free(b.base);
	raft_configuration_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_survives),
		cmocka_unit_test(every_shortening_is_refused),
		cmocka_unit_test(sizes_are_bounded),
		cmocka_unit_test(names_of_members),
		cmocka_unit_test(configurations_are_read_with_suspicion),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
