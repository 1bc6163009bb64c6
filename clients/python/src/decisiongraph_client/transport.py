"""HTTP to one node: kept connections, headers, envelopes, retries. No rules of events or queries.

Redirects are never followed (the server makes none). A thread has its own connection; a forked child opens new ones.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import threading
import time
from typing import Any, Callable, Dict, Iterable, Mapping, NamedTuple, Optional, Tuple, Union
from urllib.parse import quote, urlencode, urlsplit

from .errors import DecisionGraphError, Unreachable, error_of
from .retry import Backoff, is_transient, retry_after_of

#: A token, or a function that gives the present one (a file that is rotated, a secret store).
Token = Union[str, Callable[[], str]]
#: Longest answer that is read, in bytes.
ANSWER_BYTES_MAX = 128 * 1024 * 1024

_FAULTS = (OSError, http.client.HTTPException)


class Answer(NamedTuple):
    """A successful answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Unreachable(f"the answer is not JSON: {error}") from None

    @property
    def log_seq(self) -> Optional[int]:
        """The position in `x-log-seq`, if there is one."""
        value = self.headers.get("x-log-seq", "")
        return int(value) if value.isdigit() else None


def query_of(parameters: Mapping[str, Any]) -> str:
    """The query of a URL: absent values are left out, a list repeats its key, booleans are `true` and `false`."""
    pairs = []
    for key, value in parameters.items():
        values = value if isinstance(value, (list, tuple, set, frozenset)) else [value]
        for one in values:
            if one is not None:
                pairs.append((key, str(one).lower() if isinstance(one, bool) else str(one)))
    return urlencode(pairs, quote_via=quote, safe="")


def segment(identifier: str) -> str:
    """An id as one path segment: everything but unreserved characters is percent-encoded."""
    return quote(identifier, safe="")


class Transport:
    """Requests to one base URL for one tenant."""

    def __init__(
        self,
        base_url: str,
        token: Optional[Token],
        tenant: str,
        *,
        timeout: float = 10.0,
        attempts: int = 4,
        backoff: Backoff = Backoff(),
        ssl_context: Optional[ssl.SSLContext] = None,
        user_agent: str = "decisiongraph-client-python",
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"not the base URL of a node: {base_url!r}")
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._prefix = parts.path.rstrip("/")
        self._context = ssl_context
        self.token = token
        self._tenant = tenant
        self._timeout = timeout
        self._attempts = max(1, attempts)
        self._backoff = backoff
        self._user_agent = user_agent
        self._local = threading.local()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Optional[Mapping[str, Any]] = None,
        body: Optional[bytes] = None,
        headers: Optional[Mapping[str, str]] = None,
        timeout: Optional[float] = None,
        patience: float = 0.0,
        attempts: Optional[int] = None,
        tenant: bool = True,
    ) -> Answer:
        """One request, repeated while its failure is transient. Raises `ApiError` or `Unreachable`.

        `patience` are seconds that the node was asked to wait; the time-out is behind them.
        """
        target, sent = self.target(path, query), self.headers(headers, tenant)
        most = self._attempts if attempts is None else attempts
        seconds = (self._timeout if timeout is None else timeout) + patience
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._once(method, target, sent, body, seconds)
            except DecisionGraphError as error:
                if attempt >= most or not is_transient(error):
                    raise
                time.sleep(self._backoff.wait(attempt, getattr(error, "retry_after", None)))

    def target(self, path: str, query: Optional[Mapping[str, Any]] = None) -> str:
        """The request target of a path below the base URL."""
        text = query_of(query or {})
        return f"{self._prefix}{path}?{text}" if text else f"{self._prefix}{path}"

    def headers(self, more: Optional[Mapping[str, str]], tenant: bool = True) -> Dict[str, str]:
        """The headers of every request, and `more`."""
        sent = {"accept": "application/json", "user-agent": self._user_agent}
        token = self.token() if callable(self.token) else self.token
        if token:
            sent["authorization"] = f"Bearer {token.strip()}"
        if tenant:
            sent["x-tenant-id"] = self._tenant.encode("utf-8").decode("latin-1")
        sent.update(more or {})
        return sent

    def open(self, timeout: float) -> http.client.HTTPConnection:
        """A new connection that the caller owns and closes."""
        if not self._secure:
            return http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        context = self._context or ssl.create_default_context()
        return http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=context)

    def _once(
        self, method: str, target: str, headers: Mapping[str, str], body: Optional[bytes], timeout: float
    ) -> Answer:
        connection, is_kept = self._connection(timeout)
        try:
            answer, got = self._exchange(connection, method, target, headers, body)
        except _FAULTS as error:
            self._drop()
            if not is_kept or isinstance(error, socket.timeout):
                raise Unreachable(f"{method} {target.split('?')[0]}: {error or type(error).__name__}") from error
            # The server closed a kept connection between two requests; a new one decides.
            return self._once(method, target, headers, body, timeout)
        except BaseException:
            self._drop()
            raise
        if answer.will_close:
            self._drop()
        named = {name.lower(): value for name, value in answer.getheaders()}
        if answer.status < 300 or answer.status == 304:
            return Answer(answer.status, named, got)
        raise refusal(answer.status, named, got)

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Optional[bytes],
    ) -> Tuple[http.client.HTTPResponse, bytes]:
        connection.request(method, target, body=body, headers=dict(headers))
        answer = connection.getresponse()
        got = answer.read(ANSWER_BYTES_MAX + 1)
        if len(got) > ANSWER_BYTES_MAX:
            raise http.client.HTTPException(f"the answer is longer than {ANSWER_BYTES_MAX} bytes")
        if answer.length:
            raise http.client.IncompleteRead(got, answer.length)
        return answer, got

    def _connection(self, timeout: float) -> Tuple[http.client.HTTPConnection, bool]:
        kept = getattr(self._local, "connection", None)
        if kept is not None and self._local.pid == os.getpid() and kept.sock is not None:
            kept.sock.settimeout(timeout)
            return kept, True
        self._local.connection, self._local.pid = self.open(timeout), os.getpid()
        return self._local.connection, False

    def _drop(self) -> None:
        kept = getattr(self._local, "connection", None)
        self._local.connection = None
        if kept is not None:
            kept.close()

    def close(self) -> None:
        """Closes the calling thread's connection."""
        self._drop()


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> DecisionGraphError:
    """The typed error of an answer that is no success; a redirect is none, for nothing here follows it."""
    try:
        envelope = json.loads(body)
    except ValueError:
        envelope = None
    wait = retry_after_of(headers.get("retry-after"), time.time)
    return error_of(status, envelope, request_id=headers.get("x-request-id"), retry_after=wait)


def ndjson(lines: Iterable[Mapping[str, Any]]) -> bytes:
    """Objects as JSON lines. Numbers that JSON does not have (NaN, infinity) are a `ValueError`."""
    return b"".join(line_of(line) + b"\n" for line in lines)


def line_of(value: Mapping[str, Any]) -> bytes:
    """One object as one line of JSON, without its end. A lone surrogate is escaped, as JSON allows."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
