"""What the journal keeps and for how long.

Within the bounds everything is kept, read or unread. Beyond them the oldest goes, whoever has not
read it; what that takes from a living member is counted against it and shown.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["RETENTION", "Cut", "Retention"]

Read = Callable[..., int | str | None]

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Cut:
    """``upto``: the last seq that is gone. ``lost``: node → how many it had not acknowledged."""

    upto: int
    deleted: int
    lost: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Retention:
    """``step`` bounds what one pass deletes, so that no pass holds the bus up."""

    age_ms: int = 7 * _DAY_MS
    records: int = 200_000
    journal_bytes: int = 1_073_741_824
    ids_age_ms: int = 30 * _DAY_MS
    step: int = 500

    def upto(self, read: Read, now_ms: int) -> int:
        """Return the last seq that one pass may delete; 0 for nothing."""
        oldest = "SELECT max(seq) FROM (SELECT seq, accepted_ms FROM records ORDER BY seq LIMIT ?)"
        aged = read(f"{oldest} WHERE accepted_ms < ?", self.step, now_ms - self.age_ms)
        surplus = self._surplus(read)
        crowded = read(oldest, surplus) if surplus else 0
        return max(int(aged or 0), int(crowded or 0))

    def _surplus(self, read: Read) -> int:
        if self._bytes(read) > self.journal_bytes:
            return self.step
        count = int(read("SELECT count(*) FROM records") or 0)
        return min(self.step, max(0, count - self.records))

    @staticmethod
    def _bytes(read: Read) -> int:
        used, free = read("PRAGMA page_count"), read("PRAGMA freelist_count")
        return (int(used or 0) - int(free or 0)) * int(read("PRAGMA page_size") or 0)

    def forgotten(self, read: Read, now_ms: int) -> int:
        """Return the time before which ids go in one pass."""
        limit = now_ms - self.ids_age_ms
        pace = read("SELECT accepted_ms FROM ids ORDER BY accepted_ms LIMIT 1 OFFSET ?", self.step)
        return limit if pace is None else min(limit, int(pace))


RETENTION = Retention()
