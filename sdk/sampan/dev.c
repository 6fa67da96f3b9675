#include "sdk/sampan/dev.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/api/value.h"
#include "common/base/alloc.h"
#include "common/base/arena.h"
#include "common/base/cleanup.h"
#include "common/base/conf.h"
#include "common/base/file.h"
#include "sdk/c/client.h"
#include "sdk/sampan/command.h"
#include "sdk/sampan/setup.h"

#define MASTERS_MAX 7
#define NODES_MAX 50
#define READY_S 60
#define STOP_MS 5000
#define UNSAID -1 /* As many as there are already, or the default. */
#define MASTERS_DEFAULT 3
#define NODES_DEFAULT 2

struct dev {
	const char *dir; /* Absolute. */
	int masters, nodes;
	int api_port;
	int api_fd; /* Listens on 127.0.0.1:api_port of the namespace we were started in. */
	int lock_fd;
	char *registry;
	struct kubeconfig kubeconfig;
	struct client *client;
};

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* --- What a cluster was made with -------------------------------------------------------- */

static int make_folders(const struct dev *d, struct status *st)
{
	static const char *const folders[] = { "", "/netns", "/run", "/log" };

	for (size_t i = 0; i < array_size(folders); i++) {
		autofree char *path = xasprintf("%s%s", d->dir, folders[i]);
		int rc = dir_make(path, 0700, st);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* One command at a time works on a cluster. */
static int lock(struct dev *d, struct status *st)
{
	autofree char *path = xasprintf("%s/run/lock", d->dir);

	d->lock_fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (d->lock_fd < 0 || flock(d->lock_fd, LOCK_EX) < 0)
		return status_set(st, -errno, "%s: %s", path, strerror(errno));
	return 0;
}

static int load_conf(struct dev *d, struct status *st)
{
	autofree char *path = xasprintf("%s/dev.conf", d->dir);
	struct conf c;
	long long masters, nodes, port;
	int rc = conf_read(&c, path, st);

	if (rc == 0)
		rc = conf_number(&c, "masters", 0, 1, MASTERS_MAX, &masters, st);
	if (rc == 0)
		rc = conf_number(&c, "nodes", 0, 0, NODES_MAX, &nodes, st);
	if (rc == 0)
		rc = conf_number(&c, "api_port", 0, 1, 65535, &port, st);
	if (rc == 0) {
		d->masters = (int)masters;
		d->nodes = (int)nodes;
		d->api_port = (int)port;
		if (conf_get(&c, "registry", NULL) != NULL)
			d->registry = xstrdup(conf_get(&c, "registry", NULL));
	}
	conf_fini(&c);
	return rc;
}

static int save_conf(const struct dev *d, struct status *st)
{
	autofree char *path = xasprintf("%s/dev.conf", d->dir);
	autofree char *text = xasprintf("masters = %d\nnodes = %d\napi_port = %d\n%s%s%s", d->masters,
					d->nodes, d->api_port, d->registry ? "registry = " : "",
					d->registry ? d->registry : "", d->registry ? "\n" : "");

	return file_write(path, 0600, text, strlen(text), st);
}

/* Every master gets such a socket; the kernel deals new connections out among those that live. Port 0
 * chooses 6443 if it is free, else any. */
static int open_api_socket(struct dev *d, struct status *st)
{
	int on = 1;
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t n = sizeof(address);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (int attempt = 0; attempt < 2; attempt++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		int port = d->api_port ? d->api_port : attempt == 0 ? 6443 : 0;

		/* While we choose, nobody may share the port; afterwards our masters do. */
		if (d->api_port != 0) {
			setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
			setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		}
		address.sin_port = htons((uint16_t)port);
		if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
		    getsockname(fd, (struct sockaddr *)&address, &n) == 0) {
			if (d->api_port != 0) {
				d->api_fd = fd;
				return 0;
			}
			/* Shared from now on, by our masters alone: who else chooses finds it taken
			 * for as long as this process lives. */
			setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
			d->api_port = ntohs(address.sin_port);
			return 0;
		}
		close(fd);
	}
	return status_set(st, -errno, "cannot listen on 127.0.0.1:%d: %s", d->api_port,
			  strerror(errno));
}

/* --- Masters --------------------------------------------------------------------------------- */

static void master_setup_fill(const struct dev *d, int i, struct master_setup *m, struct arena *a)
{
	*m = (struct master_setup){
		.dir = arena_printf(a, "%s/master-%d", d->dir, i),
		.name = arena_printf(a, "master-%d", i),
		.address = arena_printf(a, "172.30.0.%d", 10 + i),
		.api_port = 6443,
		.raft_port = 6444,
		.rpc_port = 6445,
		.server = arena_printf(a, "https://127.0.0.1:%d", d->api_port),
	};
}

static int start_master(const struct dev *d, int i, struct status *st)
{
	struct dev_process p = { .netns = "lan", .program = "sampan-master" };
	autofree char *conf = xasprintf("%s/master-%d/master.conf", d->dir, i);
	struct dev own = *d;

	snprintf(p.name, sizeof(p.name), "master-%d", i);
	if (dev_process_pid(d->dir, p.name) != 0)
		return 0;
	/* A socket of its own: connections queue per listener. */
	int rc = open_api_socket(&own, st);
	if (rc < 0)
		return rc;
	p.listen_fd = own.api_fd;
	p.argv[0] = (char *)p.program;
	p.argv[1] = (char *)"--config";
	p.argv[2] = conf;
	rc = dev_process_start(d->dir, &p, st);
	close(own.api_fd);
	return rc;
}

static int connect_client(struct dev *d, struct status *st)
{
	autofree char *admin = xasprintf("%s/master-1/admin.kubeconfig", d->dir);
	autofree char *mine = xasprintf("%s/kubeconfig", d->dir);
	struct buf text = { 0 };
	int rc = file_read(admin, 1024 * 1024, &text, st);

	if (rc == 0)
		rc = file_write(mine, 0600, text.data, text.len, st);
	if (rc == 0)
		rc = kubeconfig_read(&d->kubeconfig, mine, st);
	if (rc == 0)
		rc = client_open(&d->kubeconfig, &d->client, st);
	buf_fini(&text);
	return rc;
}

/* Call until path answers 200 and check (may be NULL) is content with the body. */
static int wait_for(struct dev *d, const char *path, bool (*check)(struct dev *, struct value *),
		    const char *what, struct status *st)
{
	int64_t until = now_ms() + READY_S * 1000;

	for (;;) {
		auto_with(arena_fini) struct arena arena = { 0 };
		struct buf body = { 0 };
		struct value *v = NULL;
		int code = 0;

		arena_init(&arena, 0);
		status_fini(st);
		int rc = client_call(d->client,
				     &(struct client_request){ .path = path, .timeout_ms = 5000 },
				     &code, &body, st);
		bool good = rc == 0 && code == 200 &&
			    (check == NULL ||
			     (value_parse(buf_bytes(&body), &arena, &v, NULL) == 0 && check(d, v)));
		buf_fini(&body);
		if (good)
			return 0;
		if (now_ms() > until)
			return status_set(st, -ETIMEDOUT, "%s not within %d s; the logs are in %s/log",
					  what, READY_S, d->dir);
		sleep_ms(100);
	}
}

static bool has_file(const char *dir, const char *name)
{
	autofree char *path = xasprintf("%s/%s", dir, name);

	return access(path, F_OK) == 0;
}

static int first_master(struct dev *d, struct status *st)
{
	auto_with(arena_fini) struct arena arena = { 0 };
	struct master_setup m;
	int rc = 0;

	arena_init(&arena, 0);
	master_setup_fill(d, 1, &m, &arena);
	if (!has_file(m.dir, "master.conf"))
		rc = setup_init(&m, &cluster_setup_default, st);
	if (rc == 0)
		rc = start_master(d, 1, st);
	if (rc == 0)
		rc = connect_client(d, st);
	return rc;
}

static int join_masters(struct dev *d, struct status *st)
{
	struct join_token token;
	int rc = 0;

	for (int i = 2; rc == 0 && i <= d->masters; i++) {
		auto_with(arena_fini) struct arena arena = { 0 };
		autofree char *text = NULL;
		struct master_setup m;

		arena_init(&arena, 0);
		master_setup_fill(d, i, &m, &arena);
		if (!has_file(m.dir, "master.conf")) {
			rc = setup_create_token(d->client, d->kubeconfig.ca_pem, true, 600, &text, st);
			if (rc == 0)
				rc = join_token_parse(text, &token, st);
			if (rc == 0)
				rc = setup_join_master(&m, "127.0.0.1", d->api_port, &token, st);
		}
		if (rc == 0)
			rc = start_master(d, i, st);
	}
	return rc;
}

static bool all_voters(struct dev *d, struct value *v)
{
	const struct value *members = value_get(v, "members");
	int voters = 0;

	for (size_t i = 0; members != NULL && i < members->n; i++) {
		const char *role = value_get_string(members->items[i], "role");
		voters += role != NULL && strcmp(role, "voter") == 0;
	}
	return voters >= d->masters;
}

/* Already a cluster: start whoever does not run, then talk to it. */
static int restart_masters(struct dev *d, struct status *st)
{
	int rc = 0;

	for (int i = 1; rc == 0 && i <= d->masters; i++) {
		autofree char *dir = xasprintf("%s/master-%d", d->dir, i);

		if (has_file(dir, "master.conf"))
			rc = start_master(d, i, st);
	}
	return rc;
}

static int masters_up(struct dev *d, struct status *st)
{
	int rc = restart_masters(d, st);

	if (rc == 0)
		rc = first_master(d, st);
	if (rc == 0)
		rc = wait_for(d, "/readyz", NULL, "the first master is ready", st);
	if (rc == 0)
		rc = wait_for(d, "/api/v1/namespaces/kube-system/configmaps/sampan-masters", NULL,
			      "the first state is written", st);
	if (rc == 0)
		rc = join_masters(d, st);
	if (rc == 0)
		rc = wait_for(d, "/sampan/v1/members", all_voters, "every master is a voter", st);
	return rc;
}

/* --- Nodes -------------------------------------------------------------------------------------- */

static int join_node(struct dev *d, int i, struct status *st)
{
	autofree char *dir = xasprintf("%s/node-%d", d->dir, i);
	autofree char *name = xasprintf("node-%d", i);
	autofree char *address = xasprintf("172.30.0.%d", 100 + i);
	/* Two clusters of one machine share its cgroups. */
	autofree char *cgroup = NULL;
	autofree char *text = NULL;
	struct join_token token;
	struct stat sb;

	if (has_file(dir, "agent.conf"))
		return 0;
	if (stat(d->dir, &sb) < 0)
		return status_set(st, -errno, "%s: %s", d->dir, strerror(errno));
	cgroup = xasprintf("/sampan-%lx-node-%d", (unsigned long)sb.st_ino, i);
	const struct node_setup n = {
		.dir = dir, .name = name, .address = address, .cgroup_parent = cgroup,
		.insecure_registry = d->registry,
	};
	int rc = setup_create_token(d->client, d->kubeconfig.ca_pem, false, 600, &text, st);
	if (rc == 0)
		rc = join_token_parse(text, &token, st);
	if (rc == 0)
		rc = setup_join_node(&n, "127.0.0.1", d->api_port, &token, st);
	return rc;
}

static int start_on_node(const struct dev *d, int i, const char *what, struct status *st)
{
	autofree char *netns = xasprintf("node-%d", i);
	autofree char *conf = xasprintf("%s/node-%d/%s.conf", d->dir, i, what);
	autofree char *program = xasprintf("sampan-%s", what);
	struct dev_process p = { .netns = netns, .program = program, .listen_fd = -1 };

	snprintf(p.name, sizeof(p.name), "node-%d-%s", i, what);
	p.argv[0] = program;
	p.argv[1] = (char *)"--config";
	p.argv[2] = conf;
	return dev_process_start(d->dir, &p, st);
}

static int nodes_up(struct dev *d, struct status *st)
{
	int rc = 0;

	for (int i = 1; rc == 0 && i <= d->nodes; i++) {
		rc = dev_node_set_up(d->dir, i, st);
		if (rc == 0)
			rc = join_node(d, i, st);
		if (rc == 0)
			rc = start_on_node(d, i, "proxy", st);
		if (rc == 0)
			rc = start_on_node(d, i, "agent", st);
	}
	return rc;
}

static bool is_ready(const struct value *node)
{
	const struct value *conditions = value_get(value_get(node, "status"), "conditions");

	for (size_t i = 0; conditions != NULL && i < conditions->n; i++) {
		const char *type = value_get_string(conditions->items[i], "type");
		const char *status = value_get_string(conditions->items[i], "status");

		if (type && status && strcmp(type, "Ready") == 0)
			return strcmp(status, "True") == 0;
	}
	return false;
}

static bool all_ready(struct dev *d, struct value *v)
{
	const struct value *items = value_get(v, "items");
	int ready = 0;

	for (size_t i = 0; items != NULL && i < items->n; i++)
		ready += is_ready(items->items[i]);
	return ready >= d->nodes;
}

/* --- The commands ---------------------------------------------------------------------------------- */

static int up(struct dev *d, struct status *st)
{
	int rc = make_folders(d, st);

	if (rc == 0)
		rc = lock(d, st);
	if (rc < 0)
		return rc;
	if (has_file(d->dir, "dev.conf")) {
		int nodes = d->nodes, masters = d->masters;

		rc = load_conf(d, st);
		/* Growing is fine; what exists is not taken away. */
		if (rc == 0 && nodes > d->nodes)
			d->nodes = nodes;
		if (rc == 0 && masters > d->masters)
			d->masters = masters;
	}
	if (d->masters == UNSAID)
		d->masters = MASTERS_DEFAULT;
	if (d->nodes == UNSAID)
		d->nodes = NODES_DEFAULT;
	if (rc == 0 && d->api_port == 0)
		rc = open_api_socket(d, st);
	if (rc == 0)
		rc = save_conf(d, st);
	if (rc == 0)
		rc = dev_lan_set_up(d->dir, d->masters, st);
	if (rc == 0)
		rc = masters_up(d, st);
	if (rc == 0)
		rc = nodes_up(d, st);
	if (rc == 0 && d->nodes > 0)
		rc = wait_for(d, "/api/v1/nodes", all_ready, "every node is Ready", st);
	return rc;
}

static void clean_up_node(const struct dev *d, int i)
{
	autofree char *conf = xasprintf("%s/node-%d/agent.conf", d->dir, i);
	autofree char *netns = xasprintf("node-%d", i);
	autofree char *path = dev_program_path("sampan-agent");
	pid_t pid;

	if (access(conf, F_OK) < 0 || (pid = fork()) < 0)
		return;
	if (pid == 0) {
		if (dev_netns_enter(d->dir, netns, NULL) == 0)
			execl(path, "sampan-agent", "--config", conf, "--cleanup", (char *)NULL);
		_exit(1);
	}
	waitpid(pid, NULL, 0);
}

static void remove_tree(const char *dir)
{
	pid_t pid = fork();

	/* --one-file-system: never into a mount that something left behind. */
	if (pid == 0) {
		execlp("rm", "rm", "-rf", "--one-file-system", "--", dir, (char *)NULL);
		_exit(1);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

static void stop_all(const struct dev *d)
{
	char **names = dev_process_names(d->dir);

	/* Nodes first, so that nothing of theirs is reported while it goes. */
	for (size_t pass = 0; pass < 2; pass++)
		for (size_t i = 0; names[i] != NULL; i++)
			if ((strncmp(names[i], "master-", 7) == 0) == (pass == 1))
				dev_process_stop(d->dir, names[i], STOP_MS);
	for (size_t i = 0; names[i] != NULL; i++)
		free(names[i]);
	free(names);
	/* It outlives the proxy. */
	dev_process_sweep(d->dir, "haproxy");
}

static void remove_machines(const struct dev *d)
{
	static const char *const kinds[] = { "node", "master" };

	for (int i = 1; i <= NODES_MAX; i++) {
		clean_up_node(d, i);
		for (size_t k = 0; k < array_size(kinds); k++) {
			autofree char *path = xasprintf("%s/%s-%d", d->dir, kinds[k], i);

			if (access(path, F_OK) == 0)
				remove_tree(path);
		}
	}
}

/* Also what an interrupted up or down left: dev.conf goes last. */
static int down(struct dev *d, bool keep_logs, struct status *st)
{
	static const char *const parts[] = { "run", "kubeconfig", "registry", "dev.conf", "log" };
	int rc;

	if (!has_file(d->dir, "run") && !has_file(d->dir, "dev.conf") && !has_file(d->dir, "netns"))
		return 0; /* Nothing there. */
	rc = make_folders(d, st);
	if (rc == 0)
		rc = lock(d, st);
	if (rc < 0)
		return rc;
	stop_all(d);
	remove_machines(d);
	dev_netns_remove_all(d->dir);
	for (size_t i = 0; i < array_size(parts) - (keep_logs ? 1 : 0); i++) {
		autofree char *path = xasprintf("%s/%s", d->dir, parts[i]);

		remove_tree(path);
	}
	rmdir(d->dir);
	return 0;
}

static int list(const struct dev *d)
{
	char **names = dev_process_names(d->dir);

	printf("%-16s %s\n", "NAME", "PID");
	for (size_t i = 0; names[i] != NULL; i++) {
		pid_t pid = dev_process_pid(d->dir, names[i]);

		if (pid != 0)
			printf("%-16s %d\n", names[i], (int)pid);
		else
			printf("%-16s not running\n", names[i]);
		free(names[i]);
	}
	free(names);
	return 0;
}

static void dev_fini(struct dev *d)
{
	client_close(d->client);
	kubeconfig_fini(&d->kubeconfig);
	free(d->registry);
	if (d->lock_fd >= 0)
		close(d->lock_fd);
}

int command_dev(int argc, char **argv)
{
	const char *dir = "/var/lib/sampan/dev", *masters = NULL, *nodes = NULL, *registry = NULL, *word[1];
	bool keep_logs = false;
	const struct option_spec specs[] = {
		{ "dir", &dir, NULL, "DIR  that holds the cluster [/var/lib/sampan/dev]" },
		{ "masters", &masters, NULL, "N  masters [3, or as many as there are]" },
		{ "nodes", &nodes, NULL, "N  nodes, each in a namespace of its own [2, or as there are]" },
		{ "registry", &registry, NULL, "HOST:PORT  that nodes may pull from over plain HTTP" },
		{ "keep-logs", NULL, &keep_logs, " down leaves DIR/log" },
	};
	struct dev d = { .api_fd = -1, .lock_fd = -1 };
	struct status st = { 0 };
	int rc;

	options_read("dev up|down|ls [OPTIONS]", specs, array_size(specs), argc, argv, word, 1);
	d.masters = masters ? (int)option_number("masters", masters, 1, MASTERS_MAX) : UNSAID;
	d.nodes = nodes ? (int)option_number("nodes", nodes, 0, NODES_MAX) : UNSAID;
	d.registry = registry ? xstrdup(registry) : NULL;
	if (strcmp(word[0], "up") == 0 && dir_make(dir, 0700, &st) < 0)
		return command_fail(&st);
	autofree char *absolute = realpath(dir, NULL);
	if (absolute == NULL && strcmp(word[0], "up") == 0) {
		status_set(&st, -errno, "%s: %s", dir, strerror(errno));
		return command_fail(&st);
	}
	d.dir = absolute ? absolute : dir;

	if (strcmp(word[0], "up") == 0) {
		rc = up(&d, &st);
		if (rc == 0)
			printf("export KUBECONFIG=%s/kubeconfig\n", d.dir);
	} else if (strcmp(word[0], "down") == 0) {
		rc = down(&d, keep_logs, &st);
	} else if (strcmp(word[0], "ls") == 0) {
		rc = list(&d);
	} else {
		fprintf(stderr, "sampan: there is no command \"dev %s\"; try up, down or ls\n", word[0]);
		rc = 2;
	}
	dev_fini(&d);
	return rc < 0 ? command_fail(&st) : rc;
}
