#!/usr/bin/env bash
# NetworkPolicies by real traffic between pods of two nodes: who may speak with whom, from the first
# policy to the last, and what becomes of flows that are under way.
source "$(dirname "$0")/lib.sh"

pod_json() { # NAME NODE IP LABELS
	printf '{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"%s","name":"%s","labels":{%s}},"spec":{"nodeName":"%s","containers":[{"name":"c","image":"i","ports":[{"name":"web","containerPort":8080}]}]},"status":{"phase":"Running","podIP":"%s"}},' \
		"${ns:-default}" "$1" "$4" "$2" "$3"
}
namespace_json() { # NAME LABELS
	printf '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"%s","labels":{%s}}},' "$1" "$2"
}
policy_json() { # NAME SPEC
	printf '{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"namespace":"default","name":"%s"},"spec":{%s}},' "$1" "$2"
}
# The policies on standard input, in a world of a server p11 (app=web), p12 (app=client) beside it, and p21 on
# the other node in another namespace.
world() {
	nodes_json
	namespace_json default ''
	namespace_json other '"team":"blue"'
	pod_json p11 n1 10.244.1.2 '"app":"web"'
	pod_json p12 n1 10.244.1.3 '"app":"client"'
	ns=other pod_json p21 n2 10.244.2.2 '"app":"client"'
	service_json web '"clusterIP":"10.96.0.1","ports":[{"port":80}]'
	slice_json web "" 8080 TCP "10.244.1.2 n1"
	cat
}
policies() { # SPEC...: they are all there is from now on
	local n=0 spec
	for spec in "$@"; do policy_json "p$((n++))" "$spec"; done | world | proxies_learn
}
get() { net "$1" curl -s --max-time "${2:-1}" -o /dev/null "${3:-http://10.244.1.2:8080/}"; }
may() { get "$1" 3 "${2:-}" || { echo "$1 got no answer from ${2:-the server}"; return 1; }; }
may_not() { ! get "$1" 1 "${2:-}" || { echo "$1 got an answer from ${2:-the server}"; return 1; }; }
# may and may_not, in the order p12 p21 n1 (the server's own node); + or - each.
table() {
	local want=$1 got= who
	for who in p12 p21 n1; do
		get $who 1 && got+=+ || got+=-
	done
	equals "$got" "$want"
}
allows() { wait_for 8 table "$1"; }

web='"podSelector":{"matchLabels":{"app":"web"}}'
world_start
for p in "p11 10.244.1.2" "p12 10.244.1.3" "p21 10.244.2.2"; do
	set -- $p
	serve "$1" "$2" 8080
	serve "$1" "$2" 8081
done
world </dev/null | snapshot
proxy_start n1
proxy_start n2
check "without a policy everybody may" wait_for 15 table +++
check "through the Service, too" wait_for 15 may p21 http://10.96.0.1/

policies "$web,\"policyTypes\":[\"Ingress\"]"
check "a policy without rules closes the pod, but not to its node" allows --+
check "nor to answers of what it asks itself" wait_for 8 may p11 http://10.244.2.2:8080/
check "the Service leads to the same refusal" may_not p21 http://10.96.0.1/
check "others are not concerned" may p21 http://10.244.1.3:8080/

policies "$web,\"policyTypes\":[\"Ingress\"]" "$web,\"ingress\":[{\"from\":[{\"podSelector\":{\"matchLabels\":{\"app\":\"client\"}}}]}]"
check "what one policy allows is allowed: pods of the namespace" allows +-+
policies "$web,\"ingress\":[{\"from\":[{\"namespaceSelector\":{\"matchLabels\":{\"team\":\"blue\"}}}]}]"
check "pods of another namespace" allows -++
policies "$web,\"ingress\":[{\"from\":[{\"namespaceSelector\":{\"matchLabels\":{\"team\":\"blue\"}},\"podSelector\":{\"matchLabels\":{\"app\":\"web\"}}}]}]"
check "both selectors must match" allows --+
policies "$web,\"ingress\":[{\"from\":[{\"ipBlock\":{\"cidr\":\"10.244.0.0/16\",\"except\":[\"10.244.2.0/24\"]}}]}]"
check "a block with an exception" allows +-+
policies "$web,\"ingress\":[{}]"
check "an empty rule allows all" allows +++

policies "$web,\"ingress\":[{\"ports\":[{\"port\":8080}]}]"
check "a port by number" allows +++
check "and no other" may_not p12 http://10.244.1.2:8081/
policies "$web,\"ingress\":[{\"ports\":[{\"port\":\"web\"}]}]"
check "a port by name" allows +++
check "and no other port" may_not p21 http://10.244.1.2:8081/
policies "$web,\"ingress\":[{\"ports\":[{\"port\":8081,\"endPort\":8090}]}]"
check "a range of ports without it" allows --+
check "with what is in it" may p21 http://10.244.1.2:8081/
policies "$web,\"ingress\":[{\"ports\":[{\"protocol\":\"UDP\",\"port\":8080}]}]"
check "another protocol is another port" allows --+

policies '"podSelector":{"matchLabels":{"app":"client"}},"policyTypes":["Egress"]'
check "nothing leaves a pod whose egress is closed" allows -++
check "but it can be reached" may p11 http://10.244.1.3:8080/
policies '"podSelector":{"matchLabels":{"app":"client"}},"egress":[{"to":[{"podSelector":{}}],"ports":[{"port":"web"}]}],"policyTypes":["Egress"]'
check "egress to a port by name" wait_for 8 may p12 http://10.244.1.2:8080/
check "and to no other" may_not p12 http://10.244.1.2:8081/
check "nor to pods elsewhere" may_not p12 http://10.244.2.2:8080/

policies
wait_for 8 table +++ >/dev/null
in_background p11 socat TCP-LISTEN:8082,fork,bind=10.244.1.2 SYSTEM:'cat /proc/uptime; while sleep 0.1; do echo more || exit; done'
grows() {
	local before
	before=$(stat -c %s "$work/stream" 2>/dev/null || echo 0)
	sleep 1
	[ "$(stat -c %s "$work/stream")" -gt "$before" ]
}
stands_still() { ! grows; }
listens() { net p11 socat -u OPEN:/dev/null TCP:10.244.1.2:8082; }
wait_for 5 listens >/dev/null 2>&1
in_background p12 socat -u TCP:10.244.1.2:8082 CREATE:"$work/stream"
check "a stream runs" wait_for 5 grows
policies "$web,\"ingress\":[{\"ports\":[{\"port\":8082}]}]"
sleep 1
check "and runs on under a policy that allows it" grows
policies "$web,\"policyTypes\":[\"Ingress\"]"
check "it is cut when one forbids it" wait_for 20 stands_still

kill -9 "$(proxy_pid n1)"
check "policies stay without the proxy" table --+
proxy_start n1
check "and with its successor" wait_for 5 table --+
policies
check "the last policy that goes opens everything" allows +++
check "and leaves nothing behind" wait_for 5 eval "! net n1 nft list table inet sampan_policy"
finish
