/* What trust.c and sealing.c share. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/status.h"
#include "controlplane/trust/trust.h"

#define DATA_KEY_BYTES 32

/* Seal and open one value. The key's id is put before it; aad is authenticated only. */
struct bytes seal_value(const uint8_t key[DATA_KEY_BYTES], uint64_t key_id, struct bytes aad,
			struct bytes plain, struct arena *arena);
/* -EBADMSG when the value was not sealed with key for this aad. */
int open_value(const uint8_t key[DATA_KEY_BYTES], uint64_t key_id, struct bytes aad,
	       struct bytes sealed, struct arena *arena, struct bytes *ret_plain);
bool value_is_sealed(struct bytes value);

/* The data key, out of the state; -ENOKEY. */
int trust_data_key(const struct trust *t, uint8_t ret_key[DATA_KEY_BYTES], uint64_t *ret_key_id);

/* The value of a key of a Secret in kube-system, in the clear, in the arena; -ENOKEY. */
int trust_secret_value(const struct trust *t, const char *name, const char *key,
		       struct arena *arena, struct bytes *ret_value);
/* The same as a text, allocated for the caller. */
int trust_secret_text(const struct trust *t, const char *name, const char *key, char **ret_text,
		      struct status *st);
const struct store *trust_store(const struct trust *t);
