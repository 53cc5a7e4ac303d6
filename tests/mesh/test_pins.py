"""Pins: the first key stays, another one is kept apart."""

import json
import multiprocessing
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from xmesh_mesh.canonical import b64u
from xmesh_mesh.errors import StoreError, UsageError
from xmesh_mesh.paths import RuntimeDir
from xmesh_mesh.pins import MAX_PINS, MAX_QUARANTINED, PinResult, Pins, Trust

ONE, TWO, THREE = (bytes([number]) * 32 for number in (1, 2, 3))
RACERS, EACH = 4, 8


@pytest.fixture
def path(runtime_dir: RuntimeDir) -> Path:
    return runtime_dir.pins("lab") / "writer-01.json"


def race(path: Path, start: Barrier, racer: int) -> None:
    pins = Pins(path)
    start.wait()
    for number in range(EACH):
        pins.pin(f"n-{racer}-{number}", ONE, "name")
        pins.pin("contested", bytes([racer]) * 32, f"racer {racer}")


def test_an_unknown_node_has_no_key_and_no_name(path: Path) -> None:
    pins = Pins(path)
    assert (pins.key("n-1"), pins.name("n-1"), pins.quarantined()) == (None, None, [])
    assert not path.exists()


def test_the_first_key_is_pinned_and_recognised(path: Path) -> None:
    pins = Pins(path)
    assert pins.pin("n-1", ONE, "writer-01") is PinResult.FIRST
    assert pins.pin("n-1", ONE, "writer-01") is PinResult.SAME
    assert pins.pin("n-2", ONE, "writer-02") is PinResult.FIRST
    assert (pins.key("n-1"), pins.name("n-1")) == (ONE, "writer-01")
    assert pins.quarantined() == []


def test_another_key_is_quarantined_and_never_pinned(path: Path) -> None:
    pins = Pins(path)
    pins.pin("n-1", ONE, "writer-01")
    before_ms = time.time_ns() // 1_000_000
    assert pins.pin("n-1", TWO, "impostor") is PinResult.CHANGED
    assert pins.pin("n-1", TWO, "impostor") is PinResult.CHANGED
    assert (pins.key("n-1"), pins.name("n-1")) == (ONE, "writer-01")
    (seen,) = pins.quarantined()
    assert (seen.node_id, seen.name, seen.why) == ("n-1", "impostor", "key-changed")
    assert before_ms <= seen.seen_ms <= time.time_ns() // 1_000_000


def test_each_strange_key_is_kept_once(path: Path) -> None:
    pins = Pins(path)
    for node in ("n-1", "n-2"):
        pins.pin(node, ONE, "a")
        for key in (TWO, THREE, TWO):
            assert pins.pin(node, key, "a") is PinResult.CHANGED
    assert [pin.node_id for pin in pins.quarantined()] == ["n-1", "n-1", "n-2", "n-2"]


def test_a_flood_of_strange_keys_is_bounded_and_hides_no_early_one(path: Path) -> None:
    pins = Pins(path)
    pins.pin("n-1", ONE, "a")
    strange = [number.to_bytes(32) for number in range(MAX_QUARANTINED + 2)]
    for key in strange:
        assert pins.pin("n-1", key, "a") is PinResult.CHANGED
    assert len(pins.quarantined()) == MAX_QUARANTINED == 256
    assert pins.quarantined()[0].public_key.startswith("AAAAAA")
    assert [pin.seen_ms for pin in pins.quarantined()] == sorted(
        pin.seen_ms for pin in pins.quarantined()
    )


def test_a_known_key_may_change_its_name(path: Path) -> None:
    pins = Pins(path)
    pins.pin("n-1", ONE, "old")
    assert pins.pin("n-1", ONE, "new") is PinResult.SAME
    assert (pins.name("n-1"), Pins(path).name("n-1")) == ("new", "new")


def test_pins_survive_a_restart(path: Path) -> None:
    pins = Pins(path)
    pins.pin("n-1", ONE, "writer-01")
    pins.pin("n-1", TWO, "impostor")
    again = Pins(path)
    assert (again.key("n-1"), again.name("n-1")) == (ONE, "writer-01")
    assert again.quarantined() == pins.quarantined()
    assert again.pin("n-1", TWO, "impostor") is PinResult.CHANGED
    assert again.pin("n-1", ONE, "writer-01") is PinResult.SAME


