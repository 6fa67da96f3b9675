#include "agent/volumes/claims.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/volumes/host_path.h"
#include "agent/volumes/local_path.h"
#include "common/api/make.h"
#include "common/api/pack.h"
#include "common/api/storage_names.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"

/* Below a volume's folder; deeper ones keep their owner. */
enum { OWNED_DEPTH_MAX = 128 };

struct bound {
	const CoreV1__PersistentVolumeClaim *claim;
	const CoreV1__PersistentVolume *volume;
};

bool claim_is(const CoreV1__VolumeSource *source)
{
	return source != NULL && (source->persistentvolumeclaim != NULL || source->ephemeral != NULL);
}

static const char *claim_name(const struct pod_view *view, const CoreV1__Volume *v)
{
	const CoreV1__PersistentVolumeClaimVolumeSource *s = v->volumesource->persistentvolumeclaim;

	return s != NULL ? text_of(s->claimname)
			 : arena_printf(view->arena, "%s-%s", view->pod->metadata->name, v->name);
}

static const void *find(const struct pod_view *view, const char *resource, const char *namespace, const char *name,
	const ProtobufCMessageDescriptor *descriptor)
{
	const struct held_object *o = object_list_find(view->objects, resource, namespace, name);
	void *message;

	if (o == NULL || unpack_message(descriptor, o->packed, view->arena, &message, NULL) < 0)
		return NULL;
	return message;
}

/* Each must name the other: a volume that only one of them names may be somebody else's data. */
static int find_bound(const struct pod_view *view, const CoreV1__Volume *v, struct bound *b, struct status *st)
{
	const char *namespace = view->pod->metadata->namespace_, *name = claim_name(view, v), *volume;

	b->claim = find(view, "persistentvolumeclaims", namespace, name, &core_v1__persistent_volume_claim__descriptor);
	if (b->claim == NULL || b->claim->metadata == NULL)
		return status_set(st, -ENOENT, "persistentvolumeclaim \"%s\" not found", name);
	volume = text_of(b->claim->spec ? b->claim->spec->volumename : NULL);
	if (*volume == '\0')
		return status_set(st, -ENOENT, "PVC %s/%s is not bound", namespace, name);
	b->volume = find(view, "persistentvolumes", "", volume, &core_v1__persistent_volume__descriptor);
	if (b->volume == NULL || b->volume->spec == NULL || b->volume->metadata == NULL)
		return status_set(st, -ENOENT, "PVC %s/%s is not bound to persistentvolume \"%s\" yet", namespace, name,
			volume);
	const CoreV1__ObjectReference *ref = b->volume->spec->claimref;

	if (ref == NULL || !text_is(ref->uid, text_of(b->claim->metadata->uid)))
		return status_set(st, -EACCES, "persistentvolume \"%s\" is bound to another claim than %s/%s", volume,
			namespace, name);
	return 0;
}

static bool is_ours(const CoreV1__PersistentVolume *volume)
{
	return text_is(meta_annotation(volume->metadata, PROVISIONED_BY), LOCAL_PATH_PROVISIONER);
}

/* A term without a word about the host name lets every node in. */
static bool term_excludes(const CoreV1__NodeSelectorTerm *t, const char *node)
{
	for (size_t i = 0; i < t->n_matchexpressions; i++) {
		const CoreV1__NodeSelectorRequirement *r = t->matchexpressions[i];
		bool listed = false;

		if (!text_is(r->key, "kubernetes.io/hostname") || !text_is(r->operator_, "In"))
			continue;
		for (size_t k = 0; k < r->n_values; k++)
			listed = listed || text_is(r->values[k], node);
		if (!listed)
			return true;
	}
	return false;
}

