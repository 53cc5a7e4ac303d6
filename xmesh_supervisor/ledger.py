"""supervisor.db: what should run and what was last seen, outliving the supervisor itself.

No key and no secret is ever written here. Values of a peer that is known are one row of
``peers``; every kill stays in ``kills``.
"""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from xmesh_mesh.errors import StoreError
from xmesh_mesh.tombstones import Tombstone
from xmesh_supervisor.lifecycle import Desired, State

__all__ = ["Ledger", "Row", "recorded"]

_VERSION = 1
_SCHEMA = """
CREATE TABLE peers (
  name TEXT PRIMARY KEY, position INTEGER NOT NULL, spec TEXT NOT NULL, desired TEXT NOT NULL,
  run TEXT NOT NULL, state TEXT NOT NULL, pid INTEGER NOT NULL DEFAULT 0,
  started REAL NOT NULL DEFAULT 0, since_ms INTEGER NOT NULL DEFAULT 0,
  restarts INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',
  last_exit TEXT NOT NULL DEFAULT '') STRICT;
CREATE TABLE kills (
  id TEXT NOT NULL, name TEXT NOT NULL, who TEXT NOT NULL, why TEXT NOT NULL,
  at_ms INTEGER NOT NULL, PRIMARY KEY (id, name)) STRICT, WITHOUT ROWID;
"""
_READ = """
SELECT name, spec, desired, run, state, pid, started, since_ms, restarts, reason, last_exit
FROM peers ORDER BY position
"""
_SAVE = """
INSERT INTO peers (name, spec, desired, run, state, pid, started, since_ms, restarts, reason,
  last_exit, position)
VALUES (?,?,?,?,?,?,?,?,?,?,?, (SELECT coalesce(max(position), 0) + 1 FROM peers))
ON CONFLICT (name) DO UPDATE SET spec = excluded.spec, desired = excluded.desired,
  run = excluded.run, state = excluded.state, pid = excluded.pid, started = excluded.started,
  since_ms = excluded.since_ms, restarts = excluded.restarts, reason = excluded.reason,
  last_exit = excluded.last_exit
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A peer as last recorded; ``spec`` is JSON, ``since_ms`` the wall time of the last change."""

    name: str
    spec: str
    desired: Desired
    run: str
    state: State
    pid: int = 0
    started: float = 0.0
    since_ms: int = 0
    restarts: int = 0
    reason: str = ""
    last_exit: str = ""

    @property
    def resting(self) -> State:
        """Return its state without a process: what a dead supervisor's peer is in."""
        kept = {State.PARKED, State.FINAL, State.KILLED}
        return self.state if self.state in kept else State.STOPPED


class Ledger:
    """The supervisor's own handle; it is the only writer. Raises StoreError where it cannot be."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=2.0)
            self._open()
        except sqlite3.Error as error:
            raise _broken(path, error) from error

    def _open(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
        elif version != _VERSION:
            self._db.close()
            raise sqlite3.DatabaseError(f"it has version {version}, this xmesh writes {_VERSION}")
        self._path.chmod(0o600)

    def close(self) -> None:
        self._db.close()

    def rows(self) -> list[Row]:
        """Return all peers in the order in which they were named."""
        return _rows(self._db)

    def save(self, row: Row) -> None:
        """Write one peer's row; a new one comes last."""
        values = (
            *(row.name, row.spec, row.desired, row.run, row.state, row.pid, row.started),
            *(row.since_ms, row.restarts, row.reason, row.last_exit),
        )
        self._write(_SAVE, values)

    def forget(self, name: str) -> None:
        self._write("DELETE FROM peers WHERE name = ?", (name,))

    def killed(self, name: str, stone: Tombstone) -> None:
        """Keep who killed a peer, why and when; the same tombstone counts once."""
        self._write(
            "INSERT OR IGNORE INTO kills (id, name, who, why, at_ms) VALUES (?,?,?,?,?)",
            (stone.id, name, stone.who, stone.why, stone.at_ms),
        )

    def kills(self) -> list[tuple[str, Tombstone]]:
        """Return every kill ever recorded, oldest first."""
        found = self._db.execute("SELECT name, id, who, why, at_ms FROM kills ORDER BY at_ms")
        return [(name, Tombstone(*rest)) for name, *rest in found]

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        try:
            self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise _broken(self._path, error) from error


def recorded(path: Path) -> list[Row]:
    """Return what a supervisor last wrote, without being one; empty where none ever ran."""
    if not path.exists():
        return []
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0)
        try:
            return _rows(db)
        finally:
            db.close()
    except (sqlite3.Error, ValueError) as error:
        raise _broken(path, error) from error


def _rows(db: sqlite3.Connection) -> list[Row]:
    found = db.execute(_READ)
    return [
        Row(name, spec, Desired(desired), run, State(state), *rest)
        for name, spec, desired, run, state, *rest in found
    ]


def _broken(path: Path, error: Exception) -> StoreError:
    return StoreError(
        f"the supervisor's record cannot be used: {error}",
        where=str(path),
        fix=f"move it away (mv {path} {path}.broken) and run xmesh-sup up with your files again",
    )
