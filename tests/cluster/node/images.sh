#!/usr/bin/env bash
# sampan-pull against a real registry: plain, TLS, Basic and Bearer authentication, indexes,
# broken connections, wrong content; and the layers as overlayfs shows them.
source "$(dirname "$0")/../../lib/tap.sh"
source "$root/tests/lib/registry.sh"
pull=$root/build/agent/images/sampan-pull
[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP unpacking layers needs root"; exit 0; }
at_exit registry_stop

fetch() { # STORE NAME [AUTH] [OPTION...]
	local store=$work/$1 name=$2 auth=${3:-} w
	shift 2
	[ $# -gt 0 ] && shift
	mkdir -p "$store"/{layers,images,tmp}
	w=$(mktemp -d "$store/tmp/w.XXXXXX")
	{
		echo "name $name"
		[ -z "$auth" ] || echo "auth $auth"
	} | "$pull" --dir "$store" --work-dir "$w" "$@"
	local rc=$?
	rm -rf "$w"
	return $rc
}

pulls() { # arguments of fetch; prints the digest only
	local out
	out=$(fetch "$@") || { echo "$out"; return 1; }
	echo "$out" | sed -n 's/^image //p'
}

fails_with() { # REASON TEXT arguments of fetch
	local reason=$1 text=$2 out
	shift 2
	out=$(fetch "$@") && { echo "it succeeded: $out"; return 1; }
	contains "$out" "error $reason " && contains "$out" "$text"
}

registry_start "$work" || { echo "Bail out! no registry"; exit 1; }
registry_push_busybox test/busybox 1

# Two layers: the second deletes, replaces a directory, links, and carries an attribute.
mkdir -p "$work/l1/dir/sub" "$work/l1/keep" "$work/l2/dir" "$work/l2/keep"
echo one >"$work/l1/dir/old"
echo gone >"$work/l1/gone"
echo kept >"$work/l1/keep/a"
touch "$work/l2/.wh.gone" "$work/l2/dir/.wh..wh..opq"
echo new >"$work/l2/dir/new"
ln "$work/l2/dir/new" "$work/l2/keep/hard"
setfattr -n user.note -v hello "$work/l2/dir/new" 2>/dev/null
for l in 1 2; do
	tar --xattrs -C "$work/l$l" -cf "$work/l$l.tar" .
done
gzip -k "$work/l2.tar"
registry_push_image test/layers 1 '{"Entrypoint":["/x"],"User":"7","ExposedPorts":{"80/tcp":{}}}' "$work/l1.tar" "$work/l2.tar.gz"

check "an image over plain HTTP from loopback" pulls a "$REGISTRY/test/busybox:1"
check "again: nothing to do" pulls a "$REGISTRY/test/busybox:1"
digest=$(pulls a "$REGISTRY/test/busybox:1")
check "by digest" equals "$(pulls b "$REGISTRY/test/busybox@$digest")" "$digest"
check "nothing is left in the work directory" bash -c "[ -z \"\$(ls -A '$work/a/tmp')\" ]"
check "no such tag" fails_with ErrImagePull "not found" a "$REGISTRY/test/busybox:2"
check "no such registry" fails_with RegistryUnavailable "127.0.0.1:1" a "127.0.0.1:1/test/busybox:1"
check "no such name" fails_with InvalidImageName "lower-case" a "$REGISTRY/Test"
check "two layers" pulls a "$REGISTRY/test/layers:1"

# --- What overlayfs makes of them.
overlay() {
	local record id lower=
	record=$(grep -l '"User":"7"' "$work"/a/images/*.json)
	for id in $(grep -o '"diff_ids":\[[^]]*' "$record" | grep -o '[0-9a-f]\{64\}'); do
		lower=$work/a/layers/$id${lower:+:$lower}
	done
	mkdir -p "$work/upper" "$work/ovl" "$work/root"
	mount -t overlay overlay -o "lowerdir=$lower,upperdir=$work/upper,workdir=$work/ovl" "$work/root"
}
check "the layers mount" overlay
at_exit "umount '$work/root' 2>/dev/null"
check "a whiteout deletes" bash -c "! ls '$work/root/gone' 2>/dev/null"
check "an opaque directory hides what was in it" equals "$(ls "$work/root/dir")" new
check "what was not touched is there" equals "$(cat "$work/root/keep/a")" kept
check "hard links" equals "$(stat -c %h "$work/root/dir/new")" 2

# --- An index, made of the image's manifest and one for a machine nobody has.
manifest=$(registry_curl -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' "http://$REGISTRY/v2/test/busybox/manifests/1" | tee "$work/m" | wc -c)
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","size":%d,"digest":"%s","platform":{"os":"linux","architecture":"mips"}},{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","size":%d,"digest":"%s","platform":{"os":"linux","architecture":"%s"}}]}' \
	"$manifest" "$(registry_digest "$work/m")" "$manifest" "$(registry_digest "$work/m")" "$(dpkg --print-architecture)" >"$work/index"
registry_push_manifest test/busybox multi "$work/index" application/vnd.oci.image.index.v1+json
check "an index" equals "$(pulls c "$REGISTRY/test/busybox:multi")" "$digest"

# --- A front with a Bearer token, redirections, connections that break and bytes that lie.
front() { # MODE: sets FRONT
	/usr/bin/python3 - "$1" "$REGISTRY" "$work/front.port" <<-'PY' <&0 &
		import base64, http.client, http.server, json, sys, urllib.parse
		mode, backend, portfile = sys.argv[1:]
		broken = set()
		class H(http.server.BaseHTTPRequestHandler):
		    protocol_version = "HTTP/1.1"
		    def log_message(self, *a): pass
		    def say(self, code, body=b"", **headers):
		        self.send_response(code)
		        for k, v in headers.items(): self.send_header(k.replace("_", "-"), v)
		        self.send_header("Content-Length", str(len(body)))
		        self.end_headers()
		        self.wfile.write(body)
		    def do_GET(self):
		        here = "http://127.0.0.1:%d" % self.server.server_port
		        if self.path.startswith("/token"):
		            q = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
		            good = "Basic " + base64.b64encode(b"me:secret").decode()
		            if self.headers.get("Authorization") != good: return self.say(401, b"{}")
		            assert q["service"] == ["front"] and q["scope"] == ["repository:test/busybox:pull"], q
		            return self.say(200, json.dumps({"token": "t0ken"}).encode())
		        if mode == "token" and self.headers.get("Authorization") != "Bearer t0ken":
		            return self.say(401, b"{}", WWW_Authenticate='Bearer realm="%s/token",service="front"' % here)
		        if mode == "redirect" and "/blobs/" in self.path and "?there" not in self.path:
		            return self.say(307, b"", Location=here + self.path + "?there")
		        c = http.client.HTTPConnection(backend)
		        c.request("GET", self.path.split("?")[0], headers={k: v for k, v in self.headers.items() if k in ("Accept", "Range")})
		        r = c.getresponse()
		        body = r.read()
		        if mode == "liemanifest" and "/manifests/" in self.path: body += b" "
		        cut = len(body)
		        if mode == "cut" and "/blobs/" in self.path and len(body) > 5000 and len(broken) < 4:
		            broken.add(len(broken)); cut = 200000
		        if mode == "lie" and "/blobs/" in self.path and len(body) > 5000:
		            body = body[:3000] + bytes([body[3000] ^ 1]) + body[3001:]
		        self.send_response(r.status)
		        for h in ("Content-Type", "Content-Range"):
		            if r.getheader(h): self.send_header(h, r.getheader(h))
		        self.send_header("Content-Length", str(len(body)))
		        self.end_headers()
		        self.wfile.write(body[:cut])
		        if cut < len(body): self.close_connection = True
		s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), H)
		open(portfile, "w").write(str(s.server_port))
		s.serve_forever()
	PY
	front_pid=$!
	at_exit "kill $front_pid 2>/dev/null"
	wait_for 10 test -s "$work/front.port" >/dev/null
	FRONT=127.0.0.1:$(cat "$work/front.port")
	rm "$work/front.port"
}

me=$(printf me:secret | base64)
front token
check "Bearer token" equals "$(pulls d "$FRONT/test/busybox:1" "$me")" "$digest"
check "Bearer token refused" fails_with ErrImagePull "refused the credentials" e "$FRONT/test/busybox:1" "$(printf me:wrong | base64)"
front redirect
check "blobs elsewhere" equals "$(pulls f "$FRONT/test/busybox:1")" "$digest"
front cut
check "a connection that breaks is continued" equals "$(pulls g "$FRONT/test/busybox:1")" "$digest"
front lie
check "a layer that was changed is refused" fails_with ErrImagePull "" h "$FRONT/test/busybox:1"
check "and leaves no layer" bash -c "[ -z \"\$(ls -A '$work/h/layers')\" ]"
front liemanifest
check "a manifest that was changed is refused" fails_with ErrImagePull "digest is" i "$FRONT/test/busybox@$digest"

# --- TLS and Basic.
registry_stop
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/tls.key" -out "$work/tls.crt" -days 2 -subj /CN=localhost \
	-addext subjectAltName=IP:127.0.0.1,DNS:localhost 2>/dev/null
hash=$(/usr/bin/python3 -W ignore -c 'import crypt; print(crypt.crypt("secret", "$2b$05$abcdefghijklmnopqrstuu"))')
echo "me:$hash" >"$work/htpasswd"
REGISTRY_HTTP_EXTRA="  tls: {certificate: $work/tls.crt, key: $work/tls.key}"
REGISTRY_EXTRA="auth: {htpasswd: {realm: test, path: $work/htpasswd}}"
REGISTRY_SCHEME=https REGISTRY_USER=me:secret
registry_start "$work" || { echo "Bail out! no registry with TLS"; exit 1; }
check "TLS and Basic" equals "$(pulls j "$REGISTRY/test/busybox:1" "$me" --ca "$work/tls.crt")" "$digest"
check "Basic without credentials" fails_with ErrImagePull "there are none" k "$REGISTRY/test/busybox:1" "" --ca "$work/tls.crt"
check "Basic refused" fails_with ErrImagePull "refused the credentials" k "$REGISTRY/test/busybox:1" "$(printf me:no | base64)" --ca "$work/tls.crt"
check "a certificate nobody knows" fails_with ErrImagePull "" k "$REGISTRY/test/busybox:1" "$me"
finish
