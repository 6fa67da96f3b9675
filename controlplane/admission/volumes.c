#include <string.h>

#include "controlplane/admission/pod_spec.h"
#include "controlplane/admission/storage.h"
#include "controlplane/admission/strategy.h"

/* A path inside a volume: relative and never upwards. */
static void check_inner_path(struct checks *c, const struct field *f, const char *path)
{
	if (path[0] == '/')
		check_invalid(c, f, path, "must be a relative path");

	for (const char *p = path; p != NULL && *p != '\0';) {
		const char *slash = strchr(p, '/');
		size_t n = slash ? (size_t)(slash - p) : strlen(p);

		if (n == 2 && strncmp(p, "..", 2) == 0) {
			check_invalid(c, f, path, "must not contain '..'");
			return;
		}
		p = slash ? slash + 1 : NULL;
	}
}

static void check_mode(struct checks *c, const struct field *f, int32_t mode)
{
	if (mode < 0 || mode > 0777)
		check_invalid_int(c, f, mode,
				  "must be a number between 0 and 0777 (octal), both "
				  "inclusive");
}

static void check_items(struct checks *c, const struct field *f, CoreV1__KeyToPath *const *items,
			size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct field *at = AT(f, i);

		if (text_empty(items[i]->key))
			check_required(c, FIELD(at, "key"), "");
		if (text_empty(items[i]->path))
			check_required(c, FIELD(at, "path"), "");
		else
			check_inner_path(c, FIELD(at, "path"), items[i]->path);
		if (items[i]->has_mode)
			check_mode(c, FIELD(at, "mode"), items[i]->mode);
	}
}

static void check_downward_items(struct checks *c, const struct field *f,
				 CoreV1__DownwardAPIVolumeFile *const *items, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct field *at = AT(f, i);

		if (text_empty(items[i]->path))
			check_required(c, FIELD(at, "path"), "");
		else
			check_inner_path(c, FIELD(at, "path"), items[i]->path);
		if (items[i]->fieldref == NULL && items[i]->resourcefieldref == NULL)
			check_required(c, at, "one of fieldRef and resourceFieldRef is required");
		else if (items[i]->fieldref != NULL && items[i]->resourcefieldref != NULL)
			check_invalid(c, at, "resource",
				      "fieldRef and resourceFieldRef can not be specified "
				      "simultaneously");
		if (items[i]->has_mode)
			check_mode(c, FIELD(at, "mode"), items[i]->mode);
	}
}

static void check_token(struct checks *c, const struct field *f,
			const CoreV1__ServiceAccountTokenProjection *t)
{
	enum { TOKEN_LIFE_MIN_S = 600 };

	if (t->expirationseconds < TOKEN_LIFE_MIN_S)
		check_invalid_int(c, FIELD(f, "expirationSeconds"), t->expirationseconds,
				  "may not specify a duration less than 10 minutes");
	else if (t->expirationseconds > (int64_t)1 << 32)
		check_invalid_int(c, FIELD(f, "expirationSeconds"), t->expirationseconds,
				  "may not specify a duration larger than 2^32 seconds");
	if (text_empty(t->path))
		check_required(c, FIELD(f, "path"), "");
	else
		check_inner_path(c, FIELD(f, "path"), t->path);
}

static void check_projected(struct checks *c, const struct field *f,
			    const CoreV1__ProjectedVolumeSource *p)
{
	check_mode(c, FIELD(f, "defaultMode"), p->defaultmode);
	for (size_t i = 0; i < p->n_sources; i++) {
		const CoreV1__VolumeProjection *s = p->sources[i];
		const struct field *at = AT(FIELD(f, "sources"), i);
		int sources = (s->secret != NULL) + (s->downwardapi != NULL) +
			      (s->configmap != NULL) + (s->serviceaccounttoken != NULL) +
			      (s->clustertrustbundle != NULL);

		if (sources == 0)
			check_required(c, at, "must specify a projection type");
		else if (sources > 1)
			check_forbidden(c, at, "may not specify more than 1 projection type");
		if (s->secret != NULL)
			check_items(c, FIELD(FIELD(at, "secret"), "items"), s->secret->items,
				    s->secret->n_items);
		if (s->configmap != NULL)
			check_items(c, FIELD(FIELD(at, "configMap"), "items"), s->configmap->items,
				    s->configmap->n_items);
		if (s->downwardapi != NULL)
			check_downward_items(c, FIELD(FIELD(at, "downwardAPI"), "items"),
					     s->downwardapi->items, s->downwardapi->n_items);
		if (s->serviceaccounttoken != NULL)
			check_token(c, FIELD(at, "serviceAccountToken"), s->serviceaccounttoken);
	}
}

