/* PersistentVolumes, their claims, and StorageClasses. */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "common/api/pack.h"
#include "common/api/resources.h"
#include "common/api/storage_names.h"
#include "common/base/cleanup.h"
#include "controlplane/admission/pod_spec.h"
#include "controlplane/admission/storage.h"
#include "controlplane/admission/strategy.h"
#include "proto/k8s/storage_v1.pb-c.h"

/* --- What volumes and claims share ------------------------------------------------- */

static void check_access_modes(struct checks *c, const struct field *f, char *const *modes,
			       size_t n)
{
	for (size_t i = 0; i < n && n > 1; i++)
		if (text_is(modes[i], "ReadWriteOncePod")) {
			check_forbidden(c, f,
					"may not use ReadWriteOncePod with other access modes");
			return;
		}
}

static void check_storage(struct checks *c, const struct field *f, const char *text)
{
	struct quantity q = { 0 };

	quantity_parse(bytes_str(text), &q);
	if (q.nano <= 0)
		check_invalid(c, f, text, "must be greater than zero");
	else if (q.nano % 1000000000 != 0)
		check_invalid(c, f, text, "must be an integer");
}

static void check_class_name(struct checks *c, const struct field *f, const char *name)
{
	const char *wrong;

	if (!text_empty(name) && (wrong = name_is_subdomain(name)) != NULL)
		check_invalid(c, f, name, "%s", wrong);
}

/* One error names the field that may not change; false when it did. */
static bool check_unchanged(struct checks *c, const struct field *f, bool same, const char *text)
{
	return same || check_forbidden(c, f, "%s", text);
}

static void add_finalizer(struct arena *a, MetaV1__ObjectMeta *meta, const char *name)
{
	if (!meta_has_finalizer(meta, name))
		make_append(a, meta, finalizers, arena_strdup(a, name));
}

/* --- PersistentVolumeClaim ----------------------------------------------------------- */

static const char *requested(const CoreV1__PersistentVolumeClaimSpec *spec)
{
	return spec && spec->resources ? resource_text(spec->resources->requests,
						       spec->resources->n_requests, "storage")
				       : NULL;
}

static int compare_requests(const CoreV1__PersistentVolumeClaimSpec *a,
			    const CoreV1__PersistentVolumeClaimSpec *b)
{
	struct quantity x = { 0 }, y = { 0 };

	quantity_parse(bytes_str(text_of(requested(a))), &x);
	quantity_parse(bytes_str(text_of(requested(b))), &y);
	return quantity_compare(&x, &y);
}

/* dataSource and dataSourceRef say the same in two ways. */
static void copy_data_source(struct arena *a, CoreV1__PersistentVolumeClaimSpec *spec)
{
	if (spec->datasource != NULL && spec->datasourceref == NULL) {
		CoreV1__TypedObjectReference *to =
			make(a, CoreV1__TypedObjectReference, core_v1__typed_object_reference);

		to->apigroup = spec->datasource->apigroup;
		to->kind = spec->datasource->kind;
		to->name = spec->datasource->name;
		spec->datasourceref = to;
	} else if (spec->datasource == NULL && spec->datasourceref != NULL &&
		   text_empty(spec->datasourceref->namespace_)) {
		CoreV1__TypedLocalObjectReference *to = make(a, CoreV1__TypedLocalObjectReference,
							     core_v1__typed_local_object_reference);

		to->apigroup = spec->datasourceref->apigroup;
		to->kind = spec->datasourceref->kind;
		to->name = spec->datasourceref->name;
		spec->datasource = to;
	}
}

static void prepare_claim(struct admission *a, ProtobufCMessage *message, ProtobufCMessage *old)
{
	CoreV1__PersistentVolumeClaim *claim = (CoreV1__PersistentVolumeClaim *)message;

	if (claim->spec == NULL)
		claim->spec = make(a->arena, CoreV1__PersistentVolumeClaimSpec,
				   core_v1__persistent_volume_claim_spec);
	if (claim->status == NULL)
		claim->status = make(a->arena, CoreV1__PersistentVolumeClaimStatus,
				     core_v1__persistent_volume_claim_status);
	if (old == NULL) {
		claim->status->phase = arena_strdup(a->arena, "Pending");
		copy_data_source(a->arena, claim->spec);
	}
}

struct default_search {
	struct arena *arena;
	const char *name;
	int64_t created_ns;
};

bool storage_class_is_default(const StorageV1__StorageClass *class)
{
	return text_is(meta_annotation(class->metadata, DEFAULT_CLASS), "true") ||
	       text_is(meta_annotation(class->metadata, BETA_DEFAULT_CLASS), "true");
}

