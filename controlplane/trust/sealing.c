#include "controlplane/trust/sealing.h"

#include <errno.h>
#include <string.h>

#include <openssl/crypto.h>

#include "common/api/kinds.h"
#include "common/api/pack.h"
#include "common/base/log.h"
#include "controlplane/trust/internal.h"
#include "proto/k8s/core_v1.pb-c.h"

bool sealing_applies(const struct kind *kind)
{
	return strcmp(kind->resource, "secrets") == 0;
}

/* The data key itself is sealed by the key-encryption key when it is made. */
static bool seals_itself(const char *namespace, const char *name)
{
	return strcmp(namespace, "kube-system") == 0 && strcmp(name, TRUST_DATA_KEY_SECRET) == 0;
}

static struct bytes value_aad(const char *namespace, const char *name, const char *key,
			      struct arena *arena)
{
	char *text = arena_printf(arena, "%s/%s/%s", namespace, name, key);

	return bytes_str(text);
}

int sealing_seal(const struct trust *t, const char *namespace, const char *name, struct bytes clear,
		 struct arena *arena, struct bytes *ret_sealed, struct status *st)
{
	uint8_t key[DATA_KEY_BYTES];
	uint64_t key_id;

	*ret_sealed = clear;
	if (seals_itself(namespace, name))
		return 0;
	if (trust_data_key(t, key, &key_id) < 0)
		return status_set(st, -ENOKEY, "the cluster has no data key for Secrets yet");

	CoreV1__Secret *secret = unpack_stored(&core_v1__secret__descriptor, clear, arena);
	for (size_t i = 0; i < secret->n_data; i++) {
		ProtobufCBinaryData *value = &secret->data[i]->value;
		struct bytes plain = bytes_of(value->data, value->len);
		struct bytes sealed =
			seal_value(key, key_id,
				   value_aad(namespace, name, secret->data[i]->key, arena), plain,
				   arena);

		secret->data[i]->has_value = true;
		*value = (ProtobufCBinaryData){ sealed.len, (uint8_t *)sealed.data };
	}
	OPENSSL_cleanse(key, sizeof(key));
	*ret_sealed = pack_message_in(arena, secret);
	return 0;
}

struct bytes sealing_open(const struct trust *t, const struct object *o, struct arena *arena)
{
	uint8_t key[DATA_KEY_BYTES];
	uint64_t key_id;

	if (!sealing_applies(o->kind) || seals_itself(o->namespace, o->name) ||
	    trust_data_key(t, key, &key_id) < 0)
		return o->packed;

	CoreV1__Secret *secret = unpack_stored(&core_v1__secret__descriptor, o->packed, arena);
	size_t kept = 0;
	for (size_t i = 0; i < secret->n_data; i++) {
		ProtobufCBinaryData *value = &secret->data[i]->value;
		struct bytes plain;
		int rc = open_value(key, key_id,
				    value_aad(o->namespace, o->name, secret->data[i]->key, arena),
				    bytes_of(value->data, value->len), arena, &plain);

		if (rc < 0) {
			log_error("a Secret's value cannot be opened", "namespace=%s name=%s key=%s",
				  o->namespace, o->name, log_quote(secret->data[i]->key));
			continue;
		}
		*value = (ProtobufCBinaryData){ plain.len, (uint8_t *)plain.data };
		secret->data[kept++] = secret->data[i];
	}
	secret->n_data = kept;
	OPENSSL_cleanse(key, sizeof(key));
	return pack_message_in(arena, secret);
}
