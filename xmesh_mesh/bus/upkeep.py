"""What the bus does beside its clients' requests: cursors to disk now and then, retention.

A cursor that is lost with the process costs a delivery once more, never a record, so cursors go
along with a commit that happens anyway or wait up to ``CURSOR_DELAY_MS``.
"""

from collections.abc import Callable
from typing import Literal

from xmesh_mesh.bus.core import Session
from xmesh_mesh.bus.journal import Journal, JournalUnavailable, Member
from xmesh_mesh.bus.retention import RETENTION, Cut, Retention

__all__ = ["CURSOR_DELAY_MS", "PRUNE_MS", "Log", "Upkeep"]

CURSOR_DELAY_MS = 500
PRUNE_MS = 60_000
PRUNE_AGAIN_MS = 200
RETRY_MS = 1_000

Log = Callable[[Literal["info", "warning", "error"], str, str], None]


class Upkeep:
    def __init__(
        self, journal: Journal, log: Log, mono_ms: int, retention: Retention = RETENTION
    ) -> None:
        self._journal = journal
        self._log = log
        self._retention = retention
        self._cursors: dict[str, int] = {}
        self._unwritten: set[str] = set()
        self._write_due_ms = mono_ms
        self._prune_due_ms = mono_ms + PRUNE_AGAIN_MS
        self._along = False
        self._available = True

    def cursor(self, member: Member) -> int:
        """Return the member's newest cursor; the journal's may be somewhat older."""
        return self._cursors.get(member.node_id, member.cursor)

    def begin(self, member: Member) -> None:
        self._cursors[member.node_id] = member.cursor

    def moved(self, session: Session, mono_ms: int) -> None:
        if session.role != "member":
            return
        if not self._unwritten:
            self._write_due_ms = mono_ms + CURSOR_DELAY_MS
        self._cursors[session.node_id] = session.cursor
        self._unwritten.add(session.node_id)

    def forget(self, node_id: str) -> None:
        self._cursors.pop(node_id, None)
        self._unwritten.discard(node_id)

    def wait_ms(self, mono_ms: int) -> int:
        due = self._prune_due_ms
        if self._unwritten:
            due = min(due, self._write_due_ms)
        return max(0, due - mono_ms)

    def go_along(self, mono_ms: int) -> None:
        """Within a batch that is written anyway: take the cursors along when they are due."""
        self._along = bool(self._unwritten) and mono_ms >= self._write_due_ms
        if self._along:
            self._move_cursors()

    def written(self) -> None:
        """The batch is on disk."""
        if self._along:
            self._unwritten.clear()
        if not self._available:
            self._available = True
            self._log("info", "journal-available", "The journal can be written again.")

    def failed(self, error: JournalUnavailable) -> None:
        if self._available:
            self._available = False
            text = f"{error.what}; publishing waits until it can be written again."
            self._log("error", "journal-unavailable", text)

    def run(self, mono_ms: int, wall_ms: int) -> bool:
        """Do what is due; return whether retention was seen to."""
        if self._unwritten and mono_ms >= self._write_due_ms and not self.write_cursors():
            self._write_due_ms = mono_ms + RETRY_MS
        if mono_ms < self._prune_due_ms:
            return False
        cut = self._prune(wall_ms)
        again = cut is not None and cut.deleted >= self._retention.step
        self._prune_due_ms = mono_ms + (PRUNE_AGAIN_MS if again else PRUNE_MS)
        return cut is not None

    def write_cursors(self) -> bool:
        """Write what is unwritten; return False where the journal cannot be written now."""
        try:
            with self._journal.batch():
                self._move_cursors()
        except JournalUnavailable as error:
            self.failed(error)
            return False
        self._unwritten.clear()
        return True

    def _move_cursors(self) -> None:
        self._journal.move_cursors([(node, self._cursors[node]) for node in self._unwritten])

    def _prune(self, wall_ms: int) -> Cut | None:
        try:
            with self._journal.batch():
                self._move_cursors()
                cut = self._journal.prune(wall_ms, self._retention)
        except JournalUnavailable as error:
            self.failed(error)
            return None
        self._unwritten.clear()
        for node_id, lost in cut.lost.items():
            self._cursors[node_id] = max(self._cursors.get(node_id, 0), cut.upto)
            text = f"Retention took {lost} records that {node_id} had not read."
            self._log("warning", "retention-cut", text)
        return cut
