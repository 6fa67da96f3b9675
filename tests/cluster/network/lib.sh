# Two nodes with pods in network namespaces, joined by a LAN namespace, each with a
# sampan-proxy that reads a snapshot. Nothing outside these namespaces is touched.
# Source it, then world_start.

source "$(dirname "${BASH_SOURCE[0]}")/../../lib/tap.sh"
proxy=$root/build/proxy/sampan-proxy
tag=sn$$
pids=()

net() { # NAMESPACE COMMAND...: ip netns exec would hide /sys/fs/cgroup; nsenter does not.
	local name=$1
	shift
	nsenter --net="/run/netns/$tag-$name" "$@"
}

in_background() { # NAMESPACE COMMAND...: sets started to its pid, which is no shell's
	local name=$1
	shift
	nsenter --net="/run/netns/$tag-$name" "$@" <&0 &
	started=$!
	pids+=($started)
}

link() { # INSIDE OUTSIDE: a veth pair from node INSIDE to lan
	ip link add "$tag$1" netns "$tag-lan" type veth peer name eth0 netns "$tag-$1"
	net lan ip link set "$tag$1" master br0 up
	net "$1" ip link set eth0 up
	net "$1" ip address add "192.0.2.$2/24" dev eth0
}

pod() { # NODE NAME ADDRESS: as agent/network makes them
	ip netns add "$tag-$2"
	net "$2" ip link set lo up
	ip link add "v$2" netns "$tag-$1" type veth peer name eth0 netns "$tag-$2"
	net "$1" ip link set "v$2" address ee:ee:ee:ee:ee:ee up
	net "$1" ip route add "$3/32" dev "v$2" scope link
	net "$2" ip address add "$3/32" dev eth0
	net "$2" ip link set eth0 up
	net "$2" ip route add 169.254.1.1 dev eth0 scope link
	net "$2" ip route add default via 169.254.1.1
	net "$2" ip neighbour add 169.254.1.1 dev eth0 lladdr ee:ee:ee:ee:ee:ee nud permanent
}

serve() { # NAMESPACE ADDRESS PORT: answers every request with the namespace's name and the client's address
	in_background "$1" /usr/bin/python3 - "$1" "$2" "$3" 2>/dev/null <<-'PY'
		import http.server, sys
		class H(http.server.BaseHTTPRequestHandler):
		    def do_GET(self):
		        body = ("%s %s\n" % (sys.argv[1], self.client_address[0])).encode()
		        self.send_response(200)
		        self.send_header("Content-Length", str(len(body)))
		        self.end_headers()
		        self.wfile.write(body)
		    def log_message(self, *a): pass
		class S(http.server.ThreadingHTTPServer):
		    request_queue_size = 256
		S((sys.argv[2], int(sys.argv[3])), H).serve_forever()
	PY
	wait_for 20 listens_at "$1" "$2:$3"
}

listens_at() { # NAMESPACE ADDRESS:PORT
	[ -n "$(net "$1" ss -Htln "src $2")" ]
}

conf() { # NODE ADDRESS
	cat >"$work/$1.conf" <<-CONF
		node = $1
		dir = $work/$1
		node_address = 192.0.2.$2
		cluster_domain = cluster.local
		service_cidr = 10.96.0.0/12
		pod_cidr = 10.244.0.0/16
		dns_address = 10.96.0.10
		dns_upstream = 192.0.2.53
	CONF
	mkdir -p "$work/$1"
}

proxy_start() { # NODE
	in_background "$1" "$proxy" --config "$work/$1.conf" --snapshot "$work/snapshot" 2>>"$work/$1.log"
	eval "proxy_$1=$started"
}

proxy_pid() { eval "echo \$proxy_$1"; }

# The snapshot on standard input is the world of both proxies from now on.
proxies_learn() {
	local n
	snapshot
	for n in n1 n2; do
		[ -z "$(proxy_pid $n)" ] || kill -HUP "$(proxy_pid $n)"
	done
}

world_start() {
	[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP network namespaces need root"; exit 0; }
	at_exit world_stop
	for n in lan n1 n2 out; do
		ip netns add "$tag-$n"
		net $n ip link set lo up
	done
	net lan ip link add br0 type bridge
	net lan ip link set br0 up
	link n1 1
	link n2 2
	link out 53
	for n in n1 n2; do
		net $n sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
	done
	pod n1 p11 10.244.1.2
	pod n1 p12 10.244.1.3
	pod n2 p21 10.244.2.2
	conf n1 1
	conf n2 2
}

world_stop() {
	local p n
	for p in "${pids[@]}"; do
		kill -9 "$p" 2>/dev/null
	done
	wait 2>/dev/null
	for n in p11 p12 p21 n1 n2 out lan; do
		ip netns delete "$tag-$n" 2>/dev/null
	done
}

nodes_json() {
	local n
	for n in 1 2; do
		printf '{"apiVersion":"v1","kind":"Node","metadata":{"name":"n%d"},"spec":{"podCIDR":"10.244.%d.0/24"},"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.%d"}]}},' $n $n $n
	done
}

service_json() { # NAME SPEC
	printf '{"apiVersion":"v1","kind":"Service","metadata":{"namespace":"default","name":"%s"},"spec":{%s}},' "$1" "$2"
}

slice_json() { # SERVICE PORTNAME PORT PROTOCOL "IP NODE"...
	local service=$1 name=$2 port=$3 protocol=$4 e sep=
	shift 4
	printf '{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"namespace":"default","name":"%s-x","labels":{"kubernetes.io/service-name":"%s"}},"addressType":"IPv4","ports":[{"name":"%s","port":%d,"protocol":"%s"}],"endpoints":[' \
		"$service" "$service" "$name" "$port" "$protocol"
	for e in "$@"; do
		set -- $e
		printf '%s{"addresses":["%s"],"nodeName":"%s","conditions":{"ready":true}}' "$sep" "$1" "$2"
		sep=,
	done
	printf ']},'
}

snapshot() { # reads items, each ended by a comma, from standard input
	local items
	items=$(cat)
	printf '{"kind":"List","items":[%s]}' "${items%,}" >"$work/snapshot.new"
	mv "$work/snapshot.new" "$work/snapshot"
}
