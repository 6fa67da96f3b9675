/* Stored objects as a request's kind shows them: Secrets in the clear, and the
 * few kinds with a second face converted from what is stored. */
#include "common/api/convert.h"
#include "controlplane/apiserver/internal.h"
#include "controlplane/trust/sealing.h"

struct item item_of(struct apiserver *api, const struct kind *kind, const struct object *o,
		    struct arena *arena)
{
	struct bytes packed = o->packed;

	if (sealing_applies(o->kind) && api->config.trust != NULL)
		packed = sealing_open(api->config.trust, o, arena);
	if (kind->descriptor != o->kind->descriptor)
		packed = convert_packed(o->kind, kind, packed, arena);
	return (struct item){ packed, o->revision };
}

struct item item_of_packed(const struct kind *kind, struct bytes packed, uint64_t revision,
			   struct arena *arena)
{
	const struct kind *stored = kind_stored(kind);

	if (stored->descriptor != kind->descriptor)
		packed = convert_packed(stored, kind, packed, arena);
	return (struct item){ packed, revision };
}
