#include "common/io/sp_frame.h"

#include <errno.h>
#include <string.h>

void sp_put_greeting(struct buf *to, uint8_t protocol)
{
	const uint8_t greeting[SP_GREETING_BYTES] = { 0, 'S', 'P', 0, 0, protocol, 0, 0 };

	buf_put(to, greeting, sizeof(greeting));
}

void sp_put_length(struct buf *to, uint64_t length)
{
	for (int shift = 56; shift >= 0; shift -= 8)
		buf_put_byte(to, (uint8_t)(length >> shift));
}

void sp_parser_fini(struct sp_parser *p)
{
	buf_fini(&p->message);
}

/* The 8 bytes of a greeting or a length are there. */
static int head_complete(struct sp_parser *p, uint8_t protocol, size_t message_max)
{
	p->n_head = 0;
	if (!p->greeted) {
		const uint8_t wanted[8] = { 0, 'S', 'P', 0, 0, protocol, 0, 0 };

		p->greeted = true;
		return memcmp(p->head, wanted, sizeof(wanted)) == 0 ? 0 : -EPROTO;
	}
	p->left = 0;
	for (int i = 0; i < 8; i++)
		p->left = p->left << 8 | p->head[i];
	if (p->left > message_max)
		return -EMSGSIZE;
	return p->left == 0 ? 1 : 0;
}

int sp_parser_feed(struct sp_parser *p, uint8_t protocol, size_t message_max, const uint8_t *data,
		   size_t n, size_t *ret_used)
{
	size_t at = 0;
	int rc = 0;

	while (at < n && rc == 0) {
		if (p->left == 0) {
			p->head[p->n_head++] = data[at++];
			if (p->n_head == sizeof(p->head))
				rc = head_complete(p, protocol, message_max);
			continue;
		}
		size_t take = n - at < p->left ? n - at : (size_t)p->left;

		buf_put(&p->message, data + at, take);
		at += take;
		p->left -= take;
		if (p->left == 0)
			rc = 1;
	}
	*ret_used = at;
	return rc;
}

int sp_stack_length(const uint8_t *message, size_t n)
{
	for (size_t at = 0; at + 4 <= n && at < SP_STACK_BYTES_MAX; at += 4) {
		if ((message[at] & 0x80) != 0)
			return (int)at + 4;
	}
	return -EPROTO;
}
