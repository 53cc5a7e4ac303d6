"""How fast a client may go. Pure: time is an argument, in integer milliseconds."""

from typing import Final

__all__ = ["Bucket"]


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
