"""From memory to prompt: what is shown, in which order, and where the peer stands."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.nodes import NOW, Author, store

from xmesh_mesh.memory import Memory, Wake
from xmesh_mesh.record import Record
from xmesh_mesh.signing import assertion_id
from xmesh_peer.context import Heard
from xmesh_peer.recollect import Recollection, recollect
from xmesh_peer.safety.cycle import Ancestor
from xmesh_peer.settings import Context

ME = Author("reviewer-01")
WRITER = Author("writer-01")


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    opened = Memory.open(tmp_path / "memory.db")
    yield opened
    opened.close()


def say(memory: Memory, text: str, *parents: Record, commitment: str = "") -> Record:
    """Say something in the peer's own name."""
    record = ME.says(
        {"focus": text, "commitment": commitment}, parents=[parent.key for parent in parents]
    )
    with memory.transaction():
        memory.remember_own(record, assertion_id(record), ME.node_id, now_ms=NOW)
    return record


def hear(memory: Memory, text: str, *parents: Record, admitted: bool = True) -> Record:
    record = WRITER.says(text, parents=[parent.key for parent in parents])
    store(memory, record, wakes=admitted, admitted=admitted)
    return record


def recollected(
    memory: Memory, record: Record, depth: int = 5, **settings: int
) -> Recollection | None:
    entry = memory.by_assertion(assertion_id(record))
    thread = entry.thread if entry else ""
    wake = Wake(assertion_id(record), thread, False, "queued", NOW)
    return recollect(memory, wake, Context(**settings), depth)


def found(memory: Memory, record: Record, depth: int = 5, **settings: int) -> Recollection:
    result = recollected(memory, record, depth, **settings)
    assert result is not None
    return result


def texts(entries: object) -> list[str]:
    assert isinstance(entries, list)
    return [entry.texts["focus"] for entry in entries]


def test_a_record_whose_words_are_gone_cannot_be_recollected(memory: Memory) -> None:
    record = hear(memory, "task")
    assert recollected(memory, WRITER.says("never heard")) is None
    memory.finish_wake(assertion_id(record), "declined", "", now_ms=NOW)
    memory.prune(keep=0)
    assert recollected(memory, record) is None


def test_the_waking_record_is_shown_with_its_author_and_only_what_it_says(memory: Memory) -> None:
    record = hear(memory, "task")
    result = found(memory, record)
    assert result.remembrance.woke == Heard(record.key, "writer-01", {"focus": "task"})
    assert result.woke.assertion == assertion_id(record)
    assert not result.remembrance.lineage
    assert not result.remembrance.group


def test_lineage_is_shown_nearest_first_as_deep_as_configured(memory: Memory) -> None:
    chain = [hear(memory, "0")]
    for n in range(1, 5):
        chain.append(hear(memory, str(n), chain[-1]))
    assert texts(found(memory, chain[-1]).remembrance.lineage) == ["3", "2", "1"]
    assert texts(found(memory, chain[-1], k_lineage=1).remembrance.lineage) == ["3"]
    assert texts(found(memory, chain[-1], k_lineage=0).remembrance.lineage) == []


def test_a_record_with_many_parents_shows_no_more_lineage_than_configured(memory: Memory) -> None:
    parents = [hear(memory, f"parent {n}") for n in range(9)]
    record = hear(memory, "all", *parents)
    shown = found(memory, record).remembrance.lineage
    assert len(shown) == 3


def test_own_words_and_the_groups_are_shown_newest_first_and_nothing_twice(memory: Memory) -> None:
    task = hear(memory, "task")
    mine = say(memory, "mine 0", task)
    say(memory, "mine 1")
    for n in range(3):
        hear(memory, f"other {n}")
    hear(memory, "foreign", admitted=False)
    reply = hear(memory, "reply", mine)
    result = found(memory, reply).remembrance
    assert texts(result.lineage) == ["mine 0", "task"]
    assert texts(result.own) == ["mine 1", "mine 0"]
    assert texts(result.group) == ["other 2", "other 1", "other 0"]
    less = found(memory, reply, n_own=1, n_group=2).remembrance
    assert (texts(less.own), texts(less.group)) == (["mine 1"], ["other 2", "other 1"])
    # What stands further up already is made up for by older records.
    assert texts(found(memory, hear(memory, "next", reply), n_group=3).remembrance.group) == [
        "other 2", "other 1", "other 0"
    ]  # fmt: skip
    none = found(memory, reply, n_own=0, n_group=0).remembrance
    assert (texts(none.own), texts(none.group)) == ([], [])


def test_records_without_words_are_not_shown(memory: Memory) -> None:
    task = hear(memory, "task")
    memory.finish_wake(assertion_id(task), "declined", "", now_ms=NOW)
    memory.prune(keep=0)
    reply = hear(memory, "reply", task)
    assert found(memory, reply).remembrance.lineage == []


def test_the_newest_three_moods_of_rejected_records_are_shown(memory: Memory) -> None:
    for n in range(4):
        store(memory, WRITER.says(f"foreign {n}"), admitted=False, mood=f"mood {n}")
    record = hear(memory, "task")
    assert found(memory, record).remembrance.moods == [
        "writer-01: mood 3", "writer-01: mood 2", "writer-01: mood 1",
    ]  # fmt: skip


# Where the peer stands in the thread


def test_the_waking_record_is_at_depth_one_and_its_ancestors_above(memory: Memory) -> None:
    task = hear(memory, "task")
    mine = say(memory, "mine", task, commitment="I review it")
    reply = hear(memory, "reply", mine)
    state = found(memory, reply).thread
    assert state.ancestry == [Ancestor(1, False), Ancestor(2, True), Ancestor(3, False)]
    assert state.last_commitment == "I review it"
    assert found(memory, reply, 1).thread.ancestry[0] == Ancestor(1, False)
    assert found(memory, task).thread.ancestry == [Ancestor(1, False)]


def test_an_own_record_that_wakes_is_own_at_depth_one(memory: Memory) -> None:
    mine = say(memory, "mine")
    assert found(memory, mine).thread.ancestry == [Ancestor(1, True)]


def test_ancestry_reaches_as_far_as_the_cycle_depth(memory: Memory) -> None:
    record = say(memory, "mine 0")
    for n in range(4):
        record = hear(memory, f"reply {n}", record)
    near = [a for a in found(memory, record, 4).thread.ancestry if a.depth <= 4]
    assert not any(ancestor.own for ancestor in near)
    far = [a for a in found(memory, record, 5).thread.ancestry if a.depth <= 5]
    assert far[-1] == Ancestor(5, True)


def test_the_last_commitment_is_that_of_the_newest_own_record_in_this_thread(
    memory: Memory,
) -> None:
    task = hear(memory, "task")
    assert found(memory, task).thread.last_commitment is None
    say(memory, "one", task, commitment="first")
    say(memory, "two", task, commitment="second")
    say(memory, "elsewhere", commitment="other")
    assert found(memory, task).thread.last_commitment == "second"
    memory.prune(keep=0)
    assert found(memory, task).thread.last_commitment is None
