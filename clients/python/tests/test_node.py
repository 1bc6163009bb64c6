"""The client and a real node: `DECISIONGRAPH_HTTP_URL`, `DECISIONGRAPH_HTTP_TOKEN`, and an optional `…_TENANT`.

The token needs the rights to append, read and replay. Ids are drawn, so that a log may be used any number of times.
"""

from __future__ import annotations

import itertools
import logging
import os
import tempfile
import threading
import unittest
import uuid
from typing import Any, Dict, List

from decisiongraph_client import (
    ApiError, Client, HistoryChanged, IdempotencyConflict, InvalidArgument, NotFound, PiiViolation, SchemaViolation,
    SequenceInvalid, Unauthorized, actor, builders, entity, facts,
)

_URL = os.environ.get("DECISIONGRAPH_HTTP_URL", "")
_TOKEN = os.environ.get("DECISIONGRAPH_HTTP_TOKEN", "")
_TENANT = os.environ.get("DECISIONGRAPH_HTTP_TENANT", "default")


@unittest.skipUnless(_URL and _TOKEN, "needs DECISIONGRAPH_HTTP_URL and DECISIONGRAPH_HTTP_TOKEN")
class NodeTest(unittest.TestCase):
    def setUp(self) -> None:
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.client = self.opened()
        self.run_id = uuid.uuid4().hex[:12]
        self.account = entity("account", f"acme/{self.run_id}")

    def opened(self, token: str = _TOKEN, **options: Any) -> Client:
        client = Client(_URL, token, _TENANT, producer_id="client-tests", spool_dir=self.folder, **options)
        self.addCleanup(client.close)
        return client

    def decide(self, trace_id: str, **options: Any) -> None:
        policy = f"cap-{self.run_id}"
        with self.client.trace(
            "refund", title="Credit for a ticket", primary_entity=self.account, trace_id=trace_id, **options
        ) as trace:
            ticket = trace.input("helpdesk", "ticket", "9300", facts=facts(amount_cents=180000))
            trace.entity(entity("contract", "c-1"))
            trace.policy(policy, "4", "require_exception", inputs=[ticket])
            exception = trace.exception_requested(policy, "4", "goodwill")
            trace.approval(exception, actor("finance-controller", "role"))
            action = trace.action_proposed("issue_credit", self.account, "billing", changes=[{"field": "credit"}])
            trace.action_committed(action)

    def test_a_decision_through_the_spool_can_be_asked_for(self) -> None:
        trace_id = f"refund/{self.run_id}:ä"
        self.decide(trace_id, tags=["client-test"], correlation_id="ticket-9300")
        self.assertTrue(self.client.flush(20))
        found = self.client.get_trace(trace_id)
        self.assertEqual([event["trace_seq"] for event in found["events"]], list(range(9)))
        self.assertEqual(found["events"][-1]["event_type"], "TraceFinished")
        self.assertEqual(found["summary"]["outcome"], "success")
        [row] = self.client.traces(entity_type="account", entity_id=self.account["entity_id"], page=1)
        self.assertEqual((row["trace_id"], row["status"], row["events_stored"]), (trace_id, "finished", 9))
        [precedent] = self.client.precedents(policy_id=f"cap-{self.run_id}")
        self.assertEqual(precedent["trace_id"], trace_id)
        chosen = ["trace_involves_entity", "trace_observed_input"]
        around = self.client.context("trace", trace_id, edge_types=chosen)
        self.assertEqual({edge["edge_type"] for edge in around["edges"]}, set(chosen))
        edges = list(self.client.edges("trace", trace_id, direction="outgoing", page=2))
        self.assertEqual(len({edge["edge_id"] for edge in edges}), 7)
        events = list(self.client.events(trace_id=trace_id, page=4))
        self.assertEqual([event["event_id"] for event in events], [event["event_id"] for event in found["events"]])

    def test_a_repeat_gives_the_stored_event(self) -> None:
        event = self.client.event(builders.trace_started("refund", "One", self.account), f"repeat-{self.run_id}")
        first, second = self.client.append(event), self.client.append(event)
        self.assertEqual(first, second)
        self.assertEqual(first["trace_seq"], 0)
        event["payload"] = {**event["payload"], "title": "Two"}
        with self.assertRaises(IdempotencyConflict) as caught:
            self.client.append(event)
        self.assertIn("payload", caught.exception.details["mismatches"])

    def test_refusals_are_typed(self) -> None:
        trace_id = f"refusals-{self.run_id}"
        finished = self.client.event(builders.trace_finished(), trace_id)
        with self.assertRaises(SequenceInvalid) as caught:
            self.client.append({**finished, "trace_seq": 7})
        self.assertEqual(caught.exception.details["expected_trace_seq"], 0)
        self.assertTrue(caught.exception.request_id)
        with self.assertRaises(SchemaViolation):
            self.client.append({**finished, "payload": {}})
        secret = builders.trace_started("refund", "see password=hunter2", self.account)
        with self.assertRaises(PiiViolation) as guarded:
            self.client.append(self.client.event(secret, trace_id))
        self.assertNotIn("hunter2", str(guarded.exception))
        with self.assertRaises(NotFound):
            self.client.get_trace(f"unknown-{self.run_id}")
        with self.assertRaises(InvalidArgument):
            self.client.context("trace", trace_id, max_depth=11)
        with self.assertRaises(Unauthorized):
            self.opened("dg_nobody").get_trace(trace_id)

    def test_a_batch_has_a_verdict_per_line_or_none_is_stored(self) -> None:
        trace_id = f"batch-{self.run_id}"
        started = self.client.event(builders.trace_started("refund", "Batch", self.account), trace_id)
        bad = self.client.event(builders.Draft("PolicyEvaluated", {}), trace_id)
        with self.assertRaises(ApiError) as caught:
            self.client.append_many([started, bad], mode="atomic")
        self.assertEqual(caught.exception.details["line"], 2)
        result = self.client.append_many([started, bad, started])
        self.assertEqual([verdict["verdict"] for verdict in result.verdicts], ["accepted", "refused", "repeated"])
        self.assertEqual(result.summary["refused"], 1)

    def test_many_producers_of_one_trace_leave_no_gap(self) -> None:
        trace_id = f"many-{self.run_id}"
        self.client.append(self.client.event(builders.trace_started("refund", "Many", self.account), trace_id))

        def produce(client: Client) -> None:
            for _ in range(25):
                client.open_trace(trace_id).action_committed("a")

        clients = [self.opened() for _ in range(4)]
        threads = [threading.Thread(target=produce, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertTrue(all(client.flush(20) for client in clients))
        written = max(client.last_log_seq for client in clients)
        found = self.client.get_trace(trace_id, at_least=written, wait_ms=5000)["events"]
        self.assertEqual([event["trace_seq"] for event in found], list(range(101)))

    def test_refused_events_of_the_spool_are_told(self) -> None:
        told: List[Dict[str, Any]] = []
        client = self.opened(on_refused=lambda event, verdict: told.append(dict(verdict)))
        client.open_trace(f"unbegun-{self.run_id}").policy("cap", "1", "allow")
        self.assertTrue(client.flush(20))
        self.assertEqual([verdict["code"] for verdict in told], ["event_sequence_invalid"])

    def test_a_stream_resumes_and_knows_its_history(self) -> None:
        since = self.client.mark()
        trace_id = f"stream-{self.run_id}"
        self.decide(trace_id, sync=True)
        with self.client.stream(since_log_seq=since, trace_id=trace_id) as stream:
            first = list(itertools.islice(stream, 4))
        with self.client.stream(last_event_id=first[-1].id, trace_id=trace_id) as stream:
            rest = list(itertools.islice(stream, 5))
        self.assertEqual([message.data["trace_seq"] for message in first + rest], list(range(9)))
        with self.assertRaises(HistoryChanged):
            next(iter(self.client.stream(last_event_id=f"{first[0].log_seq}.00000000")))

    def test_jobs_and_health(self) -> None:
        self.assertIn("version", self.client.healthz())
        self.assertIn("rights", self.client.whoami())
        self.assertEqual(self.client.projection_health()["tenant_id"], _TENANT)
        key = str(uuid.uuid4())
        run, again = [
            self.client.start_replay("trace_summary", "client test", metadata={"ticket": "1"}, idempotency_key=key)
            for _ in range(2)
        ]
        self.assertEqual((again["job_id"], run["job_id"]), (run["job_id"], key))
        self.assertEqual(self.client.get_replay(run["job_id"])["projection_name"], "trace_summary")


if __name__ == "__main__":
    unittest.main()
