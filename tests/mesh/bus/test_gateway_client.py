"""The gateway's client against a real bus and real members."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from helpers.bus import (
    GROUP,
    BusProcess,
    make_identity,
    make_introduction,
    make_remote,
    new_assertion,
)

from xmesh_mesh.bus.client import BusClient, Delivery
from xmesh_mesh.bus.edge_frames import MAX_STATEMENT_BYTES, MAX_TRANSCRIPT_BYTES
from xmesh_mesh.bus.gateway_client import GatewayClient
from xmesh_mesh.bus.inbox import Attested, Item
from xmesh_mesh.errors import BusError, CollisionError, ProofRefused, PublishRefused
from xmesh_mesh.introduction import Introduction
from xmesh_mesh.paths import RuntimeDir

MEMBER = make_identity("a")
REMOTE = make_remote("faraway")


@pytest.fixture
def bus(runtime_dir: RuntimeDir) -> Iterator[BusProcess]:
    with BusProcess(runtime_dir) as started:
        yield started


@asynccontextmanager
async def gateway(bus: BusProcess, **options: Any) -> AsyncIterator[GatewayClient]:
    client = GatewayClient(bus.socket, GROUP, **options)
    await client.connect()
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def member(bus: BusProcess, **options: Any) -> AsyncIterator[BusClient]:
    client = BusClient(bus.socket, make_introduction("a", identity=MEMBER), **options)
    await client.connect()
    try:
        yield client
    finally:
        await client.close()


async def first(client: BusClient, kind: type) -> Any:
    """Return the next item of a kind, acknowledging what comes before."""
    async with asyncio.timeout(10), aclosing(client.stream()) as stream:
        async for item in stream:
            if isinstance(item, Delivery):
                client.ack(item.seq)
            if isinstance(item, kind):
                return item
    raise AssertionError(kind)


async def test_a_remote_is_introduced_and_what_it_said_is_delivered(bus: BusProcess) -> None:
    met: list[Introduction] = []
    async with gateway(bus) as edge, member(bus, on_introduced=met.append) as local:
        await edge.introduce(REMOTE)
        seq = await edge.publish_for(REMOTE.node_id, new_assertion(), b"said", history=True)
        delivery = await first(local, Delivery)
        assert (delivery.seq, delivery.author, delivery.history) == (seq, REMOTE.node_id, True)
        assert REMOTE in met


async def test_a_gateway_is_told_who_is_there_before_what_they_say(bus: BusProcess) -> None:
    async with gateway(bus) as edge, member(bus) as local:
        await local.publish(new_assertion(), b"said")
        seen: list[Item] = []
        async with asyncio.timeout(10), aclosing(edge.stream()) as stream:
            async for item in stream:
                seen.append(item)
                if isinstance(item, Delivery):
                    break
        assert [type(item) for item in seen] == [Introduction, Delivery]


async def test_refusals_come_with_their_codes(bus: BusProcess) -> None:
    async with gateway(bus) as edge, member(bus):
        with pytest.raises(PublishRefused) as own:
            await edge.introduce(make_remote("x", node_id=MEMBER.node_id))
        with pytest.raises(PublishRefused) as unknown:
            await edge.publish_for(REMOTE.node_id, new_assertion(), b"said")
        assert (own.value.code, unknown.value.code) == ("own-node", "unknown-author")


async def test_a_member_proves_what_it_is_asked_for(bus: BusProcess) -> None:
    def prove(role: str, transcript: bytes) -> str:
        if transcript == b"odd":
            raise ValueError
        return f"{role} signs {len(transcript)}"

    async with gateway(bus) as edge, member(bus, prove=prove):
        node, most = MEMBER.node_id, bytes(MAX_TRANSCRIPT_BYTES)
        assert await edge.prove(node, "server", most) == f"server signs {len(most)}"
        for transcript, code in ((b"odd", "declined"), (most + b"x", "too-large")):
            with pytest.raises(ProofRefused) as refused:
                await edge.prove(node, "client", transcript)
            assert refused.value.code == code
        with pytest.raises(ProofRefused) as absent:
            await edge.prove(REMOTE.node_id, "client", b"")
        assert absent.value.code == "not-connected"


async def test_a_member_that_proves_nothing_at_all_declines(bus: BusProcess) -> None:
    async with gateway(bus) as edge, member(bus):
        with pytest.raises(ProofRefused) as refused:
            await edge.prove(MEMBER.node_id, "client", b"")
        assert refused.value.code == "declined"


def by_role(role: str, transcript: bytes) -> str:
    return role


async def test_a_restart_of_the_bus_leaves_no_proof_hanging(bus: BusProcess) -> None:
    async with gateway(bus) as edge, member(bus, prove=by_role):
        bus.kill()
        asked = asyncio.create_task(edge.prove(MEMBER.node_id, "client", b""))
        bus.start()
        (answer,) = await asyncio.gather(asked, return_exceptions=True)
        # Whether the gateway is back before the member is chance.
        assert answer == "client" or getattr(answer, "code", "") == "not-connected"


async def test_a_closed_gateway_leaves_nobody_waiting(bus: BusProcess) -> None:
    async with member(bus, prove=by_role):
        async with gateway(bus) as edge:
            bus.kill()
            asked = asyncio.create_task(edge.prove(MEMBER.node_id, "client", b""))
            await asyncio.sleep(0)
        with pytest.raises(BusError):
            await asked


async def test_a_collision_ends_the_member_with_where_and_who(bus: BusProcess) -> None:
    async with gateway(bus) as edge, member(bus) as local:
        edge.collide(MEMBER.node_id, "192.0.2.7 proves to be a as well")
        with pytest.raises(CollisionError, match=r"192\.0\.2\.7 proves to be a as well"):
            await first(local, Delivery)


async def test_attestations_reach_the_gateway_between_records(bus: BusProcess) -> None:
    async with gateway(bus) as edge, member(bus) as local:
        local.attest(b"stated")
        assert await first(edge, Attested) == Attested(MEMBER.node_id, b"stated")
        with pytest.raises(ValueError, match="at most 8192 bytes"):
            local.attest(bytes(MAX_STATEMENT_BYTES + 1))


async def test_a_newer_gateway_ends_the_older_one(bus: BusProcess) -> None:
    async with gateway(bus) as older, gateway(bus):
        with pytest.raises(BusError, match="replaced"):
            await first(older, Delivery)


async def test_after_a_lost_journal_remotes_are_introduced_again(bus: BusProcess) -> None:
    async with gateway(bus) as edge:
        await edge.introduce(REMOTE)
        bus.kill()
        for path in bus.runtime.root.glob("bus.db*"):
            path.unlink()
        bus.start()
        await edge.publish_for(REMOTE.node_id, new_assertion(), b"said")
        async with member(bus) as local:
            assert REMOTE in local.members.values()


async def test_a_gateway_takes_up_where_its_own_store_ends(bus: BusProcess) -> None:
    async with member(bus) as local:
        seqs = [await local.publish(new_assertion(), b"said") for _ in range(3)]
        async with gateway(bus, position=lambda: (local.epoch, seqs[0])) as edge:
            assert (await first(edge, Delivery)).seq == seqs[1]
        async with gateway(bus, position=lambda: ("another epoch", 99)) as edge:
            assert (await first(edge, Delivery)).seq == seqs[0]
