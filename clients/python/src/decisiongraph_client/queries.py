"""Questions to a node: traces, graph, precedents, events, jobs. Every one is a request; nothing is cached.

Reads of a projection wait for the position that this client last wrote, unless `read_your_writes` is off.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence

from .builders import drawn
from .model import Direction, Edge, Event, Precedent, ReplayMode, Run, Subgraph, TraceRow, TraceWithEvents
from .stream import Stream
from .transport import Transport, line_of, segment

_JSON = {"content-type": "application/json"}


class Queries:
    """The reading half of a `Client`, and the jobs of its operators."""

    _transport: Transport
    _last_log_seq: int
    _read_your_writes: bool

    def _get(self, path: str, **query: Any) -> Dict[str, Any]:
        found: Dict[str, Any] = self._transport.request("GET", f"/api/v1{path}", query=query).json()["data"]
        return found

    def _read(
        self, path: str, at_least: Optional[int], wait_ms: Optional[int], stale: bool, **query: Any
    ) -> Dict[str, Any]:
        if at_least is None and self._read_your_writes and self._last_log_seq > 0:
            at_least = self._last_log_seq
        query.update(at_least=at_least, wait_ms=wait_ms, allow_stale=stale or None)
        patience = (wait_ms or 0) / 1000
        answer = self._transport.request("GET", f"/api/v1{path}", query=query, patience=patience)
        found: Dict[str, Any] = answer.json()["data"]
        return found

    def get_trace(
        self, trace_id: str, *, at_least: Optional[int] = None, wait_ms: Optional[int] = None, allow_stale: bool = False
    ) -> TraceWithEvents:
        """One trace: its events in order, and its summary."""
        found = self._read(f"/traces/{segment(trace_id)}", at_least, wait_ms, allow_stale)
        return found  # type: ignore[return-value]

    def traces(
        self, *, status: Optional[str] = None, workflow: Optional[str] = None, outcome: Optional[str] = None,
        entity_type: Optional[str] = None, entity_id: Optional[str] = None, involves: Optional[str] = None,
        actor_type: Optional[str] = None, actor_id: Optional[str] = None, event_type: Optional[str] = None,
        tag: Optional[str] = None, occurred_since: Optional[str] = None, occurred_until: Optional[str] = None,
        title_prefix: Optional[str] = None, trace_id_prefix: Optional[str] = None, order: Optional[str] = None,
        page: int = 50, at_least: Optional[int] = None, wait_ms: Optional[int] = None, allow_stale: bool = False,
    ) -> Iterator[TraceRow]:
        """Traces, latest first, page after page. `order` is `started` (default) or `finished`."""
        query: Dict[str, Any] = {
            "status": status, "workflow": workflow, "outcome": outcome, "entity_type": entity_type,
            "entity_id": entity_id, "involves": involves, "actor_type": actor_type, "actor_id": actor_id,
            "event_type": event_type, "tag": tag, "occurred_since": occurred_since,
            "occurred_until": occurred_until, "title_prefix": title_prefix, "trace_id_prefix": trace_id_prefix,
            "order": order, "limit": page,
        }
        at_least = at_least or (self._last_log_seq if self._read_your_writes else None) or None
        while True:
            found = self._read("/traces", at_least, wait_ms, allow_stale, **query)
            yield from found["traces"]
            if found["next_cursor"] is None:
                return
            query["cursor"] = found["next_cursor"]

    def context(
        self, node_type: str, node_id: str, *, max_depth: int = 1, max_nodes: Optional[int] = None,
        max_edges: Optional[int] = None, node_types: Sequence[str] = (), edge_types: Sequence[str] = (),
        at_least: Optional[int] = None, wait_ms: Optional[int] = None, allow_stale: bool = False,
    ) -> Subgraph:
        """The context graph around a node: `context("entity", "account:acme")`."""
        found = self._read(
            "/graph/context", at_least, wait_ms, allow_stale, node_type=node_type, node_id=node_id,
            max_depth=max_depth, max_nodes=max_nodes, max_edges=max_edges,
            node_types=list(node_types), edge_types=list(edge_types),
        )
        return found  # type: ignore[return-value]

    def edges(
        self, node_type: str, node_id: str, *, direction: Direction = "both", page: int = 100,
        at_least: Optional[int] = None, wait_ms: Optional[int] = None, allow_stale: bool = False,
    ) -> Iterator[Edge]:
        """Edges of a node in the order of the log, page after page."""
        place: Dict[str, Any] = {}
        while True:
            found = self._read(
                "/graph/edges", at_least, wait_ms, allow_stale, node_type=node_type, node_id=node_id,
                direction=direction, limit=page, **place,
            )
            yield from found["edges"]
            behind = found["next_cursor"]
            if behind is None:
                return
            place = {"cursor_edge_key": behind["edge_key"], "cursor_log_seq": behind["log_seq"]}

    def precedents(
        self, *, policy_id: Optional[str] = None, policy_version: Optional[str] = None,
        entity_type: Optional[str] = None, entity_id: Optional[str] = None, outcome: Optional[str] = None,
        limit: int = 100, at_least: Optional[int] = None, wait_ms: Optional[int] = None, allow_stale: bool = False,
    ) -> List[Precedent]:
        """Finished decisions of the same kind, latest first."""
        found = self._read(
            "/precedents", at_least, wait_ms, allow_stale, policy_id=policy_id, policy_version=policy_version,
            entity_type=entity_type, entity_id=entity_id, outcome=outcome, limit=limit,
        )
        precedents: List[Precedent] = found["precedents"]
        return precedents

    def events(
        self, *, since_log_seq: Optional[int] = None, until_log_seq: Optional[int] = None,
        event_id: Optional[str] = None, event_type: Optional[str] = None, trace_id: Optional[str] = None,
        actor_type: Optional[str] = None, actor_id: Optional[str] = None, page: int = 500,
    ) -> Iterator[Event]:
        """Stored events up to the safe mark, in the order of the log, page after page."""
        query: Dict[str, Any] = {
            "since_log_seq": since_log_seq, "until_log_seq": until_log_seq, "event_id": event_id,
            "event_type": event_type, "trace_id": trace_id, "actor_type": actor_type, "actor_id": actor_id,
            "limit": page,
        }
        while True:
            found = self._get("/events", **query)
            yield from found["events"]
            if found["next_cursor"] is None:
                return
            query["cursor"] = found["next_cursor"]

    def mark(self) -> int:
        """The safe mark: no event can still appear at or below this position."""
        return int(self._get("/events", limit=1)["mark"])

    def stream(
        self, *, since_log_seq: Optional[int] = None, event_type: Optional[str] = None,
        trace_id: Optional[str] = None, last_event_id: Optional[str] = None, marks: bool = False,
    ) -> Stream:
        """Events as they come, over any number of connections; with `marks`, also how far the stream has come.

        Without a place it begins at the present mark. `last_event_id` wins over `since_log_seq`.
        """
        if since_log_seq is None and last_event_id is None:
            since_log_seq = self.mark()
        query = {"since_log_seq": since_log_seq, "event_type": event_type, "trace_id": trace_id}
        return Stream(self._transport, query, last_event_id, marks=marks)

    def projection_health(self) -> Dict[str, Any]:
        """Cursor, lag and digest of each projection, and the jobs that run."""
        return self._get("/projections/health")

    def start_replay(
        self, projection: str, reason: str, *, mode: ReplayMode = "catch_up",
        metadata: Optional[Mapping[str, Any]] = None, until_log_seq: Optional[int] = None,
        idempotency_key: Optional[str] = None,
    ) -> Run:
        """Asks for a catch-up or a rebuild of a projection, or of `all`; repeats of a key start nothing new."""
        body: Dict[str, Any] = {"projection": projection, "mode": mode, "reason": reason}
        if metadata is not None:
            body["metadata"] = dict(metadata)
        if until_log_seq is not None:
            body["until_log_seq"] = until_log_seq
        return self._change("/admin/replays", line_of(body), idempotency_key)

    def get_replay(self, job_id: str) -> Run:
        """A replay as it is now."""
        run: Run = self._get(f"/admin/replays/{segment(job_id)}")["run"]
        return run

    def cancel_replay(self, job_id: str, *, idempotency_key: Optional[str] = None) -> Run:
        """Asks a replay to stop, and gives it as it is then."""
        return self._change(f"/admin/replays/{segment(job_id)}/cancel", None, idempotency_key)

    def whoami(self) -> Dict[str, Any]:
        """Name, roles, rights and tenants of the token's identity."""
        found: Dict[str, Any] = self._transport.request("GET", "/api/v1/whoami", tenant=False).json()["data"]
        return found

    def healthz(self) -> Dict[str, Any]:
        """State of the node's process; open to everybody who reaches it."""
        found: Dict[str, Any] = self._transport.request("GET", "/api/healthz", tenant=False).json()
        return found

    def _change(self, path: str, body: Optional[bytes], key: Optional[str]) -> Run:
        key = key or drawn()
        # The request id stays the same with the key: a node may record it, and compares what is asked again.
        headers = {"idempotency-key": key, "x-request-id": key, **(_JSON if body is not None else {})}
        answer = self._transport.request("POST", f"/api/v1{path}", body=body, headers=headers)
        run: Run = answer.json()["data"]["run"]
        return run
