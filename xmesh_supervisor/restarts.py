"""What an exit means: revive, park, or leave. Pure: times and chance are arguments."""

from dataclasses import dataclass
from typing import Literal

from xmesh_mesh.errors import FINAL_EXITS, ExitCode
from xmesh_supervisor.lifecycle import Desired, Event

__all__ = ["NEVER_PARKED", "Decision", "Exit", "History", "Policy", "back_off", "decide"]

FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 30.0
STABLE_S = 30.0
"""Who ran this long before it failed starts its back-off anew."""


@dataclass(frozen=True, slots=True)
class Policy:
    """``[supervise]`` of a peer; ``max_restarts`` None means that it is revived for ever."""

    restart: Literal["on-failure", "always", "never"] = "on-failure"
    max_restarts: int | None = 5
    window_s: float = 60.0
    first_delay_s: float = FIRST_DELAY_S


NEVER_PARKED = Policy(restart="always", max_restarts=None, first_delay_s=0.02)
"""The bus and the guard: nothing works without them."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: ``code`` is negative for a signal, as in ``Popen.returncode``."""

    code: int
    ran_s: float
    tombstone: bool = False
    overdue: bool = False
    """It was ended by us because it did not become ready in time."""
    said: str = ""
    """Its last words in the log, or why it could not even be started."""

    def text(self) -> str:
        """Return the sentence that ``ps`` shows: how it ended, and its last words."""
        return f"{self._how()}: {self.said}" if self.said else self._how()

    def _how(self) -> str:
        if self.overdue:
            return "did not become ready in time"
        if self.code < 0:
            return f"ended by signal {-self.code}"
        return _MEANINGS.get(self.code, f"exited with {self.code}")


_MEANINGS = {
    int(ExitCode.OK): "exited",
    int(ExitCode.CONFIG): "its configuration is wrong (exit 78)",
    int(ExitCode.COLLISION): "its identity is in use elsewhere (exit 80)",
    int(ExitCode.BUDGET): "the run's budget is spent (exit 81)",
    int(ExitCode.KILLED): "a tombstone forbids it to run (exit 82)",
}


@dataclass(frozen=True, slots=True)
class History:
    """``failures`` in a row drive the back-off; ``restarts`` are the times of revivals, seconds."""

    failures: int = 0
    restarts: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    event: Event
    reason: str
    delay_s: float
    history: History


def back_off(failures: int, chance: float, first_s: float = FIRST_DELAY_S) -> float:
    """Return seconds to wait after ``failures`` earlier ones in a row; ``chance`` is in [0, 1)."""
    return min(LONGEST_DELAY_S, first_s * 2.0 ** min(failures, 20) * (1 + chance / 2))


def decide(
    policy: Policy,
    exit_: Exit,
    desired: Desired,
    history: History,
    *,
    stopping: bool,
    now_s: float,
    chance: float,
) -> Decision:
    """Return the lifecycle event that this exit is, why, and the history to keep."""
    text = exit_.text()
    if exit_.tombstone or exit_.code == ExitCode.KILLED:
        return Decision(Event.EXIT_KILLED, "killed", 0.0, History())
    if stopping:
        again = desired is Desired.RUN
        return Decision(Event.EXIT_AGAIN if again else Event.EXIT_REST, "", 0.0, History())
    if exit_.code in FINAL_EXITS:
        return Decision(Event.EXIT_FINAL, text, 0.0, history)
    if not _wanted_back(policy, exit_):
        return Decision(Event.EXIT_REST, text, 0.0, history)
    return _revive(policy, exit_, history, now_s, chance)


def _wanted_back(policy: Policy, exit_: Exit) -> bool:
    if policy.restart == "always":
        return True
    failed = exit_.code != ExitCode.OK or exit_.overdue
    return policy.restart == "on-failure" and failed


def _revive(
    policy: Policy,
    exit_: Exit,
    history: History,
    now_s: float,
    chance: float,
) -> Decision:
    text = exit_.text()
    recent = tuple(at for at in history.restarts if now_s - at < policy.window_s)
    if policy.max_restarts is not None and len(recent) >= policy.max_restarts:
        times = f"{policy.max_restarts} restarts in {policy.window_s:g} s"
        return Decision(Event.EXIT_PARK, f"{text}; gave up after {times}", 0.0, History())
    failures = 0 if exit_.ran_s >= STABLE_S else history.failures
    kept = recent if policy.max_restarts is not None else ()
    delay_s = back_off(failures, chance, policy.first_delay_s)
    return Decision(Event.EXIT_REVIVE, text, delay_s, History(failures + 1, (*kept, now_s)))
