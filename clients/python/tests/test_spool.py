"""Promises of the spool: durable, bounded, nothing lost, nothing of another process touched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import List
from unittest import mock

from decisiongraph_client import SpoolFailed, SpoolFull, segments
from decisiongraph_client.spool import Spool

_WRITER = """
import sys
from pathlib import Path
from decisiongraph_client.spool import Spool
spool = Spool(Path(sys.argv[1]), fsync=False)
at = 0
while at < int(sys.argv[2]):
    spool.append(b'{"at":%d,"text":"%s"}' % (at, b"x" * 500))
    print(at, flush=True)
    at += 1
sys.stdin.read()
"""


def writer(folder: Path, events: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(folder), str(events)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )


def ended(child: "subprocess.Popen[str]", number: int = signal.SIGKILL) -> None:
    child.send_signal(number)
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()


def drained(spool: Spool) -> List[bytes]:
    found: List[bytes] = []
    while True:
        batch = spool.head(7, 4096)
        if batch is None:
            return found
        found += batch.lines
        spool.done(batch, len(batch.lines))


class SpoolTest(unittest.TestCase):
    def setUp(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name) / "spool"

    def tearDown(self) -> None:
        self._folder.cleanup()

    def spool(self, **options: object) -> Spool:
        spool = Spool(self.folder, fsync=False, **options)  # type: ignore[arg-type]
        self.addCleanup(spool.close)
        return spool

    def files(self) -> List[Path]:
        return sorted(path for path in self.folder.iterdir() if path.name != "refused.ndjson")

    def test_an_event_is_in_the_file_when_append_returns(self) -> None:
        with mock.patch("os.fsync", wraps=os.fsync) as fsync:
            spool = Spool(self.folder)
            self.addCleanup(spool.close)
            spool.append(b'{"a":1}')
            synced = fsync.call_count
            spool.append(b'{"a":2}')
            self.assertEqual(fsync.call_count, synced + 1)
        self.assertEqual(self.files()[0].read_bytes(), b'{"a":1}\n{"a":2}\n')
        self.assertEqual(self.files()[0].stat().st_mode & 0o777, 0o600)

    def test_lines_come_out_in_order_and_leave_nothing_behind(self) -> None:
        spool = self.spool()
        lines = [b'{"at":%d,"text":"%s"}' % (at, b"y" * 9000) for at in range(400)]
        for line in lines:
            spool.append(line)
        self.assertGreater(len(self.files()), 3)
        self.assertEqual(drained(spool), lines)
        self.assertEqual((spool.pending_events, spool.pending_bytes), (0, 0))
        self.assertEqual([path.stat().st_size for path in self.files()], [0])

    def test_a_part_of_a_batch_can_be_done(self) -> None:
        spool = self.spool()
        for at in range(3):
            spool.append(b"%d" % at)
        batch = spool.head(10, 4096)
        assert batch is not None
        spool.done(batch, 1)
        self.assertEqual(drained(spool), [b"1", b"2"])

    def test_a_killed_process_loses_nothing_that_append_returned_for(self) -> None:
        child = writer(self.folder, 1_000_000)
        assert child.stdout is not None
        returned = -1
        while returned < 3000:
            returned = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        child.wait()
        returned = max([returned] + [int(line) for line in child.stdout.read().split("\n")[:-1] if line])
        ended(child)
        spool = self.spool()
        found = [json.loads(line)["at"] for line in drained(spool)]
        self.assertEqual(found, list(range(len(found))))
        self.assertIn(len(found), (returned + 1, returned + 2))

    def test_a_torn_last_line_is_left_out_and_counted(self) -> None:
        self.folder.mkdir()
        name = f"{1:016d}-00000000.{segments.FREE}.ndjson"
        (self.folder / name).write_bytes(b'{"a":1}\n{"a":2}\n{"a":')
        spool = self.spool()
        self.assertEqual(spool.pending_events, 2)
        self.assertEqual(drained(spool), [b'{"a":1}', b'{"a":2}'])
        self.assertEqual((spool.torn, spool.pending_bytes, self.files()), (1, 0, []))

    def test_a_full_spool_refuses_and_takes_again_when_there_is_room(self) -> None:
        spool = self.spool(bytes_max=20)
        spool.append(b'{"a":1}')
        spool.append(b'{"a":2}')
        with self.assertRaises(SpoolFull):
            spool.append(b'{"a":3}')
        batch = spool.head(1, 4096)
        assert batch is not None
        spool.done(batch, 1)
        spool.append(b'{"a":3}')
        self.assertEqual(drained(spool), [b'{"a":2}', b'{"a":3}'])

    def test_the_policy_drop_counts(self) -> None:
        spool = self.spool(bytes_max=10, on_full="drop")
        self.assertEqual([spool.append(b'{"a":1}'), spool.append(b'{"a":2}')], [True, False])
        self.assertEqual(spool.dropped, 1)

    def test_a_failed_write_leaves_no_half_line(self) -> None:
        spool = self.spool()
        spool.append(b'{"a":1}')
        real, calls = os.write, []

        def half(descriptor: int, data: bytes) -> int:
            calls.append(1)
            if len(calls) == 2:
                raise OSError(28, "No space left on device")
            return real(descriptor, bytes(data)[:3])

        with mock.patch("os.write", half), self.assertRaises(SpoolFailed):
            spool.append(b'{"a":2}')
        spool.append(b'{"a":3}')
        self.assertEqual(drained(spool), [b'{"a":1}', b'{"a":3}'])

    def test_a_live_process_keeps_its_files_and_a_dead_one_does_not(self) -> None:
        child = writer(self.folder, 3)
        assert child.stdout is not None
        for _ in range(3):
            child.stdout.readline()
        spool = self.spool()
        self.assertEqual(spool.pending_events, 0)
        spool.append(b'"own"')
        ended(child)
        self.assertEqual(spool.adopt(), 1)
        found = [json.loads(line) for line in drained(spool)]
        self.assertEqual([event if event == "own" else event["at"] for event in found], [0, 1, 2, "own"])

    def test_a_process_that_reuses_a_process_id_is_another_owner(self) -> None:
        machine, pid, start = segments.owner().split("-")
        self.assertFalse(segments.is_dead(f"{machine}-{pid}-{start}"))
        if start != "0":
            self.assertTrue(segments.is_dead(f"{machine}-{pid}-{int(start) + 1}"))
        self.assertFalse(segments.is_dead(f"ffffffff-{pid}-{start}"))

    def test_files_of_another_machine_are_claimed_when_nobody_touches_them(self) -> None:
        self.folder.mkdir()
        path = self.folder / f"{1:016d}-00000000.ffffffff-1-1.ndjson"
        path.write_bytes(b'{"a":1}\n')
        spool = self.spool(stale_after=60)
        self.assertEqual(spool.pending_events, 0)
        os.utime(path, (0, 0))
        self.assertEqual(spool.adopt(), 1)

    def test_an_owner_that_was_taken_for_dead_writes_its_lines_again(self) -> None:
        one = self.spool()
        one.append(b"1")
        one.append(b"2")
        batch = one.head(1, 4096)
        assert batch is not None
        one.done(batch, 1)
        thief = segments.Segment.claim(self.files()[0], "ffffffff-1-1")
        assert thief is not None
        thief.remove()
        one.append(b"3")
        self.assertEqual([path.read_bytes() for path in self.files()], [b"2\n3\n"])
        self.assertEqual(drained(one), [b"2", b"3"])

    def test_the_own_files_are_never_claimed(self) -> None:
        spool = self.spool(stale_after=60)
        spool.append(b"1")
        os.utime(self.files()[0], (0, 0))
        self.assertEqual(spool.adopt(), 0)
        spool.touch()
        self.assertGreater(self.files()[0].stat().st_mtime, 0)

    def test_closing_frees_what_waits_for_any_process(self) -> None:
        one = Spool(self.folder, fsync=False)
        one.append(b"1")
        one.close()
        self.assertEqual(drained(self.spool()), [b"1"])

    @unittest.skipUnless(hasattr(os, "fork"), "needs fork")
    def test_a_forked_child_has_files_of_its_own(self) -> None:
        spool = self.spool()
        spool.append(b'"parent"')
        pid = os.fork()
        if pid == 0:
            is_ok = spool.pending_events == 0 and spool.append(b'"child"') and spool.pending_events == 1
            os._exit(0 if is_ok else 1)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
        self.assertEqual(spool.adopt(), 1)
        self.assertEqual(sorted(drained(spool)), [b'"child"', b'"parent"'])


if __name__ == "__main__":
    unittest.main()
