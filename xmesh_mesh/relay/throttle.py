"""How fast a client may go; and the clock of the relay's shells."""

import time
from typing import Final

__all__ = ["Bucket", "now_ms"]


def now_ms() -> int:
    """Return the time that intervals are measured with. Cores take it as an argument."""
    return time.monotonic_ns() // 1_000_000


class Bucket:
    """A bucket of ``burst`` units that fills by ``rate`` a second and may be overdrawn once.

    An overdraft is waited off: what has arrived is handled, and the next comes later.
    """

    __slots__ = ("_at_ms", "_burst", "_level", "_rate")

    def __init__(self, rate: int, burst: int, now_ms: int) -> None:
        self._rate: Final = rate
        # In thousandths of a unit: what a millisecond adds is then a whole number.
        self._burst: Final = burst * 1_000
        self._level = self._burst
        self._at_ms = now_ms

    def spend(self, units: int, now_ms: int) -> int:
        """Take ``units`` out; return for how many milliseconds the bucket is overdrawn, or 0."""
        filled = self._level + (now_ms - self._at_ms) * self._rate
        self._level = min(self._burst, filled) - units * 1_000
        self._at_ms = now_ms
        return max(0, -(self._level // self._rate))
