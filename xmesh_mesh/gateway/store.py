"""What the gateway must not forget: what local peers have said, and how far each remote has it.

The file (0600) also holds each endpoint's X25519 key: deployed nodes go on sealing under the one
they know, so a new key at each start would lose what they say meanwhile. No signing key is here.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Self

from xmesh_mesh.sqlite_file import SqliteFile, open_file

__all__ = ["FORGET_MS", "KEEP_MS", "KEEP_RECORDS", "Outgoing", "Pair", "Position", "Store"]

KEEP_RECORDS: Final = 10_000  # of a group
KEEP_MS: Final = 7 * 24 * 3_600_000
FORGET_MS: Final = 4 * KEEP_MS  # a remote that was away so long is met anew
_VERSION: Final = 2
_SCHEMA: Final = """
CREATE TABLE outgoing (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    grp TEXT NOT NULL, author TEXT NOT NULL, recipient TEXT, assertion TEXT NOT NULL,
    key TEXT NOT NULL, record BLOB NOT NULL, at_ms INTEGER NOT NULL, introduction BLOB,
    UNIQUE (author, assertion)
);
CREATE INDEX outgoing_by_author ON outgoing (author, seq);
CREATE INDEX outgoing_by_key ON outgoing (author, key);
CREATE INDEX outgoing_of_operators ON outgoing (grp, seq) WHERE introduction IS NOT NULL;
CREATE TABLE position (grp TEXT PRIMARY KEY, epoch TEXT NOT NULL, seq INTEGER NOT NULL);
CREATE TABLE cursor (
    local TEXT NOT NULL, remote TEXT NOT NULL, seq INTEGER NOT NULL, seen_ms INTEGER NOT NULL,
    PRIMARY KEY (local, remote)
);
CREATE TABLE login (node_id TEXT, url TEXT, PRIMARY KEY (node_id, url));
CREATE TABLE sealing (node_id TEXT PRIMARY KEY, private BLOB NOT NULL)
"""

# A pair comes first in each: what the remote may hear of the local peer in its group; and what it
# may hear of the operators of this host.
_AFTER: Final = """
SELECT seq, grp, author, recipient, assertion, key, record, at_ms, introduction FROM outgoing
WHERE grp = ? AND author = ? AND ifnull(recipient, '') IN ('', ?) AND seq > ?
ORDER BY seq LIMIT ?
"""
_OPERATORS_AFTER: Final = """
SELECT seq, grp, author, recipient, assertion, key, record, at_ms, introduction FROM outgoing
WHERE grp = ? AND introduction IS NOT NULL AND ifnull(recipient, '') IN ('', ?) AND seq > ?
ORDER BY seq LIMIT ?
"""
_WAITING: Final = """
SELECT count(*) FROM outgoing
WHERE grp = ? AND author = ? AND ifnull(recipient, '') IN ('', ?) AND seq > ?
"""
_OPERATORS_WAITING: Final = """
SELECT count(*) FROM outgoing
WHERE grp = ? AND introduction IS NOT NULL AND ifnull(recipient, '') IN ('', ?) AND seq > ?
"""
_BY_KEY: Final = """
SELECT seq, grp, author, recipient, assertion, key, record, at_ms, introduction FROM outgoing
WHERE grp = ? AND author = ? AND ifnull(recipient, '') IN ('', ?) AND key = ?
ORDER BY seq DESC LIMIT 1
"""

Position = tuple[str, int]


class Pair(NamedTuple):
    """One local peer and one remote node."""

    group: str
    local: str
    remote: str


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record of a local peer; ``seq`` is this store's own order.

    ``introduction`` (``gateway.operators``) is there where the author is an operator of this host,
    who has no link of its own.
    """

    seq: int
    group: str
    author: str
    recipient: str | None
    assertion: str
    key: str
    record: bytes
    at_ms: int
    introduction: bytes | None = None


