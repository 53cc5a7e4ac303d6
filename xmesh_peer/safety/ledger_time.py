"""The ledger's own time: it moves only while this machine is seen to run.

Windows ("per hour") must not end early because somebody set the clock. So the ledger counts
milliseconds of its own, starting at 0, and moves them on by what the boot clock has moved since
any process last looked. Wall time is stored for people and never decides anything.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Anchor", "Clock", "Reading", "advance", "read_clock"]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the machine: which boot (empty where it can't be told), time up, wall time."""

    boot: str
    up_ms: int
    wall_ms: int


@dataclass(frozen=True, slots=True)
class Anchor:
    """The ledger's time at one look: ``ledger_ms`` was when the boot clock showed ``up_ms``."""

    boot: str
    up_ms: int
    ledger_ms: int


Clock = Callable[[], Reading]


def advance(anchor: Anchor | None, reading: Reading) -> Anchor:
    """Return the anchor at ``reading``; ledger time never goes back.

    Another boot adds nothing: how long the machine was off is not known. Within a known boot a
    reading behind the anchor is a stray, and the anchor stays; where boots can't be told apart it
    may be a new boot, and the anchor moves back without gaining time.
    """
    if anchor is None:
        return Anchor(reading.boot, reading.up_ms, 0)
    if reading.boot != anchor.boot:
        return Anchor(reading.boot, reading.up_ms, anchor.ledger_ms)
    passed_ms = reading.up_ms - anchor.up_ms
    if passed_ms < 0 and anchor.boot:
        return anchor
    return Anchor(anchor.boot, reading.up_ms, anchor.ledger_ms + max(0, passed_ms))


def read_clock() -> Reading:
    """Look at this machine: CLOCK_BOOTTIME, which counts suspended time, or else monotonic."""
    which = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return Reading(
        _boot_id(), time.clock_gettime_ns(which) // 1_000_000, time.time_ns() // 1_000_000
    )


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