static const StorageV1__StorageClass *class_of(const struct object *o, struct arena *arena)
{
	return unpack_stored(&storage_v1__storage_class__descriptor, o->packed, arena);
}

/* Of several the newest, then the first by name. */
static bool on_class(void *ctx, const struct object *o)
{
	struct default_search *s = ctx;
	const StorageV1__StorageClass *class = class_of(o, s->arena);

	if (class->metadata == NULL || !storage_class_is_default(class) ||
	    (s->name != NULL && o->facts.created_ns <= s->created_ns))
		return true;
	s->name = arena_strdup(s->arena, o->name);
	s->created_ns = o->facts.created_ns;
	return true;
}

static const struct kind *class_kind(void)
{
	return kind_named("storage.k8s.io", "StorageClass");
}

static void fill_class(struct admission *a, CoreV1__PersistentVolumeClaim *claim)
{
	struct default_search s = { .arena = a->arena };

	if (claim->spec->storageclassname != NULL ||
	    meta_annotation(claim->metadata, BETA_STORAGE_CLASS) != NULL)
		return;
	a->reader->walk(a->reader->ctx, class_kind(), "", on_class, &s);
	if (s.name != NULL)
		claim->spec->storageclassname = arena_strdup(a->arena, s.name);
}

/* Nothing here makes a volume larger, so what would never happen is refused at once. */
static int admit_resize(struct admission *a, const struct kind *kind,
			const CoreV1__PersistentVolumeClaim *claim, struct status *st)
{
	const char *name = text_of(claim->spec->storageclassname);
	const struct object *o =
		name[0] ? a->reader->get(a->reader->ctx, class_kind(), "", name) : NULL;
	const StorageV1__StorageClass *class = o ? class_of(o, a->arena) : NULL;

	if (class == NULL || !class->has_allowvolumeexpansion || !class->allowvolumeexpansion)
		return forbid(st, kind, text_of(claim->metadata->name),
			      "only dynamically provisioned pvc can be resized and the "
			      "storageclass that provisions the pvc must support resize");
	return forbid(st, kind, text_of(claim->metadata->name),
		      "provisioner %s of storageclass %s cannot resize volumes",
		      quoted(a->arena, text_of(class->provisioner)), quoted(a->arena, name));
}

static int admit_claim(struct admission *a, const struct kind *kind, ProtobufCMessage *message,
		       ProtobufCMessage *old, struct status *st)
{
	CoreV1__PersistentVolumeClaim *claim = (CoreV1__PersistentVolumeClaim *)message;
	const CoreV1__PersistentVolumeClaim *was = (CoreV1__PersistentVolumeClaim *)old;

	if (was == NULL) {
		fill_class(a, claim);
		add_finalizer(a->arena, claim->metadata, PVC_PROTECTION);
		return 0;
	}
	if (was->spec != NULL && text_is(was->status ? was->status->phase : NULL, "Bound") &&
	    compare_requests(claim->spec, was->spec) > 0)
		return admit_resize(a, kind, claim, st);
	return 0;
}

static void check_data_source(struct checks *c, const struct field *f,
			      const CoreV1__PersistentVolumeClaimSpec *spec)
{
	const CoreV1__TypedLocalObjectReference *s = spec->datasource;
	const CoreV1__TypedObjectReference *r = spec->datasourceref;

	if (s != NULL && text_empty(s->name))
		check_required(c, FIELD(FIELD(f, "dataSource"), "name"), "");
	if (s != NULL && text_empty(s->kind))
		check_required(c, FIELD(FIELD(f, "dataSource"), "kind"), "");
	if (r != NULL && text_empty(r->name))
		check_required(c, FIELD(FIELD(f, "dataSourceRef"), "name"), "");
	if (r != NULL && text_empty(r->kind))
		check_required(c, FIELD(FIELD(f, "dataSourceRef"), "kind"), "");
}

void check_claim_spec(struct checks *c, const struct field *f,
		      const CoreV1__PersistentVolumeClaimSpec *spec)
{
	const struct field *storage = KEY(FIELD(f, "resources"), "storage");

	if (spec == NULL || spec->n_accessmodes == 0)
		check_required(c, FIELD(f, "accessModes"), "at least 1 access mode is required");
	if (requested(spec) == NULL)
		check_required(c, storage, "");
	if (spec == NULL)
		return;
	check_access_modes(c, FIELD(f, "accessModes"), spec->accessmodes, spec->n_accessmodes);
	if (spec->selector != NULL)
		check_label_selector(c, FIELD(f, "selector"), spec->selector);
	if (requested(spec) != NULL)
		check_storage(c, storage, requested(spec));
	check_class_name(c, FIELD(f, "storageClassName"), spec->storageclassname);
	check_data_source(c, f, spec);
}

