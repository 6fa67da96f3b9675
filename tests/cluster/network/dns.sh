#!/usr/bin/env bash
# Names from pods: of Services by the cluster's DNS address, of the world by a relay.
source "$(dirname "$0")/lib.sh"

# The rest of the world: answers *.example with 198.51.100.9; big.example needs TCP; slow.example never answers;
# count.example tells how many questions came in all.
upstream() {
	in_background out /usr/bin/python3 - <<-'PY'
		import socket, struct, threading
		seen = [0]
		def answer(q, tcp):
		    name, at = [], 12
		    while q[at]:
		        name.append(q[at+1:at+1+q[at]].decode().lower())
		        at += 1 + q[at]
		    end, qtype = at + 5, struct.unpack(">H", q[at+1:at+3])[0]
		    host = ".".join(name)
		    seen[0] += 1
		    if host == "slow.example":
		        return None
		    flags, rrs = 0x8180, []
		    def a(ip): return b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04" + socket.inet_aton(ip)
		    if host == "big.example" and not tcp:
		        flags |= 0x0200
		    elif host == "big.example":
		        rrs = [a("198.51.100.%d" % i) for i in range(100)]
		    elif host == "count.example":
		        rrs = [a("0.0.0.%d" % (seen[0] % 250))]
		    elif host.endswith("example") and qtype == 1:
		        rrs = [a("198.51.100.9")]
		    elif not host.endswith("example"):
		        flags |= 3
		    return q[:2] + struct.pack(">HHHHH", flags, 1, len(rrs), 0, 0) + q[12:end] + b"".join(rrs)
		def udp():
		    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		    s.bind(("192.0.2.53", 53))
		    while True:
		        q, peer = s.recvfrom(4096)
		        r = answer(q, False)
		        if r: s.sendto(r, peer)
		threading.Thread(target=udp, daemon=True).start()
		l = socket.socket()
		l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
		l.bind(("192.0.2.53", 53))
		l.listen(16)
		while True:
		    c, _ = l.accept()
		    n = struct.unpack(">H", c.recv(2))[0]
		    r = answer(c.recv(n), True)
		    if r: c.sendall(struct.pack(">H", len(r)) + r)
		    c.close()
	PY
}

# ask NAMESPACE NAME [TYPE [SERVER [tcp]]]: rcode and addresses (or other data) sorted
ask() {
	net "$1" /usr/bin/python3 - "$2" "${3:-A}" "${4:-10.96.0.10}" "${5:-udp}" <<-'PY'
		import random, socket, struct, sys
		types = {"A": 1, "CNAME": 5, "PTR": 12, "TXT": 16, "AAAA": 28, "SRV": 33}
		name, qtype, server, how = sys.argv[1:]
		def wire(n): return b"".join(bytes([len(l)]) + l.encode() for l in n.split(".") if l) + b"\0"
		ident = random.randrange(65536)
		q = struct.pack(">HHHHHH", ident, 0x100, 1, 0, 0, 0) + wire(name) + struct.pack(">HH", types[qtype], 1)
		def tcp():
		    s = socket.create_connection((server, 53), 8)
		    s.sendall(struct.pack(">H", len(q)) + q)
		    n, r = struct.unpack(">H", s.recv(2))[0], b""
		    while len(r) < n: r += s.recv(n - len(r))
		    return r
		if how == "tcp":
		    r = tcp()
		else:
		    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		    s.settimeout(8)
		    s.sendto(q, (server, 53))
		    r = s.recvfrom(65535)[0]
		    if r[2] & 2: r = tcp()
		assert struct.unpack(">H", r[:2])[0] == ident
		def rname(at):
		    out = []
		    while r[at]:
		        if r[at] & 0xc0:
		            return ".".join(out + [rname((r[at] & 63) << 8 | r[at+1])[0]]), at + 2
		        out.append(r[at+1:at+1+r[at]].decode()); at += 1 + r[at]
		    return ".".join(out), at + 1
		at, out = rname(12)[1] + 4, []
		for i in range(struct.unpack(">H", r[6:8])[0]):
		    at = rname(at)[1]
		    t, _, _, n = struct.unpack(">HHIH", r[at:at+10]); at += 10
		    d = r[at:at+n]
		    if t == 1: out.append(socket.inet_ntoa(d))
		    elif t in (5, 12): out.append(rname(at)[0])
		    elif t == 33: out.append("%d:%s" % (struct.unpack(">H", d[4:6])[0], rname(at + 6)[0]))
		    elif t == 16: out.append(d[1:].decode())
		    at += n
		print(r[3] & 15, *sorted(out))
	PY
}

says() { # WANT ASK-ARGUMENTS...
	local want=$1 got
	shift
	got=$(ask "$@") || return 1
	equals "$got" "$want"
}

