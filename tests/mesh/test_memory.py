"""A node's memory: whole transactions only, every emit once, threads, wakes, outbox, retention."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.nodes import NOW, Author, judged, store
from helpers.records import KEY_A, KEY_B
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from xmesh_mesh import memory as memory_module
from xmesh_mesh.errors import StoreError
from xmesh_mesh.lineage import ancestors
from xmesh_mesh.memory import MAX_QUEUED_WAKES, Answer, Memory, Outgoing, Wake
from xmesh_mesh.memory_rows import SCHEMA_VERSION
from xmesh_mesh.record import Record, encode
from xmesh_mesh.signing import assertion_id

WRITER = Author("writer-01")
REVIEWER = Author("reviewer-01")


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    opened = Memory.open(tmp_path / "nodes" / "me" / "memory.db")
    yield opened
    opened.close()


def own(memory: Memory, record: Record, **changes: bool) -> str:
    assertion = assertion_id(record)
    with memory.transaction():
        memory.remember_own(record, assertion, WRITER.node_id, now_ms=NOW, **changes)
    return assertion


def wake(memory: Memory, text: str, *, directed: bool = False) -> str:
    return store(memory, REVIEWER.says(text), wakes=True, directed=directed)


# Every emit once


def test_a_record_is_read_back_as_it_was_stored_with_its_verdict(memory: Memory) -> None:
    record = WRITER.says({"focus": "one", "mood": "glad"})
    with memory.transaction():
        memory.remember(
            record, "a" * 64,
            judged(WRITER.node_id, admitted=False, directed=True, verdict="rejected", drift=0.7,
                   reasons=("foreign", "far"), fields='{"x":1}', mood="glad"),
            wire=encode(record), seq=7, now_ms=NOW + 5, wakes=False,
        )  # fmt: skip
    entry = memory.by_assertion("a" * 64)
    assert entry is not None
    assert entry.record == record
    assert (entry.key, entry.author, entry.created_by) == (record.key, WRITER.node_id, "writer-01")
    assert (entry.created_ms, entry.received_ms, entry.seq) == (NOW, NOW + 5, 7)
    assert (entry.own, entry.directed, entry.admitted) == (False, True, False)
    assert (entry.verdict, entry.drift, entry.reasons) == ("rejected", 0.7, ("foreign", "far"))
    assert (entry.fields, entry.mood, entry.thread) == ('{"x":1}', "glad", record.key)
    assert (entry.wake, entry.outcome, entry.detail, entry.emitted) == (None, None, None, None)
    assert memory.by_assertion("b" * 64) is None


def test_what_is_remembered_is_known_by_its_assertion(memory: Memory) -> None:
    record = WRITER.says("one")
    assert not memory.knows(assertion_id(record))
    store(memory, record)
    assert memory.knows(assertion_id(record))
    assert not memory.knows(assertion_id(WRITER.says("one", created_ms=NOW + 1)))


def test_one_emit_cannot_be_stored_twice(memory: Memory) -> None:
    store(memory, WRITER.says("one"))
    with pytest.raises(StoreError):
        store(memory, WRITER.says("one"))
    assert memory.counts()["records"] == 1


def test_two_authors_of_the_same_words_are_both_kept(memory: Memory) -> None:
    one, other = WRITER.says("the same"), REVIEWER.says("the same")
    assert one.key == other.key
    first = store(memory, one, author=WRITER.node_id)
    second = store(memory, other, author=REVIEWER.node_id)
    assert memory.counts()["records"] == 2
    assert [entry.author for entry in memory.latest(5)] == [REVIEWER.node_id, WRITER.node_id]
    found = memory.record(one.key)
    assert found is not None
    assert found.assertion == first
    by_id = memory.record(second)
    assert by_id is not None
    assert by_id.author == REVIEWER.node_id
    assert [entry.assertion for entry in memory.by_keys([one.key])] == [first]


def test_lineage_walks_end_on_cycles_and_on_records_that_cite_themselves(memory: Memory) -> None:
    a, b = WRITER.says("a").key, WRITER.says("b").key
    store(memory, WRITER.says("a", parents=[a, b]))
    store(memory, REVIEWER.says("a", parents=[KEY_A]))
    store(memory, WRITER.says("b", parents=[a]))
    assert memory.parents_of(a) == sorted([b, KEY_A])
    assert ancestors(a, memory.parents_of, 1000) == [
        (1, key) for key in sorted([b, KEY_A])
    ]  # fmt: skip
    assert ancestors(b, memory.parents_of, 1000) == [(1, a), (2, KEY_A)]


# Threads


def test_a_reply_is_in_the_thread_of_its_first_known_parent(memory: Memory) -> None:
    task, other = WRITER.says("task"), WRITER.says("other")
    for record in (task, other):
        store(memory, record)
    reply = REVIEWER.says("reply", parents=[KEY_A, task.key, other.key])
    deeper = WRITER.says("deeper", parents=[reply.key])
    store(memory, reply)
    store(memory, deeper)
    told = [entry.key for entry in memory.in_thread(task.key)]
    assert told == [task.key, reply.key, deeper.key]
    assert [entry.key for entry in memory.in_thread(other.key)] == [other.key]
    assert memory.in_thread("cmb-" + "0" * 64) == []


def test_replies_to_one_unknown_parent_share_a_thread(memory: Memory) -> None:
    store(memory, WRITER.says("one", parents=[KEY_B, KEY_A]))
    store(memory, WRITER.says("two", parents=[KEY_A]))
    assert len(memory.in_thread(KEY_A)) == 2


def test_a_view_of_a_thread_holds_the_newest_of_it_oldest_first(memory: Memory) -> None:
    task = WRITER.says("task")
    store(memory, task)
    replies = [REVIEWER.says(f"r{n}", parents=[task.key]) for n in range(4)]
    store(memory, replies[0])
    own(memory, replies[1])
    store(memory, replies[2], admitted=False)
    own(memory, replies[3])
    keys = [record.key for record in replies]
    assert [entry.key for entry in memory.in_thread(task.key, newest=2)] == keys[2:]
    admitted = [entry.key for entry in memory.in_thread(task.key, admitted=True)]
    assert admitted == [task.key, keys[0], keys[1], keys[3]]
    assert [e.key for e in memory.in_thread(task.key, newest=1, own=True)] == [keys[3]]
    assert [e.key for e in memory.in_thread(task.key, own=True)] == [keys[1], keys[3]]


def test_own_words_in_a_thread_count_and_so_do_those_kept_back_after_a_call(
    memory: Memory,
) -> None:
    task = WRITER.says("task")
    store(memory, task)
    own(memory, WRITER.says("mine", parents=[task.key]))
    assert memory.used_in_thread(task.key) == 1
    for n, outcome in enumerate(["suppressed", "held", "declined", "emitted", "limited", "failed"]):
        reply = REVIEWER.says(f"reply {n}", parents=[task.key])
        assertion = store(memory, reply, wakes=True)
        memory.finish_wake(assertion, outcome, "", now_ms=NOW)
    assert memory.used_in_thread(task.key) == 3
    assert memory.used_in_thread(KEY_A) == 0


# Wakes


def test_wakes_come_in_the_order_of_arrival_and_an_interrupted_one_first(memory: Memory) -> None:
    first, second, third = (wake(memory, text) for text in ("one", "two", "three"))
    assert memory.next_wake() == Wake(first, REVIEWER.says("one").key, False, "queued", NOW)
    memory.begin_wake(second)
    interrupted = memory.next_wake()
    assert interrupted is not None
    assert (interrupted.assertion, interrupted.state) == (second, "running")
    memory.finish_wake(second, "declined", "why", now_ms=NOW + 1)
    for assertion in (first, third):
        following = memory.next_wake()
        assert following is not None
        assert following.assertion == assertion
        memory.finish_wake(assertion, "emitted", "", now_ms=NOW, emitted="e" * 64)
    assert memory.next_wake() is None
    entry = memory.by_assertion(second)
    assert entry is not None
    assert (entry.wake, entry.outcome, entry.detail) == ("done", "declined", "why")
    entry = memory.by_assertion(third)
    assert entry is not None
    assert entry.emitted == "e" * 64


def test_remembering_without_waking_queues_nothing(memory: Memory) -> None:
    store(memory, WRITER.says("one"))
    assert memory.next_wake() is None
    assert memory.wake_counts() == {}


def test_a_full_queue_drops_its_oldest_undirected_wake_and_counts_it(memory: Memory) -> None:
    directed = wake(memory, "directed", directed=True)
    running = wake(memory, "running")
    memory.begin_wake(running)
    queued = [wake(memory, f"wake {n}") for n in range(MAX_QUEUED_WAKES - 1)]
    assert memory.wake_counts() == {"queued": MAX_QUEUED_WAKES, "running": 1}
    wake(memory, "one too many")
    assert memory.wake_counts() == {"queued": MAX_QUEUED_WAKES, "running": 1, "dropped": 1}
    entry = memory.by_assertion(queued[0])
    assert entry is not None
    assert (entry.wake, entry.outcome) == ("dropped", "overflow")
    assert str(MAX_QUEUED_WAKES) in (entry.detail or "")
    assert entry.record is not None
    for kept in (directed, queued[1]):
        entry = memory.by_assertion(kept)
        assert entry is not None
        assert entry.wake == "queued"


def test_a_queue_full_of_directed_wakes_drops_an_undirected_newcomer_at_once(
    memory: Memory,
) -> None:
    directed = [wake(memory, f"wake {n}", directed=True) for n in range(MAX_QUEUED_WAKES)]
    record = REVIEWER.says("undirected")
    with memory.transaction():
        found = memory.remember(
            record, "a" * 64, judged(), wire=encode(record), seq=1, now_ms=NOW, wakes=True
        )
    assert found == Wake("a" * 64, record.key, False, "dropped", NOW)
    wake(memory, "directed too", directed=True)
    entry = memory.by_assertion(directed[0])
    assert entry is not None
    assert entry.wake == "dropped"
    assert memory.wake_counts() == {"queued": MAX_QUEUED_WAKES, "dropped": 2}


def test_every_open_wake_can_be_dropped_at_once(memory: Memory) -> None:
    done, running, queued = (wake(memory, text) for text in ("one", "two", "three"))
    memory.finish_wake(done, "declined", "", now_ms=NOW)
    memory.begin_wake(running)
    assert memory.drop_queued("killed", NOW + 9) == 2
    assert memory.next_wake() is None
    entry = memory.by_assertion(queued)
    assert entry is not None
    assert (entry.wake, entry.outcome, entry.detail) == ("dropped", "dropped", "killed")
    assert memory.drop_queued("again", NOW) == 0
    assert memory.wake_counts() == {"done": 1, "declined": 1, "dropped": 2}


def test_wakes_are_counted_by_state_and_finished_ones_by_outcome_too(memory: Memory) -> None:
    for n, outcome in enumerate(["emitted", "emitted", "declined"]):
        memory.finish_wake(wake(memory, f"w{n}"), outcome, "", now_ms=NOW)
    wake(memory, "queued")
    assert memory.wake_counts() == {"done": 3, "emitted": 2, "declined": 1, "queued": 1}


def test_a_stored_answer_is_unsettled_until_the_ledger_has_it(memory: Memory) -> None:
    assertion = wake(memory, "one")
    with memory.transaction():
        memory.finish_wake(
            assertion, "declined", "", now_ms=NOW, answer=Answer("call-1", 1234, "{}")
        )
    assert memory.unsettled() == [("call-1", 1234)]
    memory.mark_settled("call-2")
    assert memory.unsettled() == [("call-1", 1234)]
    memory.mark_settled("call-1")
    assert memory.unsettled() == []


# What goes out


def test_the_outbox_holds_own_records_in_order_until_the_bus_has_them(memory: Memory) -> None:
    later = WRITER.says("written first", created_ms=NOW + 9)
    sooner = WRITER.says("written second", to=REVIEWER.node_id)
    first, second = own(memory, later), own(memory, sooner)
    own(memory, WRITER.says("kept here"), send=False)
    outbox = memory.outbox()
    assert outbox == [
        Outgoing(first, None, encode(later)),
        Outgoing(second, REVIEWER.node_id, encode(sooner)),
    ]
    unsent = memory.by_assertion(first)
    assert unsent is not None
    assert (unsent.seq, unsent.directed, unsent.author) == (0, False, WRITER.node_id)
    memory.sent(first, 41)
    assert [outgoing.assertion for outgoing in memory.outbox()] == [second]
    entry = memory.by_assertion(first)
    assert entry is not None
    assert (entry.seq, entry.own, entry.admitted, entry.verdict) == (41, True, True, "own")
    assert memory.discard_outbox() == 1
    assert memory.outbox() == []
    assert memory.knows(second)
    assert memory.is_own(later.key)
    store(memory, REVIEWER.says("theirs"))
    assert not memory.is_own(REVIEWER.says("theirs").key)


def test_what_a_gate_holds_is_kept_apart_from_what_was_said(memory: Memory) -> None:
    one, two = WRITER.says("drop the table"), WRITER.says("drop it all")
    memory.hold(two, "b" * 64, "w" * 64, "[2]", NOW + 1)
    memory.hold(one, "a" * 64, "w" * 64, "[1]", NOW)
    held = memory.held()
    assert [(h.assertion, h.wake, h.hits, h.at_ms) for h in held] == [
        ("a" * 64, "w" * 64, "[1]", NOW),
        ("b" * 64, "w" * 64, "[2]", NOW + 1),
    ]
    assert held[0].record == one
    assert memory.counts() == {
        "records": 0, "own": 0, "admitted": 0, "rejected": 0, "outbox": 0, "held": 2
    }  # fmt: skip


def test_counts_tell_own_admitted_and_rejected_apart(memory: Memory) -> None:
    own(memory, WRITER.says("mine"))
    for n, admitted in enumerate([True, True, False, False, False]):
        store(memory, REVIEWER.says(f"r{n}"), admitted=admitted)
    assert memory.counts() == {
        "records": 6, "own": 1, "admitted": 2, "rejected": 3, "outbox": 1, "held": 0
    }  # fmt: skip


# Looking things up


@pytest.mark.parametrize("field", ["key", "assertion"])
def test_a_record_is_found_by_any_prefix_of_eight_or_more(memory: Memory, field: str) -> None:
    assertion = store(memory, WRITER.says("one"))
    entry = memory.by_assertion(assertion)
    assert entry is not None
    whole = getattr(entry, field)
    digits = whole.removeprefix("cmb-")
    for ref in (whole, digits, digits[:8], digits[:40]):
        assert memory.record(ref) == entry
    assert memory.record(f"cmb-{digits[:8]}") == entry
    for ref in (digits[:7], digits[:9] + "x", digits + "0", digits[:8].upper() + "G", "", "%"):
        assert memory.record(ref) is None


def test_an_ambiguous_prefix_finds_nothing(memory: Memory) -> None:
    with memory.transaction():
        for n, text in enumerate(["one", "one", "two"]):
            record = WRITER.says(text, created_ms=NOW + n)
            memory.remember(
                record, "abcdef01" + str(n) * 56, judged(),
                wire=encode(record), seq=n, now_ms=NOW, wakes=False,
            )  # fmt: skip
    assert memory.record("abcdef01") is None
    found = memory.record("abcdef012")
    assert found is not None
    assert found.key == WRITER.says("two").key
    same_words = memory.record(WRITER.says("one").key)
    assert same_words is not None
    assert same_words.assertion == "abcdef01" + "0" * 56


def test_the_newest_are_the_admitted_ones_and_can_be_asked_for_by_author(memory: Memory) -> None:
    keys = {}
    for name, changes in {"a": {}, "rejected": {"admitted": False}, "b": {}}.items():
        keys[store(memory, REVIEWER.says(name), **changes)] = name
    keys[own(memory, WRITER.says("mine"))] = "mine"

    def names(found: list[memory_module.Remembered]) -> list[str]:
        return [keys[entry.assertion] for entry in found]

    assert names(memory.newest(9)) == ["mine", "b", "a"]
    assert names(memory.newest(1)) == ["mine"]
    assert names(memory.newest(0)) == []
    assert names(memory.newest(9, own=True)) == ["mine"]
    assert names(memory.newest(9, own=False)) == ["b", "a"]
    assert names(memory.latest(3)) == ["mine", "b", "rejected"]


def test_records_by_keys_come_in_the_order_asked_for(memory: Memory) -> None:
    one, two = WRITER.says("one"), WRITER.says("two")
    store(memory, one)
    store(memory, two)
    found = memory.by_keys([two.key, KEY_A, one.key])
    assert [entry.key for entry in found] == [two.key, one.key]


def test_moods_of_rejected_records_are_found_newest_first(memory: Memory) -> None:
    for n in range(3):
        store(memory, WRITER.says(f"m{n}"), mood=f"mood {n}", admitted=False)
    store(memory, WRITER.says("without"), admitted=False)
    assert [entry.mood for entry in memory.moods(2)] == ["mood 2", "mood 1"]


def test_recall_finds_records_with_every_word_best_first(memory: Memory) -> None:
    once = store(memory, WRITER.says({"focus": "the login limits " + "of much else " * 20}))
    often = store(memory, WRITER.says({"focus": "login limits", "issue": "login has no limits"}))
    store(memory, WRITER.says("login without the other word"))
    assert [entry.assertion for entry in memory.recall("LOGIN limits")] == [often, once]
    assert [entry.assertion for entry in memory.recall("login limits", limit=1)] == [often]
    assert len(memory.recall("login")) == 3
    assert memory.recall("neutral") == []


@pytest.mark.parametrize(
    ("query", "hits"),
    [
        ('say "login"', 1), ("NOT login", 0), ("login OR", 0), ("login*", 1), ("(login", 1),
        ("body:login", 0), ("log\0in", 0), ("login \0", 1), ("", 0), ("   ", 0), ('"', 0),
        ("login \ud800", 1), ("^ login -", 1), ("login " * 3000, 1), ("x" * 100_000, 0),
    ],
)  # fmt: skip
def test_recall_knows_no_query_syntax(memory: Memory, query: str, hits: int) -> None:
    store(memory, WRITER.says("say login"))
    assert len(memory.recall(query)) == hits


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text())
@example("\ud800")
def test_recall_takes_any_text(memory: Memory, text: str) -> None:
    assert memory.recall(text) == []


def test_small_values_and_the_position_are_kept(memory: Memory, tmp_path: Path) -> None:
    assert memory.position() is None
    assert memory.meta("old-news") is None
    memory.advance("epoch-1", 7)
    memory.advance("epoch-1", 8)
    memory.set_meta("old-news", "1")
    memory.set_meta("old-news", "2")
    again = Memory.open_readonly(tmp_path / "nodes" / "me" / "memory.db")
    assert (again.position(), again.meta("old-news")) == (("epoch-1", 8), "2")
    again.close()


# Retention


def test_the_bounds_are_what_the_documents_say() -> None:
    assert (MAX_QUEUED_WAKES, memory_module.KEEP_WORDS) == (64, 100_000)


def test_retention_takes_old_words_and_never_identity_lineage_or_the_words_of_open_wakes(
    memory: Memory,
) -> None:
    old = WRITER.says("old words", parents=[KEY_A])
    assertions = [store(memory, old)]
    queued, running, done = (wake(memory, text) for text in ("queued", "running", "done"))
    memory.begin_wake(running)
    memory.finish_wake(done, "declined", "", now_ms=NOW)
    assertions += [store(memory, WRITER.says(f"new {n}")) for n in range(2)]
    assert memory.prune(keep=6) == 0
    assert memory.prune(keep=2) == 2
    assert memory.prune(keep=2) == 0
    kept = {}
    for entry in memory.latest(9):
        kept[entry.assertion] = entry.record is not None
    assert kept == {
        assertions[0]: False, queued: True, running: True, done: False,
        assertions[1]: True, assertions[2]: True,
    }  # fmt: skip
    assert all(map(memory.knows, kept))
    assert memory.parents_of(old.key) == [KEY_A]
    assert memory.recall("old") == []
    assert len(memory.recall("queued")) == 1
    assert [entry.assertion for entry in memory.newest(9)] == [
        assertions[2], assertions[1], running, queued
    ]  # fmt: skip
    found = memory.record(old.key)
    assert found is not None
    assert (found.thread, found.record) == (KEY_A, None)


def test_retention_runs_by_itself_however_often_the_process_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_module, "_PRUNE_EVERY", 4)
    monkeypatch.setattr(Memory.prune, "__defaults__", (2,))
    for n in range(4):
        reopened = Memory.open(tmp_path / "memory.db")
        store(reopened, WRITER.says(f"record {n}"))
        with_words = [entry.record is not None for entry in reopened.latest(9)]
        reopened.close()
    assert with_words == [True, True, False, False]


# Transactions, crashes and other processes


def test_a_transaction_is_whole_or_nothing(memory: Memory) -> None:
    record = WRITER.says("one")

    def fail_half_way() -> None:
        with memory.transaction():
            with memory.transaction():
                memory.remember_own(record, "a" * 64, WRITER.node_id, now_ms=NOW)
            memory.advance("epoch", 1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert memory.counts()["records"] == memory.counts()["outbox"] == 0
    assert memory.position() is None
    assert memory.parents_of(record.key) == []
    assert memory.recall("one") == []


_WRITING = """
import sys
from pathlib import Path
from helpers.nodes import NOW, Author, judged
from xmesh_mesh.memory import Answer, Memory
from xmesh_mesh.record import encode
from xmesh_mesh.signing import assertion_id

