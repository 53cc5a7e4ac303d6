"""Our peers and stock programs, both ways, over LAN and relay: what ``scripts/interop`` shows."""

import random
import time
from collections.abc import Iterator

import pytest
from helpers import netns, stock
from helpers.bus import wait_until
from helpers.edge import Edge
from helpers.stock import StockNode, StockRelay
from interop_parts.scenes import SCENES
from interop_parts.stage import KINDS, Kind, Stage, stage

from xmesh_mesh.paths import RuntimeDir


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
                until_later(6)  # a relay turns a second login away for five
                lan.cut(here)
                ours.kill_gateway()
                lan.mend(here)
                ours.start_gateway()
                ours.until_linked(member.name, node.node_id, timeout_s=60)
                (said,) = member.say("and here we are again")
                node.accepted(said.key)
                node.stop()


def until_later(seconds: float) -> None:
    later = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > later, "the time to pass")


# On a relay, stock nodes end each other where their own network fails: only ours fails there.
HARMS = {
    "lan": ("cut", "mend", "kill", "restart stock", "nothing"),
    "relay": ("reset", "kill", "restart stock", "nothing"),
}


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", HARMS)
def test_a_stock_node_lives_and_hears_whatever_happens_to_us(
    kind: Kind, runtime_dir: RuntimeDir
) -> None:
    need(stock.unavailable(stock.SYM, stock.RELAY))
    need(netns.unavailable())
    rng = random.Random(seed := random.randrange(2**32))
    with stage(kind, runtime_dir.root) as made:
        made.until_met()
        for number in range(60):
            harm(made, rng.choice(HARMS[kind]))
            made.writer.say(f"a limit of {number} a second at the door")
            made.stock.remember(f"crane {number} of the list in the harbour")
            until_later(rng.uniform(0, 2))
            assert made.stock.io.alive, (seed, made.stock.io.errors())
            assert made.stranger.io.alive, (seed, made.stranger.io.errors())
        made.lan.mend(made.our_host)
        (last,) = made.writer.say("the last limit of a second at the door")
        made.stock.accepted(last.key, timeout_s=150)
        until_heard(made)
        texts = made.writer.texts()
        assert len(texts) == len(set(texts))
        assert made.stock.complaints(made.writer.name) == []
        made.stock.stop()


def harm(made: Stage, what: str) -> None:
    match what:
        case "cut":
            made.lan.cut(made.our_host)
        case "mend":
            made.lan.mend(made.our_host)
        case "kill":
            made.ours.kill_gateway()
            made.ours.start_gateway()
        case "restart stock":
            made.stock.stop()
            made.stock.start()
        case "reset" if made.tap is not None:
            made.tap.reset()


def until_heard(made: Stage) -> None:
    """Let the stock node speak until we hear it: it keeps nothing for those who are away."""
    for number in range(60):
        made.stock.remember(f"the last crane of the harbour, said {number} times")
        until_later(1)
        if any(text.startswith("the last crane") for text in made.writer.texts()):
            return
    raise AssertionError("the stock node is mute")
