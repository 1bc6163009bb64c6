"""A run of an agent framework as a trace: the mapping that all adapters share.

| in the framework | event |
|---|---|
| run of the agent | `TraceStarted`, `TraceFinished` |
| tool call begins, ends, fails | `ActionProposed`, `ActionCommitted` |
| retrieval | `InputObserved` |
| guardrail | `PolicyEvaluated` |
| hand-off to another agent | `EntityObserved` |

Prompts, answers and texts are not recorded, unless `record` names them. A fault of the recording never stops the agent:
it is logged.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Callable, Dict, FrozenSet, Iterable, List, Literal, Optional, Sequence

from .builders import entity
from .client import Client
from .errors import DecisionGraphError
from .model import Entity
from .trace import Trace

LOG = logging.getLogger("decisiongraph_client")
#: Longest recorded text, in characters; longer ones are cut and end with "…".
TEXT_CHARS_MAX = 4000

#: Texts that may be recorded. Nothing of them is recorded by default.
Recorded = Literal["tool_inputs", "tool_outputs", "queries", "documents", "error_messages"]
#: Gives the entity that a tool call acts on, from the tool's name and input; nothing for the tool itself.
TargetOf = Callable[[str, Any], Optional[Entity]]


@dataclass(frozen=True)
class RunOptions:
    """Settings of an adapter."""

    #: Workflow of the traces; by default the name of the run.
    workflow: Optional[str] = None
    #: Title of the traces; by default the name of the run.
    title: Optional[str] = None
    #: Entity that the decision is about; by default the run itself.
    primary_entity: Optional[Entity] = None
    #: Texts that are recorded.
    record: FrozenSet[Recorded] = frozenset()
    #: Entity that a tool call acts on.
    target_of: Optional[TargetOf] = None
    #: System of tools and retrievers.
    system: str = "agent"
    #: Version of the guardrails as policies.
    policy_version: str = "unversioned"
    #: A trace that is open already: events go into it, and the adapter neither starts nor finishes it.
    trace: Optional[Trace] = None
    tags: Sequence[str] = ()


def options_of(record: Iterable[Recorded], **options: Any) -> RunOptions:
    """Settings from the keyword arguments of an adapter."""
    unknown = set(record) - {"tool_inputs", "tool_outputs", "queries", "documents", "error_messages"}
    if unknown:
        raise ValueError(f"nothing that can be recorded: {', '.join(sorted(unknown))}")
    return RunOptions(record=frozenset(record), **options)


class AgentRun:
    """One run. Methods may be called by any thread, and never raise."""

    def __init__(self, client: Client, options: RunOptions, name: str, run_id: str, **extra: Any) -> None:
        self._options = options
        #: True when the end of the run is the end of the trace.
        self.is_ours = options.trace is None
        #: True when a part of the run has stopped to wait for people.
        self.is_waiting = False
        self.trace = options.trace or client.trace(
            options.workflow or name,
            title=options.title or name,
            primary_entity=options.primary_entity or entity("run", run_id),
            tags=options.tags,
            **extra,
        )
        self._try(self.trace.start)

    def tool_started(self, call_id: str, name: str, given: Any) -> None:
        """A tool is about to run."""
        options = self._options
        changes: List[Dict[str, Any]] = []
        if "tool_inputs" in options.record and given is not None:
            changes.append({"field": "input", "after": text_of(given)})
        self._try(
            lambda: self.trace.action_proposed(
                name, self._target(name, given), options.system, changes=changes, action_id=call_id
            )
        )

    def tool_ended(self, call_id: str, output: Any = None, given: Any = None) -> None:
        """A tool gave its result; `given` is its input, where that was not known at the start."""
        extra: Dict[str, Any] = {}
        if "tool_inputs" in self._options.record and given is not None:
            extra["input"] = text_of(given)
        if "tool_outputs" in self._options.record and output is not None:
            extra["output"] = text_of(output)
        self._try(lambda: self.trace.action_committed(call_id, "success", **extra))

    def tool_failed(self, call_id: str, error: str, message: str = "") -> None:
        """A tool failed with a class of error."""
        self._try(lambda: self.trace.action_committed(call_id, "failure", error=self._error(error, message)))

    def retrieved(self, call_id: str, name: str, query: Optional[str], documents: Sequence[str]) -> None:
        """A retriever found documents."""
        facts: List[Dict[str, Any]] = [{"name": "documents", "value": len(documents)}]
        if "queries" in self._options.record and query is not None:
            facts.append({"name": "query", "value": text_of(query)})
        if "documents" in self._options.record:
            facts += [{"name": "document", "value": text_of(document)} for document in documents]
        system = self._options.system
        self._try(lambda: self.trace.input(system, "retriever", name or "retriever", facts=facts, input_id=call_id))

    def guarded(self, name: str, is_triggered: bool) -> None:
        """A guardrail let the run pass, or stopped it."""
        decision: Literal["allow", "deny"] = "deny" if is_triggered else "allow"
        self._try(lambda: self.trace.policy(name, self._options.policy_version, decision))

    def handed_off(self, agent: str) -> None:
        """Another agent goes on with the run."""
        self._try(lambda: self.trace.entity(entity("agent", agent)))

    def ended(self, error: Optional[str] = None, message: str = "") -> None:
        """The run ended, or failed with a class of error. One that waits for people stays open."""
        if not self.is_ours or self.is_waiting:
            return
        if error is None:
            self._try(self.trace.finish)
        else:
            self._try(lambda: self.trace.finish("failure", error=self._error(str(error), message)))

    def _error(self, name: str, message: str) -> Dict[str, str]:
        found = {"class": name}
        if "error_messages" in self._options.record and message:
            found["message"] = text_of(message)
        return found

    def _target(self, name: str, given: Any) -> Entity:
        try:
            found = self._options.target_of(name, given) if self._options.target_of else None
        except Exception:
            LOG.exception("target_of failed for the tool %s", name)
            found = None
        return found or entity("tool", name)

    def _try(self, work: Callable[[], object]) -> None:
        try:
            work()
        except (DecisionGraphError, ValueError, TypeError) as error:
            LOG.error("a step of trace %s was not recorded: %s", self.trace.trace_id, error)


def text_of(value: Any) -> str:
    """A value as a text of bounded length, without the characters that the log cannot hold."""
    text = value if isinstance(value, str) else str(value)
    text = text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= TEXT_CHARS_MAX else text[: TEXT_CHARS_MAX - 1] + "…"
