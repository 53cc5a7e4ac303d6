"""Short form of the chaos run: kill -9 of bus and members while they talk; once means once."""

import random
import time
from collections.abc import Iterator

import pytest
from helpers.bus import BusProcess, wait_until
from helpers.bus_node import TALK, NodeProcess

from xmesh_mesh.bus.query import status
from xmesh_mesh.paths import RuntimeDir

NAMES = ("writer", "reviewer", "tester")
KILLS = 8


@pytest.fixture
def nodes(runtime_dir: RuntimeDir) -> Iterator[list[NodeProcess]]:
    nodes = [NodeProcess(runtime_dir, name) for name in NAMES]
    yield nodes
    for node in nodes:
        if node.process is not None:
            node.kill()


@pytest.mark.parametrize("victims", ["bus", "bus and members"])
def test_an_emit_that_returned_is_everywhere_exactly_once_whatever_was_killed(
    runtime_dir: RuntimeDir, nodes: list[NodeProcess], victims: str
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with BusProcess(runtime_dir) as bus:
        for node in nodes:
            node.start()
        talk = runtime_dir.root / TALK
        talk.touch()
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.02, 0.2))
            if victims == "bus" or chance.random() < 0.5:
                bus.kill()
                bus.start()
            else:
                victim = chance.choice(nodes)
                victim.kill()
                victim.start()
        talk.unlink()
        time.sleep(0.1)  # an emit that had begun is in the outbox now
        wait_until(lambda: all(node.unreturned() == 0 for node in nodes), "every emit returned")
        wait_until(lambda: is_quiet(bus), "every cursor at the head")
        verify(nodes)


def is_quiet(bus: BusProcess) -> bool:
    return all(member.pending == 0 for member in status(bus.socket).members)


def verify(nodes: list[NodeProcess]) -> None:
    for receiver in nodes:
        others = [node.returned() for node in nodes if node is not receiver]
        expected = set().union(*others)
        received = receiver.received()
        assert len(expected) > 50
        assert set(received) == expected
        assert set(received.values()) == {1}
