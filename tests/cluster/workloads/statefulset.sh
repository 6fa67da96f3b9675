#!/usr/bin/env bash
# A StatefulSet with real containers: order, names, partition, history, OnDelete, claims.
source "$(dirname "$0")/../../lib/tap.sh"
source "$(dirname "$0")/../../lib/dev.sh"

check "a master and two nodes start" dev_up 1 2 || finish

manifest() {
	cat <<END
apiVersion: v1
kind: Service
metadata: {name: peers}
spec:
  clusterIP: None
  selector: {app: web}
  ports: [{port: 8080}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  serviceName: peers
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: $image
        env: [{name: VERSION, value: "1"}]
        command: [sh, -c, 'echo \$HOSTNAME >/tmp/index.html; exec httpd -f -p 8080 -h /tmp']
        ports: [{containerPort: 8080}]
        readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: $image, command: [sleep, infinity]}]
END
}
come_up() {
	manifest | kubectl apply -f - && kubectl rollout status statefulset/web --timeout=60s &&
		kubectl wait --for=condition=Ready pod/client --timeout=30s
}
pod() { kubectl get pod "$1" -o jsonpath="{$2}"; }
uids() { kubectl get pods -l app=web --sort-by=.metadata.name -o jsonpath='{range .items[*]}{.metadata.uid}{"\n"}{end}'; }
versions() { kubectl get pods -l app=web --sort-by=.metadata.name -o jsonpath='{.items[*].spec.containers[0].env[0].value}'; }
set_version() { kubectl set env statefulset/web VERSION="$1"; }
patch() { kubectl patch statefulset web --type=merge -p "$1"; }
rolled() { kubectl rollout status statefulset/web --timeout=60s; }
runs() { [ "$(versions)" = "$1" ] && [ "$(kubectl get statefulset web -o jsonpath='{.status.readyReplicas}')" = "$(wc -w <<<"$1")" ]; }
ask() { kubectl exec client -- timeout 5 wget -qO- "http://$1:8080/"; }

check "three pods come up" come_up || finish
# Whole seconds: the one after is made when the one before is ready, in the same second at best.
in_order() {
	local i
	for i in 1 2; do
		[[ ! "$(pod web-$i .metadata.creationTimestamp)" < "$(pod web-$((i - 1)) '.status.conditions[?(@.type=="Ready")].lastTransitionTime')" ]] || {
			kubectl get pods -o yaml | grep -E 'name: web|Timestamp|TransitionTime'
			return 1
		}
	done
}
check "one after the other" in_order
check "each knows its name" equals "$(kubectl exec web-2 -- hostname -f)" web-2.peers.default.svc.cluster.local
answers() { [ "$(ask "$1" | tail -1)" = "$2" ]; }
check "and is found by it" wait_for 10 answers web-1.peers web-1
check "the index is a label" equals "$(pod web-2 '.metadata.labels.apps\.kubernetes\.io/pod-index')" 2
check "kubectl get says so" contains "$(kubectl get statefulset web)" "3/3"
check "kubectl describe, too" contains "$(kubectl describe statefulset web | tr -s ' ')" "Pods Status: 3 Running / 0 Waiting"

before=$(uids)
patch '{"spec":{"updateStrategy":{"rollingUpdate":{"partition":2}}}}' >/dev/null
set_version 2 >/dev/null
check "a partitioned update reaches the last" wait_for 30 runs "1 1 2"
check "kubectl knows" contains "$(rolled)" "partitioned roll out complete: 1 new pods"
check "the others are the same" equals "$(uids | head -2)" "$(head -2 <<<"$before")"
patch '{"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}}' >/dev/null
check "without the partition all are updated" wait_for 60 runs "2 2 2"
check "and found under their names" wait_for 10 answers web-2.peers web-2
check "there are two revisions" equals "$(kubectl rollout history statefulset/web | grep -cE '^[0-9]')" 2
check "the first is what it was" contains "$(kubectl rollout history statefulset/web --revision=1)" "VERSION:	1"
kubectl rollout undo statefulset/web >/dev/null
check "undo brings it back" wait_for 60 runs "1 1 1"
check "as the newest revision" equals "$(kubectl get controllerrevisions --sort-by=.revision -o jsonpath='{.items[*].revision}')" "2 3"
check "current is what is updated to" equals "$(kubectl get statefulset web -o jsonpath='{.status.currentRevision}')" \
	"$(kubectl get statefulset web -o jsonpath='{.status.updateRevision}')"