def test_the_file_is_private(path: Path) -> None:
    Pins(path).pin("n-1", ONE, "writer-01")
    assert path in path.parent.iterdir()
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_another_process_pins_are_seen_before_a_new_one_is_made(path: Path) -> None:
    pins, other = Pins(path), Pins(path)
    other.pin("n-1", ONE, "writer-01")
    assert pins.pin("n-1", TWO, "impostor") is PinResult.CHANGED
    assert pins.key("n-1") == ONE


def test_processes_that_pin_at_once_lose_nothing_and_agree(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(RACERS)
    racers = [context.Process(target=race, args=(path, start, n)) for n in range(RACERS)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(timeout=30)
        assert racer.exitcode == 0
        racer.close()
    pins = Pins(path)
    for racer_number in range(RACERS):
        for number in range(EACH):
            assert pins.key(f"n-{racer_number}-{number}") == ONE
    winner = pins.key("contested")
    assert winner is not None
    assert pins.name("contested") == f"racer {winner[0]}"
    assert len(pins.quarantined()) == RACERS - 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"pins":{"n":{}}}',
        json.dumps(
            {"pins": {"n": {"nodeId": "n", "publicKey": "AA", "name": "n", "seenMs": 1}}}
        ).encode(),
    ],
)
def test_a_garbled_file_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(StoreError) as error:
        Pins(path)
    assert error.value.where == str(path)
    assert "garbled" in error.value.what
    assert path.read_bytes() == content


def test_a_file_that_cannot_be_read_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot be read"):
        Pins(path)


def test_a_directory_that_cannot_be_written_is_reported(runtime_dir: RuntimeDir) -> None:
    pins = Pins(runtime_dir.root / "blocked" / "writer-01.json")
    (runtime_dir.root / "blocked").write_text("no directory")
    with pytest.raises(StoreError, match="cannot be written"):
        pins.pin("n-1", ONE, "writer-01")


# What a gateway asks, and what a person decides


def why(pins: Pins) -> list[str]:
    return [held.why for held in pins.quarantined()]


def test_strict_lets_in_pinned_keys_only_and_keeps_the_others_for_a_person(path: Path) -> None:
    pins = Pins(path)
    assert pins.admit("n-1", ONE, "a", "strict") is PinResult.UNKNOWN
    assert (pins.key("n-1"), why(pins)) == (None, ["not-pinned"])
    assert pins.accept("n-1").by_hand
    assert pins.admit("n-1", ONE, "a", "strict") is PinResult.SAME
    assert pins.admit("n-1", TWO, "a", "strict") is PinResult.CHANGED


@pytest.mark.parametrize(
    ("trust", "stranger"),
    [("tofu", PinResult.UNKNOWN), ("strict", PinResult.UNKNOWN), ("open", PinResult.SAME)],
)
def test_without_a_key_a_stranger_is_let_in_where_all_are(
    path: Path, trust: Trust, stranger: PinResult
) -> None:
    pins = Pins(path)
    assert pins.admit("n-1", None, "a", trust) is stranger
    assert pins.pinned() == []
    pins.add("n-2", ONE, "b")
    assert pins.admit("n-2", None, "b", trust) is PinResult.SAME
    assert pins.key("n-2") == ONE


def test_there_is_room_for_so_many_keys_at_first_sight_and_a_person_may_add_more(
    path: Path,
) -> None:
    known = {
        f"n-{n}": {"nodeId": f"n-{n}", "publicKey": b64u(ONE), "name": "a", "seenMs": 1}
        for n in range(MAX_PINS)
    }
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"pins": known}))
    pins = Pins(path)
    assert pins.admit("one-more", TWO, "b", "tofu") is PinResult.UNKNOWN
    assert why(pins) == ["pins-full"]
    pins.accept("one-more")
    assert pins.key("one-more") == TWO
    assert pins.pin("of-this-host", THREE, "c") is PinResult.FIRST
    assert MAX_PINS == 4_096


def test_a_flood_of_strange_keys_does_not_wear_the_disk_out(path: Path) -> None:
    pins = Pins(path)
    pins.pin("n-1", ONE, "a")
    for number in range(MAX_QUARANTINED):
        pins.pin("n-1", number.to_bytes(32), "a")
    pins.admit("stranger", TWO, "b", "strict")
    before = path.stat().st_mtime_ns
    assert pins.pin("n-1", THREE, "a") is PinResult.CHANGED
    assert pins.admit("stranger", TWO, "b", "strict") is PinResult.UNKNOWN
    assert not pins.quarantine("stranger", THREE, "b", "our-name")
    assert path.stat().st_mtime_ns == before


