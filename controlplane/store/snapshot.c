#include "controlplane/store/internal.h"

#include <assert.h>
#include <errno.h>
#include <lz4frame.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/base/alloc.h"
#include "controlplane/store/arena_unpack.h"
#include "controlplane/store/wire.h"
#include "proto/sampan/store.pb-c.h"

/* One LZ4 frame with a checksum over its content:
 *
 *     "SAMPSNP1"  then records: length (varint), message
 *     SnapshotHeader, objects x StoredObject, sessions x StoredSession
 *
 * Objects come in kind and key order, sessions by id. Taking a snapshot takes
 * references only; sessions are few and are packed at once, because they change
 * in place. See docs/store-format.md. */

#define MAGIC "SAMPSNP1"
#define MAGIC_BYTES 8
#define VERSION 1
#define CHUNK_BYTES (64 << 10)
/* No record is larger: an entry of the log is not, either. */
#define RECORD_BYTES_MAX (64 << 20)

struct store_snapshot {
	SampanStore__SnapshotHeader header;
	struct object **objects;
	size_t n_objects;
	struct buf sessions; /* Records as they are written. */
};

static void put_varint(struct buf *b, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		buf_put_byte(b, (uint8_t)(value | 0x80));
	buf_put_byte(b, (uint8_t)value);
}

static void put_record(struct buf *b, const void *message)
{
	size_t n = protobuf_c_message_get_packed_size(message);

	put_varint(b, n);
	protobuf_c_message_pack(message, buf_reserve(b, n));
	b->len += n;
}

static void put_session(struct buf *b, const struct session *session)
{
	SampanStore__StoredSession stored = SAMPAN_STORE__STORED_SESSION__INIT;
	SampanStore__StoredResult *results = xcalloc(session->n_results + 1, sizeof(*results));
	SampanStore__StoredResult **pointers = xcalloc(session->n_results + 1, sizeof(*pointers));

	for (size_t i = 0; i < session->n_results; i++) {
		sampan_store__stored_result__init(&results[i]);
		results[i].has_sequence = results[i].has_rc = results[i].has_revision = true;
		results[i].sequence = session->results[i].sequence;
		results[i].rc = session->results[i].rc;
		results[i].revision = session->results[i].revision;
		pointers[i] = &results[i];
	}
	stored.has_id = stored.has_ttl_ms = stored.has_renewed_ns = true;
	stored.has_lowest_outstanding = true;
	stored.id = session->id;
	stored.ttl_ms = session->ttl_ms;
	stored.renewed_ns = session->renewed_ns;
	stored.lowest_outstanding = session->lowest_outstanding;
	stored.n_results = session->n_results;
	stored.results = pointers;
	put_record(b, &stored);
	free(pointers);
	free(results);
}

struct store_snapshot *store_snapshot_take(struct store *s)
{
	struct store_snapshot *snap = xcalloc(1, sizeof(*snap));

	sampan_store__snapshot_header__init(&snap->header);
	snap->header.has_version = snap->header.has_level = snap->header.has_revision = true;
	snap->header.has_time_ns = snap->header.has_hash = true;
	snap->header.has_objects = snap->header.has_sessions = true;
	snap->header.version = VERSION;
	snap->header.level = s->level;
	snap->header.revision = s->revision;
	snap->header.time_ns = s->time_ns;
	snap->header.hash = store_hash(s);
	snap->header.objects = s->n_objects;
	snap->header.sessions = s->sessions.by_id.count;

	snap->objects = xcalloc(s->n_objects + 1, sizeof(struct object *));
	for (size_t i = 0; i < kinds_count; i++)
		tree_for_each (slot, &s->objects[i], struct slot, node)
			snap->objects[snap->n_objects++] = object_ref(slot->object);
	assert(snap->n_objects == s->n_objects);
	tree_for_each (session, &s->sessions.by_id, struct session, by_id)
		put_session(&snap->sessions, session);
	return snap;
}

