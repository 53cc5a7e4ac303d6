"""What the gateway keeps: records, positions, cursors and keys, whatever ends it."""

import contextlib
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from xmesh_mesh.errors import StoreError
from xmesh_mesh.gateway.store import FORGET_MS, KEEP_MS, KEEP_RECORDS, Outgoing, Pair, Store

BOB, CAROL = "bob", "carol"
PAIR = Pair("lab", "alice", BOB)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    made = Store.open(path)
    yield made
    made.close()


def said(number: int, *, author: str = "alice", to: str | None = None, at_ms: int = 0) -> Outgoing:
    return Outgoing(0, "lab", author, to, f"{author}-{number}", f"key-{number}", b"{}", at_ms)


def heard(store: Store, pair: Pair = PAIR, seq: int = 0) -> list[str]:
    return [each.assertion for each in store.after(pair, seq, 100)]


def test_a_remote_hears_what_is_for_all_and_for_itself_in_order(store: Store) -> None:
    rows = [said(1), said(2, to=BOB), said(3, to=CAROL), said(4, author="dave"), said(5)]
    store.advance("lab", ("e", 5), rows)
    assert heard(store) == ["alice-1", "alice-2", "alice-5"]
    assert heard(store, PAIR._replace(group="other")) == []
    assert store.waiting(PAIR, 0) == 3
    assert heard(store, seq=2) == ["alice-5"]


def test_over_a_secure_link_a_remote_hears_the_operators_too_in_order(store: Store) -> None:
    operators = [
        replace(said(number, author="op", to=to), introduction=b"who it is")
        for number, to in ((1, None), (2, CAROL), (3, BOB))
    ]
    store.advance("lab", ("e", 6), [said(1), *operators, said(2), said(3, author="dave")])
    assert heard(store) == ["alice-1", "alice-2"]
    secure = [each.assertion for each in store.after(PAIR, 0, 100, secure=True)]
    assert secure == ["alice-1", "op-1", "op-3", "alice-2"]
    assert [each.assertion for each in store.after(PAIR, 1, 2, secure=True)] == ["op-1", "op-3"]
    assert store.after(PAIR._replace(group="other"), 0, 100, secure=True) == []
    assert (store.waiting(PAIR, 0), store.waiting(PAIR, 0, secure=True)) == (2, 4)
    assert store.by_key(PAIR, "key-3") is None, "an operator's words are not fetched from a peer"


def test_a_record_that_comes_twice_is_kept_once(store: Store) -> None:
    store.advance("lab", ("e", 1), [said(1)])
    store.advance("lab", ("e", 2), [said(1)])
    assert heard(store) == ["alice-1"]


def test_record_and_position_are_kept_together_and_outlive_the_process(
    store: Store, path: Path
) -> None:
    store.advance("lab", ("epoch", 7), [said(1)])
    no_record = said(2)
    object.__setattr__(no_record, "record", None)
    with pytest.raises(StoreError):
        store.advance("lab", ("epoch", 8), [said(3), no_record])
    again = Store.open(path)
    assert again.position("lab") == ("epoch", 7)
    assert again.position("other") is None
    assert heard(again) == ["alice-1"]
    again.close()


def test_a_remote_that_is_met_first_begins_at_the_head_and_then_goes_on(store: Store) -> None:
    store.advance("lab", ("e", 1), [said(1)])
    assert store.meet(PAIR, 0) == (1, False)
    store.advance("lab", ("e", 2), [said(2)])
    assert store.meet(PAIR, 0) == (1, True)
    store.move([(PAIR, 2)], 0)
    assert store.meet(PAIR, 0) == (2, True)
    assert store.meet(PAIR._replace(remote=CAROL), 0) == (2, False)


def test_the_head_never_goes_back(store: Store) -> None:
    store.advance("lab", ("e", 1), [said(1)])
    store.prune(KEEP_MS + 1)
    assert (store.head(), store.stored("lab")) == (1, 0)
    assert store.meet(PAIR, 0) == (1, False)


def test_the_oldest_go_when_there_are_too_many_or_they_are_too_old(store: Store) -> None:
    rows = [said(number, at_ms=KEEP_MS) for number in range(KEEP_RECORDS + 5)]
    store.advance("lab", ("e", 1), [said(-1, at_ms=0), *rows])
    store.prune(KEEP_MS + 1)
    assert store.stored("lab") == KEEP_RECORDS
    assert heard(store)[0] == "alice-5"


def test_a_remote_that_was_away_for_very_long_is_met_anew(store: Store) -> None:
    store.meet(PAIR, 0)
    store.prune(FORGET_MS)
    assert store.meet(PAIR, FORGET_MS)[1]
    store.prune(2 * FORGET_MS + 1)
    assert not store.meet(PAIR, 0)[1]


def test_a_fetch_finds_the_newest_under_an_address_that_the_asker_may_hear(store: Store) -> None:
    again = Outgoing(0, "lab", "alice", CAROL, "for carol", "key-1", b"{}", 0)
    store.advance("lab", ("e", 1), [said(1), again])
    found = store.by_key(PAIR, "key-1")
    assert found is not None
    assert found.assertion == "alice-1"
    found = store.by_key(PAIR._replace(remote=CAROL), "key-1")
    assert found is not None
    assert found.assertion == "for carol"
    assert store.by_key(PAIR, "key-9") is None


def test_a_sealing_key_stays_the_same_and_the_file_is_private(store: Store, path: Path) -> None:
    key = store.sealing_key("alice")
    assert (len(key), store.sealing_key("alice")) == (32, key)
    assert store.sealing_key("bob") != key
    again = Store.open(path)
    assert again.sealing_key("alice") == key
    again.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_login_without_a_proper_end_is_remembered_over_processes(path: Path) -> None:
    url, other = "wss://relay.example", "wss://other.example"
    with contextlib.closing(Store.open(path)) as first:
        first.logs_in("alice", url)
        first.logs_in("alice", other)
        first.logged_out("alice", other)
    with contextlib.closing(Store.open(path)) as second:
        assert second.may_be_logged_in("alice", url)
        assert not second.may_be_logged_in("alice", other)
        assert not second.may_be_logged_in("bob", url)