/* A pod that was put here by hand may ask for a folder of another node. */
static bool is_elsewhere(const struct pod_view *view, const CoreV1__PersistentVolume *volume)
{
	const CoreV1__VolumeNodeAffinity *a = volume->spec->nodeaffinity;
	bool excluded = a != NULL && a->required != NULL && a->required->n_nodeselectorterms > 0;

	for (size_t i = 0; excluded && i < a->required->n_nodeselectorterms; i++)
		excluded = term_excludes(a->required->nodeselectorterms[i], view->node->name);
	return excluded;
}

static const char *source_name(const CoreV1__PersistentVolumeSource *s)
{
	const ProtobufCMessageDescriptor *d = &core_v1__persistent_volume_source__descriptor;

	for (unsigned i = 0; s != NULL && i < d->n_fields; i++) {
		if (*(void *const *)((const char *)s + d->fields[i].offset) != NULL)
			return d->fields[i].name;
	}
	return "nothing";
}

static int find_path(const struct pod_view *view, const CoreV1__PersistentVolume *volume, const char **ret,
	struct status *st)
{
	const CoreV1__PersistentVolumeSource *s = volume->spec->persistentvolumesource;

	if (text_is(volume->spec->volumemode, "Block"))
		return status_set(st, -EOPNOTSUPP, "persistentvolume \"%s\": volumeMode Block is not supported here",
			volume->metadata->name);
	if (is_elsewhere(view, volume))
		return status_set(st, -EACCES, "persistentvolume \"%s\" is on another node: no matching NodeSelectorTerms",
			volume->metadata->name);
	if (s != NULL && s->local != NULL && is_ours(volume))
		*ret = arena_printf(view->arena, "%s/%s", view->node->local_path_dir, volume->metadata->name);
	else if (s != NULL && s->local != NULL)
		*ret = text_of(s->local->path);
	else if (s != NULL && s->hostpath != NULL)
		*ret = text_of(s->hostpath->path);
	else
		return status_set(st, -EOPNOTSUPP,
			"persistentvolume \"%s\" is of the kind %s: only local and hostPath are supported here",
			volume->metadata->name, source_name(s));
	return 0;
}

int claim_find(const struct pod_view *view, const CoreV1__Volume *v, struct claim_volume *ret, struct status *st)
{
	const CoreV1__PersistentVolumeClaimVolumeSource *s = v->volumesource->persistentvolumeclaim;
	struct bound b;
	int rc = find_bound(view, v, &b, st);

	if (rc == 0)
		rc = find_path(view, b.volume, &ret->path, st);
	if (rc < 0)
		return rc;
	ret->readonly = s != NULL && s->readonly;
	ret->takes_fs_group = b.volume->spec->persistentvolumesource->local != NULL;
	return 0;
}

/* --- Owners ------------------------------------------------------------------------- */

static int own(int fd, const char *name, gid_t group, bool directory)
{
	struct stat s;
	mode_t add = directory ? S_ISGID | 0770 : 0660;

	if (fchownat(fd, name, (uid_t)-1, group, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) < 0)
		return -errno;
	/* The owner's bits go with the change of the group. */
	if (fstatat(fd, name, &s, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) < 0)
		return -errno;
	if (!S_ISDIR(s.st_mode) && !S_ISREG(s.st_mode))
		return 0;
	if (*name == '\0')
		return fchmod(fd, (s.st_mode & 07777) | add) < 0 ? -errno : 0;
	autoclose int file = openat(fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	return file < 0 || fchmod(file, (s.st_mode & 07777) | add) < 0 ? -errno : 0;
}

/* Links are not followed, and other file systems keep their owners. */
static int own_tree(int fd, gid_t group, dev_t device, int depth)
{
	DIR *d = fdopendir(fd);
	int rc = d == NULL ? -errno : own(fd, "", group, true);

	if (d == NULL)
		close(fd);
	for (struct dirent *e; rc == 0 && (e = readdir(d)) != NULL;) {
		struct stat s;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
			fstatat(dirfd(d), e->d_name, &s, AT_SYMLINK_NOFOLLOW) < 0 || s.st_dev != device)
			continue;
		if (!S_ISDIR(s.st_mode)) {
			rc = own(dirfd(d), e->d_name, group, false);
		} else if (depth < OWNED_DEPTH_MAX) {
			int below = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			rc = below < 0 ? -errno : own_tree(below, group, device, depth + 1);
		}
		rc = rc == -ENOENT ? 0 : rc; /* It went meanwhile. */
	}
	if (d != NULL)
		closedir(d);
	return rc;
}

