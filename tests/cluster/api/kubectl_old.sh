#!/usr/bin/env bash
# kubectl of Debian 12 and the versions that do not speak WebSocket by themselves.
source "$(dirname "$0")/kubectl_flows.bash"
run_flows 1.20 1.27 1.28 1.29
