import os
import socket
import ssl

from api import HOST, PKI, PORT, Answer, call, check, connect, context, equals, finish

CM = "/api/v1/namespaces/default/configmaps"
POD = "/api/v1/namespaces/default/pods"
JSON = {"Content-Type": "application/json"}
PB = {"Content-Type": "application/vnd.kubernetes.protobuf"}


def rss():
    with open(f"/proc/{os.environ['PID']}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def raw(data, cert="admin", wait=True):
    """The first answer to bytes sent as they are; "" when the connection just ends."""
    s = socket.create_connection((HOST, int(PORT)), timeout=20)
    try:
        s = context(cert).wrap_socket(s, server_hostname=HOST)
        s.sendall(data)
        got = b""
        while wait and b"\r\n\r\n" not in got:
            piece = s.recv(65536)
            if not piece:
                break
            got += piece
        return got.decode(errors="replace")
    except (OSError, ssl.SSLError) as e:
        return f"closed: {e}"
    finally:
        s.close()


def code_of(text):
    return int(text.split()[1]) if text.startswith("HTTP/1.") else text[:60]


# --- Bodies ---
bodies = [
    ("broken JSON", b'{"metadata":{"name":"a"', 400),
    ("no JSON at all", b"\x00\x01\x02", 400),
    ("an empty body", b"", 400),
    ("a list", b"[]", 400),
    ("a number", b"1", 400),
    ("text behind the object", b'{"metadata":{"name":"a"}} x', 400),
    ("a name that is a number", b'{"metadata":{"name":7}}', 400),
    ("labels that are a list", b'{"metadata":{"name":"a","labels":[]}}', 400),
    ("data that is text", b'{"metadata":{"name":"a"},"data":"x"}', 400),
    ("bad UTF-8", b'{"metadata":{"name":"a"},"data":{"k":"\xff\xfe"}}', 400),
    ("a NUL in a string", b'{"metadata":{"name":"a\\u0000b"}}', 400),
    ("half a surrogate", b'{"metadata":{"name":"a"},"data":{"k":"\\ud800"}}', 400),
    ("nesting 10,000 deep", b'{"metadata":' + b'{"a":' * 10000 + b"1" + b"}" * 10001, 400),
    ("arrays 10,000 deep", b"[" * 10000 + b"]" * 10000, 400),
    ("another kind", b'{"kind":"Secret","apiVersion":"v1","metadata":{"name":"a"}}', 400),
    ("another version", b'{"kind":"ConfigMap","apiVersion":"v2","metadata":{"name":"a"}}', 400),
    ("a name against the rules", b'{"metadata":{"name":"A_B"}}', 422),
    ("no name", b'{"metadata":{}}', 422),
    ("a label against the rules", b'{"metadata":{"name":"a","labels":{"k":"-"}}}', 422),
]
for name, body, code in bodies:
    r = call("POST", CM + "?fieldValidation=Strict", body, JSON)
    if equals(f"{name} is {code}", r.code, code):
        s = r.json
        check(f"... and a Status says why", s["kind"] == "Status" and s["status"] == "Failure" and s["code"] == code
              and s["reason"] and s["message"], s)
deep = b'{"metadata":{"name":"a"},"data":' + b'{"a":' * 10000 + b"1" + b"}" * 10001
equals("nesting 10,000 deep in an unknown place is 400", call("POST", CM, deep, JSON).code, 400)
equals("a patch nested 10,000 deep is 400", call("PATCH", CM + "/kube-root-ca.crt", deep,
       {"Content-Type": "application/merge-patch+json"}).code, 400)
equals("protobuf without its magic is 400", call("POST", CM, b"\x0a\x03abc", PB).code, 400)
equals("protobuf cut short is 400", call("POST", CM, b"k8s\0\x0a\xff\xff\xff\x0f", PB).code, 400)
equals("protobuf of garbage is 400", call("POST", CM, b"k8s\0\x12\x04\x0a\x0c\x01\x02", PB).code, 400)
equals("an empty list of containers, a million times, is refused",
       call("POST", POD, b'{"metadata":{"name":"a"},"spec":{"containers":[' + b"{}," * 700000 + b"{}]}}", JSON).code // 100, 4)

# --- Sizes ---
big = b'{"metadata":{"name":"big"},"data":{"k":"' + b"x" * (4 << 20) + b'"}}'
try:
    r = call("POST", CM, big, JSON, fresh=True)
    equals("a body of 4 MiB is 413", (r.code, r.json["reason"]), (413, "RequestEntityTooLarge"))
except (OSError, ssl.SSLError):
    equals("a body of 4 MiB is 413", code_of(raw(b"POST " + CM.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 4194304\r\n\r\n")), 413)
equals("more than a ConfigMap may hold is 422",
       call("POST", CM, b'{"metadata":{"name":"big"},"data":{"k":"' + b"x" * (1200 << 10) + b'"}}', JSON).code, 422)
equals("a header of 100 KB is 431", code_of(raw(b"GET /version HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100000 + b"\r\n\r\n")), 431)
equals("a query of 500 parts is 400", call("GET", CM + "?" + "&".join(f"a{i}=1" for i in range(500))).code, 400)
equals("a path of 40 parts is 404", call("GET", "/api/v1" + "/x" * 40).code, 404)

# --- HTTP itself ---
requests = [
    ("Content-Length and Transfer-Encoding together", b"POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("two Content-Lengths", b"POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", 400),
    ("a Content-Length that is negative", b"POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
    ("an unknown Transfer-Encoding", b"POST /version HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n", 501),
    ("a space before the colon", b"GET /version HTTP/1.1\r\nHost : x\r\n\r\n", 400),
    ("a header folded", b"GET /version HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400),
    ("no Host", b"GET /version HTTP/1.1\r\n\r\n", 400),
    ("HTTP/3.0", b"GET /version HTTP/3.0\r\nHost: x\r\n\r\n", 505),
    ("garbage", b"\x16\x03\x01garbage\r\n\r\n", 400),
    ("a NUL in the path", b"GET /ver\x00sion HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("a chunk size that is none", b"POST /version HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    ("a broken escape", b"GET /api/v1/%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("a broken escape in the query", b"GET /api/v1/pods?a=%4 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("a method that is none", b"BREW /api/v1/pods HTTP/1.1\r\nHost: x\r\n\r\n", 405),
]
for name, data, code in requests:
    equals(f"{name} is {code}", code_of(raw(data)), code)
smuggled = raw(b"POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
               b"0\r\n\r\nGET /api/v1/secrets HTTP/1.1\r\nHost: x\r\n\r\n")
check("a request hidden in another is not answered", smuggled.count("HTTP/1.1") == 1 and "items" not in smuggled, smuggled)
plain = socket.create_connection((HOST, int(PORT)), timeout=20)
plain.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
check("plain HTTP is not served", not plain.recv(100).startswith(b"HTTP/1.1 200"))
plain.close()
for size in (1, 5, 100, 16000):
    s = socket.create_connection((HOST, int(PORT)), timeout=20)
    s.sendall(os.urandom(size))
    s.close()

# --- Who is asking ---
anonymous = call("GET", CM, cert=None)
equals("nobody is 401", (anonymous.code, anonymous.json["reason"]), (401, "Unauthorized"))
equals("... but may see the version", call("GET", "/version", cert=None).code, 200)
equals("... and health", call("GET", "/readyz", cert=None).code, 200)
equals("... not metrics", call("GET", "/metrics", cert=None).code, 401)
equals("... not discovery", call("GET", "/apis", cert=None).code, 401)
tokens = ["x", "a.b.c", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzeXN0ZW06YWRtaW4ifQ.", "abcdef.0123456789abcdef", "y" * 30000, ""]
for token in tokens:
    r = call("GET", CM, headers={"Authorization": "Bearer " + token}, cert=None)
    equals(f"the token {token[:20]!r} is 401", r.code, 401)
equals("a password is 401", call("GET", CM, headers={"Authorization": "Basic YTpi"}, cert=None).code, 401)
for cert in ("foreign", "expired", "early"):
    equals(f"a certificate that is {cert} is 401", call("GET", CM, cert=cert).code, 401)
equals("... the same CA's good one is not", call("GET", CM, cert="good").code, 200)

# --- It lives on ---
before = rss()
for i in range(300):
    call("POST", CM, b'{"metadata":{"name":' + b"[" * (i % 150) , JSON)
    raw(b"GET /\x01 HTTP/1.1\r\n\r\n", wait=False) if i % 10 == 0 else None
check("bad input leaves nothing behind", rss() < before + 4096, f"{before} -> {rss()} KB")
equals("the master still answers", call("GET", "/readyz").data, b"ok")
finish()
