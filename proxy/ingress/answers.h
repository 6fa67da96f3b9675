/* HAProxy's side of a conversation on its socket, taken apart (management guide, section 9.3).
 *
 * In prompt mode every answer ends with "\n> ". Bytes may come in any pieces; an
 * answer is bounded. Pure; one thread. */
#pragma once

#include <stdbool.h>

#include "common/base/buf.h"

enum { ANSWER_BYTES_MAX = 64 << 10 };

struct answers {
	struct buf buf;
	bool greeted; /* The first prompt, which answers nothing, was seen. */
};

/* EMSGSIZE: more than an answer may have. */
int answers_put(struct answers *a, const void *data, size_t n);
/* The next whole answer without white space around it, in *ret, which is emptied first. */
bool answers_next(struct answers *a, struct buf *ret);
void answers_fini(struct answers *a);
/* Whether an answer is what command.expect asks for. */
bool answer_is_good(const char *answer, const char *expect);
