"""What a node judges a record by: its thread, and the records that stand for what it cares for.

Open threads, the newest records, its own commitments, and what it answered: a bounded number,
whatever the size of memory. Decoded anchors are kept as long as they are in use.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace

from xmesh_mesh import admission
from xmesh_mesh.admission import Surroundings
from xmesh_mesh.judging.situation import Anchor
from xmesh_mesh.memory import Memory
from xmesh_mesh.memory_admission import EMITTED
from xmesh_mesh.record import Record, decode

__all__ = ["THREAD_VIEW", "Anchors"]

# Enough of a thread to see what it is about; its length must not slow admission down.
THREAD_VIEW = 20
_KEPT = 64


class Anchors:
    """The anchors in ``memory``. Whatever it returns is at most a few dozen records.

    ``without``: a record's key that is left out, so that it is not compared with itself.
    """

    def __init__(self, memory: Memory, without: str = "") -> None:
        self._memory = memory
        self._without = without
        self._held: OrderedDict[int, tuple[Record, Anchor]] = OrderedDict()

    def around(
        self, record: Record, author: str, name: str, charter: str, weights: Mapping[str, float]
    ) -> Surroundings:
        """Return what a judge needs to know about ``record`` of ``author``; ``name`` is its own."""
        known = self._memory.by_keys(record.all_parents())
        # A thread of rejected records only is none that this peer is in.
        inside = (
            self._memory.in_thread(known[0].thread, newest=THREAD_VIEW, admitted=True)
            if known
            else []
        )
        newest = self._newest(self._memory.anchor_rows())
        return Surroundings(
            charter=charter,
            weights=weights,
            name=name,
            anchors=[one for one, _ in newest[: admission.ANCHORS]],
            thread=[
                admission.anchor_of(one.record, thread=True, answered=one.outcome == EMITTED)
                for one in inside
                if one.record and one.key != self._without
            ],
            known=[anchor for _, anchor in newest],
            standing=self._memory.standing(author),
            answers_own=any(entry.own for entry in known),
            answers_foreign=bool(known)
            and all(entry.verdict == "rejected" and not entry.admitted for entry in known),
        )

    def _newest(self, rows: Mapping[int, bool]) -> list[tuple[Record, Anchor]]:
        """Return the records under these numbers, as anchors too; the values say: answered?"""
        missing = [n for n in rows if n not in self._held]
        for n, wire in self._memory.wires(missing).items() if missing else ():
            record = decode(wire)
            self._held[n] = record, admission.anchor_of(record)
        for n, answered in rows.items():
            if answered and n in self._held and not self._held[n][1].answered:
                record, anchor = self._held[n]
                self._held[n] = record, replace(anchor, answered=True)
        held = (self._held[n] for n in rows if n in self._held)
        found = [one for one in held if one[1].name != self._without]
        while len(self._held) > _KEPT:
            self._held.popitem(last=False)
        return found
