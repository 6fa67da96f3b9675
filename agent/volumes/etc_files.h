/* /etc/hosts, /etc/resolv.conf and /etc/hostname of a pod's containers. Pure but for the host's own
 * files, which are passed in as text. Any thread. */
#pragma once

#include "agent/volumes/pod_view.h"
#include "common/base/buf.h"

/* host_hosts: the host's file, for pods in its network. */
void etc_put_hosts(struct buf *out, const struct pod_view *view, const char *host_hosts);
/* host_resolv: the host's file. */
void etc_put_resolv(struct buf *out, const struct pod_view *view, const char *host_resolv);

/* Write DIR/etc/hosts, resolv.conf and hostname. Blocking; worker threads only. */
int etc_write(const struct pod_view *view, struct status *st);
