"""Runs of agent frameworks as traces. The frameworks' own tests are skipped where they are not installed."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import tempfile
import unittest
from typing import Any, Dict, List, Optional, Tuple

from decisiongraph_client import Client, entity
from decisiongraph_client.agent_runs import TEXT_CHARS_MAX, AgentRun, options_of, text_of

from .faulty_node import FaultyNode

_SECRET = "card 4111-1111"


def has(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


class RunTest(unittest.TestCase):
    def setUp(self) -> None:
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.node = FaultyNode()
        self.addCleanup(self.node.close)
        self.client = Client(self.node.url, "t", "default", producer_id="p", spool_dir=folder.name, fsync=False)
        self.addCleanup(self.client.close)

    def recorded(self) -> List[Tuple[str, Dict[str, Any]]]:
        self.assertTrue(self.client.flush(10))
        return [(event["event_type"], event["payload"]) for event in self.node.events]

    def types(self) -> List[str]:
        return [event_type for event_type, _ in self.recorded()]

    def payloads(self, event_type: str) -> List[Dict[str, Any]]:
        return [payload for found, payload in self.recorded() if found == event_type]


class MappingTest(RunTest):
    def run_once(self, **options: Any) -> None:
        run = AgentRun(self.client, options_of(options.pop("record", ()), **options), "agent", "run-1")
        run.retrieved("in-1", "tickets", _SECRET, [_SECRET])
        run.guarded("pii", False)
        run.handed_off("billing")
        run.tool_started("call-1", "issue_credit", {"note": _SECRET})
        run.tool_ended("call-1", _SECRET)
        run.tool_started("call-2", "issue_credit", None)
        run.tool_failed("call-2", "TimeoutError", _SECRET)
        run.ended("TimeoutError", _SECRET)

    def test_no_text_is_recorded_by_default(self) -> None:
        self.run_once()
        self.assertNotIn(_SECRET, str(self.recorded()))
        self.assertEqual(self.types(), [
            "TraceStarted", "InputObserved", "PolicyEvaluated", "EntityObserved", "ActionProposed", "ActionCommitted",
            "ActionProposed", "ActionCommitted", "TraceFinished",
        ])

    def test_each_text_is_recorded_by_its_name(self) -> None:
        for at, name in enumerate(["tool_inputs", "tool_outputs", "queries", "documents", "error_messages"], 1):
            self.run_once(record=[name])
            self.assertEqual(str(self.recorded()[-9:]).count(_SECRET), 2 if name == "error_messages" else 1, name)
            self.assertEqual(len(self.node.events), 9 * at)
        with self.assertRaises(ValueError):
            options_of(["prompts"])  # type: ignore[list-item]

    def test_a_target_is_named_by_the_caller(self) -> None:
        self.run_once(target_of=lambda tool, given: entity("account", "acme") if given else 1 / 0, workflow="refund")
        targets = [payload["target_entity"]["entity_id"] for payload in self.payloads("ActionProposed")]
        self.assertEqual(targets, ["acme", "issue_credit"])
        self.assertEqual(self.payloads("TraceStarted")[0]["workflow"], "refund")

    def test_an_open_trace_is_neither_started_nor_finished(self) -> None:
        with self.client.trace("refund", title="x", primary_entity=entity("account", "a")) as trace:
            self.run_once(trace=trace)
        self.assertEqual(self.types().count("TraceStarted"), 1)
        self.assertEqual(self.payloads("TraceFinished"), [{"outcome": "success"}])

    def test_a_fault_of_the_recording_does_not_stop_the_agent(self) -> None:
        self.client.close()
        self.run_once()

    def test_texts_are_bounded_and_storable(self) -> None:
        self.assertEqual(text_of("a\0b\ud800"), "ab?")
        self.assertEqual(len(text_of("x" * 9999)), TEXT_CHARS_MAX)


@unittest.skipUnless(has("langchain_core"), "needs langchain-core")
class LangChainTest(RunTest):
    def handler(self, **options: Any) -> Any:
        from decisiongraph_client.langchain import DecisionGraphCallbackHandler

        return DecisionGraphCallbackHandler(self.client, **options)

    def tools(self) -> Any:
        from langchain_core.tools import tool

        @tool
        def issue_credit(account: str) -> str:
            """Issues a credit."""
            return f"credited {account}"

        @tool
        def fail(account: str) -> str:
            """Fails."""
            raise LookupError(_SECRET)

        return issue_credit, fail

    def test_a_chain_with_tools_is_one_trace(self) -> None:
        from langchain_core.runnables import RunnableLambda

        issue_credit, _ = self.tools()
        chain = RunnableLambda(lambda account: {"account": account}) | issue_credit
        chain.invoke("acme", config={"callbacks": [self.handler(workflow="refund")], "run_name": "credit"})
        self.assertEqual(self.types(), ["TraceStarted", "ActionProposed", "ActionCommitted", "TraceFinished"])
        self.assertEqual(len({event["trace_id"] for event in self.node.events}), 1)
        self.assertEqual(self.payloads("TraceStarted")[0]["title"], "credit")
        self.assertEqual(self.payloads("ActionProposed")[0]["action_type"], "issue_credit")
        ids = {payload["action_id"] for event_type, payload in self.recorded() if event_type.startswith("Action")}
        self.assertEqual(len(ids), 1)

    def test_a_failing_tool_fails_the_run_without_its_text(self) -> None:
        from langchain_core.runnables import RunnableLambda

        _, fail = self.tools()
        handler = self.handler()
        with self.assertRaises(LookupError):
            (RunnableLambda(lambda account: {"account": account}) | fail).invoke("a", config={"callbacks": [handler]})
        self.assertEqual(self.payloads("ActionCommitted")[0]["status"], "failure")
        finished = {"outcome": "failure", "error": {"class": "LookupError"}}
        self.assertEqual(self.payloads("TraceFinished"), [finished])
        self.assertNotIn(_SECRET, str(self.recorded()))
        self.assertEqual((handler._runs, handler._roots), ({}, {}))

    def test_a_tool_alone_is_a_trace(self) -> None:
        issue_credit, _ = self.tools()
        config = {"callbacks": [self.handler(record=["tool_outputs"])]}
        asyncio.run(issue_credit.ainvoke({"account": "a"}, config=config))
        self.assertEqual(self.types(), ["TraceStarted", "ActionProposed", "ActionCommitted", "TraceFinished"])
        self.assertEqual(self.payloads("ActionCommitted")[0]["output"], "credited a")

    def test_a_retrieval_is_an_observed_input(self) -> None:
        from langchain_core.documents import Document
        from langchain_core.retrievers import BaseRetriever

        class Tickets(BaseRetriever):
            def _get_relevant_documents(self, query: str, **_: Any) -> List[Document]:
                return [Document(page_content=_SECRET)]

        Tickets().invoke("refund", config={"callbacks": [self.handler()]})
        self.assertEqual(self.types(), ["TraceStarted", "InputObserved", "TraceFinished"])
        self.assertEqual(self.payloads("InputObserved")[0]["facts"], [{"name": "documents", "value": 1}])

    @unittest.skipUnless(has("langgraph"), "needs langgraph")
    def test_a_graph_that_waits_for_an_approval_stays_open(self) -> None:
        from langgraph.checkpoint.memory import MemorySaver
        from langgraph.graph import END, START, StateGraph
        from langgraph.types import Command, interrupt

        issue_credit, _ = self.tools()

        def decide(state: Dict[str, Any]) -> Dict[str, Any]:
            answer = interrupt({"credit": state["account"]})
            return {"account": issue_credit.invoke({"account": answer})}

        graph: Any = StateGraph(dict)
        graph.add_node("decide", decide)
        graph.add_edge(START, "decide")
        graph.add_edge("decide", END)
        app: Any = graph.compile(checkpointer=MemorySaver())
        thread = {"configurable": {"thread_id": "1"}}
        app.invoke({"account": "acme"}, config={**thread, "callbacks": [self.handler(workflow="refund")]})
        self.assertEqual(self.types(), ["TraceStarted"])
        with self.client.open_trace(self.node.events[0]["trace_id"]) as trace:
            app.invoke(Command(resume="acme"), config={**thread, "callbacks": [self.handler(trace=trace)]})
        self.assertEqual(self.types(), ["TraceStarted", "ActionProposed", "ActionCommitted", "TraceFinished"])


@unittest.skipUnless(has("agents.tracing"), "needs openai-agents")
class OpenAiAgentsTest(RunTest):
    def setUp(self) -> None:
        super().setUp()
        import agents
        from decisiongraph_client.openai_agents import DecisionGraphProcessor

        agents.set_trace_processors([DecisionGraphProcessor(self.client, workflow="refund")])
        self.addCleanup(agents.set_trace_processors, [])

    def test_the_spans_of_a_trace_are_its_events(self) -> None:
        import agents

        with agents.trace("support", metadata={"title": "Ticket 9300", "primary_entity": entity("account", "acme")}):
            with agents.guardrail_span("pii", triggered=False):
                pass
            with agents.function_span("issue_credit", input=_SECRET, output=_SECRET):
                pass
            with agents.function_span("fail") as span:
                span.set_error({"message": _SECRET, "data": None})
            with agents.handoff_span("triage", "billing"):
                pass
            with agents.generation_span(input=[{"content": _SECRET}]):
                pass
        self.assertEqual(self.types(), [
            "TraceStarted", "PolicyEvaluated", "ActionProposed", "ActionCommitted", "ActionProposed",
            "ActionCommitted", "EntityObserved", "TraceFinished",
        ])
        started = self.payloads("TraceStarted")[0]
        self.assertEqual((started["title"], started["primary_entity"]["entity_id"]), ("Ticket 9300", "acme"))
        self.assertEqual([payload["status"] for payload in self.payloads("ActionCommitted")], ["success", "failure"])
        self.assertNotIn(_SECRET, str(self.recorded()))

    def agent(self, result: Optional[str], needs_approval: bool = False) -> Any:
        """An agent whose model calls one tool, and then ends."""
        import agents
        from openai.types.responses import (
            ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText,
        )

        @agents.function_tool(needs_approval=needs_approval)
        def issue_credit(account: str) -> Optional[str]:
            """Issues a credit."""
            return result

        call = ResponseFunctionToolCall(
            type="function_call", call_id="c-1", name="issue_credit", arguments='{"account":"acme"}', id="1"
        )
        text = ResponseOutputText(type="output_text", text="done", annotations=[])
        last = ResponseOutputMessage(id="2", type="message", role="assistant", status="completed", content=[text])
        answers: List[Any] = [call, last]

        class Scripted(agents.Model):
            async def get_response(self, *_: Any, **__: Any) -> Any:
                return agents.ModelResponse(output=[answers.pop(0)], usage=agents.Usage(), response_id=None)

            def stream_response(self, *_: Any, **__: Any) -> Any:
                raise NotImplementedError

        return agents.Agent(name="support", model=Scripted(), tools=[issue_credit])

    def test_a_run_with_a_tool_is_one_trace(self) -> None:
        import agents

        for result in ("credited", None):
            self.node.events = []
            self.assertEqual(agents.Runner.run_sync(self.agent(result), "a credit, please").final_output, "done")
            self.assertEqual(self.types(), ["TraceStarted", "ActionProposed", "ActionCommitted", "TraceFinished"])
            self.assertEqual(self.payloads("ActionProposed")[0]["action_type"], "issue_credit")

    def test_a_run_that_waits_for_an_approval_stays_open_until_it_is_resumed(self) -> None:
        import agents

        agent = self.agent("credited", needs_approval=True)
        waiting = agents.Runner.run_sync(agent, "a credit, please")
        self.assertEqual(self.types(), ["TraceStarted", "ActionProposed"])
        state = waiting.to_state()
        state.approve(waiting.interruptions[0])
        agents.Runner.run_sync(agent, state)
        self.assertEqual(self.types()[2:], ["ActionProposed", "ActionCommitted", "TraceFinished"])
        self.assertEqual(len({event["trace_id"] for event in self.node.events}), 1)

    def test_a_rejected_action_is_never_committed(self) -> None:
        import agents

        agent = self.agent("credited", needs_approval=True)
        waiting = agents.Runner.run_sync(agent, "a credit, please")
        state = waiting.to_state()
        state.reject(waiting.interruptions[0])
        agents.Runner.run_sync(agent, state)
        self.assertEqual(self.types(), ["TraceStarted", "ActionProposed", "TraceFinished"])


if __name__ == "__main__":
    unittest.main()
