#!/usr/bin/env bash
# The daily commands with kubectl 1.30 and 1.31.
source "$(dirname "$0")/kubectl_flows.bash"
run_flows 1.30 1.31
