#include "sdk/sampan/setup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "common/api/times.h"
#include "common/base/alloc.h"
#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/source.h"
#include "common/io/cert_names.h"
#include "common/io/pki.h"
#include "proto/sampan/join.pb-c.h"
#include "sdk/c/client.h"
#include "sdk/c/kubeconfig.h"

#define CA_S (10ll * 365 * 24 * 3600)
#define CERTIFICATE_S (365ll * 24 * 3600)
#define BACKDATE_S 300
#define KEK_BYTES 32

const struct cluster_setup cluster_setup_default = {
	.domain = "cluster.local",
	.service_cidr = "10.96.0.0/16",
	.pod_cidr = "10.244.0.0/16",
	.dns_address = "10.96.0.10",
	.node_port_range = "30000-32767",
	.node_prefix = 24,
};

static int64_t now_s(void)
{
	return system_source.wall_ns(&system_source) / 1000000000;
}

/* --- Files ---------------------------------------------------------------------------- */

static int put_file(const char *dir, const char *name, mode_t mode, const void *data, size_t n,
		    struct status *st)
{
	autofree char *path = xasprintf("%s/%s", dir, name);

	return file_write(path, mode, data, n, st);
}

static int put_text(const char *dir, const char *name, mode_t mode, const char *text,
		    struct status *st)
{
	return put_file(dir, name, mode, text, strlen(text), st);
}

static int make_dir(const char *dir, const char *name, struct status *st)
{
	autofree char *path = xasprintf("%s/%s", dir, name);

	return dir_make(path, 0700, st);
}

/* A folder may hold one machine only. */
static int refuse_existing(const char *dir, const char *conf, struct status *st)
{
	autofree char *path = xasprintf("%s/%s", dir, conf);
	struct stat sb;

	if (stat(path, &sb) == 0)
		return status_set(st, -EEXIST, "%s is there already: choose another --dir or remove it",
				  path);
	return dir_make(dir, 0700, st);
}

static int write_master_conf(const struct master_setup *m, const struct cluster_setup *c,
			     uint64_t id, struct status *st)
{
	struct buf out = { 0 };
	const char *d = m->dir, *a = m->address;

	buf_printf(&out, "# A master of a Sampan cluster; see sampan-master --help.\n");
	buf_printf(&out, "id = %016" PRIx64 "\nname = %s\n", id, m->name);
	buf_printf(&out, "data_dir = %s/data\nca_file = %s/pki/ca.crt\ncert_file = %s/pki/master.crt\n", d,
		   d, d);
	buf_printf(&out, "key_file = %s/pki/master.key\nkek_file = %s/kek\nbootstrap_dir = %s/bootstrap\n",
		   d, d, d);
	buf_printf(&out, "api_listen = %s:%ld\nrpc_listen = %s:%ld\nraft_listen = %s:%ld\n", a,
		   m->api_port, a, m->rpc_port, a, m->raft_port);
	buf_printf(&out, "api_address = %s:%ld\nrpc_address = %s:%ld\nraft_address = %s:%ld\n", a,
		   m->api_port, a, m->rpc_port, a, m->raft_port);
	buf_printf(&out, "cluster_domain = %s\nservice_cidr = %s\npod_cidr = %s\nnode_prefix = %ld\n",
		   c->domain, c->service_cidr, c->pod_cidr, c->node_prefix);
	buf_printf(&out, "node_port_range = %s\ndns_address = %s\n", c->node_port_range,
		   c->dns_address);
	int rc = put_text(d, "master.conf", 0600, buf_cstr(&out), st);
	buf_fini(&out);
	return rc;
}

/* --- A new cluster ----------------------------------------------------------------------- */

struct authority {
	char *ca_key, *ca_cert;
};

