"""The triad through the vendors' own SDKs, against local servers that speak their HTTP."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from helpers.mesh import ROLES, TASK, Mesh, ThinkingVendor, chain_depth, running, thinking, triad
from helpers.vendors import Dialect

from xmesh_mesh.paths import RuntimeDir

pytestmark = pytest.mark.timeout(120)

PRICE = {"input": 1.0, "output": 4.0}


def model_table(dialect: Dialect, vendor: ThinkingVendor) -> dict[str, Any]:
    return {"adapter": dialect, "model_name": "m", "base_url": vendor.url, "price": PRICE}


@pytest.fixture(params=["openai", "anthropic", "ollama"])
def vendor(request: pytest.FixtureRequest) -> Iterator[ThinkingVendor]:
    with thinking(request.param) as server:
        yield server


@pytest.fixture
def mesh(runtime_dir: RuntimeDir, vendor: ThinkingVendor) -> Iterator[Mesh]:
    files = triad(runtime_dir, model_table(vendor.dialect, vendor))
    keys = {"OPENAI_API_KEY": "sk-test", "ANTHROPIC_API_KEY": "sk-test"}
    with running(runtime_dir, *files, **keys) as found:
        yield found


def test_each_peer_is_woken_by_anothers_record_and_trace_is_whole_from_any_of_them(
    mesh: Mesh, vendor: ThinkingVendor
) -> None:
    task = mesh.observe(*TASK)
    mesh.rest()
    traces = {name: mesh.sup("trace", task, "--peer", name).stdout for name in ROLES}
    for name in ROLES:
        entries = mesh.memory(name)
        woken_by = {e.created_by for e in entries if e.outcome == "emitted"}
        others = set(ROLES) - {name}
        assert woken_by & others or name == "writer-01", mesh.logs()
        assert {e.created_by for e in entries if e.wake == "done"} & others
        assert chain_depth([e for e in entries if e.thread == task]) >= 3
    keys = [frozenset(re.findall(r"cmb-[0-9a-f]{8}", text)) for text in traces.values()]
    assert len(set(keys)) == 1
    assert len(keys[0]) >= 4
    assert vendor.seen


def test_a_vendors_key_reaches_the_request_and_no_log_or_file(
    mesh: Mesh, vendor: ThinkingVendor
) -> None:
    mesh.observe(*TASK)
    mesh.rest()
    if vendor.dialect != "ollama":
        assert "sk-test" in json.dumps(dict(vendor.seen[0].headers))
    for path in mesh.root.root.rglob("*"):
        if path.is_file():
            assert b"sk-test" not in path.read_bytes(), path
