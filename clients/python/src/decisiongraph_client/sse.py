"""Server-Sent Events: a parser for lines, without any I/O, by the WHATWG rules that the node makes use of."""

from __future__ import annotations

from typing import List, NamedTuple, Optional


class Message(NamedTuple):
    """One message as it came: its kind, its text, and the id to resume behind it."""

    event: str
    data: str
    id: Optional[str]


class Parser:
    """Takes lines, gives messages. A message ends at a blank line; comments and unknown fields are skipped."""

    def __init__(self) -> None:
        #: Id of the latest message that had one.
        self.last_id: Optional[str] = None
        #: Milliseconds before a new connection, as the server asked.
        self.retry_ms: Optional[int] = None
        self._event = ""
        self._data: List[str] = []

    def line(self, line: str) -> Optional[Message]:
        """Takes one line without its end; gives a message when the line ends it."""
        if not line:
            return self._end()
        name, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self.last_id = value
        elif name == "retry" and value.isdigit():
            self.retry_ms = int(value)
        return None

    def _end(self) -> Optional[Message]:
        event, data = self._event or "message", self._data
        self._event, self._data = "", []
        return Message(event, "\n".join(data), self.last_id) if data else None
