"""A triad over two roots, as over two hosts: what is observed at one is worked on at both."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest
from helpers.bus import wait_until
from helpers.mesh import ROLES, TASK, Mesh, agent_toml, chain_depth, running
from helpers.people import Listener

from xmesh_mesh.paths import RuntimeDir

pytestmark = pytest.mark.timeout(120)

HERE, THERE = ("writer-01",), ("reviewer-01", "test-writer-01")


@pytest.fixture
def meshes(runtime_dir: RuntimeDir) -> Iterator[tuple[Mesh, Mesh]]:
    """The writer at one root, the other two at another one; all know each other."""
    found = []
    with ExitStack() as stack:
        for number, names in enumerate((HERE, THERE)):
            root = RuntimeDir(runtime_dir.root / str(number)).ensure()
            files = [
                agent_toml(
                    *(root.root / f"{name}.toml", name, ROLES[name]),
                    model={"adapter": "rehearsal"},
                    mesh={"lan": True},
                )
                for name in names
            ]
            found.append(stack.enter_context(running(root, *files, HOME=str(runtime_dir.root))))
        for mesh in found:
            wait_until(partial(linked, mesh, 2), "the others", 30)
        yield found[0], found[1]


def linked(mesh: Mesh, count: int) -> bool:
    return sum(bool(row["transports"]) for row in mesh.json("peers")["remote"]) == count


def test_a_task_that_is_observed_at_one_host_is_worked_on_at_both(
    meshes: tuple[Mesh, Mesh],
) -> None:
    here, there = meshes
    with Listener(there.root) as listener:
        key = here.observe(TASK[0], "--intent", TASK[2])
        assert listener.hears(1)[0]["key"] == key
    for name in THERE:
        wait_until(lambda name=name: chain_depth(there.memory(name)) >= 3, "a conversation", 40)  # type: ignore[misc]
    for mesh in (here, there, here, there):
        mesh.rest()
    traces = [mesh.json("trace", key) for mesh in meshes]
    assert traces[0]["records"][0]["key"] == traces[1]["records"][0]["key"] == key
    said = [{each["assertion"] for each in trace["records"]} for trace in traces]
    assert said[0] == said[1]
    operator = traces[0]["records"][0]["node_id"]
    assert "operator  cmb-" in here.sup("trace", key).stdout
    assert f"operator ({operator[:13]})  cmb-" in there.sup("trace", key).stdout
    assert f"from operator ({operator[:13]})" in there.sup("why", key).stdout
    assert "by writer-01" in there.sup("peers").stdout
    assert "operator" not in here.sup("peers").stdout


def test_the_operator_speaks_to_one_peer_of_another_host(meshes: tuple[Mesh, Mesh]) -> None:
    here, there = meshes
    key = here.observe(TASK[0], "--to", "reviewer-01")
    wait_until(lambda: key in {each.key for each in there.memory("reviewer-01")}, "the word", 20)
    here.rest()
    there.rest()
    assert key not in {each.key for each in there.memory("test-writer-01")}
    assert key not in {each.key for each in here.memory("writer-01")}
