/* What the files of this folder share; nothing outside includes it. */
#pragma once

#include "agent/streams/streams.h"
#include "common/base/list.h"
#include "common/base/status.h"
#include "common/io/http_client.h"
#include "common/io/stream_frames.h"

enum {
	STREAMS_MAX = 256,
	CHANNEL_STDIN = 0,
	CHANNEL_STDOUT = 1,
	CHANNEL_STDERR = 2,
	CHANNEL_ERROR = 3,
	CHANNEL_RESIZE = 4,
	WRITE_HIGH_BYTES = 256 * 1024, /* Towards a process; above it the client is held back. */
	RESIZE_MAX = 256,
};

struct stream;

/* The four kinds. A kind frees its state in stop(), which may come at any time and ends by calling
 * stream_free() when its last handle is closed. */
struct stream_kind {
	void (*start)(struct stream *s);
	void (*data)(struct stream *s, uint8_t channel, const uint8_t *data, size_t n, bool end);
	void (*drain)(struct stream *s);
	void (*stop)(struct stream *s);
};

extern const struct stream_kind process_kind, logs_kind, forward_kind;

struct stream {
	struct list link;
	struct streams *streams;
	SampanNode__StreamOpen *open;
	const struct stream_kind *kind;
	struct http_call *dialling;
	struct frame_stream *frames; /* NULL once it was closed. */
	bool stopped;
	void *state; /* The kind's. */
};

struct streams {
	struct streams_options options;
	struct list list;
	size_t n;
};

/* The container the request names. */
int stream_place(struct stream *s, struct container_place *ret, struct pod **ret_pod, struct status *st);
/* The last word, then the end. http_code 200: success. */
void stream_finish(struct stream *s, int http_code, const char *reason, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The end of a command that was run. */
void stream_finish_exit(struct stream *s, int exit_code);
/* Close the connection and let the kind stop. */
void stream_end(struct stream *s);
/* By the kind, when nothing of it is left. */
void stream_free(struct stream *s);
/* The client cannot take more at present. */
bool stream_is_full(const struct stream *s);
