#include "agent/volumes/payload.h"

#include <errno.h>
#include <string.h>

#include "agent/volumes/fields.h"
#include "common/api/pack.h"

enum { MODE_DEFAULT = 0644 };

const CoreV1__ConfigMap *view_config_map(const struct pod_view *view, const char *name)
{
	const struct held_object *o =
		object_list_find(view->objects, "configmaps", view->pod->metadata->namespace_, name);
	void *message;

	return o && unpack_message(&core_v1__config_map__descriptor, o->packed, view->arena, &message, NULL) == 0
		? message
		: NULL;
}

const CoreV1__Secret *view_secret(const struct pod_view *view, const char *name)
{
	const struct held_object *o =
		object_list_find(view->objects, "secrets", view->pod->metadata->namespace_, name);
	void *message;

	return o && unpack_message(&core_v1__secret__descriptor, o->packed, view->arena, &message, NULL) == 0
		? message
		: NULL;
}

struct key_value {
	const char *key;
	const void *data;
	size_t len;
};

/* All keys, or the chosen ones at their chosen paths. */
static int add_items(struct volume_files *files, const struct key_value *pairs, size_t n_pairs,
	CoreV1__KeyToPath *const *items, size_t n_items, unsigned mode, bool optional,
	const char *what, const char *name, struct status *st)
{
	int rc = 0;

	for (size_t i = 0; n_items == 0 && i < n_pairs && rc == 0; i++)
		rc = volume_files_add(files, pairs[i].key, pairs[i].data, pairs[i].len, mode, st);
	for (size_t i = 0; i < n_items && rc == 0; i++) {
		const struct key_value *found = NULL;

		for (size_t k = 0; k < n_pairs && !found; k++)
			found = strcmp(pairs[k].key, items[i]->key ? items[i]->key : "") == 0 ? &pairs[k] : NULL;
		if (found == NULL && optional)
			continue;
		if (found == NULL)
			return status_set(st, -ENOENT, "%s \"%s\" has no key \"%s\"", what, name,
				items[i]->key ? items[i]->key : "");
		rc = volume_files_add(files, items[i]->path ? items[i]->path : "", found->data, found->len,
			items[i]->has_mode ? (unsigned)items[i]->mode & 0777 : mode, st);
	}
	return rc;
}

static int add_config_map(const struct pod_view *view, const char *name, CoreV1__KeyToPath *const *items,
	size_t n_items, unsigned mode, bool optional, struct volume_files *files, struct status *st)
{
	const CoreV1__ConfigMap *map = view_config_map(view, name);

	if (map == NULL)
		return optional ? 0 : status_set(st, -ENOENT, "configmap \"%s\" not found", name);

	size_t n = map->n_data + map->n_binarydata;
	struct key_value *pairs = arena_array(view->arena, struct key_value, n + 1);

	for (size_t i = 0; i < map->n_data; i++) {
		const char *value = map->data[i]->value ? map->data[i]->value : "";

		pairs[i] = (struct key_value){ map->data[i]->key, value, strlen(value) };
	}
	for (size_t i = 0; i < map->n_binarydata; i++)
		pairs[map->n_data + i] = (struct key_value){ map->binarydata[i]->key,
			map->binarydata[i]->value.data, map->binarydata[i]->value.len };
	return add_items(files, pairs, n, items, n_items, mode, optional, "configmap", name, st);
}

static int add_secret(const struct pod_view *view, const char *name, CoreV1__KeyToPath *const *items,
	size_t n_items, unsigned mode, bool optional, struct volume_files *files, struct status *st)
{
	const CoreV1__Secret *secret = view_secret(view, name);

	if (secret == NULL)
		return optional ? 0 : status_set(st, -ENOENT, "secret \"%s\" not found", name);

	struct key_value *pairs = arena_array(view->arena, struct key_value, secret->n_data + 1);

	for (size_t i = 0; i < secret->n_data; i++)
		pairs[i] = (struct key_value){ secret->data[i]->key, secret->data[i]->value.data,
			secret->data[i]->value.len };
	return add_items(files, pairs, secret->n_data, items, n_items, mode, optional, "secret", name, st);
}

static int add_downward(const struct pod_view *view, CoreV1__DownwardAPIVolumeFile *const *items,
	size_t n_items, unsigned mode, struct volume_files *files, struct status *st)
{
	int rc = 0;

	for (size_t i = 0; i < n_items && rc == 0; i++) {
		const CoreV1__DownwardAPIVolumeFile *f = items[i];
		const char *text = "";

		if (f->fieldref)
			rc = pod_field(view, f->fieldref->fieldpath ? f->fieldref->fieldpath : "", &text, st);
		else if (f->resourcefieldref)
			rc = pod_resource_field(view, f->resourcefieldref, NULL, &text, st);
		if (rc == 0)
			rc = volume_files_add(files, f->path ? f->path : "", text, strlen(text),
				f->has_mode ? (unsigned)f->mode & 0777 : mode, st);
	}
	return rc;
}

