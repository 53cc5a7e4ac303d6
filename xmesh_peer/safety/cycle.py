"""When a peer's own words come back to it: should it speak again? Pure functions, no store.

A peer that finds a record of its own close above what it is about to say has been answered, and
would answer the answer. That is allowed only to close the matter with a new commitment. Next to
that a plain count bounds what one thread can cost.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Ancestor", "CycleVerdict", "cycle_check", "is_real", "is_repeat", "thread_check"]

# Normalised texts with which a model fills a field it has nothing to say in.
EMPTY_WORDS = frozenset({
    "", "n a", "na", "neutral", "nil", "no", "no commitment", "no commitments",
    "no new commitment", "no new commitments", "none", "none at this time", "none yet",
    "not applicable", "not yet determined", "nothing", "nothing new", "null", "pending", "tba",
    "tbc", "tbd", "to be announced", "to be confirmed", "to be decided", "to be determined",
    "todo", "undecided", "undefined", "unknown", "unspecified",
})  # fmt: skip

# Two commitments are the same when they share this part of their words, in tenths.
REPEAT_TENTHS = 9


@dataclass(frozen=True, slots=True)
class Ancestor:
    """One ancestor of the record about to be emitted; its direct parents have depth 1."""

    depth: int
    own: bool


@dataclass(frozen=True, slots=True)
class CycleVerdict:
    """``reason`` is a sentence for logs; empty where nothing speaks against the record."""

    suppress: bool
    reason: str = ""


def cycle_check(
    ancestry: Sequence[Ancestor],
    cycle_depth: int,
    new_commitment: str,
    last_own_commitment: str | None,
) -> CycleVerdict:
    """Judge a record whose ancestors are ``ancestry``.

    ``last_own_commitment`` is what this peer last committed to in the thread; None before that.
    """
    near = min((a.depth for a in ancestry if a.own and a.depth <= cycle_depth), default=None)
    if near is None:
        return CycleVerdict(suppress=False)
    found = f"its own record is {near} above, within cycle_depth {cycle_depth}"
    if not is_real(new_commitment):
        return CycleVerdict(suppress=True, reason=f"{found}, and it commits to nothing new")
    if last_own_commitment is not None and is_repeat(new_commitment, last_own_commitment):
        return CycleVerdict(suppress=True, reason=f"{found}, and it repeats its last commitment")
    return CycleVerdict(suppress=False, reason=f"{found}, but it makes a new commitment")


def thread_check(used: int, max_per_thread: int) -> CycleVerdict:
    """Judge one more own record in a thread that holds ``used`` own records already."""
    if used < max_per_thread:
        return CycleVerdict(suppress=False)
    return CycleVerdict(
        suppress=True,
        reason=f"it has said {used} things in this thread, and max_per_thread is {max_per_thread}",
    )


def is_real(commitment: str) -> bool:
    """Tell whether the text commits to anything at all."""
    return _normalise(commitment) not in EMPTY_WORDS


def is_repeat(one: str, other: str) -> bool:
    """Tell whether two texts say the same but for case, punctuation, order and a word in ten."""
    left, right = set(_normalise(one).split()), set(_normalise(other).split())
    return 10 * len(left & right) >= REPEAT_TENTHS * len(left | right)


def _normalise(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(_kept(char) for char in folded).split())


def _kept(char: str) -> str:
    """Letters, marks and digits stay, what cannot be seen goes, the rest parts words."""
    category = unicodedata.category(char)
    if category[0] in "LMN":
        return char
    return "" if category == "Cf" else " "
