/* A pull is a child process that several requests may wait for.
 *
 *   WAITING ----> RUNNING ----> ENDING ----> freed
 *      |             |             ^
 *      +-------------+-- cancel ---+
 *
 * ENDING lasts until the three handles of the process are closed; the last of them
 * calls those who wait, so that no callback ever comes from inside a call of theirs. */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/images/credentials.h"
#include "agent/images/internal.h"
#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/base/log.h"

#define OUTPUT_LINE_MAX 4096

enum pull_state { PULL_WAITING, PULL_RUNNING, PULL_ENDING };

struct pull_process {
	struct list link; /* In images->pulls. */
	struct images *images;
	enum pull_state state;
	struct reference ref;
	char *name, *auth; /* auth may be NULL. */
	char *work_dir;
	struct list waiters; /* struct image_pull */
	uv_process_t process;
	uv_pipe_t in, out;
	uv_write_t write;
	struct buf request, line;
	unsigned n_handles;
	bool exited, eof, cancelled;
	int64_t exit_status;
	char read_buf[4096];
	char digest[DIGEST_SIZE];
	struct status st;
	uint64_t done_bytes, total_bytes;
};

struct image_pull {
	struct list link;
	struct pull_process *process;
	images_resolve_cb *cb;
	void *arg;
};

static void start_waiting(struct images *images);

static void process_free(struct pull_process *p)
{
	assert(list_empty(&p->waiters));
	list_remove(&p->link);
	free(p->name);
	free(p->auth);
	free(p->work_dir);
	buf_fini(&p->request);
	buf_fini(&p->line);
	status_fini(&p->st);
	free(p);
}

/* --- Results ---------------------------------------------------------------- */

/* Whoever is called may cancel others or ask for more. */
static void deliver(struct pull_process *p, struct image *image)
{
	while (!list_empty(&p->waiters)) {
		struct image_pull *w = list_first(&p->waiters, struct image_pull, link);

		list_remove(&w->link);
		images_resolve_cb *cb = w->cb;
		void *arg = w->arg;

		free(w);
		cb(arg, image, &p->st);
	}
}

static void fail(struct pull_process *p, int rc, const char *reason, const char *text)
{
	status_set(&p->st, rc, "%s", text);
	status_http(&p->st, 500, reason);
}

static const char *known_reason(const char *word, size_t n)
{
	static const char *const reasons[] = { "InvalidImageName", "RegistryUnavailable" };

	for (size_t i = 0; i < array_size(reasons); i++) {
		if (strlen(reasons[i]) == n && memcmp(reasons[i], word, n) == 0)
			return reasons[i];
	}
	return "ErrImagePull";
}

static void on_line(struct pull_process *p, const char *line)
{
	unsigned long long done, total;

	if (sscanf(line, "progress %llu %llu", &done, &total) == 2) {
		p->done_bytes = done;
		p->total_bytes = total;
	} else if (strncmp(line, "image ", 6) == 0 && digest_is_valid(line + 6)) {
		memcpy(p->digest, line + 6, DIGEST_SIZE);
	} else if (strncmp(line, "error ", 6) == 0) {
		size_t word = strcspn(line + 6, " ");
		const char *text = line + 6 + word;

		fail(p, -EIO, known_reason(line + 6, word), *text == ' ' ? text + 1 : text);
	}
}

static void finish(struct pull_process *p)
{
	struct image *image = NULL;

	if (p->digest[0] != '\0' && p->exit_status == 0) {
		images_put_ref(p->images, p->name, p->digest);
		image = images_load(p->images, &p->ref, p->digest);
	}
	if (image != NULL) {
		status_fini(&p->st);
		log_info("pulled an image", "image=%s digest=%s bytes=%llu", log_quote(p->name),
			 p->digest, (unsigned long long)p->done_bytes);
	} else if (p->st.rc == 0) {
		autofree char *text = xasprintf("cannot pull %s: the helper ended with status %lld",
						p->name, (long long)p->exit_status);

		fail(p, -EIO, "ErrImagePull", text);
	}
	if (image == NULL && !p->cancelled)
		log_warn("cannot pull an image", "image=%s reason=%s error=%s", log_quote(p->name),
			 p->st.reason, log_quote(p->st.message));
	deliver(p, image);
	image_unref(image);
}

/* --- The process ------------------------------------------------------------ */

static void on_handle_closed(struct pull_process *p)
{
	struct images *images = p->images;

	if (--p->n_handles > 0)
		return;
	finish(p);
	images_remove_later(images, steal_ptr(&p->work_dir));
	process_free(p);
	start_waiting(images);
	images_check_closed(images);
}

static void on_in_closed(uv_handle_t *h)
{
	on_handle_closed(container_of((uv_pipe_t *)h, struct pull_process, in));
}

