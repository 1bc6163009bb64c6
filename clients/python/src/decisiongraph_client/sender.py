"""The background thread that takes a spool to the node: in order, in batches, with patience.

Taken lines leave the spool. A refused line goes to `refused.ndjson` beside the segments, with its verdict, and is
reported. When the node does not know the token, the sender stops and says so; the events stay.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Literal, Mapping, NamedTuple, Optional, Tuple

from .builders import now
from .errors import ApiError, DecisionGraphError, Unreachable
from .retry import Backoff, is_transient
from .spool import Batch, Spool
from .transport import Answer, line_of

LOG = logging.getLogger("decisiongraph_client")
#: Lines and bytes of one batch.
BATCH_LINES_MAX = 500
BATCH_BYTES_MAX = 1024 * 1024
#: Seconds between two looks for files of dead processes, and between two signs of life.
ROUND_SECONDS = 15.0
#: Verdicts on a line that pass with time. Any other refusal is final.
PASSING = frozenset(
    {"unavailable", "storage", "internal_error", "rate_limited", "outcome_unknown", "fenced", "request_timeout"}
)

#: Called with a refused event (a text, if its line is damaged) and the verdict on it.
OnRefused = Callable[[Any, Mapping[str, Any]], None]
Step = Literal["wait", "halt", "split"]


class SpoolStatus(NamedTuple):
    """State of spool and sender."""

    pending_events: int
    pending_bytes: int
    #: Events that the node took, and those among them that it had before.
    sent: int
    repeated: int
    #: Events that were refused for good; they are in the file of refused events, except `refused_unkept`.
    refused: int
    refused_unkept: int
    dropped: int
    torn: int
    #: Reason why nothing is sent until `set_token`; nothing while the sender works.
    halted: Optional[str]
    #: Latest failure since the last success.
    last_error: Optional[str]


def step_after(error: DecisionGraphError) -> Step:
    """Decides what a failed batch means. Nothing but a refusal of its content takes events out of the spool."""
    if isinstance(error, ApiError):
        if error.status in (401, 403):
            return "halt"
        if error.status in (413, 422):
            return "split"
    return "wait"


def verdicts_of(answer: Answer) -> Tuple[List[Dict[str, Any]], Dict[str, Any]]:
    """Verdicts and summary of a batch's answer; an answer without its last line is no answer."""
    try:
        lines = [json.loads(line) for line in answer.body.split(b"\n") if line.strip()]
    except ValueError as error:
        raise Unreachable(f"the answer to a batch is cut off: {error}") from None
    if not lines or not isinstance(lines[-1].get("summary"), dict):
        raise Unreachable("the answer to a batch has no summary")
    return lines[:-1], lines[-1]["summary"]


