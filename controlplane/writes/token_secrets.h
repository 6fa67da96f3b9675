/* Secrets of type kubernetes.io/service-account-token get what they are for at the
 * leader's door: the token (which names the Secret and lives as long as it), the
 * cluster's CA and the namespace. The leader signs before it proposes, so the plan
 * carries the token. Loop thread only. */
#pragma once

#include "controlplane/writes/change.h"

/* message has passed admission. Nothing happens to other messages, nor while the account does not
 * exist, is another than the one named by uid, or the cluster has no key yet. */
void token_secret_fill(struct write_change *c, ProtobufCMessage *message);
