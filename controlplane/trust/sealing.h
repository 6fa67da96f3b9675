/* Secrets at rest: the values of Secret objects are sealed before they are proposed.
 *
 * A sealed value is "smp1", an 8-byte key id, a 12-byte nonce, AES-256-GCM
 * ciphertext and its 16-byte tag; namespace, name and data key are
 * authenticated with it. The nonce is the head of an HMAC-SHA-256 over the same
 * and the plaintext, so sealing is deterministic: a write that changes nothing
 * packs to the same bytes, on whichever master. The data key lives in the
 * replicated state, sealed by the key-encryption key, which never does.
 * docs/secrets.md. Loop thread only. */
#pragma once

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/status.h"
#include "controlplane/store/object.h"

struct trust;

/* Whether objects of kind are sealed. */
bool sealing_applies(const struct kind *kind);
/* Packed canonical Secret in the clear to sealed, in the arena. -ENOKEY
 * while the state has no data key. */
int sealing_seal(const struct trust *t, const char *namespace, const char *name, struct bytes clear,
		 struct arena *arena, struct bytes *ret_sealed, struct status *st);
/* The object's packed bytes in the clear: its own for other kinds. A value that cannot be opened
 * (wrong key-encryption key, damage) is left out and logged. */
struct bytes sealing_open(const struct trust *t, const struct object *o, struct arena *arena);