static void check_source(struct checks *c, const struct field *f, const CoreV1__VolumeSource *s)
{
	const ProtobufCMessageDescriptor *d = s->base.descriptor;
	int sources = 0;

	for (unsigned i = 0; i < d->n_fields; i++) {
		if (*(void *const *)((const char *)s + d->fields[i].offset) == NULL)
			continue;
		if (++sources > 1)
			check_forbidden(c, FIELD(f, d->fields[i].name),
					"may not specify more than 1 volume type");
	}
	if (sources == 0)
		check_required(c, f, "must specify a volume type");
	if (s->configmap != NULL) {
		const struct field *at = FIELD(f, "configMap");

		if (s->configmap->localobjectreference == NULL ||
		    text_empty(s->configmap->localobjectreference->name))
			check_required(c, FIELD(at, "name"), "");
		check_mode(c, FIELD(at, "defaultMode"), s->configmap->defaultmode);
		check_items(c, FIELD(at, "items"), s->configmap->items, s->configmap->n_items);
	}
	if (s->secret != NULL) {
		const struct field *at = FIELD(f, "secret");

		if (text_empty(s->secret->secretname))
			check_required(c, FIELD(at, "secretName"), "");
		check_mode(c, FIELD(at, "defaultMode"), s->secret->defaultmode);
		check_items(c, FIELD(at, "items"), s->secret->items, s->secret->n_items);
	}
	if (s->downwardapi != NULL) {
		const struct field *at = FIELD(f, "downwardAPI");

		check_mode(c, FIELD(at, "defaultMode"), s->downwardapi->defaultmode);
		check_downward_items(c, FIELD(at, "items"), s->downwardapi->items,
				     s->downwardapi->n_items);
	}
	if (s->projected != NULL)
		check_projected(c, FIELD(f, "projected"), s->projected);
	if (s->hostpath != NULL) {
		if (text_empty(s->hostpath->path))
			check_required(c, FIELD(FIELD(f, "hostPath"), "path"), "");
		else if (strstr(s->hostpath->path, "..") != NULL)
			check_invalid(c, FIELD(FIELD(f, "hostPath"), "path"), s->hostpath->path,
				      "must not contain '..'");
	}
	if (s->persistentvolumeclaim != NULL && text_empty(s->persistentvolumeclaim->claimname))
		check_required(c, FIELD(FIELD(f, "persistentVolumeClaim"), "claimName"), "");
	if (s->ephemeral != NULL) {
		const CoreV1__PersistentVolumeClaimTemplate *t = s->ephemeral->volumeclaimtemplate;
		const struct field *at = FIELD(FIELD(f, "ephemeral"), "volumeClaimTemplate");

		if (t == NULL)
			check_required(c, at, "");
		else
			check_claim_spec(c, FIELD(at, "spec"), t->spec);
	}
	if (s->nfs != NULL && text_empty(s->nfs->server))
		check_required(c, FIELD(FIELD(f, "nfs"), "server"), "");
	if (s->nfs != NULL && text_empty(s->nfs->path))
		check_required(c, FIELD(FIELD(f, "nfs"), "path"), "");
}

void check_volumes(struct checks *c, const struct field *f, const CoreV1__PodSpec *spec)
{
	for (size_t i = 0; i < spec->n_volumes; i++) {
		const CoreV1__Volume *v = spec->volumes[i];
		const struct field *at = AT(f, i);
		const char *wrong;

		if (text_empty(v->name))
			check_required(c, FIELD(at, "name"), "");
		else if ((wrong = name_is_label(v->name)) != NULL)
			check_invalid(c, FIELD(at, "name"), v->name, "%s", wrong);
		for (size_t k = 0; k < i; k++)
			if (!text_empty(v->name) && text_is(spec->volumes[k]->name, v->name))
				check_duplicate(c, FIELD(at, "name"), v->name);
		if (v->volumesource != NULL)
			check_source(c, at, v->volumesource);
	}
}

static bool has_volume(const CoreV1__PodSpec *spec, const char *name)
{
	for (size_t i = 0; i < spec->n_volumes; i++)
		if (text_is(spec->volumes[i]->name, name))
			return true;
	return false;
}

void check_mounts(struct checks *c, const struct field *f, const CoreV1__PodSpec *spec,
		  const CoreV1__Container *container)
{
	for (size_t i = 0; i < container->n_volumemounts; i++) {
		const CoreV1__VolumeMount *m = container->volumemounts[i];
		const struct field *at = AT(FIELD(f, "volumeMounts"), i);

		if (text_empty(m->name))
			check_required(c, FIELD(at, "name"), "");
		else if (!has_volume(spec, m->name))
			check_not_found(c, FIELD(at, "name"), m->name);
		if (text_empty(m->mountpath))
			check_required(c, FIELD(at, "mountPath"), "");
		for (size_t k = 0; k < i; k++)
			if (!text_empty(m->mountpath) &&
			    text_is(container->volumemounts[k]->mountpath, m->mountpath))
				check_invalid(c, FIELD(at, "mountPath"), m->mountpath,
					      "must be unique");
		if (!text_empty(m->subpath))
			check_inner_path(c, FIELD(at, "subPath"), m->subpath);
		if (!text_empty(m->subpathexpr)) {
			if (!text_empty(m->subpath))
				check_invalid(c, FIELD(at, "subPathExpr"), m->subpathexpr,
					      "subPathExpr and subPath are mutually exclusive");
			check_inner_path(c, FIELD(at, "subPathExpr"), m->subpathexpr);
		}
	}
}
