"""Clients write and watch while the leader is killed, again and again.

    leader_kill.py DIR KILLS     DIR: a development cluster of three masters

No acknowledged write may be lost; a watch that is resumed from its last
resourceVersion shows every write once, in order; all masters end equal.
"""
import json
import os
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../lib"))
from cluster import LOST, ROOT, Api, Tap, wait_for

directory, kills = sys.argv[1], int(sys.argv[2])
kubeconfig = f"{directory}/kubeconfig"
base = "/api/v1/namespaces/default/configmaps"
stop = threading.Event()
acknowledged, unknown, errors = {}, set(), []


def write(writer):
    """Names are never used twice, so a repeated create that finds its object knows it is its own."""
    api, n = Api(kubeconfig), 0
    while not stop.is_set():
        name = f"w{writer}-{n}"
        try:
            code, reply = api.call("POST", base, {"metadata": {"name": name, "labels": {"test": "kill"}}})
            if code == 201:
                acknowledged[name] = int(reply["metadata"]["resourceVersion"])
            elif code == 409:
                acknowledged[name] = None  # An earlier attempt without an answer.
            elif code in (429, 500, 503, 504):
                unknown.add(name)
                continue
            else:
                errors.append(f"{name}: {code} {reply}")
        except LOST:
            unknown.add(name)
            continue
        n += 1


seen = []


def watch(begin):
    api, revision = Api(kubeconfig), begin
    while not stop.is_set() or len(seen) < len(acknowledged):
        try:
            for kind, obj in api.watch(base + "?labelSelector=test%3Dkill&timeoutSeconds=5", revision):
                if kind == "ERROR":
                    errors.append(f"watch from {revision}: {obj}")
                    return
                revision = int(obj["metadata"]["resourceVersion"])
                if kind == "ADDED":
                    seen.append((revision, obj["metadata"]["name"]))
                elif kind != "BOOKMARK":
                    errors.append(f"watch: {kind} {obj['metadata']['name']}")
        except LOST:
            time.sleep(0.01)


def status_of(i):
    """A master's own view, asked at its own address."""
    out = subprocess.run(["nsenter", f"--net={directory}/netns/lan", "/usr/bin/python3", "-c", f'''
import sys; sys.path.insert(0, "{ROOT}/tests/lib")
from cluster import Api
api = Api("{kubeconfig}"); api.host, api.port = "172.30.0.{10 + i}", 6443
import json; print(json.dumps(api.call("GET", "/sampan/v1/status")[1]))'''], capture_output=True, text=True)
    return json.loads(out.stdout)


def leader():
    for i in (1, 2, 3):
        try:
            if status_of(i)["leading"]:
                return i
        except LOST:
            pass
    return None


def equal_states():
    states = [status_of(i) for i in (1, 2, 3)]
    return len({(s["revision"], s["hash"]) for s in states}) == 1 and states


def revive():
    subprocess.run([f"{ROOT}/build/sdk/sampan/sampan", "dev", "up", "--dir", directory], check=True, stdout=subprocess.DEVNULL)


tap = Tap()
main = Api(kubeconfig)
_, listed = main.call("GET", base)
threads = [threading.Thread(target=write, args=(i,), daemon=True) for i in range(4)]
watcher = threading.Thread(target=watch, args=(int(listed["metadata"]["resourceVersion"]),), daemon=True)
for thread in threads + [watcher]:
    thread.start()

gaps = []
for _ in range(kills):
    who = wait_for("a leader", leader)
    before = len(acknowledged)
    os.kill(int(open(f"{directory}/run/master-{who}.pid").read()), signal.SIGKILL)
    began = time.monotonic()
    wait_for("the next acknowledged write", lambda: len(acknowledged) > before + 8)
    gaps.append((time.monotonic() - began) * 1000)
    revive()

stop.set()
for thread in threads:
    thread.join()
_, listed = wait_for("the final list", lambda: main.call("GET", base + "?labelSelector=test%3Dkill"))
final = {o["metadata"]["name"]: int(o["metadata"]["resourceVersion"]) for o in listed["items"]}
wait_for("the watch", lambda: len(seen) >= len(final), 15)
stop.set()
watcher.join(20)

lost = [n for n, r in acknowledged.items() if n not in final or (r is not None and final[n] != r)]
tap.check(f"no acknowledged write is lost ({len(acknowledged)} writes, {kills} kills)", not lost, lost[:10])
tap.check("nothing failed otherwise", not errors, "\n".join(errors[:5]))
revisions = [r for r, _ in seen]
tap.check("the watch is in order and without duplicates", revisions == sorted(set(revisions)))
tap.check("the watch has no gap", {n for _, n in seen} == set(final),
          sorted(set(final) ^ {n for _, n in seen})[:10])
tap.check("writes went on after every kill", len(gaps) == kills)
print("# ms until writes flowed again:", " ".join(f"{g:.0f}" for g in gaps))
tap.check("the three masters end with equal states", wait_for("equal states", equal_states, 20))
tap.finish()
