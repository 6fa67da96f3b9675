import json
import threading
import time

from api import Watch, call, check, connect, equals, finish

NS = "/api/v1/namespaces/sem"
CM = NS + "/configmaps"
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
PB = "application/vnd.kubernetes.protobuf"


def cm(name, data=None, **meta):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **meta}, "data": data or {}}


# --- Create, get, conflict ---
equals("a namespace is created", call("POST", "/api/v1/namespaces", {"metadata": {"name": "sem"}}).code, 201)
made = call("POST", CM, cm("a", {"k": "v"}, labels={"app": "x"}))
equals("create answers 201", made.code, 201)
meta = made.json["metadata"]
check("the object has a uid, a version and a creation time",
      meta.get("uid") and int(meta["resourceVersion"]) > 0 and meta["creationTimestamp"].endswith("Z"), meta)
equals("kind and apiVersion are there", (made.json["kind"], made.json["apiVersion"]), ("ConfigMap", "v1"))
twice = call("POST", CM, cm("a"))
equals("again is 409 AlreadyExists", (twice.code, twice.json["reason"]), (409, "AlreadyExists"))
equals("... in Kubernetes' words", twice.message, 'configmaps "a" already exists')
none = call("GET", CM + "/none")
equals("what is not there is 404", (none.code, none.json["reason"], none.message),
       (404, "NotFound", 'configmaps "none" not found'))
equals("... with details", none.json["details"], {"name": "none", "kind": "configmaps"})
equals("an unknown path is 404 in plain text", (call("GET", "/api/v1/unknown").code, call("GET", "/api/v1/unknown").data),
       (404, b"404 page not found\n"))
gen = call("POST", CM, {"metadata": {"generateName": "g-"}})
check("generateName makes a name", gen.code == 201 and gen.json["metadata"]["name"].startswith("g-"), gen.data)
equals("a missing namespace is 404", call("POST", "/api/v1/namespaces/none/configmaps", cm("a")).code, 404)
equals("a name that is not the URL's is 400", call("PUT", CM + "/b", cm("a")).code, 400)
equals("a namespace that is not the URL's is 400", call("POST", CM, cm("q", namespace="other")).code, 400)
equals("a method that means nothing is 405", call("PUT", CM, cm("a")).code, 405)
equals("create in no namespace is 405", call("POST", "/api/v1/configmaps", cm("z")).code, 405)
equals("a version at creation is refused", call("POST", CM, cm("v", resourceVersion="1")).code, 500)

# --- Replace ---
obj = call("GET", CM + "/a").json
obj["data"]["k"] = "w"
put = call("PUT", CM + "/a", obj)
equals("replace", (put.code, put.json["data"]), (200, {"k": "w"}))
stale = call("PUT", CM + "/a", obj)
equals("replace of an old version is 409 Conflict", (stale.code, stale.json["reason"]), (409, "Conflict"))
same = call("PUT", CM + "/a", put.json)
equals("a write that changes nothing keeps the version", same.json["metadata"]["resourceVersion"],
       put.json["metadata"]["resourceVersion"])
equals("replace of what is not there is 404", call("PUT", CM + "/nope", cm("nope")).code, 404)

# --- Dry run and fields ---
dry = call("POST", CM + "?dryRun=All", cm("dry"))
equals("a dry run answers as if", dry.code, 201)
equals("... and does nothing", call("GET", CM + "/dry").code, 404)
equals("an unknown dryRun is refused", call("POST", CM + "?dryRun=Some", cm("dry")).code, 422)
strict = call("POST", CM + "?fieldValidation=Strict", {**cm("s"), "dta": 1})
equals("Strict refuses unknown fields", strict.code, 400)
check("... and names them", 'strict decoding error: unknown field "dta"' in strict.message, strict.message)
dup = call("POST", CM + "?fieldValidation=Strict", b'{"metadata":{"name":"s"},"data":{},"data":{}}')
check("Strict refuses duplicates", dup.code == 400 and 'duplicate field "data"' in dup.message, dup.message)
warn = call("POST", CM, {**cm("w"), "dta": 1})
equals("Warn warns", (warn.code, warn.headers.get("Warning")), (201, '299 - "unknown field \\"dta\\""'))
ignore = call("POST", CM + "?fieldValidation=Ignore", {**cm("i"), "dta": 1})
equals("Ignore is silent", (ignore.code, ignore.headers.get("Warning")), (201, None))
equals("a long fieldManager is refused", call("POST", CM + "?fieldManager=" + "x" * 200, cm("f")).code, 400)

# --- Lists ---
for i in range(10):
    call("POST", CM, cm(f"l{i}", labels={"list": "yes", "n": str(i)}))
