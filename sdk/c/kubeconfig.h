/* Kubeconfig files: the part that says where the API is and who we are.
 *
 * Reads YAML (and so JSON) as kubectl writes it: the current context's cluster
 * and user with embedded or referenced certificates, or a token. exec and
 * auth-provider plugins are refused. Any thread. */
#pragma once

#include "common/base/status.h"

struct kubeconfig {
	char *host; /* Without brackets. */
	int port;
	char *ca_pem, *cert_pem, *key_pem, *token; /* Each may be NULL. */
	char *server_name; /* tls-server-name, or NULL. */
};

int kubeconfig_read(struct kubeconfig *k, const char *path, struct status *st);
void kubeconfig_fini(struct kubeconfig *k);
/* Write one with embedded certificates, mode 0600. */
int kubeconfig_write(const char *path, const char *cluster, const char *server, const char *ca_pem,
		     const char *user, const char *cert_pem, const char *key_pem,
		     struct status *st);
