"""What a record is held against: bounded, and of the kinds that show what a peer cares for."""

import sqlite3
from pathlib import Path

from helpers.nodes import NOW, Author, deliver, node, store

from xmesh_mesh.anchors import Anchors
from xmesh_mesh.memory import Memory
from xmesh_mesh.memory_admission import ANSWERED, NEWEST, OWN
from xmesh_mesh.memory_rows import SCHEMA_VERSION, UPGRADES
from xmesh_mesh.signing import assertion_id

WRITER = Author("writer-01")


def test_own_and_answered_records_stay_anchors_when_many_newer_ones_come(tmp_path: Path) -> None:
    with node(tmp_path, WRITER) as me:
        own, assertion = me.compose({"commitment": "I review it by Friday"}, now_ms=NOW)
        with me.memory.transaction():
            me.memory.remember_own(own, assertion, me.identity.node_id, now_ms=NOW)
        answered = WRITER.says("a question that was answered")
        store(me.memory, answered, wakes=True)
        me.memory.finish_wake(assertion_id(answered), "emitted", "", now_ms=NOW)
        for number in range(NEWEST + 20):
            store(me.memory, WRITER.says(f"other news {number}"))
        found = Anchors(me.memory).around(WRITER.says("x"), "somebody", "me", "", {})
        keys = {anchor.name for anchor in found.known}
        assert {own.key, answered.key} <= keys
        assert len(keys) <= NEWEST + OWN + ANSWERED
        assert found.standing.news > 0


def test_what_the_peer_spoke_because_of_is_marked_as_answered(tmp_path: Path) -> None:
    with node(tmp_path, WRITER) as me:
        asked, other = WRITER.says("a question"), WRITER.says("other news")
        for record in (asked, other):
            store(me.memory, record, wakes=True)
        reply = WRITER.says("and another", parents=[asked.key])
        anchors = Anchors(me.memory)
        before = anchors.around(reply, "somebody", "me", "", {})
        assert before.standing.answered == 0
        assert not any(anchor.answered for anchor in (*before.known, *before.thread))
        me.memory.finish_wake(assertion_id(asked), "emitted", "", now_ms=NOW)
        me.memory.finish_wake(assertion_id(other), "declined", "", now_ms=NOW)
        after = anchors.around(reply, "somebody", "me", "", {})
        assert after.standing.answered == 1
        assert {anchor.name for anchor in after.known if anchor.answered} == {asked.key}
        assert [anchor.answered for anchor in after.thread] == [True]


def test_rejected_records_are_no_anchors(tmp_path: Path) -> None:
    with node(tmp_path, WRITER) as me:
        deliver(me, WRITER, WRITER.says("bake sourdough bread on sunday"))
        assert Anchors(me.memory).around(WRITER.says("x"), WRITER.node_id, "me", "", {}).known == []


def test_a_memory_of_the_version_before_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    record = WRITER.says("said long ago")
    memory = Memory.open(path)
    store(memory, record)
    memory.close()
    with sqlite3.connect(path) as db:
        for name in ("judged", "questions"):
            db.execute(f"DROP TABLE {name}")
        db.execute("DROP INDEX wakes_emitted")
        db.execute("DROP INDEX records_author")
        db.execute("PRAGMA user_version = 1")
    db.close()
    memory = Memory.open(path)
    assert [entry.key for entry in memory.latest(5)] == [record.key]
    assert memory.admission_counts() == []
    memory.close()
    assert max(UPGRADES) + 1 == SCHEMA_VERSION
