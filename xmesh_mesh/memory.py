"""What one node remembers: every verified record and its verdict, its wakes, what is yet to send.

One SQLite file per node. Whatever belongs together is one transaction: a received record with
its verdict, its wake and the bus position; a finished wake with the model's answer, the record
that came of it and its place in the outbox. Retention takes the words of old records, never
their place in lineage, and never their identity, so that nothing is taken in twice.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from xmesh_mesh.errors import StoreError
from xmesh_mesh.memory_admission import AdmissionMemory
from xmesh_mesh.memory_rows import (
    SCHEMA,
    SCHEMA_VERSION,
    SELECT_REMEMBERED,
    UPGRADES,
    Answer,
    Held,
    Judged,
    Outgoing,
    Remembered,
    Wake,
    remembered,
)
from xmesh_mesh.record import Record, decode, encode
from xmesh_mesh.sqlite_file import open_file, open_readonly

__all__ = ["Answer", "Held", "Judged", "Memory", "Outgoing", "Remembered", "Wake"]

# So many records keep their words; older ones keep identity, author and parents only.
KEEP_WORDS = 100_000
_PRUNE_EVERY = 1_000

MAX_QUEUED_WAKES = 64


class Memory(AdmissionMemory):
    """The store of one node. One process writes; any process of the same user may read.

    Every method raises StoreError where the file cannot be read or written.
    """

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open for writing, creating the file where there is none."""
        return cls(open_file(path, SCHEMA, SCHEMA_VERSION, UPGRADES), path)

    @classmethod
    def open_readonly(cls, path: Path) -> Self:
        """Open somebody's memory to look at it; StoreError where there is none yet."""
        if not path.exists():
            raise StoreError(f"{path.parent.name} has no memory yet", where=str(path))
        return cls(open_readonly(path, SCHEMA_VERSION), path)

    # What comes in

    def knows(self, assertion: str) -> bool:
        """Return whether this very emit has been taken in before."""
        return self._one("SELECT 1 FROM records WHERE assertion = ?", assertion) is not None

    def position(self) -> tuple[str, int] | None:
        """Return (bus epoch, sequence) up to which everything is stored, or None."""
        value = self.meta("position")
        if value is None:
            return None
        epoch, seq = json.loads(value)
        return str(epoch), int(seq)

    def advance(self, epoch: str, seq: int) -> None:
        """Note that everything up to ``seq`` of this bus epoch has been dealt with."""
        self.set_meta("position", json.dumps([epoch, seq]))

    def remember(
        self,
        record: Record,
        assertion: str,
        judged: Judged,
        *,
        wire: bytes,
        seq: int,
        now_ms: int,
        wakes: bool,
    ) -> Wake | None:
        """Store one verified record with its verdict; return the wake that it causes, if any.

        ``wire`` is the record as it came. Inside ``transaction``, together with ``advance``.
        """
        thread = self._thread_for(record)
        n = self._insert_record(record, assertion, judged, thread, wire, seq, now_ms)
        if judged.judgement is not None:
            self.note_judgement(assertion, judged.judgement, now_ms)
        if not wakes:
            return None
        self._db.execute(
            "INSERT INTO wakes(assertion, n, thread, directed, state, queued_ms)"
            " VALUES (?, ?, ?, ?, 'queued', ?)",
            (assertion, n, thread, judged.directed, now_ms),
        )
        self._drop_overflow(now_ms)
        state = self._one("SELECT state FROM wakes WHERE assertion = ?", assertion)[0]
        return Wake(assertion, thread, judged.directed, state, now_ms)

    def _drop_overflow(self, now_ms: int) -> None:
        """Past the bound one wake gives way; its record stays remembered.

        The oldest undirected one; the oldest of all where every one is directed.
        """
        queued = self._one("SELECT count(*) FROM wakes WHERE state = 'queued'")[0]
        if queued > MAX_QUEUED_WAKES:
            self._db.execute(
                "UPDATE wakes SET state = 'dropped', outcome = 'overflow', done_ms = ?,"
                " detail = 'more than ' || ? || ' wakes were waiting'"
                " WHERE assertion = (SELECT assertion FROM wakes WHERE state = 'queued'"
                " ORDER BY directed, n LIMIT 1)",
                (now_ms, MAX_QUEUED_WAKES),
            )

    def _insert_record(
        self,
        record: Record,
        assertion: str,
        judged: Judged,
        thread: str,
        wire: bytes,
        seq: int,
        now_ms: int,
    ) -> int:
        row = self._db.execute(
            "INSERT INTO records(assertion, key, author, created_by, created_ms, received_ms, seq,"
            " own, directed, admitted, thread, verdict, drift, reasons, fields, mood, wire)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING n",
            (
                assertion, record.key, judged.author, record.created_by, record.created_ms, now_ms,
                seq, judged.own, judged.directed, judged.admitted, thread, judged.verdict,
                judged.drift, json.dumps(judged.reasons), judged.fields, judged.mood, wire,
            ),
        ).fetchone()  # fmt: skip
        n = int(row[0])
        self._db.executemany(
            "INSERT OR IGNORE INTO parents(child, parent) VALUES (?, ?)",
            [(record.key, parent) for parent in record.all_parents() if parent != record.key],
        )
        body = "\n".join(record.spoken().values())
        self._db.execute("INSERT INTO words(rowid, body) VALUES (?, ?)", (n, body))
        if n % _PRUNE_EVERY == 0:
            self.prune()
            self.prune_judged()
        return n

    def _thread_for(self, record: Record) -> str:
        """Return the thread of the first parent that is known, else the record begins one."""
        for parent in record.all_parents():
            row = self._one("SELECT thread FROM records WHERE key = ? ORDER BY n LIMIT 1", parent)
            if row is not None:
                return str(row[0])
        return min(record.all_parents(), default=record.key)

    # Wakes, and what comes of them

    def next_wake(self) -> Wake | None:
        """Return the wake to act on: one that a crash interrupted first, else the oldest."""
        row = self._one(
            "SELECT assertion, thread, directed, state, queued_ms FROM wakes"
            " WHERE state IN ('queued', 'running') ORDER BY state = 'queued', n LIMIT 1"
        )
        return Wake(row[0], row[1], bool(row[2]), row[3], row[4]) if row else None

    def begin_wake(self, assertion: str) -> None:
        self._run("UPDATE wakes SET state = 'running' WHERE assertion = ?", assertion)

    def finish_wake(
        self,
        assertion: str,
        outcome: str,
        detail: str,
        *,
        now_ms: int,
        answer: Answer | None = None,
        emitted: str | None = None,
    ) -> None:
        """End a wake with its outcome, and store the model's answer where there was one.

        With an answer, inside ``transaction``.
        """
        self._run(
            "UPDATE wakes SET state = 'done', outcome = ?, detail = ?, emitted = ?, done_ms = ?"
            " WHERE assertion = ?",
            outcome, detail, emitted, now_ms, assertion,
        )  # fmt: skip
        if answer is not None:
            self._run(
                "INSERT OR REPLACE INTO answers(call, wake, cost_nano, settled, answer, at_ms)"
                " VALUES (?, ?, ?, 0, ?, ?)",
                answer.call, assertion, answer.cost_nano, answer.text, now_ms,
            )  # fmt: skip

    def drop_queued(self, detail: str, now_ms: int) -> int:
        """End every open wake without acting on it; return how many there were."""
        cursor = self._run(
            "UPDATE wakes SET state = 'dropped', outcome = 'dropped', detail = ?, done_ms = ?"
            " WHERE state IN ('queued', 'running')",
            detail, now_ms,
        )  # fmt: skip
        return cursor.rowcount

    def unsettled(self) -> list[tuple[str, int]]:
        """Return (call id, cost in nano-USD) of stored answers that the ledger may not know."""
        rows = self._all("SELECT call, cost_nano FROM answers WHERE NOT settled")
        return [(row[0], row[1]) for row in rows]

    def mark_settled(self, call: str) -> None:
        self._run("UPDATE answers SET settled = 1 WHERE call = ?", call)

    def used_in_thread(self, thread: str) -> int:
        """Return how often this node spoke in the thread, or was kept from it after a call."""
        return int(
            self._one(
                "SELECT (SELECT count(*) FROM records WHERE thread = ? AND own) +"
                " (SELECT count(*) FROM wakes WHERE thread = ?"
                "  AND outcome IN ('suppressed', 'held'))",
                thread, thread,
            )[0]
        )  # fmt: skip

    def wake_counts(self) -> dict[str, int]:
        """Return how many wakes are queued, running, done and dropped, and each outcome's count."""
        counts: dict[str, int] = {}
        for state, outcome, count in self._all(
            "SELECT state, outcome, count(*) FROM wakes GROUP BY state, outcome"
        ):
            counts[state] = counts.get(state, 0) + count
            if state == "done" and outcome is not None:
                counts[outcome] = counts.get(outcome, 0) + count
        return counts

    # What goes out

    def remember_own(
        self, record: Record, assertion: str, author: str, *, now_ms: int, send: bool = True
    ) -> None:
        """Store an own record and put it into the outbox; inside ``transaction``."""
        judged = Judged(author, True, False, True, "own", None, (), "{}", "")
        thread, wire = self._thread_for(record), encode(record)
        n = self._insert_record(record, assertion, judged, thread, wire, 0, now_ms)
        if send:
            self._db.execute(
                "INSERT INTO outbox(assertion, n, recipient, wire) VALUES (?, ?, ?, ?)",
                (assertion, n, record.to, wire),
            )

    def outbox(self) -> list[Outgoing]:
        """Return what the bus has not acknowledged yet, in the order of emission."""
        rows = self._all("SELECT assertion, recipient, wire FROM outbox ORDER BY n")
        return [Outgoing(row[0], row[1], row[2]) for row in rows]

    def sent(self, assertion: str, seq: int) -> None:
        """Note the bus's acknowledgement."""
        with self.transaction():
            self._db.execute("DELETE FROM outbox WHERE assertion = ?", (assertion,))
            self._db.execute("UPDATE records SET seq = ? WHERE assertion = ?", (seq, assertion))

    def discard_outbox(self) -> int:
        """Forget what was never acknowledged; return how many records that were."""
        return self._run("DELETE FROM outbox").rowcount

    def hold(self, record: Record, assertion: str, wake: str, hits: str, now_ms: int) -> None:
        """Keep a record back for a person; inside ``transaction``."""
        self._db.execute(
            "INSERT OR REPLACE INTO held(assertion, wake, hits, wire, at_ms)"
            " VALUES (?, ?, ?, ?, ?)",
            (assertion, wake, hits, encode(record), now_ms),
        )

    def held(self) -> list[Held]:
        rows = self._all("SELECT assertion, wake, hits, wire, at_ms FROM held ORDER BY at_ms")
        return [Held(row[0], row[1], row[2], decode(row[3]), row[4]) for row in rows]

    # Looking things up

    def record(self, ref: str) -> Remembered | None:
        """Find by content address, assertion id, or a unique prefix (8 or more hex) of either."""
        ref = ref.removeprefix("cmb-")
        if len(ref) < 8 or not all(c in "0123456789abcdef" for c in ref):
            return None
        found = self._remembered(
            "WHERE r.n IN (SELECT min(n) FROM records"
            " WHERE key BETWEEN ? AND ? OR assertion BETWEEN ? AND ? GROUP BY key LIMIT 2)",
            f"cmb-{ref}", f"cmb-{ref}g", ref, f"{ref}g",
        )  # fmt: skip
        return found[0] if len(found) == 1 else None

    def by_assertion(self, assertion: str) -> Remembered | None:
        found = self._remembered("WHERE r.assertion = ?", assertion)
        return found[0] if found else None

    def by_keys(self, keys: Sequence[str]) -> list[Remembered]:
        """Return what is known under these addresses, one record each, in the order given."""
        entries = (self._remembered("WHERE r.key = ? ORDER BY r.n LIMIT 1", key) for key in keys)
        return [found[0] for found in entries if found]

    def newest(self, limit: int, *, own: bool | None = None) -> list[Remembered]:
        """Return the newest admitted records (own ones count as such), newest first."""
        where = {None: "r.admitted", True: "r.own", False: "r.admitted AND NOT r.own"}[own]
        return self._remembered(
            f"WHERE {where} AND r.wire IS NOT NULL ORDER BY r.n DESC LIMIT ?", limit
        )

    def latest(self, limit: int) -> list[Remembered]:
        """Return the newest records whatever their verdict, newest first."""
        return self._remembered("ORDER BY r.n DESC LIMIT ?", limit)

    def in_thread(
        self, thread: str, *, newest: int = 10_000, admitted: bool = False, own: bool = False
    ) -> list[Remembered]:
        """Return the ``newest`` records of a thread (only the admitted, or own), oldest first."""
        found = self._remembered(
            "WHERE r.thread = ? AND r.admitted >= ? AND r.own >= ? ORDER BY r.n DESC LIMIT ?",
            thread, admitted, own, newest,
        )  # fmt: skip
        return found[::-1]

    def moods(self, limit: int) -> list[Remembered]:
        """Return the newest records that were rejected but whose mood was surfaced."""
        return self._remembered("WHERE r.mood != '' ORDER BY r.n DESC LIMIT ?", limit)

    def parents_of(self, key: str) -> list[str]:
        rows = self._all("SELECT parent FROM parents WHERE child = ? ORDER BY parent", key)
        return [row[0] for row in rows]

    def is_own(self, key: str) -> bool:
        return self._one("SELECT 1 FROM records WHERE key = ? AND own", key) is not None

    def recall(self, text: str, limit: int = 20) -> list[Remembered]:
        """Full-text search, best first. Every word of ``text`` must occur; no query syntax."""
        # SQLite ends a query at a NUL, and takes no half of a surrogate pair.
        plain = text.replace('"', " ").replace("\0", " ").encode(errors="ignore").decode()
        terms = [f'"{term}"' for term in plain.split()]
        if not terms:
            return []
        return self._remembered(
            "JOIN words ON words.rowid = r.n WHERE words MATCH ? ORDER BY words.rank LIMIT ?",
            " ".join(terms), limit,
        )  # fmt: skip

    def counts(self) -> dict[str, int]:
        """Return how many records there are: all, own, admitted, rejected; and outbox and held."""
        row = self._one(
            "SELECT count(*), coalesce(sum(own), 0), coalesce(sum(admitted AND NOT own), 0),"
            " coalesce(sum(NOT admitted), 0), (SELECT count(*) FROM outbox),"
            " (SELECT count(*) FROM held) FROM records"
        )
        names = ("records", "own", "admitted", "rejected", "outbox", "held")
        return dict(zip(names, row, strict=True))

    # Retention, and plumbing

    def prune(self, keep: int = KEEP_WORDS) -> int:
        """Take the words of all but the newest ``keep`` records; return how many lost them."""
        edge = self._one("SELECT n FROM records ORDER BY n DESC LIMIT 1 OFFSET ?", keep)
        if edge is None:
            return 0
        with self.transaction():
            self._run(
                "DELETE FROM words WHERE rowid IN (SELECT n FROM prunable WHERE n <= ?)", edge[0]
            )
            return self._run(
                "UPDATE records SET wire = NULL WHERE n IN (SELECT n FROM prunable WHERE n <= ?)",
                edge[0],
            ).rowcount

    def meta(self, name: str) -> str | None:
        """Return a small value that somebody stored under ``name``."""
        row = self._one("SELECT value FROM meta WHERE name = ?", name)
        return None if row is None else str(row[0])

    def set_meta(self, name: str, value: str) -> None:
        self._run("INSERT OR REPLACE INTO meta(name, value) VALUES (?, ?)", name, value)

    def _remembered(self, tail: str, *values: Any) -> list[Remembered]:
        return [remembered(row) for row in self._all(SELECT_REMEMBERED + tail, *values)]
