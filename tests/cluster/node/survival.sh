#!/usr/bin/env bash
# Pods and Services survive the death of agents, proxies and leaders; a dead node's pods are replaced.
source "$(dirname "$0")/../../lib/tap.sh"
source "$(dirname "$0")/../../lib/dev.sh"

check "three masters and two nodes start" dev_up 3 2 || finish

deploy() {
	kubectl apply -f - <<END
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
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 5}
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 5}
      containers:
      - name: web
        image: $image
        command: [sh, -c, 'echo \$HOSTNAME >/tmp/index.html; exec httpd -f -p 8080 -h /tmp']
        ports: [{containerPort: 8080}]
        readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  terminationGracePeriodSeconds: 1
  nodeSelector: {kubernetes.io/hostname: node-2}
  containers: [{name: c, image: $image, command: [sleep, infinity]}]
END
	kubectl rollout status deployment/web --timeout=60s && kubectl wait --for=condition=Ready pod/client --timeout=60s
}
incarnations() {
	kubectl get pods -o jsonpath='{range .items[*]}{.metadata.uid} {.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}{"\n"}{end}' | sort
}
ask() { # HOST: how many of 12 questions to the Service are answered.
	kubectl exec client -- sh -c 'n=0; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do timeout 2 wget -qO /dev/null http://'"$1"' && n=$((n + 1)); done; echo $n'
}
pods_on() { kubectl get pods -l app=web --field-selector=spec.nodeName="$1" -o name | wc -l; }

check "a Deployment runs on both nodes" deploy || finish
check "its Service answers by name" equals "$(ask web)" 12
ip=$(kubectl get service web -o jsonpath='{.spec.clusterIP}')
before=$(incarnations)

kill -9 "$(pid_of node-1-agent)" "$(pid_of node-1-proxy)" "$(pid_of node-2-proxy)"
# Names are the proxy's to answer, addresses the kernel's.
check "the Service answers while agents and proxies are dead" equals "$(ask "$ip")" 12
check "they start again" sampan dev up --dir "$c"
check "no container was started anew" equals "$(incarnations)" "$before"

kill_leaders() {
	local i who
	for i in $(seq "$1"); do
		who=$(wait_for 10 leader) && [ -n "$who" ] || return 1
		kill -9 "$(pid_of "master-$who")"
		wait_for 10 kubectl get --raw /readyz || return 1
		sampan dev up --dir "$c" || return 1
	done
}
check "${LEADER_KILLS:-6} leaders are killed, one after the other" kill_leaders "${LEADER_KILLS:-6}"
check "nothing was evicted or restarted" equals "$(incarnations)" "$before"
check "the Service still answers" equals "$(ask web)" 12

replaced() { [ "$(kubectl get deployment web -o jsonpath='{.status.readyReplicas}')" = 4 ] && [ "$(pods_on node-2)" -ge 4 ]; }
node_power_off node-1
began=$(date +%s%N)
check "the dead node's pods are replaced on the other" wait_for 25 replaced
took=$((($(date +%s%N) - began) / 1000000))
check "within 15 s (took $took ms)" test $took -le 15000
check "the Service answers from what is left" equals "$(ask web)" 12
check "the node comes back" sampan dev up --dir "$c"

parent=$(sed -n 's/^cgroup_parent = //p' "$c/node-1/agent.conf")
leftovers() {
	grep -F "$c/" /proc/self/mountinfo
	find /sys/fs/cgroup -maxdepth 2 -path "*$parent*"
	pgrep -af "$c/"
	ls -A "$c" 2>/dev/null
}
check "the cluster goes away" sampan dev down --dir "$c"
check "and leaves nothing behind" equals "$(leftovers)" ""
finish
