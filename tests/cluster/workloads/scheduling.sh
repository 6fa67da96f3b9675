#!/usr/bin/env bash
# Pods through kubectl: taints, node and pod affinity, spreading, gates, priorities and preemption, and
# what events say about those that fit nowhere.
source "$(dirname "$0")/../../lib/tap.sh"
source "$(dirname "$0")/../../lib/dev.sh"

check "a master and three nodes start" dev_up 1 3 || finish
check "three nodes are ready" kubectl wait --for=condition=Ready node --all --timeout=60s || finish

# pod NAME LABELS SPEC: a pod that sleeps; SPEC is lines of YAML for its spec.
pod() {
	kubectl apply -f - <<END
apiVersion: v1
kind: Pod
metadata: {name: $1, labels: {$2}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: $image, command: [sleep, infinity], resources: {requests: {$4}}}]
$3
END
}
node_of() { kubectl get pod "$1" -o jsonpath='{.spec.nodeName}'; }
scheduled() { kubectl wait --for=condition=PodScheduled "pod/$1" --timeout=20s >/dev/null; }
refused() { kubectl wait --for=jsonpath='{.status.conditions[?(@.type=="PodScheduled")].status}'=False "pod/$1" --timeout=20s >/dev/null; }
why() { kubectl get pod "$1" -o jsonpath='{.status.conditions[?(@.type=="PodScheduled")].message}'; }
begins() { [[ $1 == "$2"* ]] || { echo "got: $1"; echo "wanted first: $2"; return 1; }; }
on_nodes() { kubectl get pods -l "$1" -o jsonpath='{range .items[*]}{.spec.nodeName}{"\n"}{end}' | sort | uniq -c | awk '{print $1}' | xargs; }

# Taints.
kubectl taint node node-1 dedicated=team:NoSchedule >/dev/null
kubectl taint node node-2 dedicated=team:NoSchedule >/dev/null
kubectl cordon node-3 >/dev/null
check "a pod is made that fits nowhere" pod plain 'app: plain' ''
check "it is refused" refused plain
check "and told why" begins "$(why plain)" "0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) had untolerated taint(s). preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
failed_event() { kubectl get events --field-selector involvedObject.name=plain,reason=FailedScheduling -o name | grep -q event; }
check "an event says it, too" failed_event
pod willing 'app: willing' '  tolerations: [{key: dedicated, operator: Exists}]' >/dev/null
check "who tolerates the taint is placed" scheduled willing
kubectl uncordon node-3 >/dev/null
check "the other one is placed once a node takes pods again" scheduled plain
check "on that node" equals "$(node_of plain)" node-3
kubectl taint node node-1 node-2 dedicated- >/dev/null

# Affinity.
pod named 'app: named' '  affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In, values: [node-2]}]}]}}}' >/dev/null
check "a node can be named" scheduled named
check "and is taken" equals "$(node_of named)" node-2
pod near 'app: near' '  affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchLabels: {app: named}}, topologyKey: kubernetes.io/hostname}]}}' >/dev/null
check "a pod finds the one it wants" scheduled near
check "beside it" equals "$(node_of near)" node-2
pod fond 'app: fond' '  affinity: {podAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 100, podAffinityTerm: {labelSelector: {matchLabels: {app: named}}, topologyKey: kubernetes.io/hostname}}]}}' >/dev/null
check "a preference is enough" scheduled fond
check "when nothing is against it" equals "$(node_of fond)" node-2
for i in 1 2 3 4; do
	pod "alone-$i" 'app: alone' '  affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchLabels: {app: alone}}, topologyKey: kubernetes.io/hostname}]}}' >/dev/null
done
check "of four that shun each other, one is left" refused alone-4
check "three are on nodes of their own" equals "$(on_nodes app=alone)" "1 1 1 1"
check "and the fourth knows why" begins "$(why alone-4)" "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules."
kubectl delete pod alone-1 --wait=false >/dev/null
check "it follows when one leaves" scheduled alone-4

# Spreading.
for i in 1 2 3 4 5 6; do
	pod "spread-$i" 'app: spread' '  topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: spread}}}]' >/dev/null
done
check "the last of six is placed" scheduled spread-6
check "two are on each node" equals "$(on_nodes app=spread)" "2 2 2"

# Gates.
pod gated 'app: gated' '  schedulingGates: [{name: example.com/wait}]' >/dev/null
check "a gated pod waits" equals "$(kubectl get pod gated -o jsonpath='{.status.conditions[0].reason} {.spec.nodeName}')" "SchedulingGated "
kubectl patch pod gated --type=json -p '[{"op":"remove","path":"/spec/schedulingGates/0"}]' >/dev/null
check "until its gate is gone" scheduled gated

# Priorities.
kubectl delete pod --all --wait=false >/dev/null
kubectl apply -f - >/dev/null <<END
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: important}
value: 1000
END
half=$(kubectl get node node-1 -o jsonpath='{.status.allocatable.cpu}' | awk '/m$/ {sub("m", ""); print int($1 * 0.6) "m"; next} {print int($1 * 600) "m"}')
gone() { [ -z "$(kubectl get pods -o name)" ]; }
check "all pods are gone" wait_for 30 gone
for i in 1 2 3; do pod "low-$i" 'app: low' '' "cpu: $half" >/dev/null; done
for i in 1 2 3; do check "low-$i is placed" scheduled "low-$i"; done
pod high 'app: high' '  priorityClassName: important' "cpu: $half" >/dev/null
check "a more important pod is placed, too" scheduled high
check "one of the others had to go" equals "$(kubectl get pods -l app=low -o name | wc -l)" 2
preempted() { kubectl get events --field-selector reason=Preempted -o jsonpath='{.items[*].message}' | grep -q 'Preempted by pod .* on node node-'; }
check "an event says why" preempted
pod meek 'app: meek' '' "cpu: $half" >/dev/null
check "one that is not more important waits" refused meek
check "because nobody can go for it" begins "$(why meek)" "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."
finish
