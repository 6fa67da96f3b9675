"""An HTTPS client for the scripts of this folder, and results in TAP. Standard library only."""
import http.client
import json
import os
import ssl
import struct
import sys

SERVER = os.environ["SERVER"].removeprefix("https://")
PKI = os.environ["PKI"]
HOST, PORT = SERVER.rsplit(":", 1)

count = failed = 0


def check(what, ok, detail=""):
    global count, failed
    count += 1
    failed += not ok
    print(f"{'ok' if ok else 'not ok'} {count} - {what}")
    if not ok:
        for line in str(detail).splitlines()[:20]:
            print(f"# {line}")
    sys.stdout.flush()
    return ok


def equals(what, got, wanted):
    return check(what, got == wanted, f"got: {got!r}\nwanted: {wanted!r}")


def finish():
    print(f"1..{count}")
    sys.exit(failed != 0)


def context(cert="admin"):
    c = ssl.create_default_context(cafile=f"{PKI}/ca.crt")
    if cert:
        c.load_cert_chain(f"{PKI}/{cert}.crt", f"{PKI}/{cert}.key")
    return c


def connect(cert="admin", timeout=20):
    return http.client.HTTPSConnection(HOST, int(PORT), context=context(cert), timeout=timeout)


shared = None


class Answer:
    def __init__(self, r, data):
        self.code, self.headers, self.data = r.status, r.headers, data
        self.type = r.headers.get("Content-Type", "")

    @property
    def json(self):
        return json.loads(self.data)

    @property
    def message(self):
        try:
            return self.json.get("message", "")
        except ValueError:
            return self.data.decode(errors="replace")


def call(method, path, body=None, headers=None, cert="admin", fresh=False):
    """One request; bodies that are not bytes are sent as JSON."""
    global shared
    headers = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        headers.setdefault("Content-Type", "application/json")
    if fresh or cert != "admin":
        c = connect(cert)
    else:
        shared = shared or connect()
        c = shared
    try:
        c.request(method, path, body, headers)
        r = c.getresponse()
        return Answer(r, r.read())
    except (http.client.HTTPException, OSError):
        if c is not shared:
            raise
        shared = None
        return call(method, path, body, headers, cert, True)


class Watch:
    """A watch in JSON lines; next() waits for one event."""

    def __init__(self, path, headers=None, timeout=10):
        self.connection = connect(timeout=timeout)
        self.connection.request("GET", path, headers=headers or {})
        self.answer = self.connection.getresponse()
        self.code = self.answer.status

    def next(self):
        line = self.answer.readline()
        return json.loads(line) if line else None

    def frame(self):
        head = self.answer.read(4)
        return self.answer.read(struct.unpack(">I", head)[0]) if len(head) == 4 else None

    def close(self):
        self.connection.close()
