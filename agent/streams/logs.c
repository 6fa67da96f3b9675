/* logs: the CRI files of a container, undecorated.
 *
 * Files are read in the order of their writing: NAME.N, ..., NAME.1, NAME. With a number of
 * last lines the files are first looked through for where these begin. Following watches
 * the directory: the current file grows, or gets a new name and a successor. Reads are of local files that
 * were written moments ago, a piece per turn of the loop. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/runtime/cri_reader.h"
#include "agent/streams/internal.h"
#include "common/api/make.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/source.h"

enum { PIECE_BYTES = 64 * 1024, FILES_MAX = 16, TAIL_MAX = 1000000, LINE_MAX_BYTES = 1024 * 1024, LOOK_MS = 1000 };

struct logs {
	struct stream *stream;
	char *path;
	/* What is read now: a rotated file (n > 0) or the current one (0). */
	int fd, n;
	off_t offset;
	uint64_t inode;
	struct buf line; /* An unfinished raw line. */
	bool in_partial[2]; /* The last line of the stream was a P line. */
	/* Options. */
	bool follow, timestamps, only_stdout, only_stderr;
	int64_t since_ns;
	int64_t limit_bytes; /* -1: none. */
	uv_timer_t timer;
	uv_fs_event_t event;
	bool watching, waiting, last_look;
	int handles;
};

static void on_closed(uv_handle_t *handle)
{
	struct logs *l = handle->data;
	struct stream *s = l->stream;

	if (--l->handles > 0)
		return;
	if (l->fd >= 0)
		close(l->fd);
	buf_fini(&l->line);
	free(l->path);
	free(l);
	stream_free(s);
}

static void stop(struct stream *s)
{
	struct logs *l = s->state;

	uv_close((uv_handle_t *)&l->timer, on_closed);
	uv_close((uv_handle_t *)&l->event, on_closed);
}

static char *file_name(const struct logs *l, int n)
{
	return n > 0 ? xasprintf("%s.%d", l->path, n) : xstrdup(l->path);
}

static int open_file(struct logs *l, int n)
{
	autofree char *name = file_name(l, n);
	struct stat st;

	if (l->fd >= 0)
		close(l->fd);
	l->fd = open(name, O_RDONLY | O_CLOEXEC);
	l->n = n;
	l->offset = 0;
	if (l->fd < 0 || fstat(l->fd, &st) < 0)
		return -errno;
	l->inode = st.st_ino;
	return 0;
}

static int oldest_file(const struct logs *l)
{
	int n = 0;

	while (n < FILES_MAX) {
		autofree char *next = file_name(l, n + 1);

		if (access(next, F_OK) < 0)
			break;
		n++;
	}
	return n;
}

/* Where the last lines begin: a ring of the starts of all lines so far. */
struct tail {
	struct line_start {
		int file;
		off_t offset;
	} *ring;
	size_t size, count;
	bool in_partial;
};

static void scan_file(struct logs *l, struct tail *t, int n)
{
	autofree char *piece = xmalloc(PIECE_BYTES);
	auto_with(buf_fini) struct buf carry = { 0 };
	off_t at = 0, start = 0;
	ssize_t got;

	if (open_file(l, n) < 0)
		return;
	while ((got = pread(l->fd, piece, PIECE_BYTES, at)) > 0) {
		for (ssize_t i = 0; i < got;) {
			char *newline = memchr(piece + i, '\n', (size_t)(got - i));
			size_t len = newline ? (size_t)(newline - piece - i) : (size_t)(got - i);
			struct cri_line line;

			if (carry.len + len <= LINE_MAX_BYTES)
				buf_put(&carry, piece + i, len);
			i += (ssize_t)len + (newline != NULL);
			if (newline == NULL)
				break;
			if (cri_line_parse((const char *)carry.data, carry.len, &line) == 0) {
				if (!t->in_partial) {
					t->ring[t->count % t->size] = (struct line_start){ n, start };
					t->count++;
				}
				t->in_partial = line.partial;
			}
			start = at + i;
			buf_clear(&carry);
		}
		at += got;
	}
}

