"""One local peer and one remote node: their links, which of them is used, and whose ping is open.

There may be a link on the LAN and one over a relay. The healthiest carries the records; when it
fails the other goes on from what is vouched for, and nobody has left. Deployed nodes answer a ping
on the link they prefer, not on the one it came by. So one ping at a time is open for both links
together, and a pong is the answer to it wherever it arrives. Ours answer where they were asked.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from xmesh_mesh.gateway.feed import Feed
from xmesh_mesh.wire.frames import Frame, Pong, Unknown
from xmesh_mesh.wire.heartbeat import Beat, Heartbeat
from xmesh_mesh.wire.links import Keep, choose
from xmesh_mesh.wire.types import Transport

__all__ = ["UNWELL_MS", "Conversation", "Deed", "Do", "Line"]

UNWELL_MS: Final = 5_000  # a ping unanswered for so long: prefer another link, if there is one
REPEAT_MS: Final = 15_000  # a pong that never came, on a link that is otherwise alive


@dataclass(slots=True, eq=False)
class Line:
    """One link to the remote, from the end of its handshake on."""

    transport: Transport
    secure: bool
    outbound: bool
    since_ms: int
    pulse: Heartbeat = field(init=False)
    heard_ms: int = field(init=False)

    def __post_init__(self) -> None:
        self.pulse = Heartbeat(self.since_ms)
        self.heard_ms = self.since_ms

    def is_well(self, now_ms: int) -> bool:
        waited = self.pulse.unanswered_for(now_ms)
        return waited is None or waited < UNWELL_MS


class Do(Enum):
    PING = "ping"
    CLOSE = "close"
    CLOSE_MUTE = "close-mute"


@dataclass(frozen=True, slots=True)
class Deed:
    """What the shell is to do with a line now."""

    do: Do
    line: Line


@dataclass(slots=True)
class _Open:
    """The ping that is not answered yet, and the line it went out on."""

    line: Line
    at_ms: int


class Conversation:
    """``feed`` is what goes out; the line that it goes out on is ``preferred``."""

    def __init__(self, own_id: str, peer_id: str, cursor: int) -> None:
        self.feed = Feed(cursor)
        self.lines: list[Line] = []
        self._own_id = own_id
        self._peer_id = peer_id
        self._carrier: Line | None = None
        self._open: _Open | None = None

    def add(self, line: Line, now_ms: int) -> list[Line]:
        """Take a new line; return those to be closed, the new one perhaps among them."""
        rival = next((old for old in self.lines if old.transport == line.transport), None)
        if rival is not None and self._keep(rival, line, now_ms) is Keep.OLD:
            return [line]
        self.lines.append(line)
        if rival is None:
            return []
        self.remove(rival)
        return [rival]

    def remove(self, line: Line) -> bool:
        """A line is gone; return whether it was one of these."""
        if line not in self.lines:
            return False
        self.lines.remove(line)
        if self._carrier is line:
            self._carrier = None
        if self._open is not None and self._open.line is line:
            self._open = None
        return True

    def renewed(self, line: Line) -> None:
        """A line has begun anew (another session on it): what it carried may be lost."""
        if self._carrier is line:
            self._carrier = None

    def heard(self, line: Line, frame: Frame | Unknown, now_ms: int) -> bool:
        """Note a frame; return whether the remote has come further in what we say."""
        line.heard_ms = now_ms
        line.pulse.heard(frame, now_ms)
        if not isinstance(frame, Pong) or self._open is None:
            return False
        if line.secure and line is not self._open.line:
            return False
        asked, self._open = self._open.line, None
        asked.pulse.heard(frame, now_ms)
        return asked is self._carrier and self.feed.ponged()

    def preferred(self, now_ms: int) -> Line | None:
        """Return the line to send on. The feed goes back to what is vouched for on a change."""
        best = self._best(now_ms)
        if best is not self._carrier:
            self._carrier = best
            self.feed.rewind()
            if self._open is not None and self._open.line.secure:
                self._open = None
        return best

    def would_change(self, now_ms: int) -> bool:
        """Return whether another line is the better one by now."""
        return self._best(now_ms) is not self._carrier

    def ping_due(self, now_ms: int) -> Line | None:
        """Return the line to ping because of what was sent on it; the ping counts as sent."""
        carrier = self._carrier
        if carrier is None or self._open is not None or not self.feed.wants_ping:
            return None
        carrier.pulse.asked(now_ms)
        self._ask(carrier, now_ms)
        return carrier

    def tick(self, now_ms: int) -> list[Deed]:
        """Return what is due; pings in it count as sent."""
        deeds = [deed for line in list(self.lines) if (deed := self._beat(line, now_ms))]
        repeat = self._repeat(now_ms)
        return [*deeds, repeat] if repeat else deeds

    def _best(self, now_ms: int) -> Line | None:
        return min(self.lines, key=lambda line: _rank(line, now_ms), default=None)

    def _keep(self, old: Line, new: Line, now_ms: int) -> Keep:
        if old.secure != new.secure:
            return Keep.NEW if new.secure else Keep.OLD
        if new.transport == "relay":
            return Keep.NEW
        return choose(
            own_id=self._own_id,
            peer_id=self._peer_id,
            new_outbound=new.outbound,
            old_outbound=old.outbound,
            old_heard_ms_ago=now_ms - old.heard_ms,
        )

    def _beat(self, line: Line, now_ms: int) -> Deed | None:
        is_asked = line.pulse.unanswered_for(now_ms) is not None
        if not is_asked and self._open is not None and self._open.line is not line:
            return None
        match line.pulse.tick(now_ms):
            case Beat.PING:
                self._ask(line, now_ms)
                return Deed(Do.PING, line)
            case Beat.MUTE:
                return Deed(Do.CLOSE_MUTE, line)
            case Beat.SILENT:
                return Deed(Do.CLOSE, line)
            case Beat.REST:
                return None

    def _repeat(self, now_ms: int) -> Deed | None:
        """Ask again where a pong never came; what the first ping vouched for stays as it is."""
        if self._open is None or now_ms - self._open.at_ms < REPEAT_MS:
            return None
        if self._open.line.pulse.unanswered_for(now_ms) is not None:
            return None
        self._open.at_ms = now_ms
        return Deed(Do.PING, self._open.line)

    def _ask(self, line: Line, now_ms: int) -> None:
        is_first = self._open is None
        self._open = _Open(line, now_ms)
        # Asked twice: the first answer that comes may be the one to the first ping.
        if is_first and line is self._carrier:
            self.feed.pinged()


def _rank(line: Line, now_ms: int) -> tuple[bool, bool, bool, int]:
    """The smallest is the best: well, secure, near, old."""
    return not line.is_well(now_ms), not line.secure, line.transport != "lan", line.since_ms