static int sign_leaf(const struct authority *ca, const struct pki_subject *subject, unsigned usages,
		     char **ret_key, char **ret_cert, struct status *st)
{
	const struct pki_terms terms = {
		.usages = usages,
		.not_before_s = now_s() - BACKDATE_S,
		.not_after_s = now_s() + CERTIFICATE_S,
	};
	int rc = pki_key_create(ret_key, st);

	if (rc < 0)
		return rc;
	return pki_cert_create(ca->ca_cert, ca->ca_key, *ret_key, subject, &terms, ret_cert, st);
}

static int init_master_cert(const struct master_setup *m, const struct cluster_setup *c,
			    const struct authority *ca, uint64_t id, struct status *st)
{
	static const char *const orgs[] = { CERT_MASTERS_ORG };
	auto_with(arena_fini) struct arena arena = { 0 };
	const char *sans[CERT_SANS_MAX];
	autofree char *key = NULL, *cert = NULL;

	arena_init(&arena, 0);
	const struct pki_subject subject = {
		.cn = cert_master_cn(&arena, id),
		.orgs = orgs,
		.n_orgs = 1,
		.sans = sans,
		.n_sans = cert_master_sans(&arena, c->domain, c->service_cidr, m->name, m->address,
					   m->extra_san, sans),
	};
	int rc = sign_leaf(ca, &subject, PKI_SERVER | PKI_CLIENT, &key, &cert, st);
	if (rc == 0)
		rc = put_text(m->dir, "pki/ca.crt", 0644, ca->ca_cert, st);
	if (rc == 0)
		rc = put_text(m->dir, "pki/master.crt", 0644, cert, st);
	if (rc == 0)
		rc = put_text(m->dir, "pki/master.key", 0600, key, st);
	return rc;
}

static int init_admin(const struct master_setup *m, const struct authority *ca, struct status *st)
{
	static const char *const orgs[] = { "system:masters" };
	const struct pki_subject subject = { .cn = "kubernetes-admin", .orgs = orgs, .n_orgs = 1 };
	autofree char *key = NULL, *cert = NULL;
	autofree char *server = m->server ? xstrdup(m->server)
					  : xasprintf("https://%s:%ld", m->address, m->api_port);
	autofree char *path = xasprintf("%s/admin.kubeconfig", m->dir);
	int rc = sign_leaf(ca, &subject, PKI_CLIENT, &key, &cert, st);

	if (rc < 0)
		return rc;
	return kubeconfig_write(path, "sampan", server, ca->ca_cert, "kubernetes-admin", cert, key, st);
}

/* What the master writes into the state when it first leads. */
static int init_bootstrap(const struct master_setup *m, const struct authority *ca,
			  struct status *st)
{
	autofree char *sa_key = NULL;
	int rc = pki_key_create(&sa_key, st);

	if (rc == 0)
		rc = put_text(m->dir, "bootstrap/ca.crt", 0600, ca->ca_cert, st);
	if (rc == 0)
		rc = put_text(m->dir, "bootstrap/ca.key", 0600, ca->ca_key, st);
	if (rc == 0)
		rc = put_text(m->dir, "bootstrap/service-accounts.key", 0600, sa_key, st);
	return rc;
}

static int init_kek(const char *dir, struct status *st)
{
	uint8_t kek[KEK_BYTES];

	system_source.random(&system_source, kek, sizeof(kek));
	return put_file(dir, "kek", 0600, kek, sizeof(kek), st);
}

static uint64_t new_member_id(void)
{
	/* 63 random bits: an id is never used again. */
	return (source_random_u64(&system_source) >> 1) | 1;
}

