#!/usr/bin/env bash
# The agent alone, with real containers from static manifests: a pod's whole life,
# and what kill -9 of the agent leaves as it was.
source "$(dirname "$0")/../../lib/tap.sh"
source "$root/tests/lib/registry.sh"

[ "$(id -u)" = 0 ] || { skip "pods" "needs root"; finish; }
netns=sampan-node-$$
node=$work/node manifests=$work/manifests
agent_pid=

agent_start() {
	nsenter --net="/run/netns/$netns" "$root/build/agent/sampan-agent" --config "$work/agent.conf" \
		--manifest-dir "$manifests" >>"$work/agent.log" 2>&1 &
	agent_pid=$!
}

agent_kill() { # SIGNAL
	kill "-$1" "$agent_pid" 2>/dev/null
	wait "$agent_pid" 2>/dev/null
}

clean_up() {
	agent_kill KILL
	nsenter --net="/run/netns/$netns" "$root/build/agent/sampan-agent" --config "$work/agent.conf" --cleanup
	registry_stop
	ip netns del "$netns"
}

# The status of a pod as the agent wrote it, through a Python expression on s; c is its first container.
status() { # POD EXPRESSION
	/usr/bin/python3 - "$node/status/default_$1-n1.json" "$2" <<-'PY'
		import json, sys
		try:
		    s = json.load(open(sys.argv[1]))
		except FileNotFoundError:
		    sys.exit("no status")
		c = (s.get("containerStatuses") or [{}])[0]
		print(eval(sys.argv[2]))
	PY
}
status_is() { [ "$(status "$1" "$2" 2>&1)" = "$3" ]; }
status_show() { wait_for 30 status_is "$1" "$2" "$3" || { status "$1" s; tail -n 5 "$work/agent.log"; return 1; }; }

pod_dir() { # POD
	local id
	id=$(status "$1" 'c["containerID"][7:]') || return 1
	dirname "$(dirname "$(dirname "$(dirname "$(grep -lr "id = $id" "$node"/pods/*/containers/*/*/record)")")")"
}
run_dir() { dirname "$(grep -lr "id = $(status "$1" 'c["containerID"][7:]')" "$node"/pods/*/containers/*/*/record)"; }
log_of() { cat "$node"/logs/default_"$1"-n1_*/"${2:-c}"/*.log 2>/dev/null | sed 's/^[^ ]* [^ ]* [FP] //'; }
log_has() { log_of "$1" "${3:-c}" | grep -qF -- "$2"; }
log_show() { wait_for 20 log_has "$@" || { log_of "$1" "${3:-c}"; return 1; }; }
in_pod() { # POD COMMAND...
	local pod=$1 dir
	shift
	dir=$(run_dir "$pod")
	/usr/bin/python3 "$root/tests/cluster/node/shim.py" "$(pod_dir "$pod")" exec "$dir" \
		"$(sed -n 's/^id = //p' "$dir/record")" "$@"
}

# manifest POD SPEC: the container's image is filled in for IMAGE.
manifest() {
	printf '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%s","labels":{"app":"test"}},"spec":%s}' \
		"$1" "${2//IMAGE/$REGISTRY/test/busybox:1}" >"$manifests/.$1.new"
	mv "$manifests/.$1.new" "$manifests/$1.json"
}

ip netns add "$netns"
ip -n "$netns" link set lo up
mkdir -p "$manifests"
cat >"$work/agent.conf" <<CONF
node = n1
dir = $node
node_address = 127.0.0.1
cgroup_parent = /sampan-node-$$
node_pod_cidr = 10.79.0.0/24
CONF
at_exit clean_up
registry_up() {
	nsenter --net="/run/netns/$netns" bash -c ". '$root/tests/lib/registry.sh'; registry_start '$work' >&2 &&
		registry_push_busybox test/busybox 1 >&2 && echo \$REGISTRY \$REGISTRY_PID" >"$work/registry.out" &&
		read -r REGISTRY REGISTRY_PID <"$work/registry.out"
}
registry_up || { echo "Bail out! no registry"; exit 1; }

printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"cm"},"data":{"k":"from-map"}}' >"$manifests/0-cm.json"
printf '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"data":{"p":"c2VjcmV0"}}' >"$manifests/0-s.json"
agent_start

manifest main '{"terminationGracePeriodSeconds":3,"volumes":[{"name":"m","emptyDir":{"medium":"Memory","sizeLimit":"64Ki"}},
	{"name":"cm","configMap":{"name":"cm"}},{"name":"s","secret":{"secretName":"s","defaultMode":256}}],
	"initContainers":[{"name":"first","image":"IMAGE","command":["sh","-c","echo made > /m/x"],"volumeMounts":[{"name":"m","mountPath":"/m"}]}],
	"containers":[{"name":"c","image":"IMAGE","env":[{"name":"E","valueFrom":{"configMapKeyRef":{"name":"cm","key":"k"}}},
	{"name":"IP","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}}],"resources":{"limits":{"memory":"64Mi","cpu":"500m"}},
	"command":["sh","-c","trap \"echo got-term; exit 0\" TERM; echo e=$E ip=$IP host=$(hostname); cat /m/x; while :; do sleep 0.1; done"],
	"volumeMounts":[{"name":"m","mountPath":"/m"},{"name":"cm","mountPath":"/cm"},{"name":"s","mountPath":"/s"}]},
	{"name":"other","image":"IMAGE","command":["sh","-c","nc -l -p 8080 -e echo hello-from-other; sleep 1000"]}]}'
check "a pod with an init container and two others runs" status_show main 's["phase"]' Running
check "env, pod address and host name" log_show main "e=from-map ip=$(status main 's["podIP"]') host=main-n1"
check "what the init container wrote into the volume" log_show main made
check "a command in the container" test "$(in_pod main cat /cm/k)" = from-map
check "a secret has its mode and lies on a tmpfs" test "$(in_pod main sh -c 'cat /s/p; stat -Lc %a /s/p; grep -c " /s tmpfs" /proc/mounts')" = "secret400
1"
check "containers share the network" test "$(in_pod main nc 127.0.0.1 8080)" = hello-from-other
check "an emptyDir in memory is bounded" in_pod main sh -c '! head -c 200000 /dev/zero > /m/big; [ $(stat -c %s /m/big) -le 65536 ]; r=$?; rm /m/big; exit $r'
check "exit codes of commands" bash -c "$(declare -f in_pod run_dir pod_dir status); root=$root node=$node; in_pod main sh -c 'exit 7'; [ \$? = 7 ]"
limits() {
	local id base
	id=$(status main 'c["containerID"][7:]')
	base=$(find /sys/fs/cgroup -type d -name "$id" -path "*sampan-node-$$*" | head -n 1)
	[ -n "$base" ] || return 1
	if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
		[ "$(cat "$base/memory.max")" = 67108864 ] && [ "$(cat "$base/cpu.max")" = "50000 100000" ]
	else
		local path=${base#/sys/fs/cgroup/*/}
		[ "$(cat "/sys/fs/cgroup/memory/$path/memory.limit_in_bytes")" = 67108864 ] &&
			[ "$(cat "/sys/fs/cgroup/cpu/$path/cpu.cfs_quota_us")" = 50000 ]
	fi
}
check "memory and cpu limits are in its control group" limits