/* Stand where the last lines begin, or at the start of everything. */
static int seek_start(struct logs *l, int64_t lines)
{
	int oldest = oldest_file(l);

	if (lines < 0 || lines > TAIL_MAX)
		return open_file(l, oldest);
	struct tail t = { .size = (size_t)lines + 1 };

	t.ring = xcalloc(t.size, sizeof(*t.ring));
	for (int n = oldest; n >= 0; n--)
		scan_file(l, &t, n);
	struct line_start from = { oldest, 0 };

	if (lines == 0)
		from = (struct line_start){ 0, -1 };
	else if (t.count > (size_t)lines)
		from = t.ring[(t.count - (size_t)lines) % t.size];
	free(t.ring);
	int rc = open_file(l, from.file);

	if (rc == 0)
		l->offset = from.offset >= 0 ? from.offset : lseek(l->fd, 0, SEEK_END);
	return rc;
}

/* False: the limit is reached. */
static bool put(struct logs *l, struct buf *out, const char *data, size_t n)
{
	if (l->limit_bytes >= 0 && (int64_t)n > l->limit_bytes)
		n = (size_t)l->limit_bytes;
	buf_put(out, data, n);
	if (l->limit_bytes >= 0)
		l->limit_bytes -= (int64_t)n;
	return l->limit_bytes != 0;
}

static bool put_line(struct logs *l, struct buf *out, const char *raw, size_t n)
{
	struct cri_line line;
	int64_t time_ns;

	if (cri_line_parse(raw, n, &line) < 0 || (l->only_stdout && line.is_stderr) ||
		(l->only_stderr && !line.is_stderr))
		return true;
	if (l->since_ns > 0 && cri_line_time(&line, &time_ns) == 0 && time_ns < l->since_ns)
		return true;
	bool more = true;

	if (l->timestamps && !l->in_partial[line.is_stderr])
		more = put(l, out, line.time, line.time_len) && put(l, out, " ", 1);
	if (more)
		more = put(l, out, line.text, line.text_len);
	if (more && !line.partial)
		more = put(l, out, "\n", 1);
	l->in_partial[line.is_stderr] = line.partial;
	return more;
}

/* Text of one piece of the file into out. */
static bool convert(struct logs *l, const char *piece, size_t n, struct buf *out)
{
	while (n > 0) {
		const char *newline = memchr(piece, '\n', n);
		size_t len = newline ? (size_t)(newline - piece) : n;

		if (l->line.len + len <= LINE_MAX_BYTES)
			buf_put(&l->line, piece, len);
		if (newline == NULL)
			return true;
		bool more = put_line(l, out, (const char *)l->line.data, l->line.len);

		buf_clear(&l->line);
		if (!more)
			return false;
		piece += len + 1;
		n -= len + 1;
	}
	return true;
}

static bool container_runs(struct logs *l)
{
	struct container_place place;
	struct pod *pod;

	return stream_place(l->stream, &place, &pod, NULL) == 0 && place.running &&
		strcmp(place.log_path, l->path) == 0;
}

static void pump(struct logs *l);

static void on_timer(uv_timer_t *timer)
{
	pump(timer->data);
}

static void on_event(uv_fs_event_t *event, const char *file, int events, int status)
{
	struct logs *l = event->data;

	if (l->waiting)
		pump(l);
}

/* The end of what there is. True if there is another file to read. */
static bool next_file(struct logs *l)
{
	struct stat st;

	if (l->n > 0) /* A rotation meanwhile moves every name by one; the inode tells. */
		return open_file(l, l->n - 1) == 0;
	if (stat(l->path, &st) == 0 && st.st_ino != l->inode)
		return open_file(l, 0) == 0;
	return false;
}

static void at_end(struct logs *l)
{
	if (!l->follow) {
		stream_finish(l->stream, 200, NULL, "%s", "");
		return;
	}
	if (!container_runs(l)) {
		/* Once more after that, for what was written in between. */
		if (l->last_look) {
			stream_finish(l->stream, 200, NULL, "%s", "");
			return;
		}
		l->last_look = true;
		uv_timer_start(&l->timer, on_timer, 0, 0);
		return;
	}
	l->waiting = true;
	uv_timer_start(&l->timer, on_timer, LOOK_MS, 0);
}

