"""Payloads and envelopes of every event type, as pure functions: time and identity are arguments.

The node decides what an event may be. Here an envelope refuses floats alone, because a type checker does not see them.
Payload members that this package does not know are passed as `extra`.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timezone
from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence

from .model import (
    ActionStatus,
    Actor,
    ActorType,
    ApprovalDecision,
    Entity,
    EntityRole,
    Fact,
    JsonObject,
    NewEvent,
    Outcome,
    PolicyDecision,
    Source,
)


#: Advice for a float in a payload, in the words of the node.
INSTEAD_OF_A_FLOAT = 'write a scaled integer, such as "confidence_ppm": 870000, or a string, such as "0.87"'


class Draft(NamedTuple):
    """An event type and its payload, before an envelope is around them."""

    event_type: str
    payload: Dict[str, Any]


def actor(actor_id: str, actor_type: ActorType = "agent") -> Actor:
    """An actor; by default an agent."""
    return {"actor_type": actor_type, "actor_id": actor_id}


def entity(entity_type: str, entity_id: str, system: Optional[str] = None) -> Entity:
    """An entity; `system` names the system of record and is not part of its id."""
    found: Entity = {"entity_type": entity_type, "entity_id": entity_id}
    if system is not None:
        found["system"] = system
    return found


def facts(values: Optional[Mapping[str, Any]] = None, **named: Any) -> Sequence[Fact]:
    """Facts from names and values: `facts(amount_cents=180000)`."""
    return [{"name": name, "value": value} for name, value in {**(values or {}), **named}.items()]


def trace_started(workflow: str, title: str, primary_entity: Entity, **extra: Any) -> Draft:
    """The first event of a trace: a decision about `primary_entity` begins."""
    return Draft("TraceStarted", {**extra, "workflow": workflow, "title": title, "primary_entity": primary_entity})


def input_observed(
    input_id: str, *, system: str, object_type: str, object_id: str, facts: Sequence[JsonObject] = (), **extra: Any
) -> Draft:
    """Something was read: an object of a system, and the facts that were taken from it."""
    source = {"system": system, "object_type": object_type, "object_id": object_id}
    return Draft("InputObserved", {**extra, "input_id": input_id, "source": source, "facts": list(facts)})


def entity_observed(
    observed: Entity, role: EntityRole = "related", *, facts: Sequence[JsonObject] = (), **extra: Any
) -> Draft:
    """Another entity has a part in the decision."""
    return Draft("EntityObserved", {**extra, "entity": observed, "role": role, "facts": list(facts)})


def policy_evaluated(
    policy_id: str, policy_version: str, decision: PolicyDecision, *, inputs: Sequence[Any] = (), **extra: Any
) -> Draft:
    """A policy gave its decision about the named inputs."""
    policy = {"policy_id": policy_id, "policy_version": policy_version}
    return Draft("PolicyEvaluated", {**extra, "policy": policy, "inputs": list(inputs), "decision": decision})


def exception_requested(exception_id: str, policy_id: str, policy_version: str, reason: str, **extra: Any) -> Draft:
    """An exception from a policy was asked for."""
    policy = {"policy_id": policy_id, "policy_version": policy_version}
    return Draft("ExceptionRequested", {**extra, "exception_id": exception_id, "policy": policy, "reason": reason})


def approval_recorded(
    approval_id: str, subject_id: str, approver: Actor, decision: ApprovalDecision, *,
    subject_type: str = "exception", **extra: Any
) -> Draft:
    """A person, role or system approved or rejected the subject."""
    subject = {"subject_type": subject_type, "subject_id": subject_id}
    found = {"approval_id": approval_id, "subject": subject, "approver": approver, "decision": decision}
    return Draft("ApprovalRecorded", {**extra, **found})


def precedent_cited(cited_trace_id: str, reason: str, **extra: Any) -> Draft:
    """An earlier decision was used as a precedent."""
    return Draft("PrecedentCited", {**extra, "cited_trace_id": cited_trace_id, "reason": reason})


def action_proposed(
    action_id: str, action_type: str, target_entity: Entity, target_system: str, *,
    changes: Sequence[JsonObject] = (), **extra: Any
) -> Draft:
    """An action is about to be done."""
    found = {"action_id": action_id, "action_type": action_type, "target_entity": target_entity}
    return Draft("ActionProposed", {**extra, **found, "target_system": target_system, "changes": list(changes)})


def action_committed(action_id: str, status: ActionStatus = "success", **extra: Any) -> Draft:
    """A proposed action was done, or failed."""
    return Draft("ActionCommitted", {**extra, "action_id": action_id, "status": status})


def trace_finished(outcome: Outcome = "success", **extra: Any) -> Draft:
    """The last event of a trace."""
    return Draft("TraceFinished", {**extra, "outcome": outcome})


def envelope(
    draft: Draft, trace_id: str, *, source: Source, actor: Actor, idempotency_key: str, occurred_at: str,
    correlation_id: Optional[str] = None, causation_event_id: Optional[str] = None, tags: Sequence[str] = (),
) -> NewEvent:
    """A draft in its envelope. The node draws `event_id` and the number in the trace.

    A float in the payload is a `ValueError`: the node would refuse the event later.
    """
    _refuse_floats(draft.payload, "payload")
    event: NewEvent = {
        "trace_id": trace_id,
        "trace_seq": "next",
        "event_type": draft.event_type,
        "occurred_at": occurred_at,
        "source": source,
        "actor": actor,
        "idempotency_key": idempotency_key,
        "payload": draft.payload,
        "schema_version": 1,
        "tags": list(tags),
    }
    if correlation_id is not None:
        event["correlation_id"] = correlation_id
    if causation_event_id is not None:
        event["causation_event_id"] = causation_event_id
    return event


def _refuse_floats(value: Any, place: str) -> None:
    if isinstance(value, float):
        raise ValueError(f"`{place}` is a float, and a payload has none: {INSTEAD_OF_A_FLOAT}")
    if isinstance(value, Mapping):
        for key, member in value.items():
            _refuse_floats(member, f"{place}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _refuse_floats(item, f"{place}[{index}]")


def drawn() -> str:
    """A new id."""
    return str(uuid.uuid4())


def now() -> str:
    """The time of day as the envelope wants it: RFC 3339, UTC, microseconds."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
