"""The file of pins: how several processes change and watch it at once."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from xmesh_mesh.canonical import unb64u
from xmesh_mesh.errors import StoreError
from xmesh_mesh.paths import write_atomic
from xmesh_mesh.pins_book import KEY_BYTES, Book

__all__ = ["PinFile"]


class PinFile:
    """One file. StoreError where it or its directory cannot be used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, ...] | None = None
        self._book: Book | None = None

    def book(self) -> Book:
        """Return what the file says now; not to be changed."""
        stamp = self._stamp_now()
        if self._book is None or stamp != self._stamp:
            self._book, self._stamp = self._read(), stamp
        return self._book

    @contextlib.contextmanager
    def changing(self) -> Iterator[Book]:
        """Give what the file says, alone with it, and write it back as it is left."""
        with self._locked():
            book = self._read()
            yield book
            write_atomic(self._path, msgspec.json.format(msgspec.json.encode(book)))
            self._book, self._stamp = book, self._stamp_now()

    def _stamp_now(self) -> tuple[int, ...] | None:
        """Return what differs once the file is replaced, as every writer does."""
        try:
            stat = self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._unusable(f"cannot be read: {error.strerror}") from error
        return stat.st_mtime_ns, stat.st_ino, stat.st_size

    def _read(self) -> Book:
        try:
            book = msgspec.json.decode(self._path.read_bytes(), type=Book)
            for key in _keys(book):
                unb64u(key, KEY_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            return Book()
        except OSError as error:
            raise self._unusable(f"cannot be read: {error.strerror}") from error
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise self._unusable(f"is garbled: {error}") from error
        return book

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


def _keys(book: Book) -> Iterator[str]:
    yield from (pin.public_key for pin in book.pins.values())
    yield from (held.public_key for held in book.quarantine if held.public_key)
