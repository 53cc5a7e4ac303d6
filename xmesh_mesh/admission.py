"""The judge: a record, what the peer knows and its weights in; a verdict with reasons out.

Judges are exchangeable: whatever has ``judge(candidate, surroundings) -> Verdict``. No clock, no
store. ``reference`` is the arithmetic of deployed nodes (SVAF with the n-gram encoder), kept so
that drifts agree with theirs; it is computed beside every verdict and decides none. ``Judge`` is
the product's own: it asks an encoder how the message lies to the charter and to the anchors, and a
calibration of that encoder's kernel what that means (``judging``).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from xmesh_mesh import svaf
from xmesh_mesh.encoder import ngram
from xmesh_mesh.encoding.kernels import NGRAM, Encoder, EncoderAway
from xmesh_mesh.judging.calibrations import shipped
from xmesh_mesh.judging.decision import Calibration, Label, Opinion, opine
from xmesh_mesh.judging.features import View, look
from xmesh_mesh.judging.likeness import FieldView
from xmesh_mesh.judging.situation import Anchor, Message, Peer, Standing, Thread
from xmesh_mesh.record import Record
from xmesh_mesh.relevance import words_with

__all__ = [
    "ANCHORS",
    "Candidate",
    "Decision",
    "Insight",
    "Judge",
    "Surroundings",
    "Verdict",
    "anchor_of",
    "judge",
    "reference",
]

Decision = Literal["aligned", "guarded", "redundant", "rejected"]

# Deployed nodes look at so many of the newest records that carry a field.
ANCHORS = 5

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

    ``name``: the peer's own. ``anchors``: newest admitted and own records, newest first, for the
    reference. ``thread``: what is known of the thread that one of the candidate's parents belongs
    to, nothing for a first message. ``known``: what else stands for what the peer knows and cares
    for, bounded. ``standing``: what the author's newest records were to this peer.
    ``answers_own``: it replies to a record of the peer's own; ``answers_foreign``: only to records
    that were foreign to it.
    """

    charter: str
    weights: Mapping[str, float]
    anchors: Sequence[Record]
    thread: Sequence[Anchor]
    known: Sequence[Anchor] = ()
    name: str = ""
    standing: Standing = field(default_factory=Standing)
    answers_own: bool = False
    answers_foreign: bool = False


@dataclass(frozen=True, slots=True)
class Insight:
    """What the product's judge saw, for explanations and for learning.

    ``nearest`` is the anchor that concern was read off, ``known_by`` the one before which the
    message is least new; ``values`` are those of the message and of ``known_by``.
    """

    label: Label
    sure: bool
    novelty: float
    novelty_bar: float
    kernel: str
    fields: tuple[FieldView, ...] = ()
    nearest: str = ""
    known_by: str = ""
    anchors: tuple[str, ...] = ()
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided, and why.

    ``drift`` is what was held against ``bar``; ``affinity`` is 1 - drift. ``reference`` is the
    deployed arithmetic's opinion, with its per-field verdicts. ``admitted`` records serve as
    context and anchors, and wake. ``insight`` is None where nothing had to be weighed.
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
    insight: Insight | None = None


def reference(candidate: Candidate, surroundings: Surroundings) -> svaf.Drift:
    """Judge as a deployed node would: its encoder, its anchors, its thresholds."""
    return svaf.evaluate(
        _vectors(candidate.record),
        [_vectors(anchor) for anchor in surroundings.anchors],
        surroundings.weights,
        candidate.age_s,
    )


class Judge:
    """Judges with ``encoder``; with n-grams while that is away, and says so.

    ``calibration`` gives the numbers that belong to a kernel.
    """

    def __init__(
        self,
        encoder: Encoder = NGRAM,
        calibration: Callable[[str], Calibration] = shipped,
    ) -> None:
        self._encoder = encoder
        self._calibration = calibration

    def __call__(self, candidate: Candidate, surroundings: Surroundings) -> Verdict:
        drift = reference(candidate, surroundings)
        spoken = candidate.record.spoken()
        anchors = _known(candidate.record, surroundings)
        if not spoken:
            return _unweighed(candidate, drift, "rejected", "it says nothing")
        if not anchors and not surroundings.charter.strip():
            reason = "no charter and no memory to judge by, so everything is new"
            return _unweighed(candidate, drift, "aligned", reason)
        view, kernel, note = self._view(candidate, surroundings, anchors)
        calibration = self._calibration(kernel)
        opinion = opine(view, calibration)
        return _verdict(
            candidate, surroundings, drift, anchors, view, opinion, calibration, kernel, note
        )

    def _view(
        self, candidate: Candidate, surroundings: Surroundings, anchors: Sequence[Anchor]
    ) -> tuple[View, str, str]:
        """Return the view, its kernel, and a note where that is not the kernel of choice."""
        message = Message(candidate.record.spoken(), surroundings.standing)
        thread = Thread(
            bool(surroundings.thread), surroundings.answers_own, surroundings.answers_foreign
        )
        peer = Peer(surroundings.charter, surroundings.weights, surroundings.name)
        given = message, peer, anchors, thread
        try:
            return look(*given, self._encoder.encode), self._encoder.kernel, ""
        except EncoderAway as error:
            note = f"judged with n-grams: {error.what}"
            return look(*given, NGRAM.encode), NGRAM.kernel, note