first = call("GET", CM + "?labelSelector=list%3Dyes&limit=4").json
equals("a list in pieces", ([o["metadata"]["name"] for o in first["items"]], first["kind"], first["apiVersion"]),
       (["l0", "l1", "l2", "l3"], "ConfigMapList", "v1"))
call("POST", CM, cm("l31", labels={"list": "yes"}))
call("DELETE", CM + "/l5")
token = first["metadata"]["continue"]
second = call("GET", CM + f"?labelSelector=list%3Dyes&limit=100&continue={token}").json
equals("... goes on as of its beginning", [o["metadata"]["name"] for o in second["items"]],
       ["l4", "l5", "l6", "l7", "l8", "l9"])
equals("... at one version", second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"])
check("the last piece has no token", "continue" not in second["metadata"], second["metadata"])
equals("a broken token is 400", call("GET", CM + "?continue=xyz").code, 400)
names = lambda q: [o["metadata"]["name"] for o in call("GET", CM + q).json["items"]]
equals("in (...)", names("?labelSelector=n+in+(1,3)"), ["l1", "l3"])
equals("!=", "l1" in names("?labelSelector=list%3Dyes,n!%3D1"), False)
equals("a field selector", names("?fieldSelector=metadata.name%3Dl2"), ["l2"])
equals("a bad label selector is 400", call("GET", CM + "?labelSelector=a%3D%3D%3Db").code, 400)
equals("a field that cannot be selected is 400", call("GET", CM + "?fieldSelector=data.k%3Dv").code, 400)
exact = call("GET", CM + f"?resourceVersion={first['metadata']['resourceVersion']}&resourceVersionMatch=Exact").json
check("a list as of a version", "l5" in [o["metadata"]["name"] for o in exact["items"]])
future = call("GET", CM + "?resourceVersion=999999999")
equals("a version of the future is 504", (future.code, future.json["details"]["causes"][0]["reason"]),
       (504, "ResourceVersionTooLarge"))
equals("any version", call("GET", CM + "?resourceVersion=0").code, 200)
equals("a version that is no number is 400", call("GET", CM + "?resourceVersion=abc").code, 400)
everywhere = call("GET", "/api/v1/configmaps?labelSelector=list%3Dyes").json
equals("all namespaces", len(everywhere["items"]), 10)

# --- Forms ---
table = call("GET", CM + "?labelSelector=list%3Dyes&limit=2", headers=TABLE).json
equals("a table", (table["kind"], [c["name"] for c in table["columnDefinitions"]]), ("Table", ["Name", "Data", "Age"]))
equals("... has metadata beside its cells", (table["rows"][0]["object"]["kind"], table["rows"][0]["cells"][0]),
       ("PartialObjectMetadata", "l0"))
check("... and goes on", "continue" in table["metadata"])
full = call("GET", CM + "/l1?includeObject=Object", headers=TABLE).json
equals("... or the whole object", full["rows"][0]["object"]["kind"], "ConfigMap")
partial = call("GET", CM + "/a", headers={"Accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}).json
equals("metadata alone", (partial["kind"], sorted(partial)), ("PartialObjectMetadata", ["apiVersion", "kind", "metadata"]))
pb = call("GET", CM + "/a", headers={"Accept": PB})
check("protobuf", pb.data[:4] == b"k8s\0" and pb.type == PB and b"ConfigMap" in pb.data, pb.data[:40])
back = call("PUT", CM + "/a", pb.data, {"Content-Type": PB, "Accept": PB})
check("... and back", back.code == 200 and back.data == pb.data, back.data)
pblist = call("GET", CM + "?limit=3", headers={"Accept": PB})
check("a protobuf list", pblist.data[:4] == b"k8s\0" and b"ConfigMapList" in pblist.data)
equals("what cannot be served is 406", call("GET", CM, headers={"Accept": "text/html"}).code, 406)
equals("a YAML body is 415", call("POST", CM, b"a: b", {"Content-Type": "application/yaml"}).code, 415)
equals("no Content-Type is JSON", call("POST", CM, json.dumps(cm("nt")).encode()).code, 201)
equals("HEAD has no body", call("HEAD", CM + "/a").data, b"")

# --- Patches ---
def patch(kind, name, body, query="", base=CM):
    return call("PATCH", f"{base}/{name}{query}", json.dumps(body).encode(), {"Content-Type": kind})


MERGE, JSONP, SMP = "application/merge-patch+json", "application/json-patch+json", "application/strategic-merge-patch+json"
equals("merge patch", patch(MERGE, "a", {"data": {"x": "1", "k": None}}).json["data"], {"x": "1"})
equals("json patch", patch(JSONP, "a", [{"op": "add", "path": "/data/y", "value": "2"}]).json["data"], {"x": "1", "y": "2"})
equals("json patch test fails with 422", patch(JSONP, "a", [{"op": "test", "path": "/data/y", "value": "9"}]).code, 422)
equals("strategic patch", patch(SMP, "a", {"data": {"z": "3"}}).json["data"], {"x": "1", "y": "2", "z": "3"})
equals("a patch at an old version conflicts", patch(MERGE, "a", {"metadata": {"resourceVersion": "1"}}).code, 409)
equals("a patch of what is not there is 404", patch(MERGE, "none", {}).code, 404)
equals("a broken patch is 400", call("PATCH", CM + "/a", b"{", {"Content-Type": MERGE}).code, 400)
equals("server-side apply is 415", patch("application/apply-patch+yaml", "a", {}, "?fieldManager=m").code, 415)
results = []
threads = [threading.Thread(target=lambda i=i: results.append(
    call("PATCH", CM + "/a", json.dumps({"data": {f"t{i}": "1"}}).encode(), {"Content-Type": MERGE}, fresh=True).code))
    for i in range(16)]
[t.start() for t in threads]
[t.join() for t in threads]
equals("patches at once all succeed", results, [200] * 16)
equals("... and none is lost", len([k for k in call("GET", CM + "/a").json["data"] if k.startswith("t")]), 16)

# --- Watches ---
now = call("GET", CM).json["metadata"]["resourceVersion"]
w = Watch(CM + f"?watch=True&resourceVersion={now}")
equals("a watch begins at once", w.code, 200)
call("POST", CM, cm("w1", labels={"app": "w"}))
call("PATCH", CM + "/w1", b'{"data":{"a":"b"}}', {"Content-Type": MERGE})
call("DELETE", CM + "/w1")
events = [w.next() for _ in range(3)]
equals("added, modified, deleted", [e["type"] for e in events], ["ADDED", "MODIFIED", "DELETED"])
versions = [int(e["object"]["metadata"]["resourceVersion"]) for e in events]
check("versions grow", versions == sorted(set(versions)) and versions[0] > int(now), versions)
w.close()
w = Watch(CM + f"?watch=1&resourceVersion={now}&labelSelector=app%3Dw")
equals("from the past", [w.next()["type"] for _ in range(3)], ["ADDED", "MODIFIED", "DELETED"])
call("POST", CM, cm("w2"))
call("PATCH", CM + "/w2", b'{"metadata":{"labels":{"app":"w"}}}', {"Content-Type": MERGE})
call("PATCH", CM + "/w2", b'{"metadata":{"labels":{"app":"v"}}}', {"Content-Type": MERGE})
equals("objects enter and leave a selector", [w.next()["type"] for _ in range(2)], ["ADDED", "DELETED"])
w.close()
w = Watch(CM + "?watch=true&labelSelector=n%3D1")
equals("without a version there are initial events", w.next()["object"]["metadata"]["name"], "l1")
w.close()
w = Watch(CM + "?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
          "&labelSelector=n%3D2")
event, mark = w.next(), w.next()
equals("a streaming list ends with a bookmark",
       (event["type"], mark["type"], mark["object"]["metadata"]["annotations"]),
       ("ADDED", "BOOKMARK", {"k8s.io/initial-events-end": "true"}))
w.close()
w = Watch(CM + f"?watch=true&resourceVersion={now}&timeoutSeconds=1&allowWatchBookmarks=true&fieldSelector=metadata.name%3Dx")
equals("a watch ends in time, with a bookmark", (w.next()["type"], w.next()), ("BOOKMARK", None))
w = Watch(CM + "?watch=true&resourceVersion=999999999")
equals("a watch from the future is 504", w.code, 504)
w = Watch(CM + f"?watch=true&resourceVersion={now}&labelSelector=app%3Dw", TABLE)
one, two = w.next()["object"], w.next()["object"]
check("rows are watched; columns come once", len(one["columnDefinitions"]) == 3 and not two["columnDefinitions"]
      and len(one["rows"]) == 1, (one, two))
w.close()
w = Watch(CM + f"?watch=true&resourceVersion={now}&labelSelector=app%3Dw", {"Accept": PB + ";stream=watch"})
frame = w.frame()
check("protobuf frames", frame[:7] == b"\x0a\x05ADDED" and b"k8s\0" in frame, frame[:40])
w.close()

# --- Deployments: scale, status, generation ---
DEP = "/apis/apps/v1/namespaces/sem/deployments"
dep = {"metadata": {"name": "web"}, "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}},
       "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}
equals("a deployment", call("POST", DEP, dep).code, 201)
scale = call("GET", DEP + "/web/scale").json
equals("its scale", (scale["kind"], scale["apiVersion"], scale["spec"]["replicas"], scale["status"]["selector"]),
       ("Scale", "autoscaling/v1", 2, "a=b"))
equals("scale by patch", patch(MERGE, "web/scale", {"spec": {"replicas": 7}}, base=DEP).json["spec"]["replicas"], 7)
for _ in range(100):
    scale = call("GET", DEP + "/web/scale").json
    scale["spec"]["replicas"] = 8
    put = call("PUT", DEP + "/web/scale", scale)
    if put.code != 409:
        break
equals("scale by replace", (put.code, put.json["spec"]["replicas"]), (200, 8))
live = call("GET", DEP + "/web").json
equals("... reaches the object", live["spec"]["replicas"], 8)
for _ in range(100):  # The controller writes it, too.
    live["status"] = {"replicas": 99}
    put = call("PUT", DEP + "/web", live)
    if put.code != 409:
        break
    live = call("GET", DEP + "/web").json
equals("a write of the object keeps its status", (put.code, put.json["status"].get("replicas", 0) == 99), (200, False))
equals("a selector cannot change", patch(MERGE, "web", {"spec": {"selector": {"matchLabels": {"a": "c"}}}}, base=DEP).code, 422)
bad = call("POST", DEP, {"metadata": {"name": "X_"}, "spec": {}})
equals("what is wrong is 422 with causes", (bad.code, bad.json["reason"], len(bad.json["details"]["causes"]) > 1),
       (422, "Invalid", True))

# --- Delete ---
gone = call("DELETE", CM + "/a", {"preconditions": {"uid": "wrong"}})
equals("a precondition on the uid is 409", gone.code, 409)
gone = call("DELETE", CM + "/a")
equals("delete answers Success", (gone.code, gone.json["status"], gone.json["details"]["name"]), (200, "Success", "a"))
equals("delete again is 404", call("DELETE", CM + "/a").code, 404)
call("POST", CM, cm("fin", finalizers=["example.com/x"]))
held = call("DELETE", CM + "/fin")
check("a finalizer holds it", held.json["metadata"].get("deletionTimestamp"), held.data)
patch(JSONP, "fin", [{"op": "remove", "path": "/metadata/finalizers"}])
equals("... until it is taken away", call("GET", CM + "/fin").code, 404)
equals("a policy that does not exist is 422", call("DELETE", CM + "/l1?propagationPolicy=Some").code, 422)
many = call("DELETE", CM + "?labelSelector=list%3Dyes")
equals("deletecollection", (many.code, len(many.json["items"])), (200, 10))
equals("... took them all", names("?labelSelector=list%3Dyes"), [])

# --- Questions ---
me = call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}).json
check("who am I", "system:masters" in me["status"]["userInfo"]["groups"], me)
may = call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
           {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}).json
equals("may I", may["status"]["allowed"], True)
for _ in range(100):
    token = call("POST", NS + "/serviceaccounts/default/token", {"spec": {"expirationSeconds": 600}})
    if token.code != 404:
        break
    time.sleep(0.1)
equals("a token", token.code, 201)
jwt = token.json["status"]["token"]
bearer = {"Authorization": "Bearer " + jwt}
review = call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": jwt}}).json
equals("whose token", review["status"]["user"]["username"], "system:serviceaccount:sem:default")
equals("a bearer is known", call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, bearer, cert=None)
       .json["status"]["userInfo"]["username"], "system:serviceaccount:sem:default")
