/* Rows of volumes, claims and storage classes. */
#include <string.h>

#include "common/api/resources.h"
#include "common/api/storage_names.h"
#include "controlplane/apiserver/columns/cells.h"
#include "proto/k8s/storage_v1.pb-c.h"

static const CoreV1__PersistentVolumeSpec no_volume = CORE_V1__PERSISTENT_VOLUME_SPEC__INIT;
static const CoreV1__PersistentVolumeStatus no_volume_status =
	CORE_V1__PERSISTENT_VOLUME_STATUS__INIT;
static const CoreV1__PersistentVolumeClaimSpec no_claim =
	CORE_V1__PERSISTENT_VOLUME_CLAIM_SPEC__INIT;
static const CoreV1__PersistentVolumeClaimStatus no_claim_status =
	CORE_V1__PERSISTENT_VOLUME_CLAIM_STATUS__INIT;

static const CoreV1__PersistentVolumeSpec *volume_of(const void *message)
{
	const CoreV1__PersistentVolume *pv = message;

	return pv->spec != NULL ? pv->spec : &no_volume;
}

static const CoreV1__PersistentVolumeStatus *volume_status_of(const void *message)
{
	const CoreV1__PersistentVolume *pv = message;

	return pv->status != NULL ? pv->status : &no_volume_status;
}

static const CoreV1__PersistentVolumeClaimSpec *claim_of(const void *message)
{
	const CoreV1__PersistentVolumeClaim *claim = message;

	return claim->spec != NULL ? claim->spec : &no_claim;
}

static const CoreV1__PersistentVolumeClaimStatus *claim_status_of(const void *message)
{
	const CoreV1__PersistentVolumeClaim *claim = message;

	return claim->status != NULL ? claim->status : &no_claim_status;
}

static bool has_mode(char *const *modes, size_t n, const char *mode)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(text_of(modes[i]), mode) == 0)
			return true;
	return false;
}

static void cell_modes(struct cells *c, char *const *modes, size_t n)
{
	static const char *const names[][2] = {
		{ "ReadWriteOnce", "RWO" },
		{ "ReadOnlyMany", "ROX" },
		{ "ReadWriteMany", "RWX" },
		{ "ReadWriteOncePod", "RWOP" },
	};
	struct buf b = { 0 };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (has_mode(modes, n, names[i][0]))
			join(&b, ",", names[i][1]);
	cell_take(c, &b);
}

static void cell_class(struct cells *c, const void *message, const char *name)
{
	const MetaV1__ObjectMeta *meta = meta_of(message);
	const char *beta = meta_annotation(meta, BETA_STORAGE_CLASS);

	cell_text(c, beta != NULL ? beta : name);
}

static void cell_phase(struct cells *c, const void *message, const char *phase)
{
	cell_text(c, meta_of(message)->deletiontimestamp != NULL ? "Terminating" : phase);
}

static void volume_capacity(struct cells *c, const void *message)
{
	const CoreV1__PersistentVolumeSpec *spec = volume_of(message);

	cell_text_or(c, resource_text(spec->capacity, spec->n_capacity, "storage"), "0");
}

static void volume_modes(struct cells *c, const void *message)
{
	cell_modes(c, volume_of(message)->accessmodes, volume_of(message)->n_accessmodes);
}

static void volume_policy(struct cells *c, const void *message)
{
	cell_text(c, volume_of(message)->persistentvolumereclaimpolicy);
}

static void volume_status(struct cells *c, const void *message)
{
	cell_phase(c, message, volume_status_of(message)->phase);
}

static void volume_claim(struct cells *c, const void *message)
{
	const CoreV1__ObjectReference *claim = volume_of(message)->claimref;

	if (claim == NULL)
		cell_text(c, "");
	else
		cell_printf(c, "%s/%s", text_of(claim->namespace_), text_of(claim->name));
}

static void volume_class(struct cells *c, const void *message)
{
	cell_class(c, message, volume_of(message)->storageclassname);
}

static void volume_attributes(struct cells *c, const void *message)
{
	cell_text_or(c, volume_of(message)->volumeattributesclassname, "<unset>");
}

static void volume_reason(struct cells *c, const void *message)
{
	cell_text(c, volume_status_of(message)->reason);
}

static void volume_mode(struct cells *c, const void *message)
{
	cell_text_or(c, volume_of(message)->volumemode, "<unset>");
}

static bool is_given(const void *message)
{
	return *text_of(claim_of(message)->volumename) != '\0';
}

static void claim_status(struct cells *c, const void *message)
{
	cell_phase(c, message, claim_status_of(message)->phase);
}

