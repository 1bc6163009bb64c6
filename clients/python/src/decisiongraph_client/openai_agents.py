"""OpenAI Agents SDK: a tracing processor that records each of its traces as a decision.

    agents.add_trace_processor(DecisionGraphProcessor(client, workflow="refund"))

Needs `openai-agents` (`pip install decisiongraph-client[openai-agents]`). Generations and responses are not recorded.
`metadata` of the SDK's trace may hold `title`, `primary_entity` and `correlation_id`.

A tool that waits for an approval ends its span without output, as a tool does that returns nothing. So such an action
is committed when the next turn begins. When the run ends before that, it waits for people: the action stays proposed
and the trace open, and the resumed run goes on with it.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from agents.tracing import TracingProcessor

from .agent_runs import AgentRun, Recorded, RunOptions, TargetOf, options_of
from .client import Client
from .model import Entity

#: Spans of a whole run, and of one exchange with a model.
_ROOTS = ("task", "agent")
_TURNS = ("turn", "generation", "response")


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
        self._resumed: Set[str] = set()
        self._silent: Dict[str, List[Tuple[str, Any]]] = {}
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
        self._end(trace.trace_id)

    def on_span_start(self, span: Any) -> None:
        """A step begins; a tool's is a proposed action. The SDK may tell its input only at the end."""
        data = span.span_data
        with self._lock:
            if span.trace_id not in self._runs and data.type in _ROOTS and not span.parent_id:
                # A run that waited for an approval: the SDK does not begin its trace again.
                trace = self._client.open_trace(span.trace_id, tags=self._options.tags)
                options = replace(self._options, trace=trace)
                self._runs[span.trace_id] = AgentRun(self._client, options, "agent", span.trace_id)
                self._runs[span.trace_id].is_ours = True
                self._resumed.add(span.trace_id)
        run = self._run(span)
        if run is None:
            return
        if data.type in _TURNS:
            with self._lock:
                silent = self._silent.pop(span.trace_id, [])
            for call_id, given in silent:
                run.tool_ended(call_id, None, given)
        elif data.type == "function":
            run.tool_started(span.span_id, data.name, data.input or None)

    def on_span_end(self, span: Any) -> None:
        """A step ends."""
        run = self._run(span)
        if run is None:
            return
        data, error = span.span_data, span.error
        if data.type == "function" and error:
            run.tool_failed(span.span_id, *_failure(error, "ToolError"))
        elif data.type == "function" and data.output is not None:
            run.tool_ended(span.span_id, data.output, data.input)
        elif data.type == "function":
            with self._lock:
                self._silent.setdefault(span.trace_id, []).append((span.span_id, data.input))
        elif data.type == "guardrail":
            run.guarded(data.name, data.triggered)
        elif data.type == "handoff" and data.to_agent:
            run.handed_off(data.to_agent)
        if data.type in _ROOTS:
            with self._lock:
                if error:
                    self._failures.setdefault(span.trace_id, _failure(error, "AgentError"))
                is_end = span.trace_id in self._resumed and not span.parent_id
            if is_end:
                self._end(span.trace_id)

    def shutdown(self) -> None:
        """Sends what waits, as far as it can in a few seconds."""
        self._client.flush(5.0)

    def force_flush(self) -> None:
        """Sends what waits."""
        self._client.flush(30.0)

    def _run(self, span: Any) -> Optional[AgentRun]:
        with self._lock:
            return self._runs.get(span.trace_id)

    def _end(self, trace_id: str) -> None:
        with self._lock:
            run = self._runs.pop(trace_id, None)
            failure = self._failures.pop(trace_id, None)
            silent = self._silent.pop(trace_id, [])
            self._resumed.discard(trace_id)
        if run is not None:
            run.is_waiting = bool(silent) and failure is None
            run.ended(*(failure or ()))


def _failure(error: Mapping[str, Any], otherwise: str) -> "tuple[str, str]":
    data = error.get("data") or {}
    return str(data.get("error_type") or otherwise), str(error.get("message") or "")
