# For scripts of tests/cluster: results in TAP, conditions waited for, a folder that goes away.
#
#   source "$(dirname "$0")/../../lib/tap.sh"
#   check "pods run" wait_for 30 pods_running
#   finish
tap_count=0 tap_failed=0
work=$(mktemp -d /tmp/sampan-test.XXXXXX)
cleanups=()
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export PATH="$root/build/sdk/sampan:$PATH"

at_exit() { cleanups=("$*" "${cleanups[@]}"); }
tap_cleanup() {
	local c
	for c in "${cleanups[@]}"; do eval "$c"; done
	[ -n "${KEEP:-}" ] || rm -rf --one-file-system "$work"
}
trap tap_cleanup EXIT
trap 'exit 130' INT TERM

# check DESCRIPTION COMMAND...: one result; what the command printed follows a failure.
check() {
	local what=$1 out
	shift
	tap_count=$((tap_count + 1))
	if out=$("$@" 2>&1); then
		echo "ok $tap_count - $what"
	else
		tap_failed=$((tap_failed + 1))
		echo "not ok $tap_count - $what"
		printf '%s\n' "$out" | tail -n 20 | sed 's/^/# /'
		return 1
	fi
}

skip() {
	tap_count=$((tap_count + 1))
	echo "ok $tap_count - $1 # SKIP $2"
}

# wait_for SECONDS COMMAND...: until it succeeds; its last output on failure.
wait_for() {
	local until=$((SECONDS + $1)) out
	shift
	while ! out=$("$@" 2>&1); do
		if [ $SECONDS -ge $until ]; then
			echo "gave up waiting for: $*"
			echo "$out"
			return 1
		fi
		sleep 0.1
	done
	[ -z "$out" ] || echo "$out"
}

equals() { [ "$1" = "$2" ] || { echo "got: $1"; echo "wanted: $2"; return 1; }; }
contains() { [[ $1 == *"$2"* ]] || { echo "got: $1"; echo "wanted in it: $2"; return 1; }; }

finish() {
	echo "1..$tap_count"
	[ $tap_failed -eq 0 ]
	exit
}
