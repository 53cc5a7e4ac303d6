"""Which key a node id belongs to, as this node saw it first: trust on first use, in one file.

The first key seen for a node id stays. Another one is kept apart, in quarantine, for a person to
look at. The file is replaced as a whole, under a lock, so several processes may pin at once.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import msgspec

from xmesh_mesh.canonical import b64u, unb64u
from xmesh_mesh.errors import StoreError
from xmesh_mesh.paths import write_atomic

MAX_QUARANTINED = 256

_KEY_BYTES = 32


class PinResult(Enum):
    FIRST = "first"
    SAME = "same"
    CHANGED = "changed"


class Pin(msgspec.Struct, frozen=True, rename="camel"):
    """A key as it was seen for a node id; ``seen_ms`` is the wall clock's time of that."""

    node_id: str
    public_key: str  # base64url of 32 bytes
    name: str
    seen_ms: int


class _File(msgspec.Struct):
    pins: dict[str, Pin] = {}
    quarantine: list[Pin] = []


class Pins:
    """The pins in ``path``. StoreError where the file or its directory cannot be used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = self._read()

    def pin(self, node_id: str, public_key: bytes, name: str) -> PinResult:
        """Pin the key if it is the node's first one; say how it compares to the pinned one.

        A changed key does not become the pin. A known node that calls itself differently now
        (under the same key) is known by its new name from here on.
        """
        seen = Pin(node_id, b64u(public_key), name, time.time_ns() // 1_000_000)
        if _is_known(self._file, seen):
            return PinResult.SAME
        with self._locked():
            self._file = self._read()
            result = _place(self._file, seen)
            write_atomic(self._path, msgspec.json.format(msgspec.json.encode(self._file)))
        return result

    def key(self, node_id: str) -> bytes | None:
        """Return the pinned public key (32 bytes), None for an unknown node."""
        pin = self._file.pins.get(node_id)
        return unb64u(pin.public_key, _KEY_BYTES) if pin else None

    def name(self, node_id: str) -> str | None:
        pin = self._file.pins.get(node_id)
        return pin.name if pin else None

    def quarantined(self) -> list[Pin]:
        """Return the keys that came after a pinned one, oldest first."""
        return list(self._file.quarantine)

    def _read(self) -> _File:
        try:
            file = msgspec.json.decode(self._path.read_bytes(), type=_File)
            for pin in file.pins.values():
                unb64u(pin.public_key, _KEY_BYTES)
        except FileNotFoundError:
            return _File()
        except OSError as error:
            raise self._unusable(f"cannot be read: {error.strerror}") from error
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise self._unusable(f"is garbled: {error}") from error
        return file

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        lock = self._path.with_name(f".{self._path.name}.lock")
        try:
            lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                yield
            finally:
                os.close(handle)
        except OSError as error:
            raise self._unusable(f"cannot be written: {error.strerror}") from error

    def _unusable(self, what: str) -> StoreError:
        return StoreError(
            f"the file of trusted keys {what}",
            where=str(self._path),
            fix="restore it from a backup; moving it away forgets every pinned key",
        )


def _is_known(file: _File, seen: Pin) -> bool:
    pin = file.pins.get(seen.node_id)
    return pin is not None and (pin.public_key, pin.name) == (seen.public_key, seen.name)


def _place(file: _File, seen: Pin) -> PinResult:
    """Enter ``seen`` where it belongs."""
    pin = file.pins.get(seen.node_id)
    if pin is None:
        file.pins[seen.node_id] = seen
        return PinResult.FIRST
    if pin.public_key == seen.public_key:
        file.pins[seen.node_id] = msgspec.structs.replace(pin, name=seen.name)
        return PinResult.SAME
    _quarantine(file, seen)
    return PinResult.CHANGED


def _quarantine(file: _File, seen: Pin) -> None:
    """Keep ``seen`` apart, each key of a node once, and no more than the bound in all."""
    held = {(pin.node_id, pin.public_key) for pin in file.quarantine}
    if (seen.node_id, seen.public_key) not in held:
        file.quarantine.append(seen)
        # The oldest stay: they are the first sign of a change, and a flood must not wash them out.
        del file.quarantine[MAX_QUARANTINED:]
