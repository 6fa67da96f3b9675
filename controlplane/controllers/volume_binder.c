/* Brings volumes and claims together. Keys: a claim, or ("", VOLUME). */
#include "controlplane/controllers/volume_binder.h"

#include <string.h>

#include "common/api/fields.h"

/* A scalar of o at path, "" when it is not set. */
static const char *text_at(const struct view *v, const struct object *o, const char *path)
{
	const char *text = "";

	field_text(o->kind->descriptor, o->packed, path, v->arena, &text);
	return text;
}

static void add_named_claim(const struct view *v, const struct object *volume, struct keys *keys)
{
	const char *name = text_at(v, volume, "spec.claimRef.name");

	if (name[0] != '\0')
		keys_add(keys, text_at(v, volume, "spec.claimRef.namespace"), name);
}

/* Claims that wait, and those that name the volume. */
static void add_claims(const struct view *v, const char *volume, struct keys *keys)
{
	size_t n;
	const struct object *const *claims = view_list(v, CLAIMS, NULL, &n);

	for (size_t i = 0; i < n; i++) {
		const char *named = text_at(v, claims[i], "spec.volumeName");

		if (volume != NULL && named[0] != '\0' ? strcmp(named, volume) == 0
						       : named[0] == '\0')
			keys_add(keys, claims[i]->namespace, claims[i]->name);
	}
}

static void on_volume(const struct view *v, const struct object *old, const struct object *new,
		      struct keys *keys)
{
	const struct object *o = new ? new : old;

	keys_add(keys, "", o->name);
	if (old != NULL)
		add_named_claim(v, old, keys);
	if (new != NULL)
		add_named_claim(v, new, keys);
	/* A volume with an owner is nobody else's business. */
	if (text_at(v, o, "spec.claimRef.uid")[0] == '\0')
		add_claims(v, o->name, keys);
}

/* Volumes that name the claim. */
static void add_volumes(const struct view *v, const struct object *claim, struct keys *keys)
{
	size_t n;
	const struct object *const *volumes = view_list(v, VOLUMES, NULL, &n);

	for (size_t i = 0; i < n; i++)
		if (strcmp(text_at(v, volumes[i], "spec.claimRef.name"), claim->name) == 0 &&
		    strcmp(text_at(v, volumes[i], "spec.claimRef.namespace"), claim->namespace) ==
			    0)
			keys_add(keys, "", volumes[i]->name);
}

static void on_claim(const struct view *v, const struct object *old, const struct object *new,
		     struct keys *keys)
{
	const char *before = old ? text_at(v, old, "spec.volumeName") : "";
	const char *now = new ? text_at(v, new, "spec.volumeName") : "";

	keys_add_object(keys, old, new);
	if (new == NULL || strcmp(before, now) != 0)
		add_volumes(v, new ? new : old, keys);
	if (now[0] != '\0')
		keys_add(keys, "", now);
}

static void on_change(const struct view *v, const struct object *old, const struct object *new,
		      struct keys *keys)
{
	if (change_is_of(old, new, CLAIMS))
		on_claim(v, old, new, keys);
	else if (change_is_of(old, new, VOLUMES))
		on_volume(v, old, new, keys);
	else if (change_is_of(old, new, CLASSES))
		add_claims(v, NULL, keys);
}

static void seed(const struct view *v, struct keys *keys)
{
	keys_add_all(keys, v, CLAIMS, NULL);
	keys_add_all(keys, v, VOLUMES, NULL);
}

static void reconcile(struct view *v, struct key key, struct intents *intents)
{
	const struct object *o = key.namespace[0] != '\0'
					 ? view_get(v, CLAIMS, key.namespace, key.name)
					 : view_get(v, VOLUMES, "", key.name);

	if (o == NULL)
		return;
	if (key.namespace[0] != '\0')
		binder_look_at_claim(v, o, intents);
	else
		binder_look_at_volume(v, o, intents);
}

const struct controller controller_volume_binder = {
	.name = VOLUME_BINDER,
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
};
