"""Starting and reaping child processes: an interface, and the one over ``subprocess``."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from xmesh_mesh.child import PARENT, READY_FD
from xmesh_supervisor import tree

__all__ = [
    "RELAY_TOKEN",
    "Launch",
    "PopenSpawner",
    "Spawned",
    "Spawner",
    "child_environment",
    "collect_orphans",
    "plain",
]

VENDOR_KEYS = frozenset({"ANTHROPIC_API_KEY", "OPENAI_API_KEY", "MISTRAL_API_KEY"})
RELAY_TOKEN = "SYM_RELAY_TOKEN"  # noqa: S105 - the variable's name
_PARENTS_OWN = frozenset({"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"})
_KEPT = "XMESH_RUNTIME_DIR"
_PLAIN = frozenset({"PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH"})
_PLAIN_PREFIXES = ("LC_", "PYTHON")
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start. ``log`` gets both output streams, appended; no ``stdin`` is /dev/null."""

    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    stdin: int | None = None


@dataclass(frozen=True, slots=True)
class Spawned:
    """A process that was started. ``ready`` is the end of a pipe: a line arrives on it, or EOF.

    Whoever gets it closes ``ready``. ``started`` is what ``tree.started`` says.
    """

    pid: int
    started: float
    ready: int


class Spawner(Protocol):
    """Whoever can start processes for the supervisor and tell how they ended."""

    def spawn(self, launch: Launch) -> Spawned:
        """Start a process in a session of its own. Raises OSError."""

    def reap(self) -> list[tuple[int, int]]:
        """Return (pid, exit status as in ``Popen.returncode``) of those that ended since."""

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to a process started here and not reaped yet; else do nothing."""


class PopenSpawner:
    """Children of this very process. It must be used from the main thread, whose death the
    children watch, and owns every child of the process: nothing else may start any."""

    def __init__(self) -> None:
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def spawn(self, launch: Launch) -> Spawned:
        reader, writer = os.pipe()
        try:
            process = self._popen(launch, writer)
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        os.set_blocking(reader, False)
        self._children[process.pid] = process
        return Spawned(process.pid, tree.started(process.pid) or 0.0, reader)

    def _popen(self, launch: Launch, writer: int) -> subprocess.Popen[bytes]:
        launch.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = os.open(launch.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            return subprocess.Popen(
                launch.argv,
                env={**launch.env, PARENT: str(os.getpid()), READY_FD: str(writer)},
                stdin=subprocess.DEVNULL if launch.stdin is None else launch.stdin,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(writer,),
            )
        finally:
            os.close(log)

    def reap(self) -> list[tuple[int, int]]:
        if not hasattr(os, "waitid"):
            return self._poll()
        ended = []
        while (pid := _next_dead()) is not None:
            child = self._children.pop(pid, None)
            if child is None:
                os.waitpid(pid, 0)
            else:
                ended.append((pid, child.wait()))
        return ended

    def _poll(self) -> list[tuple[int, int]]:
        codes = [(pid, child.poll()) for pid, child in self._children.items()]
        ended = [(pid, code) for pid, code in codes if code is not None]
        for pid, _ in ended:
            del self._children[pid]
        return ended

    def signal(self, pid: int, number: int) -> None:
        child = self._children.get(pid)
        if child is not None:
            child.send_signal(number)


def _next_dead() -> int | None:
    """Return the pid of a dead child without reaping it, so that Popen learns its status itself."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid


def collect_orphans() -> None:
    """Become the parent of whatever a child's own children leave behind (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def plain(base: Mapping[str, str]) -> dict[str, str]:
    """Return what any program needs, and no more: for children that work with no model, since
    which variables carry keys may become known only after they have started."""
    return {k: v for k, v in base.items() if k in _PLAIN or k.startswith(_PLAIN_PREFIXES)}


def child_environment(
    base: Mapping[str, str],
    *,
    root: Path,
    name: str,
    keys: frozenset[str],
    own: Mapping[str, str],
) -> dict[str, str]:
    """Return a child's environment: ``base`` without any key (``keys``, the vendors' and the
    relay's) and without what is the supervisor's own, then ``own``, the runtime directory and the
    tag."""
    hidden = keys | VENDOR_KEYS | {RELAY_TOKEN} | _PARENTS_OWN
    kept = {k: v for k, v in base.items() if k not in hidden and not k.startswith("XMESH_")}
    return {**kept, **own, _KEPT: str(root), tree.TAG: tree.tag(root, name)}
