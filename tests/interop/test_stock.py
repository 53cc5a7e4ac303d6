"""Our peers and stock programs, both ways, over LAN and relay: what ``scripts/interop`` shows."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import netns, stock
from helpers.bus import wait_until
from helpers.edge import Edge
from helpers.stock import StockNode, StockRelay
from interop_parts.scenes import SCENES
from interop_parts.stage import KINDS, Stage, stage

from xmesh_mesh.paths import RuntimeDir

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def need(reason: str | None) -> None:
    if reason:
        pytest.skip(reason)


@pytest.fixture(params=KINDS)
def stock_stage(request: pytest.FixtureRequest, runtime_dir: RuntimeDir) -> Iterator[Stage]:
    need(stock.unavailable(stock.SYM, stock.RELAY))
    need(netns.unavailable())
    with stage(request.param, runtime_dir.root) as made:
        yield made


@pytest.mark.timeout(240)
def test_every_scene_with_stock_programs_is_shown(
    stock_stage: Stage, subtests: pytest.Subtests
) -> None:
    for scene in SCENES:
        if stock_stage.kind in scene.kinds:
            with subtests.test(scene.what):
                assert scene.play(stock_stage)


@pytest.mark.timeout(150)
def test_a_gateway_that_died_together_with_its_network_ends_no_stock_node(
    runtime_dir: RuntimeDir,
) -> None:
    need(stock.unavailable(stock.SYM, stock.RELAY))
    need(netns.unavailable())
    root = runtime_dir.root
    with netns.lan("alice", "bob") as lan:
        here, far = lan.hosts
        with StockRelay(root, host=far) as relay, Edge(root, "ours", here) as ours:
            url = f"ws://{far.address}:{relay.port}"
            member = ours.member("ours-01", lan=False, relay=url)
            with StockNode(root, "stock-01", "lab", host=far, relay=url, relayOnly=True) as node:
                ours.until_linked(member.name, node.node_id)
                until_older_than_a_fresh_login()
                lan.cut(here)
                ours.kill_gateway()
                lan.mend(here)
                ours.start_gateway()
                ours.until_linked(member.name, node.node_id, timeout_s=60)
                (said,) = member.say("and here we are again")
                node.accepted(said.key)
                node.stop()


def until_older_than_a_fresh_login() -> None:
    """A relay turns a second login away for the first five seconds; after that it lets it in."""
    later = time.monotonic() + 6
    wait_until(lambda: time.monotonic() > later, "six seconds")
