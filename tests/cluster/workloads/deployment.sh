#!/usr/bin/env bash
# Deployments, ReplicaSets and ReplicationControllers with real containers: limits of a rollout,
# rollover, history, pause, scaling in the middle, Recreate, quota, and the older kind.
source "$(dirname "$0")/../../lib/tap.sh"
source "$(dirname "$0")/../../lib/dev.sh"

check "a master and two nodes start" dev_up 1 2 || finish

manifest() { # REPLICAS
	cat <<END
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: {kubernetes.io/change-cause: first}}
spec:
  replicas: $1
  progressDeadlineSeconds: 600
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 1}}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: $image
        env: [{name: VERSION, value: "1"}]
        command: [sh, -c, 'touch /tmp/ready; exec sleep infinity']
        readinessProbe: {exec: {command: [test, -e, /tmp/ready]}, periodSeconds: 1}
END
}
rolled() { kubectl rollout status "${1:-deployment/web}" --timeout=60s; }
set_version() { kubectl set env deployment/web VERSION="$1"; }
field() { kubectl get "$1" -o jsonpath="{$2}"; }
# Versions of the pods that are not on their way out, sorted.
versions() {
	kubectl get pods -l app=web -o jsonpath='{range .items[*]}{.metadata.deletionTimestamp}|{.spec.containers[0].env[0].value}{"\n"}{end}' |
		sed -n 's/^|//p' | sort | xargs
}
versions_are() { equals "$(versions)" "$1"; }

check "four pods come up" eval 'manifest 4 | kubectl apply -f - && rolled'

# Looks at the Deployment until the rollout is over: never more than five, never fewer than three.
watch_rollout() {
	local until=$((SECONDS + 60)) all available updated
	set_version "$1"
	while [ $SECONDS -lt $until ]; do
		read -r all available updated <<<"$(kubectl get deployment web -o jsonpath='{.status.replicas} {.status.availableReplicas} {.status.updatedReplicas}')"
		if [ "$all" -gt 5 ] || [ "$available" -lt 3 ]; then
			echo "$all pods, $available available"
			return 1
		fi
		[ "$(versions)" != "$1 $1 $1 $1" ] || return 0
	done
	echo "it never ends: $(versions)"
	return 1
}
check "a rollout keeps its limits" watch_rollout 2
check "and ends" rolled
kubectl annotate deployment web kubernetes.io/change-cause=second --overwrite >/dev/null
caused() { contains "$(kubectl rollout history deployment/web)" second; }
check "history tells the causes" wait_for 10 caused
check "and what was in the first" contains "$(kubectl rollout history deployment/web --revision=1)" "VERSION:	1"

# A version that never gets ready, then another before it ends: what is broken goes, three keep serving.
break_it() {
	kubectl patch deployment web --type=json -p '[{"op": "replace", "path": "/spec/template/spec/containers/0/command", "value": ["sleep", "infinity"]},
		{"op": "replace", "path": "/spec/template/spec/containers/0/env/0/value", "value": "bad"}]'
}
break_it >/dev/null
check "a broken version stops where it is" wait_for 20 versions_are "2 2 2 bad bad"
scaled() { equals "$(kubectl get replicasets -l app=web -o jsonpath='{range .items[*]}{.spec.replicas}{"\n"}{end}' | sort -n | xargs)" "$1"; }
kubectl scale deployment web --replicas=10 >/dev/null
# At most 11 in place of 5: the larger set gets 3 * 11 / 5, the other one 2 * 11 / 5.
check "scaled meanwhile, both sets grow in proportion" wait_for 20 scaled "0 4 7"
kubectl scale deployment web --replicas=4 >/dev/null
check "and shrink" wait_for 20 scaled "0 2 3"
check "undo brings the version before" eval 'kubectl rollout undo deployment/web && rolled && wait_for 20 versions_are "2 2 2 2"'
check "as a new revision" equals "$(field deployment/web '.metadata.annotations.deployment\.kubernetes\.io/revision')" 4

