#!/usr/bin/env bash
# kubectl top shows what pods use, from any master and after a failover; an autoscaler follows it up and down.
source "$(dirname "$0")/../../lib/tap.sh"
source "$(dirname "$0")/../../lib/dev.sh"

check "three masters and two nodes start" dev_up 3 2 || finish

deploy() {
	kubectl apply -f - <<END
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: burn
        image: $image
        command: [sh, -c, 'while :; do [ -e /tmp/stop ] && sleep 1; done']
        resources: {requests: {cpu: 50m}, limits: {cpu: 100m}}
      - {name: idle, image: $image, command: [sleep, infinity], resources: {requests: {cpu: 10m}}}
END
	kubectl rollout status deployment/web --timeout=60s
}
autoscale() {
	kubectl apply -f - <<END
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 1
  maxReplicas: 3
  metrics:
  - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}
  behavior:
    scaleDown: {stabilizationWindowSeconds: 5, policies: [{type: Percent, value: 100, periodSeconds: 5}]}
END
}
top_shows() { # Processors in use by the container, in thousandths: at least so many.
	local used
	used=$(kubectl top pods --containers --no-headers | awk -v c="$1" '$2 == c {sub("m", "", $3); print $3; exit}')
	[ "${used:-0}" -ge "$2" ] || { kubectl top pods --containers; return 1; }
}
usage_of_nodes() { [ "$(kubectl top nodes --no-headers | wc -l)" -eq 2 ]; }
replicas_are() { [ "$(kubectl get deployment web -o jsonpath='{.spec.replicas}')" -eq "$1" ]; }
condition() { kubectl get hpa web -o jsonpath="{.status.conditions[?(@.type=='$1')].$2}"; }
# Kept connections would always reach the same master: each call makes a new one.
any_master() {
	for _ in 1 2 3 4 5 6 7 8; do
		kubectl get --raw /apis/metrics.k8s.io/v1beta1/nodes/node-1 >/dev/null || return 1
	done
}
events_of_autoscaler() { kubectl get events --field-selector involvedObject.kind=HorizontalPodAutoscaler -o jsonpath='{.items[*].reason}'; }

check "a Deployment that burns" deploy || finish
check "kubectl top nodes" wait_for 30 usage_of_nodes
check "kubectl top pods --containers shows what burns" wait_for 40 top_shows burn 50
check "and what does not" contains "$(kubectl top pods --containers --no-headers | awk '$2 == "idle" {print $3}' | head -n 1)" m
check "a label selector" equals "$(kubectl top pods -l app=nothing --no-headers 2>/dev/null | wc -l)" 0
check "every master knows" any_master
check "a pod there is not" contains "$(kubectl get --raw /apis/metrics.k8s.io/v1beta1/namespaces/default/pods/none 2>&1)" NotFound
check "kubectl explain" contains "$(kubectl explain podmetrics.containers)" usage
check "as a table" contains "$(kubectl get nodes.metrics.k8s.io --no-headers)" node-1

check "an autoscaler" autoscale
check "kubectl get hpa shows its target" contains "$(kubectl get hpa web --no-headers)" "Deployment/web"
check "autoscaling/v1 shows the same object" equals \
	"$(kubectl get --raw /apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers/web | grep -o '"targetCPUUtilizationPercentage":[0-9]*')" \
	'"targetCPUUtilizationPercentage":50'
check "up to the maximum" wait_for 45 replicas_are 3
check "it says why" contains "$(events_of_autoscaler)" SuccessfulRescale
check "ScalingActive" equals "$(condition ScalingActive reason)" ValidMetricFound
check "kubectl describe" contains "$(kubectl describe hpa web)" "resource cpu on pods"

kill -9 "$(pid_of "master-$(leader)")"
check "a new leader knows what is used within a period" wait_for 20 top_shows burn 50
calm() {
	local pod
	for pod in $(kubectl get pods -l app=web -o name); do
		kubectl exec "$pod" -c burn -- touch /tmp/stop || return 1
	done
}
check "the pods come to rest" wait_for 30 calm
check "down to the minimum" wait_for 75 replicas_are 1

finish
