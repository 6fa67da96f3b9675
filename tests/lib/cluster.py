"""A client of a development cluster's API for tests: standard library only."""
import base64
import http.client
import json
import os
import ssl
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Api:
    """Talks to 127.0.0.1:PORT of a kubeconfig. One per thread."""

    def __init__(self, kubeconfig, timeout=10):
        fields = {}
        for line in open(kubeconfig):
            key, _, value = line.strip().partition(": ")
            fields[key] = value
        self.host, port = fields["server"].removeprefix("https://").split(":")
        self.port, self.timeout = int(port), timeout
        with tempfile.TemporaryDirectory() as work:
            for key in ("certificate-authority-data", "client-certificate-data", "client-key-data"):
                with open(f"{work}/{key}", "wb") as f:
                    f.write(base64.b64decode(fields[key]))
            self.tls = ssl.create_default_context(cafile=f"{work}/certificate-authority-data")
            self.tls.load_cert_chain(f"{work}/client-certificate-data", f"{work}/client-key-data")
        self.connection = None

    def connect(self, timeout=None):
        return http.client.HTTPSConnection(self.host, self.port, context=self.tls, timeout=timeout or self.timeout)

    def call(self, method, path, body=None, content_type="application/json"):
        """(code, object); raises OSError or http.client.HTTPException when there was no answer."""
        if self.connection is None:
            self.connection = self.connect()
        try:
            headers = {"Content-Type": content_type} if body is not None else {}
            self.connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            reply = self.connection.getresponse()
            return reply.status, json.loads(reply.read() or b"null")
        except Exception:
            self.connection.close()
            self.connection = None
            raise

    def watch(self, path, revision):
        """Yields (type, object) until the connection ends."""
        connection = self.connect(timeout=60)
        try:
            sign = "&" if "?" in path else "?"
            connection.request("GET", f"{path}{sign}watch=true&allowWatchBookmarks=true&resourceVersion={revision}")
            reply = connection.getresponse()
            if reply.status != 200:
                raise http.client.HTTPException(f"watch: {reply.status}")
            while line := reply.readline():
                event = json.loads(line)
                yield event["type"], event["object"]
        finally:
            connection.close()


LOST = (OSError, http.client.HTTPException, ValueError)


def wait_for(what, condition, seconds=30):
    until = time.monotonic() + seconds
    while True:
        try:
            result = condition()
            if result:
                return result
        except LOST:
            pass
        if time.monotonic() > until:
            raise SystemExit(f"gave up waiting for {what}")
        time.sleep(0.05)


class Tap:
    def __init__(self):
        self.n = self.failed = 0

    def check(self, what, good, detail=""):
        self.n += 1
        self.failed += not good
        print(f"{'ok' if good else 'not ok'} {self.n} - {what}", flush=True)
        if not good and detail:
            print("# " + str(detail).replace("\n", "\n# "), flush=True)

    def finish(self):
        print(f"1..{self.n}")
        raise SystemExit(1 if self.failed else 0)
