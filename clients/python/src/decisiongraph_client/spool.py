"""A bounded queue of events on disk, between a producer and the sender.

- An event is taken when its line is in the file (and, with `fsync`, on the disk). No network is involved.
- Lines leave the spool only after the node has answered for them. A crash at any moment loses none of them; lines that
  were sent before are sent again, and the node recognises their idempotency keys.
- A process writes only its own files. It claims the files of dead processes and sends their lines first.
- A bound in bytes holds at any time: beyond it, an append is an error, or the event is dropped and counted.
"""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path
from typing import List, Literal, NamedTuple, Optional

from .errors import Closed, SpoolFailed, SpoolFull
from .segments import Segment, claimable, owner, sync_folder

#: Bytes after which a segment is sealed and a new one is begun.
SEGMENT_BYTES_MAX = 1024 * 1024
#: Longest event, as a line, in bytes; the node takes no longer one.
EVENT_BYTES_MAX = 4 * 1024 * 1024
#: Claimed segments that are open at once.
ADOPTED_SEGMENTS_MAX = 64
#: Seconds without a sign of life after which the files of an unknown process are claimed.
STALE_AFTER = 120.0

OnFull = Literal["raise", "drop"]


class Batch(NamedTuple):
    """The next lines of a spool, in order; they stay in the spool until `done`."""

    segment: Segment
    lines: List[bytes]


class Spool:
    """The spool of one process in a folder that other processes use too. Every method may be called by any thread."""

    def __init__(
        self,
        folder: Path,
        *,
        bytes_max: int = 64 * 1024 * 1024,
        fsync: bool = True,
        on_full: OnFull = "raise",
        stale_after: float = STALE_AFTER,
    ) -> None:
        self.folder = folder
        self._bytes_max = bytes_max
        self._fsync = fsync
        self._on_full = on_full
        self._stale_after = stale_after
        self._is_closed = False
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._begin()
        _SPOOLS.add(self)
        self.adopt()

    def _begin(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self._owner = owner()
        self._segments: List[Segment] = []
        self._writable: Optional[Segment] = None
        #: Events that the policy `drop` left out.
        self.dropped = 0
        #: Half lines at the ends of claimed files: appends that never returned.
        self.torn = 0

    @property
    def pending_events(self) -> int:
        """Events that wait to be sent."""
        with self.changed:
            return sum(segment.events for segment in self._segments)

    @property
    def pending_bytes(self) -> int:
        """Bytes that wait to be sent."""
        with self.changed:
            return sum(segment.size - segment.acknowledged for segment in self._segments)

    def append(self, line: bytes) -> bool:
        """Takes one event, a line without its end. Returns when it is durable; false when it was dropped."""
        if len(line) > EVENT_BYTES_MAX:
            raise ValueError(f"an event has at most {EVENT_BYTES_MAX} bytes as JSON, this one has {len(line)}")
        data = line + b"\n"
        with self.changed:
            if self._is_closed:
                raise Closed("the spool is closed")
            if self.pending_bytes + len(data) > self._bytes_max:
                if self._on_full == "drop":
                    self.dropped += 1
                    return False
                raise SpoolFull(f"{self.pending_bytes} of {self._bytes_max} bytes wait to be sent ({self.folder})")
            try:
                self._write(data)
            except OSError as error:
                raise SpoolFailed(f"{self.folder}: {error}") from error
            self.changed.notify_all()
            return True

    def _write(self, data: bytes) -> None:
        segment = self._writable
        is_full = segment is not None and segment.size > 0 and segment.size + len(data) > SEGMENT_BYTES_MAX
        if segment is None or segment.is_sealed or is_full:
            segment = self._writable = Segment.create(self.folder, self._owner)
            self._segments.append(segment)
        segment.append(data, self._fsync)
        if not segment.is_in_place():
            # Another process took this one for dead. The line just written may have come too late for it; lines
            # before may be sent twice, which the node recognises.
            segment.write_again(self._fsync)

    def head(self, lines_max: int, bytes_max: int) -> Optional[Batch]:
        """The next lines to send; nothing when all are sent."""
        with self.changed:
            while self._segments:
                segment = self._segments[0]
                lines = segment.lines(lines_max, bytes_max)
                if lines:
                    return Batch(segment, lines)
                if segment is self._writable and not segment.is_sealed:
                    segment.events = 0  # Also when something else has emptied the file.
                    return None
                self.torn += 1 if segment.rest() else 0
                self._leave(segment)
            return None

    def done(self, batch: Batch, lines: int) -> None:
        """Forgets the first lines of a batch: the node, or the file of refused events, has them."""
        with self.changed:
            if self._is_closed:
                return
            segment = batch.segment
            segment.acknowledge(sum(len(line) + 1 for line in batch.lines[:lines]), lines)
            if segment.acknowledged >= segment.size:
                if segment is self._writable and not segment.is_sealed:
                    segment.empty()
                else:
                    self._leave(segment)
            self.changed.notify_all()

    def _leave(self, segment: Segment) -> None:
        self._segments.remove(segment)
        segment.remove()

    def adopt(self) -> int:
        """Claims the files of dead processes, before the files of our own; returns their number."""
        claimed: List[Segment] = []
        with self.changed:
            room = ADOPTED_SEGMENTS_MAX - sum(segment.is_adopted for segment in self._segments)
            for path in claimable(self.folder, self._owner, self._stale_after):
                if len(claimed) >= room:
                    break
                segment = Segment.claim(path, self._owner)
                if segment is not None:
                    claimed.append(segment)
            adopted = [segment for segment in self._segments if segment.is_adopted]
            own = [segment for segment in self._segments if not segment.is_adopted]
            self._segments = adopted + claimed + own
            if claimed:
                sync_folder(self.folder)
                self.changed.notify_all()
        return len(claimed)

    def touch(self) -> None:
        """Tells other processes that this one lives, while events wait."""
        with self.changed:
            if self.pending_bytes:
                for segment in self._segments:
                    segment.touch()

    def close(self) -> None:
        """Releases the files; what was not sent is sent by the next process that uses the folder."""
        with self.changed:
            if not self._is_closed:
                self._is_closed = True
                for segment in self._segments:
                    segment.release()
                self._segments, self._writable = [], None
                self.changed.notify_all()

    def _after_fork(self) -> None:
        segments = self._segments
        self._begin()
        for segment in segments:
            segment.forget()


_SPOOLS: "weakref.WeakSet[Spool]" = weakref.WeakSet()


def _after_fork() -> None:
    for spool in list(_SPOOLS):
        spool._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
