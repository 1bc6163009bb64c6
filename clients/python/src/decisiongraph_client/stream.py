"""The event stream: every event once, in order, over any number of connections.

The node promises no gaps and at least once; this reader drops what it has seen, and resumes behind the last id. When
the log does not hold what was seen, `HistoryChanged` is raised: a hole is never passed over.
"""

from __future__ import annotations

import http.client
import json
import time
from typing import Any, Dict, Iterator, Literal, Mapping, NamedTuple, Optional

from .errors import Conflict, DecisionGraphError, HistoryChanged, Unreachable
from .retry import Backoff, is_transient
from .sse import Parser
from .transport import Transport, refusal

#: Seconds without a byte, comments included, after which a connection is given up. The node writes every 15 s.
SILENCE_MAX = 45.0
#: Seconds before a new connection, unless the node says another time.
_RETRY_SECONDS = 2.0
#: Longest line of a stream, in bytes.
_LINE_BYTES_MAX = 16 * 1024 * 1024


class StreamMessage(NamedTuple):
    """An event, or a mark: the stream has everything up to `log_seq` that the filter lets through."""

    kind: Literal["event", "mark"]
    #: Resume behind this message with `last_event_id`.
    id: Optional[str]
    log_seq: int
    #: The event, or the members of the mark.
    data: Dict[str, Any]


class Stream:
    """An iterator over messages that never ends by itself. `close` ends it, from any thread, within a message."""

    def __init__(
        self, transport: Transport, query: Mapping[str, Any], last_event_id: Optional[str], *,
        marks: bool, backoff: Backoff = Backoff(),
    ) -> None:
        self._transport = transport
        self._query = dict(query)
        #: Id of the latest message: keep it with what you made of the message, and resume there.
        self.last_event_id = last_event_id
        self._marks = marks
        self._backoff = backoff
        self._seen = -1
        self._is_closed = False
        self._connection: Optional[http.client.HTTPConnection] = None

    def __iter__(self) -> Iterator[StreamMessage]:
        attempt = 0
        while not self._is_closed:
            parser, retry_after = Parser(), None
            try:
                yield from self._messages(parser)
            except DecisionGraphError as error:
                if self._is_closed:
                    return
                if not is_transient(error):
                    raise
                retry_after = getattr(error, "retry_after", None)
            finally:
                self._hang_up()
            if not self._is_closed:
                # The node's first line is `retry`: with it, the connection was a good one.
                attempt = 1 if parser.retry_ms is not None else attempt + 1
                first = _RETRY_SECONDS if parser.retry_ms is None else parser.retry_ms / 1000
                time.sleep(Backoff(first, max(first, self._backoff.most)).wait(attempt, retry_after))

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the stream."""
        self._is_closed = True
        self._hang_up()

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _messages(self, parser: Parser) -> Iterator[StreamMessage]:
        parser.last_id = self.last_event_id
        for line in self._lines():
            message = parser.line(line)
            if message is None:
                continue
            if message.event == "bye":
                return
            if message.event not in ("event", "mark"):
                continue
            try:
                data = json.loads(message.data)
                log_seq = int(data["log_seq"])
            except (ValueError, KeyError, TypeError):
                raise Unreachable("a message of the stream is damaged") from None
            is_new = message.event == "mark" or log_seq > self._seen
            self._seen = max(self._seen, log_seq)
            self.last_event_id = message.id
            if is_new and (message.event == "event" or self._marks):
                yield StreamMessage("event" if message.event == "event" else "mark", message.id, log_seq, data)

    def _lines(self) -> Iterator[str]:
        more = {"accept": "text/event-stream", "cache-control": "no-store"}
        query = dict(self._query)
        if self.last_event_id is not None:
            more["last-event-id"] = self.last_event_id
            query.pop("since_log_seq", None)
        try:
            self._connection = connection = self._transport.open(SILENCE_MAX)
            connection.request("GET", self._transport.target("/api/v1/events/stream", query),
                               headers=self._transport.headers(more))
            answer = connection.getresponse()
            if answer.status != 200:
                headers = {name.lower(): value for name, value in answer.getheaders()}
                raise _refused(refusal(answer.status, headers, answer.read()))
            while True:
                line = answer.readline(_LINE_BYTES_MAX)
                if not line.endswith(b"\n"):
                    raise Unreachable("the stream was cut")
                yield line.rstrip(b"\r\n").decode("utf-8")
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            raise Unreachable(f"the stream was cut: {error}") from error


def _refused(error: DecisionGraphError) -> DecisionGraphError:
    if not isinstance(error, Conflict):
        return error
    return HistoryChanged(
        error.status, error.code, error.message, details=error.details, category=error.category, next=error.next,
        request_id=error.request_id,
    )
