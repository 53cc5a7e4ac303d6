"""``xmesh-sup why``: who woke and who slept, and why a peer is as it is."""

from collections.abc import Iterator

import pytest
from helpers.bus import BusProcess
from helpers.mesh import ROLES, Mesh
from helpers.people import rested_triad

from xmesh_mesh.memory import Remembered
from xmesh_mesh.paths import RuntimeDir
from xmesh_supervisor.census import Entry
from xmesh_supervisor.commands import why


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with rested_triad() as mesh:
        yield mesh


def entry(**changes: object) -> Remembered:
    plain: dict[str, object] = {
        "n": 1, "assertion": "a" * 64, "key": "cmb-" + "b" * 64, "author": "id", "created_by": "x",
        "created_ms": 1, "received_ms": 1, "seq": 1, "own": False, "directed": False,
        "admitted": True, "thread": "t", "verdict": "aligned", "drift": 0.1, "reasons": (),
        "fields": "{}", "mood": "", "record": None, "wake": None, "outcome": None, "detail": None,
        "emitted": None,
    }  # fmt: skip
    return Remembered(**{**plain, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"own": True}, "said it"),
        ({"wake": "queued"}, "woke"),
        ({"wake": "done", "admitted": False}, "woke"),
        ({}, "remembers it"),
        ({"admitted": False}, "slept"),
    ],
)
def test_what_a_peer_did_is_one_word(changes: dict[str, object], word: str) -> None:
    assert why.word_for(entry(**changes)) == word


def test_the_task_woke_everybody_and_each_says_what_came_of_it(mesh: Mesh) -> None:
    task = mesh.json("trace")["records"][0]["key"]
    peers = {peer["name"]: peer for peer in mesh.json("why", task)["peers"]}
    assert set(peers) == set(ROLES)
    assert {peer["did"] for peer in peers.values()} == {"woke"}
    assert peers["writer-01"]["came_of_it"].startswith("emitted cmb-")
    for peer in peers.values():
        assert "bar" in peer["reason"]
        assert peer["fields"]["intent"]["weight"] == 1.0


def test_an_own_record_was_said_by_its_author(mesh: Mesh) -> None:
    records = mesh.json("trace")["records"]
    draft = next(record for record in records if record["by"] == "writer-01")
    did = {peer["name"]: peer["did"] for peer in mesh.json("why", draft["key"][:14])["peers"]}
    assert did["writer-01"] == "said it"


def test_a_foreign_message_woke_nobody_and_the_drift_is_shown_against_the_bar(mesh: Mesh) -> None:
    (foreign,) = mesh.json("recall", "zebras", "--peer", "writer-01")
    printed = mesh.sup("why", foreign["key"]).stdout
    for name in ROLES:
        assert f"{name} slept: foreign: concern" in printed
    assert "bar" in printed
    assert "focus  " in printed
    assert "commitment" not in printed


def test_a_record_for_one_peer_was_not_for_the_others(mesh: Mesh) -> None:
    key = mesh.observe("between us two", "--to", "reviewer-01")
    mesh.rest()
    peers = {peer["name"]: peer for peer in mesh.json("why", key)["peers"]}
    assert peers["reviewer-01"]["did"] == "woke"
    assert "addressed to this peer" in peers["reviewer-01"]["reason"]
    assert peers["writer-01"]["did"] == "was not reached"
    assert peers["writer-01"]["reason"] == "the record is for reviewer-01 only"


def test_a_peer_that_is_away_has_not_been_reached_yet(mesh: Mesh) -> None:
    mesh.sup("stop", "test-writer-01")
    try:
        key = mesh.observe("draft a specification of an endpoint")
        mesh.rest()
        peers = {peer["name"]: peer for peer in mesh.json("why", key)["peers"]}
        said = mesh.json("why", "test-writer-01")
    finally:
        mesh.sup("start", "test-writer-01")
    assert peers["test-writer-01"]["did"] == "was not reached"
    assert "has not come so far yet" in peers["test-writer-01"]["reason"]
    assert (said["state"], said["next"]) == ("stopped", "xmesh-sup start test-writer-01")


def test_a_killed_peer_names_its_killer_with_and_without_a_supervisor(
    runtime_dir: RuntimeDir,
) -> None:
    from helpers.mesh import running, triad

    files = triad(runtime_dir, {"adapter": "rehearsal"})
    with running(runtime_dir, files[0]) as mesh:
        assert mesh.json("why", "writer-01")["state"] == "asleep"
        mesh.sup("kill", "writer-01", "--why", "it told lies")
        while_up = mesh.json("why", "writer-01")
    after = mesh.json("why", "writer-01")
    for said in (while_up, after):
        assert said["state"] == "killed"
        assert "it told lies" in said["reason"]
        assert said["next"] == "xmesh-sup start writer-01"
    assert (while_up["supervised"], after["supervised"]) == (True, False)


def test_what_is_neither_record_nor_peer_is_refused(runtime_dir: RuntimeDir) -> None:
    with BusProcess(runtime_dir):
        done = Mesh(runtime_dir).sup("why", "nonsense", check=False)
    assert done.returncode == 2
    assert "nor is it a peer" in done.stderr


def described(state: str, **changes: object) -> Entry:
    plain: dict[str, object] = {
        "name": "w", "state": state, "pid": None, "uptime_s": None, "model": "", "run": "r",
        "restarts": 0, "reason": "", "last_exit": "",
    }  # fmt: skip
    return Entry(**{**plain, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("peer", "reason", "command"),
    [
        (None, "no supervisor was told", "xmesh-sup up FILE"),
        (described("stopped"), "somebody stopped it", "xmesh-sup start w"),
        (described("parked", reason="crashed 5 times"), "crashed 5 times", "xmesh-sup logs w"),
        (described("final", reason="budget"), "budget", "then xmesh-sup restart w"),
        (described("backoff", last_exit="exited with 1"), "last exit: exited with 1", "logs w -f"),
        (described("running"), "it has just come up", "logs w -f"),
        (
            described("running", status={"state": "deferred", "note": "no money", "held": 2}),
            "no money; 2 of its records wait for a person's yes or no",
            "xmesh-sup cost w",
        ),
        (
            described("running", status={"state": "asleep", "note": "", "last_event": "slept"}),
            "nothing that matters to it waits; last: slept",
            "observe",
        ),
    ],
)
def test_every_state_has_a_reason_and_a_next_command(
    peer: Entry | None, reason: str, command: str
) -> None:
    said, then = why._why_so("w", peer)
    assert reason in said
    assert command in then
