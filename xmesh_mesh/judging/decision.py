"""From a view to a verdict: two calibrated scores, two bars, and a band in which it is unsure.

    concern = sigmoid(trees + emphasis + lean)     how far it is this peer's business
    novelty = sigmoid(trees + lean)                how far it is new
    foreign where concern is under its bar, else redundant where novelty is, else relevant

``trees`` are learnt (``trees``), ``lean`` is what a peer's own lessons added, ``emphasis`` is how
heavy the fields are in which the message speaks.

Some things are no matter of degree: what says nothing that one anchor does not say is redundant;
a number in digits that no anchor has makes a message new, and so does it that none is near.

A reply in a known thread has bars of its own. A peer that knows nothing yet has only its charter to
go by, and a score of its own for that. From then on, with more memory concern never falls and
novelty never rises.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp
from typing import Literal, TypeAlias

import msgspec

from xmesh_mesh.judging.features import View
from xmesh_mesh.judging.trees import Trees

__all__ = [
    "Bars",
    "Calibration",
    "Label",
    "Opinion",
    "Scale",
    "concern_of",
    "contributions",
    "novelty_of",
    "opine",
    "score",
]

# A first message with hardly any word of the charter or memory, and no nearer than this by the
# weights of the fields, is foreign. (Who answers may well use words of his own, and a charter alone
# is little to share words with.)
NOTHING_SHARED = 0.2
FEW_WORDS = 0.05

# How much it adds to the exponent that a message speaks in fields which weigh e times the average.
# Not learnt: what a peer listens to is its owner's wish, and labels say nothing of it.
EMPHASIS = 0.5

# So far off is the nearest anchor of a message that nothing known is about.
NOTHING_NEAR = 0.99

Label: TypeAlias = Literal["relevant", "redundant", "foreign"]


class Bars(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From ``low`` to under ``high``, with ``bar`` in between, a score is unsure."""

    bar: float
    low: float
    high: float


class Scale(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One score, and where its bars are: for a first message, and for a reply in a known thread.
    ``lean`` and ``bias`` are coefficients by value and a constant, 0 before a peer has lessons of
    its own."""

    trees: Trees
    first: Bars
    reply: Bars
    lean: dict[str, float] = {}
    bias: float = 0.0

    def bars(self, values: Mapping[str, float]) -> Bars:
        return self.reply if values.get("thread") else self.first


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What belongs to one kernel, and what it was learnt from. ``alone`` takes the place of
    ``concern`` for a peer that knows nothing yet."""

    kernel: str
    learnt_from: str
    alone: Scale
    concern: Scale
    novelty: Scale

    def of_concern(self, values: Mapping[str, float]) -> Scale:
        return self.alone if values.get("alone") else self.concern


@dataclass(frozen=True, slots=True)
class Opinion:
    """``sure`` is False inside a band; ``label`` is then only a leaning."""

    label: Label
    concern: float
    novelty: float
    sure: bool


def opine(view: View, calibration: Calibration) -> Opinion:
    concern = concern_of(view.values, calibration)
    novelty = novelty_of(view.values, calibration)
    if view.repeats:
        return Opinion("redundant", concern, 0.0, sure=True)
    by_concern = calibration.of_concern(view.values).bars(view.values)
    by_novelty = calibration.novelty.bars(view.values)
    mine, new = concern >= by_concern.bar, novelty >= by_novelty.bar
    label: Label = "foreign" if not mine else "relevant" if new else "redundant"
    return Opinion(label, concern, novelty, _is_sure(concern, novelty, by_concern, by_novelty))


def concern_of(values: Mapping[str, float], calibration: Calibration) -> float:
    """Return the score, 0 where nothing is shared at all."""
    words = values["charter_words"] + values["memory_words"]
    near = max(values["charter_field"], values["memory_field"])
    exempt = values["thread"] or values["alone"] or values["other_language"]
    if words < FEW_WORDS and near < NOTHING_SHARED and not exempt:
        return 0.0
    return score(values, calibration.of_concern(values), EMPHASIS * values["emphasis"])


def novelty_of(values: Mapping[str, float], calibration: Calibration) -> float:
    """Return the score, 1 where something is new beyond doubt; never more with more anchors."""
    if values["digits_new"] or values["far"] > NOTHING_NEAR:
        return 1.0
    return score(values, calibration.novelty)


def _is_sure(concern: float, novelty: float, by_concern: Bars, by_novelty: Bars) -> bool:
    """What is surely foreign or surely known needs no second look at the other score."""
    if concern <= by_concern.low or (concern >= by_concern.high and novelty < by_novelty.low):
        return True
    return concern >= by_concern.high and novelty >= by_novelty.high


def contributions(values: Mapping[str, float], scale: Scale) -> dict[str, float]:
    """Return how far each value moves the score's exponent off the average, for explanations."""
    found = scale.trees.pulls(values)
    for name, coefficient in scale.lean.items():
        found[name] = found.get(name, 0.0) + coefficient * values.get(name, 0.0)
    return found


def score(values: Mapping[str, float], scale: Scale, more: float = 0.0) -> float:
    """Return a score between 0 and 1; ``more`` is added to its exponent."""
    total = scale.trees.exponent(values) + scale.bias + more
    total += sum(c * values.get(name, 0.0) for name, c in scale.lean.items())
    return 1.0 / (1.0 + exp(-max(-50.0, min(50.0, total))))