static int set_group(const struct pod_view *view, const char *path, struct status *st)
{
	const CoreV1__PodSecurityContext *sc = view->pod->spec->securitycontext;
	struct stat s;
	int fd, rc;

	if (sc == NULL || !sc->has_fsgroup)
		return 0;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &s) < 0) {
		rc = status_set(st, -errno, "cannot open %s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return rc;
	}
	if (text_is(sc->fsgroupchangepolicy, "OnRootMismatch") && s.st_gid == (gid_t)sc->fsgroup &&
		(s.st_mode & (S_ISGID | 0770)) == (S_ISGID | 0770)) {
		close(fd);
		return 0;
	}
	rc = own_tree(fd, (gid_t)sc->fsgroup, s.st_dev, 0);
	return rc < 0 ? status_set(st, rc, "cannot give %s to group %lld: %s", path, (long long)sc->fsgroup,
				strerror(-rc))
		      : 0;
}

/* --- Before a pod's containers ----------------------------------------------------------- */

static bool is_for_one_pod(const CoreV1__PersistentVolumeClaim *claim)
{
	for (size_t i = 0; i < claim->spec->n_accessmodes; i++) {
		if (text_is(claim->spec->accessmodes[i], "ReadWriteOncePod"))
			return true;
	}
	return false;
}

static bool is_contested(const struct pod_view *view, const char *name)
{
	for (size_t i = 0; i < view->n_contested; i++) {
		if (strcmp(view->contested[i], name) == 0)
			return true;
	}
	return false;
}

static int check_use(const struct pod_view *view, const struct bound *b, struct status *st)
{
	const MetaV1__ObjectMeta *meta = b->claim->metadata;

	if (meta->deletiontimestamp != NULL)
		return status_set(st, -EACCES, "can't start pod because PVC %s/%s is being deleted",
			text_of(meta->namespace_), meta->name);
	if (is_for_one_pod(b->claim) && is_contested(view, meta->name))
		return status_set(st, -EBUSY,
			"volume uses the ReadWriteOncePod access mode and is already in use by another pod");
	return 0;
}

static int prepare(const struct pod_view *view, const CoreV1__PersistentVolume *volume, const char *path,
	struct status *st)
{
	const CoreV1__PersistentVolumeSource *s = volume->spec->persistentvolumesource;
	autofree char *made = NULL;
	struct stat sb;

	if (s->hostpath != NULL)
		return host_path_check(s->hostpath, st);
	if (is_ours(volume))
		return local_path_make(view->node->local_path_dir, volume->metadata->name, &made, st);
	if (*path != '/')
		return status_set(st, -EINVAL, "local.path \"%s\" is not an absolute path", path);
	if (stat(path, &sb) < 0)
		return status_set(st, -errno, "path \"%s\" does not exist", path);
	return S_ISDIR(sb.st_mode) ? 0 : status_set(st, -ENOTDIR, "path \"%s\" is not a directory", path);
}

int claim_setup(const struct pod_view *view, const CoreV1__Volume *v, struct status *st)
{
	struct claim_volume where = { 0 };
	struct bound b;
	int rc = find_bound(view, v, &b, st);

	if (rc == 0)
		rc = check_use(view, &b, st);
	if (rc == 0)
		rc = claim_find(view, v, &where, st);
	if (rc == 0)
		rc = prepare(view, b.volume, where.path, st);
	if (rc == 0 && where.takes_fs_group && !where.readonly)
		rc = set_group(view, where.path, st);
	return rc;
}
