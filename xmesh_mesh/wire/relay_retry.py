"""When to go back to a relay, and when never: what a close code means, and how long to wait.

A relay lets one login per node id live. Coming back while it still holds our lost session throws
that out, and the ``relay-peer-joined`` that follows ends stock nodes. It needs up to 20 s to see
that a session is dead; so after a loss without a close handshake nobody comes back sooner than
``GHOST_MS``.
"""

from enum import Enum
from typing import Final

GHOST_MS: Final = 25_000
FIRST_MS: Final = 1_000
MAX_MS: Final = 30_000
SLOW_MS: Final = 300_000
STABLE_MS: Final = 60_000


class Next(Enum):
    """What to do after a close."""

    RETRY = "retry"
    SLOW = "slow"  # it will fail again until somebody changes something
    STOP = "stop"  # another process has our identity: a war would hurt everybody


# What the relay closes with; any other code, or none, is RETRY.
CLOSE_CODES: Final[dict[int, Next]] = {
    4001: Next.RETRY,  # no login in time
    4002: Next.SLOW,  # the first message was no login
    4003: Next.SLOW,  # the token is wrong
    4004: Next.STOP,  # replaced by a new login of this node id
    4005: Next.RETRY,  # our pongs did not come
    4006: Next.STOP,  # another login of this node id is younger than 5 s
}


class Retry:
    """The patience of one relay connection. Times are monotonic milliseconds."""

    def __init__(self) -> None:
        self._failures = 0
        self._joined_ms: int | None = None
        self._not_before_ms = 0

    def joined(self, now_ms: int) -> None:
        self._joined_ms = now_ms

    def lost(
        self, code: int | None, *, clean: bool, registered: bool, now_ms: int, jitter: float
    ) -> int | None:
        """Return when to connect again, or None for never.

        ``clean``: the WebSocket's close handshake was completed, so the relay knows. ``jitter`` is
        random in [0, 1): the wait is anything up to the bound (full jitter).
        """
        if registered and not clean:
            self._not_before_ms = now_ms + GHOST_MS
        wait = self._wait(CLOSE_CODES.get(code or 0, Next.RETRY), now_ms, jitter)
        self._joined_ms = None
        return None if wait is None else max(now_ms, self._not_before_ms) + wait

    def _wait(self, step: Next, now_ms: int, jitter: float) -> int | None:
        if step is Next.STOP:
            return None
        if self._joined_ms is not None and now_ms - self._joined_ms >= STABLE_MS:
            self._failures = 0
        if step is Next.SLOW:
            return MAX_MS + int(jitter * (SLOW_MS - MAX_MS))
        bound = min(MAX_MS, FIRST_MS << min(self._failures, 16))
        self._failures += 1
        return int(jitter * bound)
