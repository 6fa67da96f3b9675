#include "proxy/ingress/answers.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

int answers_put(struct answers *a, const void *data, size_t n)
{
	if (a->buf.len + n > ANSWER_BYTES_MAX)
		return -EMSGSIZE;
	buf_put(&a->buf, data, n);
	return 0;
}

/* Where the prompt stands: at the very beginning, or after a line. */
static const uint8_t *find_prompt(const struct buf *b)
{
	if (b->len >= 2 && memcmp(b->data, "> ", 2) == 0)
		return b->data;

	const uint8_t *at = b->len > 0 ? memmem(b->data, b->len, "\n> ", 3) : NULL;

	return at != NULL ? at + 1 : NULL;
}

bool answers_next(struct answers *a, struct buf *ret)
{
	const uint8_t *prompt;

	while ((prompt = find_prompt(&a->buf)) != NULL) {
		size_t begin = 0, end = (size_t)(prompt - a->buf.data), used = end + 2;
		bool greeting = !a->greeted;

		while (begin < end && isspace(a->buf.data[begin]))
			begin++;
		while (end > begin && isspace(a->buf.data[end - 1]))
			end--;
		buf_clear(ret);
		buf_put(ret, a->buf.data + begin, end - begin);
		buf_consume(&a->buf, used);
		a->greeted = true;
		if (!greeting)
			return true;
	}
	return false;
}

void answers_fini(struct answers *a)
{
	buf_fini(&a->buf);
	*a = (struct answers){ 0 };
}

bool answer_is_good(const char *answer, const char *expect)
{
	return expect == NULL ? answer[0] == '\0' : strstr(answer, expect) != NULL;
}
