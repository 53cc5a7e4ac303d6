"""The registry of one host: a file per node under ``~/.sym/loopback``, without multicast.

Deployed nodes read and write it too. It stands under ``$HOME``, and what it holds anybody of this
user may have written. Our files name a second port, ``securePort``, which they don't look at.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from xmesh_mesh.gateway.services import Sighting, group_type
from xmesh_mesh.identity import NODE_ID_PATTERN
from xmesh_mesh.wire.types import Label, NodeId

__all__ = ["EVERY_MS", "Entry", "Registry", "is_current", "sighting_of"]

EVERY_MS: Final = 5_000  # each node writes its file anew, and looks at the others', so often
FRESH_MS: Final = 30_000
SAME_MS: Final = 200

_MAX_FILES: Final = 1_024
_MAX_FILE_BYTES: Final = 4_096
_LOOPBACK: Final = "127.0.0.1"
_node_id = re.compile(NODE_ID_PATTERN)

Port = Annotated[int, Meta(ge=1, le=65_535)]


class Entry(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One node's file; ``ts`` is the wall clock's milliseconds."""

    node_id: NodeId
    name: Label = "unknown"
    port: Port
    pid: Annotated[int, Meta(ge=1, le=2**31)]
    service_type: Label = ""
    ts: float = 0
    secure_port: Port | None = None


_decoder = msgspec.json.Decoder(Entry)


def is_current(entry: Entry, group: str, now_ms: int, is_alive: Callable[[int], bool]) -> bool:
    """Return whether the entry is of ``group`` and its node can be thought to be there."""
    if entry.service_type not in {"", group_type(group)}:
        return False
    return now_ms - entry.ts < FRESH_MS and is_alive(entry.pid)


def sighting_of(entry: Entry) -> Sighting:
    return Sighting(entry.node_id, entry.name, (_LOOPBACK,), entry.port, entry.secure_port)


class Registry:
    """The directory. What cannot be read or written there is as if it were not there."""

    def __init__(self, home: Path) -> None:
        self._path = home / ".sym" / "loopback"
        self._read_ms: int | None = None
        self._entries: list[Entry] = []

    def write(self, entry: Entry) -> None:
        """Write a local peer's file, whole; OSError is for the caller to tell.

        It need not outlive a crash of the host, so nothing is synced.
        """
        path = self._file(entry.node_id)
        temporary = path.with_suffix(f".json.{os.getpid()}.tmp")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.write_bytes(msgspec.json.encode(entry))
        temporary.replace(path)

    def remove(self, node_id: str) -> None:
        with contextlib.suppress(OSError):
            self._file(node_id).unlink(missing_ok=True)

    def entries(self, now_ms: int) -> list[Entry]:
        """Return what the files say, each under its own node's name; a bounded number.

        They are read once for all who ask within ``SAME_MS``.
        """
        if self._read_ms is None or now_ms - self._read_ms >= SAME_MS:
            self._read_ms, self._entries = now_ms, list(self._read())
        return self._entries

    def _read(self) -> Iterator[Entry]:
        for path in self._files():
            with contextlib.suppress(OSError, msgspec.MsgspecError, ValueError, RecursionError):
                entry = _decoder.decode(_content(path))
                if entry.node_id == path.stem:
                    yield entry

    def _files(self) -> list[Path]:
        try:
            found = [path for path in self._path.iterdir() if _is_entry(path)]
        except OSError:
            return []
        return sorted(found)[:_MAX_FILES]

    def _file(self, node_id: str) -> Path:
        return self._path / f"{node_id}.json"


def is_alive(pid: int) -> bool:
    """Return whether a process of this number exists, whosever it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _is_entry(path: Path) -> bool:
    return path.suffix == ".json" and _node_id.match(path.stem) is not None


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MAX_FILE_BYTES)
