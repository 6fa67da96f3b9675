# A development cluster with a registry for scripts of tests/cluster; source after tap.sh.
#
#   dev_up [MASTERS] [NODES]     KUBECONFIG, $c (its folder), $image (busybox)
. "$root/tests/lib/registry.sh"
c=$work/c
image=172.30.0.1:5000/test/busybox:1
export KUBECONFIG=$c/kubeconfig

# Here, because check runs dev_up in a shell of its own.
at_exit "sampan dev down --dir $c"

dev_up() {
	sampan dev up --dir "$c" --masters "${1:-3}" --nodes "${2:-2}" --registry 172.30.0.1:5000 || {
		tail -n 20 "$c"/log/*.log
		return 1
	}
	[ "${2:-2}" -eq 0 ] || nsenter --net="$c/netns/lan" env REGISTRY_PORT=5000 bash -c '
		set -e
		. "$2"/tests/lib/registry.sh
		registry_start "$1" 172.30.0.1
		registry_push_busybox test/busybox 1
		echo $REGISTRY_PID >"$1/run/registry.pid"
		disown' bash "$c" "$root" </dev/null
}

pid_of() { cat "$c/run/$1.pid"; }

# The number (1, 2, ...) of the master that leads.
leader() {
	sampan member list | awk '$4 == "yes" {sub("master-", "", $2); print $2}'
}

# End everything on a node at once, as a power cut would.
node_power_off() { # node-1
	local parent file
	kill -9 "$(pid_of "$1-agent")" "$(pid_of "$1-proxy")"
	parent=$(sed -n 's/^cgroup_parent = //p' "$c/$1/agent.conf")
	for file in $(find "/sys/fs/cgroup/memory$parent" "/sys/fs/cgroup$parent" -name cgroup.procs 2>/dev/null); do
		xargs -r kill -9 <"$file" 2>/dev/null
	done
	return 0
}
