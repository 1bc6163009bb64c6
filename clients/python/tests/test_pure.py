"""Decisions without I/O: payloads and envelopes, waits between attempts, the parser of streams."""

from __future__ import annotations

import re
import unittest

from decisiongraph_client import Backoff, actor, builders, entity, errors, facts
from decisiongraph_client.retry import is_transient, retry_after_of
from decisiongraph_client.sender import step_after
from decisiongraph_client.sse import Message, Parser
from decisiongraph_client.transport import query_of, segment

_ACCOUNT = entity("account", "acme", "crm")
_REQUIRED = {
    "TraceStarted": ({"workflow", "title", "primary_entity"}, builders.trace_started("refund", "A title", _ACCOUNT)),
    "InputObserved": (
        {"input_id", "source", "facts"},
        builders.input_observed("in-1", system="crm", object_type="ticket", object_id="9300", facts=facts(cents=1)),
    ),
    "EntityObserved": ({"entity", "role", "facts"}, builders.entity_observed(_ACCOUNT)),
    "PolicyEvaluated": ({"policy", "inputs", "decision"}, builders.policy_evaluated("cap", "2", "allow")),
    "ExceptionRequested": (
        {"exception_id", "policy", "reason"}, builders.exception_requested("exc", "cap", "2", "goodwill"),
    ),
    "ApprovalRecorded": (
        {"approval_id", "subject", "approver", "decision"},
        builders.approval_recorded("apr", "exc", actor("vp.sales", "person"), "approved"),
    ),
    "PrecedentCited": ({"cited_trace_id", "reason"}, builders.precedent_cited("refund-1", "same case")),
    "ActionProposed": (
        {"action_id", "action_type", "target_entity", "target_system", "changes"},
        builders.action_proposed("act", "credit", _ACCOUNT, "billing"),
    ),
    "ActionCommitted": ({"action_id", "status"}, builders.action_committed("act")),
    "TraceFinished": ({"outcome"}, builders.trace_finished()),
}


class BuilderTest(unittest.TestCase):
    def test_every_type_has_its_required_members(self) -> None:
        for event_type, (required, draft) in _REQUIRED.items():
            self.assertEqual((draft.event_type, set(draft.payload)), (event_type, required))

    def test_extra_members_do_not_replace_those_of_the_type(self) -> None:
        draft = builders.trace_finished("failure", summary="no", outcome_of="x")
        self.assertEqual(draft.payload, {"summary": "no", "outcome_of": "x", "outcome": "failure"})

    def test_an_envelope_leaves_number_and_id_to_the_node(self) -> None:
        event = builders.envelope(
            builders.trace_finished(), "t-1", source={"producer_id": "p", "system": "s"}, actor=actor("bot"),
            idempotency_key="k", occurred_at="2026-07-07T08:00:00Z",
        )
        self.assertEqual((event["trace_seq"], event.get("event_id")), ("next", None))
        self.assertNotIn("correlation_id", event)

    def test_a_float_is_refused_with_the_way_to_write_it(self) -> None:
        for value, place in (
            (0.87, "payload.facts[0].value"), ({"a": [1, 1.0]}, "payload.facts[0].value.a[1]"),
            (float("nan"), "payload.facts[0].value"),
        ):
            draft = builders.entity_observed(_ACCOUNT, facts=facts(confidence=value))
            with self.assertRaises(ValueError) as refused:
                builders.envelope(
                    draft, "t-1", source={"producer_id": "p", "system": "s"}, actor=actor("bot"), idempotency_key="k",
                    occurred_at="2026-07-07T08:00:00Z",
                )
            told = f"`{place}` is a float, and a payload has none: write a scaled integer, such as "
            self.assertTrue(str(refused.exception).startswith(told), str(refused.exception))

    def test_the_time_of_day_is_rfc_3339(self) -> None:
        self.assertTrue(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", builders.now()))

    def test_ids_and_queries_are_encoded_whole(self) -> None:
        self.assertEqual(segment("a/b:c d%"), "a%2Fb%3Ac%20d%25")
        query = query_of({"a": None, "b": ["x", "y"], "c": True, "d": "ä&=+"})
        self.assertEqual(query, "b=x&b=y&c=true&d=%C3%A4%26%3D%2B")


class RetryTest(unittest.TestCase):
    def test_waits_double_to_a_bound_and_are_jittered_in_full(self) -> None:
        backoff = Backoff(0.2, 3.0)
        self.assertEqual([backoff.wait(at, draw=lambda: 1.0) for at in (1, 2, 3, 9)], [0.2, 0.4, 0.8, 3.0])
        self.assertEqual(backoff.wait(9, draw=lambda: 0.0), 0.0)
        self.assertEqual(backoff.wait(10_000, draw=lambda: 1.0), 3.0)

    def test_retry_after_is_a_lower_bound(self) -> None:
        self.assertEqual(Backoff().wait(1, 7.0, draw=lambda: 0.0), 7.0)
        self.assertEqual(retry_after_of("7", lambda: 0.0), 7.0)
        self.assertEqual(retry_after_of("Thu, 01 Jan 1970 00:01:00 GMT", lambda: 50.0), 10.0)
        self.assertIsNone(retry_after_of("soon", lambda: 0.0))

    def test_only_what_passes_is_repeated(self) -> None:
        envelope = {"error": {"code": "schema_violation"}}
        self.assertFalse(is_transient(errors.error_of(422, envelope)))
        self.assertTrue(is_transient(errors.error_of(504, {"error": {"code": "outcome_unknown"}})))
        self.assertTrue(is_transient(errors.Unreachable("cut")))

    def test_only_a_refused_content_leaves_the_spool(self) -> None:
        steps = {status: step_after(errors.error_of(status, None)) for status in (400, 401, 403, 404, 413, 422, 500)}
        self.assertEqual([status for status, step in steps.items() if step == "split"], [413, 422])
        self.assertEqual([status for status, step in steps.items() if step == "halt"], [401, 403])


class ErrorTest(unittest.TestCase):
    def test_the_class_follows_from_the_code(self) -> None:
        body = {
            "error": {"code": "event_sequence_invalid", "category": "event_sequence_invalid", "message": "5 is due",
                      "details": {"expected_trace_seq": 5}, "retryable": False, "next": "send 5"},
            "request_id": "r-1",
        }
        error = errors.error_of(409, body)
        self.assertIsInstance(error, errors.SequenceInvalid)
        self.assertEqual((error.code, error.details, error.next, error.retryable, error.request_id),
                         ("event_sequence_invalid", {"expected_trace_seq": 5}, "send 5", False, "r-1"))

    def test_a_page_of_a_proxy_is_an_error_too(self) -> None:
        error = errors.error_of(502, None, request_id="r-2")
        self.assertEqual((type(error), error.code, error.retryable), (errors.ServerError, "http_502", True))


class ParserTest(unittest.TestCase):
    def messages(self, text: str) -> "tuple[Parser, list[Message]]":
        parser = Parser()
        return parser, [message for message in map(parser.line, text.split("\n")) if message is not None]

    def test_fields_comments_and_blank_lines(self) -> None:
        parser, found = self.messages(
            "retry: 2000\n\n: hello\n\nevent: event\nid: 96.0e427155\ndata: {\"a\":1}\n\n"
            "event: mark\nid: 97\ndata:x\ndata: y\nunknown: z\n\nid: 98\n\ndata: open"
        )
        self.assertEqual(found, [Message("event", '{"a":1}', "96.0e427155"), Message("mark", "x\ny", "97")])
        self.assertEqual((parser.retry_ms, parser.last_id), (2000, "98"))


if __name__ == "__main__":
    unittest.main()
