"""The kill switch. It runs in the command line's own process and needs no supervisor.

First a synced tombstone, then SIGKILL to the peer's whole tree, again and again, until the node's
lock is ours and two scans in a row find nothing. Whoever starts the peer afterwards finds the
tombstone.
"""

import difflib
import os
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from xmesh_mesh import tombstones
from xmesh_mesh.errors import ConfigError, StoreError, SupervisorError, UsageError
from xmesh_mesh.paths import FileLock, RuntimeDir, check_name
from xmesh_mesh.tombstones import Tombstone
from xmesh_supervisor import client, tree
from xmesh_supervisor.ledger import recorded

__all__ = ["Killed", "kill", "known_names", "nearest"]

WITHIN_S = 10.0
_TELL_WITHIN_S = 0.25


@dataclass(frozen=True, slots=True)
class Killed:
    """``took_ms``: from before the tombstone was written to the last process being gone."""

    name: str
    took_ms: float
    processes: int
    tombstone: Tombstone


def kill(root: RuntimeDir, names: Collection[str], why: str) -> list[Killed]:
    """Kill these peers, one after the other, and tell the supervisor, if it listens.

    Raises UsageError for a name that nobody knows (then nobody is killed) and SupervisorError
    where a process outlives ten seconds of SIGKILL.
    """
    known = known_names(root)
    for name in names:
        if name not in known:
            raise _unknown(name, known)
    killed = [_kill(root, name, why) for name in names]
    with suppress(SupervisorError):
        client.ask(root, "buried", names=list(names), timeout_s=_TELL_WITHIN_S)
    return killed


def known_names(root: RuntimeDir) -> list[str]:
    """Return every peer of this root: recorded, running now, or with a node directory."""
    names: dict[str, None] = {}
    with suppress(StoreError):
        names.update(dict.fromkeys(row.name for row in recorded(root.supervisor_db)))
    names.update(dict.fromkeys(sorted(tree.children_named(root.root))))
    with suppress(OSError):
        names.update(dict.fromkeys(sorted(path.name for path in (root.root / "nodes").iterdir())))
    return [name for name in names if _names_a_peer(name)]


def nearest(name: str, known: Collection[str]) -> str:
    """Return a sentence that helps somebody who has mistyped ``name``."""
    near = difflib.get_close_matches(name, known, n=3)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"known: {', '.join(known)}" if known else "no peer has ever run here"


def _names_a_peer(name: str) -> bool:
    """The bus, the guard and the operator are not killed, and no tag leads out of the root."""
    try:
        check_name(name)
    except ConfigError:
        return False
    return True


def _unknown(name: str, known: Collection[str]) -> UsageError:
    return UsageError(f"there is no peer {name!r}", fix=f"{nearest(name, known)} (xmesh-sup ps)")


def _kill(root: RuntimeDir, name: str, why: str) -> Killed:
    begun_s = time.monotonic()
    stone = tombstones.bury(root.tombstone(name), why)
    lock = FileLock(root.node_lock(name))
    try:
        gone_s, count = _until_gone(tree.tag(root.root, name), lock, begun_s + WITHIN_S)
        if tombstones.read(root.tombstone(name)) is None:
            # A start that was lifting an earlier one has taken this one with it; with the node's
            # lock in hand nobody can do so again.
            stone = tombstones.bury(root.tombstone(name), why)
    except TimeoutError as error:
        raise SupervisorError(
            f"{name} has its tombstone, but {error}",
            where=name,
            fix="look at it with ps -o pid,stat,wchan,args; it cannot start again",
        ) from error
    finally:
        lock.release()
    return Killed(name, (gone_s - begun_s) * 1000, count, stone)


def _until_gone(mine: str, lock: FileLock, deadline_s: float) -> tuple[float, int]:
    """Return when the last process was seen to be gone, and how many there were."""
    seen: set[tuple[int, float]] = set()
    held, empty, gone_s = False, 0, 0.0
    while empty < 2:
        holder = [] if held else _holder(lock)
        found = tree.find(lambda tag: tag == mine, holder)
        tree.end(found)
        seen.update((process.pid, process.started) for process in found)
        held = held or (not found and lock.acquire(role="kill"))
        empty = empty + 1 if held and not found else 0
        if empty == 1:
            gone_s = time.monotonic()
        if empty == 0 and time.monotonic() > deadline_s:
            left = ", ".join(str(process.pid) for process in found) or f"{lock.path} stays locked"
            raise TimeoutError(f"these do not end: {left}")
        time.sleep(0.001)
    return gone_s, len(seen)


def _holder(lock: FileLock) -> list[int]:
    """Return the pid of who holds the node's lock, also where a person started it by hand."""
    pid = lock.holder().get("pid")
    if not isinstance(pid, int) or pid <= 1:
        return []
    return [pid] if _has_open(pid, lock.path) else []


def _has_open(pid: int, path: Path) -> bool:
    if sys.platform != "linux":
        return False  # the pid may be another program's by now, and nothing here could tell
    try:
        target = path.stat()
        handles = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
    return any(_is_file(handle, target) for handle in handles)


def _is_file(handle: Path, target: os.stat_result) -> bool:
    try:
        there = handle.stat()
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (target.st_dev, target.st_ino)
