"""The ledger's file among many processes, on full disks, and damaged: it fails closed."""

import contextlib
import os
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.spend import HOLD_LOCK, RESERVE_ALL, RESERVE_AND_HANG, account, start

from xmesh_mesh.errors import LedgerBusy, StoreError
from xmesh_peer.safety.ledger import SpendLedger

PEER, RUN = "writer-01", "run-1"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "spend.db"


@contextlib.contextmanager
def running(*command: object) -> Iterator[subprocess.Popen[str]]:
    process = start(*map(str, command))
    with process:
        try:
            yield process
        finally:
            process.kill()


def says(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_twenty_processes_at_once_never_pass_a_cap_by_one_nano(path: Path) -> None:
    cap, nano = 7_003, 7
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(running(RESERVE_ALL, path, f"p{number}", cap, nano))
            for number in range(20)
        ]
        assert {says(process) for process in processes} == {"ready"}
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        shares = [int(says(process)) for process in processes]
    done = sum(shares)
    assert done == cap // nano
    assert sum(share > 0 for share in shares) >= 2, "they did not run at once"
    with SpendLedger(path) as ledger:
        assert ledger.spent(PEER, RUN).run_nano == done * nano
        assert ledger.reserve(account(run_nano=cap), "last", "w", cap - done * nano) is None
        assert ledger.reserve(account(run_nano=cap), "over", "w", 1) is not None


def test_a_reservation_outlives_kill_nine_at_its_worst_case(path: Path) -> None:
    with running(RESERVE_AND_HANG, path, 40) as process:
        assert says(process) == "reserved"
        process.kill()
        process.wait()
    with SpendLedger(path) as ledger:
        assert ledger.spent(PEER, RUN).run_nano == 40
        assert ledger.lifetimes()[PEER].lost_nano == 40
        ledger.settle(PEER, "w#1", 25)
        assert ledger.spent(PEER, RUN).run_nano == 25


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="only Linux lists locks")
def test_a_held_ledger_gives_up_in_time_and_names_the_holder(path: Path) -> None:
    with SpendLedger(path) as ledger, running(HOLD_LOCK, path) as process:
        assert says(process) == "held"
        began = time.monotonic()
        with pytest.raises(LedgerBusy, match=f"pid {process.pid} ") as busy:
            ledger.reserve(account(), "a", "w", 1)
        assert 1.5 < time.monotonic() - began < 4.0
        assert busy.value.holder.startswith(f"pid {process.pid} (")
        assert "python" in busy.value.holder
        assert ledger.spent(PEER, RUN).run_nano == 0
        process.kill()
        process.wait()
        assert ledger.reserve(account(), "a", "w", 1) is None


def test_threads_of_one_process_take_turns(path: Path) -> None:
    denied: list[object] = []
    with SpendLedger(path) as ledger:

        def spend(name: str) -> None:
            calls = (f"{name}{number}" for number in range(10))
            denied.extend(ledger.reserve(account(run_nano=50), call, "w", 1) for call in calls)

        threads = [threading.Thread(target=spend, args=(name,)) for name in "abcdefgh"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ledger.spent(PEER, RUN).run_nano == 50
    assert denied.count(None) == 50


def test_a_thread_that_never_gets_its_turn_is_told_so(path: Path) -> None:
    with SpendLedger(path, wait_s=0.05) as ledger, ledger._db.writing():
        caught: list[BaseException] = []

        def reserve() -> None:
            try:
                ledger.reserve(account(), "a", "w", 1)
            except LedgerBusy as busy:
                caught.append(busy)

        thread = threading.Thread(target=reserve)
        thread.start()
        thread.join()
        assert len(caught) == 1


def test_a_commit_is_synced(path: Path) -> None:
    with SpendLedger(path) as ledger, ledger._db.reading() as db:
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_nothing_is_left_beside_a_new_ledger(path: Path) -> None:
    SpendLedger(path).close()
    assert [one.name for one in path.parent.iterdir()] == ["spend.db"]


@pytest.mark.parametrize("content", [b"", b"garbage " * 1000])
def test_what_is_no_ledger_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StoreError) as refused:
        SpendLedger(path)
    assert str(path) in str(refused.value)
    assert "fix:" in str(refused.value)
    assert path.read_bytes() == content


