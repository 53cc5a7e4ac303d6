"""Who is connected, who gets what, and how much at a time. No socket, no file, no clock.

A member's *cursor* is the last seq that it needs no more; *sent* is the last seq that has been
looked at for it. Between them lie its unacknowledged deliveries, bounded in number by its window
and in bytes by ``WINDOW_BYTES``.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from xmesh_mesh.bus.frames import Role
from xmesh_mesh.bus.journal import Entry, Member

__all__ = ["WINDOW_BYTES", "Recent", "Session", "Sessions", "starting_cursor"]

WINDOW_BYTES = 4_194_304
RECENT_BYTES = 8_388_608
# What a record costs in memory beside its bytes, roughly.
_ENTRY_OVERHEAD = 512


def starting_cursor(
    known: Member | None, position: tuple[str, int] | None, epoch: str, head: int
) -> int:
    """Return the seq after which a member that says Hello is served.

    ``known``: the living member, with its newest cursor, or None. A node that holds a position of
    another journal was a living member before this one began: all of this one is news to it.
    """
    ours = position is not None and position[0] == epoch
    if known is None:
        return 0 if position is not None and not ours else head
    if position is not None and ours:
        return min(max(position[1], known.joined), head)
    return known.cursor


@dataclass(slots=True)
class Session:
    """One connection that has said Hello. ``node_id`` is empty for a tail and a gateway."""

    route: bytes
    token: str
    role: Role
    node_id: str
    name: str
    group: str
    cursor: int
    window: int
    own: bool
    sent: int = field(init=False)
    _unacknowledged: deque[tuple[int, int]] = field(init=False, default_factory=deque)
    _bytes: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.sent = self.cursor

    @property
    def receives(self) -> bool:
        return self.role != "publisher"

    def wants(self, entry: Entry) -> bool:
        """Whether an entry of its group is meant for this session."""
        if self.role in {"tail", "gateway"}:
            return True
        if entry.author == self.node_id:
            return self.own and entry.to in {None, self.node_id}
        return entry.to is None or entry.to == self.node_id

    def has_credit(self) -> bool:
        return len(self._unacknowledged) < self.window and self._bytes < WINDOW_BYTES

    def is_settled(self, head: int) -> bool:
        """Whether nothing is left to look at, and the cursor is as far as it can be."""
        return self.sent >= head and (bool(self._unacknowledged) or self.cursor == self.sent)

    def take(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Yield what is to be sent now, in order, until the credit is used up."""
        for entry in entries:
            if self.wants(entry):
                if not self.has_credit():
                    return
                self._unacknowledged.append((entry.seq, len(entry.record)))
                self._bytes += len(entry.record)
                self.sent = entry.seq
                yield entry
            else:
                self.skip_to(entry.seq)

    def skip_to(self, seq: int) -> None:
        """Nothing up to ``seq`` is for this session beyond what has been sent."""
        self.sent = max(self.sent, seq)
        if not self._unacknowledged:
            self.cursor = self.sent

    def acknowledge(self, seq: int, head: int) -> bool:
        """Everything up to ``seq`` is in the client's hands; return whether the cursor moved."""
        before = self.cursor
        seq = min(seq, head)
        while self._unacknowledged and self._unacknowledged[0][0] <= seq:
            self._bytes -= self._unacknowledged.popleft()[1]
        self.cursor = max(self.cursor, seq)
        self.skip_to(seq)
        return self.cursor != before


class Sessions:
    """All sessions, by route; at most one living connection a member."""

    def __init__(self) -> None:
        self._by_route: dict[bytes, Session] = {}

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._by_route.values()))

    def __len__(self) -> int:
        return len(self._by_route)

    def get(self, route: bytes) -> Session | None:
        return self._by_route.get(route)

    def open(self, session: Session) -> None:
        """Begin a session; an older one of the same client ends."""
        for other in self:
            if other.token == session.token:
                self.close(other.route)
        self._by_route[session.route] = session

    def close(self, route: bytes) -> Session | None:
        return self._by_route.pop(route, None)

    def member(self, node_id: str) -> Session | None:
        return next((s for s in self if s.role == "member" and s.node_id == node_id), None)

    def rival(self, node_id: str, name: str, group: str, token: str) -> tuple[Session, str] | None:
        """Return the session that forbids this node to join, and the refusal's code."""
        for other in self:
            if other.role != "member" or other.token == token:
                continue
            if other.node_id == node_id:
                return other, "collision"
            if (other.name, other.group) == (name, group):
                return other, "name-taken"
        return None

    def gateways(self, group: str) -> list[Session]:
        return [s for s in self if s.role == "gateway" and s.group == group]

    def receivers(self, group: str) -> list[Session]:
        return [session for session in self if session.receives and session.group == group]


class Recent:
    """The newest records of all groups in memory, so that fan-out need not ask the disk."""

    def __init__(self, floor: int, limit_bytes: int = RECENT_BYTES) -> None:
        self._floor = floor
        self._limit = limit_bytes
        self._bytes = 0
        self._seqs: list[int] = []
        self._entries: list[tuple[str, Entry]] = []

    def add(self, group: str, entry: Entry) -> None:
        self._seqs.append(entry.seq)
        self._entries.append((group, entry))
        self._bytes += len(entry.record) + _ENTRY_OVERHEAD
        if self._bytes > self._limit:
            self._halve()

    def after(self, group: str, seq: int, limit: int) -> list[Entry] | None:
        """Return the group's next entries after ``seq``; None where only the journal knows."""
        if seq < self._floor:
            return None
        found: list[Entry] = []
        for index in range(bisect_right(self._seqs, seq), len(self._seqs)):
            if self._entries[index][0] == group:
                found.append(self._entries[index][1])
                if len(found) == limit:
                    break
        return found

    def _halve(self) -> None:
        gone = (len(self._seqs) + 1) // 2
        self._floor = self._seqs[gone - 1]
        del self._seqs[:gone], self._entries[:gone]
        self._bytes = sum(len(entry.record) + _ENTRY_OVERHEAD for _, entry in self._entries)
