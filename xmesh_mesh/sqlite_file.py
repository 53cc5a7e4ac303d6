"""One SQLite file and its ways to fail: what every durable store here stands on."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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


def open_file(path: Path, schema: str, version: int) -> sqlite3.Connection:
    """Open for writing, creating the file (0600) with ``schema`` where there is none."""
    with explained(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        db.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        found = db.execute("PRAGMA user_version").fetchone()[0]
        if found == 0:
            db.executescript(f"BEGIN IMMEDIATE; {schema} PRAGMA user_version = {version}; COMMIT;")
        _check_version(db, found or version, version, path)
    return db


def open_readonly(path: Path, version: int) -> sqlite3.Connection:
    """Open somebody's file to look at it."""
    with explained(path):
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
        db.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
        _check_version(db, db.execute("PRAGMA user_version").fetchone()[0], version, path)
    return db


def _check_version(db: sqlite3.Connection, found: int, wanted: int, path: Path) -> None:
    if found != wanted:
        db.close()
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
