#!/usr/bin/env bash
# Services between two nodes by real traffic: cluster addresses, node ports, policies, hairpin,
# refusals, and what happens while a proxy is killed.
source "$(dirname "$0")/lib.sh"

get() { # NAMESPACE URL
	net "$1" curl -s --max-time 3 "$2"
}

answered_by() { # NAMESPACE URL PATTERN
	local body
	body=$(get "$1" "$2") || { echo "no answer"; return 1; }
	[[ $body == $3 ]] || { echo "got: $body"; return 1; }
}

spread() { # NAMESPACE URL: distinct servers among 60 connections
	local i
	for ((i = 0; i < 60; i++)); do
		get "$1" "$2" | cut -d' ' -f1
	done | sort | uniq -c | awk '{print $2}' | xargs
}

refused_at_once() { # NAMESPACE URL: a reset, no timeout
	local rc
	net "$1" curl -s --max-time 3 "$2" >/dev/null
	rc=$?
	[ $rc = 7 ] || { echo "curl ended with $rc"; return 1; }
}

silent() { # NAMESPACE URL
	local rc
	net "$1" curl -s --max-time 1 "$2" >/dev/null
	rc=$?
	[ $rc = 28 ] || { echo "curl ended with $rc"; return 1; }
}

world() { # EXTRA-SLICES...
	nodes_json
	service_json web '"clusterIP":"10.96.0.1","type":"NodePort","ports":[{"port":80,"nodePort":30080}]'
	slice_json web "" 8080 TCP "10.244.1.2 n1" "10.244.1.3 n1" "10.244.2.2 n2"
	service_json near '"clusterIP":"10.96.0.2","internalTrafficPolicy":"Local","ports":[{"port":80}]'
	slice_json near "" 8080 TCP "10.244.2.2 n2"
	service_json outer '"clusterIP":"10.96.0.3","type":"NodePort","externalTrafficPolicy":"Local","externalIPs":["198.51.100.1"],"ports":[{"port":80,"nodePort":30081}]'
	slice_json outer "" 8080 TCP "10.244.2.2 n2"
	service_json none '"clusterIP":"10.96.0.4","type":"NodePort","ports":[{"port":80,"nodePort":30082}]'
	service_json self '"clusterIP":"10.96.0.5","ports":[{"port":80}]'
	slice_json self "" 8080 TCP "10.244.1.2 n1"
	service_json sticky '"clusterIP":"10.96.0.6","sessionAffinity":"ClientIP","ports":[{"port":80}]'
	slice_json sticky "" 8080 TCP "10.244.1.2 n1" "10.244.1.3 n1" "10.244.2.2 n2"
	service_json datagrams '"clusterIP":"10.96.0.7","ports":[{"port":9,"protocol":"UDP"}]'
	slice_json datagrams "" "$1" UDP "10.244.1.2 n1"
	printf '{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"default","name":"p11"},"spec":{"nodeName":"n1","containers":[{"name":"c","image":"i","ports":[{"containerPort":8080,"hostPort":8888},{"containerPort":8080,"hostPort":8889,"hostIP":"192.0.2.1"}]}]},"status":{"phase":"Running","podIP":"10.244.1.2"}},'
}

world_start
for p in "p11 10.244.1.2" "p12 10.244.1.3" "p21 10.244.2.2"; do
	set -- $p
	serve "$1" "$2" 8080
done
world 7001 | snapshot
proxy_start n1
proxy_start n2

check "a pod reaches a Service" wait_for 15 answered_by p11 http://10.96.0.1/ "p* 10.244.1.2"
check "the second node works too" wait_for 15 answered_by p21 http://10.96.0.1/ "p*"
check "a node has routes to the other's pods" wait_for 5 answered_by p11 http://10.244.2.2:8080/ "p21 10.244.1.2"
check "all endpoints get connections" equals "$(spread p11 http://10.96.0.1/)" "p11 p12 p21"
check "a node reaches a Service" answered_by n1 http://10.96.0.1/ "p*"
check "a node port from outside" answered_by out http://192.0.2.1:30080/ "p*"
check "a node port spreads over both nodes" equals "$(spread out http://192.0.2.1:30080/)" "p11 p12 p21"
check "a port of the node that a pod asks for" answered_by out http://192.0.2.1:8888/ "p11 192.0.2.53"
check "from the node itself" answered_by n1 http://192.0.2.1:8888/ "p11*"
check "from the pod itself" answered_by p11 http://192.0.2.1:8888/ "p11*"
check "at one address of the node" answered_by out http://192.0.2.1:8889/ "p11*"
check "a node port from a pod" answered_by p11 http://192.0.2.2:30080/ "p*"
check "a node port from its own node" answered_by n1 http://192.0.2.1:30080/ "p*"
check "no endpoints: refused at once from a pod" refused_at_once p11 http://10.96.0.4/
check "no endpoints: refused at once from the node" refused_at_once n1 http://10.96.0.4/
check "no endpoints: refused at once from outside" refused_at_once out http://192.0.2.1:30082/
check "unknown ports of a Service are refused" refused_at_once p11 http://10.96.0.1:81/
check "unknown addresses of the range are refused" refused_at_once p11 http://10.96.9.9/
check "unknown addresses are refused to nodes" refused_at_once n1 http://10.96.9.9/
check "internal Local: the node with the endpoint" answered_by p21 http://10.96.0.2/ "p21 *"
check "internal Local: dropped elsewhere" silent p11 http://10.96.0.2/
check "external Local: the client's address is kept" answered_by out http://192.0.2.2:30081/ "p21 192.0.2.53"
check "external Local: dropped where no endpoint is" silent out http://192.0.2.1:30081/
check "external Local: cluster address works everywhere" answered_by p11 http://10.96.0.3/ "p21 10.244.1.2"
net out ip route add 198.51.100.1/32 via 192.0.2.2
check "external address" answered_by out http://198.51.100.1/ "p21 *"
check "a pod that is its own Service" answered_by p11 http://10.96.0.5/ "p11 *"
check "the same client, the same endpoint" equals "$(spread p11 http://10.96.0.6/ | wc -w)" 1

