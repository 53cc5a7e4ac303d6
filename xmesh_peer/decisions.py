"""What a peer decides around a model call: whether to make it, and what its answer becomes.

Pure: no clock, no store, no socket. Every wake ends in one of these outcomes:

    emitted      a record is signed, stored and on its way
    declined     the model had nothing to add, or refused
    suppressed   a cycle: it would have said again what it said in this thread
    limited      its share of the thread is used up; no call was made
    held         a gate matched; the record waits on disk for a person
    malformed    the model's answer could not be used; it is paid for
    failed       no answer came, after all attempts
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from xmesh_mesh.record import FIELDS
from xmesh_peer.models.base import ModelAnswer
from xmesh_peer.safety.cycle import Ancestor, cycle_check
from xmesh_peer.safety.gates import Gates, Hit

Outcome = Literal["emitted", "declined", "suppressed", "limited", "held", "malformed", "failed"]

_SAYS_NOTHING = frozenset({"", "neutral"})


@dataclass(frozen=True, slots=True)
class ThreadState:
    """Where a peer stands in a thread.

    ``ancestry``: the waking record and its ancestors, nearest first, each with its depth from the
    record that would be emitted. ``last_commitment``: of this peer's newest record in the thread.
    """

    ancestry: Sequence[Ancestor]
    last_commitment: str | None


@dataclass(frozen=True, slots=True)
class Ruling:
    """What becomes of an answer. ``texts`` are the fields to emit or to hold."""

    outcome: Outcome
    detail: str
    texts: Mapping[str, str]
    hits: tuple[Hit, ...] = ()


def rule(answer: ModelAnswer, thread: ThreadState, cycle_depth: int, gates: Gates) -> Ruling:
    """Decide what a model's answer becomes."""
    if answer.refused:
        return Ruling("declined", f"the model refused: {_brief(answer.text)}", {})
    if answer.arguments is None:
        return Ruling("declined", _brief(answer.text) or "nothing to add", {})
    texts = {name: answer.arguments[name] for name in FIELDS if _speaks(answer.arguments, name)}
    if not texts:
        return Ruling("declined", "every field was empty", {})
    cycle = cycle_check(
        thread.ancestry, cycle_depth, texts.get("commitment", ""), thread.last_commitment
    )
    if cycle.suppress:
        return Ruling("suppressed", cycle.reason, texts)
    hits = tuple(gates.check(texts))
    if hits:
        what = ", ".join(f"{hit.field} matches {hit.pattern}" for hit in hits)
        return Ruling("held", f"a gate holds it for a person: {what}", texts, hits)
    return Ruling("emitted", _brief(texts.get("focus") or next(iter(texts.values()))), texts)


def addressee(
    routing: Literal["broadcast", "targeted", "auto"], asker: str, others: int
) -> str | None:
    """Return the node id that an answer goes to, or None for everybody in the group.

    ``auto`` answers everybody while the group has at most two ``others``, else the asker only.
    """
    if routing == "targeted" or (routing == "auto" and others > 2):
        return asker
    return None


def _speaks(arguments: Mapping[str, str], name: str) -> bool:
    return arguments.get(name, "").strip().casefold() not in _SAYS_NOTHING


def _brief(text: str, size: int = 160) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= size else flat[: size - 2].rstrip() + " …"