int setup_init(const struct master_setup *m, const struct cluster_setup *c, struct status *st)
{
	struct authority ca = { 0 };
	uint64_t id = new_member_id();
	static const char *const folders[] = { "pki", "data", "bootstrap" };
	int rc = refuse_existing(m->dir, "master.conf", st);

	for (size_t i = 0; rc == 0 && i < array_size(folders); i++)
		rc = make_dir(m->dir, folders[i], st);
	if (rc == 0)
		rc = pki_key_create(&ca.ca_key, st);
	if (rc == 0)
		rc = pki_ca_create(ca.ca_key, "sampan-ca", now_s() - BACKDATE_S, now_s() + CA_S,
				   &ca.ca_cert, st);
	if (rc == 0)
		rc = init_master_cert(m, c, &ca, id, st);
	if (rc == 0)
		rc = init_admin(m, &ca, st);
	if (rc == 0)
		rc = init_kek(m->dir, st);
	if (rc == 0)
		rc = init_bootstrap(m, &ca, st);
	/* Last: a folder with a master.conf is complete. */
	if (rc == 0)
		rc = write_master_conf(m, c, id, st);
	free(ca.ca_key);
	free(ca.ca_cert);
	return rc;
}

/* --- Joining ------------------------------------------------------------------------------ */

static int hex_decode(const char *hex, uint8_t *to, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned byte;

		if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
			return -EINVAL;
		to[i] = (uint8_t)byte;
	}
	return 0;
}

int join_token_parse(const char *text, struct join_token *ret, struct status *st)
{
	/* 6 + 1 + 16 + 1 + 64 characters */
	if (strlen(text) != 88 || text[6] != '.' || text[23] != '.' ||
	    strspn(text + 24, "0123456789abcdef") != 64 ||
	    hex_decode(text + 24, ret->ca_sha256, 32) < 0)
		return status_set(st, -EINVAL,
				  "this is not a join token; `sampan token create` prints one");
	snprintf(ret->id_secret, sizeof(ret->id_secret), "%.23s", text);
	return 0;
}

static int post_join_once(const char *host, int port, const struct join_token *token,
			  SampanJoin__JoinRequest *request, SampanJoin__JoinReply **ret_reply,
			  struct status *st)
{
	struct client *client = NULL;
	struct buf body = { 0 }, answer = { 0 };
	int rc = client_open_pinned(host, port, token->ca_sha256, &client, st);

	if (rc < 0)
		return rc;
	body.len = sampan_join__join_request__pack(
		request, buf_reserve(&body, sampan_join__join_request__get_packed_size(request)));
	rc = client_must(client,
			 &(struct client_request){ .method = "POST",
						   .path = "/sampan/v1/join",
						   .content_type = "application/protobuf",
						   .accept = "application/protobuf",
						   .bearer = token->id_secret,
						   .body = buf_bytes(&body) },
			 &answer, st);
	if (rc == 0) {
		*ret_reply = sampan_join__join_reply__unpack(NULL, answer.len, answer.data);
		if (*ret_reply == NULL || (*ret_reply)->certificate_pem == NULL ||
		    (*ret_reply)->ca_pem == NULL)
			rc = status_set(st, -EBADMSG, "%s:%d did not answer a join as a master does",
					host, port);
	}
	client_close(client);
	buf_fini(&body);
	buf_fini(&answer);
	return rc;
}

/* There may be no leader for a moment, or another master may be joining. */
static int post_join(const char *host, int port, const struct join_token *token,
		     SampanJoin__JoinRequest *request, SampanJoin__JoinReply **ret_reply,
		     struct status *st)
{
	enum { TRIES_MAX = 75, PAUSE_US = 200000 };
	int rc = post_join_once(host, port, token, request, ret_reply, st);

	for (int i = 1; rc < 0 && st->http_code == 503 && i < TRIES_MAX; i++) {
		usleep(PAUSE_US);
		status_fini(st);
		*st = (struct status){ 0 };
		rc = post_join_once(host, port, token, request, ret_reply, st);
	}
	return rc;
}

static int write_pki(const char *dir, const char *who, const char *key,
		     const SampanJoin__JoinReply *reply, struct status *st)
{
	autofree char *cert_name = xasprintf("pki/%s.crt", who);
	autofree char *key_name = xasprintf("pki/%s.key", who);
	int rc = put_text(dir, "pki/ca.crt", 0644, reply->ca_pem, st);

	if (rc == 0)
		rc = put_text(dir, cert_name, 0644, reply->certificate_pem, st);
	if (rc == 0)
		rc = put_text(dir, key_name, 0600, key, st);
	return rc;
}