class Store(SqliteFile):
    """Everything is durable when a method returns. StoreError where the file cannot be used."""

    @classmethod
    def open(cls, path: Path) -> Self:
        return cls(open_file(path, _SCHEMA, _VERSION), path)

    # What local peers say

    def position(self, group: str) -> Position | None:
        """Return how far the group's journal was read: its epoch, and a seq in it."""
        row = self._one("SELECT epoch, seq FROM position WHERE grp = ?", group)
        return (row[0], row[1]) if row else None

    def advance(self, group: str, position: Position, said: Iterable[Outgoing] = ()) -> None:
        """Keep what was said and note how far the journal was read, both or neither."""
        with self.transaction():
            for each in said:
                self._run(
                    "INSERT INTO outgoing"
                    " (grp, author, recipient, assertion, key, record, at_ms, introduction)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (author, assertion) DO NOTHING",
                    *(each.group, each.author, each.recipient, each.assertion, each.key),
                    *(each.record, each.at_ms, each.introduction),
                )
            self._run("INSERT OR REPLACE INTO position VALUES (?, ?, ?)", group, *position)

    def head(self) -> int:
        """Return the newest seq there ever was; 0 at the beginning."""
        row = self._one("SELECT seq FROM sqlite_sequence WHERE name = 'outgoing'")
        return int(row[0]) if row else 0

    def after(self, pair: Pair, seq: int, limit: int, *, secure: bool = False) -> list[Outgoing]:
        """Return what was said after ``seq`` that the remote may hear, in order.

        By the local peer; over a ``secure`` link by the operators of this host as well.
        """
        rows = self._all(_AFTER, *pair, seq, limit)
        if secure:
            # Two reads in the order of an index each: a long backlog is not sorted for every page.
            rows += self._all(_OPERATORS_AFTER, pair.group, pair.remote, seq, limit)
        return [Outgoing(*row) for row in sorted(rows)[:limit]]

    def waiting(self, pair: Pair, seq: int, *, secure: bool = False) -> int:
        """Return how many records ``after`` would return without a limit."""
        waiting = int(self._one(_WAITING, *pair, seq)[0])
        if secure:
            waiting += int(self._one(_OPERATORS_WAITING, pair.group, pair.remote, seq)[0])
        return waiting

    def by_key(self, pair: Pair, key: str) -> Outgoing | None:
        """Return the local peer's newest record under this address that the remote may hear."""
        row = self._one(_BY_KEY, *pair, key)
        return Outgoing(*row) if row else None

    def stored(self, group: str) -> int:
        return int(self._one("SELECT count(*) FROM outgoing WHERE grp = ?", group)[0])

    def prune(self, now_ms: int) -> None:
        """Forget what is over the stated bounds: too old, too many of a group, or long away."""
        with self.transaction():
            self._run("DELETE FROM outgoing WHERE at_ms < ?", now_ms - KEEP_MS)
            self._run("DELETE FROM cursor WHERE seen_ms < ?", now_ms - FORGET_MS)
            for (group,) in self._all("SELECT DISTINCT grp FROM outgoing"):
                self._run(
                    "DELETE FROM outgoing WHERE grp = ? AND seq <= coalesce((SELECT seq FROM"
                    " outgoing WHERE grp = ? ORDER BY seq DESC LIMIT 1 OFFSET ?), 0)",
                    *(group, group, KEEP_RECORDS),
                )

    # How far remotes are

    def meet(self, pair: Pair, now_ms: int) -> tuple[int, bool]:
        """Return the remote's cursor, and whether it was ever met before by this local peer.

        One that was not begins at the head: nobody is woken, or billed, by old history.
        """
        local, remote = pair.local, pair.remote
        row = self._one("SELECT seq FROM cursor WHERE local = ? AND remote = ?", local, remote)
        if row is not None:
            self.move([(pair, int(row[0]))], now_ms)
            return int(row[0]), True
        head = self.head()
        self._run("INSERT INTO cursor VALUES (?, ?, ?, ?)", local, remote, head, now_ms)
        return head, False

    def move(self, moved: Iterable[tuple[Pair, int]], now_ms: int) -> None:
        """Set cursors."""
        with self.transaction():
            for pair, seq in moved:
                self._run(
                    "UPDATE cursor SET seq = ?, seen_ms = ? WHERE local = ? AND remote = ?",
                    *(seq, now_ms, pair.local, pair.remote),
                )

    # Relays

    def logs_in(self, node_id: str, url: str) -> None:
        """Note that a relay may hold a session of this local peer from now on."""
        self._run("INSERT OR IGNORE INTO login VALUES (?, ?)", node_id, url)

    def logged_out(self, node_id: str, url: str) -> None:
        """Note that the relay knows that the session is over."""
        self._run("DELETE FROM login WHERE node_id = ? AND url = ?", node_id, url)

    def may_be_logged_in(self, node_id: str, url: str) -> bool:
        """Return whether a session was begun there of which no proper end is known."""
        sql = "SELECT 1 FROM login WHERE node_id = ? AND url = ?"
        return self._one(sql, node_id, url) is not None

    # Keys

    def sealing_key(self, node_id: str) -> bytes:
        """Return a local peer's private X25519 key, made at the first call."""
        with self.transaction():
            row = self._one("SELECT private FROM sealing WHERE node_id = ?", node_id)
            if row is not None:
                return bytes(row[0])
            private = secrets.token_bytes(32)
            self._run("INSERT INTO sealing VALUES (?, ?)", node_id, private)
            return private
