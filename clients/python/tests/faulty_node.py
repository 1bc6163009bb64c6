"""A server for faults of the transport: it takes batches as a node does, and fails where a test says so.

It knows keys and the order of arrival, and no rules of events. Answers of real nodes are in `test_node`.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Dict, List, Optional

#: A fault: takes the handler and the request's body; true when it has answered (or cut) the request.
Fault = Callable[["Handler", bytes], bool]


def answers(status: int, code: str, **headers: str) -> Fault:
    """A fault that answers with an error envelope."""

    def fault(handler: "Handler", body: bytes) -> bool:
        error = {"code": code, "category": code, "message": f"as asked: {code}", "details": {}, "next": "wait"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.reply(status, {"error": error, "request_id": "req-1"}, named)
        return True

    return fault


def cut(handler: "Handler", body: bytes) -> bool:
    """A fault that closes the connection before any answer."""
    handler.close_connection = True
    handler.connection.close()
    return True


def cut_after_storing(handler: "Handler", body: bytes) -> bool:
    """A fault that stores the batch and closes the connection in the middle of the answer."""
    handler.node.take(body)
    handler.send_response(200)
    handler.send_header("content-length", "500")
    handler.end_headers()
    handler.wfile.write(b'{"line":1,')
    handler.wfile.flush()
    return cut(handler, body)


def slow(seconds: float) -> Fault:
    """A fault that lets the request wait, and then answers it."""

    def fault(handler: "Handler", body: bytes) -> bool:
        time.sleep(seconds)
        return False

    return fault


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    node: "FaultyNode"

    def log_message(self, *_: Any) -> None:
        pass

    def reply(self, status: int, body: Any, headers: Optional[Dict[str, str]] = None) -> None:
        self.reply_bytes(status, json.dumps(body).encode(), headers)

    def reply_bytes(self, status: int, data: bytes, headers: Optional[Dict[str, str]] = None) -> None:
        self.send_response(status)
        for name, value in {"x-request-id": "req-1", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.node.requests.append((self.command, self.path, dict(self.headers.items()), body))
        if self.node.faults and self.node.faults.pop(0)(self, body):
            return
        token = self.node.token
        if token is not None and self.headers.get("authorization") != f"Bearer {token}":
            answers(401, "unauthorized")(self, body)
        elif self.path.startswith("/api/v1/events/batch"):
            self.reply_bytes(200, self.node.take(body))
        elif self.path == "/api/v1/events":
            line = json.loads(self.node.take(body).split(b"\n")[0])
            data = {"event": {**json.loads(body), "log_seq": line["log_seq"]}, "verdict": line["verdict"]}
            self.reply(201, {"data": data, "request_id": "req-1"}, {"x-log-seq": str(line["log_seq"])})
        else:
            answer = self.node.pages.pop(0) if self.node.pages else {}
            self.reply(200, {"data": answer, "request_id": "req-1"})

    do_GET = do_POST = _any


class FaultyNode:
    """A server on a free port of the loopback address; events are kept in `events`, each key once."""

    def __init__(self, port: int = 0) -> None:
        handler = type("Bound", (Handler,), {"node": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.events: List[Dict[str, Any]] = []
        self.requests: List[Any] = []
        self.faults: List[Fault] = []
        self.pages: List[Any] = []
        self.token: Optional[str] = None
        #: Gives a refusal for an event, or nothing.
        self.refuses: Callable[[Dict[str, Any]], Optional[Dict[str, Any]]] = lambda event: None
        self._lock = threading.Lock()
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def take(self, body: bytes) -> bytes:
        """Stores the lines of a batch; gives the answer to it."""
        counts = {"lines": 0, "accepted": 0, "repeated": 0, "refused": 0}
        found = []
        with self._lock:
            for at, line in enumerate(body.split(b"\n"), 1):
                if not line.strip():
                    continue
                event = json.loads(line)
                keys = [known["idempotency_key"] for known in self.events]
                refusal = self.refuses(event)
                if refusal is not None:
                    verdict = {"verdict": "refused", **refusal}
                elif event["idempotency_key"] in keys:
                    verdict = {"verdict": "repeated", "log_seq": keys.index(event["idempotency_key"]) + 1}
                else:
                    self.events.append(event)
                    verdict = {"verdict": "accepted", "log_seq": len(self.events)}
                counts["lines"] += 1
                counts[verdict["verdict"]] += 1
                found.append({"line": at, **verdict})
            found.append({"summary": {**counts, "last_log_seq": len(self.events)}, "request_id": "req-1"})
        return b"".join(json.dumps(line).encode() + b"\n" for line in found)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