/* A key of our own and a request for it; the signer chooses the names. */
static int make_request(const char *name, char **ret_key, char **ret_csr, struct status *st)
{
	const struct pki_subject subject = { .cn = name };
	int rc = pki_key_create(ret_key, st);

	return rc < 0 ? rc : pki_csr_create(*ret_key, &subject, ret_csr, st);
}

static struct cluster_setup cluster_of(const SampanJoin__JoinReply *reply)
{
	return (struct cluster_setup){
		.domain = reply->cluster_domain,
		.service_cidr = reply->service_cidr,
		.pod_cidr = reply->pod_cidr,
		.dns_address = reply->dns_address,
		.node_port_range = cluster_setup_default.node_port_range,
		.node_prefix = reply->node_prefix,
	};
}

int setup_join_master(const struct master_setup *m, const char *host, int port,
		      const struct join_token *token, struct status *st)
{
	SampanJoin__JoinRequest request = SAMPAN_JOIN__JOIN_REQUEST__INIT;
	SampanJoin__JoinReply *reply = NULL;
	autofree char *key = NULL, *csr = NULL;
	autofree char *api = xasprintf("%s:%ld", m->address, m->api_port);
	autofree char *rpc_address = xasprintf("%s:%ld", m->address, m->rpc_port);
	autofree char *raft = xasprintf("%s:%ld", m->address, m->raft_port);
	int rc = refuse_existing(m->dir, "master.conf", st);

	if (rc == 0)
		rc = make_request(m->name, &key, &csr, st);
	if (rc < 0)
		return rc;
	request.has_role = request.has_member_id = true;
	request.role = SAMPAN_JOIN__JOIN_REQUEST__ROLE__MASTER;
	request.name = (char *)m->name;
	request.csr_pem = csr;
	request.member_id = new_member_id();
	request.api_address = api;
	request.rpc_address = rpc_address;
	request.raft_address = raft;
	rc = post_join(host, port, token, &request, &reply, st);
	if (rc == 0 && reply->kek.len != KEK_BYTES)
		rc = status_set(st, -EBADMSG, "the answer to the join holds no key-encryption key");
	if (rc == 0)
		rc = make_dir(m->dir, "pki", st);
	if (rc == 0)
		rc = make_dir(m->dir, "data", st);
	if (rc == 0)
		rc = write_pki(m->dir, "master", key, reply, st);
	if (rc == 0)
		rc = put_file(m->dir, "kek", 0600, reply->kek.data, reply->kek.len, st);
	if (rc == 0) {
		const struct cluster_setup c = cluster_of(reply);
		rc = write_master_conf(m, &c, request.member_id, st);
	}
	if (reply != NULL)
		sampan_join__join_reply__free_unpacked(reply, NULL);
	return rc;
}

/* agent.conf and proxy.conf differ in little. */
static int write_node_conf(const struct node_setup *n, const char *file, const char *state_dir,
			   const SampanJoin__JoinReply *reply, const char *more, struct status *st)
{
	struct buf out = { 0 };
	const char *d = n->dir;

	buf_printf(&out, "# A node of a Sampan cluster.\nnode = %s\ndir = %s/%s\n", n->name, d,
		   state_dir);
	buf_printf(&out, "ca_file = %s/pki/ca.crt\ncert_file = %s/pki/node.crt\nkey_file = %s/pki/node.key\n",
		   d, d, d);
	buf_printf(&out, "node_address = %s\n", n->address);
	for (size_t i = 0; i < reply->n_masters; i++)
		buf_printf(&out, "master = %016" PRIx64 " rpc=%s api=%s\n", reply->masters[i]->id,
			   reply->masters[i]->rpc_address, reply->masters[i]->api_address);
	buf_printf(&out, "cluster_domain = %s\nservice_cidr = %s\npod_cidr = %s\ndns_address = %s\n%s",
		   reply->cluster_domain, reply->service_cidr, reply->pod_cidr, reply->dns_address,
		   more);
	int rc = put_text(d, file, 0600, buf_cstr(&out), st);
	buf_fini(&out);
	return rc;
}

