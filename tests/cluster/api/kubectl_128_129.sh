#!/usr/bin/env bash
# The daily commands with kubectl 1.28 and 1.29.
source "$(dirname "$0")/kubectl_flows.bash"
run_flows 1.28 1.29