class Sender:
    """One thread for one spool. It starts with the first event, and again in a forked child."""

    def __init__(
        self,
        spool: Spool,
        post: Callable[[bytes], Answer],
        *,
        on_refused: Optional[OnRefused] = None,
        on_position: Callable[[int], None] = lambda position: None,
        on_end: Callable[[], None] = lambda: None,
        backoff: Backoff = Backoff(),
        refused_bytes_max: int = 64 * 1024 * 1024,
    ) -> None:
        self._spool = spool
        self._post = post
        self._on_refused = on_refused
        self._on_position = on_position
        self._on_end = on_end
        self._backoff = backoff
        self._refused_bytes_max = refused_bytes_max
        self._sent = self._repeated = self._refused = self._refused_unkept = 0
        self._halted: Optional[str] = None
        self._last_error: Optional[str] = None
        self._is_stopping = False
        self._lines = BATCH_LINES_MAX
        self._thread: Optional[threading.Thread] = None
        self._pid = 0

    @property
    def refused_file(self) -> Path:
        """The file of refused events, one JSON object per line."""
        return self._spool.folder / "refused.ndjson"

    def status(self) -> SpoolStatus:
        """The state now."""
        spool = self._spool
        return SpoolStatus(
            spool.pending_events, spool.pending_bytes, self._sent, self._repeated, self._refused,
            self._refused_unkept, spool.dropped, spool.torn, self._halted, self._last_error,
        )

    def start(self) -> None:
        """Starts the thread, unless it runs in this process."""
        if self._pid == os.getpid():
            return
        with self._spool.changed:
            if self._pid != os.getpid() and not self._is_stopping:
                self._pid = os.getpid()
                self._sent = self._repeated = self._refused = self._refused_unkept = 0
                self._thread = threading.Thread(target=self._run, name="decisiongraph-sender", daemon=True)
                self._thread.start()

    def resume(self) -> None:
        """Sends again after a halt."""
        with self._spool.changed:
            self._halted = None
            self._spool.changed.notify_all()

    def flush(self, timeout: Optional[float]) -> bool:
        """Waits until nothing waits to be sent. False after the time-out, or when the sender has halted."""
        with self._spool.changed:
            self._spool.changed.wait_for(
                lambda: not self._spool.pending_events or self._halted or self._is_stopping, timeout
            )
            return not self._spool.pending_events

    def stop(self, timeout: float) -> None:
        """Ends the thread after the batch under way."""
        with self._spool.changed:
            self._is_stopping = True
            self._spool.changed.notify_all()
        thread = self._thread
        if thread is not None and self._pid == os.getpid() and thread is not threading.current_thread():
            thread.join(timeout)

    def _run(self) -> None:
        attempt, next_round = 0, time.monotonic() + ROUND_SECONDS
        while not self._is_stopping:
            try:
                if time.monotonic() >= next_round:
                    next_round = time.monotonic() + ROUND_SECONDS
                    self._spool.touch()
                    self._spool.adopt()
                batch = None if self._halted else self._spool.head(self._lines, BATCH_BYTES_MAX)
                if batch is None:
                    self._wait(max(0.0, next_round - time.monotonic()))
                    continue
                self._send(batch)
                if attempt and not self._halted:
                    LOG.info("events are sent again, after %d failed attempts", attempt)
                attempt, self._last_error = 0, None
            except DecisionGraphError as error:
                attempt += 1
                self._failed(error, attempt)
                self._pause(self._backoff.wait(attempt, getattr(error, "retry_after", None)))
            except Exception as error:  # A full disk, a folder that went away: events stay, the thread lives.
                attempt += 1
                self._failed(error, attempt)
                self._pause(self._backoff.wait(attempt))
        self._on_end()

    def _failed(self, error: Exception, attempt: int) -> None:
        self._last_error = str(error) or type(error).__name__
        is_expected = isinstance(error, DecisionGraphError) and is_transient(error)
        if attempt == 1 or not is_expected:
            LOG.warning("events wait in the spool: %s", self._last_error)

    def _wait(self, seconds: float) -> None:
        """Waits for events."""
        with self._spool.changed:
            self._spool.changed.wait_for(
                lambda: self._is_stopping or (not self._halted and self._spool.pending_events > 0), seconds
            )

    def _pause(self, seconds: float) -> None:
        """Waits between attempts, with signs of life: new events do not shorten it, the end of the client does."""
        end = time.monotonic() + seconds
        while not self._is_stopping and time.monotonic() < end:
            with self._spool.changed:
                left = min(end - time.monotonic(), ROUND_SECONDS)
                self._spool.changed.wait_for(lambda: self._is_stopping, left)
            self._spool.touch()

    def _send(self, batch: Batch) -> None:
        try:
            verdicts, summary = verdicts_of(self._post(b"\n".join(batch.lines) + b"\n"))
        except ApiError as error:
            step = step_after(error)
            if step == "wait":
                raise
            if step == "halt":
                self._halt(error)
            elif len(batch.lines) > 1:
                self._lines = max(1, len(batch.lines) // 2)
            else:
                self._refuse(batch.lines[0], {"code": error.code, "message": error.message})
                self._spool.done(batch, 1)
            return
        refused = {verdict["line"]: verdict for verdict in verdicts if verdict.get("verdict") == "refused"}
        passing = [line for line, verdict in refused.items() if verdict.get("code") in PASSING]
        answered = min(passing) - 1 if passing else len(batch.lines)
        for line in sorted(refused):
            if line <= answered:
                self._refuse(batch.lines[line - 1], refused[line])
        self._sent += answered - sum(line <= answered for line in refused)
        self._repeated += int(summary.get("repeated") or 0)
        if summary.get("last_log_seq") is not None:
            self._on_position(int(summary["last_log_seq"]))
        self._spool.done(batch, answered)
        self._lines = min(BATCH_LINES_MAX, self._lines * 2)
        if passing:
            raise Unreachable(f"the node put off an event: {refused[answered + 1].get('message')}")

    def _halt(self, error: ApiError) -> None:
        with self._spool.changed:
            self._halted = self._last_error = str(error)
            self._spool.changed.notify_all()
        LOG.error("the node does not accept the token; events stay in the spool until set_token(): %s", error)

    def _refuse(self, line: bytes, verdict: Mapping[str, Any]) -> None:
        try:
            event: Any = json.loads(line)
        except ValueError:
            event = line.decode("utf-8", "replace")
        data = line_of({"at": now(), "verdict": dict(verdict), "event": event}) + b"\n"
        descriptor = os.open(self.refused_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            is_kept = os.fstat(descriptor).st_size + len(data) <= self._refused_bytes_max
            if is_kept:
                os.write(descriptor, data)
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._refused += 1
        self._refused_unkept += 0 if is_kept else 1
        kept = f"kept in {self.refused_file}" if is_kept else "NOT kept, the file of refused events is full"
        LOG.error("an event was refused (%s: %s), %s", verdict.get("code"), verdict.get("message"), kept)
        if self._on_refused is not None:
            try:
                self._on_refused(event, verdict)
            except Exception:
                LOG.exception("on_refused failed")
