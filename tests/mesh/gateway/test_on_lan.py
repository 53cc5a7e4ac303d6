"""Gateways as processes on a LAN of network namespaces: real multicast, real TCP, real kills."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import netns, stock
from helpers.gateway import Host, Peer, until
from helpers.netns import Lan
from helpers.stock import StockNode

pytestmark = pytest.mark.skipif(netns.unavailable() is not None, reason=str(netns.unavailable()))
needs_stock = pytest.mark.skipif(
    stock.unavailable(stock.SYM) is not None, reason=str(stock.unavailable(stock.SYM))
)


@pytest.fixture
def lan() -> Iterator[Lan]:
    with netns.lan("one", "two") as made:
        yield made


async def test_two_hosts_find_each_other_by_multicast(lan: Lan) -> None:
    async with Host(net=lan.hosts[0]) as left, Host(net=lan.hosts[1]) as right:
        alice, bob = await left.peer("alice", "0"), await right.peer("bob", "1")
        await left.start_process()
        await right.start_process()
        await until(lambda: "bob" in alice.met and "alice" in bob.met, "an introduction")
        await alice.say("from alice")
        await bob.say("from bob")
        await until(lambda: alice.heard and bob.heard, "records")
        row = (await left.links())["bob"]
        assert [each["secure"] for each in row["transports"]] == [True]
        assert row["transports"][0]["address"].startswith(lan.hosts[1].address)


async def test_a_killed_gateway_loses_nothing_that_was_said_meanwhile(lan: Lan) -> None:
    async with Host(net=lan.hosts[0]) as left, Host(net=lan.hosts[1]) as right:
        alice, bob = await left.peer("alice", "0"), await right.peer("bob", "1")
        await left.start_process()
        await right.start_process()
        await until(lambda: "bob" in alice.met and "alice" in bob.met, "an introduction")
        for number in range(30):
            await alice.say(f"word {number}")
            if number == 10:
                await left.kill_process()
            if number == 20:
                await left.start_process()
        await until(lambda: len(bob.got) >= 30, "all words")
        assert bob.heard == [f"word {number}" for number in range(30)]


@needs_stock
async def test_a_stock_node_on_the_lan_is_heard_and_hears(lan: Lan, tmp_path: Path) -> None:
    async with Host(net=lan.hosts[0]) as left:
        alice = await left.peer("alice", "0")
        await left.start_process()
        with StockNode(tmp_path, "sam", "lab", host=lan.hosts[1]) as node:
            await until(lambda: "sam" in alice.met, "the stock node's introduction")
            said = await alice.say("the harbour crane needs a gearbox")
            assert await asyncio.to_thread(node.accepted, said.key)
            await asyncio.to_thread(node.remember, "lighthouses need painting")
            await until(lambda: alice.heard == ["lighthouses need painting"], "what sam says")
            assert await asyncio.to_thread(node.fetch, said.key)
            assert node.complaints() == []


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_network_that_is_gone_for_a_while_loses_nothing(lan: Lan) -> None:
    async with Host(net=lan.hosts[0]) as left, Host(net=lan.hosts[1]) as right:
        alice, bob = await left.peer("alice", "0"), await right.peer("bob", "1")
        await left.start_process()
        await right.start_process()
        await until(lambda: "bob" in alice.met and "alice" in bob.met, "an introduction")
        lan.cut(lan.hosts[1])
        for number in range(10):
            await alice.say(f"word {number}")
            await bob.say(f"answer {number}")
        await logged(left, "link-lost", 60)
        lan.mend(lan.hosts[1])
        await until(lambda: len(bob.got) >= 10 and len(alice.got) >= 10, "all words", 60)
        assert bob.heard == [f"word {number}" for number in range(10)]
        assert alice.heard == [f"answer {number}" for number in range(10)]


async def test_a_second_process_under_one_identity_ends_the_newer_one(lan: Lan) -> None:
    async with Host(net=lan.hosts[0]) as left, Host(net=lan.hosts[1]) as right:
        alice = await left.peer("alice", "0")
        right.peers["alice"] = await Peer(right.bus, alice.identity).start()
        await left.start_process()
        await logged(left, "announced")
        await right.start_process()
        await logged(right, "collision")
        assert lan.hosts[0].address in await collision(right)
        assert await collision(left) == ""


async def logged(host: Host, event: str, timeout_s: float = 20) -> None:
    """Return once the gateway's process has said so."""
    log = host.root / "gateway.log"
    await until(lambda: f'"event": "{event}"' in log.read_text(), event, timeout_s)


async def collision(host: Host) -> str:
    rows = (await host.ask({"cmd": "status"}))["endpoints"]
    return str(rows[0]["collision"]) if rows else ""