static void claim_volume(struct cells *c, const void *message)
{
	cell_text(c, claim_of(message)->volumename);
}

static void claim_capacity(struct cells *c, const void *message)
{
	const CoreV1__PersistentVolumeClaimStatus *status = claim_status_of(message);
	const char *text = resource_text(status->capacity, status->n_capacity, "storage");

	cell_text(c, !is_given(message) ? "" : text != NULL ? text : "0");
}

static void claim_modes(struct cells *c, const void *message)
{
	const CoreV1__PersistentVolumeClaimStatus *status = claim_status_of(message);

	cell_modes(c, status->accessmodes, is_given(message) ? status->n_accessmodes : 0);
}

static void claim_class(struct cells *c, const void *message)
{
	cell_class(c, message, claim_of(message)->storageclassname);
}

static void claim_attributes(struct cells *c, const void *message)
{
	cell_text_or(c, claim_of(message)->volumeattributesclassname, "<unset>");
}

static void claim_mode(struct cells *c, const void *message)
{
	cell_text_or(c, claim_of(message)->volumemode, "<unset>");
}

static void class_name(struct cells *c, const void *message)
{
	const MetaV1__ObjectMeta *meta = meta_of(message);
	bool chosen = text_is(meta_annotation(meta, DEFAULT_CLASS), "true") ||
		      text_is(meta_annotation(meta, BETA_DEFAULT_CLASS), "true");

	cell_printf(c, "%s%s", text_of(meta->name), chosen ? " (default)" : "");
}

static void class_provisioner(struct cells *c, const void *message)
{
	cell_text(c, ((const StorageV1__StorageClass *)message)->provisioner);
}

static void class_policy(struct cells *c, const void *message)
{
	cell_text_or(c, ((const StorageV1__StorageClass *)message)->reclaimpolicy, "Delete");
}

static void class_binding(struct cells *c, const void *message)
{
	cell_text_or(c, ((const StorageV1__StorageClass *)message)->volumebindingmode, "Immediate");
}

static void class_expansion(struct cells *c, const void *message)
{
	cell_bool(c, ((const StorageV1__StorageClass *)message)->allowvolumeexpansion);
}

/* clang-format off */
static const struct column volume[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Capacity", TEXT, 0, volume_capacity, "How much it holds." },
	{ "Access Modes", TEXT, 0, volume_modes, "Who may mount it, and how." },
	{ "Reclaim Policy", TEXT, 0, volume_policy, "What becomes of it when its claim is deleted." },
	{ "Status", TEXT, 0, volume_status, "Available, Bound, Released or Failed." },
	{ "Claim", TEXT, 0, volume_claim, "The claim it is bound to." },
	{ "StorageClass", TEXT, 0, volume_class, "Its storage class." },
	{ "VolumeAttributesClass", TEXT, 0, volume_attributes, "Its class of attributes." },
	{ "Reason", TEXT, 0, volume_reason, "Why it failed." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
	{ "VolumeMode", TEXT, 1, volume_mode, "Filesystem or Block." },
};
static const struct column claim[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Status", TEXT, 0, claim_status, "Pending, Bound or Lost." },
	{ "Volume", TEXT, 0, claim_volume, "The volume it is bound to." },
	{ "Capacity", TEXT, 0, claim_capacity, "How much the volume holds." },
	{ "Access Modes", TEXT, 0, claim_modes, "Who may mount it, and how." },
	{ "StorageClass", TEXT, 0, claim_class, "The storage class asked for." },
	{ "VolumeAttributesClass", TEXT, 0, claim_attributes, "The class of attributes asked for." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
	{ "VolumeMode", TEXT, 1, claim_mode, "Filesystem or Block." },
};
static const struct column class[] = {
	{ "Name", NAME, 0, class_name, DESCRIBE_NAME },
	{ "Provisioner", TEXT, 0, class_provisioner, "Who makes its volumes." },
	{ "ReclaimPolicy", TEXT, 0, class_policy, "What becomes of its volumes in the end." },
	{ "VolumeBindingMode", TEXT, 0, class_binding, "When claims are bound." },
	{ "AllowVolumeExpansion", TEXT, 0, class_expansion, "Whether claims may grow." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
};

const struct table_columns columns_storage[] = {
	COLUMNS(core_v1__persistent_volume, volume),
	COLUMNS(core_v1__persistent_volume_claim, claim),
	COLUMNS(storage_v1__storage_class, class),
};
/* clang-format on */
const size_t n_columns_storage = sizeof(columns_storage) / sizeof(columns_storage[0]);
