#!/usr/bin/env bash
# Fifty hollow nodes and 500 pods: created, running, through the loss of the leader and a rolling update.
source "$(dirname "$0")/../../lib/tap.sh"
smoke() { timeout 100 "$root/tests/bench/density" --smoke >"$work/density.log" 2>&1; }
check "what runs with two nodes runs with fifty hollow ones" smoke
sed 's/^/# /' "$work/density.log"
finish
