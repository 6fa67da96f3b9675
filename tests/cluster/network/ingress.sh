#!/usr/bin/env bash
# Ingress by real traffic through HAProxy: hosts, paths, certificates, protocols, changes under load,
# and what happens when proxy or HAProxy die.
source "$(dirname "$0")/lib.sh"

class='{"apiVersion":"networking.k8s.io/v1","kind":"IngressClass","metadata":{"name":"sampan"},"spec":{"controller":"sampan.io/ingress"}},'

certificate() { # SECRET COMMON-NAME
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$2" \
		-addext "subjectAltName=DNS:$2" -keyout "$work/$1.key" -out "$work/$1.crt" 2>/dev/null
}
secret_json() { # SECRET
	printf '{"apiVersion":"v1","kind":"Secret","metadata":{"namespace":"default","name":"%s"},"type":"kubernetes.io/tls","data":{"tls.crt":"%s","tls.key":"%s"}},' \
		"$1" "$(base64 -w0 <"$work/$1.crt")" "$(base64 -w0 <"$work/$1.key")"
}
ingress_json() { # NAME ANNOTATIONS SPEC
	printf '{"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{"namespace":"default","name":"%s","creationTimestamp":"2026-01-01T00:00:00Z","annotations":{%s}},"spec":{"ingressClassName":"sampan",%s}},' "$1" "$2" "$3"
}
path() { # TYPE PATH SERVICE
	printf '{"pathType":"%s","path":"%s","backend":{"service":{"name":"%s","port":{"number":80}}}}' "$1" "$2" "$3"
}
rule() { # HOST PATHS
	printf '{"host":"%s","http":{"paths":[%s]}}' "$1" "$2"
}
service() { # NAME "IP NODE"...
	local name=$1
	shift
	service_json "$name" "\"clusterIP\":\"10.96.1.$((++services))\",\"ports\":[{\"port\":80}]"
	slice_json "$name" "" "${port:-8080}" TCP "$@"
}
services=0

world() { # ENDPOINTS-OF-WEB...
	services=0
	nodes_json
	printf %s "$class"
	service web "${@:-10.244.1.2 n1}"
	service api "10.244.1.3 n1"
	service far "10.244.2.2 n2"
	port=8090 service chat "10.244.1.2 n1"
	port=8091 service rpc "10.244.1.2 n1"
	ingress_json main '' "\"rules\":[$(rule shop.example.com "$(path Prefix / web),$(path Prefix /api api),$(path Exact /api/v1 far)"),$(rule '*.example.com' "$(path Prefix / far)"),$(rule chat.example.com "$(path Prefix / chat)")]"
	ingress_json stripped '"ingress.sampan.io/rewrite-prefix":"/"' "\"rules\":[$(rule rewrite.example.com "$(path Prefix /deep/down web)")]"
	ingress_json moved '"ingress.sampan.io/redirect":"https://elsewhere.example.org/here"' "\"rules\":[$(rule moved.example.com "$(path Prefix / web)")]"
	ingress_json grpc '"ingress.sampan.io/backend-protocol":"grpc"' "\"rules\":[$(rule rpc.example.com "$(path Prefix / rpc)")]"
	ingress_json safe '' "\"tls\":[{\"hosts\":[\"safe.example.com\"],\"secretName\":\"safe\"}],\"rules\":[$(rule safe.example.com "$(path Prefix / web)")]"
	ingress_json refused '"ingress.sampan.io/no-such-thing":"1"' "\"rules\":[$(rule refused.example.org "$(path Prefix / web)")]"
	secret_json safe
	printf %s "${more:-}"
}