world() {
	nodes_json
	service_json web '"clusterIP":"10.96.0.1","ports":[{"name":"http","port":80}]'
	slice_json web http 8080 TCP "10.244.1.2 n1" "10.244.2.2 n2"
	service_json one '"clusterIP":"10.96.0.2","ports":[{"name":"http","port":80}]'
	slice_json one http 8080 TCP "10.244.1.2 n1"
	service_json db '"clusterIP":"None","ports":[{"name":"sql","port":5432}]'
	slice_json db sql 5432 TCP "10.244.1.2 n1" "10.244.2.2 n2"
	service_json out '"type":"ExternalName","externalName":"www.example"'
}

world_start
upstream
world | snapshot
proxy_start n1
proxy_start n2
check "a Service from a pod" wait_for 15 says "0 10.96.0.1" p11 web.default.svc.cluster.local
check "a Service from the other node" wait_for 15 says "0 10.96.0.1" p21 web.default.svc.cluster.local
check "from the node itself" says "0 10.96.0.1" n1 web.default.svc.cluster.local
check "at the link-local address" says "0 10.96.0.1" p11 web.default.svc.cluster.local A 169.254.20.10
check "over TCP" says "0 10.96.0.1" p11 web.default.svc.cluster.local A 10.96.0.10 tcp
check "a headless Service" says "0 10.244.1.2 10.244.2.2" p11 db.default.svc.cluster.local
check "SRV" says "0 80:web.default.svc.cluster.local" p11 _http._tcp.web.default.svc.cluster.local SRV
check "PTR" says "0 web.default.svc.cluster.local" p11 1.0.96.10.in-addr.arpa PTR
check "no such Service" says "3" p11 no.default.svc.cluster.local
check "the world by relay" wait_for 5 says "0 198.51.100.9" p11 www.example
check "the world over TCP" says "0 198.51.100.9" p11 www.example A 10.96.0.10 tcp
check "no such name in the world" says "3" p11 www.nowhere
check "a large answer goes over to TCP" test "$(ask p11 big.example | wc -w)" = 101
check "an alias leads outside" says "0 198.51.100.9 www.example" p11 out.default.svc.cluster.local
check "a server that is silent ends in SERVFAIL" says "2" p11 slow.example
# A C library's resolver in a root of its own. (busybox-static crashes in wget -T, whatever it asks.)
mkdir -p "$work/root/etc" "$work/root/bin"
cp "$(command -v busybox)" "$work/root/bin/busybox"
printf 'nameserver 10.96.0.10\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n' >"$work/root/etc/resolv.conf"
serve p11 10.244.1.2 8080
by_name() { contains "$(net p12 timeout 3 chroot "$work/root" /bin/busybox wget -q -O - "http://$1")" "p11 10.244.1.3"; }
check "a short name by a pod's resolv.conf" wait_for 5 by_name one
check "a full name" by_name one.default.svc.cluster.local

# Many at once: none may get lost among the forwards, and the rest of the names must not suffer.
many() {
	net p11 /usr/bin/python3 - <<-'PY'
		import socket, struct
		def wire(n): return b"".join(bytes([len(l)]) + l.encode() for l in n.split(".")) + b"\0"
		socks = []
		for i in range(200):
		    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		    s.settimeout(8)
		    name = "n%d.example" % i if i % 2 else "web.default.svc.cluster.local"
		    s.sendto(struct.pack(">HHHHHH", i, 0x100, 1, 0, 0, 0) + wire(name) + b"\0\1\0\1", ("10.96.0.10", 53))
		    socks.append(s)
		for i, s in enumerate(socks):
		    r = s.recv(512)
		    assert struct.unpack(">H", r[:2])[0] == i and r[3] & 15 == 0 and r[7] == 1, (i, r)
	PY
}
check "200 questions at once" many
garbage() {
	net p11 /usr/bin/python3 - <<-'PY'
		import os, socket
		s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		for i in range(2000): s.sendto(os.urandom(i % 600 + 1), ("10.96.0.10", 53))
		for i in range(20):
		    c = socket.create_connection(("10.96.0.10", 53), 3)
		    c.sendall(os.urandom(3000))
		    c.close()
	PY
}
check "garbage does no harm" garbage
check "still answering" says "0 10.96.0.1" p11 web.default.svc.cluster.local
check "the proxy is the same as before" kill -0 "$(proxy_pid n1)"
{ nodes_json; service_json web '"clusterIP":"10.96.7.7","ports":[{"name":"http","port":80}]'; } | proxies_learn
check "an address that changed" wait_for 5 says "0 10.96.7.7" p11 web.default.svc.cluster.local
kill -USR1 "$(proxy_pid n1)"
check "beliefs are written on request" wait_for 5 grep -q '^dns queries=' "$work/n1/beliefs"
finish
