"""What the bus has accepted, on disk: records, the ids already known, members and their cursors.

SQLite in WAL mode with ``synchronous=FULL``: what ``batch`` has left without an error survives the
process, the system and the power. One journal has one epoch; its sequence numbers never repeat.
"""

import contextlib
import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from xmesh_mesh.bus.retention import RETENTION, Cut, Retention
from xmesh_mesh.errors import StoreError
from xmesh_mesh.introduction import Introduction
from xmesh_mesh.paths import sync_directory

__all__ = ["Entry", "Journal", "JournalDamaged", "JournalUnavailable", "Member", "open_journal"]

_LAYOUT = 2
_SCHEMA = """
CREATE TABLE journal (epoch TEXT NOT NULL, cut INTEGER NOT NULL);
CREATE TABLE records (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, grp TEXT NOT NULL, author TEXT NOT NULL, recipient TEXT,
    accepted_ms INTEGER NOT NULL, assertion TEXT NOT NULL, record BLOB NOT NULL,
    history INTEGER NOT NULL DEFAULT 0);
CREATE INDEX by_group ON records (grp, seq, author, recipient);
CREATE TABLE ids (
    author TEXT NOT NULL, assertion TEXT NOT NULL, seq INTEGER NOT NULL,
    accepted_ms INTEGER NOT NULL, PRIMARY KEY (author, assertion)) WITHOUT ROWID;
CREATE INDEX ids_by_age ON ids (accepted_ms);
CREATE TABLE members (
    node_id TEXT PRIMARY KEY, grp TEXT NOT NULL, name TEXT NOT NULL, joined INTEGER NOT NULL,
    cursor INTEGER NOT NULL, own INTEGER NOT NULL, lost INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE removed (node_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE introductions (
    grp TEXT NOT NULL, node_id TEXT NOT NULL, introduction BLOB NOT NULL,
    PRIMARY KEY (grp, node_id)) WITHOUT ROWID;
"""
# From each older layout to the next one; what is there stays as it is.
_STEPS = {1: "ALTER TABLE records ADD COLUMN history INTEGER NOT NULL DEFAULT 0;"}
# Records in a member's group after its cursor that are meant for it.
_RELEVANT = (
    "FROM records WHERE grp = ? AND seq > ? AND seq <= ?"
    " AND (recipient IS NULL OR recipient = ?) AND (? OR author != ?)"
)
_COLUMNS = "grp, author, recipient, accepted_ms, assertion, record, history"
# Not a word of SQL was wrong, so these say that the file is not what we wrote.
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})
_LOCK_WAIT_S = 0.1
_WAL_BYTES = 16_777_216


class JournalUnavailable(StoreError):  # noqa: N818 - a state of the world, named as one
    """The journal cannot be written now (a full disk, say); nothing of the batch was kept."""


class JournalDamaged(StoreError):  # noqa: N818 - a state of the world, named as one
    """The file is not the journal that we wrote, or is gone; no retry will help."""


@dataclass(frozen=True, slots=True)
class Entry:
    seq: int
    author: str
    to: str | None
    accepted_ms: int
    assertion: str
    record: bytes
    history: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """A living member. ``lost`` counts what retention cut before it was acknowledged."""

    node_id: str
    group: str
    name: str
    joined: int
    cursor: int
    own: bool = False
    lost: int = 0


