"""What was here lately: records that must not count twice, and nodes that had their anchors."""

from collections.abc import Iterable
from itertools import islice
from typing import Final

from xmesh_mesh.record import Record

DEDUPE_MS: Final = 3_600_000
ANCHOR_EVERY_MS: Final = 60_000
ANCHORS: Final = 5
MAX_IDS: Final = 10_000


class Recent:
    """Ids noted within the last ``ttl_ms``, and at most ``size`` of them.

    For duplicates: ``known`` first, ``add`` once the record is in safe hands, and again when it
    comes again. For anchors (``ANCHOR_EVERY_MS``, by node id): ``claim``.
    """

    def __init__(self, ttl_ms: int = DEDUPE_MS, size: int = MAX_IDS) -> None:
        self._ttl_ms = ttl_ms
        self._size = size
        self._noted: dict[str, int] = {}  # the oldest first

    def known(self, ident: str, now_ms: int) -> bool:
        """Return whether ``ident`` was noted less than ``ttl_ms`` ago."""
        at_ms = self._noted.get(ident)
        return at_ms is not None and now_ms - at_ms < self._ttl_ms

    def add(self, ident: str, now_ms: int) -> None:
        """Note ``ident``; the oldest one goes where there are too many."""
        self._noted.pop(ident, None)
        self._noted[ident] = now_ms
        # Two out for each one in: what is outdated goes sooner than it comes.
        for old in list(islice(self._noted, 2)):
            if len(self._noted) > self._size or not self.known(old, now_ms):
                del self._noted[old]

    def claim(self, ident: str, now_ms: int) -> bool:
        """Return whether ``ident`` is not known, and note it only then."""
        if self.known(ident, now_ms):
            return False
        self.add(ident, now_ms)
        return True

    def __len__(self) -> int:
        return len(self._noted)


def anchors(newest_first: Iterable[Record], node_id: str) -> tuple[Record, ...]:
    """Return the records to show ``node_id`` when it comes; what was said to others is not."""
    return tuple(islice((r for r in newest_first if r.to in {None, node_id}), ANCHORS))
