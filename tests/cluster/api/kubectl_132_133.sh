#!/usr/bin/env bash
# The daily commands with kubectl 1.32 and 1.33.
source "$(dirname "$0")/kubectl_flows.bash"
run_flows 1.32 1.33
