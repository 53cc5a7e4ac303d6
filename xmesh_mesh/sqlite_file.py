"""One SQLite file and its ways to fail: what every durable store here stands on."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from xmesh_mesh.errors import StoreError

_PATIENCE_MS = 5_000


class SqliteFile:
    """A file in WAL mode whose commits are synced. Every method may raise StoreError."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._db = connection
        self._path = path

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is stored whole or not at all; nested uses join the outer one."""
        if self._db.in_transaction:
            yield
            return
        with explained(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    def _roll_back(self) -> None:
        """Undo; a full disk may have made SQLite do so already."""
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _run(self, sql: str, *values: Any) -> sqlite3.Cursor:
        with explained(self._path):
            return self._db.execute(sql, values)

    def _one(self, sql: str, *values: Any) -> Any:
        return self._run(sql, *values).fetchone()

    def _all(self, sql: str, *values: Any) -> list[Any]:
        return self._run(sql, *values).fetchall()


def open_file(
    path: Path, schema: str, version: int, upgrades: Mapping[int, str] = MappingProxyType({})
) -> sqlite3.Connection:
    """Open for writing, creating the file (0600) with ``schema`` where there is none.

    ``upgrades`` are statements that make the next version of a file out of the one they stand at.
    """
    with explained(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        with _closed_on_error(db):
            db.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
            db.execute("BEGIN IMMEDIATE")
            if _version_of(db) == 0:
                _create(db, schema, version)
            while (found := _version_of(db)) in upgrades and found < version:
                _create(db, upgrades[found], found + 1)
            db.execute("COMMIT")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            _check_version(_version_of(db), version, path)
    return db


def open_readonly(path: Path, version: int) -> sqlite3.Connection:
    """Open somebody's file to look at it."""
    with explained(path):
        uri = f"{path.absolute().as_uri()}?mode=ro"
        db = sqlite3.connect(uri, uri=True, isolation_level=None)
        with _closed_on_error(db):
            db.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
            _check_version(_version_of(db), version, path)
    return db


def _create(db: sqlite3.Connection, schema: str, version: int) -> None:
    """Inside the caller's transaction, so that one of two processes at once does it."""
    for statement in schema.split(";"):
        db.execute(statement)
    db.execute(f"PRAGMA user_version = {version}")


def _version_of(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


@contextmanager
def _closed_on_error(db: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        db.close()
        raise


def _check_version(found: int, wanted: int, path: Path) -> None:
    if found != wanted:
        raise StoreError(
            f"this file has schema {found}, this xmesh reads {wanted}",
            where=str(path),
            fix="use the xmesh that wrote it, or move the file away to begin anew",
        )


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(
            f"the file cannot be used: {error}",
            where=str(path),
            fix="check free disk space and the file's owner and mode",
        ) from error
    except OSError as error:
        raise StoreError(f"the file cannot be opened: {error}", where=str(path)) from error
