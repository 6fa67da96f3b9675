#include "controlplane/consensus/frame.h"

#include <errno.h>

#include "controlplane/consensus/le.h"

/* 0 length of all   4 type   5 version   6 zero   8 stamp */



/* --- writing ------------------------------------------------------------------------- */

static void put8(struct buf *out, uint8_t v)
{
	buf_put_byte(out, v);
}

static void put32(struct buf *out, uint32_t v)
{
	le_put32(buf_reserve(out, 4), v);
	out->len += 4;
}

static void put64(struct buf *out, uint64_t v)
{
	le_put64(buf_reserve(out, 8), v);
	out->len += 8;
}

static void put_bytes(struct buf *out, struct bytes b)
{
	put32(out, (uint32_t)b.len);
	buf_put(out, b.data, b.len);
}

static size_t begin(struct buf *out, const struct frame *f)
{
	size_t at = out->len;

	put32(out, 0);
	put8(out, (uint8_t)f->type);
	put8(out, FRAME_VERSION);
	put8(out, 0);
	put8(out, 0);
	put64(out, f->stamp);
	return at;
}

static void end(struct buf *out, size_t at)
{
	le_put32(out->data + at, (uint32_t)(out->len - at));
}

static void put_body(struct buf *out, const struct frame *f)
{
	switch (f->type) {
	case FRAME_HELLO:
		put64(out, f->hello.id);
		put_bytes(out, f->hello.address);
		break;
	case FRAME_APPEND:
		put64(out, f->append.term);
		put64(out, f->append.prev_index);
		put64(out, f->append.prev_term);
		put64(out, f->append.commit);
		put32(out, f->append.n);
		break;
	case FRAME_APPEND_RESULT:
		put64(out, f->append_result.term);
		put64(out, f->append_result.rejected);
		put64(out, f->append_result.last_index);
		put64(out, f->append_result.echo);
		break;
	case FRAME_VOTE:
		put64(out, f->vote.term);
		put64(out, f->vote.candidate);
		put64(out, f->vote.last_index);
		put64(out, f->vote.last_term);
		put8(out, f->vote.disrupt);
		put8(out, f->vote.pre_vote);
		break;
	case FRAME_VOTE_RESULT:
		put64(out, f->vote_result.term);
		put8(out, f->vote_result.granted);
		put8(out, f->vote_result.pre_vote);
		break;
	case FRAME_TIMEOUT_NOW:
		put64(out, f->timeout_now.term);
		put64(out, f->timeout_now.last_index);
		put64(out, f->timeout_now.last_term);
		break;
	case FRAME_INSTALL:
		put64(out, f->install.transfer);
		put64(out, f->install.term);
		put64(out, f->install.last_index);
		put64(out, f->install.last_term);
		put64(out, f->install.configuration_index);
		put64(out, f->install.size);
		put_bytes(out, f->install.configuration);
		break;
	case FRAME_CHUNK:
		put64(out, f->chunk.transfer);
		put64(out, f->chunk.offset);
		put_bytes(out, f->chunk.data);
		break;
	case FRAME_CHUNK_ACK:
		put64(out, f->chunk_ack.transfer);
		put64(out, f->chunk_ack.offset);
		put8(out, f->chunk_ack.failed);
		break;
	case FRAME_PROBE:
	case FRAME_ECHO:
		put64(out, f->probe.term);
		put64(out, f->probe.echo);
		break;
	case FRAME_READ:
		put64(out, f->read.request);
		break;
	case FRAME_READ_ANSWER:
		put64(out, f->read_answer.request);
		put64(out, f->read_answer.index);
		put64(out, f->read_answer.term);
		put8(out, f->read_answer.failed);
		break;
	case FRAME_APP:
		put_bytes(out, f->app);
		break;
	case FRAME_GOODBYE:
	case FRAME_TYPES:
		break;
	}
}

void frame_put(struct buf *out, const struct frame *f)
{
	size_t at = begin(out, f);

	put_body(out, f);
	end(out, at);
}

size_t frame_begin_append(struct buf *out, const struct frame *f)
{
	size_t at = begin(out, f);

	put_body(out, f);
	return at;
}

void frame_put_entry(struct buf *out, const struct frame_entry *e)
{
	put64(out, e->term);
	put32(out, e->type);
	put_bytes(out, e->data);
}

void frame_end_append(struct buf *out, size_t at)
{
	end(out, at);
}

/* --- reading ------------------------------------------------------------------------- */

/* Bytes that are left, and whether anything was missing. */
struct cursor {
	const uint8_t *p;
	size_t left;
	bool bad;
};

static const uint8_t *take(struct cursor *c, size_t n)
{
	static const uint8_t nothing[8];
	const uint8_t *p = c->p;

	if (c->left < n) {
		c->bad = true;
		c->left = 0;
		return nothing;
	}
	c->p += n;
	c->left -= n;
	return p;
}

static uint8_t get8(struct cursor *c)
{
	return *take(c, 1);
}

static bool get_bool(struct cursor *c)
{
	uint8_t v = get8(c);

	if (v > 1)
		c->bad = true;
	return v == 1;
}

static uint32_t get32(struct cursor *c)
{
	return le_get32(take(c, 4));
}

