"""Two hosts with buses and gateways of their own meet by the same-host registry, over real TCP."""

from collections.abc import AsyncIterator

import pytest_asyncio
from helpers.gateway import Host, until


@pytest_asyncio.fixture
async def left() -> AsyncIterator[Host]:
    async with Host() as host:
        yield host


@pytest_asyncio.fixture
async def right(left: Host) -> AsyncIterator[Host]:
    async with Host(home=left.home) as host:
        yield host


async def test_records_go_both_ways_between_two_hosts(left: Host, right: Host) -> None:
    alice, bob = await left.peer("alice", "0"), await right.peer("bob", "1")
    await left.start_gateway()
    await right.start_gateway()
    await until(lambda: "bob" in alice.met and "alice" in bob.met, "an introduction")
    await alice.say("from alice")
    await bob.say("from bob")
    await until(lambda: alice.heard == ["from bob"] and bob.heard == ["from alice"], "records")
    assert alice.met["bob"].implementation == "xmesh"
    row = left.rows()["bob"]
    assert row["preferred"] == "lan"
    assert [each["secure"] for each in row["transports"]] == [True]
