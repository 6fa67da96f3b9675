#!/usr/bin/env bash
# kill -9 of the leader while clients write and watch.
source "$(dirname "$0")/../../lib/tap.sh"
at_exit "sampan dev down --dir $work/c"
sampan dev up --dir "$work/c" --masters 3 --nodes 0 >/dev/null || { check "three masters start" false; finish; }
/usr/bin/python3 "$(dirname "$0")/leader_kill.py" "$work/c" "${KILLS:-5}" || { tail -n 5 "$work"/c/log/*.log; exit 1; }