/* What may change is made equal, then nothing may differ. */
static void check_claim_update(struct checks *c, const CoreV1__PersistentVolumeClaim *claim,
			       const CoreV1__PersistentVolumeClaim *was)
{
	const struct field *f = FIELD(NULL, "spec");
	const char *new_class = meta_annotation(claim->metadata, BETA_STORAGE_CLASS);
	const char *old_class = meta_annotation(was->metadata, BETA_STORAGE_CLASS);
	CoreV1__PersistentVolumeClaimSpec a = *claim->spec, b = *was->spec;
	bool bound = text_is(was->status ? was->status->phase : NULL, "Bound");

	if (text_empty(b.volumename))
		b.volumename = a.volumename;
	/* A claim made before there was a default class gets it later. */
	if (b.storageclassname == NULL && text_empty(was->spec->volumename) && old_class == NULL)
		b.storageclassname = a.storageclassname;
	if (bound) {
		b.resources = a.resources;
		b.volumeattributesclassname = a.volumeattributesclassname;
	}
	if (new_class != NULL || old_class != NULL)
		check_unchanged(
			c, KEY(FIELD(FIELD(NULL, "metadata"), "annotations"), BETA_STORAGE_CLASS),
			text_is(new_class, text_of(old_class)), "field is immutable");
	check_unchanged(c, f, message_equal(&a, &b),
			"spec is immutable after creation except resources.requests and "
			"volumeAttributesClassName for bound claims");
	if (bound && compare_requests(claim->spec, was->spec) < 0)
		check_forbidden(c, FIELD(FIELD(FIELD(f, "resources"), "requests"), "storage"),
				"field can not be less than status.capacity");
}

static void validate_claim(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const CoreV1__PersistentVolumeClaim *claim = (CoreV1__PersistentVolumeClaim *)message;
	const CoreV1__PersistentVolumeClaim *was = (CoreV1__PersistentVolumeClaim *)old;

	check_claim_spec(c, FIELD(NULL, "spec"), claim->spec);
	if (was != NULL && was->spec != NULL)
		check_claim_update(c, claim, was);
}

const struct strategy strategy_persistent_volume_claim = {
	.descriptor = &core_v1__persistent_volume_claim__descriptor,
	.prepare = prepare_claim,
	.admit = admit_claim,
	.validate = validate_claim,
};

/* --- PersistentVolume ------------------------------------------------------------------ */

static void prepare_volume(struct admission *a, ProtobufCMessage *message, ProtobufCMessage *old)
{
	CoreV1__PersistentVolume *pv = (CoreV1__PersistentVolume *)message;

	if (pv->spec == NULL)
		pv->spec = make(a->arena, CoreV1__PersistentVolumeSpec,
				core_v1__persistent_volume_spec);
	if (pv->status == NULL)
		pv->status = make(a->arena, CoreV1__PersistentVolumeStatus,
				  core_v1__persistent_volume_status);
	if (old == NULL) {
		pv->status->phase = arena_strdup(a->arena, "Pending");
		pv->status->lastphasetransitiontime = make_time(a->arena, a->now_ns);
	}
}

static int admit_volume(struct admission *a, const struct kind *kind, ProtobufCMessage *message,
			ProtobufCMessage *old, struct status *st)
{
	if (old == NULL)
		add_finalizer(a->arena, message_metadata(message), PV_PROTECTION);
	return 0;
}

static void check_capacity(struct checks *c, const struct field *f,
			   const CoreV1__PersistentVolumeSpec *spec)
{
	const char *text = resource_text(spec->capacity, spec->n_capacity, "storage");

	if (spec->n_capacity == 0)
		check_required(c, f, "");
	else if (text == NULL || spec->n_capacity > 1)
		check_unsupported(c, f, text_of(spec->capacity[0]->key),
				  (const char *const[]){ "storage", NULL });
	else
		check_storage(c, KEY(f, "storage"), text);
}

static bool goes_up(const char *path)
{
	for (const char *p = path; *p != '\0'; p += strcspn(p, "/"), p += *p == '/')
		if (strcspn(p, "/") == 2 && strncmp(p, "..", 2) == 0)
			return true;
	return false;
}

