"""Decides when a request is sent again: exponential back-off with full jitter, and never before `retry-after`.

Pure: randomness is an argument. Only requests that the node recognises are repeated: reads, and changes with a key.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Callable, Optional

from .errors import ApiError, DecisionGraphError, Unreachable

#: Statuses that pass with time, whatever the body says.
TRANSIENT = frozenset({408, 429, 502, 503, 504})
#: Longest `retry-after` that is obeyed, in seconds.
RETRY_AFTER_MAX = 300.0


@dataclass(frozen=True)
class Backoff:
    """Waits between attempts, in seconds."""

    #: Upper bound of the first wait.
    first: float = 0.2
    #: Upper bound of every wait that the node did not ask for.
    most: float = 30.0

    def wait(
        self,
        attempt: int,
        retry_after: Optional[float] = None,
        draw: Callable[[], float] = random.random,
    ) -> float:
        """Seconds before attempt number `attempt + 1`; attempts count from 1, and `draw` gives a number in [0, 1).

        Full jitter: anything from 0 to the bound, so that clients that failed together do not come back together.
        A `retry-after` is waited for in full, with the jitter behind it.
        """
        bound = min(self.most, self.first * 2.0 ** min(attempt - 1, 30))
        jitter = draw() * bound
        if retry_after is None:
            return jitter
        return min(max(retry_after, 0.0), RETRY_AFTER_MAX) + draw() * min(bound, 1.0)


def is_transient(error: DecisionGraphError) -> bool:
    """True when the same request can succeed without any change by people."""
    if isinstance(error, Unreachable):
        return True
    return isinstance(error, ApiError) and error.status in TRANSIENT


def retry_after_of(value: Optional[str], now: Callable[[], float]) -> Optional[float]:
    """Seconds of a `retry-after` header: a number, or an HTTP date compared with `now`; nothing if it is neither."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now())
    except (TypeError, ValueError):
        return None
