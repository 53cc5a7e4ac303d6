"""Tombstones: synced files that forbid a peer to run, with who wrote them and why."""

import json
import os
import secrets
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from xmesh_mesh.paths import write_atomic

__all__ = ["UNREADABLE", "Tombstone", "bury", "read", "who_am_i"]

UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Tombstone:
    """``at_ms`` is wall time. One that cannot be read forbids too, under the id "unreadable"."""

    id: str
    who: str
    why: str
    at_ms: int


def bury(path: Path, why: str) -> Tombstone:
    """Write a new tombstone at ``path``, synced, and return it."""
    stone = Tombstone(secrets.token_hex(8), who_am_i(), why, time.time_ns() // 1_000_000)
    write_atomic(path, json.dumps(asdict(stone), ensure_ascii=False).encode() + b"\n")
    return stone


def read(path: Path) -> Tombstone | None:
    """Return the tombstone at ``path``; None where there is none."""
    try:
        value = json.loads(path.read_bytes())
        return Tombstone(
            str(value["id"]),
            str(value["who"]),
            str(value["why"]),
            int(value["at_ms"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return Tombstone(UNREADABLE, "unknown", f"{path} cannot be read", 0)


def who_am_i() -> str:
    """Return user@host/pid/terminal of this process."""
    import pwd

    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    try:
        terminal = os.ttyname(0)
    except OSError:
        terminal = "no tty"
    return f"{user}@{socket.gethostname()}/{os.getpid()}/{terminal}"
