#!/usr/bin/env bash
# The daily commands with kubectl 1.20 and 1.27.
source "$(dirname "$0")/kubectl_flows.bash"
run_flows 1.20 1.27
