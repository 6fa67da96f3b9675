#!/usr/bin/env bash
# Newer kubectls: WebSocket first; from 1.32 on they write protobuf.
source "$(dirname "$0")/kubectl_flows.bash"
run_flows 1.30 1.31 1.32 1.33
