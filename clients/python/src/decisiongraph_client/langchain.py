"""LangChain and LangGraph: a callback handler that records each run as a trace.

    graph.invoke(question, config={"callbacks": [DecisionGraphCallbackHandler(client, workflow="refund")]})

Needs `langchain-core` (`pip install decisiongraph-client[langchain]`). Language models are not recorded. A run that
stops at an interrupt of LangGraph stays open: record the approval, and go on with `trace=client.open_trace(id)`.
"""

from __future__ import annotations

import threading
from typing import Any, Dict, Iterable, Mapping, Optional, Sequence
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler

from .agent_runs import AgentRun, Recorded, RunOptions, TargetOf, options_of
from .client import Client
from .model import Entity
from .trace import Trace


class DecisionGraphCallbackHandler(BaseCallbackHandler):
    """Takes part in any number of runs at a time; a run without a parent is a trace."""

    def __init__(
        self, client: Client, *, workflow: Optional[str] = None, title: Optional[str] = None,
        primary_entity: Optional[Entity] = None, record: Iterable[Recorded] = (),
        target_of: Optional[TargetOf] = None, system: str = "langchain", trace: Optional[Trace] = None,
        tags: Sequence[str] = (),
    ) -> None:
        """`target_of(tool, input)` names the entity that a tool call acts on; `trace` is one that is open already."""
        super().__init__()
        self._client = client
        self._options: RunOptions = options_of(
            record, workflow=workflow, title=title, primary_entity=primary_entity, target_of=target_of,
            system=system, trace=trace, tags=tags,
        )
        self._runs: Dict[UUID, AgentRun] = {}
        self._roots: Dict[UUID, UUID] = {}
        self._asked: Dict[UUID, Any] = {}
        self._lock = threading.Lock()

    @property
    def ignore_llm(self) -> bool:
        """True: prompts and answers are not looked at."""
        return True

    @property
    def ignore_chat_model(self) -> bool:
        """True: prompts and answers are not looked at."""
        return True

    def on_chain_start(
        self, serialized: Optional[Mapping[str, Any]], inputs: Any, *, run_id: UUID,
        parent_run_id: Optional[UUID] = None, **kwargs: Any,
    ) -> None:
        """A chain or graph begins; one without a parent is the run."""
        self._begin(_name(serialized, kwargs, "agent"), run_id, parent_run_id)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """A chain or graph ends."""
        run = self._end(run_id)
        if run is not None:
            run.ended()

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """A chain or graph fails; the failure of a part is the whole run's only when it gets there."""
        self._waits_for(error, run_id)
        run = self._end(run_id)
        if run is not None:
            run.ended(type(error).__name__, str(error))

    def on_tool_start(
        self, serialized: Optional[Mapping[str, Any]], input_str: str, *, run_id: UUID,
        parent_run_id: Optional[UUID] = None, inputs: Optional[Mapping[str, Any]] = None, **kwargs: Any,
    ) -> None:
        """A tool begins: an action is proposed."""
        name = _name(serialized, kwargs, "tool")
        self._begin(name, run_id, parent_run_id).tool_started(
            str(run_id), name, inputs if inputs is not None else input_str
        )

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """A tool ends: the action is committed. A tool that handles its own error gives a result of status `error`."""
        run = self._run(run_id)
        if run is not None:
            if getattr(output, "status", None) == "error":
                run.tool_failed(str(run_id), "ToolError", str(getattr(output, "content", "")))
            else:
                run.tool_ended(str(run_id), getattr(output, "content", output))
        root = self._end(run_id)
        if root is not None:
            root.ended()

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """A tool fails; one that waits at an interrupt stays proposed."""
        run = self._run(run_id)
        if run is not None and not self._waits_for(error, run_id):
            run.tool_failed(str(run_id), type(error).__name__, str(error))
        root = self._end(run_id)
        if root is not None:
            root.ended(type(error).__name__, str(error))

    def on_retriever_start(
        self, serialized: Optional[Mapping[str, Any]], query: str, *, run_id: UUID,
        parent_run_id: Optional[UUID] = None, **kwargs: Any,
    ) -> None:
        """A retrieval begins."""
        name = _name(serialized, kwargs, "retriever")
        self._begin(name, run_id, parent_run_id)
        with self._lock:
            self._asked[run_id] = (name, query)

    def on_retriever_end(self, documents: Sequence[Any], *, run_id: UUID, **kwargs: Any) -> None:
        """A retrieval ends: an input was observed."""
        run = self._run(run_id)
        with self._lock:
            name, query = self._asked.pop(run_id, ("retriever", None))
        if run is not None:
            run.retrieved(str(run_id), name, query, [str(getattr(one, "page_content", one)) for one in documents])
        root = self._end(run_id)
        if root is not None:
            root.ended()

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """A retrieval fails: nothing was observed."""
        with self._lock:
            self._asked.pop(run_id, None)
        root = self._end(run_id)
        if root is not None:
            root.ended(type(error).__name__, str(error))

    def _begin(self, name: str, run_id: UUID, parent: Optional[UUID]) -> AgentRun:
        with self._lock:
            root = self._roots.get(parent) if parent is not None else None
            self._roots[run_id] = root or run_id
            if root is None:
                self._runs[run_id] = AgentRun(self._client, self._options, name, str(run_id))
            return self._runs[self._roots[run_id]]

    def _run(self, run_id: UUID) -> Optional[AgentRun]:
        with self._lock:
            return self._runs.get(self._roots.get(run_id, run_id))

    def _waits_for(self, error: BaseException, run_id: UUID) -> bool:
        """Marks the run as one that waits for people, if that is what the error says."""
        run = self._run(run_id) if _is_interrupt(error) else None
        if run is not None:
            run.is_waiting = True
        return run is not None

    def _end(self, run_id: UUID) -> Optional[AgentRun]:
        """Forgets a part; gives the run when the part was its root."""
        with self._lock:
            self._roots.pop(run_id, None)
            return self._runs.pop(run_id, None)


def _name(serialized: Optional[Mapping[str, Any]], kwargs: Mapping[str, Any], otherwise: str) -> str:
    return str(kwargs.get("name") or (serialized or {}).get("name") or otherwise)


def _is_interrupt(error: BaseException) -> bool:
    return any(kind.__name__ == "GraphBubbleUp" for kind in type(error).__mro__)
