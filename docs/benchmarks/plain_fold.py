#!/usr/bin/env python3
"""A plain fold of a decision log: the reference digests with nothing but dictionaries and the standard library.

    decisiongraph export | python3 docs/benchmarks/plain_fold.py

Reads JSON lines (log_seq as given, else counted from 1) and prints the four digests as `digest --reference --json` does. It shares
no code with the program and keeps everything in memory: it is here to be compared with, not to be fast. It trusts its input.
"""
import hashlib
import json
import sys

nodes, edges, summaries, precedents, evaluations = {}, {}, {}, {}, {}


def digest(value):
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))  # ASCII only, keys by code point
    return "sha256:" + hashlib.sha256(text.encode("ascii")).hexdigest()


def node(event, node_id, node_type, trace_id=None):
    nodes.setdefault(node_id, {"node_id": node_id, "node_type": node_type, "trace_id": trace_id or event["trace_id"],
                               "log_seq": event["log_seq"], "created_at": event["occurred_at"], "attrs": {}})


def edge(event, edge_type, start, end):
    for end_id in (start, end):  # a missing end becomes a placeholder
        kind, name = end_id.split(":", 1)
        node(event, end_id, kind, name if kind == "trace" else None)
    edge_id = f"{edge_type}:{start}:{end}:{event['event_id']}"
    edges.setdefault(edge_id, {"edge_id": edge_id, "edge_type": edge_type, "from_node_id": start, "to_node_id": end,
                               "trace_id": event["trace_id"], "log_seq": event["log_seq"],
                               "created_at": event["occurred_at"], "attrs": {}})


def entity(fields):
    return f"entity:{fields['entity_type']}:{fields['entity_id']}"


def context_graph(event):
    kind, payload, trace = event["event_type"], event["payload"], "trace:" + event["trace_id"]
    if kind == "TraceStarted":
        actor, about = event["actor"], entity(payload["primary_entity"])
        node(event, trace, "trace")
        node(event, f"actor:{actor['actor_type']}:{actor['actor_id']}", "actor")
        node(event, about, "entity")
        edge(event, "trace_involves_entity", trace, about)
    elif kind == "InputObserved":
        node(event, "input:" + payload["input_id"], "input")
        edge(event, "trace_observed_input", trace, "input:" + payload["input_id"])
    elif kind == "EntityObserved":
        node(event, entity(payload["entity"]), "entity")
        edge(event, "trace_involves_entity", trace, entity(payload["entity"]))
    elif kind == "PolicyEvaluated":
        policy = f"policy:{payload['policy']['policy_id']}:{payload['policy']['policy_version']}"
        node(event, policy, "policy")
        edge(event, "trace_evaluated_policy", trace, policy)
    elif kind == "ExceptionRequested":
        node(event, "exception:" + payload["exception_id"], "exception")
        edge(event, "trace_requested_exception", trace, "exception:" + payload["exception_id"])
    elif kind == "ApprovalRecorded":
        approver = f"actor:{payload['approver']['actor_type']}:{payload['approver']['actor_id']}"
        node(event, approver, "actor")
        if payload["subject"]["subject_type"] == "exception":
            edge(event, "exception_approved_by", "exception:" + payload["subject"]["subject_id"], approver)
    elif kind == "PrecedentCited":
        edge(event, "trace_cited_precedent", trace, "trace:" + payload["cited_trace_id"])
    elif kind == "ActionProposed":
        action = "action:" + payload["action_id"]
        node(event, action, "action")
        edge(event, "trace_proposed_action", trace, action)
        edge(event, "action_targets_entity", action, entity(payload["target_entity"]))
    elif kind == "ActionCommitted":
        edge(event, "trace_committed_action", trace, "action:" + payload["action_id"])


def trace_summary(event):
    kind, payload, trace_id = event["event_type"], event["payload"], event["trace_id"]
    if kind == "TraceStarted":
        about = payload["primary_entity"]
        summaries[trace_id] = {"trace_id": trace_id, "workflow": payload["workflow"], "title": payload["title"],
                               "primary_entity_type": about["entity_type"], "primary_entity_id": about["entity_id"],
                               "started_at": event["occurred_at"], "finished_at": None, "outcome": None, "event_count": 1,
                               "last_log_seq": event["log_seq"]}
    elif kind == "TraceFinished":
        row = summaries[trace_id]
        row.update(outcome=payload["outcome"], finished_at=event["occurred_at"], event_count=row["event_count"] + 1,
                   last_log_seq=event["log_seq"])


def precedent_index(event, about):
    kind, trace_id = event["event_type"], event["trace_id"]
    if kind == "TraceStarted":
        about[trace_id] = event["payload"]["primary_entity"]
    elif kind in ("PolicyEvaluated", "ExceptionRequested"):
        evaluations.setdefault(trace_id, []).append(event)
    elif kind == "TraceFinished":
        entity_fields = about[trace_id]
        for source in evaluations.pop(trace_id, []):
            policy = source["payload"]["policy"]
            precedents[source["event_id"]] = {
                "source_event_id": source["event_id"], "trace_id": trace_id, "log_seq": source["log_seq"],
                "policy_id": policy["policy_id"], "policy_version": policy["policy_version"],
                "exception_id": source["payload"]["exception_id"] if source["event_type"] == "ExceptionRequested" else None,
                "primary_entity_type": entity_fields["entity_type"], "primary_entity_id": entity_fields["entity_id"],
                "primary_entity_system": entity_fields.get("system")}


about, position = {}, 0
for line in sys.stdin.buffer.read().split(b"\n"):
    if line.strip():
        event = json.loads(line)
        position = event.setdefault("log_seq", position + 1)
        context_graph(event)
        trace_summary(event)
        precedent_index(event, about)

by_key = lambda rows: [rows[key] for key in sorted(rows)]
answer = {"context_graph": digest({"nodes": by_key(nodes), "edges": by_key(edges)}),
          "trace_summary": digest(by_key(summaries)),
          "precedent_index": digest(by_key(precedents))}
answer["full_projection"] = "sha256:" + hashlib.sha256(":".join(answer.values()).encode()).hexdigest()
answer["last_log_seq"] = position
print(json.dumps(answer, separators=(",", ":")))
