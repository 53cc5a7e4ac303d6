"""As the vendor bills it, no cap is ever exceeded: through crowds, cuts, hangs and crashes."""

import os
import random
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from helpers.fleet import eventually
from helpers.mesh import Mesh, agent_toml, in_threads, running
from helpers.vendors import Reply, Vendor, cut, hang, serve, tool_call

from xmesh_mesh.paths import RuntimeDir

pytestmark = pytest.mark.timeout(180)

PRICE = {"input": 100.0, "output": 400.0}
INPUT_NANO, OUTPUT_NANO = 100_000, 400_000
NAME = "spender-01"


def scripted(seed: int) -> Iterator[Reply]:
    rng = random.Random(seed)
    answer = tool_call({"focus": "noted", "commitment": "noted and done"})
    while True:
        yield rng.choices([answer, cut(), hang()], weights=[6, 2, 1])[0]


@pytest.mark.parametrize("cap_usd", [3.0])
def test_a_cap_per_run_holds_to_the_cent_through_crowds_cuts_hangs_and_kills(
    runtime_dir: RuntimeDir, cap_usd: float
) -> None:
    replies = [reply for reply, _ in zip(scripted(11), range(300), strict=False)]
    with serve("openai", *replies) as vendor:
        path = agent_toml(
            runtime_dir.root / "spender.toml", NAME, "writer",
            model={"adapter": "openai", "model_name": "m", "base_url": vendor.url, "price": PRICE,
                   "timeout_s": 0.4, "max_tokens_per_call": 200},
            budget={"max_cost_usd_per_run": cap_usd, "max_cost_usd_per_hour": 100.0,
                    "max_cost_usd_per_day": 100.0, "max_wakes_per_day": 100_000},
            supervise={"max_restarts": 1000},
        )  # fmt: skip
        with running(runtime_dir, path, OPENAI_API_KEY="k") as mesh:
            _twenty_at_once(mesh)
            _crash_until_spent(mesh, vendor)
            assert mesh.peer(NAME)["state"] == "final", mesh.logs()
            billed = vendor.billed_nano(INPUT_NANO, OUTPUT_NANO)
            assert len(vendor.seen) >= 3
            assert 0 < billed <= cap_usd * 1e9
            (row,) = mesh.json("cost", NAME)["peers"]
            assert cap_usd * 1e9 >= row["spent"]["run_nano"] >= billed


def _twenty_at_once(mesh: Mesh) -> None:
    say = [
        threading.Thread(target=mesh.observe, args=(f"matter {n}", "--to", NAME)) for n in range(20)
    ]
    in_threads(say)


def _crash_until_spent(mesh: Mesh, vendor: Vendor) -> None:
    """kill -9 the peer three times in the middle of a call, then let it run to its end."""
    for _ in range(3):
        seen = len(vendor.seen)
        row = eventually(lambda: _thinking(mesh) or _ended(mesh), 60)
        if row["state"] == "final":
            return
        vendor.wait_for(seen + 1, 30)
        os.kill(row["pid"], signal.SIGKILL)
    eventually(lambda: _ended(mesh), 90)


def _thinking(mesh: Mesh) -> dict[str, Any] | None:
    row = mesh.peer(NAME)
    return row if (row["status"] or {}).get("state") == "thinking" else None


def _ended(mesh: Mesh) -> dict[str, Any] | None:
    row = mesh.peer(NAME)
    return row if row["state"] == "final" else None
