#!/usr/bin/env python3
"""Ingress beside bare HAProxy, in one run on one machine.

    tests/bench/ingress/run.py [--ingresses 1000] [--seconds 5] [--rounds 4]

A client, a node with sampan-proxy and two pods, each in a network namespace of its own. The pods are
HAProxy too, which answers at once. Rounds through the Ingress and through an HAProxy with a
hand-written configuration (one frontend, one backend) follow each other; wrk counts. Then endpoints
change all the time while requests come. Needs root."""
import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
PROXY = os.path.join(ROOT, "build/proxy/sampan-proxy")
TAG = "sb%d" % os.getpid()
PODS = {"p1": "10.244.1.2", "p2": "10.244.1.3"}


def sh(*command):
    subprocess.run(command, check=True)


def inside(name, *command, **options):
    return subprocess.Popen(["nsenter", "--net=/run/netns/%s-%s" % (TAG, name), *command], **options)


def net(name, *command):
    return subprocess.run(["nsenter", "--net=/run/netns/%s-%s" % (TAG, name), *command], capture_output=True, text=True)


def link(left, right, left_address, right_address):
    sh("ip", "link", "add", "v" + right, "netns", "%s-%s" % (TAG, left), "type", "veth", "peer", "name", "eth0", "netns",
       "%s-%s" % (TAG, right))
    for where, device, address in (left, "v" + right, left_address), (right, "eth0", right_address):
        net(where, "ip", "address", "add", address, "dev", device)
        net(where, "ip", "link", "set", device, "up")


