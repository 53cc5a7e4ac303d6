"""The file under the spend ledger: one SQLite database that all peers of a host write.

It fails closed. The file is made whole or not at all, by whoever comes first; what is there and
is not a sound ledger is refused, never replaced, because an empty ledger has forgotten all that
was spent. A write waits a bounded time for its turn and then says who is in the way.
"""

import contextlib
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from xmesh_mesh.errors import LedgerBusy, StoreError
from xmesh_mesh.paths import sync_directory
from xmesh_peer.safety.lockholder import find_holder

__all__ = ["WAIT_S", "SpendDb"]

WAIT_S = 2.0
APPLICATION_ID = 0x786D7370
SCHEMA_VERSION = 1

_SCHEMA = f"""
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
BEGIN IMMEDIATE;
CREATE TABLE clock (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    boot TEXT NOT NULL,
    up_ms INTEGER NOT NULL,
    ledger_ms INTEGER NOT NULL
);
CREATE TABLE wakes (
    peer TEXT NOT NULL,
    wake TEXT NOT NULL,
    run TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL,
    PRIMARY KEY (peer, wake)
);
CREATE INDEX wakes_by_time ON wakes (peer, at_ms);
CREATE TABLE calls (
    id INTEGER PRIMARY KEY,
    peer TEXT NOT NULL,
    call TEXT NOT NULL,
    wake TEXT NOT NULL,
    run TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL,
    reserved_nano INTEGER NOT NULL CHECK (reserved_nano >= 0),
    settled_nano INTEGER CHECK (settled_nano >= 0),
    counted_nano INTEGER NOT NULL CHECK (counted_nano = coalesce(settled_nano, reserved_nano))
);
CREATE INDEX calls_by_time ON calls (peer, at_ms, counted_nano);
CREATE INDEX calls_by_run ON calls (peer, run, counted_nano);
CREATE INDEX calls_by_name ON calls (peer, call);
CREATE INDEX calls_open ON calls (peer) WHERE settled_nano IS NULL;
CREATE TABLE warnings (
    peer TEXT NOT NULL,
    key TEXT NOT NULL,
    run TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (peer, key, run)
);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_BROKEN = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_FIX_BROKEN = (
    "stop the peers, then restore the file from a backup, or move it away to begin at nothing spent"
)
_FIX_WRITE = "free space on its disk, and check that you may write the file and its directory"


class SpendDb:
    """An open spend.db. Any thread may use it; transactions take turns."""

    def __init__(self, path: Path, connection: sqlite3.Connection, wait_s: float) -> None:
        self.path = path
        self._connection = connection
        self._wait_s = wait_s
        self._turn = threading.Lock()
        self._inode = path.stat().st_ino

    @classmethod
    def open(cls, path: Path, *, readonly: bool = False, wait_s: float = WAIT_S) -> Self:
        """Open the ledger at ``path``, made first where there is none (unless ``readonly``).

        StoreError where it is damaged, foreign or out of reach; LedgerBusy.
        """
        with _explained(path, wait_s):
            if not readonly:
                _ensure(path)
            mode = "ro" if readonly else "rw"
            connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={mode}",
                uri=True,
                timeout=wait_s,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                _check(path, connection)
                return cls(path, connection, wait_s)
            except BaseException:
                connection.close()
                raise

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction that nobody else's can come between; synced when it ends well."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view."""
        with self._transaction("BEGIN") as connection:
            yield connection

    def close(self) -> None:
        """Close; further use is an error."""
        self._connection.close()

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with _explained(self.path, self._wait_s), self._in_turn():
            self._connection.execute(begin)
            try:
                self._check_in_place()
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _in_turn(self) -> Iterator[None]:
        if not self._turn.acquire(timeout=self._wait_s):
            raise _busy(self.path, self._wait_s)
        try:
            yield
        finally:
            self._turn.release()

    def _check_in_place(self) -> None:
        """Refuse to write into a file that nobody else sees any more."""
        if self.path.stat().st_ino != self._inode:
            raise StoreError(
                "the spend ledger was replaced while it was in use",
                where=str(self.path),
                fix="stop the peers, put the ledger back that they began with, start them again",
            )


def _ensure(path: Path) -> None:
    orphan = Path(f"{path}-wal").exists()
    if path.exists():
        return
    if orphan:
        raise StoreError(
            "the spend ledger is gone, but its -wal file is there", where=str(path), fix=_FIX_BROKEN
        )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        _build(temporary)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
        sync_directory(path.parent)
    finally:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{temporary}{suffix}").unlink(missing_ok=True)


def _build(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(_SCHEMA)


def _check(path: Path, connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA synchronous = FULL")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise StoreError("this is no spend ledger", where=str(path), fix=_FIX_BROKEN)
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"the spend ledger has schema {version}, and this xmesh writes {SCHEMA_VERSION}",
            where=str(path),
            fix="use the version of xmesh that wrote it",
        )
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise StoreError(
            f"the spend ledger is damaged: {verdict}", where=str(path), fix=_FIX_BROKEN
        )


@contextlib.contextmanager
def _explained(path: Path, wait_s: float) -> Iterator[None]:
    """Turn what SQLite and the system say into our errors."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _BUSY:
            raise _busy(path, wait_s) from error
        if code in _BROKEN:
            what, fix = f"the spend ledger is damaged: {error}", _FIX_BROKEN
        else:
            what, fix = f"the spend ledger cannot be used: {error}", _FIX_WRITE
        raise StoreError(what, where=str(path), fix=fix) from error
    except OSError as error:
        raise StoreError(
            f"the spend ledger is out of reach: {error.strerror}", where=str(path), fix=_FIX_WRITE
        ) from error


def _busy(path: Path, wait_s: float) -> LedgerBusy:
    holder = find_holder(path)
    busy = LedgerBusy(
        f"the spend ledger was locked for {wait_s:g} s, by {holder}; nothing was written",
        holder=holder,
    )
    busy.where = str(path)
    busy.fix = "wait for that process or end it; without a name: lsof on the file"
    return busy
