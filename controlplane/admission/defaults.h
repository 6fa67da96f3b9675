/* Defaults that depend on more than one field: the functions behind the table
 * of defaults.c. Each completes one message; nothing already set is changed. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "common/base/arena.h"

typedef void default_fn(struct arena *arena, ProtobufCMessage *message);

default_fn default_container, default_ephemeral_container, default_pod, default_volume;
default_fn default_service, default_service_port;
default_fn default_deployment_strategy, default_stateful_set_strategy, default_daemon_set_strategy;
default_fn default_stateful_set, default_replication_controller;
default_fn default_job;
default_fn default_secret, default_namespace, default_node_status, default_limit_range_item;
default_fn default_network_policy;
default_fn default_autoscaler, default_autoscaler_behavior;
