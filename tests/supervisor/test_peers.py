"""``xmesh-sup peers`` and the links of ``ps``: who is there, here and on other hosts."""

import json
import os
import subprocess
import sys
import time
from typing import Any

import pytest
from helpers.bus import make_identity
from helpers.fleet import PROJECT, SupervisorProcess, eventually, spec

from xmesh_mesh.paths import RuntimeDir
from xmesh_mesh.pins import Pins
from xmesh_supervisor import world

FARAWAY, BACK = make_identity("faraway-01"), make_identity("gone-01")
EDGE = {"group": "lab", "lan": True, "relay": "", "trust": "tofu"}


def met(local: str, who: Any = FARAWAY, **changes: Any) -> dict[str, Any]:
    """Return what the gateway says of one remote node as one local peer meets it."""
    lan = {"kind": "lan", "secure": True, "address": "192.0.2.7:1", "since_s": 5, "healthy": True}
    return {
        "local": local, "node_id": who.node_id, "name": who.name, "group": "lab",
        "implementation": "mmp", "trust": "tofu", "preferred": "lan", "transports": [lan],
        "last_seen_ms": time.time_ns() // 1_000_000 - 3_000, "sent": 3, "received": 4,
        "waiting": 1, "refused": {}, **changes,
    }  # fmt: skip


def endpoint(name: str, **changes: Any) -> dict[str, Any]:
    told = {"name": name, "node_id": "n", "group": "lab", "lan_port": 7001, "secure_port": 7002}
    return {**told, "relay": None, **changes}


def gateway_says(root: RuntimeDir, *peers: dict[str, Any], **more: Any) -> None:
    status = {"endpoints": [endpoint("a"), endpoint("b")], "peers": list(peers), **more}
    (root.root / "gateway.json").write_text(json.dumps({"status": status}))


def sup(root: RuntimeDir, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "xmesh_supervisor.cli", *arguments],
        env={**os.environ, "XMESH_RUNTIME_DIR": str(root.root), "PYTHONPATH": str(PROJECT)},
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip


def row(shown: str, name: str) -> list[str]:
    return next(line for line in shown.splitlines() if line.startswith(f"{name} ")).split()


@pytest.fixture
def two(supervisor: SupervisorProcess) -> SupervisorProcess:
    """Two stub peers that ask for a gateway, which runs."""
    supervisor.apply(spec("a", edge=EDGE), spec("b", edge=EDGE))
    eventually(lambda: supervisor.child("gateway")["state"] == "running")
    return supervisor


def test_ps_counts_the_links_of_each_peer(two: SupervisorProcess) -> None:
    relay = {"kind": "relay", "healthy": True}
    dead = {"kind": "lan", "healthy": False}
    gateway_says(
        two.root,
        met("a"),
        met("a", BACK, transports=[relay, dead]),
        met("b", transports=[dead]),
    )
    shown = sup(two.root, "ps").stdout
    assert "1 lan, 1 relay" in " ".join(row(shown, "a"))
    document = json.loads(sup(two.root, "ps", "--json").stdout)
    assert [peer["links"] for peer in document["peers"]] == [{"lan": 1, "relay": 1}, {}]
    assert document["gateway_trouble"] is None


def test_ps_says_what_a_relay_objects(two: SupervisorProcess) -> None:
    relay = {"url": "wss://r", "state": "refused", "reason": "Invalid token"}
    gateway_says(two.root, endpoints=[endpoint("a", relay=relay), endpoint("b")])
    assert "relay refused: Invalid token" in sup(two.root, "ps").stdout


def test_ps_says_what_ails_a_gateway_and_shows_the_peers_all_the_same(
    supervisor: SupervisorProcess,
) -> None:
    (supervisor.root.root / "gateway.json").write_text('{"exit": 78}')
    supervisor.apply(spec("a", edge=EDGE))
    eventually(lambda: supervisor.child("gateway")["state"] == "final")
    done = sup(supervisor.root, "ps")
    assert done.returncode == 0
    assert "the gateway to other hosts is final: its configuration is wrong" in done.stdout
    assert row(done.stdout, "a")[1] == "running"
    trouble = json.loads(sup(supervisor.root, "ps", "--json").stdout)["gateway_trouble"]
    assert "told to fail" in trouble
    assert "told to fail" in sup(supervisor.root, "status").stdout


