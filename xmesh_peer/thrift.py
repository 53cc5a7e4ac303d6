"""Whether a small question is worth its price, reckoned from what questions did so far.

Pure. A question saves a whole call each time it keeps the peer asleep where the first judge would
have woken it. ``auto`` asks while that is worth at least what all questions cost, after a few to
find out, and now and then afterwards, for mail changes.
"""

from dataclasses import dataclass
from typing import Final

__all__ = ["Thrift", "worth_asking"]

TRIALS: Final = 20
AGAIN_EVERY: Final = 25


@dataclass(frozen=True, slots=True)
class Thrift:
    """So many ``asked`` and ``passed`` over, ``saved`` calls; in nano-USD, or in tokens where
    nothing costs money: what questions ``cost`` together and a whole ``call`` on the average."""

    asked: int
    passed: int
    saved: int
    cost: int
    call: int


def worth_asking(thrift: Thrift) -> bool:
    if thrift.asked < TRIALS or thrift.passed >= AGAIN_EVERY:
        return True
    return thrift.saved * thrift.call >= thrift.cost
