# The daily commands with the kubectls of some versions: what they print, not only that they succeed.
#
#   source kubectl_flows.bash
#   run_flows VERSION...
source "$(dirname "$0")/lib.sh"
start_master
printf '#!/bin/sh\nsed -i "s/b: .2./b: \\"3\\"/" "$1"\n' >"$work/editor"
chmod +x "$work/editor"

k() { "$kubectl" --cache-dir="$work/cache-$v" -n "$ns" "$@"; }
path() { k get "$1" -o "jsonpath=$2"; }
is() { equals "$(path "$1" "$2")" "$3"; }
has() {
	local text=$1
	shift
	contains "$("$@" 2>&1)" "$text"
}
fails_with() {
	local text=$1 out
	shift
	if out=$("$@" 2>&1); then
		echo "succeeded: $out"
		return 1
	fi
	contains "$out" "$text"
}

deployment() {
	cat <<EOT
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: $1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: c, image: "$2", ports: [{containerPort: 80}], env: [{name: A, value: "1"}]}
EOT
}

config() { printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\n%s\n' "$1" "$2"; }

flows() {
	check "$v creates a namespace" k create namespace "$ns"
	check "$v finds the kinds" has deployments k api-resources
	check "$v finds the versions" has apps/v1 k api-versions
	check "$v knows the server's version" has '1.33' k version
	check "$v reads a raw path" equals "$(k get --raw /readyz)" ok

	config cm 'data: {a: "1"}' >"$work/cm.yaml"
	check "$v create -f" has created k create -f "$work/cm.yaml"
	check "$v create again conflicts" fails_with AlreadyExists k create -f "$work/cm.yaml"
	config cm2 'dta: {a: "1"}' >"$work/bad.yaml"
	check "$v an unknown field is refused" fails_with dta k create -f "$work/bad.yaml"
	check "$v ... unless told not to validate" has created k create -f "$work/bad.yaml" --validate=false
	check "$v create configmap" has created k create configmap lit --from-literal=k=v
	is configmap/lit '{.data.k}' v >/dev/null
	check "$v create secret" has created k create secret generic sec --from-literal=p=geheim
	check "$v the secret is in the clear for its reader" is secret/sec '{.data.p}' Z2VoZWlt

	deployment 2 img:1 >"$work/d.yaml"
	check "$v apply creates" has created k apply -f "$work/d.yaml"
	check "$v apply again changes nothing" has unchanged k apply -f "$work/d.yaml"
	deployment 3 img:2 >"$work/d.yaml"
	check "$v diff shows the change" has '+        image: img:2' k diff -f "$work/d.yaml"
	check "$v apply --dry-run=server" has 'server dry run' k apply --dry-run=server -f "$work/d.yaml"
	check "$v ... changed nothing" is deployment/web '{.spec.template.spec.containers[0].image}' img:1
	check "$v apply configures" has configured k apply -f "$work/d.yaml"
	check "$v ... the image" is deployment/web '{.spec.template.spec.containers[0].image}' img:2

	check "$v get" has 0/3 k get deployments
	check "$v get -o wide" has img:2 k get deployment web -o wide
	check "$v get -o yaml" has 'kind: Deployment' k get deployment web -o yaml
	check "$v get -o json" has '"kind": "Deployment"' k get deployment web -o json
	check "$v get -o name" equals "$(k get deployment web -o name)" deployment.apps/web
	check "$v get custom columns" has img:2 k get deploy web -o 'custom-columns=I:.spec.template.spec.containers[0].image'
	check "$v get by label" has web k get deployments -l app=web
	check "$v get by another label" has 'No resources' k get deployments -l app=other
	check "$v get by field" has cm k get configmaps --field-selector metadata.name=cm
	check "$v get all" has deployment.apps/web k get all
	check "$v get --sort-by" has cm k get configmaps --sort-by=.metadata.name
	check "$v get --show-labels" has app=web k get deployments --show-labels
	check "$v get what is not there" fails_with NotFound k get deployment none
	check "$v get an unknown kind" fails_with "doesn't have a resource type" k get unknownthings
	check "$v get in chunks" has cm k get configmaps --chunk-size=1
	check "$v describe" has 'img:2' k describe deployment web

	check "$v scale" has scaled k scale deployment web --replicas=5
	check "$v ... to 5" is deployment/web '{.spec.replicas}' 5
	check "$v scale --current-replicas" has scaled k scale deployment web --current-replicas=5 --replicas=4
	check "$v set image" has 'image updated' k set image deployment/web c=img:3
	check "$v set env" has 'env updated' k set env deployment/web B=2
	check "$v ... keeps what was there" is deployment/web '{.spec.template.spec.containers[0].env[*].name}' 'A B'
	check "$v label" has labeled k label deployment web tier=front
	check "$v label again is refused" fails_with overwrite k label deployment web tier=back
	check "$v label away" is deployment/web "{.metadata.labels.tier}$(k label deployment web tier- >/dev/null)" ''
	check "$v annotate" has annotate k annotate deployment web note=x
	check "$v patch strategic" has patched k patch deployment web -p '{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"img:4"}]}}}}'
	check "$v ... merged by name" is deployment/web '{.spec.template.spec.containers[0].ports[0].containerPort}' 80
	check "$v patch merge" has patched k patch configmap cm --type=merge -p '{"data":{"b":"2"}}'
	check "$v patch json" has patched k patch configmap cm --type=json -p '[{"op":"remove","path":"/data/a"}]'
	check "$v ... both" equals "$(path configmap/cm '{.data}' | tr -d ' {}"')" 'b:2'
	check "$v edit" has edited env EDITOR="$work/editor" "$kubectl" --cache-dir="$work/cache-$v" -n "$ns" edit configmap cm
	check "$v ... wrote" is configmap/cm '{.data.b}' 3
	check "$v rollout restart" has restarted k rollout restart deployment web
	check "$v rollout pause" has paused k rollout pause deployment web
	check "$v rollout resume" has resumed k rollout resume deployment web
	k get configmap cm -o yaml | sed 's/b: "3"/b: "4"/' >"$work/r.yaml"
	check "$v replace" has replaced k replace -f "$work/r.yaml"
	check "$v replace of what has changed since conflicts" fails_with Conflict k replace -f "$work/r.yaml"

	check "$v run" has created k run pod1 --image=img
	check "$v expose" has exposed k expose deployment web --port 80
	check "$v ... got an address" has 10.96. k get service web
	check "$v explain" has containers k explain pod.spec
	check "$v explain deeper" has 'configMap' k explain deployment.spec.template.spec.volumes
	check "$v events" k get events
	check "$v auth can-i" equals "$(k auth can-i create pods)" yes

	k get configmaps -w --request-timeout=20s >"$work/watch-$v" 2>&1 &
	local watcher=$!
	wait_for 10 grep -q '^cm ' "$work/watch-$v" >/dev/null
	k create configmap watched --from-literal=a=b >/dev/null
	check "$v get -w sees a new object" wait_for 10 grep -q '^watched ' "$work/watch-$v"
	kill $watcher 2>/dev/null
	wait $watcher 2>/dev/null

	check "$v delete waits" has deleted k delete configmap cm --timeout=20s
	check "$v ... it is gone" fails_with NotFound k get configmap cm
	check "$v delete by label" has deleted k delete deployment -l app=web --timeout=20s
	check "$v delete what is not there" fails_with NotFound k delete configmap cm
	check "$v delete --ignore-not-found" k delete configmap cm --ignore-not-found
	check "$v delete --all" has deleted k delete configmaps --all --timeout=20s
	check "$v delete namespace" has deleted "$kubectl" --cache-dir="$work/cache-$v" delete namespace "$ns" --timeout=60s
}

newer() {
	check "$v auth whoami" has system:masters k auth whoami
	check "$v create token" has . k create token default
	check "$v get --subresource" has web k get deployment web --subresource=status
	check "$v wait" k wait --for=jsonpath='{.spec.replicas}'=3 deployment/web --timeout=10s
	check "$v events command" k events
}

run_flows() {
	local n=0
	for kubectl in $(kubectls); do
		v=$(kubectl_version "$kubectl")
		[[ " $* " == *" $v "* ]] || continue
		n=$((n + 1))
		ns=t-${v/./-}
		flows
		[ "$v" = 1.20 ] && continue
		k create namespace "$ns-b" >/dev/null
		ns=$ns-b
		deployment 3 img:1 | k apply -f - >/dev/null
		wait_for 20 k get serviceaccount default >/dev/null
		newer
		k delete namespace "$ns" --wait=false >/dev/null
	done
	[ $n -gt 0 ] || skip "kubectl $*" "none of them is here"
	check "the master is alive" master_alive
	finish
}