# A server outside sees the node, not the pod.
serve out 192.0.2.53 8080
check "pods go out with the node's address" wait_for 5 answered_by p11 http://192.0.2.53:8080/ "out 192.0.2.1"

# --- UDP: a flow that goes on must find the new endpoint.
udp_echo() { # NAMESPACE PORT
	in_background "$1" /usr/bin/python3 - "$2" <<-'PY'
		import socket, sys
		s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		s.bind(("0.0.0.0", int(sys.argv[1])))
		while True:
		    data, peer = s.recvfrom(2048)
		    s.sendto(sys.argv[1].encode(), peer)
	PY
}
udp_ask() { # from one and the same port all the time
	net p12 /usr/bin/python3 - <<-'PY'
		import socket
		s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		s.bind(("0.0.0.0", 40000))
		s.settimeout(1)
		s.sendto(b"x", ("10.96.0.7", 9))
		print(s.recvfrom(100)[0].decode())
	PY
}
udp_says() { equals "$(udp_ask 2>/dev/null)" "$1"; }
udp_echo p11 7001
udp_echo p11 7002
check "UDP Service" wait_for 5 udp_says 7001
world 7002 | proxies_learn
check "a UDP flow moves when its endpoint does" wait_for 5 udp_says 7002

# --- Nothing depends on the proxy's process.
load() { # FILE: connections one after the other until the file is there; prints how many failed
	net p12 /usr/bin/python3 - "$1" <<-'PY'
		import os, sys, urllib.request
		bad = n = 0
		while not os.path.exists(sys.argv[1]):
		    n += 1
		    try:
		        urllib.request.urlopen("http://10.96.0.1/", timeout=3).read()
		    except Exception as e:
		        bad += 1
		        print(e, file=sys.stderr)
		print(n, bad)
	PY
}
load "$work/stop" >"$work/load" 2>"$work/load.err" &
loader=$!
for round in 1 2 3; do
	kill -9 "$(proxy_pid n1)"
	wait "$(proxy_pid n1)" 2>/dev/null
	check "round $round: traffic goes on without a proxy" answered_by p11 http://10.96.0.1/ "p*"
	before=$(grep -c "adopted the table" "$work/n1.log")
	proxy_start n1
	check "round $round: the new proxy adopts the table" wait_for 10 \
		bash -c "[ \$(grep -c 'adopted the table' '$work/n1.log') -gt $before ] && tail -n 5 '$work/n1.log' | grep -q 'knows everything'"
done
touch "$work/stop"
wait $loader
check "no connection failed meanwhile ($(cat "$work/load"))" grep -qE '^[0-9]+ 0$' "$work/load"

# --- Changes under way.
world_small() {
	nodes_json
	service_json web '"clusterIP":"10.96.0.1","type":"NodePort","ports":[{"port":80,"nodePort":30080}]'
	slice_json web "" 8080 TCP "10.244.2.2 n2"
}
only() { equals "$(spread p11 http://10.96.0.1/)" "$1"; }
world_small | proxies_learn
check "endpoints go" wait_for 10 only p21
check "Services go" refused_at_once p11 http://10.96.0.5/
rss=$(awk '/VmRSS/ {print $2}' "/proc/$(proxy_pid n1)/status")
check "a proxy needs at most 10 MB ($rss kB)" test "$rss" -le 10240
check "nothing unexpected in the logs" bash -c "! grep -E ' (warn|error) ' '$work/n1.log' '$work/n2.log'"
finish
