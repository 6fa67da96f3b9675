/* Byte streams to containers: exec, attach, logs and port-forward.
 *
 * The master that serves the client asks the agent over a parked call; the agent
 * dials this master's HTTPS port and upgrades, and frames flow both ways with
 * back-pressure. A stream that no agent has taken up after 10 s fails with
 * -ETIMEDOUT. Callbacks never run inside the calls. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"

struct nodes;
struct node_stream;

/* Channels of a stream. ERROR carries, last, a packed meta.v1.Status. */
enum node_stream_channel {
	NODE_STREAM_STDIN,
	NODE_STREAM_STDOUT,
	NODE_STREAM_STDERR,
	NODE_STREAM_ERROR,
	NODE_STREAM_RESIZE, /* JSON {"Width":w,"Height":h} as Kubernetes sends it. */
};

struct node_stream_callbacks {
	void (*opened)(void *ctx);
	/* Bytes from the node; end: the node closed this channel. Borrowed. */
	void (*data)(void *ctx, uint8_t channel, struct bytes bytes, bool end);
	/* What was pending fell below the low mark: write again. */
	void (*drained)(void *ctx);
	/* The last callback; rc 0 when the node ended the stream in order. The stream is freed after it. */
	void (*closed)(void *ctx, int rc);
};

/* request is a SampanNode__StreamOpen without id and api_address; copied. 0 and *ret_stream, or
 * -ENOENT the node has no connection to this master, -EAGAIN too many streams. */
int node_stream_open(struct nodes *nodes, const char *node, const void *request,
		     const struct node_stream_callbacks *callbacks, void *ctx,
		     struct node_stream **ret_stream);
/* Queue bytes (copied); end closes the channel towards the node. */
void node_stream_write(struct node_stream *s, uint8_t channel, struct bytes bytes, bool end);
/* Bytes not yet taken by the network; keep below 256 KiB by waiting for drained(). */
size_t node_stream_pending(const struct node_stream *s);
/* Stop taking bytes from the node, or take them again. */
void node_stream_pause(struct node_stream *s, bool pause);
/* Give up; closed() follows with -ECANCELED. */
void node_stream_close(struct node_stream *s);
