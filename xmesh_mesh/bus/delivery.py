"""Fan-out: give each session what is next for it, as far as its credit goes."""

from collections.abc import Callable
from typing import Protocol

from xmesh_mesh.bus import frames
from xmesh_mesh.bus.core import Recent, Session, Sessions
from xmesh_mesh.bus.journal import Entry, Journal
from xmesh_mesh.bus.upkeep import Upkeep

__all__ = ["Delivery", "Outlet"]

# One turn gives one session at most this much; a long way to catch up delays nobody else.
PAGE = 64
PAGES_A_TURN = 4


class Outlet(Protocol):
    """The way out to clients."""

    def send(self, route: bytes, data: bytes) -> bool:
        """Hand a frame over without waiting; False where nobody, or nobody who reads, is there."""


class Delivery:
    """``hungry`` says that somebody has credit left and more to get."""

    def __init__(
        self, journal: Journal, recent: Recent, outlet: Outlet, end: Callable[[bytes], None]
    ) -> None:
        self._journal = journal
        self._recent = recent
        self._outlet = outlet
        self._end = end
        self._encoded: dict[int, bytes] = {}
        self.hungry = False

    def run(self, sessions: Sessions, upkeep: Upkeep, mono_ms: int) -> None:
        """Serve everybody once."""
        head = self._journal.head
        self.hungry = False
        for session in sessions:
            if session.receives and not session.is_settled(head):
                before = session.cursor
                self._serve(session, head)
                if session.cursor != before:
                    upkeep.moved(session, mono_ms)
        self._encoded.clear()

    def _serve(self, session: Session, head: int) -> None:
        for _ in range(PAGES_A_TURN):
            if not session.has_credit():
                return
            page = self._page(session)
            for entry in session.take(page):
                if not self._outlet.send(session.route, self._frame(entry)):
                    self._end(session.route)
                    return
            if page and session.sent < page[-1].seq:
                return
            if len(page) < PAGE:
                session.skip_to(head)
                return
        self.hungry = True

    def _page(self, session: Session) -> list[Entry]:
        recent = self._recent.after(session.group, session.sent, PAGE)
        if recent is not None:
            return recent
        return self._journal.after(session.group, session.sent, PAGE)

    def _frame(self, entry: Entry) -> bytes:
        """A frame is made once for all who get it in this turn."""
        data = self._encoded.get(entry.seq)
        if data is None:
            what = (entry.assertion, entry.record, entry.accepted_ms, entry.history)
            frame = frames.Deliver(entry.seq, entry.author, *what)
            data = self._encoded[entry.seq] = frames.encode(frame)
        return data
