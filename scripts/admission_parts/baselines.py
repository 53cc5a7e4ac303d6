"""What the judge has to beat: deployed arithmetic, one cosine, and counting common words.

The last two have two bars each, on what they measure against charter and memory. The bars are the
best on the train split, so that no baseline is beaten for want of tuning.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from admission_parts.sets import Case
from admission_parts.views import Space

from xmesh_mesh import svaf
from xmesh_mesh.encoder import ngram
from xmesh_mesh.judging.cues import cues
from xmesh_mesh.judging.decision import Label
from xmesh_mesh.judging.situation import whole

Measures = tuple[float, float]
"""How near the message is to the charter and memory together, and to the nearest memory."""

_OF_DECISION: dict[str, Label] = {
    "aligned": "relevant",
    "guarded": "relevant",
    "redundant": "redundant",
    "rejected": "foreign",
}
_NEWEST = 5


def deployed(case: Case) -> Label:
    """Judge as deployed nodes do: n-grams, the five newest anchors, their thresholds."""
    vectors = {name: ngram(text) for name, text in case.message.texts.items()}
    anchors = [
        {name: ngram(text) for name, text in anchor.texts.items()}
        for anchor in case.anchors[-_NEWEST:]
    ]
    return _OF_DECISION[svaf.evaluate(vectors, anchors, case.weights, 0.0).decision]


def cosine(space: Space) -> Callable[[Case], Measures]:
    def measure(case: Case) -> Measures:
        texts = [whole(case.message.texts), case.charter, *(whole(a.texts) for a in case.anchors)]
        vector, *others = space([text or " " for text in texts])
        near = [float(vector @ other) for other in others]
        return max(near), max(near[1:], default=0.0)

    return measure


def overlap(case: Case) -> Measures:
    stems = cues(whole(case.message.texts)).stems
    others = [case.charter, *(whole(anchor.texts) for anchor in case.anchors)]
    shares = [len(stems & cues(text).stems) / max(1, len(stems)) for text in others]
    return max(shares), max(shares[1:], default=0.0)


@dataclass(frozen=True)
class TwoBars:
    """Foreign under ``low``, redundant from ``high``, else relevant."""

    measure: Callable[[Case], Measures]
    low: float
    high: float

    def __call__(self, case: Case) -> Label:
        return _banded(*self.measure(case), self.low, self.high)


def tuned(measure: Callable[[Case], Measures], train: Sequence[Case]) -> TwoBars:
    """Return the bars that are right most often on ``train``."""
    found = [(measure(case), case.label) for case in train]
    grid = np.linspace(0.0, 1.0, 41)

    def right(pair: tuple[float, float]) -> int:
        return sum(_banded(*measures, *pair) == label for measures, label in found)

    low, high = max(product(grid, grid), key=right)
    return TwoBars(measure, float(low), float(high))


def _banded(near: float, nearest: float, low: float, high: float) -> Label:
    if near < low:
        return "foreign"
    return "redundant" if nearest >= high else "relevant"
