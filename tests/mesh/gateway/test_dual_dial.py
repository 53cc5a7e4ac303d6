"""Two connections of one node at once: one stays, and a record that comes over both comes once."""

from collections.abc import AsyncIterator

import pytest
from helpers.gateway import Host, Raw, identity_between, until

from xmesh_mesh.wire import frames, records


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with Host() as made:
        await made.peer("alice", "5")
        await made.start_gateway()
        await until(lambda: made.endpoint("alice").get("lan_port"), "an endpoint")
        yield made


@pytest.mark.parametrize("first", ["0", "f"])
async def test_a_second_connection_beside_a_live_one_is_turned_away(host: Host, first: str) -> None:
    identity, port = identity_between("sam", first), host.endpoint("alice")["lan_port"]
    one = await Raw(identity).greet(port)
    two = await Raw(identity).connect(port)
    one.send(frames.Ping())
    two.send(two.handshake())
    await until(two.closed.is_set, "the second one is closed")
    one.say("over the first")
    await until(lambda: host.peers["alice"].heard == ["over the first"], "the record")
    assert not one.closed.is_set()
    for each in (one, two):
        await each.close()


async def test_a_record_on_both_connections_comes_once(host: Host) -> None:
    identity, port = identity_between("sam", "0"), host.endpoint("alice")["lan_port"]
    one, two = await Raw(identity).greet(port), await Raw(identity).connect(port)
    record = one.record("said twice")
    one.send(records.cmb(record))
    two.send(two.handshake(), records.cmb(record))
    last = one if not one.closed.is_set() else two
    last.say("and the end")
    await until(lambda: "and the end" in host.peers["alice"].heard, "the end")
    assert host.peers["alice"].heard == ["said twice", "and the end"]
    for each in (one, two):
        await each.close()
