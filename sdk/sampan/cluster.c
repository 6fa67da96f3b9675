/* init, join, token, member, status: thin commands over setup.h and the API. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/value.h"
#include "common/base/alloc.h"
#include "common/base/arena.h"
#include "common/base/cleanup.h"
#include "common/io/address.h"
#include "sdk/c/client.h"
#include "sdk/c/kubeconfig.h"
#include "sdk/sampan/command.h"
#include "sdk/sampan/setup.h"

static _Noreturn void missing(const char *option)
{
	fprintf(stderr, "sampan: the option --%s is needed\n", option);
	exit(2);
}

/* --- init and join ---------------------------------------------------------------------- */

struct ports {
	const char *api, *rpc, *raft;
};

#define PORT_OPTIONS(p)                                                                            \
	{ "api-port", &(p).api, NULL, "PORT  of the HTTPS API [6443]" },                           \
	{ "raft-port", &(p).raft, NULL, "PORT  for the other masters [6444]" },                    \
	{ "rpc-port", &(p).rpc, NULL, "PORT  for agents and proxies [6445]" }

static void ports_take(struct master_setup *m, const struct ports *p)
{
	m->api_port = option_number("api-port", p->api, 1, 65535);
	m->raft_port = option_number("raft-port", p->raft, 1, 65535);
	m->rpc_port = option_number("rpc-port", p->rpc, 1, 65535);
}

int command_init(int argc, char **argv)
{
	struct master_setup m = { .dir = "/var/lib/sampan/master", .name = "master-1" };
	struct cluster_setup c = cluster_setup_default;
	struct ports p = { "6443", "6445", "6444" };
	const char *prefix = "24";
	const struct option_spec specs[] = {
		{ "dir", &m.dir, NULL, "DIR  of the new master [/var/lib/sampan/master]" },
		{ "name", &m.name, NULL, "NAME  of the new master [master-1]" },
		{ "address", &m.address, NULL, "IP  it listens on and is reached at" },
		{ "san", &m.extra_san, NULL, "NAME  another name or address clients use for it" },
		{ "server", &m.server, NULL, "URL  for the admin kubeconfig [https://ADDRESS:6443]" },
		{ "service-cidr", &c.service_cidr, NULL, "CIDR  of Services [10.96.0.0/16]" },
		{ "pod-cidr", &c.pod_cidr, NULL, "CIDR  of pods [10.244.0.0/16]" },
		{ "node-prefix", &prefix, NULL, "BITS  of each node's share of it [24]" },
		{ "node-port-range", &c.node_port_range, NULL, "MIN-MAX  [30000-32767]" },
		{ "dns-address", &c.dns_address, NULL, "IP  of the cluster's DNS [10.96.0.10]" },
		{ "domain", &c.domain, NULL, "NAME  of the cluster [cluster.local]" },
		PORT_OPTIONS(p),
	};
	struct status st = { 0 };

	options_read("init --address IP [OPTIONS]", specs, array_size(specs), argc, argv, NULL, 0);
	if (m.address == NULL)
		missing("address");
	ports_take(&m, &p);
	c.node_prefix = option_number("node-prefix", prefix, 8, 30);
	if (setup_init(&m, &c, &st) < 0)
		return command_fail(&st);
	printf("The cluster's first master is prepared in %s.\n"
	       "Start it:   sampan-master --config %s/master.conf\n"
	       "Use it:     export KUBECONFIG=%s/admin.kubeconfig\n"
	       "Keep safe:  %s/kek (without it nobody can read the cluster's Secrets)\n",
	       m.dir, m.dir, m.dir, m.dir);
	return 0;
}

