"""Promises of the sender: everything arrives once, in order, whatever the network does; refusals are kept."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

from decisiongraph_client import Backoff, Client, builders, entity

from .faulty_node import FaultyNode, answers, cut, cut_after_storing, slow

_PRODUCER = """
import sys
from decisiongraph_client import Client, builders
client = Client(sys.argv[1], "t", "default", producer_id="p", spool_dir=sys.argv[2], fsync=False)
for at in range(1_000_000):
    key = f"{sys.argv[3]}-{at}"
    client.record(client.event(builders.action_committed(key), sys.argv[3], idempotency_key=key))
    print(at, flush=True)
"""


def no_summary(handler: Any, body: bytes) -> bool:
    """A fault: an answer that ends behind its first line."""
    handler.reply_bytes(200, b'{"line":1,"verdict":"accepted","log_seq":1}\n')
    return True


class SenderTest(unittest.TestCase):
    def setUp(self) -> None:
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        self._folder = tempfile.TemporaryDirectory()
        self.addCleanup(self._folder.cleanup)
        self.node = FaultyNode()
        self.addCleanup(self.node.close)

    def client(self, **options: Any) -> Client:
        options = {"backoff": Backoff(0.01, 0.05), "fsync": False, "producer_id": "p", **options}
        client = Client(self.node.url, "t", "default", spool_dir=self._folder.name, **options)
        self.addCleanup(client.close, 0.2)
        return client

    def fill(self, client: Client, count: int) -> List[str]:
        keys = [f"key-{at}" for at in range(count)]
        for key in keys:
            client.record(client.event(builders.action_committed(key), "trace", idempotency_key=key))
        return keys

    def keys(self) -> List[str]:
        return [event["idempotency_key"] for event in self.node.events]

    def folders(self) -> List[Path]:
        return list(Path(self._folder.name).iterdir())

    def test_events_arrive_in_order_and_the_spool_is_empty(self) -> None:
        client = self.client()
        keys = self.fill(client, 1200)
        self.assertTrue(client.flush(10))
        self.assertEqual(self.keys(), keys)
        status = client.spool_status()
        self.assertEqual((status.sent, status.pending_events, status.pending_bytes), (1200, 0, 0))
        self.assertEqual(client.last_log_seq, 1200)

    def test_faults_of_the_transport_neither_lose_nor_double(self) -> None:
        self.node.faults = [
            answers(503, "unavailable", retry_after="0"), cut, cut_after_storing, answers(500, "internal_error"),
            answers(502, "http_502"), no_summary, answers(404, "not_found"), cut, answers(400, "invalid_argument"),
        ]
        client = self.client()
        keys = self.fill(client, 300)
        self.assertTrue(client.flush(10))
        self.assertEqual(self.keys(), keys)
        self.assertEqual(self.node.faults, [])
        self.assertEqual(client.spool_status().refused, 0)

    def test_retry_after_is_waited_for(self) -> None:
        self.node.faults = [answers(429, "rate_limited", retry_after="1")]
        client = self.client()
        self.fill(client, 1)
        before = time.monotonic()
        self.assertTrue(client.flush(10))
        self.assertGreaterEqual(time.monotonic() - before, 0.9)

    def test_a_slow_node_does_not_hold_up_the_producer(self) -> None:
        self.node.faults = [slow(0.5)]
        client = self.client()
        before = time.monotonic()
        self.fill(client, 50)
        self.assertLess(time.monotonic() - before, 0.4)
        self.assertFalse(client.flush(0.05))
        self.assertTrue(client.flush(10))

    def test_a_node_that_is_away_is_written_to_later(self) -> None:
        url, gone = self.node.url, self.node
        gone.close()
        client = self.client()
        keys = self.fill(client, 20)
        self.assertFalse(client.flush(0.2))
        self.assertIn("refused", client.spool_status().last_error or "")
        port = int(url.rsplit(":", 1)[1])
        self.node = back = FaultyNode(port)
        self.assertTrue(client.flush(10))
        self.assertEqual([event["idempotency_key"] for event in back.events], keys)

    def test_an_unknown_token_stops_the_sender_and_keeps_the_events(self) -> None:
        self.node.token = "other"
        client = self.client()
        keys = self.fill(client, 3)
        self.assertFalse(client.flush(10))
        status = client.spool_status()
        self.assertIn("unauthorized", status.halted or "")
        self.assertEqual((status.pending_events, len(self.node.requests)), (3, 1))
        client.set_token("other")
        self.assertTrue(client.flush(10))
        self.assertEqual(self.keys(), keys)

    def test_refused_events_are_kept_with_their_verdict_and_reported(self) -> None:
        verdict = {"code": "schema_violation", "message": "`decision` is missing"}
        self.node.refuses = lambda event: verdict if event["idempotency_key"] == "key-1" else None
        told: List[Tuple[Any, Any]] = []
        client = self.client(on_refused=lambda event, verdict: told.append((event, verdict)))
        self.fill(client, 3)
        self.assertTrue(client.flush(10))
        self.assertEqual(self.keys(), ["key-0", "key-2"])
        self.assertEqual((client.spool_status().sent, client.spool_status().refused), (2, 1))
        [line] = (self.folders()[0] / "refused.ndjson").read_text().splitlines()
        kept = json.loads(line)
        self.assertEqual(kept["event"]["idempotency_key"], "key-1")
        self.assertEqual({name: kept["verdict"][name] for name in verdict}, verdict)
        self.assertEqual(told[0][0], kept["event"])

    def test_a_verdict_that_passes_holds_the_line_and_all_behind_it(self) -> None:
        tries: Dict[str, int] = {}

        def refuses(event: Dict[str, Any]) -> Any:
            key = event["idempotency_key"]
            tries[key] = tries.get(key, 0) + 1
            return {"code": "storage", "message": "again"} if key == "key-1" and tries[key] < 3 else None

        self.node.refuses = refuses
        client = self.client()
        keys = self.fill(client, 3)
        self.assertTrue(client.flush(10))
        self.assertEqual(sorted(self.keys()), keys)
        self.assertEqual((tries["key-0"], client.spool_status().refused), (1, 0))

    def test_a_batch_that_is_too_large_is_split_and_one_event_is_refused(self) -> None:
        def too_large(handler: Any, body: bytes) -> bool:
            return b"key-2" in body and answers(413, "payload_too_large")(handler, body)

        self.node.faults = [too_large] * 40
        client = self.client()
        self.fill(client, 4)
        self.assertTrue(client.flush(10))
        self.assertEqual(self.keys(), ["key-0", "key-1", "key-3"])
        self.assertEqual(client.spool_status().refused, 1)

    def test_what_close_could_not_send_is_sent_by_the_next_client(self) -> None:
        self.node.faults = [answers(503, "unavailable")] * 1000
        one = self.client()
        keys = self.fill(one, 3)
        one.close(0.1)
        self.node.faults = []
        other = self.client()
        other.record(other.event(builders.action_committed("late"), "trace", idempotency_key="late"))
        self.assertTrue(other.flush(10))
        self.assertEqual(self.keys(), [*keys, "late"])

    def test_processes_killed_at_any_time_lose_nothing_and_double_nothing(self) -> None:
        returned: Dict[str, int] = {}
        for at in range(4):
            child = subprocess.Popen(
                [sys.executable, "-c", _PRODUCER, self.node.url, self._folder.name, f"run{at}"],
                stdout=subprocess.PIPE, text=True,
            )
            assert child.stdout is not None
            last = -1
            while last < 100 + 170 * at:
                last = int(child.stdout.readline())
            child.send_signal(signal.SIGKILL)
            child.wait()
            returned[f"run{at}"] = max([last] + [int(line) for line in child.stdout.read().split("\n")[:-1]])
            child.stdout.close()
        client = self.client()
        client.spool_status()
        self.assertTrue(client.flush(20))
        self.assertEqual(len(set(self.keys())), len(self.keys()))
        for run, last in returned.items():
            found = [int(key.split("-")[1]) for key in self.keys() if key.startswith(f"{run}-")]
            self.assertEqual(found, list(range(len(found))))
            self.assertIn(len(found), (last + 1, last + 2))

    def test_the_end_of_the_program_sends_what_waits(self) -> None:
        code = (
            "import sys; from decisiongraph_client import Client, entity\n"
            "client = Client(sys.argv[1], 't', 'default', producer_id='p', spool_dir=sys.argv[2])\n"
            "with client.trace('refund', title='x', primary_entity=entity('account', 'a')) as t: pass\n"
        )
        subprocess.run([sys.executable, "-c", code, self.node.url, self._folder.name], check=True)
        self.assertEqual([event["event_type"] for event in self.node.events], ["TraceStarted", "TraceFinished"])

    @unittest.skipUnless(hasattr(os, "fork"), "needs fork")
    def test_a_forked_child_has_a_sender_of_its_own(self) -> None:
        client = self.client()
        self.fill(client, 2)
        self.assertTrue(client.flush(10))
        pid = os.fork()
        if pid == 0:
            client.record(client.event(builders.action_committed("c"), "trace", idempotency_key="child"))
            os._exit(0 if client.flush(10) else 1)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
        self.assertEqual(self.keys(), ["key-0", "key-1", "child"])


if __name__ == "__main__":
    unittest.main()