judge = Judge()
"""The judge that needs nothing."""


def anchor_of(record: Record, *, thread: bool = False, answered: bool = False) -> Anchor:
    return Anchor(record.key, record.spoken(), thread, author=record.created_by, answered=answered)


def _known(record: Record, surroundings: Surroundings) -> list[Anchor]:
    """Return the anchors that say anything, each once: the thread's first."""
    newest = map(anchor_of, surroundings.anchors)
    once: dict[str, Anchor] = {}
    for anchor in (*surroundings.thread, *surroundings.known, *newest):
        if anchor.texts:
            once.setdefault(anchor.name, anchor)
    parents = record.all_parents()
    return [replace(one, parent=True) if one.name in parents else one for one in once.values()]


_DECISIONS: Mapping[Label, Decision] = {
    "relevant": "aligned",
    "redundant": "redundant",
    "foreign": "rejected",
}


def _verdict(
    candidate: Candidate,
    surroundings: Surroundings,
    drift: svaf.Drift,
    anchors: Sequence[Anchor],
    view: View,
    opinion: Opinion,
    calibration: Calibration,
    kernel: str,
    note: str,
) -> Verdict:
    decision = _DECISIONS[opinion.label]
    if opinion.label == "relevant" and not opinion.sure:
        decision = "guarded"
    admitted = candidate.directed or opinion.label == "relevant"
    spoken = candidate.record.spoken()
    return Verdict(
        decision=decision,
        admitted=admitted,
        drift=1.0 - opinion.concern,
        bar=1.0 - calibration.of_concern(view.values).bars(view.values).bar,
        affinity=opinion.concern,
        per_field={entry.name: max(entry.charter, entry.nearest) for entry in view.fields},
        reference=drift,
        reasons=(
            *_where_from(candidate, bool(surroundings.thread)),
            *([note] if note else []),
            _why(opinion, calibration, view),
            _about(spoken, view.shared),
        ),
        mood="" if admitted else _mood(spoken),
        insight=Insight(
            label=opinion.label,
            sure=opinion.sure,
            novelty=opinion.novelty,
            novelty_bar=calibration.novelty.bars(view.values).bar,
            kernel=kernel,
            fields=view.fields,
            nearest=anchors[view.nearest].name if view.nearest >= 0 else "",
            known_by=anchors[opinion.known_by].name if opinion.known_by >= 0 else "",
            anchors=tuple(anchor.name for anchor in anchors),
            values=view.before(opinion.known_by),
        ),
    )


def _why(opinion: Opinion, calibration: Calibration, view: View) -> str:
    lean = "" if opinion.sure else ", but that is not sure"
    by_concern = calibration.of_concern(view.values).bars(view.values)
    by_novelty = calibration.novelty.bars(view.values)
    concern = f"concern {opinion.concern:.2f}, bar {by_concern.bar:.2f}"
    novelty = f"novelty {opinion.novelty:.2f}, bar {by_novelty.bar:.2f}"
    match opinion.label:
        case "foreign":
            return f"foreign: {concern}{lean}"
        case "redundant" if view.repeats:
            return "known already: it says nothing that one record does not say"
        case "redundant":
            return f"known already: {novelty}{lean}"
        case "relevant":
            return f"relevant: {concern}; {novelty}{lean}"


def _unweighed(candidate: Candidate, drift: svaf.Drift, decision: Decision, reason: str) -> Verdict:
    """Return a verdict that needs no vectors."""
    wanted = decision == "aligned"
    admitted = candidate.directed or wanted
    return Verdict(
        decision=decision,
        admitted=admitted,
        drift=0.0 if wanted else 1.0,
        bar=0.5,
        affinity=1.0 if wanted else 0.0,
        per_field={},
        reference=drift,
        reasons=(*_where_from(candidate, in_thread=False), reason),
        mood="" if admitted else _mood(candidate.record.spoken()),
    )


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