void store_snapshot_release(struct store_snapshot *snap)
{
	if (snap == NULL)
		return;
	for (size_t i = 0; i < snap->n_objects; i++)
		object_unref(snap->objects[i]);
	free(snap->objects);
	buf_fini(&snap->sessions);
	free(snap);
}

/* --- Writing -------------------------------------------------------------------- */

struct frame_writer {
	LZ4F_cctx *lz4;
	store_write_fn *write;
	void *ctx;
	struct buf plain, packed;
};

static const LZ4F_preferences_t preferences = {
	.frameInfo = { .blockSizeID = LZ4F_max256KB,
		       .contentChecksumFlag = LZ4F_contentChecksumEnabled },
};

static int frame_out(struct frame_writer *w, size_t n)
{
	if (LZ4F_isError(n))
		return -EIO;
	return n > 0 ? w->write(w->ctx, w->packed.data, n) : 0;
}

static int frame_flush(struct frame_writer *w, size_t threshold)
{
	size_t bound;

	if (w->plain.len < threshold)
		return 0;
	buf_clear(&w->packed);
	bound = LZ4F_compressBound(w->plain.len, &preferences);
	buf_reserve(&w->packed, bound);

	int rc = frame_out(w, LZ4F_compressUpdate(w->lz4, w->packed.data, bound, w->plain.data,
						  w->plain.len, NULL));

	buf_clear(&w->plain);
	return rc;
}

static void put_object(struct buf *b, const struct object *o)
{
	SampanStore__StoredObject stored = SAMPAN_STORE__STORED_OBJECT__INIT;
	SampanStore__Key key = SAMPAN_STORE__KEY__INIT;

	key.resource = (char *)o->kind->resource;
	key.namespace_ = o->namespace[0] != '\0' ? (char *)o->namespace : NULL;
	key.name = (char *)o->name;
	stored.key = &key;
	stored.has_object = stored.has_created_revision = stored.has_revision = true;
	stored.object = (ProtobufCBinaryData){ o->packed.len, (uint8_t *)o->packed.data };
	stored.created_revision = o->created_revision;
	stored.revision = o->revision;
	stored.n_claims = o->n_claims;
	stored.claims = (char **)o->claims;
	put_record(b, &stored);
}

static int frame_write(struct frame_writer *w, const struct store_snapshot *snap)
{
	int rc;

	buf_reserve(&w->packed, LZ4F_HEADER_SIZE_MAX);
	rc = frame_out(w, LZ4F_compressBegin(w->lz4, w->packed.data, w->packed.cap, &preferences));
	if (rc < 0)
		return rc;
	buf_put(&w->plain, MAGIC, MAGIC_BYTES);
	put_record(&w->plain, &snap->header);
	for (size_t i = 0; i < snap->n_objects; i++) {
		put_object(&w->plain, snap->objects[i]);
		rc = frame_flush(w, CHUNK_BYTES);
		if (rc < 0)
			return rc;
	}
	if (snap->sessions.len > 0)
		buf_put(&w->plain, snap->sessions.data, snap->sessions.len);
	rc = frame_flush(w, 0);
	if (rc < 0)
		return rc;
	buf_reserve(&w->packed, LZ4F_compressBound(0, &preferences));
	return frame_out(w, LZ4F_compressEnd(w->lz4, w->packed.data, w->packed.cap, NULL));
}

int store_snapshot_write(struct store_snapshot *snap, store_write_fn *write, void *ctx)
{
	struct frame_writer w = { .write = write, .ctx = ctx };

	if (LZ4F_isError(LZ4F_createCompressionContext(&w.lz4, LZ4F_VERSION)))
		return -ENOMEM;

	int rc = frame_write(&w, snap);

	LZ4F_freeCompressionContext(w.lz4);
	buf_fini(&w.plain);
	buf_fini(&w.packed);
	return rc;
}

/* --- Reading -------------------------------------------------------------------- */

struct frame_reader {
	LZ4F_dctx *lz4;
	store_read_fn *read;
	void *ctx;
	uint8_t packed[CHUNK_BYTES];
	size_t at, len; /* What is left of packed. */
	bool ended;     /* The frame is complete, its checksum right. */
	struct buf plain;
	size_t used; /* Of plain. */
};

