"""The calls of the original service's client, made with the standard library alone: headers, encodings, repeated keys and
time-out are those of that client. Usage: eleven_calls.py URL TOKEN. The node has the demo's log in tenant default."""
import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

URL, TOKEN = sys.argv[1].rstrip("/"), sys.argv[2]
TIMEOUT_S = 5.0


def call(method, path, query=None, body=None, open_route=False):
    pairs = [(key, value) for key, value in (query or []) if value is not None]
    url = URL + path + ("?" + urllib.parse.urlencode(pairs, doseq=True) if pairs else "")
    headers = {"Accept": "application/json"}
    if not open_route:
        headers.update({"Authorization": "Bearer " + TOKEN, "X-Tenant-Id": "default"})
    data = None
    if body is not None:
        data = json.dumps(body).encode("utf-8")
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def check(name, got, status, *members):
    code, body = got
    assert code == status, (name, code, body)
    assert isinstance(body, dict), name
    data = body if name == "get_healthz" else body["data"] if status < 400 else body["error"]
    for member in members:
        assert member in data, (name, member, data)
    if name != "get_healthz":
        assert isinstance(body["request_id"], str) and body["request_id"]
    return data


def part(text):
    return urllib.parse.quote(text, safe="")


check("get_healthz", call("GET", "/api/healthz", open_route=True), 200, "deployment_env")
event = {
    "event_id": "py/1", "trace_id": "py/trace:1", "trace_seq": 0, "event_type": "TraceStarted",
    "occurred_at": "2026-09-01T00:00:00Z", "source": {"producer_id": "py", "system": "s"},
    "actor": {"actor_type": "agent", "actor_id": "a"}, "idempotency_key": "py:1",
    "payload": {"workflow": "w", "title": "t", "primary_entity": {"entity_type": "account", "entity_id": "acme", "system": "crm"}},
}
for _ in range(2):
    data = check("append_event", call("POST", "/api/v1/events", body=event), 201, "event", "projection_sync_triggered")
    assert data["event"]["log_seq"] == 98 and data["projection_sync_triggered"] is True
deadline = time.monotonic() + 20
while True:
    code, body = call("GET", "/api/v1/traces/" + part("py/trace:1"))
    if code == 200 or time.monotonic() > deadline:
        break
    assert body["error"]["code"] == "projection_out_of_date", body
    time.sleep(0.05)
data = check("get_trace", (code, body), 200, "events", "summary")
assert data["events"][0]["trace_id"] == "py/trace:1" and data["summary"]["outcome"] is None
query = [("node_type", "trace"), ("node_id", "discount-acme-2026q3"), ("max_depth", 2), ("max_nodes", 100),
         ("edge_types", ["trace_cited_precedent", "trace_evaluated_policy"])]
data = check("get_context_subgraph", call("GET", "/api/v1/graph/context", query), 200, "center", "nodes", "edges", "truncated")
assert {edge["edge_type"] for edge in data["edges"]} == {"trace_cited_precedent", "trace_evaluated_policy"}, data
query = [("node_type", "entity"), ("node_id", "account:acme"), ("direction", "both"), ("limit", 2)]
data = check("list_node_edges", call("GET", "/api/v1/graph/edges", query), 200, "edges", "next_cursor")
cursor = data["next_cursor"]
more = query + [("cursor_edge_key", cursor["edge_key"]), ("cursor_log_seq", cursor["log_seq"])]
rest = check("list_node_edges", call("GET", "/api/v1/graph/edges", more), 200, "edges")
assert not {edge["edge_id"] for edge in rest["edges"]} & {edge["edge_id"] for edge in data["edges"]}
data = check("find_precedents", call("GET", "/api/v1/precedents", [("limit", 100), ("policy_id", "discount_cap")]), 200)
assert len(data["precedents"]) == 3 and data["precedents"][0]["policy_version"] == "2"
data = check("get_projection_health", call("GET", "/api/v1/projections/health"), 200, "tenant_id", "event_log_last_seq",
             "projections", "open_runs", "full_digest")
assert [row["projection_name"] for row in data["projections"]] == ["context_graph", "trace_summary", "precedent_index"]
body = {"projection": "all", "mode": "catch_up", "reason": "a check", "metadata": {"ticket": "T-1"}}
run = check("start_replay", call("POST", "/api/v1/admin/replays", body=body), 202, "run")["run"]
assert json.loads(run["metadata_json"])["ticket"] == "T-1"
while run["status"] not in ("completed", "failed", "cancelled"):
    assert time.monotonic() < deadline + 20, run
    time.sleep(0.05)
    run = check("get_replay_status", call("GET", "/api/v1/admin/replays/" + part(run["job_id"])), 200, "run")["run"]
assert run["status"] == "completed", run
error = check("cancel_replay", call("POST", "/api/v1/admin/replays/%s/cancel" % part(run["job_id"])), 409, "code", "details")
assert error["details"]["status"] == "completed", error
error = check("export_workflow", call("GET", "/api/v1/admin/workflows/%s/export" % part("a:exception:b")), 501, "code")
assert error["code"] == "not_implemented", error
print("11 calls")