class Journal:
    """One open journal. Every method may raise JournalUnavailable or JournalDamaged."""

    def __init__(self, connection: sqlite3.Connection, path: Path | None = None) -> None:
        self._connection = connection
        self._path = path
        self._inodes: dict[Path, int] = {}
        with _told_apart():
            self._prepare()
            self.epoch = str(self._value("SELECT epoch FROM journal"))
        self.head = self._read_head()
        self._remember_files()

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        layout = int(self._value("PRAGMA user_version") or 0)
        while layout in _STEPS:
            step = f"BEGIN IMMEDIATE; {_STEPS[layout]} PRAGMA user_version = {layout + 1}; COMMIT;"
            self._connection.executescript(step)
            layout += 1
        if layout == _LAYOUT:
            return
        if layout != 0 or self._value("SELECT count(*) FROM sqlite_schema"):
            raise JournalDamaged(f"the journal's layout is {layout}, not {_LAYOUT}")
        create = f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_LAYOUT};"
        insert = f"INSERT INTO journal VALUES ('{secrets.token_hex(8)}', 0); COMMIT;"  # noqa: S608
        self._connection.executescript(create + insert)

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """One transaction: left without an error, everything in it is on disk."""
        self._check_files()
        try:
            with _told_apart():
                self._connection.execute("BEGIN IMMEDIATE")
                yield
                self._connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        self.head = self._read_head()
        self._remember_files()

    def known(self, author: str, assertion: str) -> int | None:
        """Return the seq under which the author's record was accepted before."""
        select = "SELECT seq FROM ids WHERE author = ? AND assertion = ?"
        seq = self._value(select, author, assertion)
        return None if seq is None else int(seq)

    def append(self, group: str, draft: Entry) -> Entry:
        """Within a batch: write a record that is not ``known`` yet; return it with its seq."""
        row = (draft.author, draft.to, draft.accepted_ms, draft.assertion, draft.record)
        insert = f"INSERT INTO records ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
        values = (group, *row, draft.history)
        seq = self._connection.execute(insert, values).lastrowid
        assert seq is not None
        self._connection.execute(
            "INSERT INTO ids VALUES (?, ?, ?, ?)",
            (draft.author, draft.assertion, seq, draft.accepted_ms),
        )
        return replace(draft, seq=seq)

    def after(self, group: str, seq: int, limit: int) -> list[Entry]:
        """Return the group's next records after ``seq``, in order."""
        rows = self._rows(
            "SELECT seq, author, recipient, accepted_ms, assertion, record, history FROM records"
            " WHERE grp = ? AND seq > ? ORDER BY seq LIMIT ?",
            *(group, seq, limit),
        )
        return [replace(Entry(*row), history=bool(row[6])) for row in rows]

    def join(self, member: Member) -> None:
        self._connection.execute("DELETE FROM removed WHERE node_id = ?", (member.node_id,))
        row = (member.node_id, member.group, member.name, member.joined, member.cursor)
        self._connection.execute(
            "INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*row, member.own, member.lost),
        )

    def move_cursors(self, cursors: Iterable[tuple[str, int]]) -> None:
        """Write (node, cursor) pairs; a node that is no living member is passed over."""
        rows = [(seq, node_id) for node_id, seq in cursors]
        self._connection.executemany("UPDATE members SET cursor = ? WHERE node_id = ?", rows)

    def remove(self, node_id: str) -> None:
        self._connection.execute("DELETE FROM members WHERE node_id = ?", (node_id,))
        self._connection.execute("INSERT OR IGNORE INTO removed VALUES (?)", (node_id,))

    def removed(self) -> set[str]:
        """Return the nodes that an operator has removed, and that have not joined since."""
        return {node_id for (node_id,) in self._rows("SELECT node_id FROM removed")}

    def members(self) -> list[Member]:
        rows = self._rows("SELECT node_id, grp, name, joined, cursor, own, lost FROM members")
        return [
            Member(node_id, group, name, joined, cursor, bool(own), lost)
            for node_id, group, name, joined, cursor, own, lost in rows
        ]

    def pending(self, member: Member) -> int:
        """Return how many records after its cursor are meant for the member."""
        return self._relevant(member, self.head)

    def introduce(self, introduction: Introduction) -> None:
        data = msgspec.msgpack.encode(introduction)
        self._connection.execute(
            "INSERT OR REPLACE INTO introductions VALUES (?, ?, ?)",
            (introduction.group, introduction.node_id, data),
        )

    def forget(self, group: str, node_id: str) -> None:
        """Within a batch: take an introduction back."""
        delete = "DELETE FROM introductions WHERE grp = ? AND node_id = ?"
        self._connection.execute(delete, (group, node_id))

    def introductions(self) -> list[Introduction]:
        rows = self._rows("SELECT introduction FROM introductions ORDER BY grp, node_id")
        try:
            return [msgspec.msgpack.decode(row[0], type=Introduction) for row in rows]
        except msgspec.MsgspecError as error:
            raise JournalDamaged(f"an introduction in the journal is garbled: {error}") from error

    def records(self) -> int:
        return int(self._read("SELECT count(*) FROM records") or 0)

    def cut_count(self) -> int:
        """Return how many deliveries retention has taken from members since this epoch began."""
        return int(self._read("SELECT cut FROM journal") or 0)

    def prune(self, now_ms: int, retention: Retention = RETENTION) -> Cut:
        """Within a batch: delete one step of what is past its bounds, count what that took."""
        upto = retention.upto(self._read, now_ms)
        taken = {} if not upto else self._take_from_members(upto)
        deleted = self._connection.execute("DELETE FROM records WHERE seq <= ?", (upto,)).rowcount
        self._connection.execute("UPDATE journal SET cut = cut + ?", (sum(taken.values()),))
        old_ids = retention.forgotten(self._read, now_ms)
        self._connection.execute("DELETE FROM ids WHERE accepted_ms < ?", (old_ids,))
        return Cut(upto, deleted, taken)

    def _take_from_members(self, upto: int) -> dict[str, int]:
        behind = [member for member in self.members() if member.cursor < upto]
        taken = {member.node_id: self._relevant(member, upto) for member in behind}
        self._connection.executemany(
            "UPDATE members SET cursor = ?, lost = lost + ? WHERE node_id = ?",
            [(upto, lost, node_id) for node_id, lost in taken.items()],
        )
        return {node_id: lost for node_id, lost in taken.items() if lost}

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def _relevant(self, member: Member, upto: int) -> int:
        where = (member.group, member.cursor, upto, member.node_id, member.own, member.node_id)
        return int(self._read(f"SELECT count(*) {_RELEVANT}", *where) or 0)

    def _read_head(self) -> int:
        return int(self._read("SELECT seq FROM sqlite_sequence WHERE name = 'records'") or 0)

    def _value(self, sql: str, *values: object) -> int | str | None:
        row = self._connection.execute(sql, values).fetchone()
        return None if row is None else row[0]

    def _read(self, sql: str, *values: object) -> int | str | None:
        with _told_apart():
            return self._value(sql, *values)

    def _rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with _told_apart():
            return self._connection.execute(sql, values).fetchall()

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def _check_files(self) -> None:
        """A deleted database is still writable for us, and gone with us: notice it first."""
        for path, inode in self._inodes.items():
            if _inode(path) != inode:
                raise JournalDamaged(f"{path.name} was deleted or replaced under the running bus")

    def _remember_files(self) -> None:
        if self._path is None or len(self._inodes) == 2:
            return
        paths = (self._path, self._path.with_name(self._path.name + "-wal"))
        self._inodes = {path: inode for path in paths if (inode := _inode(path))}


def open_journal(path: Path, now_ms: int) -> tuple[Journal, Path | None]:
    """Open or make the journal. One that cannot be read is set aside, and its new path returned."""
    try:
        return _open(path), None
    except JournalDamaged:
        aside = _set_aside(path, now_ms)
        return _open(path), aside


def _open(path: Path) -> Journal:
    path.touch(mode=0o600)
    with _told_apart():
        connection = sqlite3.connect(path, timeout=_LOCK_WAIT_S, isolation_level=None)
    try:
        return Journal(connection, path)
    except BaseException:
        connection.close()
        raise


def _set_aside(path: Path, now_ms: int) -> Path:
    aside = path.with_name(f"{path.name}.damaged-{now_ms}")
    for suffix in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    sync_directory(path.parent)
    return aside


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


@contextlib.contextmanager
def _told_apart() -> Iterator[None]:
    """Turn SQLite's errors into ours: what may pass, and what will not."""
    try:
        yield
    except sqlite3.Error as error:
        # The low byte is the class of the error; a closed connection has no code.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        kind = JournalDamaged if code in _DAMAGE else JournalUnavailable
        raise kind(f"the journal: {error}") from error