int command_join(int argc, char **argv)
{
	struct master_setup m = { 0 };
	struct node_setup n = { 0 };
	struct ports p = { "6443", "6445", "6444" };
	const char *dir = NULL, *name = NULL, *address = NULL, *token_text = NULL, *server = NULL;
	bool as_master = false;
	const struct option_spec specs[] = {
		{ "token", &token_text, NULL, "TOKEN  from sampan token create" },
		{ "server", &server, NULL, "HOST:PORT  of any master's HTTPS API" },
		{ "name", &name, NULL, "NAME  of this machine" },
		{ "address", &address, NULL, "IP  at which this machine is reached" },
		{ "dir", &dir, NULL, "DIR  for its files [/var/lib/sampan/node or .../master]" },
		{ "master", NULL, &as_master, " become a master instead of a node" },
		{ "cgroup-parent", &n.cgroup_parent, NULL, "PATH  for pods [/kubepods]" },
		{ "insecure-registry", &n.insecure_registry, NULL, "HOST:PORT  that speaks plain HTTP" },
		PORT_OPTIONS(p),
	};
	struct join_token token;
	struct status st = { 0 };
	char host[256];
	int port, rc;

	options_read("join --token TOKEN --server HOST:PORT --name NAME --address IP [OPTIONS]", specs,
		     array_size(specs), argc, argv, NULL, 0);
	if (token_text == NULL)
		missing("token");
	if (server == NULL || address_split(server, host, sizeof(host), &port) < 0)
		missing("server HOST:PORT");
	if (name == NULL)
		missing("name");
	if (address == NULL)
		missing("address");
	if (dir == NULL)
		dir = as_master ? "/var/lib/sampan/master" : "/var/lib/sampan/node";
	if (join_token_parse(token_text, &token, &st) < 0)
		return command_fail(&st);
	if (as_master) {
		m.dir = dir;
		m.name = name;
		m.address = address;
		ports_take(&m, &p);
		rc = setup_join_master(&m, host, port, &token, &st);
	} else {
		n.dir = dir;
		n.name = name;
		n.address = address;
		rc = setup_join_node(&n, host, port, &token, &st);
	}
	if (rc < 0)
		return command_fail(&st);
	if (as_master)
		printf("Start it:  sampan-master --config %s/master.conf\n", dir);
	else
		printf("Start it:  sampan-agent --config %s/agent.conf\n"
		       "and:       sampan-proxy --config %s/proxy.conf\n",
		       dir, dir);
	return 0;
}

/* --- Through the API --------------------------------------------------------------------- */

static int open_client(const char *option, struct kubeconfig *k, struct client **ret_client,
		       struct status *st)
{
	int rc = kubeconfig_read(k, kubeconfig_path(option), st);

	return rc < 0 ? rc : client_open(k, ret_client, st);
}

int command_token(int argc, char **argv)
{
	const char *kubeconfig = NULL, *ttl = "86400", *word[1];
	bool master = false;
	const struct option_spec specs[] = {
		{ "master", NULL, &master, " for a master instead of a node" },
		{ "ttl", &ttl, NULL, "SECONDS  it is good for [86400]" },
		{ "kubeconfig", &kubeconfig, NULL, "FILE  [$KUBECONFIG or ~/.kube/config]" },
	};
	struct kubeconfig k = { 0 };
	struct client *client = NULL;
	struct status st = { 0 };
	autofree char *text = NULL;

	options_read("token create [OPTIONS]", specs, array_size(specs), argc, argv, word, 1);
	if (strcmp(word[0], "create") != 0) {
		fprintf(stderr, "sampan: there is no command \"token %s\", only \"token create\"\n",
			word[0]);
		return 2;
	}
	int rc = open_client(kubeconfig, &k, &client, &st);
	if (rc == 0)
		rc = setup_create_token(client, k.ca_pem, master,
					option_number("ttl", ttl, 1, 365 * 86400), &text, &st);
	client_close(client);
	kubeconfig_fini(&k);
	if (rc < 0)
		return command_fail(&st);
	puts(text);
	return 0;
}

static const char *field(const struct value *v, const char *key)
{
	const char *text = value_get_string(v, key);

	return text && text[0] ? text : "-";
}

static const char *yes(const struct value *v, const char *key)
{
	const struct value *b = value_get(v, key);

	return b != NULL && b->type == VALUE_BOOL && b->boolean ? "yes" : "no";
}

