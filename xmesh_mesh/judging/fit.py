"""Learning from a peer's own lessons: a correction on top of the shipped scores.

A logistic regression whose start is the shipped score and whose pull away from it is small: a dozen
lessons move a score visibly, and what no lesson is about stays. Values with a sign (``sign``) may
only pull that way, so that monotony stays a property of the numbers and not of luck. Numpy only,
deterministic.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from msgspec.structs import replace

from xmesh_mesh.judging.decision import Calibration, Label, Scale
from xmesh_mesh.judging.features import FALLING, RISING

__all__ = ["Example", "Kind", "adapt", "sign"]

Kind: TypeAlias = Literal["concern", "novelty"]

# How hard lessons pull at the shipped scores.
_PULL = 0.05
_STEPS = 600
_RATE = 0.05

_FOR_CONCERN = frozenset({"charter_sim", "charter_field", "charter_words", "news"})
_AGAINST_CONCERN = frozenset({"excluded_sim", "foreigner", "answers_foreign", "long"})
_SIGNS: Mapping[Kind, Mapping[str, int]] = {
    "concern": {**dict.fromkeys(_FOR_CONCERN, 1), **dict.fromkeys(_AGAINST_CONCERN, -1)},
    "novelty": {**dict.fromkeys(RISING, -1), **dict.fromkeys(FALLING, 1)},
}


@dataclass(frozen=True, slots=True)
class Example:
    """A view's values before one anchor, what a reader said of it, and how much it counts."""

    values: dict[str, float]
    label: Label
    weight: float = 1.0


def sign(name: str, kind: Kind) -> int:
    """Return 1 where the score must never fall as the value rises, -1 where never rise, else 0."""
    return _SIGNS[kind].get(name, 0)


def adapt(calibration: Calibration, lessons: Sequence[Example], learnt_from: str) -> Calibration:
    """Return ``calibration`` moved towards a peer's own lessons; bars stay as they were."""
    mine = [one for one in lessons if one.label != "foreign"]
    concern = _adapted(calibration.concern, lessons, {"relevant", "redundant"}, "concern")
    novelty = _adapted(calibration.novelty, mine, {"relevant"}, "novelty")
    return replace(calibration, learnt_from=learnt_from, concern=concern, novelty=novelty)


def _adapted(scale: Scale, lessons: Sequence[Example], positive: set[Label], kind: Kind) -> Scale:
    if not lessons:
        return scale
    names = scale.trees.names
    rows = np.array([[one.values.get(name, 0.0) for name in names] + [1.0] for one in lessons])
    shipped = np.array([scale.trees.exponent(one.values) for one in lessons])
    wanted = np.array([one.label in positive for one in lessons], dtype=float)
    signs = np.array([*(sign(name, kind) for name in names), 0])
    solved = np.zeros(rows.shape[1])
    for _ in range(_STEPS):
        guess = 1.0 / (1.0 + np.exp(-np.clip(rows @ solved + shipped, -50, 50)))
        slope = rows.T @ (guess - wanted) + solved / _PULL / 10
        solved = solved - _RATE * slope / len(lessons)
        solved = np.where(signs > 0, np.maximum(solved, 0.0), solved)
        solved = np.where(signs < 0, np.minimum(solved, 0.0), solved)
    found = [round(float(value), 4) for value in solved]
    lean = {name: value for name, value in zip(names, found, strict=False) if value}
    return replace(scale, lean=lean, bias=found[-1])
