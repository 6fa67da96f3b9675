#!/usr/bin/env bash
# The newcomer's first command: it ends with answers, may be run again, and takes everything away.
source "$(dirname "$0")/../../lib/tap.sh"
dir=$work/quick
at_exit "sampan dev down --dir $dir"

# LOG: all twelve questions answered, by more than one replica (chance leaves out one of three every 40th time).
answers() {
	local seen
	seen=$(awk '/ hello from hello-/ {n += $1; pods++} END {print pods + 0, n + 0}' "$1")
	[[ $seen == [23]" 12" ]] || { echo "pods and answers: $seen"; tail -n 20 "$1"; return 1; }
}
quickstart() { "$root/deploy/quickstart" --dir "$dir" >"$1" 2>&1 || { tail -n 20 "$1"; return 1; }; }
leftovers() {
	grep -F "$dir/" /proc/self/mountinfo
	pgrep -af "$dir/"
	ls -A "$dir" 2>/dev/null
}

check "quickstart ends well" quickstart "$work/first.log" || finish
check "its replicas answer by name" answers "$work/first.log"
check "its kubeconfig is kubectl's" kubectl --kubeconfig "$dir/kubeconfig" get nodes
check "it may be run again" quickstart "$work/second.log"
check "and shows the same" answers "$work/second.log"
check "--down takes it away" "$root/deploy/quickstart" --down --dir "$dir"
check "nothing is left" equals "$(leftovers)" ""
finish
