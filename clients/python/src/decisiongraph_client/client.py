"""The client of one node, for one tenant and one producer.

`record` and `trace` go through a spool on disk and never wait for the network. `append` and `append_many` wait for the
node's answer. Questions are in `queries`.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import re
import ssl
import threading
import weakref
from pathlib import Path
from typing import Any, Iterable, List, Literal, Mapping, NamedTuple, Optional, Sequence, Union

from . import builders
from .builders import Draft, drawn, envelope, now
from .errors import Closed
from .model import Actor, BatchSummary, Entity, Event, NewEvent, Source, Verdict
from .queries import Queries
from .retry import Backoff
from .sender import OnRefused, Sender, SpoolStatus, verdicts_of
from .spool import STALE_AFTER, OnFull, Spool
from .trace import Trace
from .transport import Answer, Token, Transport, line_of, ndjson

_NDJSON = {"content-type": "application/x-ndjson", "accept": "application/x-ndjson"}


class BatchResult(NamedTuple):
    """Verdicts of a batch, one per event, and their counts."""

    verdicts: List[Verdict]
    summary: BatchSummary


def default_spool_dir() -> Path:
    """`$DECISIONGRAPH_SPOOL_DIR`, or `decisiongraph/spool` in the user's folder for state."""
    named = os.environ.get("DECISIONGRAPH_SPOOL_DIR")
    if named:
        return Path(named)
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "decisiongraph" / "spool"


def spool_folder(spool_dir: Path, base_url: str, tenant: str, producer_id: str) -> Path:
    """The folder of one destination and producer: events never reach another node or tenant."""
    place = f"{base_url.rstrip('/')}\n{tenant}\n{producer_id}"
    name = re.sub(r"[^A-Za-z0-9.-]", "_", tenant)[:40]
    return spool_dir / f"{name}-{hashlib.sha256(place.encode()).hexdigest()[:12]}"


