/* Kubernetes' remote command (exec, attach) and port-forward, the server's side: one
 * interface over WebSocket (v5.channel.k8s.io, v4, and channel.k8s.io) and SPDY/3.1
 * (v4.channel.k8s.io, portforward.k8s.io, and SPDY tunnelled in a WebSocket).
 *
 * Contract as byte_stream.h: the holder of a session ends it exactly once
 * (remote_finish() or remote_close(), port_forward_close()), what is pending is sent,
 * and nothing is called afterwards; when the client goes first, on_end tells so, once.
 * Back-pressure is the connection's, for all channels together: writers stop above
 * TLS_HIGH_BYTES and go on in on_drain. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/io/exchange.h"

/* Numbered as in the channel protocols. */
enum remote_channel {
	REMOTE_STDIN,
	REMOTE_STDOUT,
	REMOTE_STDERR,
	REMOTE_ERROR,
	REMOTE_RESIZE, /* JSON {"Width":w,"Height":h}. */
	REMOTE_CHANNELS,
};

/* What the request's query asks for. */
struct remote_wish {
	bool in, out, err, tty;
};

struct remote_session;

struct remote_ops {
	/* The client has opened everything it asked for. */
	void (*on_open)(struct remote_session *s);
	/* From the client: REMOTE_STDIN or REMOTE_RESIZE. Valid during the call. */
	void (*on_data)(struct remote_session *s, enum remote_channel channel, const uint8_t *data,
			size_t n);
	/* The client sends nothing more on this channel. */
	void (*on_eof)(struct remote_session *s, enum remote_channel channel);
	void (*on_drain)(struct remote_session *s); /* May be NULL. */
	void (*on_end)(struct remote_session *s, int rc);
};

/* Whether the request wants a WebSocket or SPDY at all. */
bool remote_is_wanted(const struct exchange *x);
/* Answer the request. NULL when it is refused (the exchange has been answered then) or the client
 * has gone. on_open follows within 30 s, or on_end with -ETIMEDOUT. ops must stay valid. */
struct remote_session *remote_accept(struct exchange *x, const struct remote_wish *wish,
				     const struct remote_ops *ops, void *data);
void *remote_data(const struct remote_session *s);
/* REMOTE_STDOUT or REMOTE_STDERR; ignored when the client did not ask for it. */
void remote_write(struct remote_session *s, enum remote_channel channel, const void *data,
		  size_t n);
size_t remote_pending(const struct remote_session *s);
void remote_pause(struct remote_session *s);
void remote_resume(struct remote_session *s);
/* The end: the Status as JSON on the error channel (old channel.k8s.io clients get failure as text,
 * NULL for success), then close. */
void remote_finish(struct remote_session *s, const char *status_json, const char *failure);
/* Break off without a Status. */
void remote_close(struct remote_session *s);

struct port_forward;
struct port_conn;

struct port_forward_ops {
	/* The client wants a connection to the pod's port. */
	void (*on_connect)(struct port_forward *f, struct port_conn *c, int port);
	void (*on_data)(struct port_conn *c, const uint8_t *data, size_t n);
	/* The client sends nothing more on this connection. */
	void (*on_eof)(struct port_conn *c);
	/* The client gave this connection up; port_conn_close() is still due. */
	void (*on_reset)(struct port_conn *c);
	void (*on_drain)(struct port_forward *f); /* May be NULL. */
	/* The client went; its connections go with port_forward_close(). */
	void (*on_end)(struct port_forward *f, int rc);
};

/* ports are those of the query (?ports=80), which WebSocket channel clients name instead of
 * opening connections later; each is connected at once, at most 64. Otherwise as remote_accept().
 */
struct port_forward *port_forward_accept(struct exchange *x, const int *ports, size_t n_ports,
					 const struct port_forward_ops *ops, void *data);
void *port_forward_data(const struct port_forward *f);
size_t port_forward_pending(const struct port_forward *f);
void port_forward_pause(struct port_forward *f);
void port_forward_resume(struct port_forward *f);
/* Connections that are still open go too, and are invalid afterwards. */
void port_forward_close(struct port_forward *f);

void port_conn_set_data(struct port_conn *c, void *data);
void *port_conn_data(const struct port_conn *c);
struct port_forward *port_conn_session(const struct port_conn *c);
void port_conn_write(struct port_conn *c, const void *data, size_t n);
/* The connection is over: error is told to the client, or NULL. Once per connection. */
void port_conn_close(struct port_conn *c, const char *error);