def test_a_stranger_is_quarantined_once_for_each_reason(path: Path) -> None:
    pins = Pins(path)
    assert pins.quarantine("n-1", ONE, "writer-01", "our-name")
    assert not pins.quarantine("n-1", ONE, "writer-01", "our-name")
    assert pins.quarantine("n-1", ONE, "writer-01", "our-id")
    assert pins.quarantine("n-2", None, "writer-01", "our-name")
    assert why(pins) == ["our-name", "our-id", "our-name"]


def test_what_a_node_has_shown_stays_until_a_person_says_otherwise(path: Path) -> None:
    pins = Pins(path)
    pins.pin("n-1", ONE, "a")
    assert (pins.has_signed("n-1"), pins.secure_nodes()) == (False, frozenset())
    pins.note_signed("n-1")
    pins.note_secure("n-1")
    pins.note_signed("nobody")
    again = Pins(path)
    assert (again.has_signed("n-1"), again.secure_nodes()) == (True, {"n-1"})
    again.pin("n-1", ONE, "renamed")
    assert again.has_signed("n-1")
    again.remove("n-1")
    again.pin("n-1", ONE, "a")
    assert (again.has_signed("n-1"), again.secure_nodes()) == (False, frozenset())


def test_an_accepted_key_replaces_the_pin_and_all_that_the_old_key_had_shown(path: Path) -> None:
    pins = Pins(path)
    pins.pin("n-1", ONE, "a")
    pins.note_secure("n-1")
    pins.pin("n-1", TWO, "b")
    accepted = pins.accept("n-1")
    assert (pins.key("n-1"), pins.name("n-1")) == (TWO, "b")
    assert (accepted.secure, accepted.by_hand, pins.quarantined()) == (False, True, [])


def test_an_accepted_key_that_is_pinned_already_loses_nothing(path: Path) -> None:
    pins = Pins(path)
    pins.pin("n-1", ONE, "a")
    pins.note_secure("n-1")
    pins.quarantine("n-1", ONE, "a", "our-name")
    assert pins.accept("n-1").secure


def test_of_several_keys_a_person_must_name_one(path: Path) -> None:
    pins = Pins(path)
    pins.pin("n-1", ONE, "a")
    pins.pin("n-1", TWO, "a")
    pins.pin("n-1", THREE, "a")
    with pytest.raises(UsageError, match="2 different keys"):
        pins.accept("n-1")
    pins.accept("n-1", THREE)
    assert (pins.key("n-1"), pins.quarantined()) == (THREE, [])


def test_what_is_not_in_quarantine_cannot_be_accepted(path: Path) -> None:
    pins = Pins(path)
    pins.quarantine("n-2", None, "a", "our-name")
    for node, key in (("n-1", None), ("n-2", None), ("n-1", ONE)):
        with pytest.raises(UsageError, match="no key of n-"):
            pins.accept(node, key)
    assert pins.pinned() == []


def test_a_key_added_by_hand_is_pinned_and_never_replaces_another(path: Path) -> None:
    pins = Pins(path)
    pins.pin("n-1", TWO, "a")
    with pytest.raises(UsageError, match="another key pinned"):
        pins.add("n-1", ONE, "a")
    assert pins.key("n-1") == TWO
    assert pins.add("n-1", TWO, "").name == "a"
    assert pins.add("n-2", ONE, "b").by_hand


def test_removing_forgets_pin_and_quarantine(path: Path) -> None:
    pins = Pins(path)
    pins.pin("n-1", ONE, "a")
    pins.pin("n-1", TWO, "a")
    assert pins.remove("n-1")
    assert (pins.key("n-1"), pins.quarantined()) == (None, [])
    assert not pins.remove("n-1")


def test_whoever_holds_the_file_open_notices_what_others_change(path: Path) -> None:
    running, person = Pins(path), Pins(path)
    person.add("n-1", ONE, "a")
    assert running.key("n-1") == ONE
    person.remove("n-1")
    assert running.key("n-1") is None
    path.unlink()
    assert running.pinned() == []


def test_a_file_of_an_older_form_is_read_and_kept(path: Path) -> None:
    pin = {"nodeId": "n-1", "publicKey": b64u(ONE), "name": "a", "seenMs": 1}
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"pins": {"n-1": pin}, "quarantine": [{**pin, "name": "b"}]}))
    pins = Pins(path)
    assert (pins.key("n-1"), pins.has_signed("n-1"), why(pins)) == (ONE, False, ["key-changed"])
    pins.pin("n-2", TWO, "c")
    assert json.loads(path.read_text())["pins"]["n-1"] == pin