class Bench:
    def __init__(self, ingresses):
        self.work = tempfile.mkdtemp(prefix="sampan-bench.")
        self.ingresses = ingresses
        self.children = []

    def setup(self):
        for name in ("node", "client", *PODS):
            sh("ip", "netns", "add", "%s-%s" % (TAG, name))
            net(name, "ip", "link", "set", "lo", "up")
        link("node", "client", "192.0.2.1/24", "192.0.2.2/24")
        for i, (pod, address) in enumerate(PODS.items()):
            link("node", pod, "10.99.%d.1/24" % i, address + "/32")
            net("node", "ip", "route", "add", address + "/32", "dev", "v" + pod)
            net(pod, "ip", "route", "add", "default", "dev", "eth0")
            net(pod, "ip", "route", "add", "10.99.%d.1" % i, "dev", "eth0")
            net("node", "sysctl", "-qw", "net.ipv4.conf.all.proxy_arp=1")
            self.haproxy(pod, "frontend f\n    bind %s:8080\n    http-request return status 200 content-type text/plain string hello\n" % address)
        servers = "".join("    server s%d %s:8080\n" % (i, a) for i, a in enumerate(PODS.values()))
        self.bare = self.haproxy("node", "frontend f\n    bind *:8000\n    option forwardfor\n    default_backend b\n"
                                 "backend b\n    http-reuse safe\n" + servers)

    def haproxy(self, name, text):
        path = os.path.join(self.work, "%s-%d.cfg" % (name, len(self.children)))
        with open(path, "w") as f:
            f.write("global\n    nbthread 2\n    maxconn 4000\ndefaults\n    mode http\n    timeout connect 2s\n"
                    "    timeout client 60s\n    timeout server 60s\n" + text)
        self.children.append(inside(name, "haproxy", "-q", "-f", path))
        return self.children[-1].pid

    def world(self, endpoints):
        items = [{"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "sampan"},
                  "spec": {"controller": "sampan.io/ingress"}}]
        for i in range(self.ingresses):
            name = "s%d" % i
            items.append({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "d", "name": name},
                          "spec": {"clusterIP": "10.96.%d.%d" % (i // 250, i % 250 + 1), "ports": [{"port": 80}]}})
            items.append({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                          "metadata": {"namespace": "d", "name": name, "labels": {"kubernetes.io/service-name": name}},
                          "ports": [{"name": "", "port": 8080}],
                          "endpoints": [{"addresses": [e]} for e in (endpoints if i == 0 else PODS.values())]})
            items.append({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"namespace": "d", "name": name},
                          "spec": {"ingressClassName": "sampan", "rules": [{"host": "h%d.example.com" % i, "http": {"paths": [
                              {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": name, "port": {"number": 80}}}}]}}]}})
        with open(self.path("snapshot.new"), "w") as f:
            json.dump({"kind": "List", "items": items}, f)
        os.rename(self.path("snapshot.new"), self.path("snapshot"))

    def path(self, name):
        return os.path.join(self.work, name)

    def start_proxy(self):
        with open(self.path("proxy.conf"), "w") as f:
            f.write("node = n\ndir = %s\nnode_address = 192.0.2.1\nservice_cidr = 10.96.0.0/12\npod_cidr = 10.244.0.0/16\n" % self.work)
        self.log = open(self.path("proxy.log"), "w")
        self.proxy = inside("node", PROXY, "--config", self.path("proxy.conf"), "--snapshot", self.path("snapshot"), stderr=self.log)
        self.children.append(self.proxy)

    def answers(self, host):
        return net("client", "curl", "-s", "--max-time", "1", "-H", "Host: " + host, "http://192.0.2.1/").stdout == "hello"

    def wait(self, host):
        begin = time.monotonic()
        while not self.answers(host):
            if time.monotonic() - begin > 60:
                sys.exit("no answer for " + host)
            time.sleep(0.02)
        return time.monotonic() - begin

    def loads(self):
        with open(self.path("proxy.log")) as f:
            return f.read().count("HAProxy is loaded")

    def wrk(self, port, seconds):
        out = net("client", "wrk", "-t2", "-c64", "-d%ds" % seconds, "--latency", "-H", "Host: h0.example.com",
                  "http://192.0.2.1:%d/" % port).stdout
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])
        value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", out).groups()
        p99 = float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit]
        failed = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
        errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
        total = int(re.search(r"(\d+) requests in", out)[1])
        return rate, p99, total, int(failed[1]) if failed else 0, sum(map(int, errors.groups())) if errors else 0

    def haproxy_pid(self):
        with open(self.path("ingress/pid")) as f:
            return int(f.read())

    def close(self):
        try:
            os.kill(self.haproxy_pid(), signal.SIGKILL)
        except OSError:
            pass
        for child in self.children:
            child.kill()
            child.wait()
        for name in ("node", "client", *PODS):
            subprocess.run(["ip", "netns", "delete", "%s-%s" % (TAG, name)], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.work, ignore_errors=True)


def rss_mb(pid):
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1]) / 1024


def rounds(bench, seconds, n):
    ours, bare = [], []
    for _ in range(n):
        ours.append(bench.wrk(80, seconds))
        bare.append(bench.wrk(8000, seconds))
    ratio = statistics.mean(a[0] / b[0] for a, b in zip(ours, bare))
    print("requests/s        %8.0f  bare HAProxy %8.0f  ratio %.2f" % (
        statistics.mean(r[0] for r in ours), statistics.mean(r[0] for r in bare), ratio))
    print("p99               %8.2f  bare HAProxy %8.2f  ms" % (
        statistics.median(r[1] for r in ours), statistics.median(r[1] for r in bare)))


def changes(bench, seconds):
    a, b = PODS.values()
    load = inside("client", "wrk", "-t2", "-c64", "-d%ds" % seconds, "-H", "Host: h0.example.com", "http://192.0.2.1/",
                  stdout=subprocess.PIPE, text=True)
    n = 0
    while load.poll() is None:
        bench.world([a] if n % 2 else [b])
        bench.proxy.send_signal(signal.SIGHUP)
        n += 1
        time.sleep(0.25)
    out = load.stdout.read()
    total = re.search(r"(\d+) requests in", out)[1]
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    errors = re.search(r"Socket errors: .*", out)
    print("under %d changes of endpoints: %s requests, %s failed, %s" % (
        n, total, failed[1] if failed else 0, errors[0] if errors else "no socket errors"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ingresses", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    bench = Bench(options.ingresses)
    try:
        bench.setup()
        bench.world(list(PODS.values()))
        bench.start_proxy()
        print("%d Ingresses: first answer after %.2f s" % (options.ingresses, bench.wait("h%d.example.com" % (options.ingresses - 1))))
        print("memory            proxy %.1f MB, HAProxy %.1f MB" % (rss_mb(bench.proxy.pid), rss_mb(bench.haproxy_pid())))
        rounds(bench, options.seconds, options.rounds)
        loads = bench.loads()
        changes(bench, 2 * options.seconds)
        print("loads of HAProxy meanwhile: %d" % (bench.loads() - loads))
    finally:
        bench.close()


main()
