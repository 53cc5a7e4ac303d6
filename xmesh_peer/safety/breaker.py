"""A circuit breaker in front of a model: stop calling what keeps failing, try again carefully.

All of the state machine lives in ``_NEXT``. This module knows no clock: times are seconds of
any monotonic clock, passed in.

Every call takes a permit and reports on it. A permit belongs to the spell (the time between two
changes of phase) in which it was given, so a call that began before the breaker opened cannot
close it, nor fail its probe, when it ends late.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum

__all__ = ["Breaker", "Outcome", "Permit", "Phase"]

FAILURES_TO_OPEN = 5
FIRST_WAIT_S = 60.0
LONGEST_WAIT_S = 600.0


class Phase(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Outcome(Enum):
    """``ABANDONED`` says nothing about the model: the call was never made, or was cancelled."""

    OK = "ok"
    FAILED = "failed"
    ABANDONED = "abandoned"


class _Step(Enum):
    FORGET = "forget the failures so far"
    COUNT = "count a failure, open at the limit"
    CLOSE = "close"
    REOPEN = "open again, for twice as long"
    FREE_PROBE = "let somebody else probe"
    NOTHING = "nothing"


# Nobody holds a permit of the open phase, so it has no rows.
_NEXT: dict[tuple[Phase, Outcome], _Step] = {
    (Phase.CLOSED, Outcome.OK): _Step.FORGET,
    (Phase.CLOSED, Outcome.FAILED): _Step.COUNT,
    (Phase.CLOSED, Outcome.ABANDONED): _Step.NOTHING,
    (Phase.HALF_OPEN, Outcome.OK): _Step.CLOSE,
    (Phase.HALF_OPEN, Outcome.FAILED): _Step.REOPEN,
    (Phase.HALF_OPEN, Outcome.ABANDONED): _Step.FREE_PROBE,
}


@dataclass(frozen=True, slots=True)
class Permit:
    """The right to make one call; hand it back to ``report`` with what became of the call."""

    spell: int


class Breaker:
    """Closed until five failures in a row, then open; after a wait, one probe at a time.

    The wait is 60 s, doubles with every failed probe up to 600 s, and is 60 s again once closed.
    """

    __slots__ = ("_failures", "_phase", "_probing", "_spell", "_until_s", "_wait_s")

    def __init__(self) -> None:
        self._phase = Phase.CLOSED
        self._spell = 0
        self._failures = 0
        self._probing = False
        self._wait_s = FIRST_WAIT_S
        self._until_s = 0.0

    def ask(self, now_s: float) -> Permit | None:
        """Return a permit to call the model now, or None where it has to wait."""
        if self.phase(now_s) is Phase.HALF_OPEN and self._phase is Phase.OPEN:
            self._enter(Phase.HALF_OPEN)
        if self._phase is Phase.OPEN or self._probing:
            return None
        self._probing = self._phase is Phase.HALF_OPEN
        return Permit(self._spell)

    def report(self, permit: Permit, outcome: Outcome, now_s: float) -> None:
        """Say what became of the call; a report on an earlier spell's permit changes nothing."""
        if permit.spell != self._spell:
            return
        step = _NEXT[self._phase, outcome]
        if step is _Step.FORGET:
            self._failures = 0
        elif step is _Step.COUNT:
            self._count(now_s)
        elif step is _Step.CLOSE:
            self._close()
        elif step is _Step.REOPEN:
            self._open(now_s, min(2 * self._wait_s, LONGEST_WAIT_S))
        elif step is _Step.FREE_PROBE:
            self._probing = False

    def phase(self, now_s: float) -> Phase:
        """Return the phase as it is at ``now_s``; an open breaker half-opens when its wait ends."""
        if self._phase is Phase.OPEN and now_s >= self._until_s:
            return Phase.HALF_OPEN
        return self._phase

    def retry_after_s(self, now_s: float) -> float:
        """Return the seconds until a probe may be asked for; 0.0 where that is now."""
        return max(0.0, self._until_s - now_s) if self._phase is Phase.OPEN else 0.0

    def _count(self, now_s: float) -> None:
        self._failures += 1
        if self._failures >= FAILURES_TO_OPEN:
            self._open(now_s, FIRST_WAIT_S)

    def _open(self, now_s: float, wait_s: float) -> None:
        self._wait_s = wait_s
        self._until_s = now_s + wait_s
        self._enter(Phase.OPEN)

    def _close(self) -> None:
        self._failures = 0
        self._enter(Phase.CLOSED)

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._spell += 1
        self._probing = False
