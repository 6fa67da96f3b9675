#!/usr/bin/env bash
# logs, exec, cp, attach and port-forward with every kubectl: SPDY, WebSocket, and SPDY in WebSocket.
source "$(dirname "$0")/lib.sh"
source "$root/tests/lib/registry.sh"
start_master 1
image=172.30.0.1:5000/sample/busybox:1
nsenter --net="$work/cluster/netns/lan" env REGISTRY_PORT=5000 bash -c '
	source "$2/tests/lib/registry.sh"
	registry_start "$1" 172.30.0.1 && registry_push_busybox sample/busybox 1 || exit 1
	echo $REGISTRY_PID >"$1/registry.pid"
	disown' bash "$work" "$root" </dev/null >"$work/registry.log" 2>&1 || cat "$work/registry.log"
at_exit 'kill $(cat "$work/registry.pid")'

k() { "$kubectl" --cache-dir="$work/cache-$v" "$@"; }
ready() { k wait --for=condition=Ready pod/c1 --timeout=5s; }
rc_is() {
	local want=$1
	shift
	"$@" >/dev/null 2>&1
	equals $? "$want"
}
piped() { printf abc | k exec -i c1 -- cat; }
both_ways() {
	k cp "$work/blob" c1:/tmp/blob && k cp c1:/tmp/blob "$work/back" && cmp "$work/blob" "$work/back"
}
on_a_terminal() { script -qec "$kubectl --cache-dir=$work/cache-$v exec -it c1 -- sh -c 'tty; echo on-a-tty'" /dev/null </dev/null; }
followed() { timeout 5 "$kubectl" --cache-dir="$work/cache-$v" logs -f c1 --tail=1 --timestamps | head -n 3 | grep -c 'Z line'; }
attached() { timeout 5 "$kubectl" --cache-dir="$work/cache-$v" attach c1 | grep -m 1 -o line; }
forwarded() {
	local port=$((20000 + RANDOM % 20000)) pid got
	"$kubectl" --cache-dir="$work/cache-$v" port-forward pod/c1 $port:80 >"$work/forward" 2>&1 &
	pid=$!
	wait_for 10 grep -q Forwarding "$work/forward" >/dev/null
	got=$(curl -s --max-time 5 http://127.0.0.1:$port/)$(curl -s --max-time 5 http://127.0.0.1:$port/big | wc -c)
	kill $pid
	wait $pid 2>/dev/null
	equals "$got" hi2000000
}

head -c 3000000 /dev/urandom >"$work/blob"
cat >"$work/pod.yaml" <<EOT
apiVersion: v1
kind: Pod
metadata: {name: c1}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: $image
    command:
    - sh
    - -c
    - 'mkdir /www; printf hi >/www/index.html; head -c 2000000 /dev/zero >/www/big; httpd -p 80 -h /www;
      i=0; while :; do echo line \$i; i=\$((i+1)); sleep 0.2; done'
EOT
kubectl=$(kubectls | tail -n 1) v=$(kubectl_version "$kubectl")
wait_for 20 k apply -f "$work/pod.yaml" >/dev/null
check "a pod runs" wait_for 60 ready
for kubectl in $(kubectls); do
	v=$(kubectl_version "$kubectl")
	check "$v logs --tail" equals "$(k logs c1 --tail=2 | grep -c '^line')" 2
	check "$v logs --limit-bytes" equals "$(k logs c1 --limit-bytes=6 | head -c 6)" 'line 0'
	check "$v logs -f" equals "$(followed)" 3
	check "$v logs of a container that is not there" contains "$(k logs c1 -c none 2>&1)" 'not valid for pod'
	check "$v exec" equals "$(k exec c1 -- echo hello)" hello
	check "$v exec tells stdout from stderr" equals "$(k exec c1 -- sh -c 'echo out; echo err >&2' 2>/dev/null)" out
	check "$v exec -i" equals "$(piped)" abc
	check "$v exec gives the exit code" rc_is 7 k exec c1 -- sh -c 'exit 7'
	check "$v exec of what is not there fails" rc_is 1 k exec c1 -- /nonexistent
	check "$v exec -it" contains "$(on_a_terminal)" on-a-tty
	check "$v exec of much output" equals "$(k exec c1 -- cat /www/big | wc -c)" 2000000
	check "$v cp both ways" both_ways
	check "$v attach" equals "$(attached)" line
	check "$v port-forward" forwarded
done
no_streams() { equals "$(k get --raw /metrics | sed -n 's/^sampan_api_streams //p')" 0; }
check "streams are closed behind them" wait_for 20 no_streams
check "the master is alive" master_alive
finish
