#include "sdk/c/kubeconfig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <yaml.h>

#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/io/address.h"

#define FILE_BYTES_MAX (1024 * 1024)

/* --- Looking into YAML ------------------------------------------------------------- */

static yaml_node_t *child(yaml_document_t *doc, yaml_node_t *map, const char *key)
{
	if (map == NULL || map->type != YAML_MAPPING_NODE)
		return NULL;
	for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
		yaml_node_t *k = yaml_document_get_node(doc, p->key);

		if (k->type == YAML_SCALAR_NODE && strcmp((char *)k->data.scalar.value, key) == 0)
			return yaml_document_get_node(doc, p->value);
	}
	return NULL;
}

static const char *text(yaml_document_t *doc, yaml_node_t *map, const char *key)
{
	yaml_node_t *n = child(doc, map, key);

	return n && n->type == YAML_SCALAR_NODE ? (const char *)n->data.scalar.value : NULL;
}

/* The entry called name of a list of {name, <member>}. */
static yaml_node_t *named(yaml_document_t *doc, const char *list, const char *name,
			  const char *member)
{
	yaml_node_t *seq = child(doc, yaml_document_get_root_node(doc), list);

	if (seq == NULL || seq->type != YAML_SEQUENCE_NODE || name == NULL)
		return NULL;
	for (yaml_node_item_t *i = seq->data.sequence.items.start; i < seq->data.sequence.items.top; i++) {
		yaml_node_t *entry = yaml_document_get_node(doc, *i);
		const char *entry_name = text(doc, entry, "name");

		if (entry_name != NULL && strcmp(entry_name, name) == 0)
			return child(doc, entry, member);
	}
	return NULL;
}

/* --- Certificates -------------------------------------------------------------------- */

static char *base64_decode(const char *encoded)
{
	size_t n = strlen(encoded);
	unsigned char *out = xmalloc(n + 1);
	int len = EVP_DecodeBlock(out, (const unsigned char *)encoded, (int)n);

	if (len < 0) {
		free(out);
		return NULL;
	}
	while (n > 0 && encoded[--n] == '=')
		len--;
	out[len] = '\0';
	return (char *)out;
}

/* "<name>-data" holds it, or "<name>" says where it is, relative to the kubeconfig. */
static int pem(yaml_document_t *doc, yaml_node_t *map, const char *name, const char *path,
	       char **ret_pem, struct status *st)
{
	autofree char *data_name = xasprintf("%s-data", name);
	const char *data = text(doc, map, data_name), *file = text(doc, map, name);
	struct buf content = { 0 };

	if (data != NULL) {
		*ret_pem = base64_decode(data);
		return *ret_pem ? 0 : status_set(st, -EINVAL, "%s: %s is not base64", path, data_name);
	}
	if (file == NULL)
		return 0;
	const char *slash = strrchr(path, '/');
	autofree char *full = file[0] == '/' || slash == NULL
				      ? xstrdup(file)
				      : xasprintf("%.*s/%s", (int)(slash - path), path, file);
	int rc = file_read(full, FILE_BYTES_MAX, &content, st);
	if (rc == 0) {
		buf_cstr(&content);
		*ret_pem = (char *)buf_steal(&content, NULL);
	}
	buf_fini(&content);
	return rc;
}

/* --- Reading --------------------------------------------------------------------------- */

static int read_server(struct kubeconfig *k, const char *server, const char *path,
		       struct status *st)
{
	char host[256];
	const char *at = strncmp(server, "https://", 8) == 0 ? server + 8 : NULL;

	if (at == NULL)
		return status_set(st, -EINVAL, "%s: the server must be https://host:port", path);
	autofree char *address = xstrndup(at, strcspn(at, "/"));
	if (address_split(address, host, sizeof(host), &k->port) < 0) {
		autofree char *with_port = xasprintf("%s:443", address);

		if (address_split(with_port, host, sizeof(host), &k->port) < 0)
			return status_set(st, -EINVAL, "%s: \"%s\" is not https://host:port", path,
					  server);
	}
	k->host = xstrdup(host);
	return 0;
}