/* The user all containers of the pod run as, or -1. */
static int64_t common_user(const CoreV1__Pod *pod)
{
	const CoreV1__PodSecurityContext *all = pod->spec->securitycontext;
	int64_t user = all && all->has_runasuser ? all->runasuser : -1;

	for (size_t i = 0; i < pod->spec->n_containers; i++) {
		const CoreV1__SecurityContext *own = pod->spec->containers[i]->securitycontext;
		int64_t mine = own && own->has_runasuser ? own->runasuser
			: all && all->has_runasuser	 ? all->runasuser
							 : -1;

		if (i > 0 && mine != user)
			return -1;
		user = mine;
	}
	return user;
}

static int add_token(const struct pod_view *view, const CoreV1__ServiceAccountTokenProjection *t,
	unsigned mode, struct volume_files *files, struct status *st)
{
	const char *audience = t->audience ? t->audience : "";
	int64_t expiration_s = t->has_expirationseconds ? t->expirationseconds : 3600;
	const CoreV1__PodSecurityContext *sc = view->pod->spec->securitycontext;
	int64_t user = common_user(view->pod);

	for (size_t i = 0; i < view->n_tokens; i++) {
		const struct pod_token *have = &view->tokens[i];

		if (strcmp(have->audience, audience) != 0 || have->expiration_s != expiration_s)
			continue;
		/* Readable by the one user there is and nobody else, where that is known. */
		if ((sc && sc->has_fsgroup) || user >= 0)
			mode = 0600;
		int rc = volume_files_add(files, t->path ? t->path : "", have->token, strlen(have->token), mode, st);

		if (rc == 0 && user >= 0)
			files->items[files->n - 1].uid = user;
		return rc;
	}
	return status_set(st, -ENOENT, "no token of service account \"%s\" has been issued yet",
		view->pod->spec->serviceaccountname ? view->pod->spec->serviceaccountname : "default");
}

static int add_projected(const struct pod_view *view, const CoreV1__ProjectedVolumeSource *p,
	struct volume_files *files, struct status *st)
{
	unsigned mode = p->has_defaultmode ? (unsigned)p->defaultmode & 0777 : MODE_DEFAULT;
	int rc = 0;

	for (size_t i = 0; i < p->n_sources && rc == 0; i++) {
		const CoreV1__VolumeProjection *s = p->sources[i];

		if (s->configmap)
			rc = add_config_map(view,
				s->configmap->localobjectreference && s->configmap->localobjectreference->name
					? s->configmap->localobjectreference->name
					: "",
				s->configmap->items, s->configmap->n_items, mode, s->configmap->optional, files, st);
		else if (s->secret)
			rc = add_secret(view,
				s->secret->localobjectreference && s->secret->localobjectreference->name
					? s->secret->localobjectreference->name
					: "",
				s->secret->items, s->secret->n_items, mode, s->secret->optional, files, st);
		else if (s->downwardapi)
			rc = add_downward(view, s->downwardapi->items, s->downwardapi->n_items, mode, files, st);
		else if (s->serviceaccounttoken)
			rc = add_token(view, s->serviceaccounttoken, mode, files, st);
		else
			rc = status_set(st, -EOPNOTSUPP, "projected volumes take configMap, secret, downwardAPI "
							 "and serviceAccountToken sources");
	}
	return rc;
}

bool payload_is(const CoreV1__VolumeSource *s)
{
	return s->configmap || s->secret || s->downwardapi || s->projected;
}

bool payload_is_secret(const CoreV1__VolumeSource *s)
{
	if (s->secret)
		return true;
	for (size_t i = 0; s->projected && i < s->projected->n_sources; i++) {
		if (s->projected->sources[i]->secret || s->projected->sources[i]->serviceaccounttoken)
			return true;
	}
	return false;
}

int payload_build(const struct pod_view *view, const CoreV1__VolumeSource *s, struct volume_files *files,
	struct status *st)
{
	if (s->configmap)
		return add_config_map(view,
			s->configmap->localobjectreference && s->configmap->localobjectreference->name
				? s->configmap->localobjectreference->name
				: "",
			s->configmap->items, s->configmap->n_items,
			s->configmap->has_defaultmode ? (unsigned)s->configmap->defaultmode & 0777 : MODE_DEFAULT,
			s->configmap->optional, files, st);
	if (s->secret)
		return add_secret(view, s->secret->secretname ? s->secret->secretname : "", s->secret->items,
			s->secret->n_items,
			s->secret->has_defaultmode ? (unsigned)s->secret->defaultmode & 0777 : MODE_DEFAULT,
			s->secret->optional, files, st);
	if (s->downwardapi)
		return add_downward(view, s->downwardapi->items, s->downwardapi->n_items,
			s->downwardapi->has_defaultmode ? (unsigned)s->downwardapi->defaultmode & 0777 : MODE_DEFAULT,
			files, st);
	return add_projected(view, s->projected, files, st);
}