/* Decode a little more. 0 at the end. */
static ssize_t frame_more(struct frame_reader *r)
{
	if (r->ended)
		return 0;
	if (r->at == r->len) {
		ssize_t n = r->read(r->ctx, r->packed, sizeof(r->packed));

		if (n <= 0)
			return n < 0 ? n : -EBADMSG; /* The frame is cut off. */
		r->at = 0;
		r->len = (size_t)n;
	}

	size_t to = CHUNK_BYTES, from = r->len - r->at;
	uint8_t *at = buf_reserve(&r->plain, to);
	size_t hint = LZ4F_decompress(r->lz4, at, &to, r->packed + r->at, &from, NULL);

	if (LZ4F_isError(hint))
		return -EBADMSG;
	r->plain.len += to;
	r->at += from;
	r->ended = hint == 0;
	return 1;
}

/* Have n plain bytes at hand. 0 when the frame ends before. */
static int frame_need(struct frame_reader *r, size_t n)
{
	if (r->used >= CHUNK_BYTES) {
		buf_consume(&r->plain, r->used);
		r->used = 0;
	}
	while (r->plain.len - r->used < n) {
		ssize_t rc = frame_more(r);

		if (rc <= 0)
			return (int)rc;
	}
	return 1;
}

static int frame_varint(struct frame_reader *r, uint64_t *ret)
{
	*ret = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		int rc = frame_need(r, 1);

		if (rc <= 0)
			return rc < 0 ? rc : -EBADMSG;

		uint8_t c = r->plain.data[r->used++];

		*ret |= (uint64_t)(c & 0x7f) << shift;
		if (c < 0x80)
			return 0;
	}
	return -EBADMSG;
}

/* One record, unpacked into the arena. */
static int frame_record(struct frame_reader *r, struct arena *a,
			const ProtobufCMessageDescriptor *descriptor, void *ret_message)
{
	uint64_t n;
	int rc = frame_varint(r, &n);

	if (rc < 0)
		return rc;
	if (n > RECORD_BYTES_MAX)
		return -EBADMSG;
	rc = frame_need(r, n);
	if (rc <= 0)
		return rc < 0 ? rc : -EBADMSG;

	void *message = arena_unpack(a, descriptor, bytes_of(r->plain.data + r->used, n));

	if (message == NULL)
		return -EBADMSG;
	r->used += n;
	*(void **)ret_message = message;
	return 0;
}

static int restore_object(struct store *s, const SampanStore__StoredObject *stored,
			  struct status *st)
{
	const struct kind *kind = NULL;

	if (stored->key != NULL && stored->key->resource != NULL)
		kind = kind_of_resource(stored->key->resource);
	if (kind == NULL)
		return status_set(st, -EBADMSG, "the snapshot holds an object of unknown kind");

	const char *namespace = stored->key->namespace_ != NULL ? stored->key->namespace_ : "";
	const char *name = stored->key->name != NULL ? stored->key->name : "";

	if (store_slot(s, kind, namespace, name) != NULL)
		return status_set(st, -EBADMSG, "the snapshot holds %s %s/%s twice", kind->resource,
				  namespace, name);
	store_put_slot(s, NULL,
		       object_create(&(struct object_values){
			       .kind = kind,
			       .namespace = namespace,
			       .name = name,
			       .created_revision = stored->created_revision,
			       .revision = stored->revision,
			       .packed = bytes_of(stored->object.data, stored->object.len),
			       .claims = (const char *const *)stored->claims,
			       .n_claims = stored->n_claims,
		       }));
	return 0;
}

static int restore_session(struct store *s, const SampanStore__StoredSession *stored,
			   struct status *st)
{
	struct sessions *t = &s->sessions;
	struct session *session;

