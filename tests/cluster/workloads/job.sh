#!/usr/bin/env bash
# Jobs run to their end with real containers: counted once whatever is killed, indexed, failing, suspended, deleted.
source "$(dirname "$0")/../../lib/tap.sh"
source "$(dirname "$0")/../../lib/dev.sh"

check "three masters and two nodes start" dev_up 3 2 || finish

# job NAME SPEC COMMAND [RESTART_POLICY]: of one container "c".
job() {
	kubectl apply -f - <<END
apiVersion: batch/v1
kind: Job
metadata: {name: $1}
spec:
$(printf '%s\n' "$2" | sed 's/^/  /')
  template:
    spec:
      restartPolicy: ${4:-Never}
      terminationGracePeriodSeconds: 1
      containers:
      - {name: c, image: $image, command: [sh, -c, '$3']}
END
}
status() { kubectl get job "$1" -o jsonpath="{.status.$2}"; }
reasons() { kubectl get job "$1" -o jsonpath='{range .status.conditions[*]}{.type}={.reason} {end}'; }
no_pods_of() { [ -z "$(kubectl get pods -l "job-name=$1" -o name)" ]; }
finalizers() { kubectl get pods -l "job-name=$1" -o jsonpath='{.items[*].metadata.finalizers}'; }

check "kubectl create job" kubectl create job hello --image="$image" -- echo hi
check "it completes" kubectl wait --for=condition=Complete job/hello --timeout=30s
check "its log is there" equals "$(kubectl logs job/hello)" hi
check "kubectl get job says so" contains "$(kubectl get job hello --no-headers)" "Complete   1/1"
check "kubectl describe job says so" contains "$(kubectl describe job hello)" "Completed"
check "its pod is counted and let go" equals "$(finalizers hello)" ""
check "status.successful selects it" equals "$(kubectl get jobs --field-selector=status.successful=1 -o name)" job.batch/hello

check "30 runs, 6 at a time, while leaders are killed" job many $'completions: 30\nparallelism: 6' 'sleep 0.5'
for i in 1 2; do
	who=$(wait_for 10 leader) && kill -9 "$(pid_of "master-$who")"
	check "leader $i is killed and comes back" sampan dev up --dir "$c"
done
check "all complete" kubectl wait --for=condition=Complete job/many --timeout=90s
check "each is counted once" equals "$(status many succeeded)/$(status many failed)" "30/"
check "by 30 pods" equals "$(kubectl get pods -l job-name=many -o name | wc -l)" 30

check "an Indexed Job" job index $'completions: 3\nparallelism: 3\ncompletionMode: Indexed' \
	'echo $JOB_COMPLETION_INDEX $(hostname)'
check "completes" kubectl wait --for=condition=Complete job/index --timeout=30s
check "its indexes are listed" equals "$(status index completedIndexes)" 0-2
check "each pod knows its own" equals "$(kubectl logs -l job-name=index --tail=-1 | sort | xargs)" "0 index-0 1 index-1 2 index-2"

check "a Job that fails at once" job fails $'backoffLimit: 0' 'exit 3'
check "has failed" kubectl wait --for=condition=Failed job/fails --timeout=30s
check "for its backoffLimit" equals "$(reasons fails)" "FailureTarget=BackoffLimitExceeded Failed=BackoffLimitExceeded "
check "a policy for exit codes" job policy $'backoffLimit: 6\npodFailurePolicy: {rules: [{action: FailJob, onExitCodes: {operator: In, values: [42]}}]}' 'exit 42'
check "fails the Job at once" kubectl wait --for=condition=Failed job/policy --timeout=30s
check "and says why" equals "$(reasons policy)" "FailureTarget=PodFailurePolicy Failed=PodFailurePolicy "
check "a deadline" job late $'activeDeadlineSeconds: 2' 'exec sleep 600'
check "ends what runs" kubectl wait --for=condition=Failed job/late --timeout=30s
check "and says so" contains "$(reasons late)" "Failed=DeadlineExceeded"
check "an index that fails" job per $'completions: 2\nparallelism: 2\ncompletionMode: Indexed\nbackoffLimitPerIndex: 0' \
	'exit $JOB_COMPLETION_INDEX'
check "fails the Job when all are done" kubectl wait --for=condition=Failed job/per --timeout=30s
check "the others have succeeded" equals "$(status per completedIndexes) $(status per failedIndexes)" "0 1"
check "restarts in place" job again $'backoffLimit: 1' 'exit 1' OnFailure
check "count, too" kubectl wait --for=condition=Failed job/again --timeout=40s
check "against the same limit" contains "$(reasons again)" "Failed=BackoffLimitExceeded"

check "a success policy" job enough $'completions: 3\nparallelism: 3\ncompletionMode: Indexed\nsuccessPolicy: {rules: [{succeededIndexes: "1"}]}' \
	'[ $JOB_COMPLETION_INDEX = 1 ] || exec sleep 600'
check "ends the rest" kubectl wait --for=condition=Complete job/enough --timeout=30s
check "which has not failed" equals "$(status enough completedIndexes)/$(status enough failed)" "1/"

check "a Job that is suspended" job pause $'suspend: true' 'exec sleep 600'
check "has no pods" kubectl wait --for=condition=Suspended job/pause --timeout=10s
check "until it is resumed" kubectl patch job pause -p '{"spec":{"suspend":false}}'
check "then it runs" kubectl wait --for=jsonpath='{.status.ready}'=1 job/pause --timeout=30s
check "and is suspended again" kubectl patch job pause -p '{"spec":{"suspend":true}}'
check "its pod goes" wait_for 20 no_pods_of pause
check "without counting as failed" equals "$(status pause failed)" ""

check "kubectl delete takes the pods along" kubectl delete job index
check "all of them" wait_for 20 no_pods_of index
check "a DELETE that says nothing leaves them" kubectl delete --raw /apis/batch/v1/namespaces/default/jobs/hello
gone() { ! kubectl get job hello 2>/dev/null; }
check "the Job goes" wait_for 10 gone
check "the pod stays, let go" equals "$(kubectl get pods -l job-name=hello -o jsonpath='{.items[*].metadata.ownerReferences}{.items[*].status.phase}')" Succeeded

check "a Job with a time to live" job brief $'ttlSecondsAfterFinished: 1' 'true'
gone_brief() { ! kubectl get job brief 2>/dev/null && no_pods_of brief; }
check "is deleted after it" wait_for 30 gone_brief
check "a template is immutable" contains "$(kubectl patch job many -p '{"spec":{"template":{"spec":{"restartPolicy":"OnFailure"}}}}' 2>&1)" "spec.template: Invalid value"
check "the cluster goes away" sampan dev down --dir "$c"
finish