static int read_document(struct kubeconfig *k, yaml_document_t *doc, const char *path,
			 struct status *st)
{
	const char *current = text(doc, yaml_document_get_root_node(doc), "current-context");
	yaml_node_t *context = named(doc, "contexts", current, "context");
	yaml_node_t *cluster = named(doc, "clusters", text(doc, context, "cluster"), "cluster");
	yaml_node_t *user = named(doc, "users", text(doc, context, "user"), "user");
	const char *server = text(doc, cluster, "server");

	if (server == NULL)
		return status_set(st, -EINVAL, "%s: the current context names no cluster with a server",
				  path);
	if (child(doc, user, "exec") != NULL || child(doc, user, "auth-provider") != NULL)
		return status_set(st, -ENOTSUP, "%s: users with plugins are not supported here", path);
	int rc = read_server(k, server, path, st);
	if (rc == 0)
		rc = pem(doc, cluster, "certificate-authority", path, &k->ca_pem, st);
	if (rc == 0)
		rc = pem(doc, user, "client-certificate", path, &k->cert_pem, st);
	if (rc == 0)
		rc = pem(doc, user, "client-key", path, &k->key_pem, st);
	if (rc == 0 && text(doc, user, "token") != NULL)
		k->token = xstrdup(text(doc, user, "token"));
	if (rc == 0 && text(doc, cluster, "tls-server-name") != NULL)
		k->server_name = xstrdup(text(doc, cluster, "tls-server-name"));
	if (rc == 0 && k->ca_pem == NULL)
		rc = status_set(st, -EINVAL, "%s: the cluster names no certificate authority", path);
	return rc;
}

int kubeconfig_read(struct kubeconfig *k, const char *path, struct status *st)
{
	struct buf content = { 0 };
	yaml_parser_t parser;
	yaml_document_t doc;

	*k = (struct kubeconfig){ 0 };
	int rc = file_read(path, FILE_BYTES_MAX, &content, st);
	if (rc < 0) {
		buf_fini(&content);
		return rc;
	}
	if (!yaml_parser_initialize(&parser))
		abort();
	yaml_parser_set_input_string(&parser, content.data, content.len);
	if (!yaml_parser_load(&parser, &doc)) {
		rc = status_set(st, -EINVAL, "%s:%zu: %s", path, parser.problem_mark.line + 1,
				parser.problem ? parser.problem : "not YAML");
	} else {
		rc = read_document(k, &doc, path, st);
		yaml_document_delete(&doc);
	}
	yaml_parser_delete(&parser);
	buf_fini(&content);
	if (rc < 0)
		kubeconfig_fini(k);
	return rc;
}

void kubeconfig_fini(struct kubeconfig *k)
{
	free(k->host);
	free(k->ca_pem);
	free(k->cert_pem);
	free(k->key_pem);
	free(k->token);
	free(k->server_name);
	*k = (struct kubeconfig){ 0 };
}

/* --- Writing ----------------------------------------------------------------------------- */

static void put_data(struct buf *out, const char *name, const char *content)
{
	size_t n = strlen(content);
	uint8_t *to;

	buf_printf(out, "    %s: ", name);
	to = buf_reserve(out, (n + 2) / 3 * 4 + 1);
	out->len += (size_t)EVP_EncodeBlock(to, (const unsigned char *)content, (int)n);
	buf_put_byte(out, '\n');
}

int kubeconfig_write(const char *path, const char *cluster, const char *server, const char *ca_pem,
		     const char *user, const char *cert_pem, const char *key_pem,
		     struct status *st)
{
	struct buf out = { 0 };

	buf_put_str(&out, "apiVersion: v1\nkind: Config\nclusters:\n");
	buf_printf(&out, "- name: %s\n  cluster:\n    server: %s\n", cluster, server);
	put_data(&out, "certificate-authority-data", ca_pem);
	buf_printf(&out, "users:\n- name: %s\n  user:\n", user);
	put_data(&out, "client-certificate-data", cert_pem);
	put_data(&out, "client-key-data", key_pem);
	buf_printf(&out,
		   "contexts:\n- name: %s\n  context:\n    cluster: %s\n    user: %s\n"
		   "current-context: %s\n",
		   cluster, cluster, user, cluster);
	int rc = file_write(path, 0600, out.data, out.len, st);
	buf_fini(&out);
	return rc;
}
