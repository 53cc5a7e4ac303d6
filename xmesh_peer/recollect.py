"""From a node's memory to what a model is shown, and to where the peer stands in a thread."""

from collections.abc import Iterable
from dataclasses import dataclass

from xmesh_mesh.lineage import ancestors
from xmesh_mesh.memory import Memory, Remembered, Wake
from xmesh_peer.context import Heard, Remembrance
from xmesh_peer.decisions import ThreadState
from xmesh_peer.safety.cycle import Ancestor
from xmesh_peer.settings import Context

_MOODS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Recollection:
    """Everything that a decision about one wake needs from memory."""

    woke: Remembered
    remembrance: Remembrance
    thread: ThreadState


def recollect(
    memory: Memory, wake: Wake, settings: Context, cycle_depth: int
) -> Recollection | None:
    """Return None where the waking record's words are gone."""
    woke = memory.by_assertion(wake.assertion)
    if woke is None or woke.record is None:
        return None
    lineage = memory.by_keys(
        [key for _, key in ancestors(woke.key, memory.parents_of, settings.k_lineage)]
    )[: settings.k_lineage]
    own = memory.newest(settings.n_own, own=True)
    shown = {woke.key, *(entry.key for entry in [*lineage, *own])}
    group = [
        entry for entry in memory.newest(settings.n_group + len(shown), own=False)
        if entry.key not in shown
    ][: settings.n_group]  # fmt: skip
    remembrance = Remembrance(
        woke=_heard(woke),
        lineage=_all_heard(lineage),
        own=_all_heard(own),
        group=_all_heard(group),
        moods=[f"{m.created_by}: {m.mood}" for m in memory.moods(_MOODS_SHOWN)],
    )
    return Recollection(woke, remembrance, _thread_state(memory, woke, cycle_depth))


def _thread_state(memory: Memory, woke: Remembered, cycle_depth: int) -> ThreadState:
    """Look at the thread as from a record that would answer ``woke``: that one is at depth 1."""
    above = [
        Ancestor(depth + 1, memory.is_own(key))
        for depth, key in ancestors(woke.key, memory.parents_of, cycle_depth)
    ]
    own = memory.in_thread(woke.thread, newest=1, own=True)
    last = own[0].record if own else None
    return ThreadState(
        ancestry=[Ancestor(1, woke.own), *above],
        last_commitment=last.text("commitment") if last else None,
    )


def _all_heard(entries: Iterable[Remembered]) -> list[Heard]:
    return [_heard(entry) for entry in entries if entry.record]


def _heard(entry: Remembered) -> Heard:
    texts = entry.record.spoken() if entry.record else {}
    return Heard(entry.key, entry.created_by, texts)