static int write_node_files(const struct node_setup *n, const SampanJoin__JoinReply *reply,
			    const char *key, struct status *st)
{
	struct buf agent = { 0 };
	static const char *const folders[] = { "pki", "agent", "proxy" };
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < array_size(folders); i++)
		rc = make_dir(n->dir, folders[i], st);
	if (rc == 0)
		rc = write_pki(n->dir, "node", key, reply, st);
	buf_printf(&agent, "cgroup_parent = %s\n", n->cgroup_parent ? n->cgroup_parent : "/kubepods");
	if (n->insecure_registry != NULL)
		buf_printf(&agent, "insecure_registry = %s\n", n->insecure_registry);
	if (rc == 0)
		rc = write_node_conf(n, "proxy.conf", "proxy", reply, "", st);
	if (rc == 0)
		rc = write_node_conf(n, "agent.conf", "agent", reply, buf_cstr(&agent), st);
	buf_fini(&agent);
	return rc;
}

int setup_join_node(const struct node_setup *n, const char *host, int port,
		    const struct join_token *token, struct status *st)
{
	SampanJoin__JoinRequest request = SAMPAN_JOIN__JOIN_REQUEST__INIT;
	SampanJoin__JoinReply *reply = NULL;
	autofree char *key = NULL, *csr = NULL;
	int rc = refuse_existing(n->dir, "agent.conf", st);

	if (rc == 0)
		rc = make_request(n->name, &key, &csr, st);
	if (rc < 0)
		return rc;
	request.has_role = true;
	request.role = SAMPAN_JOIN__JOIN_REQUEST__ROLE__NODE;
	request.name = (char *)n->name;
	request.csr_pem = csr;
	rc = post_join(host, port, token, &request, &reply, st);
	if (rc == 0)
		rc = write_node_files(n, reply, key, st);
	if (reply != NULL)
		sampan_join__join_reply__free_unpacked(reply, NULL);
	return rc;
}

/* --- Tokens --------------------------------------------------------------------------------- */

static void random_text(char *to, size_t n)
{
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";

	for (size_t i = 0; i < n; i++)
		to[i] = alphabet[source_random_below(&system_source, sizeof(alphabet) - 1)];
	to[n] = '\0';
}

int setup_create_token(struct client *client, const char *ca_pem, bool master, long ttl_s,
		       char **ret_text, struct status *st)
{
	char id[7], secret[17], until[TIME_TEXT_MAX];
	uint8_t hash[32];
	struct buf body = { 0 }, text = { 0 };
	int rc = pki_cert_sha256(ca_pem, hash, st);

	if (rc < 0)
		return rc;
	random_text(id, 6);
	random_text(secret, 16);
	time_print(now_s() + ttl_s, until);
	buf_printf(&body,
		   "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"type\":\"bootstrap.kubernetes.io/token\","
		   "\"metadata\":{\"name\":\"bootstrap-token-%s\",\"namespace\":\"kube-system\"},"
		   "\"stringData\":{\"token-id\":\"%s\",\"token-secret\":\"%s\",\"expiration\":\"%s\","
		   "\"%s\":\"true\"}}",
		   id, id, secret, until,
		   master ? "usage-sampan-master" : "usage-bootstrap-authentication");
	rc = client_must(client,
			 &(struct client_request){ .method = "POST",
						   .path = "/api/v1/namespaces/kube-system/secrets",
						   .body = buf_bytes(&body) },
			 NULL, st);
	if (rc == 0) {
		buf_printf(&text, "%s.%s.", id, secret);
		for (size_t i = 0; i < sizeof(hash); i++)
			buf_printf(&text, "%02x", hash[i]);
		buf_cstr(&text);
		*ret_text = (char *)buf_steal(&text, NULL);
	}
	buf_fini(&body);
	return rc;
}
