"""What a peer makes of everything that can go wrong with its vendor: one real peer per fault."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from helpers.fleet import eventually
from helpers.mesh import Mesh, agent_toml, running
from helpers.vendors import Dialect, Reply, Vendor, cut, fail, garbage, hang, refusal, say, serve
from helpers.vendors import tool_call as call

from xmesh_mesh.errors import ExitCode
from xmesh_mesh.paths import RuntimeDir

pytestmark = pytest.mark.timeout(240)

PRICE = {"input": 1.0, "output": 4.0}
ANSWER = call({"focus": "heard", "commitment": "heard and noted"})


@dataclass(frozen=True)
class Fault:
    """What the vendor does, and what must come of the wake."""

    dialect: Dialect
    replies: tuple[Reply, ...]
    outcome: str
    requests: int
    says: str = ""
    timeout_s: float = 20.0


FAULTS = {
    "rate-limited": Fault("openai", (fail(429, retry_after="1"), ANSWER), "emitted", 2),
    "server-error": Fault("openai", (fail(500),), "failed", 3, "500"),
    "hanging": Fault("openai", (hang(),), "failed", 3, "1 s", 1.0),
    "cut-off": Fault("openai", (cut(), ANSWER), "emitted", 2),
    "malformed-body": Fault("openai", (garbage(),), "malformed", 1),
    "malformed-call": Fault("openai", (call('{"focus": '),), "malformed", 1),
    "unknown-fields": Fault("openai", (call({"focus": "heard", "colour": "red"}),), "emitted", 1),
    "empty": Fault("openai", (say(""),), "declined", 1),
    "refusing": Fault("openai", (refusal(),), "declined", 1, "refused"),
    "anthropic-limited": Fault("anthropic", (fail(429, retry_after="1"), ANSWER), "emitted", 2),
    "anthropic-hanging": Fault("anthropic", (hang(),), "failed", 3, "2 s", 2.0),
    "anthropic-malformed": Fault("anthropic", (garbage(),), "malformed", 1),
    "ollama-limited": Fault("ollama", (fail(429), ANSWER), "emitted", 2),
    "ollama-hanging": Fault("ollama", (hang(),), "failed", 3, "2 s", 2.0),
    "ollama-malformed": Fault("ollama", (garbage(),), "malformed", 1),
}
BAD_KEYS = {
    f"bad-key-{dialect}": Fault(dialect, (fail(401), ANSWER), "emitted", 1)
    for dialect in ("openai", "anthropic", "ollama")
}
KEYS = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


def start(
    root: RuntimeDir, stack: ExitStack, faults: dict[str, Fault]
) -> tuple[Mesh, dict[str, Vendor]]:
    vendors = {
        name: stack.enter_context(serve(fault.dialect, *fault.replies))
        for name, fault in faults.items()
    }
    files = [
        agent_toml(
            root.root / f"{name}.toml", name, "generic",
            model={"adapter": vendor.dialect, "model_name": "m", "base_url": vendor.url,
                   "price": PRICE, "timeout_s": faults[name].timeout_s},
            routing="targeted",
        )
        for name, vendor in vendors.items()
    ]  # fmt: skip
    return stack.enter_context(running(root, *files, **KEYS)), vendors


def test_every_fault_of_a_vendor_has_its_documented_outcome(
    runtime_dir: RuntimeDir, stack: ExitStack
) -> None:
    mesh, vendors = start(runtime_dir, stack, FAULTS)
    asked = {name: mesh.observe(f"please look, {name}", "--to", name) for name in FAULTS}
    eventually(lambda: all(outcome(mesh, name, asked[name]) for name in FAULTS), 120)
    found = {name: outcome(mesh, name, asked[name]) for name in FAULTS}
    assert {name: how for name, (how, _) in found.items()} == {
        name: fault.outcome for name, fault in FAULTS.items()
    }
    for name, fault in FAULTS.items():
        assert len(vendors[name].seen) == fault.requests, name
        assert fault.says in found[name][1], found[name]
    spent = {row["name"]: row["spent"]["run_nano"] for row in mesh.json("cost")["peers"]}
    for name, vendor in vendors.items():
        assert spent[name] >= vendor.billed_nano(1_000, 4_000), name
    assert "colour" in (runtime_dir.log("unknown-fields")).read_text()


def test_a_bad_key_ends_the_peer_for_good_and_keeps_the_wake(
    runtime_dir: RuntimeDir, stack: ExitStack
) -> None:
    mesh, vendors = start(runtime_dir, stack, BAD_KEYS)
    asked = {name: mesh.observe(f"please look, {name}", "--to", name) for name in BAD_KEYS}
    for name in BAD_KEYS:
        row = eventually(lambda name=name: final(mesh, name), 60)
        assert str(int(ExitCode.CONFIG)) in json.dumps(row)
        assert len(vendors[name].seen) == 1
    mesh.sup("start", *BAD_KEYS)
    for name in BAD_KEYS:
        assert eventually(lambda name=name: outcome(mesh, name, asked[name]), 30)[0] == "emitted"


def outcome(mesh: Mesh, name: str, key: str) -> tuple[str, str] | None:
    """Return how the wake ended and why, None while it is open."""
    found = next((e for e in mesh.memory(name) if e.key == key), None)
    if found is None or found.wake != "done":
        return None
    return found.outcome or "", found.detail or ""


def final(mesh: Mesh, name: str) -> "dict[str, object] | None":
    row = mesh.peer(name)
    return row if row["state"] == "final" else None
