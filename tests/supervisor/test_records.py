"""supervisor.db, events and log files."""

import json
import sqlite3
from pathlib import Path

import pytest

from xmesh_mesh.errors import StoreError
from xmesh_mesh.tombstones import Tombstone
from xmesh_supervisor.events import FleetEvent, Journal, Listeners
from xmesh_supervisor.ledger import Ledger, Row, recorded
from xmesh_supervisor.lifecycle import Desired, State
from xmesh_supervisor.logfiles import last_words, rotate

ROW = Row("p", "{}", Desired.RUN, "run1", State.RUNNING, 7, 1.5, 99, 2, "why", "exited")


def test_rows_come_back_as_they_were_in_the_order_of_their_naming(tmp_path: Path) -> None:
    path = tmp_path / "supervisor.db"
    ledger = Ledger(path)
    first = Row("z", "{}", Desired.STOP, "r", State.PARKED)
    for row in (first, ROW, first):
        ledger.save(row)
    ledger.close()
    assert recorded(path) == [first, ROW]
    again = Ledger(path)
    assert again.rows() == [first, ROW]
    again.forget("z")
    assert recorded(path) == [ROW]
    again.close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_every_field_of_a_row_is_updated(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "supervisor.db")
    ledger.save(Row("p", "{1}", Desired.STOP, "run0", State.STOPPED))
    ledger.save(ROW)
    assert ledger.rows() == [ROW]
    ledger.close()


def test_without_its_process_a_peer_is_stopped_unless_something_holds_it() -> None:
    held = {State.PARKED, State.FINAL, State.KILLED}
    resting = {state: Row("p", "{}", Desired.RUN, "r", state).resting for state in State}
    assert resting == {state: state if state in held else State.STOPPED for state in State}


def test_a_kill_is_kept_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "supervisor.db")
    later, sooner = Tombstone("b", "me", "loops", 2), Tombstone("a", "me", "", 1)
    for stone in (later, sooner, later):
        ledger.killed("p", stone)
    assert ledger.kills() == [("p", sooner), ("p", later)]
    ledger.close()


@pytest.mark.parametrize("content", [b"not a database" * 100, None])
def test_a_record_that_is_none_is_an_error_with_a_way_out(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "supervisor.db"
    if content is None:
        db = sqlite3.connect(path)
        db.execute("PRAGMA user_version = 2")
        db.close()
    else:
        path.write_bytes(content)
    with pytest.raises(StoreError, match="move it away"):
        Ledger(path)
    with pytest.raises(StoreError):
        recorded(path)
    assert path.exists()


def test_nothing_is_recorded_where_nobody_ever_ran(tmp_path: Path) -> None:
    assert recorded(tmp_path / "supervisor.db") == []
    assert not (tmp_path / "supervisor.db").exists()


def test_events_are_lines_like_all_logs_and_their_file_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.jsonl"
    event = FleetEvent(1_700_000_000_123, "p", "running", "ready")
    Journal(path).write(event)
    assert json.loads(path.read_text()) == {
        "ts": "2023-11-14T22:13:20.123+00:00",
        "level": "info",
        "event": "running",
        "peer": "p",
        "text": "ready",
    }
    monkeypatch.setattr("xmesh_supervisor.events.MAX_BYTES", path.stat().st_size)
    for _ in range(3):
        Journal(path).write(event)
    assert len(path.read_text().splitlines()) == 2
    assert len((tmp_path / "events.jsonl.1").read_text().splitlines()) == 2
    Journal(tmp_path / "no" / "such" / "directory").write(event)


def test_listeners_hear_until_they_are_removed() -> None:
    heard: list[str] = []
    listeners = Listeners()

    def hear(event: FleetEvent) -> None:
        heard.append(event.text)

    listeners.add(hear)
    listeners.tell(FleetEvent(0, "p", "k", "one"))
    listeners.remove(hear)
    listeners.tell(FleetEvent(0, "p", "k", "two"))
    assert heard == ["one"]


def test_a_full_log_moves_on_while_its_writer_goes_on_writing(tmp_path: Path) -> None:
    log = tmp_path / "p.log"
    with log.open("ab", buffering=0) as writer:
        for number in range(5):
            writer.write(f"{number} is long".encode())
            assert rotate(log, 8, 2)
        writer.write(b"short")
        assert not rotate(log, 5, 2)
        assert log.read_bytes() == b"short"
    assert (tmp_path / "p.log.1").read_bytes() == b"4 is long"
    assert (tmp_path / "p.log.2").read_bytes() == b"3 is long"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.log", "p.log.1", "p.log.2"]
    assert not rotate(tmp_path / "none.log", 0, 1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ""),
        ('{"text": "first"}\n{"text": "the last"}\n\n', "the last"),
        ("Traceback:\n  ValueError: no\n", "ValueError: no"),
        ('{"text": "\\u001b[31mred\\nline"}', "[31mred line"),
        ("x" * 300, "x" * 240 + "…"),
        ("x" * 240, "x" * 240),
        ("[1]", "[1]"),
        ("y" * 9000 + "\nlast", "last"),
    ],
)
def test_last_words_are_one_short_harmless_sentence(
    tmp_path: Path, content: str, words: str
) -> None:
    log = tmp_path / "p.log"
    log.write_text(content)
    assert last_words(log) == words


def test_every_kept_log_moves_on_by_one(tmp_path: Path) -> None:
    log = tmp_path / "p.log"
    for number in range(4):
        log.write_bytes(b"log %d" % number)
        assert rotate(log, 0, 3)
    kept = [(tmp_path / f"p.log.{number}").read_bytes() for number in (1, 2, 3)]
    assert kept == [b"log 3", b"log 2", b"log 1"]


def test_no_log_has_no_last_words(tmp_path: Path) -> None:
    assert last_words(tmp_path / "none.log") == ""
