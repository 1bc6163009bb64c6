"""A decision while it is made: one method per event type, and a block that ends with `TraceFinished`.

Each method appends one event and returns when it is durable: in the spool, or, with `sync`, at the node.
"""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Any, Callable, Optional, Sequence, Type

from . import builders
from .builders import Draft, drawn, envelope, now
from .errors import DecisionGraphError
from .model import (
    ActionStatus, Actor, ApprovalDecision, Entity, EntityRole, JsonObject, NewEvent, Outcome, PolicyDecision, Source,
)

LOG = logging.getLogger("decisiongraph_client")


class Trace:
    """One trace. `client.trace(…)` begins one; `client.open_trace(id)` adds to one that another process began."""

    def __init__(
        self, put: Callable[[NewEvent], object], trace_id: str, *, source: Source, actor: Actor,
        tags: Sequence[str] = (), correlation_id: Optional[str] = None, start: Optional[Draft] = None,
        error_messages: bool = False,
    ) -> None:
        #: Id of the trace.
        self.trace_id = trace_id
        self._put = put
        self._source = source
        self._actor = actor
        self._tags = tags
        self._correlation_id = correlation_id
        self._start = start
        self._error_messages = error_messages
        self._is_finished = False

    def __enter__(self) -> "Trace":
        return self.start()

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], _: Optional[TracebackType]
    ) -> None:
        if self._is_finished:
            return
        if kind is None:
            self.finish("success")
            return
        failure = {"class": kind.__name__}
        if self._error_messages:
            failure["message"] = str(error)
        try:
            self.finish("failure", error=failure)
        except DecisionGraphError as second:  # The block's own exception is the one to raise.
            LOG.error("the end of trace %s was not recorded: %s", self.trace_id, second)

    def start(self) -> "Trace":
        """Appends `TraceStarted`; a `with` block does it by itself. Once; nothing on a trace that was opened."""
        if self._start is not None:
            start, self._start = self._start, None
            self.record(start)
        return self

    def record(
        self, draft: Draft, *, actor: Optional[Actor] = None, occurred_at: Optional[str] = None,
        idempotency_key: Optional[str] = None, causation_event_id: Optional[str] = None,
    ) -> NewEvent:
        """Appends a draft of `builders`, with another actor, time or key than the usual ones."""
        event = envelope(
            draft, self.trace_id, source=self._source, actor=actor or self._actor,
            idempotency_key=idempotency_key or drawn(), occurred_at=occurred_at or now(),
            correlation_id=self._correlation_id, causation_event_id=causation_event_id, tags=self._tags,
        )
        self._put(event)
        return event

    def input(
        self, system: str, object_type: str, object_id: str, *, facts: Sequence[JsonObject] = (),
        input_id: Optional[str] = None, actor: Optional[Actor] = None, **extra: Any,
    ) -> str:
        """`InputObserved`: something was read. Returns the id of the input, which policies name."""
        input_id = input_id or drawn()
        self.record(
            builders.input_observed(
                input_id, system=system, object_type=object_type, object_id=object_id, facts=facts, **extra
            ),
            actor=actor,
        )
        return input_id

    def entity(
        self, observed: Entity, role: EntityRole = "related", *, facts: Sequence[JsonObject] = (),
        actor: Optional[Actor] = None, **extra: Any,
    ) -> None:
        """`EntityObserved`: another entity has a part in the decision."""
        self.record(builders.entity_observed(observed, role, facts=facts, **extra), actor=actor)

    def policy(
        self, policy_id: str, policy_version: str, decision: PolicyDecision, *, inputs: Sequence[Any] = (),
        actor: Optional[Actor] = None, **extra: Any,
    ) -> None:
        """`PolicyEvaluated`: a policy allowed, denied, or asked for an exception."""
        self.record(builders.policy_evaluated(policy_id, policy_version, decision, inputs=inputs, **extra), actor=actor)

    def exception_requested(
        self, policy_id: str, policy_version: str, reason: str, *, exception_id: Optional[str] = None,
        actor: Optional[Actor] = None, **extra: Any,
    ) -> str:
        """`ExceptionRequested`: returns the id of the exception, which its approval names."""
        exception_id = exception_id or drawn()
        self.record(
            builders.exception_requested(exception_id, policy_id, policy_version, reason, **extra), actor=actor
        )
        return exception_id

    def approval(
        self, subject_id: str, approver: Actor, decision: ApprovalDecision = "approved", *,
        subject_type: str = "exception", approval_id: Optional[str] = None, actor: Optional[Actor] = None, **extra: Any,
    ) -> str:
        """`ApprovalRecorded`: the approver decided about an exception (or another subject)."""
        approval_id = approval_id or drawn()
        self.record(
            builders.approval_recorded(
                approval_id, subject_id, approver, decision, subject_type=subject_type, **extra
            ),
            actor=actor,
        )
        return approval_id

    def precedent(self, cited_trace_id: str, reason: str, *, actor: Optional[Actor] = None, **extra: Any) -> None:
        """`PrecedentCited`: an earlier decision speaks for this one."""
        self.record(builders.precedent_cited(cited_trace_id, reason, **extra), actor=actor)

    def action_proposed(
        self, action_type: str, target_entity: Entity, target_system: str, *, changes: Sequence[JsonObject] = (),
        action_id: Optional[str] = None, actor: Optional[Actor] = None, **extra: Any,
    ) -> str:
        """`ActionProposed`: returns the id of the action, which `action_committed` names."""
        action_id = action_id or drawn()
        self.record(
            builders.action_proposed(action_id, action_type, target_entity, target_system, changes=changes, **extra),
            actor=actor,
        )
        return action_id

    def action_committed(
        self, action_id: str, status: ActionStatus = "success", *, actor: Optional[Actor] = None, **extra: Any
    ) -> None:
        """`ActionCommitted`: the action was done, failed, or was done in part."""
        self.record(builders.action_committed(action_id, status, **extra), actor=actor)

    def finish(self, outcome: Outcome = "success", *, actor: Optional[Actor] = None, **extra: Any) -> None:
        """`TraceFinished`: the last event; the end of a `with` block then adds nothing."""
        self.record(builders.trace_finished(outcome, **extra), actor=actor)
        self._is_finished = True
