"""Where the bars and bands of a calibration go, chosen on scores of unseen domains.

First messages and replies have bars of their own, and the four are chosen together: those that fall
least short, summed up, of what is wanted of streams and of hard cases (which are first messages).
A peer that knows nothing yet has a bar too, under which one in ten of its tasks lies. The bands:
as narrow as they can be while at most 4 in 100 relevant messages lie below the low edges, and of
those above the high edges 90 % are what the score says.
"""

from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from xmesh_mesh.encoding.kernels import Vectors
from xmesh_mesh.judging.decision import Bars, Calibration

# Shares that should wake; and the share of hard cases that should be judged right. A little more of
# the relevant than is promised (0.95, and 0.85 of the hard): half of all unseen sets do worse.
WANTED = {"relevant": 0.955, "redundant": 0.25, "foreign": 0.05}
HARD_WANTED = {"relevant": 0.86, "right": 0.6}
# How much it counts that a share falls short: a relevant message slept through costs more than a
# call in vain.
COUNTS = {"relevant": 12.0, "redundant": 2.0, "foreign": 6.0}
ALONE_MISSED = 0.1
# The highest bar that a reply's concern may meet: more likely foreign than not.
EVEN = 0.5
MISSED, CERTAIN = 0.04, 0.90
_QUANTILES = 30
_Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(frozen=True)
class Scores:
    """Both scores of cases that their fit had not seen, what they are, and of which set."""

    concern: Vectors
    novelty: Vectors
    label: np.ndarray[tuple[int], np.dtype[np.str_]]
    set_name: np.ndarray[tuple[int], np.dtype[np.str_]]
    reply: _Flags

    def only(self, kept: _Flags) -> "Scores":
        parts = (self.concern, self.novelty, self.label, self.set_name, self.reply)
        return Scores(*(part[kept] for part in parts))

    def of(self, *names: str) -> "Scores":
        return self.only(np.isin(self.set_name, names))


def choose(learnt: Calibration, scores: Scores) -> Calibration:
    """Return ``learnt`` with its bars and bands."""
    heard = scores.of("stream", "hard")
    first, reply = heard.only(~heard.reply), heard.only(heard.reply)
    at_first, at_reply = _best(_grid(first), _grid(reply), first, reply)
    unknown = scores.of("alone", "plain")
    missed = np.quantile(unknown.concern[unknown.label != "foreign"], ALONE_MISSED)
    # Its task may be in words of its own: before it knows anything, it is never sure of a stranger.
    alone = replace(_banded(float(missed), *_mine(unknown)), low=0.0)
    return replace(
        learnt,
        alone=replace(learnt.alone, first=alone, reply=alone),
        concern=replace(
            learnt.concern,
            first=_banded(at_first[0], *_mine(first)),
            reply=_banded(at_reply[0], *_mine(reply)),
        ),
        novelty=replace(
            learnt.novelty,
            first=_banded(at_first[1], *_new(first)),
            reply=_banded(at_reply[1], *_new(reply)),
        ),
    )


def _grid(scores: Scores) -> Vectors:
    """Return pairs of bars (concern, novelty) that tell the scores apart."""
    steps = np.linspace(0.0, 0.75, _QUANTILES)
    round_ = np.linspace(0.0, 0.6, 31)
    edges = [np.union1d(np.quantile(s, steps), round_) for s in (scores.concern, scores.novelty)]
    return np.array(np.meshgrid(*edges)).reshape(2, -1).T


def _woken(pairs: Vectors, scores: Scores) -> Vectors:
    """Return a row for each pair of bars: does each case wake?"""
    mine = scores.concern[None, :] >= pairs[:, :1]
    return mine & (scores.novelty[None, :] >= pairs[:, 1:])


def _best(
    firsts: Vectors, replies: Vectors, first: Scores, reply: Scores
) -> tuple[Vectors, Vectors]:
    short = _short_of_hard(firsts, first)[:, None] + np.zeros((1, len(replies)))
    for label, wanted in WANTED.items():
        woken, count = np.zeros((len(firsts), len(replies))), 0
        for axis, pairs, scores in ((0, firsts, first), (1, replies, reply)):
            cases = scores.of("stream").only(scores.of("stream").label == label)
            woken = woken + np.expand_dims(_woken(pairs, cases).sum(axis=1), 1 - axis)
            count += len(cases.label)
        share = woken / max(1, count)
        missing = wanted - share if label == "relevant" else share - wanted
        # Better than wanted is better still, a little.
        short += COUNTS[label] * (np.maximum(0.0, missing) + 0.05 * missing)
    # Who answers is foreign only where that is likelier than not.
    short[:, replies[:, 0] > EVEN] = np.inf
    where = np.unravel_index(int(short.argmin()), short.shape)
    return firsts[where[0]], replies[where[1]]


def _short_of_hard(pairs: Vectors, scores: Scores) -> Vectors:
    hard = scores.of("hard")
    if not len(hard.label):
        return np.zeros(len(pairs))
    woken, mine = _woken(pairs, hard), hard.concern[None, :] >= pairs[:, :1]
    relevant, redundant, foreign = (hard.label == label for label in WANTED)
    right = (woken & relevant) | (mine & ~woken & redundant) | (~mine & foreign)
    missing = np.maximum(0.0, HARD_WANTED["relevant"] - woken[:, relevant].mean(axis=1))
    wrong = np.maximum(0.0, HARD_WANTED["right"] - right.mean(axis=1))
    return missing + wrong


def _mine(scores: Scores) -> tuple[Vectors, _Flags, _Flags]:
    return scores.concern, scores.label != "foreign", scores.label == "relevant"


def _new(scores: Scores) -> tuple[Vectors, _Flags, _Flags]:
    mine = scores.only(scores.label != "foreign")
    return mine.novelty, mine.label == "relevant", mine.label == "relevant"


def _banded(bar: float, score: Vectors, is_so: _Flags, keep: _Flags) -> Bars:
    # What lies close under a bar is never sure.
    low = min(float(np.quantile(score[keep], MISSED)), bar * 0.6)
    order = np.argsort(score)[::-1]
    right = np.cumsum(is_so[order]) / np.arange(1, len(order) + 1)
    fits = np.flatnonzero(right >= CERTAIN)
    high = float(score[order[fits[-1]]]) if len(fits) else 1.0
    return Bars(*(round(float(edge), 3) for edge in (bar, min(low, bar), max(high, bar))))
