/* sampan-pull: one image into the images directory of a node, then end.
 *
 * Started by the agent (pulls.c) or by a person. Standard input says what is
 * wanted, because arguments are visible to everybody:
 *
 *     name docker.io/library/busybox:1.36
 *     auth <base64 of user:password>            (optional)
 *
 * Standard output says what happens, a line each: "progress DONE TOTAL" in bytes,
 * and at the end "image sha256:..." or "error REASON text". docs/images.md. */
#include <curl/curl.h>
#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <time.h>

#include "agent/images/pull/pull.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"

static const char usage[] =
	"Usage: sampan-pull --dir DIR --work-dir DIR [options] < REQUEST\n"
	"Fetch one container image into the images directory of a node.\n"
	"\n"
	"  --dir DIR         the images directory (layers/ and images/ exist below it)\n"
	"  --work-dir DIR    an empty directory on the same file system\n"
	"  --insecure HOST   this registry (host[:port]) may be spoken to without TLS; may be repeated\n"
	"  --ca FILE         CA certificates (PEM) for registries, instead of the system's\n"
	"  --help, --version\n"
	"\n"
	"REQUEST has lines \"name IMAGE\" and, optionally, \"auth BASE64\" (user:password).\n";

struct arguments {
	const char *dir, *work_dir, *ca_path;
	const char *insecure[64];
	size_t n_insecure;
};

/* -1: carry on; else the exit status. */
static int read_arguments(int argc, char **argv, struct arguments *a)
{
	static const struct option options[] = {
		{ "dir", required_argument, NULL, 'd' },
		{ "work-dir", required_argument, NULL, 'w' },
		{ "insecure", required_argument, NULL, 'i' },
		{ "ca", required_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'd':
			a->dir = optarg;
			break;
		case 'w':
			a->work_dir = optarg;
			break;
		case 'c':
			a->ca_path = optarg;
			break;
		case 'i':
			if (a->n_insecure == array_size(a->insecure)) {
				fprintf(stderr, "sampan-pull: at most %zu --insecure\n",
					a->n_insecure);
				return 2;
			}
			a->insecure[a->n_insecure++] = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'v':
			puts("sampan-pull " SAMPAN_VERSION);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (a->dir == NULL || a->work_dir == NULL || optind != argc) {
		fputs("sampan-pull: --dir and --work-dir are needed, and nothing else\n", stderr);
		return 2;
	}
	return -1;
}

static int read_request(char **ret_name, char **ret_auth)
{
	char line[16384];

	while (fgets(line, sizeof(line), stdin) != NULL) {
		size_t n = strcspn(line, "\n");

		if (line[n] == '\0' && n == sizeof(line) - 1)
			return -EFBIG;
		line[n] = '\0';
		if (strncmp(line, "name ", 5) == 0 && *ret_name == NULL)
			*ret_name = xstrdup(line + 5);
		else if (strncmp(line, "auth ", 5) == 0 && *ret_auth == NULL)
			*ret_auth = xstrdup(line + 5);
		else
			return -EINVAL;
	}
	return *ret_name != NULL ? 0 : -EINVAL;
}

static bool on_loopback(const char *host)
{
	return strncmp(host, "127.", 4) == 0 || strncmp(host, "[::1]", 5) == 0 ||
	       strcmp(host, "localhost") == 0 || strncmp(host, "localhost:", 10) == 0;
}

static bool is_insecure(const struct arguments *a, const char *host)
{
	for (size_t i = 0; i < a->n_insecure; i++) {
		if (strcasecmp(a->insecure[i], host) == 0)
			return true;
	}
	return on_loopback(host);
}

/* Ten times a second is enough for whoever watches. */
static void on_progress(uint64_t done_bytes, uint64_t total_bytes)
{
	static uint64_t last_ms;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	uint64_t now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;

	if (now_ms - last_ms < 100 && done_bytes != total_bytes)
		return;
	last_ms = now_ms;
	printf("progress %llu %llu\n", (unsigned long long)done_bytes,
	       (unsigned long long)total_bytes);
	fflush(stdout);
}

static const char *reason_of(const struct status *st)
{
	if (st->reason != NULL && strcmp(st->reason, "InvalidImageName") == 0)
		return st->reason;
	return st->rc == -ECONNREFUSED ? "RegistryUnavailable" : "ErrImagePull";
}

static int fail(const struct status *st)
{
	autofree char *line = xstrdup(st->message);

	for (char *c = line; *c != '\0'; c++) {
		if ((unsigned char)*c < 0x20)
			*c = ' ';
	}
	printf("error %s %s\n", reason_of(st), line);
	return 1;
}

int main(int argc, char **argv)
{
	struct arguments arguments = { 0 };
	auto_with(status_fini) struct status st = { 0 };
	autofree char *name = NULL, *auth = NULL;
	struct reference ref;
	char digest[DIGEST_SIZE];
	int rc = read_arguments(argc, argv, &arguments);

	if (rc >= 0)
		return rc;
	log_init("pull", LOG_INFO);
	signal(SIGPIPE, SIG_IGN);
	/* Names in archives are UTF-8. */
	setlocale(LC_CTYPE, "C.UTF-8");
	if (read_request(&name, &auth) < 0) {
		status_set(&st, -EINVAL, "the request on standard input cannot be read");
		return fail(&st);
	}
	if (reference_parse(name, &ref, &st) < 0)
		return fail(&st);
	curl_global_init(CURL_GLOBAL_DEFAULT);

	struct pull_options options = {
		.dir = arguments.dir,
		.work_dir = arguments.work_dir,
		.auth = auth,
		.ca_path = arguments.ca_path,
		.insecure = is_insecure(&arguments, reference_registry(&ref)),
		.on_progress = on_progress,
	};

	rc = pull_image(&ref, &options, digest, &st);
	curl_global_cleanup();
	if (rc < 0) {
		autofree char *text = reference_text(&ref);

		status_prefix(&st, "cannot pull %s", text);
		return fail(&st);
	}
	printf("image %s\n", digest);
	return 0;
}
