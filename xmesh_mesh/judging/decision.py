"""From a view to a verdict: two calibrated scores, two bars, and a band in which it is unsure.

    concern = sigmoid(trees + emphasis + lean)     how far it is this peer's business
    novelty = sigmoid(trees + lean)                how far it is new
    foreign where concern is under its bar, else redundant where novelty is, else relevant

``trees`` are learnt (``trees``), ``lean`` is what a peer's own lessons added, ``emphasis`` is how
heavy the fields are in which the message speaks.

Some things are no matter of degree: what says nothing that one anchor does not say is redundant;
a number in digits that no anchor has makes a message new.

Concern is read off all values and the nearest anchor. Novelty is read off each anchor by itself,
and is the least of those: with more memory it never rises. A reply in a known thread has bars of
its own. A peer that knows nothing yet has only its charter to go by, and a score of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp
from typing import Literal, TypeAlias

import msgspec
import numpy as np

from xmesh_mesh.judging.features import View
from xmesh_mesh.judging.pairs import PAIR
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
    """``sure`` is False inside a band; ``label`` is then only a leaning. ``known_by`` is the index
    of the anchor before which the message is least new, -1 where there is none."""

    label: Label
    concern: float
    novelty: float
    sure: bool
    known_by: int = -1


def opine(view: View, calibration: Calibration) -> Opinion:
    concern = concern_of(view.values, calibration)
    novelty, known_by = novelty_of(view, calibration)
    if view.repeats:
        return Opinion("redundant", concern, 0.0, sure=True, known_by=known_by)
    by_concern = calibration.of_concern(view.values).bars(view.values)
    by_novelty = calibration.novelty.bars(view.values)
    mine, new = concern >= by_concern.bar, novelty >= by_novelty.bar
    label: Label = "foreign" if not mine else "relevant" if new else "redundant"
    sure = _is_sure(concern, novelty, by_concern, by_novelty)
    return Opinion(label, concern, novelty, sure, known_by)


def concern_of(values: Mapping[str, float], calibration: Calibration) -> float:
    """Return the score, 0 where nothing is shared at all."""
    words = values["charter_words"] + values["memory_words"]
    near = max(values["charter_field"], values["memory_field"])
    exempt = values["thread"] or values["alone"] or values["other_language"]
    if words < FEW_WORDS and near < NOTHING_SHARED and not exempt:
        return 0.0
    return score(values, calibration.of_concern(values), EMPHASIS * values["emphasis"])


def novelty_of(view: View, calibration: Calibration) -> tuple[float, int]:
    """Return the score and the anchor that makes it least; 1 and -1 where nothing is known.

    A score of 1 also where something is new beyond doubt. It never rises with more anchors.
    """
    if not len(view.pairs):
        return 1.0, -1
    scale = calibration.novelty
    names = scale.trees.names
    rows = np.tile([view.values.get(name, 0.0) for name in names], (len(view.pairs), 1))
    for column, name in enumerate(names):
        if name in PAIR:
            rows[:, column] = view.pairs[:, PAIR.index(name)]
    lean = np.array([scale.lean.get(name, 0.0) for name in names])
    exponents = scale.trees.exponents(rows) + rows @ lean + scale.bias
    least = int(exponents.argmin())
    return 1.0 if view.values["digits_new"] else _sigmoid(float(exponents[least])), least


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
    return _sigmoid(total)


def _sigmoid(exponent: float) -> float:
    return 1.0 / (1.0 + exp(-max(-50.0, min(50.0, exponent))))