fetch() { # HOST PATH [CURL-ARGUMENTS...]
	local host=$1 path=$2
	shift 2
	net out curl -s --max-time 5 -H "Host: $host" "$@" "http://192.0.2.1$path"
}
served_by() { # HOST PATH PATTERN
	local body
	body=$(fetch "$1" "$2")
	[[ $body == $3 ]] || { echo "got: $body"; return 1; }
}
status_of() { # HOST PATH WANTED
	equals "$(fetch "$1" "$2" -o /dev/null -w '%{http_code} %{redirect_url}')" "$3"
}
secure() { # HOST [CURL-ARGUMENTS...]
	local host=$1
	shift
	net out curl -s --max-time 5 --resolve "$host:443:192.0.2.1" "$@" "https://$host/"
}
shown_certificate() { # HOST
	net out openssl s_client -connect 192.0.2.1:443 -servername "$1" </dev/null 2>/dev/null | openssl x509 -noout -fingerprint
}
shows() { # HOST FILE
	equals "$(shown_certificate "$1")" "$(openssl x509 -noout -fingerprint <"$2")"
}
shows_other() { # HOST FILE
	! shows "$1" "$2" >/dev/null
}
loads() { grep -c "HAProxy is loaded" "$work/n1.log"; }
more_loads() { [ "$(loads)" -gt "$1" ]; }
haproxy_pid() { cat "$work/n1/ingress/pid"; }
kill_haproxy() { kill -9 "$(haproxy_pid)" 2>/dev/null; }

