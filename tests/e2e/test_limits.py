"""What ends a conversation, and what never begins one."""

import json
from pathlib import Path

import pytest
from helpers.mesh import ROLES, TASK, agent_toml, running, triad
from helpers.vendors import serve, tool_call

from xmesh_mesh.paths import RuntimeDir

pytestmark = pytest.mark.timeout(180)

MESSAGES = json.loads((Path(__file__).parents[1] / "relevance" / "messages.json").read_text())
REHEARSAL = {"adapter": "rehearsal"}


def test_a_model_that_always_emits_is_ended_by_limits_within_twelve_calls(
    runtime_dir: RuntimeDir,
) -> None:
    chatter = [
        tool_call(
            {"focus": f"login limit {n}", "commitment": f"wholly new promise {n} about login"}
        )
        for n in range(400)
    ]
    with serve("openai", *chatter) as vendor:
        model = {
            "adapter": "openai", "model_name": "m", "base_url": vendor.url,
            "price": {"input": 0, "output": 0},
        }  # fmt: skip
        with running(runtime_dir, *triad(runtime_dir, model), OPENAI_API_KEY="k") as mesh:
            mesh.observe(*TASK)
            mesh.rest()
            assert 3 <= len(vendor.seen) <= 12
            for name in ROLES:
                assert mesh.status(name)["wakes"]["queued"] == 0


TASKS = [
    "rate-limit /api/login so that nobody can guess passwords",
    "plan the move of the library to the new building",
    "write the menu for a wedding of eighty guests",
    "organise a blood donation day at the town hall",
    "describe how to calibrate the weather station",
    "compare three offers for a used delivery van",
    "prepare the agenda of the annual members' meeting",
    "translate the safety instructions of the climbing hall",
    "fix the flaky import of CSV files with umlauts",
    "schedule the inspection of the playground equipment",
]  # fmt: skip


def test_ten_ordinary_tasks_come_to_rest_and_none_is_held_by_a_default_gate(
    runtime_dir: RuntimeDir,
) -> None:
    with running(runtime_dir, *triad(runtime_dir, REHEARSAL)) as mesh:
        for task in TASKS:
            mesh.observe(task, "--intent", "draft a spec, review it, add tests")
        mesh.rest(120)
        rows = {name: mesh.status(name) for name in ROLES}
    assert {row["held"] for row in rows.values()} == {0}
    assert rows["writer-01"]["emitted"] >= len(TASKS)


def test_a_third_of_foreign_first_messages_and_more_wake_nobody(runtime_dir: RuntimeDir) -> None:
    with running(runtime_dir, *triad(runtime_dir, REHEARSAL)) as mesh:
        keys = [_say(mesh, message) for message in MESSAGES["foreign"]]
        mesh.rest()
        woke = {e.key for name in ROLES for e in mesh.memory(name) if e.wake}
        asleep = [key for key in keys if key not in woke]
        assert len(asleep) * 3 >= len(keys)
        assert mesh.calls() <= 3 * (len(keys) - len(asleep)) * 5


def test_two_weight_sets_on_one_stream_give_different_wakes(runtime_dir: RuntimeDir) -> None:
    identity = {"charter": "Finds leaks in login and upload code."}
    files = [
        agent_toml(
            runtime_dir.root / f"{name}.toml",
            name,
            "generic",
            model=REHEARSAL,
            identity=identity,
            weights=weights,
        )
        for name, weights in {
            "issue-01": {"issue": 5, "focus": 0.1},
            "focus-01": {"issue": 0.1, "focus": 5},
        }.items()
    ]
    with running(runtime_dir, *files) as mesh:
        by_issue = mesh.observe("the monthly figures", "--issue", "a leak in the upload code")
        by_focus = mesh.observe("login and upload code", "--issue", "rain came through the roof")
        mesh.rest()
        woken = {
            name: {e.key for e in mesh.memory(name) if e.wake} for name in ("issue-01", "focus-01")
        }
    assert woken["issue-01"] >= {by_issue}
    assert by_issue not in woken["focus-01"]
    assert woken["focus-01"] >= {by_focus}
    assert by_focus not in woken["issue-01"]


def _say(mesh: "object", message: dict[str, str]) -> str:
    flags = [part for field, text in message.items() for part in (f"--{field}", text)]
    return str(mesh.observe(*flags))  # type: ignore[attr-defined]
