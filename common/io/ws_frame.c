#include "common/io/ws_frame.h"

#include <errno.h>

enum { CONTROL_BYTES_MAX = 125, MASK_BYTES = 4 };

void ws_parser_fini(struct ws_parser *p)
{
	buf_fini(&p->message);
	buf_fini(&p->control);
}

void ws_put_head(struct buf *to, int op, uint64_t n)
{
	buf_put_byte(to, (uint8_t)(0x80 | op));
	if (n < 126) {
		buf_put_byte(to, (uint8_t)n);
		return;
	}
	int bytes = n < 65536 ? 2 : 8;

	buf_put_byte(to, bytes == 2 ? 126 : 127);
	while (bytes-- > 0)
		buf_put_byte(to, (uint8_t)(n >> (8 * bytes)));
}

static bool is_control(int op)
{
	return op >= WS_CLOSE;
}

/* How long the head is, as far as its first two bytes tell. */
static size_t head_bytes(const struct ws_parser *p)
{
	if (p->n_head < 2)
		return 2;
	switch (p->head[1] & 0x7f) {
	case 126:
		return 2 + 2 + MASK_BYTES;
	case 127:
		return 2 + 8 + MASK_BYTES;
	default:
		return 2 + MASK_BYTES;
	}
}

static uint64_t payload_length(const struct ws_parser *p)
{
	uint64_t n = p->head[1] & 0x7f;
	int bytes = n == 126 ? 2 : n == 127 ? 8 : 0;

	if (bytes > 0)
		n = 0;
	for (int i = 0; i < bytes; i++)
		n = n << 8 | p->head[2 + i];
	return n;
}

/* What the first two bytes already tell. */
static int check_start(const struct ws_parser *p)
{
	int op = p->head[0] & 0x0f;
	bool fin = (p->head[0] & 0x80) != 0, masked = (p->head[1] & 0x80) != 0;

	if ((p->head[0] & 0x70) != 0 || !masked || op > WS_PONG ||
	    (op > WS_BINARY && op < WS_CLOSE))
		return -EPROTO;
	if (is_control(op))
		return fin && (p->head[1] & 0x7f) <= CONTROL_BYTES_MAX ? 0 : -EPROTO;
	return (op == WS_CONTINUATION) == (p->message_op != 0) ? 0 : -EPROTO;
}

static int head_complete(struct ws_parser *p, size_t message_max)
{
	int op = p->head[0] & 0x0f;

	p->left = payload_length(p);
	if (!is_control(op) && p->left > message_max - p->message.len)
		return -EMSGSIZE;
	p->in_payload = true;
	p->mask_at = 0;
	if (is_control(op))
		buf_clear(&p->control);
	else if (op != WS_CONTINUATION)
		p->message_op = op;
	return 0;
}

static size_t take_payload(struct ws_parser *p, const uint8_t *data, size_t n)
{
	const uint8_t *mask = p->head + p->n_head - MASK_BYTES;
	struct buf *to = is_control(p->head[0] & 0x0f) ? &p->control : &p->message;
	size_t take = n < p->left ? n : (size_t)p->left;
	uint8_t *out = take > 0 ? buf_reserve(to, take) : NULL;

	for (size_t i = 0; i < take; i++)
		out[i] = data[i] ^ mask[(p->mask_at + i) & 3];
	to->len += take;
	p->mask_at += take;
	p->left -= take;
	return take;
}

/* A frame is complete. Returns 1 if that completes something to be told. */
static int frame_complete(struct ws_parser *p)
{
	int op = p->head[0] & 0x0f;
	bool fin = (p->head[0] & 0x80) != 0;

	p->in_payload = false;
	p->n_head = 0;
	if (is_control(op)) {
		p->op = op;
		p->payload = buf_bytes(&p->control);
		return 1;
	}
	if (!fin)
		return 0;
	p->op = p->message_op;
	p->payload = buf_bytes(&p->message);
	p->message_op = 0;
	return 1;
}

int ws_parser_feed(struct ws_parser *p, size_t message_max, const uint8_t *data, size_t n,
		   size_t *ret_used)
{
	size_t at = 0;
	int rc = 0;

	/* The message told last time is done with. */
	if (p->message_op == 0)
		buf_clear(&p->message);
	if (p->message.cap > 64 * 1024 && p->message.len == 0)
		buf_fini(&p->message);
	while (rc == 0 && at < n) {
		if (!p->in_payload) {
			p->head[p->n_head++] = data[at++];
			if (p->n_head == 2)
				rc = check_start(p);
			if (rc == 0 && p->n_head > 2 && p->n_head == head_bytes(p))
				rc = head_complete(p, message_max);
		} else {
			at += take_payload(p, data + at, n - at);
		}
		if (rc == 0 && p->in_payload && p->left == 0)
			rc = frame_complete(p);
	}
	*ret_used = at;
	return rc;
}
