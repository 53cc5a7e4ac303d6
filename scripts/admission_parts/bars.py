"""Where the bars and bands of a calibration go, chosen on scores of unseen domains.

First messages and replies have bars of their own. The bars: the pair that falls least short of
what is wanted (below), summed up; a relevant first message slept through counts four times, a
reply ten times, since a missed task costs more than a call in vain. The bands: as narrow as they
can be while at most 4 in 100 relevant messages lie below the low edges, and of those above the
high edges 90 % are what the score says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
from msgspec.structs import replace

from xmesh_mesh.encoding.kernels import Vectors
from xmesh_mesh.judging.decision import Bars, Calibration

# Shares that wake; of the hard cases also the share that is judged right.
# A conversation that loses a reply stands still; of first messages there are more to come.
FIRST_WANTED = {"relevant": 0.85, "foreign": 0.05, "redundant": 0.25}
REPLY_WANTED = {"relevant": 0.98, "foreign": 0.05, "redundant": 0.25}
HARD_WANTED = {"relevant": 0.85, "right": 0.55}
MISSING_FIRST, MISSING_REPLY = 4.0, 10.0
FOREIGN, HARD_COUNTS = 1.5, 0.4
MISSED, CERTAIN = 0.04, 0.90
_GRID = np.linspace(0.06, 0.80, 38)
_Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(frozen=True)
class Scores:
    """Both scores of cases that their fit had not seen, and what they are."""

    concern: Vectors
    novelty: Vectors
    label: np.ndarray[tuple[int], np.dtype[np.str_]]
    hard: _Flags
    reply: _Flags

    def only(self, kept: _Flags) -> "Scores":
        parts = (self.concern, self.novelty, self.label, self.hard, self.reply)
        return Scores(*(part[kept] for part in parts))


def choose(learnt: Calibration, scores: Scores) -> Calibration:
    first_concern, first_novelty = _pair(scores.only(~scores.reply), FIRST_WANTED)
    reply_concern, reply_novelty = _pair(scores.only(scores.reply), REPLY_WANTED)
    # A reply always meets a lower bar than a first message.
    lower = min(round(0.8 * first_concern.bar, 3), reply_concern.bar)
    reply_concern = replace(reply_concern, bar=lower, low=min(reply_concern.low, lower))
    concern = replace(learnt.concern, first=first_concern, reply=reply_concern)
    novelty = replace(learnt.novelty, first=first_novelty, reply=reply_novelty)
    return replace(learnt, concern=concern, novelty=novelty)


def _pair(scores: Scores, wanted: Mapping[str, float]) -> tuple[Bars, Bars]:
    pairs = product(_GRID, _GRID)
    concern, novelty = min(pairs, key=lambda pair: _shortfall(*pair, scores, wanted))
    mine, relevant = scores.label != "foreign", scores.label == "relevant"
    return (
        _banded(concern, scores.concern, mine, relevant),
        _banded(novelty, scores.novelty[mine], relevant[mine], relevant[mine]),
    )


def _shortfall(
    concern: float, novelty: float, scores: Scores, wanted: Mapping[str, float]
) -> float:
    woken = (scores.concern >= concern) & (scores.novelty >= novelty)

    def share(label: str, *, hard: bool) -> float:
        found = woken[(scores.label == label) & (scores.hard == hard)]
        return float(found.mean()) if len(found) else wanted.get(label, 0.0)

    missing_one = MISSING_REPLY if scores.reply.any() else MISSING_FIRST
    short = missing_one * max(0.0, wanted["relevant"] - share("relevant", hard=False))
    short += FOREIGN * max(0.0, share("foreign", hard=False) - wanted["foreign"])
    short += max(0.0, share("redundant", hard=False) - wanted["redundant"])
    if scores.hard.any():
        missing = max(0.0, HARD_WANTED["relevant"] - share("relevant", hard=True))
        wrong = max(0.0, HARD_WANTED["right"] - _right(concern, novelty, scores))
        short += HARD_COUNTS * MISSING_FIRST * (missing / 2 + wrong)
    return short


def _right(concern: float, novelty: float, scores: Scores) -> float:
    mine, new = scores.concern >= concern, scores.novelty >= novelty
    said = np.where(~mine, "foreign", np.where(new, "relevant", "redundant"))
    return float((said == scores.label)[scores.hard].mean())


def _banded(bar: float, score: Vectors, is_so: _Flags, keep: _Flags) -> Bars:
    low = float(np.quantile(score[keep], MISSED))
    order = np.argsort(score)[::-1]
    right = np.cumsum(is_so[order]) / np.arange(1, len(order) + 1)
    fits = np.flatnonzero(right >= CERTAIN)
    high = float(score[order[fits[-1]]]) if len(fits) else 1.0
    return Bars(*(round(float(edge), 3) for edge in (bar, min(low, bar), max(high, bar))))
