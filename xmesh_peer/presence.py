"""What a peer is doing right now, and how it waits: one place that every part of it writes to."""

import asyncio
import contextlib
import math
import time
from typing import Literal

from xmesh_peer.log import Log

State = Literal["asleep", "thinking", "deferred", "stopping"]
# What a deferred peer waits for; "budget" is a cap of an hour, a day or a run.
Cause = Literal["", "minute", "budget", "ledger", "breaker", "vendor"]

# How long a store or a ledger that cannot be written is left alone before the next try.
RETRY_S = 1.0


class Presence:
    """``state``, ``waits_for`` and ``note`` are what ``ps`` shows; ``stopping`` ends every wait."""

    def __init__(self, log: Log) -> None:
        self.state: State = "asleep"
        self.waits_for: Cause = ""
        self.note = ""
        self.log = log
        self.stopping = asyncio.Event()

    def stop(self) -> None:
        self.state = "stopping"
        self.stopping.set()

    def rest(self) -> None:
        self.state, self.waits_for, self.note = "asleep", "", ""

    def think(self, note: str) -> None:
        self.state, self.waits_for, self.note = "thinking", "", note

    async def defer(self, cause: Cause, text: str, wait_s: float | None) -> None:
        """Wait with the work still queued; None waits until the peer stops."""
        seconds = math.inf if wait_s is None else max(wait_s, 0.01)
        if self.note != text:
            shown = "until it is stopped" if wait_s is None else f"{seconds:.0f} s"
            self.log.warning("deferred", f"waits {shown}: {text}")
        self.state, self.waits_for, self.note = "deferred", cause, text
        await self._pause(seconds)

    async def wait_out(self, text: str) -> None:
        """Leave something that cannot be written alone for a moment."""
        if self.note != text:
            self.log.error("blocked", text)
        self.note = text
        await self._pause(RETRY_S)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                await self.stopping.wait()


def now_ms() -> int:
    """Return wall time, for records and for people; nothing is measured with it."""
    return time.time_ns() // 1_000_000