force() {
	local uid=$1
	kubectl delete pod web-1 --force --grace-period=0
	wait_for 30 runs "1 1 1" && [ "$(pod web-1 .metadata.uid)" != "$uid" ]
}
check "a pod deleted by force is replaced" force "$(pod web-1 .metadata.uid)"

# At every moment who is left is web-0, or web-0 and web-1, or all three.
scale_down() {
	local until=$((SECONDS + 40)) left
	kubectl scale statefulset web --replicas=1
	while [ $SECONDS -lt $until ]; do
		left=$(kubectl get pods -l app=web --sort-by=.metadata.name -o name | xargs)
		case "$left" in
		pod/web-0) return 0 ;;
		"pod/web-0 pod/web-1" | "pod/web-0 pod/web-1 pod/web-2") ;;
		*) break ;;
		esac
	done
	echo "left: $left"
	return 1
}
check "scaled down, the highest goes first" scale_down
patch '{"spec":{"updateStrategy":{"type":"OnDelete","rollingUpdate":null}}}' >/dev/null
before=$(uids)
set_version 3 >/dev/null
observed() { [ "$(kubectl get statefulset web -o jsonpath='{.status.observedGeneration}')" = "$(kubectl get statefulset web -o jsonpath='{.metadata.generation}')" ]; }
check "OnDelete: the update is seen" wait_for 10 observed
check "and nothing happens" equals "$(versions) $(uids)" "1 $before"
kubectl delete pod web-0 --wait=false >/dev/null
check "until somebody deletes the pod" wait_for 30 runs 3

patch '{"spec":{"updateStrategy":{"type":"RollingUpdate"}}}' >/dev/null
restart() { kubectl rollout restart statefulset/web && rolled && [ "$(uids)" != "$1" ]; }
check "restart replaces it" restart "$(uids)"
check "a selector cannot change" contains "$(patch '{"spec":{"serviceName":"other"}}' 2>&1)" \
	"updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template'"
gone() {
	kubectl delete statefulset web && wait_for 20 no_pods
}
no_pods() { [ -z "$(kubectl get pods -l app=web -o name)" ]; }
check "deleted, its pods go" gone

# Whether pods with claims run is for others to look at: here claims come and go with their set.
kept() {
	kubectl apply -f - <<END
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: kept}
spec:
  replicas: 2
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: kept}}
  persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete, whenScaled: Delete}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
  template:
    metadata: {labels: {app: kept}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: a, image: $image, command: [sleep, infinity], volumeMounts: [{name: data, mountPath: /data}]}
END
}
claims_are() { [ "$(kubectl get pvc -l app=kept -o name | xargs)" = "$1" ]; }
check "a set with claims" kept
check "has one for each pod" wait_for 15 claims_are "persistentvolumeclaim/data-kept-0 persistentvolumeclaim/data-kept-1"
check "its pods name them" equals "$(pod kept-1 '.spec.volumes[?(@.name=="data")].persistentVolumeClaim.claimName')" data-kept-1
kubectl scale statefulset kept --replicas=1 >/dev/null
check "scaled down, the claim goes with its pod" wait_for 30 claims_are persistentvolumeclaim/data-kept-0
kubectl delete statefulset kept >/dev/null
check "deleted, the rest goes with the set" wait_for 30 claims_are ""

check "the cluster goes away" sampan dev down --dir "$c"
finish
