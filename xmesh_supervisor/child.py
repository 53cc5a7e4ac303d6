"""One child: the shell around ``lifecycle`` and ``restarts``. It spawns, waits, signals, arms."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Protocol

from xmesh_mesh.errors import ExitCode
from xmesh_mesh.tombstones import Tombstone
from xmesh_supervisor import tree
from xmesh_supervisor.lifecycle import ALIVE, Action, Desired, Event, State, step
from xmesh_supervisor.processes import Launch, Spawned, Spawner
from xmesh_supervisor.restarts import Decision, Exit, History, Policy, decide

__all__ = ["Child", "Environment", "Limits"]

READY_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that a child may take to become ready, and to stop."""

    ready_s: float = READY_WITHIN_S
    stop_s: float = 10.0


class Environment(Protocol):
    """What a child asks its fleet."""

    spawner: Spawner

    def launch(self, name: str) -> Launch:
        """Return how to start it now. Raises OSError."""

    def tag(self, name: str) -> str: ...

    def tombstone(self, name: str) -> Tombstone | None:
        """Return the tombstone that forbids it to run, None where a start has lifted it."""

    def last_words(self, name: str) -> str:
        """Return the last sentence of its log; called in a thread."""

    def sentence(self, child: "Child") -> str:
        """Return what people are told of its state."""

    def changed(self, child: "Child") -> None:
        """Called after each event."""


@dataclass(slots=True)
class Child:
    """``since_s`` and ``spawned_s`` are monotonic seconds; ``reason`` says why it is as it is."""

    name: str
    policy: Policy
    limits: Limits
    env: Environment
    state: State = State.STOPPED
    desired: Desired = Desired.STOP
    history: History = field(default_factory=History)
    reason: str = ""
    last_exit: str = ""
    restarts: int = 0
    process: Spawned | None = None
    ending: bool = False
    """Its process is dead or is being killed; ``state`` will say so when its tree is gone."""
    spawned_s: float = 0.0
    ready_in_s: float = 0.0
    _do: dict[Action, Callable[[], None]] = field(init=False, repr=False)
    _pipe: int | None = None
    _timer: asyncio.TimerHandle | None = None
    _delay_s: float = 0.0
    _overdue: bool = False
    _change: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def start(self) -> None:
        """An operator wants it to run. A parked or killed one begins with a clean record."""
        self.desired = Desired.RUN
        if self.state not in ALIVE:
            self.history = History()
        self.handle(Event.START)

    def stop(self) -> None:
        self.desired, self.reason = Desired.STOP, ""
        self.handle(Event.STOP)

    def restart(self) -> None:
        """End the running process, if any, and start a new one; crashes are forgiven."""
        self.desired = Desired.RUN
        self.history = History()
        self.handle(Event.STOP if self.state in ALIVE else Event.START)

    def bury(self) -> None:
        """A tombstone was written: whatever it is doing, it ends as killed."""
        self.desired = Desired.STOP
        self.handle(Event.TOMBSTONE)

    def hurry(self) -> None:
        """End it now if it is still alive: nobody wants to wait for its stop any more."""
        if self.state is State.STOPPING:
            self.handle(Event.TIMEOUT)

    def __post_init__(self) -> None:
        self._do = {
            Action.SPAWN: self._spawn,
            Action.TERMINATE: self._terminate,
            Action.DESTROY: self._destroy,
            Action.ARM_START: lambda: self._arm(self.limits.ready_s),
            Action.ARM_STOP: lambda: self._arm(self.limits.stop_s),
            Action.ARM_BACKOFF: lambda: self._arm(self._delay_s),
            Action.DISARM: self._disarm,
        }

    async def until(self, reached: Callable[["Child"], bool]) -> None:
        """Return once ``reached`` holds; it is looked at after each change of state."""
        while not reached(self):
            await self._change.wait()

    def handle(self, event: Event) -> None:
        """Make one step of the lifecycle, with all that follows from it."""
        self.state, actions = step(self.state, event)
        for action in actions:
            self._do[action]()
        self.env.changed(self)
        self._change.set()
        self._change = asyncio.Event()

    def exited(self, code: int) -> None:
        """The process was reaped. Its tree is ended first, then the exit is judged."""
        assert self.process is not None
        self.ending = True
        ran_s = time.monotonic() - self.spawned_s
        self._later(self._after(code, ran_s))

    def _spawn(self) -> None:
        self.reason, self._overdue = "", False
        self.spawned_s, self.ready_in_s = time.monotonic(), 0.0
        loop = asyncio.get_running_loop()
        if self.env.tombstone(self.name) is not None:
            loop.call_soon(self._ended, Exit(ExitCode.KILLED, 0.0, tombstone=True))
            return
        try:
            self.process = self.env.spawner.spawn(self.env.launch(self.name))
        except (OSError, ValueError) as error:
            # ValueError: a zero byte in a plan or key that came over the socket.
            said = f"it could not be started: {error}"
            loop.call_soon(self._ended, Exit(ExitCode.FAILURE, 0.0, said=said))
            return
        self._pipe = self.process.ready
        loop.add_reader(self._pipe, self._listen, self._pipe)

    def _listen(self, pipe: int) -> None:
        said = os.read(pipe, 64)
        self._hang_up()
        if said:
            self.ready_in_s = time.monotonic() - self.spawned_s
            if self.state in {State.STARTING, State.STOPPING}:
                self.handle(Event.READY)

    def _hang_up(self) -> None:
        """Close the pipe once: its number may be another file's afterwards."""
        if self._pipe is not None:
            asyncio.get_running_loop().remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = None

    async def _after(self, code: int, ran_s: float) -> None:
        await self._end_tree()
        # What it said counts for nothing when it was told to end.
        asked = self.state is State.STOPPING or code in {0, -signal.SIGKILL}
        said = "" if asked else await asyncio.to_thread(self.env.last_words, self.name)
        stone = self.env.tombstone(self.name) is not None
        self._ended(Exit(code, ran_s, tombstone=stone, overdue=self._overdue, said=said))

    def _ended(self, exit_: Exit) -> None:
        self._hang_up()
        self.process, self.ending = None, False
        decision = decide(
            self.policy,
            exit_,
            self.desired,
            self.history,
            stopping=self.state is State.STOPPING,
            now_s=time.monotonic(),
            chance=random.random(),  # noqa: S311 - jitter, no secret
        )
        self._follow(decision, exit_)

    def _follow(self, decision: Decision, exit_: Exit) -> None:
        self.history, self._delay_s = decision.history, decision.delay_s
        self.last_exit, self.reason = exit_.text(), decision.reason
        if decision.event is Event.EXIT_REVIVE:
            self.restarts += 1
        if decision.event is Event.EXIT_KILLED:
            self.desired = Desired.STOP
        self.handle(decision.event)

    def _destroy(self) -> None:
        self.ending = True
        self._overdue = self._overdue or self.state is State.STARTING
        self._later(self._end_tree())

    async def _end_tree(self) -> None:
        mine = self.env.tag(self.name)
        roots = [self.process.pid] if self.process else []
        await asyncio.to_thread(tree.end_all, lambda tag: tag == mine, roots)

    def _terminate(self) -> None:
        if self.process:
            self.env.spawner.signal(self.process.pid, signal.SIGTERM)

    def _arm(self, seconds: float) -> None:
        self._disarm()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, self.handle, Event.TIMEOUT)

    def _disarm(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _later(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
