"""The judge: a record, what the peer remembers and its weights in; a verdict with reasons out.

Judges are exchangeable: whatever has ``judge(candidate, surroundings) -> Verdict``. Pure: no clock,
no store. Two ship. ``reference`` is the arithmetic of deployed nodes (SVAF with the n-gram
encoder), kept so that drifts agree with theirs. ``judge`` is the product's own: it takes
redundancy and drift from the reference and relevance from words shared with the peer's charter,
its memory and, for a reply, the thread that it belongs to.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from xmesh_mesh import svaf
from xmesh_mesh.encoder import ngram
from xmesh_mesh.record import Record
from xmesh_mesh.relevance import affinity, terms, terms_of, words_with

Decision = Literal["aligned", "guarded", "redundant", "rejected"]

# Deployed nodes look at so many of the newest records that carry a field.
ANCHORS = 5

# A total drift above its bar rejects. For a fresh first message the bar asks for one shared word
# in a sentence of 25, since a missed task costs more than a call in vain. A reply in a thread that
# this peer is in may be further off: one shared word in a thousand carries it, none does not.
FIRST_BAR = 0.56
THREAD_BAR = 0.69

_NO_MOOD = "informational"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A verified record that asks to be let in. ``age_s`` is never negative."""

    record: Record
    age_s: float
    directed: bool


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the peer holds against it.

    ``anchors``: newest admitted and own records, newest first. ``thread``: the records of the
    thread that one of the candidate's parents belongs to, empty for a first message.
    """

    charter: str
    weights: Mapping[str, float]
    anchors: Sequence[Record]
    thread: Sequence[Record]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided, and why.

    ``drift`` is what was held against ``bar``; ``reference`` the deployed arithmetic's opinion,
    with its per-field verdicts. ``admitted`` records serve as context and anchors, and wake.
    """

    decision: Decision
    admitted: bool
    drift: float
    bar: float
    affinity: float
    per_field: Mapping[str, float]
    reference: svaf.Drift
    reasons: tuple[str, ...]
    mood: str


def reference(candidate: Candidate, surroundings: Surroundings) -> svaf.Drift:
    """Judge as a deployed node would: its encoder, its anchors, its thresholds."""
    return svaf.evaluate(
        _vectors(candidate.record),
        [_vectors(anchor) for anchor in surroundings.anchors],
        surroundings.weights,
        candidate.age_s,
    )


def judge(candidate: Candidate, surroundings: Surroundings) -> Verdict:
    """Judge for this product; see the module's docstring for how."""
    drift = reference(candidate, surroundings)
    spoken = candidate.record.spoken()
    in_thread = bool(surroundings.thread)
    interest = _interest(surroundings)
    measure, per_field, shared = affinity(spoken, interest, surroundings.weights)
    bar = THREAD_BAR if in_thread else FIRST_BAR
    # Where there is nothing to be foreign to, age alone counts, as in the reference's cold start.
    total = _total_drift(measure if interest else 1.0, candidate.age_s)
    decision, reason = _weighed(spoken, total, bar, knows_nothing=not interest)
    if spoken and _repeats(spoken, drift, surroundings.anchors):
        decision = "redundant"
        reason = f"known already (nearest drift {drift.max_nearest:.2f})"
    admitted = candidate.directed or decision in {"aligned", "guarded"}
    return Verdict(
        decision=decision,
        admitted=admitted,
        drift=total,
        bar=bar,
        affinity=measure,
        per_field=per_field,
        reference=drift,
        reasons=(*_where_from(candidate, in_thread), reason, _about(spoken, shared)),
        mood="" if admitted else _mood(spoken),
    )


def _interest(surroundings: Surroundings) -> frozenset[str]:
    held = [*surroundings.anchors, *surroundings.thread]
    return terms(surroundings.charter) | terms_of(
        text for record in held for name, text in record.spoken().items() if name != "mood"
    )


def _total_drift(measure: float, age_s: float) -> float:
    """Blend foreignness with age in the reference's proportions."""
    rule = svaf.Thresholds()
    return (1 - rule.temporal_lambda) * (1 - measure) + rule.temporal_lambda * svaf.temporal_drift(
        age_s, rule.freshness_s
    )


def _repeats(spoken: Mapping[str, str], drift: svaf.Drift, anchors: Sequence[Record]) -> bool:
    """Tell whether the reference finds it redundant, on the strength of all that it says.

    The reference passes over a field that resembles no anchor's at all, and its encoder reads a-z
    and digits only; what it did not look at is known only where the words are. A mood that is new
    makes nothing else new.
    """
    unseen = {entry.field for entry in drift.fields if entry.nearest is None}
    return drift.decision == "redundant" and all(
        _known_words(name, text, anchors)
        for name, text in spoken.items()
        if name != "mood" and (name in unseen or _beyond_kernel(text))
    )


def _beyond_kernel(text: str) -> bool:
    return any(char.isalnum() and not char.isascii() for char in text)


def _known_words(name: str, text: str, anchors: Sequence[Record]) -> bool:
    stems = terms(text)
    return bool(stems) and any(stems <= terms(anchor.text(name)) for anchor in anchors)


def _weighed(
    spoken: Mapping[str, str], total: float, bar: float, *, knows_nothing: bool
) -> tuple[Decision, str]:
    if not spoken:
        return "rejected", "it says nothing"
    if total > bar:
        return "rejected", f"foreign: drift {total:.2f} is over the bar of {bar:.2f}"
    kind: Decision = "aligned" if total <= svaf.Thresholds().stable else "guarded"
    if knows_nothing:
        return kind, "no charter and no memory to judge by, so everything is new"
    return kind, f"drift {total:.2f} is within the bar of {bar:.2f}"


def _where_from(candidate: Candidate, in_thread: bool) -> tuple[str, ...]:
    reasons = []
    if candidate.directed:
        reasons.append("addressed to this peer")
    if in_thread:
        reasons.append("in a thread that this peer knows")
    return tuple(reasons)


def _about(spoken: Mapping[str, str], shared: frozenset[str]) -> str:
    if not shared:
        return "no word in common with what this peer cares for"
    return "in common: " + ", ".join(words_with(spoken.values(), shared)[:6])


def _mood(spoken: Mapping[str, str]) -> str:
    text = spoken.get("mood", "").strip()
    return "" if text.casefold() == _NO_MOOD else text


def _vectors(record: Record) -> dict[str, svaf.Vector]:
    return {name: ngram(category.text) for name, category in record.categories.items()}