no = call("GET", CM, headers=bearer, cert=None)
equals("... and may not", (no.code, no.message), (403,
       'configmaps is forbidden: User "system:serviceaccount:sem:default" cannot list resource "configmaps" in API group "" '
       'in the namespace "sem"'))
equals("a token too short-lived is 422",
       call("POST", NS + "/serviceaccounts/default/token", {"spec": {"expirationSeconds": 5}}).code, 422)

# --- Documents ---
etag = call("GET", "/apis", headers={"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"})
equals("aggregated discovery names its type", etag.type,
       "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
equals("... and is not sent twice", call("GET", "/apis", headers={
       "Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
       "If-None-Match": etag.headers["ETag"]}).code, 304)
index = call("GET", "/openapi/v3").json["paths"]
check("OpenAPI v3", all(call("GET", p["serverRelativeURL"]).json["openapi"] == "3.0.0" for p in index.values()))
equals("OpenAPI v2", call("GET", "/openapi/v2").type, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf")
equals("version", call("GET", "/version").json["minor"], "33")
for path in ("/healthz", "/livez", "/readyz"):
    equals(path, (call("GET", path).code, call("GET", path).data), (200, b"ok"))
check("readyz in words", b"[+]leader ok" in call("GET", "/readyz?verbose").data)
check("metrics", b"sampan_api_requests_total" in call("GET", "/metrics").data)
check("keys", call("GET", "/openid/v1/jwks").json["keys"])

# --- HTTP ---
c = connect()
for i in range(50):
    c.request("GET", "/version")
    body = c.getresponse().read()
check("fifty requests on one connection", b"v1.33" in body)
finish()
