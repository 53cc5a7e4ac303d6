"""The gateway as a child: when it runs, what it is told, and that nobody waits for it."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from helpers.fleet import SupervisorProcess, eventually, spec

from xmesh_mesh.errors import ConfigError
from xmesh_mesh.paths import RuntimeDir
from xmesh_supervisor.resolution import resolve_files

RELAY = "wss://relay.example.org"


def outgoing(name: str, plan: dict[str, Any] | None = None, **edge: Any) -> dict[str, Any]:
    """Return a Spec that asks for a gateway."""
    asked = {"group": "lab", "lan": True, "relay": "", "trust": "tofu", **edge}
    return spec(name, plan, edge=asked)


def on_the_wire(name: str, **changes: Any) -> dict[str, Any]:
    told = {"name": name, "group": "lab", "lan": True, "relay": "", "relay_token": ""}
    return {**told, "trust": "tofu", **changes}


def behave(root: RuntimeDir, **behaviour: Any) -> None:
    (root.root / "gateway.json").write_text(json.dumps(behaviour))


def plans(root: RuntimeDir) -> list[dict[str, Any]]:
    path = root.root / "gateway-plans.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def told(root: RuntimeDir, *peers: dict[str, Any]) -> bool:
    """Whether the last plan that arrived is of exactly these peers."""
    last = plans(root)[-1:]
    return bool(last) and last[0]["peers"] == list(peers)


def test_nobody_who_stays_at_home_starts_a_gateway(supervisor: SupervisorProcess) -> None:
    supervisor.apply(spec("old"), outgoing("home", lan=False))
    assert not supervisor.has("gateway")
    assert plans(supervisor.root) == []


def test_a_gateway_runs_while_a_peer_asks_for_it_and_is_told_who_does(
    supervisor: SupervisorProcess,
) -> None:
    root = supervisor.root
    supervisor.apply(outgoing("a"), outgoing("b", trust="strict"), outgoing("home", lan=False))
    eventually(lambda: told(root, on_the_wire("a"), on_the_wire("b", trust="strict")))
    assert supervisor.child("gateway")["state"] == "running"
    supervisor.ask("stop", "a")
    eventually(lambda: told(root, on_the_wire("b", trust="strict")))
    supervisor.ask("stop", "b")
    eventually(lambda: not supervisor.has("gateway"))
    assert supervisor.state("home") == "running"
    supervisor.ask("start", "a")
    eventually(lambda: told(root, on_the_wire("a")))


def test_a_token_reaches_the_gateway_over_its_socket_only(supervisor: SupervisorProcess) -> None:
    root = supervisor.root
    keys = {"a": {"SYM_RELAY_TOKEN": "very-secret"}}
    supervisor.apply(outgoing("a", lan=False, relay=RELAY), keys=keys)
    there = on_the_wire("a", lan=False, relay=RELAY, relay_token="very-secret")
    eventually(lambda: told(root, there))
    for name in ("gateway", "a", "bus"):
        assert "very-secret" not in supervisor.environment(name).values()
    database = root.supervisor_db.read_bytes() + root.events.read_bytes()
    assert b"very-secret" not in database


def test_a_token_in_the_supervisors_environment_is_used_and_handed_to_no_child(
    runtime_dir: RuntimeDir,
) -> None:
    process = SupervisorProcess(runtime_dir, {"SYM_RELAY_TOKEN": "from-env"}).start()
    try:
        process.apply(outgoing("a", relay=RELAY), outgoing("b"))
        there = on_the_wire("a", relay=RELAY, relay_token="from-env")
        eventually(lambda: told(runtime_dir, there, on_the_wire("b")))
        assert "from-env" not in process.environment("a").values()
        assert "from-env" not in process.environment("gateway").values()
    finally:
        process.end()


def test_a_gateway_that_dies_is_started_again_and_told_the_plan_again(
    supervisor: SupervisorProcess,
) -> None:
    root = supervisor.root
    supervisor.apply(outgoing("a"))
    eventually(lambda: told(root, on_the_wire("a")))
    before = supervisor.child("gateway")["pid"]
    os.kill(before, signal.SIGKILL)
    eventually(lambda: plans(root)[-1]["pid"] != before and told(root, on_the_wire("a")))
    assert supervisor.child("gateway")["restarts"] == 1
    assert supervisor.peer("a")["restarts"] == 0


def test_a_plan_that_is_not_taken_is_offered_until_it_is_and_said(
    supervisor: SupervisorProcess,
) -> None:
    behave(supervisor.root, refuse=2)
    supervisor.apply(outgoing("a"))
    eventually(lambda: told(supervisor.root, on_the_wire("a")))
    said = [json.loads(line) for line in supervisor.root.events.read_text().splitlines()]
    complaints = [event["text"] for event in said if event["event"] == "plan"]
    assert complaints == ["the gateway does not take its plan: not now"]


@pytest.mark.parametrize(("code", "state"), [(1, "backoff"), (78, "final")])
def test_a_gateway_that_does_not_come_up_keeps_no_peer_from_running(
    supervisor: SupervisorProcess, code: int, state: str
) -> None:
    behave(supervisor.root, exit=code)
    said = supervisor.apply(outgoing("a"))
    assert said[""]["all"] is True
    shown = eventually(
        lambda: supervisor.child("gateway")["state"] == state and supervisor.child("gateway")
    )
    assert "this stand-in was told to fail" in shown["reason"]
    assert supervisor.state("a") == "running"


def test_a_gateway_that_ended_for_good_is_tried_again_at_the_next_up(
    supervisor: SupervisorProcess,
) -> None:
    behave(supervisor.root, exit=78)
    supervisor.apply(outgoing("a"))
    eventually(lambda: supervisor.child("gateway")["state"] == "final")
    behave(supervisor.root)
    supervisor.apply(outgoing("a"))
    eventually(lambda: told(supervisor.root, on_the_wire("a")))


def test_a_peer_that_ended_for_good_is_on_the_wire_no_more(supervisor: SupervisorProcess) -> None:
    supervisor.apply(outgoing("a", {"exit": 80, "after_s": 0.3}), outgoing("b"), wait=False)
    eventually(lambda: supervisor.state("a") == "final")
    eventually(lambda: told(supervisor.root, on_the_wire("b")))


def test_the_gateway_is_told_where_the_lan_is(supervisor: SupervisorProcess) -> None:
    supervisor.apply(outgoing("a"))
    eventually(lambda: told(supervisor.root, on_the_wire("a")))
    env = supervisor.environment("gateway")
    assert env["XMESH_LAN_ADDRESSES"] == "127.0.0.1"
    assert "XMESH_PLAN" not in env


def test_a_supervisor_that_comes_back_brings_the_gateway_back(
    supervisor: SupervisorProcess,
) -> None:
    supervisor.apply(outgoing("a"))
    eventually(lambda: told(supervisor.root, on_the_wire("a")))
    before = plans(supervisor.root)[-1]["pid"]
    supervisor.kill_dead()
    supervisor.start()
    eventually(lambda: plans(supervisor.root)[-1]["pid"] != before)
    assert told(supervisor.root, on_the_wire("a"))


def test_everything_ends_in_order_and_the_gateway_with_it(supervisor: SupervisorProcess) -> None:
    supervisor.apply(outgoing("a"))
    eventually(lambda: told(supervisor.root, on_the_wire("a")))
    assert supervisor.process is not None
    supervisor.process.send_signal(signal.SIGTERM)
    assert supervisor.process.wait(15) == 0
    said = [json.loads(line) for line in supervisor.root.events.read_text().splitlines()]
    ends = [event["peer"] for event in said if event["event"] == "stopped"]
    assert ends == ["a", "gateway", "bus", "guard"]
    assert len(plans(supervisor.root)) == 1


# What an agent.toml and the environment say

LEAST = '[identity]\nname = "a"\n[model]\nadapter = "rehearsal"\n'


def edge_of(root: RuntimeDir, mesh: str, **env: str) -> tuple[Any, dict[str, str]]:
    path = root.root / "a.toml"
    path.write_text(f"{LEAST}[mesh]\n{mesh}\n")
    resolved = resolve_files([path], root, env, terminal=True)
    return resolved.specs[0].edge, resolved.keys["a"]


def test_a_file_says_how_its_peer_meets_other_hosts(runtime_dir: RuntimeDir) -> None:
    edge, keys = edge_of(runtime_dir, "")
    assert (edge.group, edge.lan, edge.relay, edge.trust) == ("default", True, "", "tofu")
    assert (edge.goes_out, keys) == (True, {})
    edge, keys = edge_of(runtime_dir, f'lan = false\nrelay = "{RELAY}"\nrelay_token = "t"')
    assert (edge.lan, edge.relay, edge.goes_out) == (False, RELAY, True)
    assert keys == {"SYM_RELAY_TOKEN": "t"}
    assert not edge_of(runtime_dir, "lan = false")[0].goes_out


def test_the_environment_names_a_relay_where_the_file_does_not(runtime_dir: RuntimeDir) -> None:
    env = {"SYM_RELAY_URL": "ws://127.0.0.1:8080", "SYM_RELAY_TOKEN": "env"}
    edge, keys = edge_of(runtime_dir, "lan = false", **env)
    assert (edge.relay, keys["SYM_RELAY_TOKEN"]) == ("ws://127.0.0.1:8080", "env")
    edge, keys = edge_of(runtime_dir, f'relay = "{RELAY}"\nrelay_token = "own"', **env)
    assert (edge.relay, keys["SYM_RELAY_TOKEN"]) == (RELAY, "own")


def test_a_relay_of_the_environment_is_held_to_the_same_rule(runtime_dir: RuntimeDir) -> None:
    with pytest.raises(ConfigError, match="not encrypted") as error:
        edge_of(runtime_dir, "", SYM_RELAY_URL="ws://192.0.2.1:8080")
    assert error.value.where == "SYM_RELAY_URL"
    plain = {"SYM_RELAY_URL": "ws://192.0.2.1:8080", "XMESH_PLAIN_RELAYS": "1"}
    assert edge_of(runtime_dir, "", **plain)[0].relay == plain["SYM_RELAY_URL"]


def test_a_token_is_written_nowhere(runtime_dir: RuntimeDir) -> None:
    path = runtime_dir.root / "a.toml"
    path.write_text(f'{LEAST}[mesh]\nrelay = "{RELAY}"\nrelay_token = "very-secret"\n')
    resolved = resolve_files([Path(path)], runtime_dir, {}, terminal=True)
    assert "very-secret" not in resolved.specs[0].plan