static void print_members(const struct value *reply)
{
	const struct value *members = value_get(reply, "members");

	printf("%-17s %-12s %-8s %-7s %-10s %-22s %s\n", "ID", "NAME", "ROLE", "LEADER", "CONNECTED",
	       "RAFT", "API");
	for (size_t i = 0; members != NULL && i < members->n; i++) {
		const struct value *m = members->items[i];

		printf("%-17s %-12s %-8s %-7s %-10s %-22s %s\n", field(m, "id"), field(m, "name"),
		       field(m, "role"), yes(m, "leader"), yes(m, "connected"),
		       field(m, "raftAddress"), field(m, "apiAddress"));
	}
}

/* GET path and parse it; the reply lives in the arena. */
static int get(const char *kubeconfig, const char *method, const char *path, struct arena *arena,
	       struct value **ret, struct buf *body, struct status *st)
{
	struct kubeconfig k = { 0 };
	struct client *client = NULL;
	int rc = open_client(kubeconfig, &k, &client, st);

	if (rc == 0)
		rc = client_must(client, &(struct client_request){ .method = method, .path = path },
				 body, st);
	if (rc == 0)
		rc = value_parse(buf_bytes(body), arena, ret, st);
	client_close(client);
	kubeconfig_fini(&k);
	return rc;
}

int command_member(int argc, char **argv)
{
	const char *kubeconfig = NULL, *words[2] = { NULL, NULL };
	const struct option_spec specs[] = {
		{ "kubeconfig", &kubeconfig, NULL, "FILE  [$KUBECONFIG or ~/.kube/config]" },
	};
	auto_with(arena_fini) struct arena arena = { 0 };
	struct status st = { 0 };
	struct value *reply = NULL;
	struct buf body = { 0 };
	bool remove = argc > 0 && strcmp(argv[0], "remove") == 0;
	int rc;

	arena_init(&arena, 0);
	options_read(remove ? "member remove ID [OPTIONS]" : "member list [OPTIONS]", specs,
		     array_size(specs), argc, argv, words, remove ? 2 : 1);
	if (remove) {
		const char *path = arena_printf(&arena, "/sampan/v1/members/%s", words[1]);
		rc = get(kubeconfig, "DELETE", path, &arena, &reply, &body, &st);
	} else if (strcmp(words[0], "list") == 0) {
		rc = get(kubeconfig, "GET", "/sampan/v1/members", &arena, &reply, &body, &st);
		if (rc == 0)
			print_members(reply);
	} else {
		fprintf(stderr, "sampan: there is no command \"member %s\"; try list or remove\n",
			words[0]);
		return 2;
	}
	buf_fini(&body);
	return rc < 0 ? command_fail(&st) : 0;
}

int command_status(int argc, char **argv)
{
	const char *kubeconfig = NULL;
	bool json = false;
	const struct option_spec specs[] = {
		{ "kubeconfig", &kubeconfig, NULL, "FILE  [$KUBECONFIG or ~/.kube/config]" },
		{ "json", NULL, &json, " the whole answer as JSON" },
	};
	auto_with(arena_fini) struct arena arena = { 0 };
	struct status st = { 0 };
	struct value *s = NULL;
	struct buf body = { 0 };

	arena_init(&arena, 0);
	options_read("status [OPTIONS]", specs, array_size(specs), argc, argv, NULL, 0);
	int rc = get(kubeconfig, "GET", "/sampan/v1/status", &arena, &s, &body, &st);
	if (rc == 0 && json)
		fputs(buf_cstr(&body), stdout);
	for (size_t i = 0; rc == 0 && !json && i < s->n; i++) {
		const struct value *v = s->members[i].value;

		printf("%-18s %s\n", s->members[i].key,
		       v->type == VALUE_BOOL ? (v->boolean ? "yes" : "no") : v->text);
	}
	buf_fini(&body);
	return rc < 0 ? command_fail(&st) : 0;
}