memory, author = Memory.open(Path(sys.argv[1])), Author("writer-01")
n = memory.counts()["records"] // 2
while True:
    heard = author.says(f"heard {n}")
    said = author.says(f"said {n}", parents=[heard.key])
    with memory.transaction():
        memory.remember(heard, assertion_id(heard), judged(), wire=encode(heard), seq=n,
                        now_ms=NOW, wakes=True)
        memory.advance("epoch", n)
    with memory.transaction():
        memory.finish_wake(assertion_id(heard), "emitted", "", now_ms=NOW,
                           answer=Answer(f"call-{n}", 1, "{}"), emitted=assertion_id(said))
        memory.remember_own(said, assertion_id(said), author.node_id, now_ms=NOW)
    n += 1
    print(n, flush=True)
"""


def test_a_kill_between_any_two_statements_leaves_whole_transactions_only(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for round_ in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITING, str(path)],
            stdout=subprocess.PIPE,
            env=environment,
        ) as child:
            assert child.stdout is not None
            for _ in range(1 + 3 * round_):
                acknowledged = int(child.stdout.readline())
            child.send_signal(signal.SIGKILL)
            child.wait()
        memory = Memory.open(path)
        counts, wakes, position = memory.counts(), memory.wake_counts(), memory.position()
        assert counts["own"] >= acknowledged
        assert counts["own"] == counts["outbox"] == len(memory.unsettled())
        assert counts["own"] == wakes["done"] == wakes["emitted"]
        assert counts["admitted"] - counts["own"] == wakes.get("queued", 0) <= 1
        assert position == ("epoch", counts["admitted"] - 1)
        # What a crash left open is done now, or the next round would count it as its own.
        pending = memory.next_wake()
        if pending is not None:
            entry = memory.by_assertion(pending.assertion)
            assert entry is not None
            said = WRITER.says(f"said {position[1]}", parents=[entry.key])
            with memory.transaction():
                memory.finish_wake(
                    pending.assertion, "emitted", "", now_ms=NOW,
                    answer=Answer(f"call-{position[1]}", 1, "{}"), emitted=assertion_id(said),
                )  # fmt: skip
                memory.remember_own(said, assertion_id(said), WRITER.node_id, now_ms=NOW)
        memory.close()


def test_a_reader_sees_whole_transactions_while_another_process_writes(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, "-c", _WRITING, str(path)], stdout=subprocess.PIPE, env=environment
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        reader = Memory.open_readonly(path)
        seen = []
        for _ in range(20):
            child.stdout.readline()
            seen.append(reader.counts())
        child.kill()
    assert seen[-1]["records"] > seen[0]["records"]
    assert all(counts["own"] == counts["outbox"] for counts in seen)
    with pytest.raises(StoreError, match="readonly"):
        reader.advance("epoch", 1)
    reader.close()


def test_two_processes_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from xmesh_mesh.memory import Memory;"
        "sys.stdin.readline(); Memory.open(Path(sys.argv[1])).close()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "memory.db")],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        for _ in range(4)
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write(b"\n")
        child.stdin.flush()
    told = [child.communicate(timeout=30)[1] for child in children]
    assert [child.returncode for child in children] == [0] * 4, told


def test_the_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "new" / "memory.db"
    memory = Memory.open(path)
    store(memory, WRITER.says("one"))
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    memory.close()


# Files that cannot be used


@pytest.mark.parametrize("opening", [Memory.open, Memory.open_readonly])
def test_a_file_of_another_version_is_refused_and_left_alone(
    opening: Callable[[Path], Memory], tmp_path: Path
) -> None:
    path = tmp_path / "memory.db"
    Memory.open(path).close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()
    with pytest.raises(StoreError, match=f"schema {SCHEMA_VERSION + 1}") as caught:
        opening(path)
    assert caught.value.where == str(path)
    assert caught.value.fix


@pytest.mark.parametrize("opening", [Memory.open, Memory.open_readonly])
def test_garbage_is_refused_and_left_alone(
    opening: Callable[[Path], Memory], tmp_path: Path
) -> None:
    path = tmp_path / "memory.db"
    path.write_bytes(b"garbage " * 1000)
    with pytest.raises(StoreError, match="not a database"):
        opening(path)
    assert path.read_bytes() == b"garbage " * 1000


def test_a_directory_in_the_way_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened"):
        Memory.open(tmp_path / "file" / "memory.db")


def test_looking_at_a_memory_that_is_not_there_makes_none(tmp_path: Path) -> None:
    path = tmp_path / "ghost-01" / "memory.db"
    with pytest.raises(StoreError, match="ghost-01 has no memory yet"):
        Memory.open_readonly(path)
    assert not path.parent.exists()


def test_a_path_with_special_characters_can_be_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "50% off?#1" / "memory.db"
    Memory.open(path).close()
    Memory.open_readonly(path).close()


def test_a_damaged_record_is_a_store_error(memory: Memory) -> None:
    store(memory, WRITER.says("one"))
    memory._run("UPDATE records SET wire = 'nonsense'")
    with pytest.raises(StoreError, match="damaged"):
        memory.latest(1)


def _fill(memory: Memory) -> int:
    """Store records until there is no room; return how many were stored."""
    for n in range(2_000):
        try:
            store(memory, WRITER.says({"focus": f"{n} " + "words " * 400}), wakes=True)
        except StoreError:
            return n
    raise AssertionError("the disk does not fill")


def _check_full_then_room(memory: Memory, stored: int) -> None:
    """Nothing is half there, and whatever follows works once there is room."""
    assert stored > 0
    assert memory.counts()["records"] == stored
    assert len(memory.latest(10_000)) == stored
    assert len(memory.recall("words", limit=10_000)) == stored
    assert sum(memory.wake_counts().values()) == stored
    store(memory, WRITER.says("there is room again"))
    assert len(memory.recall("room")) == 1


def test_a_file_at_its_limit_raises_store_error_and_recovers(memory: Memory) -> None:
    pages = memory._one("PRAGMA page_count")[0]
    memory._one(f"PRAGMA max_page_count = {pages + 60}")
    stored = _fill(memory)
    memory._one("PRAGMA max_page_count = 1000000")
    _check_full_then_room(memory, stored)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_raises_store_error_and_recovers(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        memory = Memory.open(disk / "memory.db")
        stored = _fill(memory)
        grow = ["mount", "-o", "remount,size=8m", str(disk)]
        subprocess.run(grow, check=True)
        _check_full_then_room(memory, stored)
        memory.close()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
