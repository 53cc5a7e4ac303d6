"""The journal on real SQLite: what is on disk, what survives, what retention takes."""

import contextlib
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.bus_service import WALL_MS, introduction, memory

from xmesh_mesh.bus.journal import (
    Entry,
    Journal,
    JournalDamaged,
    JournalUnavailable,
    Member,
    open_journal,
)
from xmesh_mesh.bus.retention import RETENTION, Retention
from xmesh_mesh.paths import RuntimeDir

DAY_MS = 86_400_000


@pytest.fixture
def journal() -> Iterator[Journal]:
    with contextlib.closing(Journal(memory())) as opened:
        yield opened


def draft(mark: int, author: str = "a", to: str | None = None, ms: int = 0) -> Entry:
    return Entry(0, author, to, ms, f"{mark:064x}", b"record")


def fill(journal: Journal, count: int, **options: object) -> None:
    with journal.batch():
        for _ in range(count):
            mark = journal.records() + 1_000 * journal.head
            journal.append("g", draft(mark, **options))  # type: ignore[arg-type]


def test_seqs_count_up_and_are_never_used_again(journal: Journal) -> None:
    fill(journal, 3)
    with journal.batch():
        journal.prune(10 * DAY_MS)
    assert (journal.head, journal.records()) == (3, 0)
    fill(journal, 1, ms=10 * DAY_MS)
    assert [each.seq for each in journal.after("g", 0, 9)] == [4]


def test_a_batch_is_kept_whole_or_not_at_all(journal: Journal) -> None:
    with contextlib.suppress(KeyError), journal.batch():
        journal.append("g", draft(1))
        raise KeyError
    assert (journal.head, journal.records(), journal.known("a", f"{1:064x}")) == (0, 0, None)


def test_what_was_written_is_read_in_order_and_by_group(journal: Journal) -> None:
    with journal.batch():
        for mark, group in enumerate(("g", "h", "g", "g")):
            journal.append(group, draft(mark, to="n", ms=5))
    assert journal.after("g", 1, 1) == [Entry(3, "a", "n", 5, f"{2:064x}", b"record")]
    assert [each.seq for each in journal.after("g", 0, 9)] == [1, 3, 4]
    assert journal.known("a", f"{1:064x}") == 2
    assert journal.known("b", f"{1:064x}") is None


def test_members_and_introductions_come_back_as_they_were(journal: Journal) -> None:
    member = Member("n", "g", "name", joined=3, cursor=5, own=True, lost=2)
    with journal.batch():
        journal.join(member)
        journal.introduce(introduction("a"))
        journal.introduce(introduction("a"))
    assert journal.members() == [member]
    assert journal.introductions() == [introduction("a")]
    with journal.batch():
        journal.move_cursors([("n", 9), ("nobody", 9)])
    assert journal.members()[0].cursor == 9
    with journal.batch():
        journal.remove("n")
    assert journal.members() == []


@pytest.mark.parametrize(
    ("author", "to", "own", "pending"),
    [
        ("a", None, False, 1),
        ("a", "n", False, 1),
        ("a", "other", False, 0),
        ("n", None, False, 0),
        ("n", None, True, 1),
    ],
)
def test_pending_counts_what_is_meant_for_a_member(
    journal: Journal, author: str, to: str | None, own: bool, pending: int
) -> None:
    fill(journal, 1, author=author, to=to)
    member = Member("n", "g", "name", 0, 0, own)
    assert journal.pending(member) == pending
    assert journal.pending(Member("n", "g", "name", 0, 1, own)) == 0
    assert journal.pending(Member("n", "h", "name", 0, 0, own)) == 0


def test_the_epoch_stays_with_the_file(runtime_dir: RuntimeDir) -> None:
    path = runtime_dir.bus_db
    epochs = []
    for _ in range(2):
        journal, aside = open_journal(path, 1)
        epochs.append((journal.epoch, aside))
        fill(journal, 1)
        journal.close()
    assert epochs[0] == epochs[1]
    assert path.stat().st_mode & 0o777 == 0o600
    with contextlib.closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT count(*) FROM records").fetchone() == (2,)


