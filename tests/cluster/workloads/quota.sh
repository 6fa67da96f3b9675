#!/usr/bin/env bash
# Quotas and limits with real pods: refused, told, and made when there is room; roles that aggregate.
source "$(dirname "$0")/../../lib/tap.sh"
source "$(dirname "$0")/../../lib/dev.sh"

check "three masters and two nodes start" dev_up 3 2 || finish
kubectl create namespace team >/dev/null
k() { kubectl -n team "$@"; }

check "a quota is made" k create quota q --hard=pods=2,requests.cpu=1,count/configmaps=3,services.nodeports=1
check "kubectl describes it" contains "$(k describe quota q)" "requests.cpu"
check "and shows it" contains "$(k get quota q)" "pods: 0/2"
check "a pod must say what it wants" contains "$(k run bare --image="$image" -- sleep 1 2>&1)" \
	'pods "bare" is forbidden: failed quota: q: must specify requests.cpu for: bare'

limits() {
	k apply -f - <<END
apiVersion: v1
kind: LimitRange
metadata: {name: l}
spec:
  limits:
  - type: Container
    default: {cpu: 200m, memory: 64Mi}
    defaultRequest: {cpu: 100m}
    max: {cpu: 500m}
END
}
check "a LimitRange says it for them" limits
check "kubectl describes it" contains "$(k describe limits l)" "Container"

deploy() {
	k apply -f - <<END
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: web, image: $image, command: [sleep, infinity]}]
END
}
ready_is() { equals "$(k get deployment web -o jsonpath='{.status.readyReplicas}')" "$1"; }
pods_are() { equals "$(k get pods -l app=web -o name | wc -l)" "$1"; }
used_is() { equals "$(k get quota q -o jsonpath='{.status.used.pods} {.status.used.requests\.cpu}')" "$1"; }
check "a Deployment of four is made" deploy
check "two of its pods run" wait_for 30 ready_is 2
check "and no more" pods_are 2
check "they have what the LimitRange gives" equals \
	"$(k get pods -l app=web -o jsonpath='{.items[0].spec.containers[0].resources.limits.cpu} {.items[0].spec.containers[0].resources.requests.cpu} {.items[0].status.qosClass}')" \
	"200m 100m Burstable"
check "the quota is used up" used_is "2 200m"
told() { contains "$(k get events)" 'exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2'; }
check "why there are no more is told as an event" wait_for 10 told
check "a big pod is refused" contains "$(k run big --image="$image" --overrides='{"spec":{"containers":[{"name":"big","image":"i","resources":{"limits":{"cpu":"2"}}}]}}' 2>&1)" \
	"maximum cpu usage per Container is 500m, but limit is 2"

check "the quota grows" k patch quota q --type=merge -p '{"spec":{"hard":{"pods":"3"}}}'
check "a third pod runs" wait_for 20 ready_is 3
check "the quota is lifted" k delete quota q
check "all four run" wait_for 20 ready_is 4

# Room that others leave is taken.
check "a quota below what runs" k create quota q --hard=pods=4,requests.cpu=1
check "counts what is there" used_is "4 400m"
check "six are wanted" k scale deployment web --replicas=6
k delete pod "$(k get pods -l app=web -o jsonpath='{.items[0].metadata.name}')" --wait=false >/dev/null
back() { ready_is 4 && used_is "4 400m"; }
check "one goes, another takes its place" wait_for 30 back

# Ten ask at once for what is left.
many() {
	local i
	for i in 1 2 3 4 5 6 7 8 9 10; do k create configmap "m$i" >/dev/null 2>&1 & done
	wait
	equals "$(k get configmaps -o name | grep -c '/m')" 5
}
check "a quota of objects" k create quota maps --hard=count/configmaps=6
check "ten ask at once, five get it" many
check "each says why" contains "$(k create configmap more 2>&1)" "exceeded quota: maps, requested: count/configmaps=1, used: count/configmaps=6, limited: count/configmaps=6"

# Priorities narrow quotas.
gold() {
	k apply -f - <<END
apiVersion: v1
kind: ResourceQuota
metadata: {name: gold}
spec:
  hard: {pods: "0"}
  scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: In, values: [gold]}]}
END
}
check "a priority of its own" kubectl create priorityclass gold --value=1000
check "a quota for its pods alone" gold
k delete quota q >/dev/null
check "those are refused" contains "$(k run rich --image="$image" --overrides='{"spec":{"priorityClassName":"gold"}}' 2>&1)" "exceeded quota: gold"
check "others are not" k run poor --image="$image" -- sleep 1

# Roles are kept and aggregated, but ask nobody yet.
check "admin has what edit has" wait_for 10 contains "$(kubectl get clusterrole admin -o yaml)" "pods/eviction"
check "a part of view" kubectl create clusterrole crd-view --verb=get --resource=configmaps
kubectl label clusterrole crd-view rbac.authorization.k8s.io/aggregate-to-view=true >/dev/null
kubectl patch clusterrole crd-view --type=json -p '[{"op":"replace","path":"/rules/0/resources","value":["widgets"]}]' >/dev/null
has_widgets() { contains "$(kubectl describe clusterrole admin)" "widgets"; }
check "is part of admin, by way of edit" wait_for 10 has_widgets
check "roles and bindings" bash -c 'kubectl -n team create role r --verb=get --resource=pods && kubectl -n team create rolebinding b --role=r --user=ann --serviceaccount=team:default'
check "kubectl shows them" contains "$(k get rolebinding b -o wide)" "ann"

# A namespace on its way out says what is left of it.
kubectl patch -n team "$(k get configmaps -o name | grep /m | head -n 1)" --type=merge -p '{"metadata":{"finalizers":["example.com/held"]}}' >/dev/null
kubectl delete namespace team --wait=false >/dev/null
conditions() { kubectl get namespace team -o jsonpath='{range .status.conditions[*]}{.type}={.status} {end}'; }
left() {
	equals "$(conditions)" "NamespaceDeletionDiscoveryFailure=False NamespaceDeletionGroupVersionParsingFailure=False NamespaceDeletionContentFailure=False NamespaceContentRemaining=True NamespaceFinalizersRemaining=True "
}
check "a namespace that is held up says by what" wait_for 30 left
pods_gone() { equals "$(k get pods -o name)" ""; }
check "its pods are gone" wait_for 30 pods_gone
kubectl patch -n team "$(k get configmaps -o name | head -n 1)" --type=merge -p '{"metadata":{"finalizers":null}}' >/dev/null
gone() { ! kubectl get namespace team; }
check "and it goes when nothing holds it" wait_for 30 gone

check "the cluster goes away" sampan dev down --dir "$c"
finish
