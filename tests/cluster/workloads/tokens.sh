#!/usr/bin/env bash
# Secrets that are filled and that end: tokens of ServiceAccounts and bootstrap tokens; the root CA.
source "$(dirname "$0")/../api/lib.sh"
start_master

secret() {
	kubectl apply -f - <<END
apiVersion: v1
kind: Secret
metadata:
  name: bot-token
  annotations: {kubernetes.io/service-account.name: bot}
type: kubernetes.io/service-account-token
END
}
data() { kubectl get secret bot-token -o jsonpath="{.data.$1}" | base64 -d; }
check "an account" kubectl create serviceaccount bot
check "a Secret for its token" secret
check "it is filled with the namespace" equals "$(data namespace)" default
check "and the cluster's CA" equals "$(data 'ca\.crt')" "$(cat "$pki/ca.crt")"
token=$(data token)
who() {
	curl -sS --max-time 20 --cacert "$pki/ca.crt" -H "Authorization: Bearer $token" -H 'Content-Type: application/json' \
		-d '{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}' \
		"$server/apis/authentication.k8s.io/v1/selfsubjectreviews"
}
check "the token says who it is" contains "$(who)" "system:serviceaccount:default:bot"
check "kubectl describes it" contains "$(kubectl describe secret bot-token)" "token:"
check "an edit changes nothing of it" kubectl label secret bot-token x=y
check "the token is the same" equals "$(data token)" "$token"
no_secret() { ! kubectl get secret "$@"; }
check "the account goes" kubectl delete serviceaccount bot
check "its token goes with it" wait_for 10 no_secret bot-token
check "and is worth nothing" contains "$(who)" '"code":401'
check "a token for nobody" secret
check "does not stay" wait_for 10 no_secret bot-token

bootstrap() {
	kubectl -n kube-system apply -f - <<END
apiVersion: v1
kind: Secret
metadata: {name: bootstrap-token-$1}
type: bootstrap.kubernetes.io/token
stringData:
  token-id: $1
  token-secret: 0123456789abcdef
  usage-bootstrap-authentication: "true"
  expiration: "$2"
END
}
check "a bootstrap token for three seconds" bootstrap aaaaaa "$(date -u -d '+3 seconds' +%Y-%m-%dT%H:%M:%SZ)"
check "and one for an hour" bootstrap bbbbbb "$(date -u -d '+1 hour' +%Y-%m-%dT%H:%M:%SZ)"
check "the first one ends" wait_for 15 no_secret -n kube-system bootstrap-token-aaaaaa
check "the other does not" kubectl -n kube-system get secret bootstrap-token-bbbbbb

ca() { kubectl -n "$1" get configmap kube-root-ca.crt -o jsonpath='{.data}'; }
right=$(ca default)
for ns in default kube-system; do
	kubectl -n $ns patch configmap kube-root-ca.crt --type=merge -p '{"data":{"ca.crt":"nonsense","more":"x"}}' >/dev/null
	is_right() { equals "$(ca $ns)" "$right"; }
	check "the root CA of $ns is mended" wait_for 10 is_right
	kubectl -n $ns delete configmap kube-root-ca.crt >/dev/null
	check "and made again" wait_for 10 is_right
done
check "the master lives" master_alive
finish