def test_a_damaged_ledger_is_refused(path: Path) -> None:
    with SpendLedger(path) as ledger:
        for number in range(200):
            ledger.reserve(account(), f"call-{number}", "w", 1)
    raw = bytearray(path.read_bytes())
    raw[8192:-4096] = os.urandom(len(raw) - 8192 - 4096)
    path.write_bytes(raw)
    with pytest.raises(StoreError, match="damaged") as refused:
        SpendLedger(path)
    assert "backup" in refused.value.fix


def test_a_ledger_that_breaks_while_open_is_never_free(path: Path) -> None:
    with SpendLedger(path) as ledger:
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("DROP TABLE calls")
        with pytest.raises(StoreError, match="cannot be used"):
            ledger.reserve(account(), "a", "w", 1)


@pytest.mark.parametrize("version", [0, 2])
def test_another_schema_is_refused(path: Path, version: int) -> None:
    SpendLedger(path).close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(StoreError, match=f"schema {version}"):
        SpendLedger(path)


def test_a_ledger_that_vanished_is_not_made_anew(path: Path) -> None:
    with SpendLedger(path) as ledger:
        ledger.reserve(account(), "a", "w", 1)
        path.rename(path.with_name("elsewhere.db"))
        with pytest.raises(StoreError, match="out of reach"):
            ledger.reserve(account(), "b", "w", 1)
        with pytest.raises(StoreError, match="-wal"):
            SpendLedger(path)


def test_a_ledger_that_was_replaced_is_refused(path: Path) -> None:
    with SpendLedger(path) as ledger:
        other = path.with_name("other.db")
        SpendLedger(other).close()
        other.replace(path)
        with pytest.raises(StoreError, match="replaced"):
            ledger.reserve(account(), "a", "w", 1)


def test_a_place_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="out of reach"):
        SpendLedger(tmp_path / "file" / "spend.db")
    with pytest.raises(StoreError, match="cannot be used"):
        SpendLedger.open_readonly(tmp_path / "none.db")


def test_a_full_database_denies_and_goes_on_once_there_is_room(path: Path) -> None:
    with SpendLedger(path) as ledger:
        with ledger._db.reading() as db:
            pages = db.execute("PRAGMA page_count").fetchone()[0]
            db.execute(f"PRAGMA max_page_count = {pages}")
        done = _fill(ledger)
        assert ledger.spent(PEER, RUN).run_nano == done
        with ledger._db.reading() as db:
            db.execute(f"PRAGMA max_page_count = {pages + 100}")
        assert ledger.reserve(account(), "more", "w", 1) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_full_disk_denies_and_loses_nothing(tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(tmp_path)], check=False
    )
    if mounted.returncode:
        pytest.skip("this root may not mount")
    try:
        with SpendLedger(tmp_path / "spend.db") as ledger:
            (tmp_path / "ballast").write_bytes(b"x" * 100_000)
            done = _fill(ledger)
            assert ledger.spent(PEER, RUN).run_nano == done
            (tmp_path / "ballast").unlink()
            assert ledger.reserve(account(), "more", "w", 1) is None
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def _fill(ledger: SpendLedger) -> int:
    """Reserve 1 nano-USD at a time until the ledger can take no more; return how often it did."""
    done = 0

    def reserve_on() -> None:
        nonlocal done
        for done in range(20_000):
            assert ledger.reserve(account(), f"call-{done}-{'x' * 500}", "w", 1) is None

    with pytest.raises(StoreError) as full:
        reserve_on()
    assert "free space" in full.value.fix
    return done
