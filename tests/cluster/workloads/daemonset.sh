#!/usr/bin/env bash
# DaemonSets: a pod on every node that should have one, with real containers; nodes come and go; updates roll.
source "$(dirname "$0")/../../lib/tap.sh"
source "$(dirname "$0")/../../lib/dev.sh"

check "three masters and three nodes start" dev_up 3 3 || finish

daemon() { # VERSION STRATEGY [NODE_SELECTOR]
	kubectl apply -f - <<END
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: d}
spec:
  selector: {matchLabels: {app: d}}
  updateStrategy: $2
  template:
    metadata: {labels: {app: d}}
    spec:
      terminationGracePeriodSeconds: 1
      nodeSelector: {$3}
      containers:
      - {name: c, image: $image, command: [sh, -c, 'echo $1; exec sleep 3600']}
END
}
rolling='{type: RollingUpdate, rollingUpdate: {maxUnavailable: 1}}'
nodes_of() { kubectl get pods -l app=d -o jsonpath='{range .items[*]}{.spec.nodeName}{"\n"}{end}' | sort | xargs; }
on_nodes() { equals "$(nodes_of)" "$*"; }
number() { kubectl get daemonset d -o jsonpath="{.status.$1}"; }
has() { equals "$(number "$1")" "$2"; }
logs() { kubectl logs -l app=d --tail=1 | sort -u | xargs; }

check "a DaemonSet" daemon one "$rolling"
check "is rolled out" kubectl rollout status daemonset/d --timeout=60s
check "to every node" on_nodes node-1 node-2 node-3
check "kubectl get says so" contains "$(kubectl get ds d --no-headers | xargs)" "d 3 3 3 3 3 <none>"
check "kubectl describe says so" contains "$(kubectl describe ds d)" "Desired Number of Nodes Scheduled: 3"
check "the scheduler bound them" equals "$(kubectl get events --field-selector reason=Scheduled -o name | grep -c event)" 3
check "each is pinned to its node" equals \
	"$(kubectl get pods -l app=d -o jsonpath='{range .items[*]}{.spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchFields[0].values[0]}{"\n"}{end}' | sort | xargs)" "node-1 node-2 node-3"

check "a new template" daemon two "$rolling"
check "is rolled out" kubectl rollout status daemonset/d --timeout=90s
check "everywhere" equals "$(logs)" two
check "two revisions are kept" equals "$(kubectl get controllerrevisions -o name | wc -l)" 2
check "and listed" contains "$(kubectl rollout history daemonset/d | xargs)" "REVISION CHANGE-CAUSE 1 <none> 2 <none>"
check "it is taken back" kubectl rollout undo daemonset/d
check "and rolled out" kubectl rollout status daemonset/d --timeout=90s
check "everywhere, too" equals "$(logs)" one
check "as revision 3" contains "$(kubectl rollout history daemonset/d | xargs)" "2 <none> 3 <none>"

check "with surge" daemon three '{type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}'
never_below_3() {
	local i
	for i in $(seq 300); do
		[ "$(number numberAvailable)" -ge 3 ] || { kubectl get ds d; return 1; }
		[ "$(number updatedNumberScheduled)/$(kubectl get pods -l app=d -o name | wc -l)" != 3/3 ] || return 0
	done
	return 1
}
check "no node is ever without" never_below_3
check "and all are new" equals "$(logs)" three
check "kubectl rollout restart" kubectl rollout restart daemonset/d
check "goes round" kubectl rollout status daemonset/d --timeout=90s

check "OnDelete" daemon four '{type: OnDelete}'
observed() { [ "$(number observedGeneration)" = "$(kubectl get ds d -o jsonpath='{.metadata.generation}')" ]; }
check "changes nothing by itself" wait_for 10 observed
check "all are of before" equals "$(number updatedNumberScheduled)/$(logs)" "/three"
check "until somebody deletes" kubectl delete pod -l app=d --field-selector spec.nodeName=node-2
check "then one is new" wait_for 20 has updatedNumberScheduled 1

check "a node is labelled" kubectl label node node-3 role=edge
check "and the DaemonSet moves to such nodes" daemon four "$rolling" 'role: edge'
check "only" wait_for 30 on_nodes node-3
check "one more" kubectl label node node-1 role=edge
check "has one, too" wait_for 30 on_nodes node-1 node-3
check "a label goes" kubectl label node node-3 role-
check "and the pod with it" wait_for 30 on_nodes node-1
check "back to all" daemon four "$rolling"
check "nodes" wait_for 30 on_nodes node-1 node-2 node-3
check "all of them new" kubectl rollout status daemonset/d --timeout=60s
check "a taint keeps what is there" kubectl taint node node-1 maintenance=yes:NoSchedule
check "but makes it misscheduled" wait_for 10 has numberMisscheduled 1
check "cordoning does not matter" kubectl cordon node-2
check "to it" wait_for 10 has desiredNumberScheduled 2
check "kubectl drain leaves them" kubectl drain node-2 --ignore-daemonsets
check "a NoExecute taint" kubectl taint node node-1 gone=yes:NoExecute
check "takes the pod away" wait_for 30 on_nodes node-2 node-3
kubectl taint node node-1 maintenance- gone- >/dev/null
check "without it, it comes back" wait_for 30 on_nodes node-1 node-2 node-3

check "and is well" wait_for 30 has numberAvailable 3
# Between two failures it runs for a moment, so being ready must last.
check "which it shall" kubectl patch ds d -p '{"spec":{"minReadySeconds":15}}'
check "do" wait_for 40 has numberAvailable 3
check "one that fails" kubectl patch ds d --type=json -p '[{"op":"replace","path":"/spec/template/spec/containers/0/command","value":["sh","-c","exit 1"]}]'
one_is_new() { has updatedNumberScheduled 1 && has numberAvailable 2; }
check "stops the rollout at one node" wait_for 60 one_is_new
check "surge and unavailable exclude each other" contains \
	"$(kubectl patch ds d -p '{"spec":{"updateStrategy":{"rollingUpdate":{"maxSurge":1}}}}' 2>&1)" "may not be set when maxUnavailable is non-zero"
check "the selector is immutable" contains "$(kubectl patch ds d -p '{"spec":{"selector":{"matchLabels":{"x":"y"}}}}' 2>&1)" "is invalid"

none() { [ -z "$(nodes_of)" ]; }
check "deleted" kubectl delete daemonset d
check "with all its pods" wait_for 30 none
check "the cluster goes away" sampan dev down --dir "$c"
finish
