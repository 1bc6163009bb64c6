"""Files of a spool: their names, their owners, their lines.

A segment is plain JSON lines, one event per line, named `TIME-RANDOM.OWNER.ndjson`. Sorted by name, segments are in the
order of their creation. A segment changes hands by `rename`, which only one process wins. The format is the same in
every client of DecisionGraph, so that clients of any language adopt each other's files.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
import sys
import time
from pathlib import Path
from typing import List, Optional, Tuple

#: Owner in the name of a segment that its process has given up.
FREE = "free"

_NAME = re.compile(r"^(\d{16}-[0-9a-f]{8})\.([0-9a-z-]+)\.ndjson$")
_READ_BYTES = 8 * 1024 * 1024


def _text_of(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def machine() -> str:
    """This boot of this machine, and the namespace of process ids: processes can be looked up only within it."""
    boot = _text_of("/proc/sys/kernel/random/boot_id").strip() or socket.gethostname()
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return hashlib.sha256(f"{boot}\n{space}".encode()).hexdigest()[:8]


def process_state(pid: int) -> Optional[Tuple[str, str]]:
    """State letter and start time of a process, where `/proc` has them."""
    stat = _text_of(f"/proc/{pid}/stat")
    rest = stat[stat.rfind(")") + 2 :].split()
    return (rest[0], rest[19]) if len(rest) > 19 else None


def owner() -> str:
    """The owner's name of this process: machine, process id, start time."""
    state = process_state(os.getpid())
    return f"{machine()}-{os.getpid()}-{state[1] if state else 0}"


def is_dead(name: str) -> bool:
    """True when the owner is known to have ended; false when it lives, or lives elsewhere."""
    if name == FREE:
        return True
    parts = name.split("-")
    if len(parts) != 3 or parts[0] != machine() or not parts[1].isdigit() or sys.platform == "win32":
        return False
    pid, start = int(parts[1]), parts[2]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    state = process_state(pid)
    return state is not None and (state[0] in "ZX" or (start != "0" and state[1] != start))


_latest_stamp = 0


def _stamp() -> int:
    """Microseconds of the clock, later than every stamp before: it orders the segments of this process."""
    global _latest_stamp
    _latest_stamp = max(time.time_ns() // 1000, _latest_stamp + 1)
    return _latest_stamp


class Segment:
    """An open segment. `acknowledged` is the offset up to which the node has answered for its lines."""

    def __init__(self, path: Path, descriptor: int, is_adopted: bool) -> None:
        self.path = path
        self._descriptor = descriptor
        self.is_adopted = is_adopted
        self.size = os.fstat(descriptor).st_size
        self.acknowledged = 0
        #: Lines behind `acknowledged`.
        self.events = self.rest().count(b"\n")
        #: True when nothing may be written behind the last line.
        self.is_sealed = is_adopted

    @classmethod
    def create(cls, folder: Path, owned_by: str) -> "Segment":
        """A new, empty segment; its entry in the folder is durable."""
        path = folder / f"{_stamp():016d}-{secrets.token_hex(4)}.{owned_by}.ndjson"
        segment = cls(path, os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600), is_adopted=False)
        sync_folder(folder)
        return segment

    @classmethod
    def claim(cls, path: Path, owned_by: str) -> Optional["Segment"]:
        """Another owner's segment under our name; nothing when another process was faster."""
        found = _NAME.match(path.name)
        if found is None:
            return None
        target = path.with_name(f"{found.group(1)}.{owned_by}.ndjson")
        try:
            os.rename(path, target)
            return cls(target, os.open(target, _FLAGS), is_adopted=True)
        except OSError:
            return None

    def append(self, data: bytes, fsync: bool) -> None:
        """Writes whole lines at the end. A failed write is taken back; where that fails too, the segment is sealed."""
        try:
            _write(self._descriptor, data, fsync)
        except OSError:
            self.is_sealed = True
            os.ftruncate(self._descriptor, self.size)
            self.is_sealed = False
            raise
        self.size += len(data)
        self.events += data.count(b"\n")

    def write_again(self, fsync: bool) -> None:
        """Moves the lines that wait into a new file of the same owner: another process has claimed this one."""
        found = _NAME.match(self.path.name)
        fresh = Segment.create(self.path.parent, found.group(2) if found else FREE)
        fresh.append(self.rest(), fsync)
        os.close(self._descriptor)
        self.path, self._descriptor, self.size, self.acknowledged = fresh.path, fresh._descriptor, fresh.size, 0

    def acknowledge(self, size: int, events: int) -> None:
        """Goes forward behind lines that the node has answered for."""
        self.acknowledged += size
        self.events -= events

    def is_in_place(self) -> bool:
        """False when another process has claimed the file."""
        return self.path.exists()

    def lines(self, lines_max: int, bytes_max: int) -> List[bytes]:
        """The next complete lines behind `acknowledged`, without their ends; at least one if there is one."""
        os.lseek(self._descriptor, self.acknowledged, os.SEEK_SET)
        data = os.read(self._descriptor, bytes_max)
        while data and b"\n" not in data:
            more = os.read(self._descriptor, _READ_BYTES)
            if not more:
                return []
            data += more
        return data[: data.rfind(b"\n") + 1].split(b"\n")[:-1][:lines_max]

    def rest(self) -> bytes:
        """Everything behind `acknowledged`."""
        os.lseek(self._descriptor, self.acknowledged, os.SEEK_SET)
        parts: List[bytes] = []
        while True:
            part = os.read(self._descriptor, _READ_BYTES)
            if not part:
                return b"".join(parts)
            parts.append(part)

    def empty(self) -> None:
        """Forgets all lines; the file stays."""
        os.ftruncate(self._descriptor, 0)
        self.size = self.acknowledged = self.events = 0

    def touch(self) -> None:
        """Tells other processes that the owner lives."""
        try:
            os.utime(self.path)
        except OSError:
            pass

    def release(self) -> None:
        """Closes the file. A file with lines that wait is marked as free for any process."""
        os.close(self._descriptor)
        try:
            if self.size == self.acknowledged:
                os.unlink(self.path)
            else:
                found = _NAME.match(self.path.name)
                os.rename(self.path, self.path.with_name(f"{found.group(1) if found else ''}.{FREE}.ndjson"))
        except OSError:
            pass

    def remove(self) -> None:
        """Closes and deletes the file."""
        os.close(self._descriptor)
        try:
            os.unlink(self.path)
        except OSError:
            pass

    def forget(self) -> None:
        """Closes the file and leaves it as it is: it belongs to the parent of this process."""
        os.close(self._descriptor)


_FLAGS = os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


def _write(descriptor: int, data: bytes, fsync: bool) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]
    if fsync:
        os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Makes new entries of a folder durable, where the system can."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def claimable(folder: Path, owned_by: str, stale_after: float) -> List[Path]:
    """Segments whose owner is dead, or did not touch them for `stale_after` seconds, in order of creation.

    A wrong guess harms nothing: the owner sees that its file is gone, and writes its lines again.
    """
    found = []
    for path in sorted(folder.iterdir()):
        named = _NAME.match(path.name)
        if named is None or named.group(2) == owned_by:
            continue
        try:
            if is_dead(named.group(2)) or time.time() - path.stat().st_mtime > stale_after:
                found.append(path)
        except OSError:
            continue
    return found