@pytest.mark.parametrize("damage", ["garbage", "cut", "other", "table", "layout", "middle"])
def test_a_journal_that_cannot_be_read_is_set_aside_and_a_new_one_begins(
    runtime_dir: RuntimeDir, damage: str
) -> None:
    path = runtime_dir.bus_db
    journal, _ = open_journal(path, 1)
    fill(journal, 300)
    journal.close()
    _damage(path, damage)
    fresh, aside = open_journal(path, 77)
    with contextlib.closing(fresh):
        assert aside == path.with_name("bus.db.damaged-77")
        assert aside.stat().st_size > 0
        assert fresh.epoch != journal.epoch
        fill(fresh, 1)
        assert fresh.head == 1


def _damage(path: Path, kind: str) -> None:
    data = path.read_bytes()
    if kind == "garbage":
        path.write_bytes(b"no database at all, " * 1_000)
    elif kind == "cut":
        path.write_bytes(data[: len(data) // 3])
    elif kind == "middle":
        path.write_bytes(data[:4_096] + b"\xff" * 4_096 + data[8_192:])
    else:
        sql = {
            "other": "PRAGMA user_version = 0",
            "table": "DROP TABLE journal",
            "layout": "PRAGMA user_version = 99",
        }
        with contextlib.closing(sqlite3.connect(path)) as raw:
            raw.execute(sql[kind])
            raw.commit()


_FIRST_LAYOUT = """
CREATE TABLE journal (epoch TEXT NOT NULL, cut INTEGER NOT NULL);
CREATE TABLE records (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, grp TEXT NOT NULL, author TEXT NOT NULL, recipient TEXT,
    accepted_ms INTEGER NOT NULL, assertion TEXT NOT NULL, record BLOB NOT NULL);
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
INSERT INTO journal VALUES ('old-epoch', 3);
INSERT INTO records VALUES (5, 'lab', 'a', NULL, 1, 'one', x'01');
INSERT INTO ids VALUES ('a', 'one', 5, 1);
INSERT INTO members VALUES ('b', 'lab', 'b', 0, 4, 0, 0);
PRAGMA user_version = 1;
"""


def test_a_journal_of_the_first_layout_goes_on_with_all_that_it_holds(
    runtime_dir: RuntimeDir,
) -> None:
    path = runtime_dir.bus_db
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.executescript(_FIRST_LAYOUT)
    for _ in range(2):
        journal, aside = open_journal(path, 0)
        with contextlib.closing(journal):
            assert (aside, journal.epoch, journal.head) == (None, "old-epoch", 5)
            assert journal.after("lab", 0, 9) == [Entry(5, "a", None, 1, "one", b"\x01")]
            assert (journal.known("a", "one"), journal.members()[0].cursor) == (5, 4)
    journal, _ = open_journal(path, 0)
    with contextlib.closing(journal):
        with journal.batch():
            journal.append("lab", replace(draft(6), history=True))
        assert [each.history for each in journal.after("lab", 0, 9)] == [False, True]


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_a_file_deleted_under_the_journal_is_noticed_before_anything_is_lost(
    runtime_dir: RuntimeDir, suffix: str
) -> None:
    path = runtime_dir.bus_db
    journal, _ = open_journal(path, 1)
    with contextlib.closing(journal):
        fill(journal, 1)
        path.with_name(path.name + suffix).unlink()
        with pytest.raises(JournalDamaged), journal.batch():
            journal.append("g", draft(2))


def test_a_locked_journal_is_unavailable_and_comes_back(runtime_dir: RuntimeDir) -> None:
    journal, _ = open_journal(runtime_dir.bus_db, 1)
    with contextlib.closing(journal), contextlib.closing(_raw(runtime_dir.bus_db)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalUnavailable), journal.batch():
            journal.append("g", draft(1))
        other.execute("ROLLBACK")
        fill(journal, 1)
        assert journal.head == 1


def _raw(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def test_a_full_journal_is_unavailable_and_comes_back() -> None:
    connection = memory()
    with contextlib.closing(Journal(connection)) as journal:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(JournalUnavailable):
            fill(journal, 500)
        assert (journal.head, journal.records()) == (0, 0)
        connection.execute("PRAGMA max_page_count = 1000000")
        fill(journal, 500)
        assert journal.head == 500


COMMITTER = """
import sys
from pathlib import Path
from xmesh_mesh.bus.journal import Entry, open_journal
journal, _ = open_journal(Path(sys.argv[1]), 1)
for mark in range(journal.head, 1_000_000):
    with journal.batch():
        for part in range(3):
            draft = Entry(0, "a", None, 1, f"{3 * mark + part:064x}", bytes(1_500))
            last = journal.append("g", draft).seq
    print(last, flush=True)
"""


def test_what_was_committed_is_there_after_kill_9_in_the_middle_of_commits(
    runtime_dir: RuntimeDir,
) -> None:
    path = runtime_dir.bus_db
    for round_number in range(1, 6):
        acknowledged = _commit_until_killed(path, commits=20 * round_number)
        journal, aside = open_journal(path, 1)
        with contextlib.closing(journal):
            assert aside is None
            assert journal.head >= acknowledged
            assert [each.seq for each in journal.after("g", 0, 10**6)] == list(
                range(1, journal.head + 1)
            )
            assert journal.head % 3 == 0


def _commit_until_killed(path: Path, commits: int) -> int:
    command = [sys.executable, "-c", COMMITTER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(commits)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    return max(int(line) for line in lines if line.endswith("\n"))


def prune(journal: Journal, now_ms: int, retention: Retention) -> tuple[int, int, dict[str, int]]:
    with journal.batch():
        cut = journal.prune(now_ms, retention)
    return cut.upto, cut.deleted, dict(cut.lost)


def test_stated_retention() -> None:
    assert (RETENTION.age_ms, RETENTION.records) == (7 * DAY_MS, 200_000)
    assert (RETENTION.journal_bytes, RETENTION.ids_age_ms) == (2**30, 30 * DAY_MS)


def test_records_stay_until_they_are_older_than_the_bound(journal: Journal) -> None:
    fill(journal, 2, ms=0)
    fill(journal, 1, ms=1)
    bound = Retention(age_ms=100)
    assert prune(journal, 100, bound) == (0, 0, {})
    assert prune(journal, 101, bound) == (2, 2, {})
    assert journal.records() == 1


def test_only_so_many_records_stay(journal: Journal) -> None:
    fill(journal, 5, ms=WALL_MS)
    assert prune(journal, WALL_MS, Retention(records=5)) == (0, 0, {})
    assert prune(journal, WALL_MS, Retention(records=3)) == (2, 2, {})


def test_the_journal_takes_only_so_much_room() -> None:
    connection = memory()
    with contextlib.closing(Journal(connection)) as journal:
        fill(journal, 5, ms=WALL_MS)
        used = 4_096 * connection.execute("PRAGMA page_count").fetchone()[0]
        assert prune(journal, WALL_MS, Retention(journal_bytes=used)) == (0, 0, {})
        assert prune(journal, WALL_MS, Retention(journal_bytes=used - 1, step=2)) == (2, 2, {})


def test_a_pass_is_bounded(journal: Journal) -> None:
    fill(journal, 5, ms=0)
    assert prune(journal, 10**6, Retention(age_ms=0, step=2)) == (2, 2, {})
    assert prune(journal, 10**6, Retention(age_ms=10**9, records=0, step=2)) == (4, 2, {})


def test_ids_outlive_their_records_and_go_in_bounded_passes(journal: Journal) -> None:
    for ms in range(5):
        with journal.batch():
            journal.append("g", draft(ms, ms=ms))
    bound = Retention(age_ms=0, ids_age_ms=100, step=2)
    prune(journal, 102, bound)
    assert _known(journal) == [2, 3, 4]
    prune(journal, 200, bound)
    assert _known(journal) == [4]
    prune(journal, 104, bound)
    assert _known(journal) == [4]
    prune(journal, 105, bound)
    assert _known(journal) == []


def _known(journal: Journal) -> list[int]:
    return [mark for mark in range(5) if journal.known("a", f"{mark:064x}")]


def test_what_retention_takes_from_a_member_is_counted_and_shown(journal: Journal) -> None:
    fill(journal, 4, ms=0)
    with journal.batch():
        for node, cursor in (("behind", 1), ("at", 4), ("past", 3), ("a", 0)):
            journal.join(Member(node, "g", node, 0, cursor))
    assert prune(journal, 10, Retention(age_ms=0)) == (4, 4, {"behind": 3, "past": 1})
    by_node = {member.node_id: (member.cursor, member.lost) for member in journal.members()}
    assert by_node == {"behind": (4, 3), "at": (4, 0), "past": (4, 1), "a": (4, 0)}
    assert journal.cut_count() == 4
