"""A triad over two hosts, as people run it, and an author on a third one who asks it to work."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers import netns
from helpers.bus import wait_until
from helpers.edge import Edge
from helpers.mesh import ROLES, TASK, Mesh, agent_toml, chain_depth, running
from helpers.netns import Host
from helpers.people import Listener
from helpers.speakers import Member

from xmesh_mesh.paths import RuntimeDir

pytestmark = pytest.mark.timeout(120)

HERE, THERE = ("writer-01",), ("reviewer-01", "test-writer-01")


@dataclass
class World:
    meshes: tuple[Mesh, ...]
    asker: Member


@pytest.fixture
def world(runtime_dir: RuntimeDir) -> Iterator[World]:
    """The writer on one host, the other two on another one; all know each other."""
    reason = netns.unavailable()
    if reason:
        pytest.skip(reason)
    with netns.lan("alice", "bob", "carol") as lan, ExitStack() as stack:
        meshes = tuple(
            stack.enter_context(mesh_on(host, runtime_dir.root / host.name, names))
            for host, names in zip(lan.hosts[:2], (HERE, THERE), strict=True)
        )
        third = stack.enter_context(Edge(runtime_dir.root, "carol", lan.hosts[2]))
        asker = third.member("asker-01", "e2e")
        wait_until(lambda: len(linked_rows(third.peers())) == len(ROLES), "all three", 30)
        for mesh, others in zip(meshes, (THERE, HERE), strict=True):
            wanted = (len(ROLES) - len(others)) * (len(others) + 1)
            wait_until(partial(knows, mesh, wanted), "all others", 30)
        yield World(meshes, asker)


def mesh_on(host: Host, path: Path, names: tuple[str, ...]) -> AbstractContextManager[Mesh]:
    root, rehearsal = RuntimeDir(path).ensure(), {"adapter": "rehearsal"}
    files = [
        agent_toml(
            root.root / f"{name}.toml", name, ROLES[name], model=rehearsal, mesh={"lan": True}
        )
        for name in names
    ]
    return running(root, *files, host=host, HOME=str(root.root))


def knows(mesh: Mesh, count: int) -> bool:
    return len(linked_rows(mesh.json("peers")["remote"])) == count


def linked_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["transports"]]


def test_a_task_is_worked_on_across_hosts_and_traced_as_a_whole_on_each(world: World) -> None:
    (task,) = world.asker.say_all({"focus": TASK[0], "intent": TASK[2]})
    last = "accepted: "
    wait_until(lambda: any(last in text for text in world.asker.texts()), "an end", 40)
    for mesh in world.meshes:
        mesh.rest()
    traces = [traced(mesh, task.key) for mesh in world.meshes]
    assert traces[0] == traces[1]
    assert len(traces[0]) >= 4
    for mesh, name in zip(world.meshes, ("writer-01", "reviewer-01"), strict=True):
        entries = mesh.memory(name)
        assert {entry.created_by for entry in entries} == {*ROLES, "asker-01"}
        assert chain_depth(entries) >= 4
        assert len({entry.assertion for entry in entries}) == len(entries)


def traced(mesh: Mesh, key: str) -> set[str]:
    return set(re.findall(r"cmb-[0-9a-f]{8}", mesh.sup("trace", key).stdout))


def test_the_runbook_for_two_hosts_holds_as_it_is_written(world: World) -> None:
    here, there = world.meshes
    for mesh in world.meshes:
        rows = [*mesh.json("ps")["infrastructure"], *mesh.json("ps")["peers"]]
        assert {row["state"] for row in rows} == {"running"}, rows
        assert "gateway" in {row["name"] for row in rows}
        assert "Announced on 10.77.0." in mesh.sup("logs", "gateway").stdout
    assert "writer-01" in there.sup("peers").stdout
    with Listener(there.root, "--group", "e2e") as listener:
        here.sup("observe", "ping", "--to", "writer-01")
        assert listener.hears(1)[0]["by"] == "writer-01"
