"""What people are told when a child changes its state."""

from xmesh_supervisor.child import Child
from xmesh_supervisor.lifecycle import State

__all__ = ["ALARMING", "sentence"]

ALARMING = frozenset({State.BACKOFF, State.PARKED, State.FINAL, State.KILLED})

_SENTENCES = {
    State.STOPPED: "stopped{reason}",
    State.STARTING: "starts, pid {pid}",
    State.RUNNING: "ready in {seconds}  pid {pid}{model}",
    State.STOPPING: "stops",
    State.BACKOFF: "failed and is started again soon{reason}",
    State.PARKED: "parked{reason}; xmesh-sup start {name} tries again",
    State.FINAL: "ended for good{reason}; xmesh-sup restart {name} begins a new run",
    State.KILLED: "killed{reason}; xmesh-sup start {name} lifts it",
}


def sentence(child: Child, model: str) -> str:
    """Return the state of ``child`` in words, with the reason and the next command."""
    return _SENTENCES[child.state].format(
        seconds=f"{child.ready_in_s:.2f} s",
        pid=child.process.pid if child.process else 0,
        model=f"  {model}" if model else "",
        reason=f": {child.reason}" if child.reason else "",
        name=child.name,
    )
