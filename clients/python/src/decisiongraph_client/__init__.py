"""Records the decisions of AI agents in DecisionGraph, and asks it about them.

    with Client("http://127.0.0.1:4100", token, "default", producer_id="refund-agent") as client:
        with client.trace("refund", title="Credit for ticket 9300", primary_entity=entity("account", "globex")) as t:
            t.policy("refund_limit", "4", "allow")
            action = t.action_proposed("issue_credit", entity("account", "globex"), "billing")
            t.action_committed(action)
"""

from .builders import Draft, actor, entity, facts
from .client import BatchResult, Client, default_spool_dir
from .errors import (
    ApiError, Closed, Conflict, DecisionGraphError, Forbidden, HistoryChanged, IdempotencyConflict, InvalidArgument,
    NotFound, NotOffered, OutcomeUnknown, OutOfDate, PiiViolation, RateLimited, SchemaViolation, SequenceInvalid,
    ServerError, SpoolFailed, SpoolFull, Unauthorized, Unreachable,
)
from .retry import Backoff
from .sender import SpoolStatus
from .stream import Stream, StreamMessage
from .trace import Trace

__version__ = "0.1.0"

__all__ = [
    "ApiError", "Backoff", "BatchResult", "Client", "Closed", "Conflict", "DecisionGraphError", "Draft", "Forbidden",
    "HistoryChanged", "IdempotencyConflict", "InvalidArgument", "NotFound", "NotOffered", "OutOfDate",
    "OutcomeUnknown", "PiiViolation", "RateLimited", "SchemaViolation", "SequenceInvalid", "ServerError",
    "SpoolFailed", "SpoolFull", "SpoolStatus", "Stream", "StreamMessage", "Trace", "Unauthorized", "Unreachable",
    "actor", "default_spool_dir", "entity", "facts",
]
