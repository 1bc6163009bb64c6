"""Promises of calls and streams that need a server with faults; the node's own answers are in `test_node`."""

from __future__ import annotations

import json
import tempfile
import unittest
from typing import Any, Dict, List

from decisiongraph_client import (
    ApiError, Backoff, Client, HistoryChanged, InvalidArgument, ServerError, Unauthorized, Unreachable, builders,
    entity,
)

from .faulty_node import FaultyNode, answers, cut, cut_after_storing, slow


def streams(*parts: str, status: int = 200) -> Any:
    """A fault that answers with a stream and then closes it."""

    def fault(handler: Any, body: bytes) -> bool:
        handler.send_response(status)
        handler.send_header("content-type", "text/event-stream")
        handler.end_headers()
        handler.wfile.write("".join(parts).encode())
        handler.close_connection = True
        return True

    return fault


def message(log_seq: int) -> str:
    return f"event: event\nid: {log_seq}.aa\ndata: {json.dumps({'log_seq': log_seq})}\n\n"


class ClientTest(unittest.TestCase):
    def setUp(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.addCleanup(self._folder.cleanup)
        self.node = FaultyNode()
        self.addCleanup(self.node.close)
        self.client = Client(
            self.node.url, lambda: "t", "tenant ä", producer_id="p", spool_dir=self._folder.name,
            backoff=Backoff(0.01, 0.02), fsync=False,
        )
        self.addCleanup(self.client.close)

    def event(self, key: str) -> Any:
        return self.client.event(builders.action_committed("a"), "trace", idempotency_key=key)

    def test_headers_of_a_request(self) -> None:
        self.node.pages = [{"precedents": []}]
        self.client.precedents(outcome="success")
        _, path, headers, _ = self.node.requests[0]
        named = {name.lower(): value for name, value in headers.items()}
        self.assertEqual(path, "/api/v1/precedents?outcome=success&limit=100")
        self.assertEqual(named["authorization"], "Bearer t")
        self.assertEqual(named["x-tenant-id"].encode("latin-1").decode(), "tenant ä")

    def test_an_append_is_repeated_and_stored_once(self) -> None:
        self.node.faults = [answers(503, "unavailable", retry_after="0"), cut, cut_after_storing]
        stored = self.client.append(self.event("one"))
        self.assertEqual((stored["log_seq"], len(self.node.events), len(self.node.requests)), (1, 1, 4))

    def test_attempts_are_bounded(self) -> None:
        self.node.faults = [cut] * 10
        with self.assertRaises(Unreachable):
            self.client.append(self.event("one"))
        self.assertEqual(len(self.node.requests), 4)
        self.node.faults = [answers(400, "invalid_argument")]
        with self.assertRaises(InvalidArgument):
            self.client.append(self.event("one"))

    def test_a_kept_connection_that_was_closed_is_opened_again(self) -> None:
        client = Client(self.node.url, "t", "default", producer_id="p", attempts=1)
        self.addCleanup(client.close)
        client.append(self.event("one"))
        self.node.faults = [cut]
        client.append(self.event("two"))
        self.assertEqual(len(self.node.events), 2)

    def test_a_batch_has_a_verdict_per_event(self) -> None:
        result = self.client.append_many([self.event("one"), self.event("two"), self.event("one")])
        self.assertEqual([verdict["verdict"] for verdict in result.verdicts], ["accepted", "accepted", "repeated"])
        self.assertEqual((result.summary["repeated"], self.client.last_log_seq), (1, 2))

    def test_reads_wait_for_the_own_writes(self) -> None:
        self.client.append(self.event("one"))
        self.node.pages = [{"events": [], "summary": {}}, {"events": [], "next_cursor": None}]
        self.client.get_trace("a/b")
        self.assertEqual(self.node.requests[-1][1], "/api/v1/traces/a%2Fb?at_least=1")
        list(self.client.events())
        self.assertEqual(self.node.requests[-1][1], "/api/v1/events?limit=500")

    def test_the_time_out_is_behind_the_wait_that_was_asked_for(self) -> None:
        client = Client(self.node.url, "t", "default", producer_id="p", attempts=1, timeout=0.2)
        self.addCleanup(client.close)
        self.node.pages = [{"events": []}]
        self.node.faults = [slow(0.5), slow(0.5)]
        client.get_trace("a", wait_ms=1000)
        with self.assertRaises(Unreachable):
            client.get_trace("a")

    def test_pages_follow_the_cursor_to_its_end(self) -> None:
        row: Dict[str, Any] = {"trace_id": "a"}
        self.node.pages = [
            {"traces": [row], "next_cursor": "c1.x"}, {"traces": [], "next_cursor": "c1.y"},
            {"traces": [row], "next_cursor": None},
        ]
        self.assertEqual(len(list(self.client.traces(status="open"))), 2)
        self.assertTrue(self.node.requests[-1][1].endswith("status=open&limit=50&cursor=c1.y"))

    def test_a_job_keeps_its_key_over_attempts(self) -> None:
        self.node.faults = [answers(504, "outcome_unknown"), cut]
        self.node.pages = [{"run": {"job_id": "j"}}]
        self.assertEqual(self.client.start_replay("all", "after maintenance")["job_id"], "j")
        keys = {request[2]["idempotency-key"] for request in self.node.requests}
        self.assertEqual((len(self.node.requests), len(keys), len(min(keys))), (3, 1, 36))

    def test_a_trace_ends_with_its_block(self) -> None:
        account = entity("account", "acme")
        with self.client.trace("refund", title="One", primary_entity=account, sync=True) as trace:
            exception = trace.exception_requested("cap", "1", "goodwill")
            trace.approval(exception, {"actor_type": "person", "actor_id": "vp"})
        with self.assertRaises(ZeroDivisionError):
            with self.client.trace("refund", title="Two", primary_entity=account, sync=True):
                raise ZeroDivisionError("the account 4711")
        with self.client.trace("refund", title="Three", primary_entity=account, sync=True) as trace:
            trace.finish("abandoned")
        ends = [event["payload"] for event in self.node.events if event["event_type"] == "TraceFinished"]
        failure = {"outcome": "failure", "error": {"class": "ZeroDivisionError"}}
        self.assertEqual(ends, [{"outcome": "success"}, failure, {"outcome": "abandoned"}])
        self.assertEqual(len({event["idempotency_key"] for event in self.node.events}), len(self.node.events))

    def test_a_stream_resumes_behind_what_it_saw(self) -> None:
        bye = 'event: bye\ndata: {"reason":"age"}\n\n'
        self.node.faults = [
            streams("retry: 1\n\n", message(5), message(6), "event: event\nid: 7"),
            answers(503, "unavailable", retry_after="0"), streams("retry: 1\n\n", message(6), message(7), bye),
            streams("retry: 1\n\n", message(9)),
        ]
        found: List[int] = []
        with self.client.stream(since_log_seq=4) as stream:
            for one in stream:
                found.append(one.log_seq)
                if one.log_seq == 9:
                    break
        self.assertEqual(found, [5, 6, 7, 9])
        asked = [(path, headers.get("last-event-id")) for _, path, headers, _ in self.node.requests]
        self.assertEqual(asked[0], ("/api/v1/events/stream?since_log_seq=4", None))
        self.assertEqual(asked[2:], [("/api/v1/events/stream", "6.aa"), ("/api/v1/events/stream", "7.aa")])

    def test_a_stream_without_a_place_begins_at_the_mark(self) -> None:
        self.node.pages = [{"events": [], "next_cursor": None, "mark": 41}]
        self.node.faults = [lambda *_: False, streams("retry: 1\n\n", message(42))]
        with self.client.stream() as stream:
            self.assertEqual(next(iter(stream)).log_seq, 42)
        self.assertEqual(self.node.requests[1][1], "/api/v1/events/stream?since_log_seq=41")

    def test_another_history_is_told(self) -> None:
        self.node.faults = [answers(409, "conflict")]
        with self.assertRaises(HistoryChanged):
            next(iter(self.client.stream(last_event_id="96.00000000")))
        self.node.faults = [answers(401, "unauthorized")]
        with self.assertRaises(Unauthorized):
            next(iter(self.client.stream(since_log_seq=0)))

    def test_a_page_of_a_proxy_is_a_typed_error(self) -> None:
        def page(handler: Any, body: bytes) -> bool:
            handler.reply_bytes(500, b"<html>")
            return True

        self.node.faults = [answers(302, "found", location="/login"), page]
        with self.assertRaises(ApiError):
            self.client.whoami()
        with self.assertRaises(ServerError) as caught:
            self.client.healthz()
        self.assertEqual((caught.exception.code, caught.exception.request_id), ("http_500", "req-1"))


if __name__ == "__main__":
    unittest.main()
