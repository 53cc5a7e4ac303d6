"""From a view to a verdict: two calibrated scores, two bars, and a band in which it is unsure.

    concern = sigmoid(bias + sum of coefficient * value)     how far it is this peer's business
    novelty = the same with coefficients of its own          how far it is new
    foreign where concern is under its bar, else redundant where novelty is, else relevant

Some things are no matter of degree: what says nothing that one anchor does not say is redundant;
a number in digits that no anchor has makes a message new, and so does it that none is near.

A value counts once in general and once more inside a known thread, which has bars of its own.
Values from anchors have signed coefficients (``features.RISING``, ``FALLING``): with more memory
concern never falls and novelty never rises.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp
from typing import Literal, TypeAlias

import msgspec

from xmesh_mesh.judging.features import View

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

# A message with hardly any word of the charter or memory, and no nearer than this, is foreign: a
# first one, and a reply. Both by the weights of the fields.
NOTHING_SHARED, NOTHING_SHARED_IN_THREAD = 0.2, 0.15
FEW_WORDS = 0.05

# So far off is the nearest anchor of a message that nothing known is about.
NOTHING_NEAR = 0.99

Label: TypeAlias = Literal["relevant", "redundant", "foreign"]


class Bars(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From ``low`` to under ``high``, with ``bar`` in between, a score is unsure."""

    bar: float
    low: float
    high: float


class Scale(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One score: ``general`` and ``thread`` are coefficients by value; and where its bars are, for
    a first message and for a reply in a known thread."""

    bias: float
    general: dict[str, float]
    thread: dict[str, float]
    first: Bars
    reply: Bars

    def bars(self, view: View) -> Bars:
        return self.reply if view.values.get("thread") else self.first


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What belongs to one kernel, and what it was learnt from."""

    kernel: str
    learnt_from: str
    concern: Scale
    novelty: Scale


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
    by_concern, by_novelty = calibration.concern.bars(view), calibration.novelty.bars(view)
    mine, new = concern >= by_concern.bar, novelty >= by_novelty.bar
    label: Label = "foreign" if not mine else "relevant" if new else "redundant"
    return Opinion(label, concern, novelty, _is_sure(concern, novelty, by_concern, by_novelty))


def concern_of(values: Mapping[str, float], calibration: Calibration) -> float:
    """Return the score, 0 where nothing is shared at all, not even in a thread."""
    words = values["charter_words"] + values["memory_words"]
    near = max(values["charter_field"], values["memory_field"])
    bound = NOTHING_SHARED_IN_THREAD if values["thread"] else NOTHING_SHARED
    if words < FEW_WORDS and near < bound and not values["other_language"]:
        return 0.0
    return score(values, calibration.concern)


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
    """Return what each value adds to the score's exponent, for explanations."""
    inside = values.get("thread", 0.0)
    return {
        name: value * (scale.general.get(name, 0.0) + inside * scale.thread.get(name, 0.0))
        for name, value in values.items()
    }


def score(values: Mapping[str, float], scale: Scale) -> float:
    """Return a score between 0 and 1."""
    inside = values.get("thread", 0.0)
    total = scale.bias + sum(c * values.get(name, 0.0) for name, c in scale.general.items())
    total += inside * sum(c * values.get(name, 0.0) for name, c in scale.thread.items())
    return 1.0 / (1.0 + exp(-max(-50.0, min(50.0, total))))
