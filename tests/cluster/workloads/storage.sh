#!/usr/bin/env bash
# Volumes on the nodes they were made on: data outlives pods and agents, and ends as the class says.
source "$(dirname "$0")/../../lib/tap.sh"
source "$(dirname "$0")/../../lib/dev.sh"

check "a master and two nodes start" dev_up 1 2 || finish
check "there is a default class" contains "$(kubectl get storageclass)" "local-path (default)"

pod() { # NAME CLAIM [LINES]: it writes its name into /data/log, once per start.
	cat <<END
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  terminationGracePeriodSeconds: 1
$3
  containers:
  - name: c
    image: $image
    command: [sh, -c, 'echo $1 >>/data/log; exec sleep 3600']
    volumeMounts: [{name: v, mountPath: /data}]
  volumes: [{name: v, persistentVolumeClaim: {claimName: $2}}]
END
}
claim() { # NAME [LINES]
	cat <<END
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: $1}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
$2
END
}
field() { kubectl get "$1" -o jsonpath="{$2}"; }
log_of() { kubectl exec "$1" -- cat /data/log | tr '\n' ' '; }
ready() { kubectl wait --for=condition=Ready "$@" --timeout=30s; }
is() { equals "$(field "$1" "$2")" "$3"; }
folder_of() { # CLAIM: node and folder
	local volume
	volume=$(field "pvc/$1" .spec.volumeName)
	echo "$c/$(field "pv/$volume" .metadata.labels.sampan\\.io/local-path-node)/agent/local-path/$volume"
}
no_such() { ! [ -e "$1" ]; }
none_left() { [ -z "$(kubectl get "$@" -o name 2>/dev/null)" ]; }
event_of() { kubectl get events --field-selector "involvedObject.name=$1" -o jsonpath='{.items[*].message}'; }

kubectl apply -f - >/dev/null <<END
apiVersion: v1
kind: Pod
metadata: {name: greedy}
spec:
  restartPolicy: Never
  containers:
  - name: c
    image: $image
    command: [sh, -c, 'dd if=/dev/zero of=/scratch/f bs=64k count=64; exec sleep 3600']
    volumeMounts: [{name: v, mountPath: /scratch}]
  volumes: [{name: v, emptyDir: {sizeLimit: 1Mi}}]
END

# --- Made for the first pod --------------------------------------------------------

