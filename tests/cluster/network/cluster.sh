#!/usr/bin/env bash
# Services and names in a whole cluster, one master and two nodes: what users see, while proxies
# and then the master are killed.
source "$(dirname "$0")/../../lib/tap.sh"
cd "$root" || exit 1
[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP nodes need root"; exit 0; }
command -v kubectl >/dev/null || { echo "1..0 # SKIP there is no kubectl"; exit 0; }
dir=$work/cluster
at_exit "sampan dev down --dir '$dir' >/dev/null 2>&1"

up() { sampan dev up --dir "$dir" --masters 1 --nodes 2 --registry 172.30.0.1:5000; }
up >"$work/up.log" 2>&1 || { sed 's/^/# /' "$work/up.log"; echo "Bail out! no cluster"; exit 1; }
export KUBECONFIG=$dir/kubeconfig
lan() { nsenter --net="$dir/netns/lan" "$@"; }
node() { nsenter --net="$dir/netns/node-$1" "${@:2}"; }

lan env REGISTRY_PORT=5000 bash -c '. tests/lib/registry.sh; registry_start "$1" 172.30.0.1 && registry_push_busybox test/busybox 1 && echo $REGISTRY_PID >"$1/registry.pid"; disown' \
	bash "$work" </dev/null >"$work/registry.log" 2>&1 || { echo "Bail out! no registry"; exit 1; }
at_exit "kill \$(cat '$work/registry.pid')"

pod() { # NAME NODE COMMAND LABEL
	cat <<-YAML
		---
		apiVersion: v1
		kind: Pod
		metadata: {name: $1, labels: {app: $4}}
		spec:
		  nodeName: $2
		  terminationGracePeriodSeconds: 1
		  containers:
		  - name: c
		    image: 172.30.0.1:5000/test/busybox:1
		    command: [sh, -c, '$3']
		    ports: [{name: http, containerPort: 8080}]
	YAML
}
server='echo $HOSTNAME >/tmp/index.html; exec httpd -f -p 8080 -h /tmp'
{
	pod web-1 node-1 "$server" web
	pod web-2 node-2 "$server" web
	pod client node-1 'exec sleep 10000' client
	cat <<-YAML
		---
		apiVersion: v1
		kind: Service
		metadata: {name: web}
		spec:
		  type: NodePort
		  selector: {app: web}
		  ports: [{name: http, port: 80, targetPort: http, nodePort: 30080}]
	YAML
} >"$work/manifest.yaml"
check "the manifest is taken" kubectl apply -f "$work/manifest.yaml"
check "pods on both nodes run" kubectl wait --for=condition=Ready pod/web-1 pod/web-2 pod/client --timeout=90s

# in_client COMMAND: in the pod's network and with its resolv.conf, without the API, so that it works without masters.
client_ip=$(kubectl get pod client -o 'jsonpath={.status.podIP}')
in_client() { kubectl exec client -- sh -c "$1"; }
from_node() { node "$1" curl -s --max-time 3 "$2"; }
both() { # COMMAND...: prints both servers within 30 runs
	local i all=
	for ((i = 0; i < 30; i++)); do
		all+=$("$@")$'\n'
		[[ $all == *web-1* && $all == *web-2* ]] && return 0
	done
	echo "$all"
	return 1
}
check "the Service by name from a pod" wait_for 20 in_client 'timeout 3 wget -q -O - http://web'
check "both servers answer" both in_client 'timeout 3 wget -q -O - http://web.default.svc.cluster.local'
check "the API by name" in_client 'nslookup kubernetes.default.svc.cluster.local | grep -q 10.96.0.1'
check "node ports of both nodes, from outside" both lan curl -s --max-time 3 http://172.30.0.101:30080/
check "node port of the other node" both lan curl -s --max-time 3 http://172.30.0.102:30080/
service_ip=$(kubectl get service web -o 'jsonpath={.spec.clusterIP}')
check "from a node" both from_node 1 "http://$service_ip/"
check "pods have addresses of their node's range" contains "$(kubectl get node node-1 -o 'jsonpath={.spec.podCIDR}')" "${client_ip%.*}"

close_web() {
	kubectl apply -f - <<-END
		apiVersion: networking.k8s.io/v1
		kind: NetworkPolicy
		metadata: {name: closed}
		spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress]}
	END
}
closed() { ! in_client 'timeout 2 wget -q -O - http://web'; }
check "a NetworkPolicy is made" close_web
check "pods that it selects are closed" wait_for 10 closed
check "kubectl shows it" contains "$(kubectl get networkpolicy closed)" "app=web"
check "it is removed" kubectl delete networkpolicy closed
check "they are open again" wait_for 10 in_client 'timeout 3 wget -q -O - http://web'

kill -9 "$(cat "$dir/run/node-1-proxy.pid")"
check "without its proxy a node's connections work" both from_node 1 "http://$service_ip/"
check "'up' starts the proxy again" up
check "names are back" wait_for 20 in_client 'timeout 3 wget -q -O - http://web'

# --- No master any more: everything that is known goes on.
kill -9 "$(cat "$dir/run/master-1.pid")"
ask_dns() { node 1 /usr/bin/python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3)
q = b"\0\7\1\0\0\1\0\0\0\0\0\0" + b"".join(bytes([len(l)]) + l for l in b"web.default.svc.cluster.local".split(b".")) + b"\0\0\1\0\1"
s.sendto(q, ("10.96.0.10", 53)); r = s.recv(512)
print(socket.inet_ntoa(r[-4:]), r[3] & 15)'; }
check "Services without a master" both from_node 1 "http://$service_ip/"
check "names without a master" equals "$(ask_dns)" "$service_ip 0"
check "'up' starts the master again" up
kubectl delete pod web-2 --wait=false >/dev/null
only_one() { ! both from_node 1 "http://$service_ip/" >/dev/null; }
check "the proxies learn again" wait_for 30 only_one
rss=$(awk '/VmRSS/ {print $2}' "/proc/$(cat "$dir/run/node-1-proxy.pid")/status")
check "a proxy needs at most 10 MB ($rss kB)" test "$rss" -le 10240
check "no complaints of proxies" bash -c "! grep -hE ' (warn|error) ' '$dir'/log/*proxy*.log | grep -v 'conflicts='"
finish
