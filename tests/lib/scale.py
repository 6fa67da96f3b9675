"""Three masters on this machine's loopback and any number of hollow nodes, for benchmarks of scale.

The masters' data is in a folder on disk, each in processes of its own; ports are picked freely.
Everything ends with close(), whatever happened.
"""
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from cluster import ROOT, Api

BUILD = os.environ.get("BUILD", f"{ROOT}/build")
SAMPAN, MASTER, HOLLOW = (f"{BUILD}/{p}" for p in (
    "sdk/sampan/sampan", "controlplane/sampan-master", "tests/bench/bench-hollow"))
HZ = os.sysconf("SC_CLK_TCK")


def free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def cpu_s(pid):
    """User and system seconds of a process."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / HZ


def rss_kb(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1])


def written(pid):
    for line in open(f"/proc/{pid}/io"):
        if line.startswith("write_bytes"):
            return int(line.split()[1])


def children(pid):
    return [int(c) for c in open(f"/proc/{pid}/task/{pid}/children").read().split()]


def wait_for(what, condition, seconds=60, pause=0.1):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            result = condition()
            if result:
                return result
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            pass # No answer, or one that says why not.
        time.sleep(pause)
    raise SystemExit(f"gave up waiting for {what}")


class Master:
    def __init__(self, cluster, number):
        self.cluster, self.number, self.dir = cluster, number, f"{cluster.dir}/master-{number}"
        self.api_port, self.rpc_port, self.raft_port = free_ports(3)
        self.process = None

    def ports(self):
        return ["--api-port", str(self.api_port), "--rpc-port", str(self.rpc_port), "--raft-port", str(self.raft_port)]

    def start(self):
        log = open(f"{self.dir}/log", "ab")
        self.process = subprocess.Popen([MASTER, "--config", f"{self.dir}/master.conf"], stdout=log, stderr=log)

    @property
    def pid(self):
        return self.process.pid

    def api(self, timeout=10):
        api = Api(self.cluster.kubeconfig, timeout)
        api.port = self.api_port
        return api

    def kill(self):
        self.process.kill()
        self.process.wait()

    def disk_bytes(self, *kinds):
        """Bytes of files of the data folder whose names begin so."""
        total = 0
        for folder, _, files in os.walk(f"{self.dir}/data"):
            total += sum(os.stat(f"{folder}/{f}").st_blocks * 512 for f in files if f.startswith(kinds))
        return total


class Cluster:
    def __init__(self, folder=None, masters=3, pod_cidr="10.0.0.0/9"):
        self.dir = tempfile.mkdtemp(prefix="sampan-scale.", dir=folder or os.environ.get("SCALE_DIR", "/var/tmp"))
        self.kubeconfig = f"{self.dir}/master-1/admin.kubeconfig"
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
        self.hollows, self.masters, self.hollow_lines = [], [], {}
        self.masters = [Master(self, i + 1) for i in range(masters)]
        try:
            self._begin(pod_cidr)
        except BaseException:
            self.close()
            raise

    def _begin(self, pod_cidr):
        first = self.masters[0]
        self.sampan("init", "--dir", first.dir, "--name", "master-1", "--address", "127.0.0.1", "--pod-cidr", pod_cidr,
                    *first.ports())
        first.start()
        wait_for("the first state", lambda: first.api().call(
            "GET", "/api/v1/namespaces/kube-system/configmaps/sampan-masters")[0] == 200)
        for master in self.masters[1:]:
            token = self.sampan("token", "create", "--master").strip()
            self.sampan("join", "--master", "--token", token, "--server", f"127.0.0.1:{first.api_port}", "--name",
                        f"master-{master.number}", "--address", "127.0.0.1", "--dir", master.dir, *master.ports())
            master.start()
            wait_for("a voter more", lambda: sum(m["role"] == "voter" for m in self.members()) == master.number)
        self.node_token = self.sampan("token", "create").strip()

    def sampan(self, *arguments):
        return subprocess.run([SAMPAN, *arguments], check=True, text=True, stdout=subprocess.PIPE,
                              env={**os.environ, "KUBECONFIG": self.kubeconfig}).stdout

    def members(self):
        return self.masters[0].api().call("GET", "/sampan/v1/members")[1]["members"]

    def leader(self):
        """The master that says it leads, or None."""
        for master in self.masters:
            try:
                if master.process.poll() is None and master.api(2).call("GET", "/sampan/v1/status")[1]["leading"]:
                    return master
            except (OSError, http.client.HTTPException, ValueError, KeyError):
                pass
        return None

    def follower(self):
        leader = wait_for("a leader", self.leader)
        return [m for m in self.masters if m is not leader][0]

    def start_hollow(self, nodes, *options):
        first = sum(h.count for h in self.hollows) + 1
        process = subprocess.Popen(
            [HOLLOW, "--dir", f"{self.dir}/nodes", "--server", f"127.0.0.1:{self.masters[0].api_port}", "--token",
             self.node_token, "--first", str(first), "--count", str(nodes), *options], stdout=subprocess.PIPE, text=True)
        process.count = nodes
        self.hollows.append(process)
        threading.Thread(target=self._read_hollow, args=(process,), daemon=True).start()

    def _read_hollow(self, process):
        for line in process.stdout:
            fields = dict(f.split("=") for f in line.split()[1:])
            self.hollow_lines[process.pid, fields["process"]] = {k: int(v) for k, v in fields.items()}

    def hollow(self, what):
        """What all hollow processes said of it last, added up."""
        return sum(fields[what] for fields in list(self.hollow_lines.values()))

    def hollow_pids(self):
        return [c for h in self.hollows for c in children(h.pid)]

    def hollows_live(self):
        if any(h.poll() is not None for h in self.hollows):
            raise SystemExit("hollow nodes have ended")
        return True

    def wait_nodes(self, seconds=600):
        nodes = sum(h.count for h in self.hollows)
        wait_for("all nodes to register", lambda: self.hollows_live() and self.hollow("registered") >= nodes, seconds)
        api = self.follower().api(60)
        # No field selects ready nodes: what is not ready carries a taint.
        wait_for("all nodes to be ready", lambda: sum(
            not n["spec"].get("taints") for n in api.call("GET", "/api/v1/nodes")[1]["items"]) == nodes, seconds, 1)

    def cpu(self):
        """Seconds used so far: every master's, and the hollow nodes' together."""
        return ([cpu_s(m.pid) for m in self.masters], sum(cpu_s(p) for p in self.hollow_pids()))

    def close(self):
        for h in self.hollows:
            h.send_signal(signal.SIGTERM)
        for master in self.masters:
            if master.process is not None:
                master.process.kill()
                master.process.wait()
        for h in self.hollows:
            h.wait()
        if os.environ.get("SCALE_KEEP"):
            print(f"kept {self.dir}")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def deployment(name, replicas, namespace="default", labels=None, image="registry.example/app:1", spec=None, strategy=None):
    """A Deployment with pods as people write them: requests, a probe, an environment."""
    labels = {"app": name, **(labels or {})}
    container = {"name": "app", "image": image, "ports": [{"containerPort": 8080, "name": "http"}],
                 "env": [{"name": "LOG_LEVEL", "value": "info"},
                         {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                 "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}}}
    pod = {"containers": [container], "terminationGracePeriodSeconds": 5, "enableServiceLinks": False, **(spec or {})}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
                     **({"strategy": strategy} if strategy else {}),
                     "template": {"metadata": {"labels": labels}, "spec": pod}}}


class Watch(threading.Thread):
    """Times at which pods of a label selector were first seen, and first seen running, at a follower."""

    def __init__(self, master, selector):
        super().__init__(daemon=True)
        self.created, self.running, self.stop = {}, {}, False
        api = master.api(60)
        code, body = api.call("GET", f"/api/v1/pods?limit=1&labelSelector={selector}")
        assert code == 200, body
        since = body["metadata"]["resourceVersion"]
        self.connection = api.connect(600)
        self.connection.request("GET", f"/api/v1/pods?watch=1&resourceVersion={since}&labelSelector={selector}")
        self.response = self.connection.getresponse()
        self.start()

    def run(self):
        try:
            for line in self.response:
                now, event = time.monotonic(), json.loads(line)
                if event["type"] == "ERROR":
                    self.error = event["object"]
                    return
                key = event["object"]["metadata"]["uid"]
                self.created.setdefault(key, now)
                if event["object"]["status"].get("phase") == "Running":
                    self.running.setdefault(key, now)
        except (OSError, ValueError, http.client.HTTPException):
            pass

    def end(self):
        # Closing would wait for the thread that reads.
        self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.join(10)

    def latencies_ms(self):
        return sorted((self.running[k] - self.created[k]) * 1000 for k in self.running)


def quantile(values, q):
    return values[min(len(values) - 1, int(q * len(values)))] if values else float("nan")
