#!/usr/bin/env bash
# Zones, nodes that lose power, and nodes that are out of service for good.
source "$(dirname "$0")/../../lib/tap.sh"
source "$(dirname "$0")/../../lib/dev.sh"

check "a master and three nodes start" dev_up 1 3 || finish

pod() { # NAME NODE
	kubectl apply -f - <<END
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  nodeName: $2
  terminationGracePeriodSeconds: 1
  tolerations:
  - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: ${3:-600}}
  containers: [{name: c, image: $image, command: [sleep, infinity]}]
END
	kubectl wait --for=condition=Ready "pod/$1" --timeout=60s
}
has_taint() { kubectl get node "$1" -o jsonpath="{.spec.taints[?(@.effect=='NoExecute')].key}" | grep -q "$2"; }
no_taints() { [ -z "$(kubectl get node "$1" -o jsonpath='{.spec.taints}')" ]; }
is_gone() { ! kubectl get pod "$1" >/dev/null 2>&1; }
has_ttl() { [ "$(kubectl get node node-1 -o jsonpath='{.metadata.annotations.node\.alpha\.kubernetes\.io/ttl}')" = 0 ]; }
zone_of() { kubectl get endpointslices -l kubernetes.io/service-name=web -o jsonpath='{.items[0].endpoints[0].zone}'; }
hint_of() { kubectl get endpointslices -l kubernetes.io/service-name=web -o jsonpath='{.items[0].endpoints[0].hints.forZones[0].name}'; }
serve() {
	kubectl apply -f - <<END
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, trafficDistribution: PreferClose, ports: [{port: 80}]}
END
	kubectl label pod keeps app=web
}

check "zones are labels" kubectl label node node-1 node-2 topology.kubernetes.io/zone=a
check "of nodes" kubectl label node node-3 topology.kubernetes.io/zone=b
check "nodes are told how long to remember" wait_for 10 has_ttl
check "a pod that bears silence" pod keeps node-2
check "one that does not" pod leaves node-2 2
check "a Service that stays close" serve
check "endpoints tell their zone" wait_for 10 eval '[ "$(zone_of)" = a ]'
check "and whom they are for" equals "$(hint_of)" a
check "slices tell what triggered them" contains "$(kubectl get endpointslices -l kubernetes.io/service-name=web -o yaml)" last-change-trigger-time

node_power_off node-2
check "a silent node is tainted" wait_for 20 has_taint node-2 unreachable
check "what does not bear it is to be deleted" wait_for 20 eval '[ -n "$(kubectl get pod leaves -o jsonpath={.metadata.deletionTimestamp})" ]'
check "but waits for its node" kubectl get pod leaves
check "the other stays" equals "$(kubectl get pod keeps -o jsonpath='{.metadata.deletionTimestamp}')" ""
check "somebody says that the node is off for good" kubectl taint node node-2 node.kubernetes.io/out-of-service=yes:NoExecute
check "then nothing is waited for" wait_for 15 is_gone leaves
check "and nobody bears that" wait_for 15 is_gone keeps

kubectl taint node node-2 node.kubernetes.io/out-of-service- >/dev/null
check "it comes back" sampan dev up --dir "$c" --masters 1 --nodes 3 --registry 172.30.0.1:5000
check "and is as before" wait_for 30 no_taints node-2
check "pods run there" pod again node-2

finish