static void check_path(struct checks *c, const struct field *f, const char *path)
{
	if (text_empty(path))
		check_required(c, f, "");
	else if (goes_up(path))
		check_invalid(c, f, path, "must not contain '..'");
}

static void check_volume_source(struct checks *c, const struct field *f,
				const CoreV1__PersistentVolumeSpec *spec)
{
	const CoreV1__PersistentVolumeSource *s = spec->persistentvolumesource;
	const ProtobufCMessageDescriptor *d = &core_v1__persistent_volume_source__descriptor;
	int sources = 0;

	for (unsigned i = 0; s != NULL && i < d->n_fields; i++) {
		if (*(void *const *)((const char *)s + d->fields[i].offset) == NULL)
			continue;
		if (++sources > 1)
			check_forbidden(c, FIELD(f, d->fields[i].name),
					"may not specify more than 1 volume type");
	}
	if (sources == 0) {
		check_required(c, f, "must specify a volume type");
		return;
	}
	if (s->hostpath != NULL) {
		check_path(c, FIELD(FIELD(f, "hostPath"), "path"), s->hostpath->path);
		if (text_is(s->hostpath->path, "/") &&
		    text_is(spec->persistentvolumereclaimpolicy, "Recycle"))
			check_forbidden(c, FIELD(f, "persistentVolumeReclaimPolicy"),
					"may not be 'recycle' for a hostPath mount of '/'");
	}
	if (s->local != NULL) {
		check_path(c, FIELD(FIELD(f, "local"), "path"), s->local->path);
		if (spec->nodeaffinity == NULL)
			check_required(c, FIELD(FIELD(NULL, "metadata"), "annotations"),
				       "Local volume requires node affinity");
	}
	if (s->nfs != NULL && text_empty(s->nfs->server))
		check_required(c, FIELD(FIELD(f, "nfs"), "server"), "");
	if (s->nfs != NULL && text_empty(s->nfs->path))
		check_required(c, FIELD(FIELD(f, "nfs"), "path"), "");
	if (s->csi != NULL && text_empty(s->csi->driver))
		check_required(c, FIELD(FIELD(f, "csi"), "driver"), "");
	if (s->csi != NULL && text_empty(s->csi->volumehandle))
		check_required(c, FIELD(FIELD(f, "csi"), "volumeHandle"), "");
}

static void check_volume_update(struct checks *c, const struct field *f,
				const CoreV1__PersistentVolumeSpec *spec,
				const CoreV1__PersistentVolumeSpec *was)
{
	bool same =
		(spec->persistentvolumesource == NULL) == (was->persistentvolumesource == NULL) &&
		(spec->persistentvolumesource == NULL ||
		 message_equal(spec->persistentvolumesource, was->persistentvolumesource));

	check_unchanged(c, FIELD(f, "persistentvolumesource"), same,
			"spec.persistentvolumesource is immutable after creation");
	if (!text_is(spec->volumemode, text_of(was->volumemode)))
		check_invalid(c, FIELD(f, "volumeMode"), spec->volumemode, "field is immutable");
	if (was->nodeaffinity != NULL)
		check_immutable(c, FIELD(f, "nodeAffinity"), spec->nodeaffinity, was->nodeaffinity);
}

static void validate_volume(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const CoreV1__PersistentVolumeSpec *spec = ((CoreV1__PersistentVolume *)message)->spec;
	const CoreV1__PersistentVolumeSpec *was =
		old ? ((CoreV1__PersistentVolume *)old)->spec : NULL;
	const struct field *f = FIELD(NULL, "spec");

	if (spec->n_accessmodes == 0)
		check_required(c, FIELD(f, "accessModes"), "");
	check_access_modes(c, FIELD(f, "accessModes"), spec->accessmodes, spec->n_accessmodes);
	check_capacity(c, FIELD(f, "capacity"), spec);
	if (spec->nodeaffinity != NULL && spec->nodeaffinity->required == NULL)
		check_required(c, FIELD(FIELD(f, "nodeAffinity"), "required"),
			       "must specify required node constraints");
	else if (spec->nodeaffinity != NULL)
		check_node_selector(c, FIELD(FIELD(f, "nodeAffinity"), "required"),
				    spec->nodeaffinity->required);
	check_volume_source(c, f, spec);
	check_class_name(c, FIELD(f, "storageClassName"), spec->storageclassname);
	if (was != NULL)
		check_volume_update(c, f, spec, was);
}

const struct strategy strategy_persistent_volume = {
	.descriptor = &core_v1__persistent_volume__descriptor,
	.prepare = prepare_volume,
	.admit = admit_volume,
	.validate = validate_volume,
};

