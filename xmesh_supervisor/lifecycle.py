"""The life of one child: every state, every event, and what follows. All of it lives here.

``step(state, event)`` is the whole machine. This file knows no process, no clock and no peer; the
shell (``child.py``) makes events from what it sees and carries out the actions in their order.
An ``EXIT_*`` event means that the process **and everything it started** is gone; which of them
it is decides ``restarts.py``. What should be (``Desired``) is a field of its own: the machine says
what is.

    stopped ──START──► starting ──READY──► running ──STOP──► stopping ──exit──► stopped
                          ▲                  │
                          └──TIMEOUT── backoff ◄──exit, to be revived
       parked: failed too often · final: said itself that it must not run · killed: by a person
"""

from enum import StrEnum
from types import MappingProxyType

__all__ = ["ALIVE", "TABLE", "Action", "Desired", "Event", "State", "step"]


class State(StrEnum):
    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    BACKOFF = "backoff"
    PARKED = "parked"
    FINAL = "final"
    KILLED = "killed"


class Desired(StrEnum):
    RUN = "run"
    STOP = "stop"


class Event(StrEnum):
    START = "start"
    STOP = "stop"
    READY = "ready"
    TIMEOUT = "timeout"  # of whichever timer the state has armed
    TOMBSTONE = "tombstone"  # one was written for this child
    EXIT_REST = "exit-rest"  # ended, and nobody wants it back
    EXIT_AGAIN = "exit-again"  # ended on request, and is wanted again at once
    EXIT_REVIVE = "exit-revive"
    EXIT_PARK = "exit-park"
    EXIT_FINAL = "exit-final"
    EXIT_KILLED = "exit-killed"


class Action(StrEnum):
    SPAWN = "spawn"
    TERMINATE = "terminate"  # SIGTERM to the child
    DESTROY = "destroy"  # SIGKILL to its whole tree
    ARM_START = "arm-start"
    ARM_STOP = "arm-stop"
    ARM_BACKOFF = "arm-backoff"
    DISARM = "disarm"


ALIVE = frozenset({State.STARTING, State.RUNNING, State.STOPPING})

_Row = tuple[State, tuple[Action, ...]]

_SPAWN: _Row = (State.STARTING, (Action.DISARM, Action.SPAWN, Action.ARM_START))
_HALT: _Row = (State.STOPPING, (Action.TERMINATE, Action.ARM_STOP))

_EXITS: dict[Event, _Row] = {
    Event.EXIT_REST: (State.STOPPED, (Action.DISARM,)),
    Event.EXIT_REVIVE: (State.BACKOFF, (Action.ARM_BACKOFF,)),
    Event.EXIT_PARK: (State.PARKED, (Action.DISARM,)),
    Event.EXIT_FINAL: (State.FINAL, (Action.DISARM,)),
    Event.EXIT_KILLED: (State.KILLED, (Action.DISARM,)),
}
_DEAD = (State.KILLED, (Action.DISARM,))

TABLE = MappingProxyType(
    {
        State.STOPPED: {
            Event.START: _SPAWN,
            Event.STOP: (State.STOPPED, ()),
            Event.TOMBSTONE: _DEAD,
        },
        State.STARTING: {
            Event.START: (State.STARTING, ()),
            Event.STOP: _HALT,
            Event.READY: (State.RUNNING, (Action.DISARM,)),
            Event.TIMEOUT: (State.STARTING, (Action.DESTROY,)),
            Event.TOMBSTONE: (State.STARTING, (Action.DESTROY,)),
            **_EXITS,
        },
        State.RUNNING: {
            Event.START: (State.RUNNING, ()),
            Event.STOP: _HALT,
            Event.TOMBSTONE: (State.RUNNING, (Action.DESTROY,)),
            **_EXITS,
        },
        State.STOPPING: {
            Event.START: (State.STOPPING, ()),
            Event.STOP: (State.STOPPING, ()),
            Event.READY: (State.STOPPING, ()),
            Event.TIMEOUT: (State.STOPPING, (Action.DESTROY,)),
            Event.TOMBSTONE: (State.STOPPING, (Action.DESTROY,)),
            Event.EXIT_REST: (State.STOPPED, (Action.DISARM,)),
            Event.EXIT_AGAIN: _SPAWN,
            Event.EXIT_KILLED: (State.KILLED, (Action.DISARM,)),
        },
        State.BACKOFF: {
            Event.START: _SPAWN,
            Event.STOP: (State.STOPPED, (Action.DISARM,)),
            Event.TIMEOUT: _SPAWN,
            Event.TOMBSTONE: _DEAD,
        },
        State.PARKED: {
            Event.START: _SPAWN,
            Event.STOP: (State.STOPPED, ()),
            Event.TOMBSTONE: _DEAD,
        },
        State.FINAL: {
            Event.START: _SPAWN,
            Event.STOP: (State.STOPPED, ()),
            Event.TOMBSTONE: _DEAD,
        },
        State.KILLED: {
            Event.START: _SPAWN,
            Event.STOP: (State.KILLED, ()),
            Event.TOMBSTONE: (State.KILLED, ()),
        },
    },
)


def step(state: State, event: Event) -> tuple[State, tuple[Action, ...]]:
    """Return the next state and what to do, in order. KeyError: the shell let an event through
    that cannot happen in this state."""
    return TABLE[state][event]
