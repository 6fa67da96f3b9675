#include "common/base/log.h"

#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096
#define TRACE_LINES 1024
#define TRACE_LINE_BYTES 160

static const char *log_component = "sampan";
static enum log_level log_threshold = LOG_INFO;

static char trace_ring[TRACE_LINES][TRACE_LINE_BYTES];
static atomic_uint trace_next;

void log_init(const char *component, enum log_level level)
{
	log_component = component;
	log_threshold = level;
}

static int put_time(char *to, size_t size)
{
	struct timespec ts;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	return snprintf(to, size, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ", tm.tm_year + 1900,
			tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
			ts.tv_nsec / 1000000);
}

void log_write(enum log_level level, const char *event, const char *fmt, ...)
{
	static const char *const names[] = { "debug", "info", "warn", "error" };
	char line[LINE_MAX_BYTES];
	va_list args;

	if (level < log_threshold)
		return;

	size_t n = (size_t)put_time(line, sizeof(line));
	n += (size_t)snprintf(line + n, sizeof(line) - n, " %s component=%s %s%s", names[level],
			      log_component, event, fmt[0] ? " " : "");
	if (n < sizeof(line) - 1) {
		va_start(args, fmt);
		int more = vsnprintf(line + n, sizeof(line) - n, fmt, args);
		va_end(args);
		n += more > 0 ? (size_t)more : 0;
	}
	if (n > sizeof(line) - 1)
		n = sizeof(line) - 1;
	line[n++] = '\n';

	/* A log that cannot be written must not stop the process. */
	ssize_t written = write(STDERR_FILENO, line, n);
	(void)written;
}

static int needs_quotes(const char *text)
{
	if (text[0] == '\0')
		return 1;
	for (; *text; text++)
		if ((unsigned char)*text <= ' ' || *text == '"' || *text == '=' || *text == '\\' || *text == 127)
			return 1;
	return 0;
}

const char *log_quote(const char *text)
{
	static _Thread_local char ring[8][1024];
	static _Thread_local unsigned next;

	if (text == NULL)
		return "\"\"";
	if (!needs_quotes(text))
		return text;

	char *to = ring[next++ % 8];
	size_t n = 0;

	to[n++] = '"';
	for (; *text && n < 1024 - 8; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\') {
			to[n++] = '\\';
			to[n++] = (char)c;
		} else if (c == '\n') {
			to[n++] = '\\';
			to[n++] = 'n';
		} else if (c < ' ' || c == 127) {
			n += (size_t)snprintf(to + n, 5, "\\x%02x", c);
		} else {
			to[n++] = (char)c;
		}
	}
	to[n++] = '"';
	to[n] = '\0';
	return to;
}

void trace(const char *fmt, ...)
{
	va_list args;
	unsigned slot = atomic_fetch_add(&trace_next, 1) % TRACE_LINES;

	va_start(args, fmt);
	vsnprintf(trace_ring[slot], TRACE_LINE_BYTES, fmt, args);
	va_end(args);
}

/* Only write(2) from here on: the process is in an unknown state. */
static void on_crash(int sig)
{
	unsigned end = atomic_load(&trace_next);
	unsigned n = end < TRACE_LINES ? end : TRACE_LINES;

	for (unsigned i = end - n; i != end; i++) {
		char *line = trace_ring[i % TRACE_LINES];
		ssize_t written = write(STDERR_FILENO, "trace ", 6);

		written = write(STDERR_FILENO, line, strnlen(line, TRACE_LINE_BYTES));
		written = write(STDERR_FILENO, "\n", 1);
		(void)written;
	}
	static const char last[] = "error component=crash the process broke a promise of its own and ends\n";
	ssize_t told = write(STDERR_FILENO, last, sizeof(last) - 1);

	(void)told;
	signal(sig, SIG_DFL);
	raise(sig);
}

void trace_print_on_crash(void)
{
	static const int signals[] = { SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE };

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], on_crash);
}