chat_server() {
	in_background p11 /usr/bin/python3 - 2>/dev/null <<-'PY'
		# A WebSocket (RFC 6455) that answers every text with the same one.
		import base64, hashlib, socketserver
		class H(socketserver.StreamRequestHandler):
		    def handle(self):
		        key = ""
		        for line in iter(self.rfile.readline, b"\r\n"):
		            if line.lower().startswith(b"sec-websocket-key:"): key = line.split(b":", 1)[1].strip().decode()
		        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
		        self.wfile.write(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode())
		        while True:
		            head = self.rfile.read(2)
		            if len(head) < 2 or head[0] & 15 == 8: return
		            n = head[1] & 127
		            mask, data = self.rfile.read(4), self.rfile.read(n)
		            self.wfile.write(bytes([0x81, n]) + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))
		class S(socketserver.ThreadingTCPServer): allow_reuse_address = True
		S(("10.244.1.2", 8090), H).serve_forever()
	PY
}
chat_client() { # SECONDS: says something every 100 ms; fails unless all of it comes back
	net out /usr/bin/python3 - "$1" <<-'PY'
		import os, socket, sys, time
		s = socket.create_connection(("192.0.2.1", 80), timeout=5)
		s.sendall(b"GET / HTTP/1.1\r\nHost: chat.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		f = s.makefile("rb")
		assert b"101" in f.readline()
		while f.readline() != b"\r\n": pass
		until, n = time.time() + float(sys.argv[1]), 0
		while n == 0 or time.time() < until:
		    text, mask = b"hello %d" % n, os.urandom(4)
		    s.sendall(bytes([0x81, 0x80 | len(text)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(text)))
		    head = f.read(2)
		    assert f.read(head[1]) == text
		    n += 1
		    time.sleep(0.1)
	PY
}

hammer() { # SECONDS: requests over new connections; prints how many failed, of how many
	local until=$((SECONDS + $1)) n=0 failed=0
	while [ $SECONDS -lt $until ]; do
		n=$((n + 1))
		[ "$(fetch shop.example.com / -o /dev/null -w '%{http_code}')" = 200 ] || failed=$((failed + 1))
	done
	echo "$failed of $n"
}
none_failed() { [[ $1 == "0 of "* && $1 != "0 of 0" ]] || { echo "failed: $1"; return 1; }; }
# The world changes again and again while requests come.
changes_under_load() {
	local i
	hammer 6 >"$work/hammer" &
	local hammer_pid=$!
	for i in 1 2 3 4 5 6 7 8; do
		world "10.244.1.2 n1" "10.244.1.3 n1" | proxies_learn
		sleep 0.3
		world "10.244.2.2 n2" "10.244.1.3 n1" | proxies_learn
		sleep 0.3
	done
	wait $hammer_pid
	none_failed "$(cat "$work/hammer")"
}

world_start
certificate safe safe.example.com
for p in "p11 10.244.1.2" "p12 10.244.1.3" "p21 10.244.2.2"; do
	set -- $p
	serve "$1" "$2" 8080
done
chat_server
mkdir -p "$work/www"
echo over-h2 >"$work/www/index.html"
in_background p11 nghttpd --no-tls -d "$work/www" --trailer="grpc-status: 0" --address 10.244.1.2 8091 2>/dev/null
at_exit kill_haproxy
world | snapshot
proxy_start n1

check "a host and the root path" wait_for 20 served_by shop.example.com / "p11*"
check "the client's address is passed on" contains "$(grep -c forwardfor "$work/n1/ingress/haproxy.cfg")" 1
check "the longer prefix wins" served_by shop.example.com /api/x "p12*"
check "a prefix is a prefix itself" served_by shop.example.com /api "p12*"
check "a prefix ends where an element ends" served_by shop.example.com /apis "p11*"
check "an exact path wins over a prefix" served_by shop.example.com /api/v1 "p21*"
check "an exact path is not a prefix" served_by shop.example.com /api/v1/x "p12*"
check "hosts are compared without case and port" served_by SHOP.example.com:80 / "p11*"
check "a wildcard takes one label" served_by any.example.com / "p21*"
check "but not two" status_of a.b.example.com / "404 "
check "nor none" status_of example.com / "404 "
check "who is nobody's host gets 404" status_of nowhere.example.org / "404 "
check "what is refused is not served" status_of refused.example.org / "404 "
check "a path is rewritten" equals "$(fetch rewrite.example.com /deep/down/x -o /dev/null -w '%{http_code}')" 200
check "a redirect leads away" status_of moved.example.com / "301 https://elsewhere.example.org/here"
check "a host with a certificate is told to come back over TLS" status_of safe.example.com /x "308 https://safe.example.com/x"
check "and is served there" equals "$(secure safe.example.com --cacert "$work/safe.crt" | cut -d' ' -f1)" p11
check "over HTTP/2" equals "$(secure safe.example.com --cacert "$work/safe.crt" --http2 -o /dev/null -w '%{http_version}')" 2
check "other hosts see a certificate nobody trusts" shows_other other.example.com "$work/safe.crt"
check "a WebSocket passes" chat_client 0
check "HTTP/2 to the pod, with trailers, as gRPC needs" contains "$(net out nghttp -v -H ':authority: rpc.example.com' http://192.0.2.1/index.html 2>&1)" "grpc-status: 0"

loads=$(loads)
certificate safe safe.example.com
world | proxies_learn
check "a new certificate is shown at once" wait_for 5 shows safe.example.com "$work/safe.crt"
more=$(service late "10.244.2.2 n2"; ingress_json late '' "\"rules\":[$(rule late.example.org "$(path Prefix / late)")]")
world | proxies_learn
check "an Ingress that is new is served at once" wait_for 5 served_by late.example.org / "p21*"
more=
world | proxies_learn
check "and gone at once" wait_for 5 status_of late.example.org / "404 "
check "endpoints change under load, and no request fails" changes_under_load
check "all of it without loading HAProxy anew" equals "$(loads)" "$loads"

{ chat_client 6; echo $? >"$work/chat"; } &
chat=$!
kill -9 "$(proxy_pid n1)"
check "requests go on without the proxy" none_failed "$(hammer 1)"
world | snapshot
hammer 5 >"$work/hammer" &
hammer=$!
proxy_start n1
check "a proxy that starts loads HAProxy again" wait_for 10 more_loads "$loads"
wait $hammer
check "and no request fails" none_failed "$(cat "$work/hammer")"
wait $chat
check "nor does a WebSocket end" equals "$(cat "$work/chat")" 0
kill -9 "$(haproxy_pid)"
check "an HAProxy that died is started again" wait_for 10 served_by shop.example.com / "p*"
check "for everybody" served_by shop.example.com /api/v1 "p21*"
finish
