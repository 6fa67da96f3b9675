#include "agent/volumes/etc_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/volumes/fields.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"

enum { NAMESERVERS_MAX = 3, SEARCHES_MAX = 32, OPTIONS_MAX = 32, HOST_FILE_MAX = 65536 };

static void put_aliases(struct buf *out, const CoreV1__PodSpec *spec)
{
	if (spec->n_hostaliases > 0)
		buf_put_str(out, "\n# Entries added by HostAliases.\n");
	for (size_t i = 0; i < spec->n_hostaliases; i++) {
		const CoreV1__HostAlias *a = spec->hostaliases[i];

		buf_put_str(out, a->ip ? a->ip : "");
		for (size_t k = 0; k < a->n_hostnames; k++)
			buf_printf(out, "\t%s", a->hostnames[k]);
		buf_put_str(out, "\n");
	}
}

void etc_put_hosts(struct buf *out, const struct pod_view *view, const char *host_hosts)
{
	const CoreV1__PodSpec *spec = view->pod->spec;
	const char *hostname = pod_hostname(view->pod, view->arena);

	if (spec->hostnetwork) {
		buf_put_str(out, "# Kubernetes-managed hosts file (host network).\n");
		buf_put_str(out, host_hosts);
		put_aliases(out, spec);
		return;
	}
	buf_put_str(out, "# Kubernetes-managed hosts file.\n"
			 "127.0.0.1\tlocalhost\n"
			 "::1\tlocalhost ip6-localhost ip6-loopback\n"
			 "fe00::0\tip6-localnet\n"
			 "fe00::0\tip6-mcastprefix\n"
			 "fe00::1\tip6-allnodes\n"
			 "fe00::2\tip6-allrouters\n");
	if (*view->ip) {
		if (spec->subdomain && *spec->subdomain)
			buf_printf(out, "%s\t%s.%s.%s.svc.%s\t%s\n", view->ip, hostname, spec->subdomain,
				view->pod->metadata->namespace_, view->node->cluster_domain, hostname);
		else
			buf_printf(out, "%s\t%s\n", view->ip, hostname);
	}
	put_aliases(out, spec);
}

struct resolver {
	const char *nameservers[NAMESERVERS_MAX], *searches[SEARCHES_MAX], *options[OPTIONS_MAX];
	size_t n_nameservers, n_searches, n_options;
};

/* Once each; beyond the bound it is dropped, as a resolver would. */
static void add(const char **list, size_t *n, size_t max, const char *text)
{
	for (size_t i = 0; i < *n; i++) {
		if (strcmp(list[i], text) == 0)
			return;
	}
	if (*n < max && *text)
		list[(*n)++] = text;
}

/* An option replaces the one of its name ("ndots:5" and "ndots:2"). */
static void add_option(struct resolver *r, const char *text)
{
	size_t n = strcspn(text, ":");

	for (size_t i = 0; i < r->n_options; i++) {
		if (strncmp(r->options[i], text, n) == 0 && (r->options[i][n] == ':' || r->options[i][n] == '\0')) {
			r->options[i] = text;
			return;
		}
	}
	add(r->options, &r->n_options, OPTIONS_MAX, text);
}

static void read_host(struct resolver *r, char *text, bool nameservers, bool options)
{
	char *lines, *words;

	for (char *line = strtok_r(text, "\n", &lines); line; line = strtok_r(NULL, "\n", &lines)) {
		char *word = strtok_r(line, " \t", &words);

		if (word == NULL || *word == '#' || *word == ';')
			continue;
		bool search = strcmp(word, "search") == 0 || strcmp(word, "domain") == 0;
		bool server = strcmp(word, "nameserver") == 0, option = strcmp(word, "options") == 0;

		while ((word = strtok_r(NULL, " \t", &words)) != NULL) {
			if (server && nameservers)
				add(r->nameservers, &r->n_nameservers, NAMESERVERS_MAX, word);
			else if (search)
				add(r->searches, &r->n_searches, SEARCHES_MAX, word);
			else if (option && options)
				add_option(r, word);
		}
	}
}

