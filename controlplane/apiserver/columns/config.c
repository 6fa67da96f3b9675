/* Rows of configuration: ConfigMaps, Secrets and ServiceAccounts. */
#include "controlplane/apiserver/columns/cells.h"

static void configmap_data(struct cells *c, const void *message)
{
	const CoreV1__ConfigMap *map = message;

	cell_int(c, (int64_t)(map->n_data + map->n_binarydata));
}

static void secret_type(struct cells *c, const void *message)
{
	cell_text(c, ((const CoreV1__Secret *)message)->type);
}

static void secret_data(struct cells *c, const void *message)
{
	cell_int(c, (int64_t)((const CoreV1__Secret *)message)->n_data);
}

static void account_secrets(struct cells *c, const void *message)
{
	cell_int(c, (int64_t)((const CoreV1__ServiceAccount *)message)->n_secrets);
}

/* clang-format off */
static const struct column configmap[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Data", TEXT, 0, configmap_data, "How many entries it has." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
};
static const struct column secret[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Type", TEXT, 0, secret_type, "What it is for." },
	{ "Data", TEXT, 0, secret_data, "How many entries it has." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
};
static const struct column account[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Secrets", TEXT, 0, account_secrets, "How many Secrets it may use." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
};

const struct table_columns columns_config[] = {
	COLUMNS(core_v1__config_map, configmap),
	COLUMNS(core_v1__secret, secret),
	COLUMNS(core_v1__service_account, account),
};
/* clang-format on */
const size_t n_columns_config = sizeof(columns_config) / sizeof(columns_config[0]);
