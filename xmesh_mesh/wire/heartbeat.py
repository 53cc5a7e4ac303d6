"""Is the other end of a link still there, and does it still speak to us?

A stock node whose connection was replaced goes mute: it receives, and its pings arrive, but all
else it sends is lost. So a ping is no proof that a link works; every other frame is.
"""

from collections.abc import Callable
from enum import Enum
from typing import Final

from xmesh_mesh.wire.frames import Frame, Ping, Unknown

PING_AFTER_MS: Final = 10_000  # without a frame that proves the link
MUTE_AFTER_MS: Final = 3_000  # after our ping, when pings come and nothing else
SILENT_AFTER_MS: Final = 20_000  # after our ping, when nothing comes at all


class Beat(Enum):
    """What to do with the link now."""

    REST = "rest"
    PING = "ping"
    MUTE = "mute"  # close, wait ``links.REDIAL_MS``, start clean
    SILENT = "silent"  # close


class Heartbeat:
    """One link's pulse. Times come from one monotonic clock, in milliseconds."""

    def __init__(self, now_ms: int) -> None:
        self._proven_ms = now_ms
        self._asked_ms: int | None = None
        self._pinged_since = False

    def heard(self, frame: Frame | Unknown, now_ms: int) -> None:
        """Note a frame that came."""
        if isinstance(frame, Ping):
            self._pinged_since = self._asked_ms is not None
        else:
            self._proven_ms = now_ms
            self._asked_ms = None
            self._pinged_since = False

    def asked(self, now_ms: int) -> None:
        """Note a ping of ours that the caller sends for a reason of its own."""
        if self._asked_ms is None:
            self._asked_ms = now_ms

    def tick(self, now_ms: int) -> Beat:
        """Say what is due; on ``PING`` the caller sends one."""
        beat = next((beat for holds, beat in _RULES if holds(self, now_ms)), Beat.REST)
        if beat is Beat.PING:
            self._asked_ms = now_ms
        return beat

    def unproven_for(self, now_ms: int) -> int:
        """Return how long ago a frame proved that the link works in both directions."""
        return now_ms - self._proven_ms

    def unanswered_for(self, now_ms: int) -> int | None:
        """Return how long a ping of ours waits for its answer, None if none does."""
        return None if self._asked_ms is None else now_ms - self._asked_ms

    @property
    def pinged_since(self) -> bool:
        """Whether the other side pinged us while our own ping is unanswered."""
        return self._pinged_since


def _is_mute(pulse: Heartbeat, now_ms: int) -> bool:
    waited = pulse.unanswered_for(now_ms)
    return waited is not None and pulse.pinged_since and waited >= MUTE_AFTER_MS


def _is_silent(pulse: Heartbeat, now_ms: int) -> bool:
    waited = pulse.unanswered_for(now_ms)
    return waited is not None and waited >= SILENT_AFTER_MS


def _is_due(pulse: Heartbeat, now_ms: int) -> bool:
    idle = pulse.unproven_for(now_ms) >= PING_AFTER_MS
    return idle and pulse.unanswered_for(now_ms) is None


# The first that holds decides.
_RULES: Final[tuple[tuple[Callable[[Heartbeat, int], bool], Beat], ...]] = (
    (_is_mute, Beat.MUTE),
    (_is_silent, Beat.SILENT),
    (_is_due, Beat.PING),
)
