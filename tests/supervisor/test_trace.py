"""``xmesh-sup trace``: the whole conversation, from anybody's memory, and what it cost."""

from collections.abc import Iterator

import pytest
from helpers.bus import make_identity
from helpers.mesh import ROLES, Mesh
from helpers.people import rested_triad, signed

from xmesh_mesh.memory import Memory
from xmesh_mesh.paths import RuntimeDir
from xmesh_mesh.signing import assertion_id
from xmesh_peer.safety.budgets import Caps
from xmesh_peer.safety.ledger import Account, SpendLedger
from xmesh_supervisor.commands import trace
from xmesh_supervisor.commands.trace import ThreadCost


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with rested_triad() as mesh:
        yield mesh


def test_every_peer_tells_the_same_conversation(mesh: Mesh) -> None:
    told = [mesh.json("trace", "--peer", name) for name in ROLES]
    keys = [{record["key"] for record in one["records"]} for one in told]
    assert keys[0] == keys[1] == keys[2]
    assert {record["by"] for record in told[0]["records"]} == {"operator", *ROLES}
    assert [one["memory"] for one in told] == list(ROLES)


def test_the_newest_conversation_is_one_that_mattered(mesh: Mesh) -> None:
    texts = [record["fields"].get("focus", "") for record in mesh.json("trace")["records"]]
    assert not any("zebras" in text for text in texts)


def test_each_answer_stands_under_what_it_answers(mesh: Mesh) -> None:
    lines = mesh.sup("trace").stdout.splitlines()
    heads = [line for line in lines if "cmb-" in line and "conversation" not in line]
    depths = [len(line) - len(line.lstrip(" ")) for line in heads]
    assert heads[0].startswith("operator  cmb-")
    assert depths[0] == 0
    assert all(depth > 0 for depth in depths[1:])
    assert max(depths) >= 4


def test_it_ends_with_what_the_conversation_cost(mesh: Mesh) -> None:
    document = mesh.json("trace")
    count, calls = len(document["records"]), document["cost"]["calls"]
    assert calls == mesh.calls()
    last = mesh.sup("trace").stdout.splitlines()[-1]
    assert last == (
        f"{count} records by 3 peers and the operator, {calls} calls, rehearsal, no LLM, $0.00"
    )


def test_a_prefix_names_a_record_and_it_is_marked(mesh: Mesh) -> None:
    key = mesh.json("trace")["records"][1]["key"]
    printed = mesh.sup("trace", key[:14]).stdout
    assert f"{key[:12]}…  ◄" in printed
    assert printed.count("◄") == 1


def test_an_unknown_record_is_refused(mesh: Mesh) -> None:
    done = mesh.sup("trace", "cmb-00000000", check=False)
    assert done.returncode == 2
    assert "reviewer-01" in done.stderr


def test_before_anything_was_said_it_says_so(runtime_dir: RuntimeDir) -> None:
    done = Mesh(runtime_dir).sup("trace", check=False)
    assert done.returncode == 1
    assert "observe" in done.stderr


def test_a_conversation_can_be_read_when_nothing_runs_and_no_words_steer_the_terminal(
    runtime_dir: RuntimeDir,
) -> None:
    identity = make_identity("writer-01")
    # Two say the same words under one address, and one record answers both.
    same = [signed(who, {"focus": "\x1b[2Jboo"}) for who in (identity, make_identity("evil"))]
    answer = signed(identity, {"focus": "answer"}, parents=[same[0].key])
    memory = Memory.open(runtime_dir.memory("writer-01"))
    with memory.transaction():
        for record in (*same, answer):
            memory.remember_own(record, assertion_id(record), record.created_by, now_ms=1)
    memory.close()
    printed = Mesh(runtime_dir).sup("trace").stdout
    assert "\x1b" not in printed
    assert printed.count(r"focus: \x1b[2Jboo") == 2
    assert "  └ writer-01" in printed
    assert printed.splitlines()[-1] == "3 records by 2 peers"


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        (ThreadCost(0, 0, 0, ()), "0 calls, $0.00"),
        (ThreadCost(1, 0, 0, ("rehearsal",)), "1 call, rehearsal, no LLM, $0.00"),
        (ThreadCost(2, 0, 0, ("ollama",)), "2 calls, ollama, no vendor, $0.00"),
        (ThreadCost(2, 1, 0, ("openai", "anthropic")), "2 calls, openai, anthropic, $0.0001"),
        (ThreadCost(2, 10**9, 1, ("openai",)), "2 calls, openai, $1.0000 (1 at their worst case)"),
    ],
)
def test_a_cost_is_said_in_words(cost: ThreadCost, text: str) -> None:
    assert cost.text() == text


def test_only_calls_for_the_conversation_count(runtime_dir: RuntimeDir) -> None:
    assert trace.cost_of(runtime_dir, ["a"]) is None
    account = Account("writer-01", "run", Caps(9, 9, 9, 10**9, 10**9, 10**9))
    with SpendLedger(runtime_dir.spend_db) as ledger:
        for call, wake in (("1", "a"), ("2", "b"), ("3", "a"), ("4", "other")):
            ledger.reserve(account, call, wake, 100)
        ledger.settle("writer-01", "1", 7)
    assert trace.cost_of(runtime_dir, ["a", "b"]) == ThreadCost(3, 207, 2, ())
    assert trace.cost_of(runtime_dir, ["nothing"]) == ThreadCost(0, 0, 0, ())