manifest once '{"restartPolicy":"Never","containers":[{"name":"c","image":"IMAGE","command":["sh","-c","echo bye > /dev/termination-log; exit 3"]}]}'
check "a failure that is not restarted" status_show once '(s["phase"], c["state"]["terminated"]["exitCode"], c["state"]["terminated"]["message"].strip())' "('Failed', 3, 'bye')"
manifest done '{"restartPolicy":"OnFailure","containers":[{"name":"c","image":"IMAGE","command":["true"]}]}'
check "a success" status_show done '(s["phase"], c["state"]["terminated"]["reason"])' "('Succeeded', 'Completed')"
manifest crash '{"containers":[{"name":"c","image":"IMAGE","command":["sh","-c","exit 1"]}]}'
check "restarted once, then backed off" status_show crash '(c["restartCount"], c["state"].get("waiting", {}).get("reason"))' "(1, 'CrashLoopBackOff')"
manifest hungry '{"restartPolicy":"Never","containers":[{"name":"c","image":"IMAGE","resources":{"limits":{"memory":"16Mi"}},"command":["sh","-c","x=x; while :; do x=$x$x; done"]}]}'
check "killed for want of memory" status_show hungry '(c["state"]["terminated"]["reason"], c["state"]["terminated"]["exitCode"])' "('OOMKilled', 137)"
manifest noimage '{"containers":[{"name":"c","image":"'"$REGISTRY"'/test/none:1"}]}'
check "an image that is not there" status_show noimage 'c["state"]["waiting"]["reason"] in ("ErrImagePull", "ImagePullBackOff")' True
manifest nocommand '{"restartPolicy":"Never","containers":[{"name":"c","image":"IMAGE","command":["/no/such"]}]}'
check "a command that is not there" status_show nocommand '(s["phase"], c["state"]["terminated"]["reason"])' "('Failed', 'StartError')"
manifest noconfig '{"containers":[{"name":"c","image":"IMAGE","env":[{"name":"X","valueFrom":{"configMapKeyRef":{"name":"gone","key":"k"}}}]}]}'
check "a ConfigMap that is not there" status_show noconfig 'c["state"]["waiting"]["reason"]' CreateContainerConfigError
manifest ready '{"containers":[{"name":"c","image":"IMAGE","command":["sh","-c","sleep 1000"],"readinessProbe":{"periodSeconds":1,"timeoutSeconds":5,"exec":{"command":["test","-f","/tmp/ready"]}}}]}'
check "not ready before its probe says so" status_show ready '(s["phase"], c["ready"])' "('Running', False)"
in_pod ready sh -c 'mkdir -p /tmp; touch /tmp/ready'
check "then it is" status_show ready 'c["ready"]' True
manifest live '{"terminationGracePeriodSeconds":1,"containers":[{"name":"c","image":"IMAGE","command":["sh","-c","sleep 1000"],"livenessProbe":{"periodSeconds":1,"timeoutSeconds":5,"failureThreshold":1,"exec":{"command":["false"]}}}]}'
check "a failing liveness probe restarts it" status_show live 'c["restartCount"] >= 1' True
manifest side '{"restartPolicy":"Never","initContainers":[{"name":"helper","restartPolicy":"Always","image":"IMAGE","command":["sh","-c","trap \"exit 0\" TERM; while :; do sleep 0.1; done"]}],"containers":[{"name":"c","image":"IMAGE","command":["sh","-c","sleep 0.3"]}]}'
check "a sidecar does not keep a finished pod" status_show side 's["phase"]' Succeeded
manifest shared '{"shareProcessNamespace":true,"containers":[{"name":"c","image":"IMAGE","command":["sh","-c","sleep 1000"]},{"name":"d","image":"IMAGE","command":["sh","-c","sleep 2000"]}]}'
check "a pod that shares its processes runs" status_show shared 's["phase"]' Running
check "and sees them" in_pod shared sh -c 'ps | grep -q "[s]leep 2000"'

