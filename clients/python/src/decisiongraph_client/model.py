"""Shapes of what the node takes and gives, for type checkers. At run time they are plain dictionaries.

A node may add members to any of them within `v1`.
"""

from __future__ import annotations

from typing import Any, Dict, List, Literal, Mapping, Optional, TypedDict, Union

JsonObject = Mapping[str, Any]

ActorType = Literal["agent", "person", "role", "system"]
PolicyDecision = Literal["allow", "deny", "require_exception"]
ApprovalDecision = Literal["approved", "rejected"]
ActionStatus = Literal["success", "failure", "partial"]
Outcome = Literal["success", "failure", "abandoned"]
EntityRole = Literal["primary", "related"]
Direction = Literal["both", "incoming", "outgoing"]
ReplayMode = Literal["catch_up", "rebuild"]


class Actor(TypedDict):
    """The acting party: an agent, a person, a role or a system."""

    actor_type: ActorType
    actor_id: str


class _Entity(TypedDict):
    entity_type: str
    entity_id: str


class Entity(_Entity, total=False):
    """A thing of the business: an account, an order, a ticket."""

    system: Optional[str]


class _Source(TypedDict):
    producer_id: str
    system: str


class Source(_Source, total=False):
    """The program that offers an event."""

    subsystem: Optional[str]


class Fact(TypedDict):
    """One observed value. JSON without fractions: scale them to integers, or write them as strings."""

    name: str
    value: Any


class _NewEvent(TypedDict):
    trace_id: str
    event_type: str
    occurred_at: str
    source: Source
    actor: Actor
    idempotency_key: str
    payload: JsonObject


class NewEvent(_NewEvent, total=False):
    """An event as a producer offers it. Without `trace_seq` (or with `"next"`) the node numbers it."""

    event_id: str
    trace_seq: Union[int, str]
    tenant_id: str
    correlation_id: Optional[str]
    causation_event_id: Optional[str]
    schema_version: int
    tags: List[str]
    payload_hash: str


class Event(TypedDict):
    """An event as it is stored."""

    log_seq: int
    tenant_id: str
    event_id: str
    trace_id: str
    trace_seq: int
    event_type: str
    occurred_at: str
    recorded_at: str
    source: Source
    actor: Actor
    idempotency_key: str
    correlation_id: Optional[str]
    causation_event_id: Optional[str]
    schema_version: int
    tags: List[str]
    payload: Dict[str, Any]
    payload_hash: str


class Summary(TypedDict):
    """A row of the trace summary. `outcome` and `finished_at` are null while the trace is open."""

    trace_id: str
    workflow: str
    title: str
    primary_entity_type: str
    primary_entity_system: Optional[str]
    primary_entity_id: str
    started_at: str
    outcome: Optional[Outcome]
    finished_at: Optional[str]
    event_count: int
    last_log_seq: int


class TraceWithEvents(TypedDict):
    """A trace by id: its events in order, and its summary."""

    events: List[Event]
    summary: Summary


class LastEvent(TypedDict):
    """The last stored event of a trace."""

    log_seq: int
    event_type: str
    occurred_at: str


class TraceRow(Summary):
    """A row of the list of traces."""

    status: Literal["open", "finished"]
    started_log_seq: int
    events_stored: int
    last_event: LastEvent


class Node(TypedDict):
    """A node of the context graph; `node_id` is the whole key, for example `entity:account:acme`."""

    node_id: str
    node_type: str
    trace_id: str
    log_seq: int
    created_at: str
    attrs: Dict[str, Any]


class Edge(TypedDict):
    """An edge of the context graph."""

    edge_id: str
    edge_type: str
    from_node_id: str
    to_node_id: str
    trace_id: str
    log_seq: int
    created_at: str
    attrs: Dict[str, Any]


class Center(TypedDict):
    """The center of a subgraph as it was asked for."""

    node_type: str
    node_id: str


class Subgraph(TypedDict):
    """The neighbourhood of a node; `truncated` when a bound cut it."""

    center: Center
    nodes: List[Node]
    edges: List[Edge]
    truncated: bool


class Precedent(TypedDict):
    """A finished decision that is like the one asked about."""

    trace_id: str
    workflow: str
    title: str
    outcome: Outcome
    policy_id: Optional[str]
    policy_version: Optional[str]
    finished_at: str
    exception_id: Optional[str]
    last_log_seq: int
    primary_entity_type: str
    primary_entity_id: str


class _Verdict(TypedDict):
    line: int
    verdict: Literal["accepted", "repeated", "refused"]


class Verdict(_Verdict, total=False):
    """The answer to one line of a batch. A refused line has `code` and `message`, any other `log_seq`."""

    log_seq: int
    event_id: str
    trace_id: str
    trace_seq: int
    code: str
    message: str
    details: Dict[str, Any]


class BatchSummary(TypedDict):
    """Counts of a batch; `last_log_seq` is the highest position among its lines."""

    lines: int
    accepted: int
    repeated: int
    refused: int
    last_log_seq: Optional[int]


class Run(TypedDict, total=False):
    """A catch-up or rebuild that was asked for."""

    job_id: str
    tenant_id: str
    projection_name: str
    mode: str
    status: str
    reason: str
    requested_by: str
    requested_at: str
    started_at: Optional[str]
    finished_at: Optional[str]
    processed_events: int
    last_log_seq: Optional[int]
    since_log_seq: Optional[int]
    until_log_seq: Optional[int]
    cancel_requested: bool
    error_code: Optional[str]
    error_message: Optional[str]
    metadata: Dict[str, Any]
    metadata_json: str
