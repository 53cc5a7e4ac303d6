"""Which of two TCP connections to one node stays, and when to open one.

Both ends must choose alike, or each closes what the other keeps. So the choice is the one that
deployed nodes make; and as a stock node goes mute when a connection is replaced, we avoid a second
one: rather be dialled than dial.
"""

from enum import Enum
from typing import Final

FRESH_MS: Final = 1_000
REDIAL_MS: Final = 500
PATIENCE_MS: Final = 20_000


class Keep(Enum):
    OLD = "old"
    NEW = "new"


class Cause(Enum):
    """Why there is no link to a node that is known to be there."""

    FOUND = "found"  # discovered, and never linked
    LOST = "lost"
    MUTE = "mute"  # we closed it because the node had gone mute on it


# Both connections are alive: (is the new one outbound?, the old one?, is our id the lower?).
# Of two opposite ones, the one that the lower id has opened stays.
_BOTH_FRESH: Final[dict[tuple[bool, bool, bool], Keep]] = {
    (True, True, True): Keep.OLD,
    (True, True, False): Keep.OLD,
    (False, False, True): Keep.OLD,
    (False, False, False): Keep.OLD,
    (True, False, True): Keep.NEW,
    (True, False, False): Keep.OLD,
    (False, True, True): Keep.OLD,
    (False, True, False): Keep.NEW,
}

# (why, is it one of ours, on a Core Secure listener?, is our id the lower?); None is never.
_DIAL_AFTER_MS: Final[dict[tuple[Cause, bool, bool], int | None]] = {
    (Cause.FOUND, False, True): PATIENCE_MS,
    (Cause.FOUND, False, False): None,
    (Cause.FOUND, True, True): 0,
    (Cause.FOUND, True, False): PATIENCE_MS,
    (Cause.LOST, False, True): PATIENCE_MS,
    (Cause.LOST, False, False): None,
    (Cause.LOST, True, True): REDIAL_MS,
    (Cause.LOST, True, False): PATIENCE_MS,
    (Cause.MUTE, False, True): REDIAL_MS,
    (Cause.MUTE, False, False): REDIAL_MS,
    (Cause.MUTE, True, True): REDIAL_MS,
    (Cause.MUTE, True, False): REDIAL_MS,
}


def choose(
    *, own_id: str, peer_id: str, new_outbound: bool, old_outbound: bool, old_heard_ms_ago: int
) -> Keep:
    """Return which of two connections to ``peer_id`` stays; the other is to be closed."""
    if old_heard_ms_ago > FRESH_MS:
        return Keep.NEW
    return _BOTH_FRESH[new_outbound, old_outbound, own_id < peer_id]


def dial_after(
    cause: Cause, *, own_id: str, peer_id: str, secure: bool, configured: bool = False
) -> int | None:
    """Return after how many milliseconds without a link to open one, None for never.

    A node named in the configuration is dialled at once, and again ``REDIAL_MS`` after a loss.
    """
    if configured:
        return 0 if cause is Cause.FOUND else REDIAL_MS
    return _DIAL_AFTER_MS[cause, secure, own_id < peer_id]
