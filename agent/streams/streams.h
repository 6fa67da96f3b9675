/* Byte streams between a client of the API and a container: exec, attach, logs, port-forward.
 *
 * A master asks for one; the agent dials that master's HTTPS port with the node's
 * certificate, upgrades, and then bytes flow in frames with back-pressure in both
 * directions. The last thing on the error channel is a packed meta.v1.Status. At most
 * STREAMS_MAX at a time; the masters' requests beyond that are not answered, so
 * they time out there. Loop thread only. */
#pragma once

#include "agent/pods/pods.h"
#include "common/io/loop.h"
#include "proto/sampan/node.pb-c.h"

struct streams;
struct tls_context;

struct streams_options {
	struct io_loop *loop;
	struct pods *pods;
	struct tls_context *tls;
};

struct streams *streams_create(const struct streams_options *options);
/* Copies the request. */
void streams_open(struct streams *streams, const SampanNode__StreamOpen *open);
