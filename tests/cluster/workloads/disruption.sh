#!/usr/bin/env bash
# Priorities, and a node that is drained under a budget: nobody is missed.
source "$(dirname "$0")/../api/lib.sh"
source "$(dirname "$0")/../../lib/dev.sh"

check "three masters and two nodes start" dev_up 3 2 || finish

deploy() {
	kubectl apply -f - <<END
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: business}
value: 1000
preemptionPolicy: Never
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      priorityClassName: business
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: $image
        command: [sh, -c, 'exec httpd -f -p 8080 -h /tmp']
        readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
END
	kubectl rollout status deployment/web --timeout=60s
}
budget() { kubectl get pdb web -o jsonpath="{.status.$1}"; }
budget_is() { equals "$(budget disruptionsAllowed) $(budget currentHealthy)/$(budget desiredHealthy)/$(budget expectedPods)" "$1"; }
pods_on() { kubectl get pods -l app=web --field-selector=spec.nodeName="$1" -o name | wc -l; }
ready() { kubectl get deployment web -o jsonpath='{.status.readyReplicas}'; }

classes() { kubectl get priorityclasses -o jsonpath='{range .items[*]}{.metadata.name}={.value} {end}'; }
check "the system's classes are there" equals "$(classes)" \
	"system-cluster-critical=2000000000 system-node-critical=2000001000 "
check "a Deployment of a class of its own runs" deploy || finish
check "its pods have the class's priority" equals \
	"$(kubectl get pods -l app=web -o jsonpath='{range .items[*]}{.spec.priority}{.spec.preemptionPolicy} {end}')" \
	"1000Never 1000Never 1000Never 1000Never "
check "a system class stays" bash -c '! kubectl delete priorityclass system-node-critical'
check "kubectl shows the class" contains "$(kubectl get pc business)" "1000"
check "and describes it" contains "$(kubectl describe pc business)" "PreemptionPolicy:"

check "a budget is made" kubectl create poddisruptionbudget web --selector=app=web --max-unavailable=1
check "it lets one pod go" wait_for 10 budget_is "1 4/3/4"
check "kubectl describes it" contains "$(kubectl describe pdb web)" "Allowed disruptions:  1"

# Below the budget at no time while the node is drained: asked for as often as kubectl can.
: >"$work/low"
watch_ready() {
	while [ ! -e "$work/stop" ]; do
		n=$(kubectl get pods -l app=web -o jsonpath='{range .items[*]}{.metadata.deletionTimestamp}/{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}' | grep -c '^/True$')
		[ "$n" -ge 3 ] || echo "$n" >>"$work/low"
	done
}
watch_ready &
watcher=$!
check "node-1 is drained under the budget" kubectl drain node-1 --ignore-daemonsets --delete-emptydir-data --timeout=60s
touch "$work/stop"
wait $watcher
check "never fewer than three were ready" equals "$(cat "$work/low")" ""
all_on_node_2() { equals "$(pods_on node-1) $(pods_on node-2) $(ready)" "0 4 4"; }
check "all pods are on the other node" wait_for 30 all_on_node_2

# Nobody may go: the drain gives up, the pods stay.
check "the budget is closed" kubectl patch pdb web --type=merge -p '{"spec":{"maxUnavailable":0}}'
check "and says so" wait_for 10 budget_is "0 4/4/4"
refused() {
	kubectl drain node-2 --ignore-daemonsets --delete-emptydir-data --timeout=3s >"$work/drain" 2>&1 && return 1
	contains "$(cat "$work/drain")" "Cannot evict pod as it would violate the pod's disruption budget."
}
check "a drain is refused" refused
check "no pod went" equals "$(pods_on node-2) $(ready)" "4 4"
check "with the reason Kubernetes gives" contains \
	"$(kubectl create --raw "/api/v1/namespaces/default/$(kubectl get pods -l app=web -o name | head -n 1 | sed s/^pod/pods/)/eviction" -f <(
		echo '{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"'"$(kubectl get pods -l app=web -o name | head -n 1 | sed s/^pod.//)"'","namespace":"default"}}'
	) 2>&1)" "disruption budget"
kubectl uncordon node-1 >/dev/null
kubectl uncordon node-2 >/dev/null
kubectl patch pdb web --type=merge -p '{"spec":{"maxUnavailable":4}}' >/dev/null

# With the kubectls of some versions, the oldest and the newest among them.
drain_with() {
	local k=$1 node=$2
	"$k" drain "$node" --ignore-daemonsets --delete-emptydir-data --timeout=30s >"$work/drain" 2>&1 ||
		"$k" drain "$node" --ignore-daemonsets --delete-local-data --timeout=30s >"$work/drain" 2>&1 ||
		{ cat "$work/drain"; return 1; }
	contains "$(cat "$work/drain")" "evicted" || return 1
	wait_for 20 equals 0 "$(pods_on "$node")" && "$k" uncordon "$node"
}
settled() { equals "$(ready)" 4; }
node=node-2
for k in $(kubectls); do
	[[ $(kubectl_version "$k") =~ ^1\.(20|27|30|33)$ ]] || continue
	wait_for 30 settled >/dev/null
	[ "$(pods_on $node)" -gt 0 ] || node=$([ $node = node-1 ] && echo node-2 || echo node-1)
	check "kubectl $(kubectl_version "$k") drains" drain_with "$k" $node
done

check "the cluster goes away" sampan dev down --dir "$c"
finish
