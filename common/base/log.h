/* Log lines for an operator: one event, one sentence, then key=value fields.
 *
 *     log_info("became leader", "term=%llu members=%d", term, n);
 *
 * writes "2026-01-02T03:04:05.678Z info component=master became leader term=3 members=3"
 * to standard error in one write. Values that may hold spaces go through
 * log_quote(). Every trace() also goes to a fixed ring that is printed when the
 * process aborts. Any thread. */
#pragma once

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Before the first line: who speaks, and from which level on. component must stay valid. */
void log_init(const char *component, enum log_level level);
void log_write(enum log_level level, const char *event, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The text in double quotes with escapes if it needs them, in one of 8 rotating buffers of the thread. */
const char *log_quote(const char *text);
/* Remember one state change; kept in a ring of 1,024 lines of 160 bytes. */
void trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Print the trace ring on SIGABRT, SIGSEGV, SIGBUS, SIGILL and SIGFPE. Call once at start-up. */
void trace_print_on_crash(void);

/* (event, format, ...); the format is "" where there are no fields. */
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