manifest filtered '{"securityContext":{"seccompProfile":{"type":"RuntimeDefault"}},"containers":[{"name":"c","image":"IMAGE","securityContext":{"capabilities":{"add":["SYS_ADMIN"]}},"command":["sh","-c","grep ^Seccomp: /proc/self/status; mount -t tmpfs x /tmp 2>&1; sleep 1000"]}]}'
check "the RuntimeDefault filter is in force" log_show filtered "Seccomp:	2"
check "and refuses what it should" log_show filtered "mount: permission denied"

manifest later '{"restartPolicy":"Never","containers":[{"name":"c","image":"IMAGE","command":["sh","-c","while [ ! -f /go ]; do sleep 0.1; done; exit 5"]}]}'
status_show later 's["phase"]' Running >/dev/null
before=$(status main 'c["containerID"], c["state"]["running"]["startedAt"], s["podIP"]')
later_dir=$(run_dir later)
agent_kill KILL
check "kill -9 of the agent leaves the pods running" test -n "$(in_pod main hostname)"
touch "$later_dir/rootfs/go"
exit_seen() { [ -f "$later_dir/exit" ]; }
check "an exit meanwhile is recorded" wait_for 10 exit_seen
rm -f "$node"/status/*
agent_start
check "the new agent adopts them as they are" status_show main 'c["containerID"], c["state"]["running"]["startedAt"], s["podIP"]' "$before"
check "and learns what ended meanwhile" status_show later '(s["phase"], c["state"]["terminated"]["exitCode"])' "('Failed', 5)"

logs=$(echo "$node"/logs/default_main-n1_*/c/0.log)
tail -F -n +1 "$logs" >"$work/main.log" 2>/dev/null &
tail_pid=$!
rm "$manifests/main.json"
gone() { [ ! -f "$node/status/default_$1-n1.json" ]; }
check "a pod that is not wanted any more ends" wait_for 20 gone main
kill "$tail_pid"
check "it was asked first" grep -q got-term "$work/main.log"
manifest stubborn '{"terminationGracePeriodSeconds":1,"containers":[{"name":"c","image":"IMAGE","command":["sh","-c","trap \"\" TERM; while :; do sleep 0.1; done"]}]}'
status_show stubborn 's["phase"]' Running >/dev/null
rm "$manifests/stubborn.json"
check "and killed when its grace is over" wait_for 20 gone stubborn
rm -f "$manifests"/*.json
all_gone() { [ -z "$(ls "$node/pods")" ]; }
check "all pods leave" wait_for 60 all_gone
nothing_left() {
	! grep -q "$node/pods" /proc/self/mountinfo && [ -z "$(ls "$node/crun")" ] &&
		[ -z "$(find /sys/fs/cgroup -type d -path "*sampan-node-$$*" -name 'pod*')" ] && ! pgrep -f "sampan-shim --dir $node" >/dev/null
}
check "no mount, process, control group or runtime state of theirs stays" wait_for 10 nothing_left
finish
