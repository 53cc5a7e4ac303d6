"""The two clocks of the gateway's shells; cores get the time as an argument."""

import time

__all__ = ["now_ms", "wall_ms"]


def now_ms() -> int:
    """Return the time that intervals are measured with."""
    return time.monotonic_ns() // 1_000_000


def wall_ms() -> int:
    """Return the time that is written down, and shown to people."""
    return time.time_ns() // 1_000_000
