/* Where a list that was cut by its limit goes on: the revision it is read at and
 * the last key returned, as URL-safe base64 of JSON, which clients hand back
 * unread. Pure. */
#pragma once

#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/status.h"

struct continue_token {
	uint64_t revision;
	const char *namespace, *name; /* Of the last object returned. */
};

#define CONTINUE_TOKEN_MAX 2048

char *continue_token_encode(struct arena *arena, const struct continue_token *token);
/* -EBADMSG for text that encode() has not made. */
int continue_token_decode(struct arena *arena, const char *text, struct continue_token *ret_token,
			  struct status *st);
