"""Errors of the client, one class per code of the node's error table.

Every refusal of the node is an `ApiError`; its subclass follows from `code`. Everything that this package raises on
purpose is a `DecisionGraphError`.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional


class DecisionGraphError(Exception):
    """The base of every error of this package."""


class Unreachable(DecisionGraphError):
    """No complete answer arrived: connection refused or cut, or time-out. The change may have happened."""


class SpoolFull(DecisionGraphError):
    """The spool has reached its bound in bytes; the event was not taken."""


class SpoolFailed(DecisionGraphError):
    """The disk did not take the event; its cause is the `OSError`."""


class Closed(DecisionGraphError):
    """The client is closed and takes no events."""


class ApiError(DecisionGraphError):
    """A refusal by the node, with the members of its error envelope."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: Optional[Mapping[str, Any]] = None,
        category: Optional[str] = None,
        next: Optional[str] = None,
        retryable: bool = False,
        request_id: Optional[str] = None,
        retry_after: Optional[float] = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        #: HTTP status.
        self.status = status
        #: Word of the error table, for example `event_sequence_invalid`.
        self.code = code
        #: Sentence for people; never holds a payload.
        self.message = message
        #: Facts for programs, for example `expected_trace_seq`.
        self.details: Mapping[str, Any] = details or {}
        #: Category of the node's own errors; it decides the exit code of its command line.
        self.category = category or code
        #: Advice, if the node gave one.
        self.next = next
        #: True when the same request can succeed later.
        self.retryable = retryable
        #: Id of the request in the node's log.
        self.request_id = request_id
        #: Seconds that the node asked to wait, if it did.
        self.retry_after = retry_after


class InvalidArgument(ApiError):
    """A parameter, header or body that the node does not understand."""


class Unauthorized(ApiError):
    """No token, or a token that is unknown or expired."""


class Forbidden(ApiError):
    """A known token without this tenant or this right."""


class NotFound(ApiError):
    """No such thing in this tenant."""


class NotOffered(ApiError):
    """A route that this server never offers."""


class Conflict(ApiError):
    """A state that does not allow the request, for example an event behind `TraceFinished`."""


class IdempotencyConflict(Conflict):
    """The key was used for something else; `details["mismatches"]` names the members that differ."""


class SequenceInvalid(Conflict):
    """Another number is due in the trace: `details["expected_trace_seq"]`."""


class HistoryChanged(Conflict):
    """The log does not hold what this reader has seen: a restore or a fail-over lost its tail.

    A consumer must reconcile before it goes on; the stream does not pass over the hole.
    """


class OutOfDate(ApiError):
    """The projection did not reach the position in time; ask again, or allow a stale answer."""


class SchemaViolation(ApiError):
    """The event does not have the shape of its type."""


class PiiViolation(ApiError):
    """The event holds a text in the form of a credential."""


class RateLimited(ApiError):
    """Too many requests of this identity."""


class ServerError(ApiError):
    """The node could not answer: no database, draining, deadline, or a defect."""


class OutcomeUnknown(ServerError):
    """A change may have happened; the same request under the same key tells."""


_BY_CODE = {
    "invalid_argument": InvalidArgument,
    "method_not_allowed": InvalidArgument,
    "payload_too_large": InvalidArgument,
    "unsupported_media_type": InvalidArgument,
    "unauthorized": Unauthorized,
    "forbidden": Forbidden,
    "not_found": NotFound,
    "not_implemented": NotOffered,
    "conflict": Conflict,
    "fenced": Conflict,
    "idempotency_conflict": IdempotencyConflict,
    "event_sequence_invalid": SequenceInvalid,
    "projection_out_of_date": OutOfDate,
    "schema_violation": SchemaViolation,
    "pii_policy_violation": PiiViolation,
    "rate_limited": RateLimited,
    "outcome_unknown": OutcomeUnknown,
    "internal_error": ServerError,
    "storage": ServerError,
    "unavailable": ServerError,
    "version_mismatch": ServerError,
}

_BY_STATUS = {401: Unauthorized, 403: Forbidden, 404: NotFound, 409: Conflict, 429: RateLimited}


def error_of(
    status: int, envelope: Any, *, request_id: Optional[str] = None, retry_after: Optional[float] = None
) -> ApiError:
    """The typed error of an answer. An answer without the envelope (a proxy's page) gets the code `http_STATUS`."""
    body = envelope if isinstance(envelope, dict) else {}
    error = body.get("error")
    error = error if isinstance(error, dict) else {}
    code = str(error.get("code") or f"http_{status}")
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status) or (ServerError if status >= 500 else ApiError)
    details = error.get("details")
    return kind(
        status,
        code,
        str(error.get("message") or f"the server answered {status}"),
        details=details if isinstance(details, dict) else None,
        category=error.get("category"),
        next=error.get("next"),
        retryable=bool(error.get("retryable", status in (408, 429, 502, 503, 504))),
        request_id=body.get("request_id") or request_id,
        retry_after=retry_after,
    )
