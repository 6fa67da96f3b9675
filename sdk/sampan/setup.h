/* What init, join and dev share: the files of a machine of the cluster. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/status.h"

struct client;

/* What a cluster is set up with. Strings are borrowed. */
struct cluster_setup {
	const char *domain, *service_cidr, *pod_cidr, *dns_address, *node_port_range;
	long node_prefix;
};

extern const struct cluster_setup cluster_setup_default;

/* A master and where it listens and is reached: "host" of each address is its own address. */
struct master_setup {
	const char *dir, *name;
	const char *address; /* IP address it listens on and is reached at. */
	long api_port, rpc_port, raft_port;
	const char *extra_san; /* A further name or address for its certificate, or NULL. */
	const char *server;    /* URL for the admin kubeconfig; NULL: its own API address. */
};

/* Make a new cluster in m->dir: keys, first master, m->dir/admin.kubeconfig. -EEXIST if there is one. */
int setup_init(const struct master_setup *m, const struct cluster_setup *c, struct status *st);

/* "<id>.<secret>.<sha256 of the CA in hex>" */
struct join_token {
	char id_secret[24];
	uint8_t ca_sha256[32];
};

int join_token_parse(const char *text, struct join_token *ret, struct status *st);

struct node_setup {
	const char *dir, *name;
	const char *address;  /* The node's own IP address. */
	const char *cgroup_parent;
	const char *insecure_registry; /* host:port, or NULL. */
};

/* Ask the master at host:port for a certificate and write the machine's files. */
int setup_join_master(const struct master_setup *m, const char *host, int port,
		      const struct join_token *token, struct status *st);
int setup_join_node(const struct node_setup *n, const char *host, int port,
		    const struct join_token *token, struct status *st);

/* Create a bootstrap token through the API. text is "<id>.<secret>.<hash>", for the caller to free. */
int setup_create_token(struct client *client, const char *ca_pem, bool master, long ttl_s,
		       char **ret_text, struct status *st);
