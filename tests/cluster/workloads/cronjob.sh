#!/usr/bin/env bash
# CronJobs start Jobs with real containers, minute after minute, whoever leads.
source "$(dirname "$0")/../../lib/tap.sh"
source "$(dirname "$0")/../../lib/dev.sh"

check "three masters and a node start" dev_up 3 1 || finish

jobs_of() { kubectl get jobs -o jsonpath="{range .items[?(@.metadata.ownerReferences[0].name=='$1')]}{.metadata.name}{'\n'}{end}"; }
some_of() { [ "$(jobs_of "$1" | wc -l)" -ge "$2" ]; }
ready() { [ -n "$(kubectl get cronjob "$1" -o jsonpath="{.status.$2}")" ]; }

check "kubectl create cronjob" kubectl create cronjob minutely --image="$image" --schedule='@yearly' -- sh -c 'echo tick'
check "kubectl get cronjob shows it" contains "$(kubectl get cronjob minutely --no-headers | xargs)" 'minutely @yearly <none> False 0 <none>'
check "a schedule that is none" contains "$(kubectl create cronjob bad --image=x --schedule='61 * * * *' 2>&1)" "end of range (61) above maximum (59)"
check "a time zone in it" contains "$(kubectl create cronjob bad --image=x --schedule='TZ=UTC 0 * * * *' 2>&1)" "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
check "a zone that is none" contains "$(kubectl patch cronjob minutely -p '{"spec":{"timeZone":"Europe/Atlantis"}}' 2>&1)" "unknown time zone Europe/Atlantis"
check "every minute, in one that is" kubectl patch cronjob minutely -p '{"spec":{"schedule":"* * * * *","timeZone":"Asia/Kathmandu"}}'
long=$(printf 'x%.0s' $(seq 53))
check "a name that is too long" contains "$(kubectl create cronjob "$long" --image=x --schedule='@daily' 2>&1)" "must be no more than 52 characters"
check "a schedule of names" kubectl create cronjob named --image="$image" --schedule='@monthly' -- true
every() { # NAME POLICY: due every other second; Jobs are named after minutes, so each minute has one.
	kubectl apply -f - <<END
apiVersion: batch/v1
kind: CronJob
metadata: {name: $1}
spec:
  schedule: "@every 2s"
  concurrencyPolicy: $2
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          terminationGracePeriodSeconds: 1
          containers: [{name: c, image: $image, command: [sleep, "600"]}]
END
}
check "one that waits for its Job" every waits Forbid
check "and one that replaces it" every replaces Replace
check "both start a Job" wait_for 20 some_of waits 1
check "and note it" wait_for 10 ready waits 'active[0].name'
wait_for 20 some_of replaces 1
first=$(jobs_of replaces)
told() { kubectl get events --field-selector "reason=$1,involvedObject.name=$2" -o name | grep -q .; }
check "in the next minute one is forbidden" wait_for 70 told JobAlreadyActive waits
check "and there is no second one" equals "$(jobs_of waits | wc -l)" 1
check "the other is replaced" wait_for 20 told SuccessfulDelete replaces
other() { [ "$(jobs_of replaces | wc -l)" = 1 ] && [ "$(jobs_of replaces)" != "$first" ]; }
check "by a new one" wait_for 20 other
check "suspended" kubectl patch cronjob replaces -p '{"spec":{"suspend":true}}'
check "and deleted" kubectl delete cronjob waits replaces
gone() { [ -z "$(jobs_of waits)$(jobs_of replaces)" ]; }
check "they take their Jobs along" wait_for 20 gone

check "a Job by hand" kubectl create job --from=cronjob/named by-hand
check "runs" kubectl wait --for=condition=Complete job/by-hand --timeout=30s
check "and is the CronJob's" equals "$(jobs_of named)" by-hand

who=$(wait_for 10 leader) && kill -9 "$(pid_of "master-$who")"
check "the leader is killed and comes back" sampan dev up --dir "$c"
check "the minute comes" wait_for 70 some_of minutely 1
job=$(jobs_of minutely | head -n 1)
check "its Job completes" kubectl wait --for=condition=Complete "job/$job" --timeout=30s
at=$(kubectl get job "$job" -o jsonpath='{.metadata.annotations.batch\.kubernetes\.io/cronjob-scheduled-timestamp}')
check "says when it was due, in its zone" contains "$at" "+05:45"
check "and is named after that minute" equals "$job" "minutely-$(($(date -d "$at" +%s) / 60))"
check "its log is there" equals "$(kubectl logs "job/$job")" tick
check "the success is noted" wait_for 10 ready minutely lastSuccessfulTime
check "kubectl describe tells" contains "$(kubectl describe cronjob minutely)" "SuccessfulCreate"
check "the cluster goes away" sampan dev down --dir "$c"
finish