static void on_out_closed(uv_handle_t *h)
{
	on_handle_closed(container_of((uv_pipe_t *)h, struct pull_process, out));
}

static void on_process_closed(uv_handle_t *h)
{
	on_handle_closed(container_of((uv_process_t *)h, struct pull_process, process));
}

static void close_in(struct pull_process *p)
{
	if (!uv_is_closing((uv_handle_t *)&p->in))
		uv_close((uv_handle_t *)&p->in, on_in_closed);
}

static void check_end(struct pull_process *p)
{
	if (!p->exited || !p->eof || p->state != PULL_RUNNING)
		return;
	p->state = PULL_ENDING;
	p->images->n_running--;
	close_in(p);
	uv_close((uv_handle_t *)&p->out, on_out_closed);
	uv_close((uv_handle_t *)&p->process, on_process_closed);
}

static void on_exit_status(uv_process_t *process, int64_t status, int signal)
{
	struct pull_process *p = container_of(process, struct pull_process, process);

	p->exited = true;
	p->exit_status = signal != 0 ? 128 + signal : status;
	check_end(p);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
	struct pull_process *p = container_of((uv_pipe_t *)h, struct pull_process, out);

	*ret = uv_buf_init(p->read_buf, sizeof(p->read_buf));
}

static void on_output(struct pull_process *p, const char *data, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (data[i] != '\n') {
			if (p->line.len < OUTPUT_LINE_MAX)
				buf_put_byte(&p->line, (uint8_t)data[i]);
			continue;
		}
		on_line(p, buf_cstr(&p->line));
		buf_clear(&p->line);
	}
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct pull_process *p = container_of((uv_pipe_t *)stream, struct pull_process, out);

	if (n >= 0) {
		on_output(p, buf->base, (size_t)n);
		return;
	}
	p->eof = true;
	uv_read_stop(stream);
	check_end(p);
}

static void on_written(uv_write_t *write, int status)
{
	close_in(container_of(write, struct pull_process, write));
}

static void send_request(struct pull_process *p)
{
	buf_printf(&p->request, "name %s\n", p->name);
	if (p->auth != NULL)
		buf_printf(&p->request, "auth %s\n", p->auth);
	uv_buf_t out = uv_buf_init((char *)p->request.data, (unsigned)p->request.len);

	if (uv_write(&p->write, (uv_stream_t *)&p->in, &out, 1, on_written) < 0)
		close_in(p);
}

static int spawn(struct pull_process *p)
{
	struct images *images = p->images;
	const char *args[160] = { images->pull_path, "--dir", images->dir, "--work-dir",
				  p->work_dir };
	size_t n = 5;
	uv_stdio_container_t stdio[3] = {
		{ .flags = UV_CREATE_PIPE | UV_READABLE_PIPE,
		  .data.stream = (uv_stream_t *)&p->in },
		{ .flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE,
		  .data.stream = (uv_stream_t *)&p->out },
		{ .flags = UV_INHERIT_FD, .data.fd = 2 },
	};

	if (images->ca_path != NULL) {
		args[n++] = "--ca";
		args[n++] = images->ca_path;
	}
	for (size_t i = 0; images->insecure[i] != NULL && n + 3 < array_size(args); i++) {
		args[n++] = "--insecure";
		args[n++] = images->insecure[i];
	}
	uv_process_options_t options = {
		.file = images->pull_path,
		.args = (char **)args,
		.exit_cb = on_exit_status,
		.stdio = stdio,
		.stdio_count = 3,
	};

	uv_pipe_init(images->loop, &p->in, 0);
	uv_pipe_init(images->loop, &p->out, 0);
	p->n_handles = 3;
	return uv_spawn(images->loop, &p->process, &options);
}

static void start(struct pull_process *p)
{
	struct images *images = p->images;
	int rc;

	p->work_dir = xasprintf("%s/tmp/pull.%u", images->dir, images->next_work++);
	p->state = PULL_RUNNING;
	images->n_running++;
	/* Should this fail, the helper says so. */
	mkdir(p->work_dir, 0700);
	rc = spawn(p);
	if (rc == 0) {
		uv_read_start((uv_stream_t *)&p->out, on_alloc, on_read);
		send_request(p);
		return;
	}
	autofree char *text = xasprintf("cannot start %s: %s", images->pull_path, uv_strerror(rc));

	fail(p, rc, "ErrImagePull", text);
	/* libuv reports no exit of what it could not start. */
	p->exited = p->eof = true;
	check_end(p);
}

static void start_waiting(struct images *images)
{
	list_for_each (p, &images->pulls, struct pull_process, link) {
		if (images->closing || images->n_running >= IMAGES_PULLS_MAX)
			return;
		if (p->state == PULL_WAITING)
			start(p);
	}
}

