"""OpenAI Agents SDK: a tracing processor that records each of its traces as a decision.

    agents.add_trace_processor(DecisionGraphProcessor(client, workflow="refund"))

Needs `openai-agents` (`pip install decisiongraph-client[openai-agents]`). Generations and responses are not recorded.
`metadata` of the SDK's trace may hold `title`, `primary_entity` and `correlation_id`.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any, Dict, Iterable, Mapping, Optional, Sequence

from agents.tracing import TracingProcessor

from .agent_runs import AgentRun, Recorded, RunOptions, TargetOf, options_of
from .client import Client
from .model import Entity


class DecisionGraphProcessor(TracingProcessor):
    """Takes part in any number of traces at a time."""

    def __init__(
        self, client: Client, *, workflow: Optional[str] = None, title: Optional[str] = None,
        primary_entity: Optional[Entity] = None, record: Iterable[Recorded] = (),
        target_of: Optional[TargetOf] = None, system: str = "openai-agents", policy_version: str = "unversioned",
        tags: Sequence[str] = (),
    ) -> None:
        """`target_of(tool, input)` names the entity that a tool call acts on; guardrails are policies of a version."""
        self._client = client
        self._options: RunOptions = options_of(
            record, workflow=workflow, title=title, primary_entity=primary_entity, target_of=target_of,
            system=system, policy_version=policy_version, tags=tags,
        )
        self._runs: Dict[str, AgentRun] = {}
        self._failures: Dict[str, Any] = {}
        self._lock = threading.Lock()

    def on_trace_start(self, trace: Any) -> None:
        """A run begins; its decision gets the id of the SDK's trace."""
        metadata: Mapping[str, Any] = getattr(trace, "metadata", None) or {}
        options = replace(
            self._options,
            title=self._options.title or metadata.get("title"),
            primary_entity=self._options.primary_entity or metadata.get("primary_entity"),
        )
        run = AgentRun(
            self._client, options, trace.name or "agent", trace.trace_id, trace_id=trace.trace_id,
            correlation_id=metadata.get("correlation_id"),
        )
        with self._lock:
            self._runs[trace.trace_id] = run

    def on_trace_end(self, trace: Any) -> None:
        """A run ends; it failed when an agent of it did."""
        with self._lock:
            run = self._runs.pop(trace.trace_id, None)
            failure = self._failures.pop(trace.trace_id, None)
        if run is not None:
            run.ended(*(failure or ()))

    def on_span_start(self, span: Any) -> None:
        """A step begins; a tool's is a proposed action. The SDK may tell its input only at the end."""
        run = self._run(span)
        if run is not None and span.span_data.type == "function":
            run.tool_started(span.span_id, span.span_data.name, span.span_data.input or None)

    def on_span_end(self, span: Any) -> None:
        """A step ends."""
        run = self._run(span)
        if run is None:
            return
        data, error = span.span_data, span.error
        if data.type == "function" and error:
            run.tool_failed(span.span_id, *_failure(error))
        elif data.type == "function":
            run.tool_ended(span.span_id, data.output, data.input)
        elif data.type == "guardrail":
            run.guarded(data.name, data.triggered)
        elif data.type == "handoff" and data.to_agent:
            run.handed_off(data.to_agent)
        if error and data.type in ("agent", "task"):
            with self._lock:
                self._failures.setdefault(span.trace_id, _failure(error))

    def shutdown(self) -> None:
        """Sends what waits, as far as it can in a few seconds."""
        self._client.flush(5.0)

    def force_flush(self) -> None:
        """Sends what waits."""
        self._client.flush(30.0)

    def _run(self, span: Any) -> Optional[AgentRun]:
        with self._lock:
            return self._runs.get(span.trace_id)


def _failure(error: Mapping[str, Any]) -> "tuple[str, str]":
    data = error.get("data") or {}
    named = data.get("error_type") or data.get("type") or "AgentError"
    return str(named), str(error.get("message") or "")