class Client(Queries):
    """Records decisions and asks about them. Safe for threads; a forked child goes on with files of its own."""

    def __init__(
        self,
        base_url: str,
        token: Optional[Token],
        tenant: str,
        *,
        producer_id: str,
        system: Optional[str] = None,
        subsystem: Optional[str] = None,
        actor: Optional[Actor] = None,
        spool_dir: Union[str, Path, None] = None,
        spool_bytes_max: int = 64 * 1024 * 1024,
        on_full: OnFull = "raise",
        fsync: bool = True,
        stale_after: float = STALE_AFTER,
        on_refused: Optional[OnRefused] = None,
        exit_seconds: float = 2.0,
        timeout: float = 10.0,
        attempts: int = 4,
        backoff: Backoff = Backoff(),
        read_your_writes: bool = True,
        ssl_context: Optional[ssl.SSLContext] = None,
    ) -> None:
        """`token` may be a function, asked before each request. `actor` is by default the agent `producer_id`.

        `fsync=False` leaves it to the system when lines reach the disk: a killed process loses nothing, a power cut
        may. `exit_seconds` bounds the wait for the spool at the end of the program.
        """
        self._transport = Transport(
            base_url, token, tenant, timeout=timeout, attempts=attempts, backoff=backoff, ssl_context=ssl_context
        )
        source: Source = {"producer_id": producer_id, "system": system or producer_id}
        if subsystem is not None:
            source["subsystem"] = subsystem
        self._source = source
        self._actor = actor or builders.actor(producer_id)
        self._folder = spool_folder(Path(spool_dir or default_spool_dir()), base_url, tenant, producer_id)
        self._spool_options: Any = {
            "bytes_max": spool_bytes_max, "fsync": fsync, "on_full": on_full, "stale_after": stale_after,
        }
        self._sender_options: Any = {
            "on_refused": on_refused, "backoff": backoff, "refused_bytes_max": spool_bytes_max,
        }
        self._exit_seconds = exit_seconds
        self._read_your_writes = read_your_writes
        self._last_log_seq = 0
        self._lock = threading.Lock()
        self._spool: Optional[Spool] = None
        self._sender: Optional[Sender] = None
        self._is_closed = False
        _CLIENTS.add(self)

    @property
    def last_log_seq(self) -> int:
        """The highest position that this client wrote, as far as the node has answered."""
        return self._last_log_seq

    def event(
        self, draft: Draft, trace_id: str, *, actor: Optional[Actor] = None, idempotency_key: Optional[str] = None,
        occurred_at: Optional[str] = None, correlation_id: Optional[str] = None,
        causation_event_id: Optional[str] = None, tags: Sequence[str] = (),
    ) -> NewEvent:
        """A draft of `builders` in its envelope: key drawn, time now. It may be offered any number of times."""
        return envelope(
            draft, trace_id, source=self._source, actor=actor or self._actor,
            idempotency_key=idempotency_key or drawn(), occurred_at=occurred_at or now(),
            correlation_id=correlation_id, causation_event_id=causation_event_id, tags=tags,
        )

    def append(self, event: Union[NewEvent, Mapping[str, Any]]) -> Event:
        """Appends one event and waits for the node: the stored event, of a repeat the one that was stored before."""
        answer = self._transport.request(
            "POST", "/api/v1/events", body=line_of(event), headers={"content-type": "application/json"}
        )
        found: Event = answer.json()["data"]["event"]
        self._wrote(answer.log_seq or found["log_seq"])
        return found

    def append_many(
        self, events: Iterable[Union[NewEvent, Mapping[str, Any]]], *, mode: Literal["each", "atomic"] = "each"
    ) -> BatchResult:
        """Appends a batch and waits for the node: a verdict per event. `atomic`: all or none, refused as `ApiError`.

        A node takes 10,000 events and 16 MiB per batch, 1,000 events of an atomic one.
        """
        answer = self._transport.request(
            "POST", "/api/v1/events/batch", query={"mode": mode}, body=ndjson(events), headers=_NDJSON
        )
        verdicts, summary = verdicts_of(answer)
        self._wrote(summary.get("last_log_seq"))
        return BatchResult(verdicts, summary)  # type: ignore[arg-type]

    def record(self, event: Union[NewEvent, Mapping[str, Any]]) -> bool:
        """Puts one event into the spool and returns when it is durable there; false when the policy dropped it."""
        spool, sender = self._spooling()
        taken = spool.append(line_of(event))
        sender.start()
        return taken

    def trace(
        self, workflow: str, *, title: str, primary_entity: Entity, trace_id: Optional[str] = None,
        actor: Optional[Actor] = None, tags: Sequence[str] = (), correlation_id: Optional[str] = None,
        sync: bool = False, error_messages: bool = False, **extra: Any,
    ) -> Trace:
        """A new trace, for a `with` block. The end of the block appends `TraceFinished`.

        When the block raises, the outcome is `failure` with the class of the exception; its text only with
        `error_messages`. With `sync`, each event waits for the node instead of the spool.
        """
        start = builders.trace_started(workflow, title, primary_entity, **extra)
        return Trace(
            self.append if sync else self.record, trace_id or drawn(), source=self._source,
            actor=actor or self._actor, tags=tags, correlation_id=correlation_id, start=start,
            error_messages=error_messages,
        )

    def open_trace(
        self, trace_id: str, *, actor: Optional[Actor] = None, tags: Sequence[str] = (),
        correlation_id: Optional[str] = None, sync: bool = False,
    ) -> Trace:
        """A trace that was begun elsewhere, for example to record its approval. Use it without `with`, or finish it."""
        return Trace(
            self.append if sync else self.record, trace_id, source=self._source, actor=actor or self._actor,
            tags=tags, correlation_id=correlation_id,
        )

    def flush(self, timeout: Optional[float] = None) -> bool:
        """Waits until the spool is empty. False after the time-out, or when the node does not accept the token."""
        return self._sender is None or self._sender.flush(timeout)

    def spool_status(self) -> SpoolStatus:
        """Counts of the spool, and why nothing is sent, if so."""
        return self._spooling()[1].status()

    def set_token(self, token: Optional[Token]) -> None:
        """Uses another token from now on, and sends again if the sender had stopped for the old one."""
        self._transport.token = token
        if self._sender is not None:
            self._sender.resume()

    def close(self, timeout: float = 5.0) -> None:
        """Sends what waits, for `timeout` seconds at most. The rest stays on disk for the next process."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        if self._sender is not None and self._spool is not None:
            self._sender.flush(timeout)
            self._sender.stop(min(timeout, 1.0))
            self._spool.close()
        self._transport.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _spooling(self) -> "tuple[Spool, Sender]":
        with self._lock:
            if self._is_closed:
                raise Closed("the client is closed")
            if self._spool is None or self._sender is None:
                self._spool = Spool(self._folder, **self._spool_options)
                self._sender = Sender(
                    self._spool, self._post, on_position=self._wrote, on_end=self._transport.close,
                    **self._sender_options,
                )
                if self._spool.pending_events:
                    self._sender.start()
            return self._spool, self._sender

    def _post(self, body: bytes) -> Answer:
        query = {"mode": "each", "quiet": True}
        return self._transport.request(
            "POST", "/api/v1/events/batch", query=query, body=body, headers=_NDJSON, attempts=1, timeout=30.0
        )

    def _wrote(self, position: Optional[int]) -> None:
        with self._lock:
            self._last_log_seq = max(self._last_log_seq, position or 0)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()


_CLIENTS: "weakref.WeakSet[Client]" = weakref.WeakSet()


def _after_fork() -> None:
    for client in list(_CLIENTS):
        client._after_fork()


def _at_exit() -> None:
    for client in list(_CLIENTS):
        client.close(client._exit_seconds)


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