def test_without_a_gateway_there_is_none_to_speak_of(supervisor: SupervisorProcess) -> None:
    supervisor.apply(spec("a"))
    shown = sup(supervisor.root, "ps").stdout
    assert "gateway" not in shown
    assert row(sup(supervisor.root, "peers").stdout, "a")[3:6] == ["this", "host", "bus"]


def test_peers_shows_each_remote_node_once_with_all_that_is_known(two: SupervisorProcess) -> None:
    gateway_says(
        two.root,
        met("a", refused={"bad-signature": 2}),
        met("b", refused={"bad-signature": 1, "unsigned": 1}, trust="strict"),
        met("a", BACK, transports=[], last_seen_ms=0),
    )
    shown = sup(two.root, "peers").stdout
    line = " ".join(row(shown, "faraway-01"))
    assert FARAWAY.node_id[:13] in line
    assert "lab afar (mmp) lan secure strict, tofu" in line
    assert line.endswith("ago 6 8 2 3 bad-signature, 1 unsigned")
    assert "none" in row(shown, "gone-01")
    assert "bus, lan 7001" in " ".join(row(shown, "a"))


def test_peers_shows_an_operator_of_another_host_and_who_brings_its_words(
    two: SupervisorProcess,
) -> None:
    operator = make_identity("operator")
    afar = {"transports": [], "preferred": None, "implementation": "xmesh"}
    gateway_says(
        two.root,
        met("a", operator, via="writer-01", **afar),
        met("b", operator, via="reviewer-01", **afar),
    )
    shown = sup(two.root, "peers").stdout
    line = " ".join(row(shown, "operator"))
    assert "lab afar (xmesh) by reviewer-01, writer-01 tofu" in line
    document = json.loads(sup(two.root, "ps", "--json").stdout)
    assert [peer["links"] for peer in document["peers"]] == [{}, {}], "it is no node with a link"


def test_peers_shows_who_is_kept_out_with_or_without_a_gateway(two: SupervisorProcess) -> None:
    Pins(two.root.pins("lab") / "pins.json").quarantine(
        FARAWAY.node_id, FARAWAY.public_key, "writer-01\x1b[2J", "our-name"
    )
    shown = sup(two.root, "peers").stdout
    assert "it bears the name of a peer of this host; xmesh-sup trust list --group lab" in shown
    assert "\x1b" not in shown
    (held,) = json.loads(sup(two.root, "peers", "--json").stdout)["quarantine"]
    assert (held["group"], held["why"]) == ("lab", "our-name")


def test_json_holds_every_pair_of_local_and_remote(two: SupervisorProcess) -> None:
    gateway_says(two.root, met("a"), met("b"))
    document = json.loads(sup(two.root, "peers", "--json").stdout)
    assert [(each["local"], each["sent"]) for each in document["remote"]] == [("a", 3), ("b", 3)]
    assert document["local"][0]["endpoint"]["secure_port"] == 7002


def test_without_a_supervisor_peers_says_so(runtime_dir: RuntimeDir) -> None:
    done = sup(runtime_dir, "peers")
    assert (done.returncode, "no supervisor runs" in done.stdout) == (1, True)


@pytest.mark.parametrize(
    "answer", [{}, {"endpoints": 5}, {"endpoints": [], "peers": [{}]}, {"error": "x"}]
)
def test_what_is_no_status_of_a_gateway_is_none(answer: dict[str, Any]) -> None:
    assert world.read(answer) is None


def test_fields_that_are_not_known_here_are_passed_over() -> None:
    answer = {"endpoints": [], "peers": [met("a", later=1)], "quarantine": [], "groups": {}}
    around = world.read(answer)
    assert around is not None
    assert around.links("a") == {"lan": 1}
