#!/usr/bin/env bash
# An Ingress from kubectl to the answer: class, address, certificate, events, and what follows a rollout.
source "$(dirname "$0")/../../lib/tap.sh"
source "$(dirname "$0")/../../lib/dev.sh"

check "three masters and two nodes start" dev_up 3 2 || finish

deploy() {
	kubectl apply -f - <<END
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: web
        image: $image
        command: [sh, -c, 'echo \$VERSION >/tmp/index.html; httpd -p 8080 -h /tmp; trap "sleep 1; exit" TERM; while :; do sleep 0.1; done']
        env: [{name: VERSION, value: one}]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
END
	kubectl rollout status deployment/web --timeout=60s
}
lan() { nsenter --net="$c/netns/lan" "$@"; }
addresses() { kubectl get ingress "$1" -o jsonpath='{.status.loadBalancer.ingress[*].ip}'; }
has_addresses() { equals "$(addresses web | wc -w)" 2; }
answers() { # ADDRESS WANTED
	equals "$(lan curl -s --max-time 3 -H 'Host: web.example.com' "http://$1/")" "$2"
}
secure() { # ADDRESS
	lan curl -s --max-time 3 --cacert "$work/tls.crt" --resolve "web.example.com:443:$1" "https://web.example.com/"
}
secured() { equals "$(secure "$1")" one; }
has_event() { contains "$(kubectl get events --field-selector "involvedObject.name=$1" -o jsonpath='{range .items[*]}{.reason}: {.message}{"\n"}{end}')" "$2"; }
hammer() { # ADDRESS: until the file stop is there
	local n=0 failed=0
	while [ ! -e "$work/stop" ]; do
		n=$((n + 1))
		[ "$(lan curl -s --max-time 3 -o /dev/null -w '%{http_code}' -H 'Host: web.example.com' "http://$1/")" = 200 ] || failed=$((failed + 1))
	done
	echo "$failed of $n"
}
roll() {
	kubectl set env deployment/web VERSION=two && kubectl rollout status deployment/web --timeout=60s
}

check "a Deployment runs" deploy || finish
check "the class is there, and the default" contains "$(kubectl get ingressclass)" "sampan (default)"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=web.example.com \
	-addext subjectAltName=DNS:web.example.com -keyout "$work/tls.key" -out "$work/tls.crt" 2>/dev/null
check "an Ingress is made" kubectl create ingress web '--rule=web.example.com/*=web:http' || finish
check "it has the addresses of both nodes" wait_for 10 has_addresses
set -- $(addresses web)
check "each of them answers" wait_for 15 answers "$1" one
check "even one without" wait_for 15 answers "$2" one
check "kubectl shows it" contains "$(kubectl get ingress web)" "web.example.com   $1,$2   80"
check "and describes it" contains "$(kubectl describe ingress web)" "web:http ("
check "an Ingress without its Service is told so" kubectl create ingress lost '--rule=lost.example.com/*=lost:80'
check "by an event" wait_for 5 has_event lost 'ServiceNotFound: service "lost" not found'
check "a wrong annotation is refused" kubectl annotate ingress lost ingress.sampan.io/colour=blue
check "by an event as well" wait_for 5 has_event lost "Rejected: there is no annotation ingress.sampan.io/colour"
check "a certificate is made" kubectl create secret tls web-tls --cert="$work/tls.crt" --key="$work/tls.key"
check "and named" kubectl patch ingress web --type=merge -p '{"metadata":{"annotations":{"ingress.sampan.io/ssl-redirect":"false"}},"spec":{"tls":[{"hosts":["web.example.com"],"secretName":"web-tls"}]}}'
check "it is used" wait_for 10 secured "$1"
hammer "$1" >"$work/hammered" &
check "a new version rolls out" roll
touch "$work/stop"
wait $!
check "without a failed request" contains " $(cat "$work/hammered")" " 0 of "
check "and answers" wait_for 5 answers "$2" two
check "an Ingress that is gone is not served" kubectl delete ingress web
check "at all" wait_for 10 equals "$(sleep 1; lan curl -s --max-time 3 -o /dev/null -w '%{http_code}' -H 'Host: web.example.com' "http://$1/")" 404
finish
