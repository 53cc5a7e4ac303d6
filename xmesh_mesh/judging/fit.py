"""Learning a calibration from labelled views: two logistic regressions with signs held.

Numpy only, deterministic, a second for a thousand views. Anchors' values may only pull the way
that ``features`` states, so monotony is a property of the numbers and not of luck.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from msgspec.structs import replace

from xmesh_mesh.encoding.kernels import Vectors
from xmesh_mesh.judging.decision import Bars, Calibration, Label, Scale
from xmesh_mesh.judging.features import FALLING, RISING

__all__ = ["CONCERN", "NOVELTY", "RIDGE", "Example", "adapt", "fit", "scale"]

_SURFACE: Final = (
    "short", "length", "issue", "intent", "commitment", "perspective", "motivation", "focus",
    "fields", "other_language", "negated", "change", "courtesy", "restating",
    "question", "numbers", "names", "repeats",
)  # fmt: skip
_CHARTER: Final = ("charter_sim", "charter_field", "charter_words", "weight_share")
CONCERN: Final = (*RISING, *_CHARTER, "excluded_sim", "other_language", "length", "news")
NOVELTY: Final = (*FALLING, *_SURFACE, "news")
"""What a message looks like says much of whether it is news and little of whose business it is, but
for its length; and who brought news before (``news``) is likelier to bring news again."""

RIDGE = 0.003
_STEPS = 600
_RATE = 0.05


@dataclass(frozen=True, slots=True)
class Example:
    """A view's values, what a reader said of it, and how much it counts."""

    values: dict[str, float]
    label: Label
    weight: float = 1.0


def scale(
    examples: Sequence[Example], names: Sequence[str], positive: set[Label], ridge: float
) -> tuple[float, dict[str, float], dict[str, float]]:
    """Return (bias, general, thread) of a score for ``positive`` labels against the others."""
    table = np.array([[one.values[name] for name in names] for one in examples])
    inside = np.array([one.values["thread"] for one in examples])[:, None]
    rows = np.hstack([table, table * inside])
    spread = rows.std(axis=0)
    spread[spread < 1e-6] = np.inf
    wanted = np.array([one.label in positive for one in examples], dtype=float)
    counts = np.array([one.weight for one in examples])
    signs = np.array([_sign(name) for name in names] * 2)
    solved, bias = _descend(rows / spread, wanted, counts / counts.sum(), signs, ridge)
    found = [round(float(value), 4) for value in solved / spread]
    half = len(names)
    return round(bias, 4), _kept(names, found[:half]), _kept(names, found[half:])


def _kept(names: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    return {name: value for name, value in zip(names, values, strict=True) if value}


def _sign(name: str) -> int:
    """What is near to the charter, or heavy by the weights, never speaks against a message."""
    if name == "excluded_sim":
        return -1
    return 1 if name in {*RISING, *FALLING, *_CHARTER} else 0


def _descend(
    rows: Vectors, wanted: Vectors, counts: Vectors, signs: Vectors, ridge: float
) -> tuple[Vectors, float]:
    """Minimise weighted log loss with a ridge by projected steps (Adam)."""
    width = rows.shape[1] + 1
    table = np.hstack([rows, np.ones((len(rows), 1))])
    solved, mean, square = np.zeros(width), np.zeros(width), np.zeros(width)
    low, high = np.append(signs > 0, False), np.append(signs < 0, False)
    decay = np.append(np.full(width - 1, ridge), 0.0)
    for step in range(1, _STEPS + 1):
        guess = 1.0 / (1.0 + np.exp(-np.clip(table @ solved, -50, 50)))
        slope = table.T @ (counts * (guess - wanted)) + decay * solved
        mean = 0.9 * mean + 0.1 * slope
        square = 0.999 * square + 0.001 * slope * slope
        solved -= _RATE * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
        solved = np.where(low, np.maximum(solved, 0.0), solved)
        solved = np.where(high, np.minimum(solved, 0.0), solved)
    return solved[:-1], float(solved[-1])


def fit(
    examples: Sequence[Example], kernel: str, learnt_from: str, ridge: float = RIDGE
) -> Calibration:
    """Learn both scores, with bars in the middle and no band; see ``bars``."""
    concern = scale(examples, CONCERN, {"relevant", "redundant"}, ridge)
    mine = [one for one in examples if one.label != "foreign"]
    novelty = scale(mine, NOVELTY, {"relevant"}, ridge)
    middle = Bars(0.5, 0.5, 0.5)
    return Calibration(
        kernel, learnt_from, Scale(*concern, middle, middle), Scale(*novelty, middle, middle)
    )


# How hard a peer's own lessons pull at the shipped numbers; a dozen move a score visibly.
_PULL = 0.05


def adapt(calibration: Calibration, lessons: Sequence[Example], learnt_from: str) -> Calibration:
    """Return ``calibration`` moved towards a peer's own lessons, signs and bars as they were.

    What no lesson is about stays; the fewer lessons, the less moves.
    """
    mine = [one for one in lessons if one.label != "foreign"]
    concern = _adapted(calibration.concern, lessons, {"relevant", "redundant"})
    novelty = _adapted(calibration.novelty, mine, {"relevant"})
    return Calibration(calibration.kernel, learnt_from, concern, novelty)


def _adapted(scale_: Scale, lessons: Sequence[Example], positive: set[Label]) -> Scale:
    if not lessons:
        return scale_
    names = sorted(scale_.general)
    start = np.array([*(scale_.general[name] for name in names), scale_.bias])
    rows = np.array([[one.values.get(name, 0.0) for name in names] + [1.0] for one in lessons])
    fixed = np.array([_inside(one, scale_) for one in lessons])
    wanted = np.array([one.label in positive for one in lessons], dtype=float)
    signs = np.array([*(_sign(name) for name in names), 0])
    solved = start.copy()
    for _ in range(_STEPS):
        guess = 1.0 / (1.0 + np.exp(-np.clip(rows @ solved + fixed, -50, 50)))
        slope = rows.T @ (guess - wanted) + (solved - start) / _PULL / 10
        solved = solved - _RATE * slope / len(lessons)
        solved = np.where(signs > 0, np.maximum(solved, 0.0), solved)
        solved = np.where(signs < 0, np.minimum(solved, 0.0), solved)
    found = [round(float(value), 4) for value in solved]
    return replace(scale_, general=_kept(names, found[:-1]), bias=found[-1])


def _inside(one: Example, scale_: Scale) -> float:
    inside = one.values.get("thread", 0.0)
    return inside * sum(c * one.values.get(name, 0.0) for name, c in scale_.thread.items())
