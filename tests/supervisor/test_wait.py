"""``xmesh-sup wait``: quiet means quiet, twice, and what goes on is named."""

from typing import Any

import pytest
from helpers.bus import BusProcess
from helpers.mesh import TASK, Mesh, running, triad
from helpers.people import join
from helpers.vendors import hang, serve

from xmesh_mesh.bus.frames import MemberStatus, StatusReply
from xmesh_mesh.paths import RuntimeDir
from xmesh_supervisor.commands.wait import Look, assess, is_quiet

ASLEEP: dict[str, Any] = {
    "state": "asleep", "note": "", "node_id": "id", "held": 0, "outbox": 0,
    "wakes": {"queued": 0, "running": 0, "done": 5, "dropped": 1},
}  # fmt: skip


def bus(pending: int = 0, head: int = 3) -> StatusReply:
    members = [MemberStatus("id", "w", "g", 3, pending, True, 0)]
    # The operator and the stopped are far behind, and nobody waits for them.
    members.append(MemberStatus("op", "operator", "g", 0, 9, False, 0))
    return StatusReply("e", head, 1, members, 0)


def look(state: str = "running", pending: int = 0, **changes: object) -> Look:
    status = {**ASLEEP, **changes} if state == "running" else {}
    return assess({"w": (state, status)}, bus(pending))


def test_a_peer_that_sleeps_and_has_everything_is_quiet() -> None:
    assert look() == Look((), (), ("e", 3))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"state": "starting"}, "w is starting"),
        ({"state": "stopping"}, "w is stopping"),
        ({"state": "backoff"}, "w is backoff"),
        ({"pending": 1}, "w has 1 records to receive"),
        ({"outbox": 1}, "w has 1 records to send"),
        ({"wakes": {"queued": 1, "running": 0}}, "w has 1 wakes to act on"),
        ({"wakes": {"queued": 2, "running": 1}}, "w has 3 wakes to act on"),
        ({"node_id": "another"}, "w has not joined the bus"),
    ],
)
def test_whatever_goes_on_is_named(changes: dict[str, Any], text: str) -> None:
    assert look(**changes).busy == (text,)


@pytest.mark.parametrize("state", ["thinking", "stopping"])
def test_a_peer_that_does_something_is_not_quiet(state: str) -> None:
    status = {**ASLEEP, "state": state, "note": "on cmb-1"}
    assert assess({"w": ("running", status)}, bus()).busy == (f"w is {state} (on cmb-1)",)


@pytest.mark.parametrize("state", ["stopped", "killed"])
def test_the_stopped_and_the_killed_do_not_count(state: str) -> None:
    assert look(state) == Look((), (), ("e", 3))


@pytest.mark.parametrize("state", ["parked", "final"])
def test_who_has_ended_badly_does_not_count_but_is_named(state: str) -> None:
    assert look(state) == Look((), (f"w is {state} (xmesh-sup why w)",), ("e", 3))


def test_a_running_peer_that_does_not_answer_is_not_quiet() -> None:
    assert assess({"w": ("running", {})}, bus()).busy == ("w does not answer",)


def test_without_a_bus_nothing_is_known_to_be_quiet() -> None:
    assert "the bus does not answer" in assess({}, None).busy


def deferred(waits_for: str) -> Look:
    wakes = {"queued": 1, "running": 0}
    status = {**ASLEEP, "state": "deferred", "waits_for": waits_for, "note": "n", "wakes": wakes}
    return assess({"w": ("running", status)}, bus())


def test_waiting_for_a_long_budget_is_quiet_with_a_note() -> None:
    found = deferred("budget")
    assert found.busy == ()
    assert found.notes == ("w waits for its budget, not for work: n",)


@pytest.mark.parametrize("waits_for", ["minute", "ledger", "breaker", "vendor"])
def test_any_other_wait_is_work_that_goes_on(waits_for: str) -> None:
    assert len(deferred(waits_for).busy) == 2


def test_what_a_gate_holds_is_a_note() -> None:
    assert look(held=2).notes == ("w has 2 records that wait for a person",)
    assert look(held=2).busy == ()


def test_quiet_means_two_quiet_looks_with_nothing_said_between() -> None:
    calm, work = Look((), (), ("e", 3)), Look(("w thinks",), (), ("e", 3))
    assert is_quiet(calm, calm)
    assert not is_quiet(work, calm)
    assert not is_quiet(calm, work)
    assert not is_quiet(calm, Look((), (), ("e", 4)))


def test_where_nothing_runs_it_says_so(runtime_dir: RuntimeDir) -> None:
    done = Mesh(runtime_dir).sup("wait", check=False)
    assert done.returncode == 3
    assert "no supervisor runs" in done.stderr


@pytest.mark.parametrize("timeout", ["-1", "nan", "inf"])
def test_a_timeout_is_a_number_of_seconds(runtime_dir: RuntimeDir, timeout: str) -> None:
    assert Mesh(runtime_dir).sup("wait", f"--timeout={timeout}", check=False).returncode == 2


def test_a_bus_alone_is_quiet_whatever_absent_members_have_missed(runtime_dir: RuntimeDir) -> None:
    with BusProcess(runtime_dir):
        join(runtime_dir, "away")
        mesh = Mesh(runtime_dir)
        mesh.observe("nobody is here")
        assert mesh.json("wait", "--timeout", "5")["quiet"] is True


def test_it_returns_only_when_the_conversation_is_over(runtime_dir: RuntimeDir) -> None:
    with running(runtime_dir, *triad(runtime_dir, {"adapter": "rehearsal"})) as mesh:
        mesh.observe(*TASK)
        mesh.rest()
        before = {name: len(mesh.memory(name)) for name in ("writer-01", "reviewer-01")}
        calls = mesh.calls()
        mesh.rest()
        assert {name: len(mesh.memory(name)) for name in before} == before
        assert mesh.calls() == calls > 0


def test_a_model_that_does_not_answer_is_waited_for_until_the_timeout(
    runtime_dir: RuntimeDir,
) -> None:
    with serve("openai", hang()) as vendor:
        model = {
            "adapter": "openai", "base_url": vendor.url, "model_name": "m",
            "price": {"input": 0, "output": 0},
        }  # fmt: skip
        files = triad(runtime_dir, model, supervise={"stop_timeout_s": 1.0})
        with running(runtime_dir, files[0], OPENAI_API_KEY="sk-test") as mesh:
            mesh.observe("draft a specification for an endpoint")
            done = mesh.sup("wait", "--timeout", "0.5", check=False)
    assert done.returncode == 1
    assert "not quiet: writer-01 is thinking" in done.stdout