void etc_put_resolv(struct buf *out, const struct pod_view *view, const char *host_resolv)
{
	const CoreV1__PodSpec *spec = view->pod->spec;
	const char *policy = spec->dnspolicy && *spec->dnspolicy ? spec->dnspolicy : "ClusterFirst";
	char *host = arena_strdup(view->arena, host_resolv);
	struct resolver r = { 0 };
	bool cluster = (strcmp(policy, "ClusterFirst") == 0 && !spec->hostnetwork) ||
		strcmp(policy, "ClusterFirstWithHostNet") == 0;

	if (cluster && *view->node->dns_address) {
		const char *domain = view->node->cluster_domain;

		add(r.nameservers, &r.n_nameservers, NAMESERVERS_MAX, view->node->dns_address);
		add(r.searches, &r.n_searches, SEARCHES_MAX,
			arena_printf(view->arena, "%s.svc.%s", view->pod->metadata->namespace_, domain));
		add(r.searches, &r.n_searches, SEARCHES_MAX, arena_printf(view->arena, "svc.%s", domain));
		add(r.searches, &r.n_searches, SEARCHES_MAX, domain);
		read_host(&r, host, false, false);
		add_option(&r, "ndots:5");
	} else if (strcmp(policy, "None") != 0) {
		read_host(&r, host, true, true);
	}
	for (size_t i = 0; spec->dnsconfig && i < spec->dnsconfig->n_nameservers; i++)
		add(r.nameservers, &r.n_nameservers, NAMESERVERS_MAX, spec->dnsconfig->nameservers[i]);
	for (size_t i = 0; spec->dnsconfig && i < spec->dnsconfig->n_searches; i++)
		add(r.searches, &r.n_searches, SEARCHES_MAX, spec->dnsconfig->searches[i]);
	for (size_t i = 0; spec->dnsconfig && i < spec->dnsconfig->n_options; i++) {
		const CoreV1__PodDNSConfigOption *o = spec->dnsconfig->options[i];

		if (o->name)
			add_option(&r, o->value && *o->value ? arena_printf(view->arena, "%s:%s", o->name, o->value)
							     : o->name);
	}
	if (r.n_searches > 0) {
		buf_put_str(out, "search");
		for (size_t i = 0; i < r.n_searches; i++)
			buf_printf(out, " %s", r.searches[i]);
		buf_put_str(out, "\n");
	}
	for (size_t i = 0; i < r.n_nameservers; i++)
		buf_printf(out, "nameserver %s\n", r.nameservers[i]);
	if (r.n_options > 0) {
		buf_put_str(out, "options");
		for (size_t i = 0; i < r.n_options; i++)
			buf_printf(out, " %s", r.options[i]);
		buf_put_str(out, "\n");
	}
}

static const char *read_host_file(struct arena *arena, const char *path)
{
	autofree char *text = xmalloc(HOST_FILE_MAX + 1);
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, HOST_FILE_MAX);

	return arena_strndup(arena, text, n > 0 ? (size_t)n : 0);
}

static int write_file(const struct pod_view *view, const char *name, struct buf *text, struct status *st)
{
	const char *path = arena_printf(view->arena, "%s/etc/%s", view->dir, name);
	/* In place: it is bound into containers that run. */
	autoclose int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, text->data ? (const void *)text->data : "", text->len) != (ssize_t)text->len)
		return status_set(st, errno ? -errno : -EIO, "cannot write %s: %s", path, strerror(errno));
	return 0;
}

int etc_write(const struct pod_view *view, struct status *st)
{
	auto_with(buf_fini) struct buf text = { 0 };
	const char *dir = arena_printf(view->arena, "%s/etc", view->dir);

	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return status_set(st, -errno, "cannot make %s: %s", dir, strerror(errno));
	etc_put_hosts(&text, view, read_host_file(view->arena, "/etc/hosts"));
	int rc = write_file(view, "hosts", &text, st);

	buf_clear(&text);
	etc_put_resolv(&text, view, read_host_file(view->arena, view->node->resolv_conf));
	if (rc == 0)
		rc = write_file(view, "resolv.conf", &text, st);
	buf_clear(&text);
	buf_printf(&text, "%s\n", pod_hostname(view->pod, view->arena));
	return rc < 0 ? rc : write_file(view, "hostname", &text, st);
}
