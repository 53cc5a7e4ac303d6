"""Which processes are ours, told from the operating system alone, and how to end them.

Every process that the supervisor starts carries ``XMESH_TAG=<root>:<child>`` in its environment,
and so does whatever it starts itself, however often that forks. The tree of a child is: the
carriers of its tag, their descendants, and the members of sessions that a carrier leads (some
programs wipe their environment). A process is known by pid and start time: pids come again.
"""

import contextlib
import hashlib
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "TAG",
    "Process",
    "children_named",
    "end",
    "end_all",
    "find",
    "root_tag",
    "scan",
    "select",
    "started",
    "tag",
]

TAG = "XMESH_TAG"
_PREFIX = TAG.encode() + b"="


@dataclass(frozen=True, slots=True)
class Process:
    """``started`` is in the system's own unit (Linux: ticks since boot); compare it, no more."""

    pid: int
    ppid: int
    session: int
    started: float
    tag: str


def root_tag(root: Path) -> str:
    """Return what every tag of this runtime directory begins with."""
    return hashlib.sha256(os.fsencode(root)).hexdigest()[:16]


def tag(root: Path, child: str) -> str:
    return f"{root_tag(root)}:{child}"


def select(
    processes: Iterable[Process],
    wanted: Callable[[str], bool],
    roots: Collection[int] = (),
    spared: Collection[int] = (),
) -> list[Process]:
    """Return the tree: carriers of a ``wanted`` tag, sessions they lead, descendants of all these.

    ``roots`` are pids known to be ours whatever they carry, dead or alive. ``spared`` pids, and
    what carries an unwanted tag, are never in it: a peer may have started another fleet.
    """
    everything = [process for process in processes if process.pid not in spared]
    carriers = {process.pid for process in everything if process.tag and wanted(process.tag)}
    carriers.update(roots)
    tree = {p.pid for p in everything if p.pid in carriers or (not p.tag and p.session in carriers)}
    grown = True
    while grown:
        more = {p.pid for p in everything if not p.tag and p.ppid in tree} - tree
        grown = bool(more)
        tree |= more
    return [process for process in everything if process.pid in tree]


def find(
    wanted: Callable[[str], bool],
    roots: Collection[int] = (),
    spared: Collection[int] = (),
) -> list[Process]:
    """Scan the machine and return the tree as ``select`` does; this process is always spared."""
    return select(scan(), wanted, roots, {os.getpid(), *spared})


def end(processes: Iterable[Process]) -> None:
    """SIGKILL each, unless its pid belongs to another process by now."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            _kill(process)


def end_all(
    wanted: Callable[[str], bool],
    roots: Collection[int] = (),
    spared: Collection[int] = (),
    *,
    within_s: float = 10.0,
) -> bool:
    """Kill the tree until two scans in a row find nothing; return whether that was reached."""
    deadline = time.monotonic() + within_s
    empty = 0
    while empty < 2:
        found = find(wanted, roots, spared)
        end(found)
        empty = 0 if found else empty + 1
        if found and time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def children_named(root: Path) -> set[str]:
    """Return the names of this root's children that have a process right now."""
    prefix = root_tag(root) + ":"
    return {p.tag.removeprefix(prefix) for p in scan() if p.tag.startswith(prefix)}


def _kill(process: Process) -> None:
    if sys.platform != "linux":
        if started(process.pid) == process.started:
            os.kill(process.pid, signal.SIGKILL)
        return
    handle = os.pidfd_open(process.pid)
    try:
        if started(process.pid) == process.started:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    finally:
        os.close(handle)


if sys.platform == "linux":
    # psutil needs ten times as long for this, and kill's promise is counted in milliseconds.

    def scan() -> list[Process]:
        """Return every living process of this user; zombies are dead."""
        uid = os.getuid()
        found = (_read(entry.name) for entry in os.scandir("/proc") if _is_mine(entry, uid))
        return [process for process in found if process is not None]

    def _is_mine(entry: os.DirEntry[str], uid: int) -> bool:
        try:
            return entry.name.isdigit() and entry.stat().st_uid == uid
        except OSError:
            return False

    def _read(pid: str) -> Process | None:
        stat = _stat(pid)
        if stat is None or stat[0] in b"ZX":
            return None
        return Process(int(pid), int(stat[1]), int(stat[3]), float(stat[19]), _tag(pid))

    def _stat(pid: str) -> list[bytes] | None:
        """Return the fields of /proc/<pid>/stat from the third (state) on; proc(5)."""
        content = _content(f"/proc/{pid}/stat")
        return content.rpartition(b")")[2].split() or None

    def _tag(pid: str) -> str:
        environ = _content(f"/proc/{pid}/environ")
        if _PREFIX not in environ:
            return ""
        for entry in environ.split(b"\0"):
            if entry.startswith(_PREFIX):
                return os.fsdecode(entry[len(_PREFIX) :])
        return ""

    def _content(path: str) -> bytes:
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return b""
        try:
            chunks = []
            while chunk := os.read(handle, 131_072):
                chunks.append(chunk)
            return b"".join(chunks)
        except OSError:
            return b""
        finally:
            os.close(handle)

    def started(pid: int) -> float | None:
        """Return the start time of a living process, None where there is none."""
        stat = _stat(str(pid))
        return None if stat is None or stat[0] in b"ZX" else float(stat[19])

else:

    def scan() -> list[Process]:
        """Return every living process of this user; zombies are dead."""
        import psutil

        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError), process.oneshot():
                if process.uids().real == os.getuid() and process.status() != "zombie":
                    tag_ = process.environ().get(TAG, "")
                    session = os.getsid(process.pid)
                    born = process.create_time()
                    found.append(Process(process.pid, process.ppid(), session, born, tag_))
        return found

    def started(pid: int) -> float | None:
        """Return the start time of a living process, None where there is none."""
        import psutil

        try:
            return psutil.Process(pid).create_time()
        except psutil.Error:
            return None
