/* Answers of masters become a world: pages, changes, bookmarks, and masters that lag or forget. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "proto/sampan/node.pb-c.h"
#include "proxy/feed/feed.h"

struct answer {
	uint64_t revision;
	bool full, expired;
	const char *continue_key;
	const char *names[4]; /* Services; "-" before a name: deleted. */
};

static int take(struct world *w, struct feed_place *place, const struct answer *a)
{
	SampanNode__Reply reply = SAMPAN_NODE__REPLY__INIT, *got;
	SampanNode__WatchReply watch = SAMPAN_NODE__WATCH_REPLY__INIT;
	SampanNode__Change changes[4], *list[4];
	SampanNode__Held keys[4];
	auto_with(buf_fini) struct buf packed = { 0 };
	/* A Service with an empty spec. */
	static uint8_t object[] = { 0x12, 0x00 };

	for (size_t i = 0; a->names[i] != NULL; i++) {
		bool deleted = a->names[i][0] == '-';

		sampan_node__change__init(&changes[i]);
		sampan_node__held__init(&keys[i]);
		keys[i].resource = (char *)"services";
		keys[i].namespace_ = (char *)"d";
		keys[i].name = (char *)a->names[i] + deleted;
		changes[i].key = &keys[i];
		changes[i].has_deleted = changes[i].deleted = deleted;
		changes[i].has_object = !deleted;
		changes[i].object = (ProtobufCBinaryData){ sizeof(object), object };
		list[watch.n_changes++] = &changes[i];
	}
	watch.changes = list;
	watch.has_revision = true;
	watch.revision = a->revision;
	watch.has_full = watch.full = a->full;
	watch.has_expired = watch.expired = a->expired;
	watch.continue_key = (char *)a->continue_key;
	reply.watch = &watch;
	packed.len = sampan_node__reply__pack(&reply,
		buf_reserve(&packed, sampan_node__reply__get_packed_size(&reply)));
	int rc = feed_take_reply(w, place, buf_bytes(&packed), &got, NULL);

	if (rc == 0)
		sampan_node__reply__free_unpacked(got, NULL);
	while (world_next_dirty(w) != NULL)
		;
	return rc;
}

static void assert_services(struct world *w, const char *want)
{
	auto_with(buf_fini) struct buf text = { 0 };

	tree_for_each(s, &w->services, struct service, node)
		buf_printf(&text, "%s ", s->name);
	assert_string_equal(buf_cstr(&text), want);
}

static void test_life(void **state)
{
	struct feed_place place = { 0 };
	struct world w;

	world_init(&w);
	/* In pages; nothing is complete before the last, and the first page's revision counts. */
	assert_int_equal(take(&w, &place, &(struct answer){ 10, true, false, "k", { "a", "b" } }), 0);
	assert_false(w.synced);
	assert_string_equal(place.continue_key, "k");
	assert_int_equal(place.revision, 0);
	assert_int_equal(take(&w, &place, &(struct answer){ 12, true, false, NULL, { "c" } }), 0);
	assert_true(w.synced);
	assert_int_equal(place.revision, 10);
	assert_services(&w, "a b c ");
	/* Changes, then a bookmark, then a master that lags. */
	assert_int_equal(take(&w, &place, &(struct answer){ 13, false, false, NULL, { "-a", "d" } }), 0);
	assert_services(&w, "b c d ");
	assert_int_equal(take(&w, &place, &(struct answer){ 15, false, false, NULL, { NULL } }), 0);
	assert_int_equal(place.revision, 15);
	assert_int_equal(take(&w, &place, &(struct answer){ 11, false, false, NULL, { NULL } }), 0);
	assert_int_equal(place.revision, 15);
	/* The history is gone: everything anew; what is not in it is gone, but not before it is complete. */
	assert_int_equal(take(&w, &place, &(struct answer){ 20, false, true, NULL, { NULL } }), 0);
	assert_int_equal(place.revision, 0);
	assert_int_equal(take(&w, &place, &(struct answer){ 20, true, false, "k", { "b" } }), 0);
	assert_services(&w, "b c d ");
	assert_int_equal(take(&w, &place, &(struct answer){ 21, true, false, NULL, { "e" } }), 0);
	assert_services(&w, "b e ");
	assert_int_equal(place.revision, 20);
	world_fini(&w);
}

static void test_broken_off(void **state)
{
	struct feed_place place = { 0 };
	struct world w;

	world_init(&w);
	assert_int_equal(take(&w, &place, &(struct answer){ 10, true, false, "k", { "a" } }), 0);
	assert_int_equal(take(&w, &place, &(struct answer){ 11, false, false, NULL, { "x" } }), -EPROTO);
	free(place.continue_key);
	world_fini(&w);
}

static void test_refusals(void **state)
{
	SampanNode__Reply reply = SAMPAN_NODE__REPLY__INIT, *got = NULL;
	auto_with(status_fini) struct status st = { 0 };
	auto_with(buf_fini) struct buf packed = { 0 };
	struct feed_place place = { 0 };
	struct world w;

	world_init(&w);
	assert_int_equal(feed_take_reply(&w, &place, bytes_str("\xff\xff"), &got, NULL), -EPROTO);
	assert_int_equal(feed_take_reply(&w, &place, bytes_of("", 0), &got, NULL), -EPROTO);
	reply.has_rc = true;
	reply.rc = -EAGAIN;
	reply.message = (char *)"too many watches";
	packed.len = sampan_node__reply__pack(&reply,
		buf_reserve(&packed, sampan_node__reply__get_packed_size(&reply)));
	assert_int_equal(feed_take_reply(&w, &place, buf_bytes(&packed), &got, &st), -EAGAIN);
	assert_string_equal(st.message, "too many watches");
	assert_null(got);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_broken_off),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
