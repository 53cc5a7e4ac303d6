"""A gateway and stock nodes, live: on a stock relay, and on a LAN of network namespaces."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import stock
from helpers.gateway import Host, Peer, until
from helpers.stock import StockNode, StockRelay

pytestmark = pytest.mark.skipif(
    stock.unavailable(stock.SYM, stock.RELAY) is not None,
    reason=str(stock.unavailable(stock.SYM, stock.RELAY)),
)


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[StockRelay]:
    with StockRelay(tmp_path, token="secret") as made:
        yield made


@pytest.fixture
def node(tmp_path: Path, relay: StockRelay) -> Iterator[StockNode]:
    with StockNode(tmp_path, "sam", "lab", relay=relay.url, relayToken="secret") as made:
        yield made


async def on_relay(host: Host, relay: StockRelay) -> Peer:
    alice = await host.peer("alice")
    await host.start_gateway(lan=False, relay=relay.url, relay_token="secret")
    await until(lambda: "sam" in alice.met, "the stock node's introduction")
    return alice


async def test_a_stock_node_and_a_peer_of_ours_hear_each_other_on_a_stock_relay(
    left: Host, relay: StockRelay, node: StockNode
) -> None:
    alice = await on_relay(left, relay)
    said = await alice.say("the harbour crane needs a gearbox")
    assert await asyncio.to_thread(node.accepted, said.key)
    await asyncio.to_thread(node.remember, "a gearbox is in the store", to=alice.identity.node_id)
    await asyncio.to_thread(node.remember, "lighthouses need painting")
    await until(lambda: len(alice.got) == 2, "what sam says")
    assert alice.heard == ["a gearbox is in the store", "lighthouses need painting"]
    assert node.complaints() == []
    assert alice.met["sam"].implementation == "mmp"
    await until(lambda: left.rows()["sam"]["waiting"] == 0, "sam's pong")


async def test_a_restarted_gateway_sends_a_stock_node_what_it_missed(
    left: Host, relay: StockRelay, node: StockNode
) -> None:
    alice = await on_relay(left, relay)
    await left.stop_gateway()
    said = await alice.say("the harbour crane needs a gearbox")
    await left.start_gateway(lan=False, relay=relay.url, relay_token="secret")
    assert await asyncio.to_thread(node.accepted, said.key)
    assert node.io.alive
    assert relay.alive