/* --- StorageClass ------------------------------------------------------------------------- */

static void check_parameters(struct checks *c, const StorageV1__StorageClass *class)
{
	enum { PARAMETERS_MAX = 512, PARAMETERS_BYTES_MAX = 256 * 1024 };
	const struct field *f = FIELD(NULL, "parameters");
	size_t bytes = 0;

	if (class->n_parameters > PARAMETERS_MAX)
		check_too_long(c, f, PARAMETERS_MAX);
	for (size_t i = 0; i < class->n_parameters; i++) {
		if (text_empty(class->parameters[i]->key))
			check_invalid(c, f, "", "field can not be empty.");
		bytes += strlen(text_of(class->parameters[i]->key)) +
			 strlen(text_of(class->parameters[i]->value));
	}
	if (bytes > PARAMETERS_BYTES_MAX)
		check_too_long(c, f, PARAMETERS_BYTES_MAX);
}

static void check_topologies(struct checks *c, const StorageV1__StorageClass *class)
{
	for (size_t i = 0; i < class->n_allowedtopologies; i++) {
		const CoreV1__TopologySelectorTerm *t = class->allowedtopologies[i];
		const struct field *f =
			FIELD(AT(FIELD(NULL, "allowedTopologies"), i), "matchLabelExpressions");

		for (size_t k = 0; k < t->n_matchlabelexpressions; k++) {
			const CoreV1__TopologySelectorLabelRequirement *r =
				t->matchlabelexpressions[k];
			const char *wrong = name_is_qualified(text_of(r->key));

			if (r->n_values == 0)
				check_required(c, FIELD(AT(f, k), "values"), "");
			if (wrong != NULL)
				check_invalid(c, FIELD(AT(f, k), "key"), r->key, "%s", wrong);
			for (size_t m = 0; m < k; m++)
				if (text_is(t->matchlabelexpressions[m]->key, text_of(r->key)))
					check_duplicate(c, FIELD(AT(f, k), "key"), r->key);
		}
	}
}

static void check_provisioner(struct checks *c, const char *provisioner)
{
	const struct field *f = FIELD(NULL, "provisioner");
	char *lower = arena_strdup(c->arena, text_of(provisioner));
	const char *wrong;

	for (char *p = lower; *p != '\0'; p++)
		*p = (char)tolower((unsigned char)*p);
	if (lower[0] == '\0')
		check_required(c, f, "");
	else if ((wrong = name_is_qualified(lower)) != NULL)
		check_invalid(c, f, provisioner, "%s", wrong);
}

static bool same_parameters(const StorageV1__StorageClass *a, const StorageV1__StorageClass *b)
{
	StorageV1__StorageClass x = STORAGE_V1__STORAGE_CLASS__INIT, y = x;

	x.n_parameters = a->n_parameters;
	x.parameters = a->parameters;
	y.n_parameters = b->n_parameters;
	y.parameters = b->parameters;
	return message_equal(&x, &y);
}

static void validate_class(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	static const char *const policies[] = { "Delete", "Retain", NULL };
	const StorageV1__StorageClass *class = (StorageV1__StorageClass *)message;
	const StorageV1__StorageClass *was = (StorageV1__StorageClass *)old;

	check_provisioner(c, class->provisioner);
	check_parameters(c, class);
	if (text_is(class->reclaimpolicy, "Recycle")) /* Other words are not in the enumeration. */
		check_unsupported(c, FIELD(NULL, "reclaimPolicy"), class->reclaimpolicy, policies);
	check_topologies(c, class);
	if (was == NULL)
		return;
	check_unchanged(c, FIELD(NULL, "parameters"), same_parameters(class, was),
			"updates to parameters are forbidden.");
	check_unchanged(c, FIELD(NULL, "provisioner"),
			text_is(class->provisioner, text_of(was->provisioner)),
			"updates to provisioner are forbidden.");
	check_unchanged(c, FIELD(NULL, "reclaimPolicy"),
			text_is(class->reclaimpolicy, text_of(was->reclaimpolicy)),
			"updates to reclaimPolicy are forbidden.");
	if (!text_is(class->volumebindingmode, text_of(was->volumebindingmode)))
		check_invalid(c, FIELD(NULL, "volumeBindingMode"), class->volumebindingmode,
			      "field is immutable");
}

const struct strategy strategy_storage_class = {
	.descriptor = &storage_v1__storage_class__descriptor,
	.validate = validate_class,
};