kubectl rollout pause deployment/web >/dev/null
set_version 3 >/dev/null
paused() { contains "$(field deployment/web '.status.conditions[?(@.type=="Progressing")].reason')" DeploymentPaused; }
check "paused it says so" wait_for 10 paused
kubectl scale deployment web --replicas=5 >/dev/null
check "and only scales" wait_for 20 versions_are "2 2 2 2 2"
check "resumed it goes on" eval 'kubectl rollout resume deployment/web && rolled && wait_for 20 versions_are "3 3 3 3 3"'
restart() {
	local before
	before=$(kubectl get pods -l app=web -o name)
	kubectl rollout restart deployment/web && rolled && [ -z "$(kubectl get pods -l app=web -o name | grep -Fxf <(echo "$before"))" ]
}
check "restart replaces every pod" wait_for 1 restart

# Recreate: no moment with both versions.
kubectl patch deployment web --type=merge -p '{"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}}' >/dev/null
recreate() {
	local until=$((SECONDS + 60)) all
	set_version 4
	while [ $SECONDS -lt $until ]; do
		all=$(kubectl get pods -l app=web -o jsonpath='{.items[*].spec.containers[0].env[0].value}')
		[[ $all != *3*4* && $all != *4*3* ]] || { echo "both run: $all"; return 1; }
		[ "$all" != "4 4 4 4 4" ] || return 0
	done
	echo "it never ends: $all"
	return 1
}
check "Recreate ends the old before the new begin" recreate
check "kubectl describe tells what happened" contains "$(kubectl describe deployment web | tr -s ' ')" "Scaled up replica set web-"

# A quota lets some through; what is missing is told, and made when there is room.
quota() {
	kubectl create quota few --hard=pods=6 && kubectl scale deployment web --replicas=8
}
check "a quota" quota
failed() { contains "$(field deployment/web '.status.conditions[?(@.type=="ReplicaFailure")].message')" "exceeded quota: few"; }
check "what it forbids is a condition" wait_for 20 failed
check "what it allows is there" wait_for 10 versions_are "4 4 4 4 4 4"
check "the event says why" contains "$(kubectl get events)" "Error creating: pods"
recovered() { versions_are "4 4 4 4 4 4 4 4" && equals "$(field deployment/web '.status.conditions[?(@.type=="ReplicaFailure")].type')" ""; }
check "without it the rest comes at once" eval 'kubectl delete quota few && wait_for 15 recovered'

orphan() {
	local set=$1
	kubectl delete deployment web --cascade=orphan && kubectl get replicaset "$set" -o name && versions_are "4 4 4 4 4 4 4 4" &&
		kubectl scale replicaset "$set" --replicas=2 && wait_for 20 versions_are "4 4"
}
check "without its Deployment a ReplicaSet goes on" orphan "$(kubectl get pods -l app=web -o jsonpath='{.items[0].metadata.ownerReferences[0].name}')"

rc() {
	kubectl apply -f - <<END
apiVersion: v1
kind: ReplicationController
metadata: {name: older}
spec:
  replicas: 2
  template:
    metadata: {labels: {app: older}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: a, image: $image, command: [sleep, infinity]}]
END
	wait_for 30 older 2
}
older() { equals "$(field rc/older .status.readyReplicas)" "$1"; }
check "a ReplicationController runs its pods" rc
check "its selector is its template's labels" equals "$(kubectl get rc older -o wide --no-headers | awk '{print $NF}')" app=older
check "it scales" eval 'kubectl scale rc older --replicas=3 && wait_for 30 older 3'
left() { equals "$(kubectl get pods -l app=older -o name | wc -l)" 3 && [ -z "$(kubectl get rc -o name)" ]; }
check "deleted without a policy it leaves its pods" eval 'kubectl delete --raw /api/v1/namespaces/default/replicationcontrollers/older && wait_for 10 left'

check "the cluster goes away" sampan dev down --dir "$c"
finish