	if (store_sessions_get(t, stored->id) != NULL ||
	    store_sessions_open(t, stored->id, stored->ttl_ms, stored->renewed_ns) < 0)
		return status_set(st, -EBADMSG, "the snapshot's sessions cannot be");
	session = store_sessions_get(t, stored->id);
	store_sessions_renew(t, session, stored->lowest_outstanding, stored->renewed_ns);
	for (size_t i = 0; i < stored->n_results; i++) {
		const SampanStore__StoredResult *result = stored->results[i];

		if (session_is_full(t, session) ||
		    session_result(session, result->sequence) != NULL)
			return status_set(st, -EBADMSG, "the snapshot's results cannot be");
		store_sessions_record(t, session,
				      &(struct result){ .sequence = result->sequence,
							.revision = result->revision,
							.rc = result->rc });
	}
	return 0;
}

static int restore_body(struct store *s, struct frame_reader *r,
			const SampanStore__SnapshotHeader *header, struct status *st)
{
	int rc;

	for (uint64_t i = 0; i < header->objects; i++) {
		SampanStore__StoredObject *stored;

		arena_reset(&s->scratch);
		rc = frame_record(r, &s->scratch, &sampan_store__stored_object__descriptor,
				  &stored);
		if (rc < 0)
			return status_set(st, rc, "object %llu of the snapshot cannot be read",
					  (unsigned long long)i);
		rc = restore_object(s, stored, st);
		if (rc < 0)
			return rc;
	}
	for (uint64_t i = 0; i < header->sessions; i++) {
		SampanStore__StoredSession *stored;

		arena_reset(&s->scratch);
		rc = frame_record(r, &s->scratch, &sampan_store__stored_session__descriptor,
				  &stored);
		if (rc < 0)
			return status_set(st, rc, "session %llu of the snapshot cannot be read",
					  (unsigned long long)i);
		rc = restore_session(s, stored, st);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int restore_read(struct store *s, struct frame_reader *r, struct arena *a, struct status *st)
{
	SampanStore__SnapshotHeader *header;
	int rc = frame_need(r, MAGIC_BYTES);

	if (rc <= 0 || memcmp(r->plain.data, MAGIC, MAGIC_BYTES) != 0)
		return status_set(st, rc < 0 ? rc : -EBADMSG, "this is no snapshot");
	r->used = MAGIC_BYTES;
	rc = frame_record(r, a, &sampan_store__snapshot_header__descriptor, &header);
	if (rc < 0)
		return status_set(st, rc, "the snapshot's header cannot be read");
	if (header->version != VERSION || header->level > STORE_LEVEL)
		return status_set(st, -EBADMSG,
				  "the snapshot has version %u and level %u; this build reads "
				  "version %u up to level %u",
				  header->version, header->level, VERSION, STORE_LEVEL);

	rc = restore_body(s, r, header, st);
	if (rc < 0)
		return rc;
	rc = frame_need(r, 1);
	if (rc != 0)
		return status_set(st, rc < 0 ? rc : -EBADMSG,
				  "the snapshot goes on after its end or is cut off");
	s->revision = header->revision;
	s->time_ns = header->time_ns;
	s->level = header->level;
	if (store_hash(s) != header->hash)
		return status_set(st, -EBADMSG, "the snapshot's content does not have its hash");
	return 0;
}

int store_restore(struct store *s, store_read_fn *read, void *ctx, struct status *st)
{
	struct frame_reader *r = xcalloc(1, sizeof(*r));
	struct arena header;

	r->read = read;
	r->ctx = ctx;
	if (LZ4F_isError(LZ4F_createDecompressionContext(&r->lz4, LZ4F_VERSION)))
		abort();
	arena_init(&header, CHUNK_BYTES);
	store_clear(s);

	int rc = restore_read(s, r, &header, st);

	if (rc < 0)
		store_clear(s);
	history_reset(&s->history, s->revision);
	arena_fini(&header);
	LZ4F_freeDecompressionContext(r->lz4);
	buf_fini(&r->plain);
	free(r);
	for (size_t i = 0; i < s->n_on_restore; i++)
		s->on_restore[i].cb(s->on_restore[i].ctx);
	return rc;
}