/* --- Requests --------------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static struct pull_process *find_process(struct images *images, const char *name, const char *auth)
{
	list_for_each (p, &images->pulls, struct pull_process, link) {
		if (p->state != PULL_ENDING && !p->cancelled && strcmp(p->name, name) == 0 &&
		    same_text(p->auth, auth))
			return p;
	}
	return NULL;
}

static struct image_pull *pull(struct images *images, const struct reference *ref,
			       const struct image_request *request, const char *name,
			       images_resolve_cb *cb, void *arg)
{
	autofree char *auth =
		credentials_find(request->docker_configs, request->n_docker_configs, ref);
	struct pull_process *p = find_process(images, name, auth);
	struct image_pull *w = xcalloc(1, sizeof(*w));

	if (p == NULL) {
		p = xcalloc(1, sizeof(*p));
		p->images = images;
		p->ref = *ref;
		p->name = xstrdup(name);
		p->auth = steal_ptr(&auth);
		list_init(&p->waiters);
		list_push_back(&images->pulls, &p->link);
	}
	w->process = p;
	w->cb = cb;
	w->arg = arg;
	list_push_back(&p->waiters, &w->link);
	return w;
}

static void refuse(const char *reason, int rc, const char *text, images_resolve_cb *cb, void *arg)
{
	auto_with(status_fini) struct status st = { 0 };

	status_set(&st, rc, "%s", text);
	status_http(&st, 500, reason);
	cb(arg, NULL, &st);
}

enum image_policy image_policy_default(const char *name)
{
	struct reference ref;

	if (reference_parse(name, &ref, NULL) < 0)
		return IMAGE_IF_NOT_PRESENT;
	return strcmp(ref.tag, "latest") == 0 && ref.digest[0] == '\0' ? IMAGE_ALWAYS
								       : IMAGE_IF_NOT_PRESENT;
}

/* A name with a digest never changes its meaning, so Always has nothing to ask for. */
static struct image *resolve_here(struct images *images, const struct reference *ref,
				  const char *name, enum image_policy policy)
{
	if (policy == IMAGE_ALWAYS && ref->digest[0] == '\0')
		return NULL;
	struct image *image = images_find(images, name);

	if (image == NULL && ref->digest[0] != '\0')
		image = images_load(images, ref, ref->digest);
	if (image != NULL)
		images_put_ref(images, name, image->digest);
	return image;
}

struct image_pull *images_resolve(struct images *images, const struct image_request *request,
				  images_resolve_cb *cb, void *arg)
{
	auto_with(status_fini) struct status st = { 0 };
	struct reference ref;

	if (images->closing) {
		refuse("ErrImagePull", -ECANCELED, "the agent is ending", cb, arg);
		return NULL;
	}
	if (reference_parse(request->name, &ref, &st) < 0) {
		cb(arg, NULL, &st);
		return NULL;
	}
	autofree char *name = reference_text(&ref);
	struct image *image = resolve_here(images, &ref, name, request->policy);

	if (image != NULL) {
		cb(arg, image, &st);
		image_unref(image);
		return NULL;
	}
	if (request->policy == IMAGE_NEVER) {
		autofree char *text = xasprintf(
			"image %s is not on this node and its pull policy is Never", name);

		refuse("ErrImageNeverPull", -ENOENT, text, cb, arg);
		return NULL;
	}
	struct image_pull *w = pull(images, &ref, request, name, cb, arg);

	start_waiting(images);
	return w;
}

static void cancel_process(struct pull_process *p)
{
	p->cancelled = true;
	if (p->state == PULL_RUNNING && !p->exited)
		uv_process_kill(&p->process, SIGTERM);
	else if (p->state == PULL_WAITING)
		process_free(p);
}

void image_pull_cancel(struct image_pull *w)
{
	if (w == NULL)
		return;
	struct pull_process *p = w->process;

	list_remove(&w->link);
	free(w);
	if (list_empty(&p->waiters))
		cancel_process(p);
}

void image_pull_progress(const struct image_pull *w, uint64_t *ret_done, uint64_t *ret_total)
{
	*ret_done = w->process->done_bytes;
	*ret_total = w->process->total_bytes;
}

static struct pull_process *first_not_cancelled(struct images *images)
{
	list_for_each (p, &images->pulls, struct pull_process, link) {
		if (!p->cancelled)
			return p;
	}
	return NULL;
}

/* Callbacks may cancel what they like meanwhile, so the search begins anew each time. */
void pulls_cancel_all(struct images *images)
{
	struct pull_process *p;

	while ((p = first_not_cancelled(images)) != NULL) {
		bool waiting = p->state == PULL_WAITING;

		p->cancelled = true;
		if (waiting)
			p->state = PULL_ENDING;
		fail(p, -ECANCELED, "ErrImagePull", "the agent is ending");
		deliver(p, NULL);
		if (waiting)
			process_free(p);
		else
			cancel_process(p);
	}
}