claim a | kubectl apply -f - >/dev/null
check "a claim waits for its first consumer" wait_for 10 is pvc/a .status.phase Pending
said() { contains "$(event_of a)" "waiting for first consumer to be created before binding"; }
check "and says so" wait_for 10 said
pod first a "  nodeSelector: {kubernetes.io/hostname: node-2}" | kubectl apply -f - >/dev/null
check "a pod gets its volume" ready pod/first || { kubectl describe pod first pvc a; tail -n 20 "$c"/log/*.log; }
check "the claim is bound" is pvc/a .status.phase Bound
check "with what was asked for" is pvc/a .status.capacity.storage 1Gi
volume=$(field pvc/a .spec.volumeName)
check "the volume, too" is "pv/$volume" .status.phase Bound
folder=$(folder_of a)
check "its folder is on the pod's node" contains "$folder" /node-2/
check "and holds the data" equals "$(cat "$folder/log")" first

# --- Data outlives pods, and pods follow it -----------------------------------------

kubectl delete pod first --wait --timeout=20s >/dev/null
pod second a | kubectl apply -f - >/dev/null
check "another pod uses the claim" ready pod/second
check "on the node of the volume" is pod/second .spec.nodeName node-2
check "and finds the data" equals "$(log_of second)" "first second "
kill -9 "$(pid_of node-2-agent)"
check "the agent is killed and starts again" sampan dev up --dir "$c"
check "the pod still has its volume" wait_for 20 equals "$(log_of second)" "first second "
pod elsewhere a "  nodeSelector: {kubernetes.io/hostname: node-1}" | kubectl apply -f - >/dev/null
conflict() { contains "$(field pod/elsewhere '.status.conditions[?(@.type=="PodScheduled")].message')" "1 node(s) had volume node affinity conflict"; }
check "no pod runs beside its volume's node" wait_for 10 conflict
kubectl delete pod elsewhere --wait=false >/dev/null

# --- The end of a claim ---------------------------------------------------------------

kubectl delete pvc a --wait=false >/dev/null
check "a claim in use is held" is pvc/a '.metadata.finalizers[0]' kubernetes.io/pvc-protection
check "and stays bound" is pvc/a .status.phase Bound
kubectl delete pod second --wait --timeout=20s >/dev/null
check "it goes with its last pod" wait_for 10 none_left pvc
check "its volume goes" wait_for 20 none_left pv
check "and the folder is removed" wait_for 10 no_such "$folder"

# --- Kept, when the class says so -------------------------------------------------------

kubectl apply -f - >/dev/null <<END
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: kept}
provisioner: sampan.io/local-path
reclaimPolicy: Retain
volumeBindingMode: WaitForFirstConsumer
END
claim k "  storageClassName: kept" | kubectl apply -f - >/dev/null
pod keeper k | kubectl apply -f - >/dev/null
check "a pod with a volume that is kept" ready pod/keeper
folder=$(folder_of k)
volume=$(field pvc/k .spec.volumeName)
kubectl delete pod keeper --wait --timeout=20s >/dev/null
kubectl delete pvc k --wait --timeout=20s >/dev/null
check "the volume is released" wait_for 10 is "pv/$volume" .status.phase Released
check "its data is there" equals "$(cat "$folder/log")" keeper
kubectl delete pv "$volume" --wait --timeout=20s >/dev/null
check "also when the volume is deleted" equals "$(cat "$folder/log")" keeper

# --- Volumes made by hand ----------------------------------------------------------------

mkdir -p "$work/by-hand"
kubectl apply -f - >/dev/null <<END
apiVersion: v1
kind: PersistentVolume
metadata: {name: by-hand}
spec:
  capacity: {storage: 5Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: ""
  hostPath: {path: $work/by-hand}
END
claim h '  storageClassName: ""' | kubectl apply -f - >/dev/null
check "a claim takes a free volume" wait_for 10 is pvc/h .spec.volumeName by-hand
pod hand h | kubectl apply -f - >/dev/null
check "a pod runs on it" ready pod/hand
check "its data is where the volume says" equals "$(cat "$work/by-hand/log")" hand
check "a claim cannot grow" contains "$(kubectl patch pvc h -p '{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}' 2>&1)" \
	"only dynamically provisioned pvc can be resized"

# --- StatefulSets and Deployments ----------------------------------------------------------

claim d | kubectl apply -f - >/dev/null
kubectl apply -f - >/dev/null <<END
apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
spec:
  replicas: 1
  strategy: {type: Recreate}
  selector: {matchLabels: {app: d}}
  template:
    metadata: {labels: {app: d}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {runAsUser: 1000, runAsGroup: 1000, fsGroup: 2000}
      containers:
      - name: c
        image: $image
        command: [sh, -c, 'echo d >>/data/sub/log; ls -ln /data >/data/sub/list; exec sleep 3600']
        volumeMounts:
        - {name: v, mountPath: /data}
        - {name: v, mountPath: /again, subPath: sub}
      volumes: [{name: v, persistentVolumeClaim: {claimName: d}}]
---
apiVersion: v1
kind: Service
metadata: {name: s}
spec: {clusterIP: None, selector: {app: s}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: s}
spec:
  replicas: 2
  serviceName: s
  persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete, whenScaled: Retain}
  selector: {matchLabels: {app: s}}
  template:
    metadata: {labels: {app: s}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: c
        image: $image
        command: [sh, -c, 'echo \$HOSTNAME >>/data/log; exec sleep 3600']
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec:
      accessModes: [ReadWriteOncePod]
      resources: {requests: {storage: 1Gi}}
END
check "a Deployment with fsGroup and subPath runs" kubectl rollout status deployment/d --timeout=40s || kubectl describe pod -l app=d
check "a StatefulSet runs" kubectl rollout status statefulset/s --timeout=40s || kubectl describe pod -l app=s
kubectl delete pod -l app=d --wait --timeout=20s >/dev/null
kubectl delete pod s-0 --wait --timeout=20s >/dev/null
check "the Deployment comes back" kubectl rollout status deployment/d --timeout=40s
twice() { equals "$(tr '\n' ' ' <"$(folder_of d)/sub/log")" "d d "; }
check "with its data" wait_for 20 twice
check "which is its group's" contains "$(cat "$(folder_of d)/sub/list")" 2000
check "the StatefulSet comes back" kubectl rollout status statefulset/s --timeout=40s
check "with its data" equals "$(log_of s-0)" "s-0 s-0 "
kubectl delete statefulset s --wait --timeout=30s >/dev/null
gone() { none_left pvc/data-s-0 && none_left pvc/data-s-1; }
check "its claims go with it" wait_for 30 gone

kubectl apply -f - >/dev/null <<END
apiVersion: v1
kind: Pod
metadata: {name: short}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: $image
    command: [sh, -c, 'echo short >>/data/log; exec sleep 3600']
    volumeMounts: [{name: v, mountPath: /data}]
  volumes:
  - name: v
    ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}}
END
check "a pod with an ephemeral volume runs" ready pod/short
folder=$(folder_of short-v)
check "its data is in a folder" equals "$(cat "$folder/log")" short
kubectl delete pod short --wait --timeout=20s >/dev/null
check "that goes with the pod" wait_for 30 no_such "$folder"

check "an emptyDir beyond its sizeLimit ends its pod" wait_for 30 is pod/greedy .status.reason Evicted
check "and it is said why" contains "$(field pod/greedy .status.message)" 'Usage of EmptyDir volume "v" exceeds the limit "1Mi".'
pod lost nothing | kubectl apply -f - >/dev/null
lost() { contains "$(event_of lost)" 'persistentvolumeclaim "nothing" not found'; }
check "a claim that does not exist is said" wait_for 10 lost
finish