static void pump(struct logs *l)
{
	static char piece[PIECE_BYTES];
	auto_with(buf_fini) struct buf out = { 0 };
	struct stream *s = l->stream;

	if (s->stopped || stream_is_full(s))
		return;
	l->waiting = false;
	ssize_t n = l->fd < 0 ? 0 : pread(l->fd, piece, sizeof(piece), l->offset);

	if (n <= 0) {
		if (next_file(l))
			uv_timer_start(&l->timer, on_timer, 0, 0);
		else
			at_end(l);
		return;
	}
	l->offset += n;
	bool more = convert(l, piece, (size_t)n, &out);

	if (out.len > 0)
		frame_stream_write(s->frames, CHANNEL_STDOUT, out.data, out.len, false);
	if (!more)
		stream_finish(s, 200, NULL, "%s", "");
	else if (!stream_is_full(s))
		uv_timer_start(&l->timer, on_timer, 0, 0);
}

static void drain(struct stream *s)
{
	pump(s->state);
}

static void take_options(struct logs *l, const CoreV1__PodLogOptions *o)
{
	l->limit_bytes = o && o->has_limitbytes ? o->limitbytes : -1;
	if (o == NULL)
		return;
	l->follow = o->follow;
	l->timestamps = o->timestamps;
	l->only_stdout = text_is(o->stream, "Stdout");
	l->only_stderr = text_is(o->stream, "Stderr");
	if (o->has_sinceseconds)
		l->since_ns = system_source.wall_ns(&system_source) - o->sinceseconds * 1000000000;
	else if (o->sincetime)
		l->since_ns = time_ns_of(o->sincetime);
}

static int begin(struct logs *l, struct status *st)
{
	struct stream *s = l->stream;
	auto_with(arena_fini) struct arena arena = { 0 };
	struct container_place place;
	struct pod *pod;
	void *message = NULL;

	arena_init(&arena, 65536);
	int rc = stream_place(s, &place, &pod, st);

	if (rc < 0)
		return rc;
	if (s->open->has_log_options &&
		unpack_message(&core_v1__pod_log_options__descriptor,
			bytes_of(s->open->log_options.data, s->open->log_options.len), &arena, &message, NULL) < 0)
		return status_set(st, -EINVAL, "the log options cannot be read");
	const CoreV1__PodLogOptions *o = message;

	take_options(l, o);
	l->path = xstrdup(o && o->previous ? place.previous_log_path : place.log_path);
	if (o && o->previous)
		l->follow = false;
	if (*l->path == '\0' || access(l->path, F_OK) < 0)
		return o && o->previous
			? status_set(st, -EINVAL, "previous terminated container \"%s\" in pod \"%s\" not found",
				  place.name, pod_name(pod))
			: status_set(st, -EINVAL, "container \"%s\" in pod \"%s\" is waiting to start: ContainerCreating",
				  place.name, pod_name(pod));
	return seek_start(l, o && o->has_taillines ? o->taillines : -1);
}

static void start_watching(struct logs *l)
{
	autofree char *dir = xstrdup(l->path);
	char *slash = strrchr(dir, '/');

	if (slash != NULL)
		*slash = '\0';
	/* Without it the timer looks once a second. */
	uv_fs_event_start(&l->event, on_event, dir, 0);
}

static void start(struct stream *s)
{
	struct logs *l = xcalloc(1, sizeof(*l));
	struct status st = { 0 };

	s->state = l;
	l->stream = s;
	l->fd = -1;
	l->timer.data = l->event.data = l;
	uv_timer_init(s->streams->options.loop->uv, &l->timer);
	uv_fs_event_init(s->streams->options.loop->uv, &l->event);
	l->handles = 2;
	int rc = begin(l, &st);

	if (rc < 0) {
		stream_finish(s, rc == -ENOENT ? 404 : rc == -EINVAL ? 400 : 500,
			rc == -ENOENT ? "NotFound" : rc == -EINVAL ? "BadRequest" : "InternalError", "%s",
			st.message ? st.message : strerror(-rc));
	} else {
		if (l->follow)
			start_watching(l);
		pump(l);
	}
	status_fini(&st);
}

const struct stream_kind logs_kind = { .start = start, .drain = drain, .stop = stop };
