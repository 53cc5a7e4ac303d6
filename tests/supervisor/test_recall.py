"""``xmesh-sup recall``: the operator remembers what was said, and may look into its peers."""

import threading

import pytest
from helpers.bus import BusProcess, make_identity
from helpers.mesh import Mesh
from helpers.people import join, signed, speak

from xmesh_mesh.bus.query import status
from xmesh_mesh.memory import Memory
from xmesh_mesh.paths import OPERATOR, FileLock, RuntimeDir
from xmesh_mesh.signing import assertion_id
from xmesh_supervisor.commands import recall
from xmesh_supervisor.commands.recall import CatchUp

WRITER = make_identity("writer-01")
OTHER = make_identity("evil")


def texts(mesh: Mesh, *arguments: str) -> list[str]:
    done = mesh.sup("recall", "--json", *arguments, check=False)
    assert "Traceback" not in done.stderr
    import json

    return sorted(record["fields"]["focus"] for record in json.loads(done.stdout))


def test_the_first_recall_begins_with_all_that_the_bus_still_has(runtime_dir: RuntimeDir) -> None:
    mesh = Mesh(runtime_dir)
    with BusProcess(runtime_dir):
        join(runtime_dir, "somebody")
        mesh.observe("apples are red")
        speak(runtime_dir, WRITER, *(signed(WRITER, {"focus": f"apples, {n}"}) for n in range(3)))
        assert texts(mesh, "apples") == ["apples are red", "apples, 0", "apples, 1", "apples, 2"]
        # And the next one adds what came since, each record once.
        speak(runtime_dir, WRITER, signed(WRITER, {"focus": "apples again"}))
        assert len(texts(mesh, "apples")) == 5
        assert texts(mesh, "apples again") == ["apples again"]
    # Without a bus it still knows what it knew, and says that it is not up to date.
    done = mesh.sup("recall", "apples", "--limit", "2")
    assert "no bus answers" in done.stderr
    assert done.stdout.count("cmb-") == 2


def test_nothing_found_is_an_answer_of_its_own(runtime_dir: RuntimeDir) -> None:
    with BusProcess(runtime_dir):
        done = Mesh(runtime_dir).sup("recall", "pears", check=False)
    assert done.returncode == 1
    assert "nothing found" in done.stderr


def test_what_nobody_signed_is_never_remembered(runtime_dir: RuntimeDir) -> None:
    with BusProcess(runtime_dir):
        join(runtime_dir, "somebody")
        forged = signed(OTHER, {"focus": "forged apples"}, created_by="writer-01")
        speak(runtime_dir, WRITER, forged, signed(WRITER, {"focus": "true apples"}))
        assert texts(Mesh(runtime_dir), "apples") == ["true apples"]


def test_what_is_for_somebody_else_is_not_the_operators(runtime_dir: RuntimeDir) -> None:
    with BusProcess(runtime_dir):
        somebody = join(runtime_dir, "somebody")
        secret = signed(WRITER, {"focus": "secret apples"}, to=somebody.node_id)
        speak(runtime_dir, WRITER, secret)
        assert texts(Mesh(runtime_dir), "apples") == []


def test_several_groups_are_all_remembered_and_stay_so(runtime_dir: RuntimeDir) -> None:
    mesh = Mesh(runtime_dir)
    with BusProcess(runtime_dir):
        for group in ("one", "two"):
            join(runtime_dir, f"in-{group}", group)
            mesh.observe(f"apples of {group}", "--group", group)
        assert texts(mesh, "apples") == ["apples of one", "apples of two"]
        mesh.observe("later apples of one", "--group", "one")
        mesh.observe("later apples of two", "--group", "two")
        assert len(texts(mesh, "apples")) == 4


def test_a_journal_that_was_replaced_is_read_from_its_beginning(runtime_dir: RuntimeDir) -> None:
    mesh = Mesh(runtime_dir)
    with BusProcess(runtime_dir):
        join(runtime_dir, "somebody")
        mesh.observe("old apples")
        assert texts(mesh, "apples") == ["old apples"]
    for suffix in ("", "-wal", "-shm"):
        (runtime_dir.root / f"bus.db{suffix}").unlink(missing_ok=True)
    with BusProcess(runtime_dir):
        join(runtime_dir, "somebody")
        mesh.observe("new apples")
        assert texts(mesh, "apples") == ["new apples", "old apples"]


def test_a_peers_memory_is_searched_without_touching_the_operators(
    runtime_dir: RuntimeDir,
) -> None:
    record = signed(WRITER, {"focus": "apples\x1b[2J", "mood": "calm"})
    memory = Memory.open(runtime_dir.memory("writer-01"))
    with memory.transaction():
        memory.remember_own(record, assertion_id(record), WRITER.node_id, now_ms=1)
    memory.close()
    mesh = Mesh(runtime_dir)
    printed = mesh.sup("recall", "apples", "--peer", "writer-01").stdout
    assert r"focus       apples\x1b[2J" in printed
    assert "mood        calm" in printed
    assert not runtime_dir.node(OPERATOR).exists()
    assert mesh.sup("recall", "x", "--peer", "nobody", check=False).returncode == 2


@pytest.mark.parametrize("query", ['"', "a AND (", "*", "apples NEAR/2", "^x"])
def test_no_query_is_a_syntax_error(runtime_dir: RuntimeDir, query: str) -> None:
    Memory.open(runtime_dir.memory("writer-01")).close()
    done = Mesh(runtime_dir).sup("recall", query, "--peer", "writer-01", check=False)
    assert done.returncode == 1
    assert "nothing found" in done.stderr


@pytest.mark.parametrize("arguments", [(" ",), ("x", "--limit", "0"), ("x", "--limit=-1")])
def test_what_makes_no_sense_is_refused(
    runtime_dir: RuntimeDir, arguments: tuple[str, ...]
) -> None:
    assert Mesh(runtime_dir).sup("recall", *arguments, check=False).returncode == 2


def test_two_recalls_at_once_take_turns(runtime_dir: RuntimeDir) -> None:
    mesh = Mesh(runtime_dir)
    found: list[list[str]] = []
    with BusProcess(runtime_dir):
        join(runtime_dir, "somebody")
        mesh.observe("apples")
        work = [
            threading.Thread(target=lambda: found.append(texts(mesh, "apples"))) for _ in range(2)
        ]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()
    assert found == [["apples"], ["apples"]]


def test_a_recall_that_never_gets_its_turn_says_who_is_in_the_way(
    runtime_dir: RuntimeDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recall, "LOCK_S", 0.05)
    lock = FileLock(runtime_dir.node_lock(OPERATOR))
    assert lock.acquire(name=OPERATOR)
    try:
        with pytest.raises(recall.StoreError, match="pid"):
            recall._acquire(FileLock(lock.path))
    finally:
        lock.release()


def test_what_is_here_is_not_fetched_again(runtime_dir: RuntimeDir) -> None:
    mesh = Mesh(runtime_dir)
    with BusProcess(runtime_dir) as bus:
        join(runtime_dir, "somebody")
        mesh.observe("apples")
        texts(mesh, "apples")
        there = status(bus.socket)
        memory = Memory.open(runtime_dir.memory(OPERATOR))
        try:
            assert CatchUp(runtime_dir, memory, "triad")._position() == (there.epoch, there.head)
            assert CatchUp(runtime_dir, memory, "another")._position() == ("anew", 0)
        finally:
            memory.close()