static uint64_t get64(struct cursor *c)
{
	return le_get64(take(c, 8));
}

static struct bytes get_bytes(struct cursor *c)
{
	size_t n = get32(c);

	if (n > c->left) {
		c->bad = true;
		return bytes_of(NULL, 0);
	}
	return bytes_of(take(c, n), n);
}

static struct bytes get_entries(struct cursor *c, uint32_t n)
{
	struct cursor walk = *c;

	if (n > FRAME_ENTRIES_MAX)
		walk.bad = true;
	for (uint32_t i = 0; i < n && !walk.bad; i++) {
		uint64_t term = get64(&walk);
		uint32_t type = get32(&walk);

		get_bytes(&walk);
		if (term == 0 || type < 1 || type > 3)
			walk.bad = true;
	}
	if (walk.bad) {
		c->bad = true;
		return bytes_of(NULL, 0);
	}

	size_t length = (size_t)(walk.p - c->p);

	return bytes_of(take(c, length), length);
}

struct frame_entry frame_next_entry(struct bytes *entries)
{
	struct cursor c = { entries->data, entries->len, false };
	struct frame_entry e = { .term = get64(&c), .type = (uint8_t)get32(&c) };

	e.data = get_bytes(&c);
	*entries = bytes_of(c.p, c.left);
	return e;
}

static void get_body(struct cursor *c, struct frame *f)
{
	switch (f->type) {
	case FRAME_HELLO:
		f->hello.id = get64(c);
		f->hello.address = get_bytes(c);
		if (f->hello.id == 0 || f->hello.address.len > FRAME_ADDRESS_MAX)
			c->bad = true;
		break;
	case FRAME_APPEND:
		f->append.term = get64(c);
		f->append.prev_index = get64(c);
		f->append.prev_term = get64(c);
		f->append.commit = get64(c);
		f->append.n = get32(c);
		f->append.entries = get_entries(c, f->append.n);
		break;
	case FRAME_APPEND_RESULT:
		f->append_result.term = get64(c);
		f->append_result.rejected = get64(c);
		f->append_result.last_index = get64(c);
		f->append_result.echo = get64(c);
		break;
	case FRAME_VOTE:
		f->vote.term = get64(c);
		f->vote.candidate = get64(c);
		f->vote.last_index = get64(c);
		f->vote.last_term = get64(c);
		f->vote.disrupt = get_bool(c);
		f->vote.pre_vote = get_bool(c);
		break;
	case FRAME_VOTE_RESULT:
		f->vote_result.term = get64(c);
		f->vote_result.granted = get_bool(c);
		f->vote_result.pre_vote = get8(c);
		if (f->vote_result.pre_vote > 2)
			c->bad = true;
		break;
	case FRAME_TIMEOUT_NOW:
		f->timeout_now.term = get64(c);
		f->timeout_now.last_index = get64(c);
		f->timeout_now.last_term = get64(c);
		break;
	case FRAME_INSTALL:
		f->install.transfer = get64(c);
		f->install.term = get64(c);
		f->install.last_index = get64(c);
		f->install.last_term = get64(c);
		f->install.configuration_index = get64(c);
		f->install.size = get64(c);
		f->install.configuration = get_bytes(c);
		if (f->install.last_index == 0 || f->install.last_term == 0)
			c->bad = true;
		break;
	case FRAME_CHUNK:
		f->chunk.transfer = get64(c);
		f->chunk.offset = get64(c);
		f->chunk.data = get_bytes(c);
		break;
	case FRAME_CHUNK_ACK:
		f->chunk_ack.transfer = get64(c);
		f->chunk_ack.offset = get64(c);
		f->chunk_ack.failed = get_bool(c);
		break;
	case FRAME_PROBE:
	case FRAME_ECHO:
		f->probe.term = get64(c);
		f->probe.echo = get64(c);
		break;
	case FRAME_READ:
		f->read.request = get64(c);
		break;
	case FRAME_READ_ANSWER:
		f->read_answer.request = get64(c);
		f->read_answer.index = get64(c);
		f->read_answer.term = get64(c);
		f->read_answer.failed = get_bool(c);
		break;
	case FRAME_APP:
		f->app = get_bytes(c);
		break;
	case FRAME_GOODBYE:
		break;
	case FRAME_TYPES:
		c->bad = true;
		break;
	}
}

int64_t frame_size(const uint8_t *p, size_t n)
{
	if (n < FRAME_HEADER)
		return 0;

	uint32_t length = le_get32(p);

	if (length < FRAME_HEADER || length > FRAME_MAX || p[4] == 0 || p[4] >= FRAME_TYPES ||
	    p[5] != FRAME_VERSION || le_get16(p + 6) != 0)
		return -EBADMSG;
	return length;
}

int frame_decode(const uint8_t *p, size_t n, struct frame *ret_f)
{
	struct cursor c = { p + FRAME_HEADER, n - FRAME_HEADER, false };
	struct frame f = { .type = p[4], .stamp = le_get64(p + 8) };

	get_body(&c, &f);
	if (c.bad || c.left != 0)
		return -EBADMSG;
	*ret_f = f;
	return 0;
}
