"""The client against a real bus: it waits, survives, says what is wrong, and leaves."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from helpers.bus import GROUP, BusProcess, client, make_identity, make_introduction, new_assertion

from xmesh_mesh.bus.client import BusClient, Delivery, remove, status
from xmesh_mesh.bus.tail import tail
from xmesh_mesh.errors import BusError, BusUnavailable, CollisionError, PublishRefused
from xmesh_mesh.introduction import Introduction
from xmesh_mesh.paths import RuntimeDir


@pytest.fixture
def bus(runtime_dir: RuntimeDir) -> Iterator[BusProcess]:
    with BusProcess(runtime_dir) as started:
        yield started


@asynccontextmanager
async def joined(bus: BusProcess, name: str, **options: Any) -> AsyncIterator[BusClient]:
    member = client(bus, name, **options)
    await member.connect()
    try:
        yield member
    finally:
        await member.close()


async def take(member: BusClient, count: int) -> list[Delivery]:
    taken: list[Delivery] = []
    async with asyncio.timeout(10), aclosing(member.deliveries()) as deliveries:
        async for delivery in deliveries:
            taken.append(delivery)
            member.ack(delivery.seq)
            if len(taken) == count:
                break
    return taken


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.005)


async def test_a_record_arrives_as_it_was_published(bus: BusProcess) -> None:
    async with joined(bus, "a") as writer, joined(bus, "b") as reader:
        assertion = new_assertion()
        seq = await writer.publish(assertion, b"\x00 any bytes \xff")
        (delivery,) = await take(reader, 1)
        assert (delivery.seq, delivery.assertion, delivery.epoch) == (seq, assertion, reader.epoch)
        assert delivery.record == b"\x00 any bytes \xff"
        assert reader.members[delivery.author].name == "a"


async def test_connect_waits_for_a_bus_that_is_not_up_yet(runtime_dir: RuntimeDir) -> None:
    bus = BusProcess(runtime_dir)
    early = client(bus)
    connecting = asyncio.create_task(early.connect())
    await asyncio.sleep(0.05)
    with bus:
        assert (await connecting).head == 0
        await early.close()


async def test_connect_gives_up_in_time_and_names_the_socket(runtime_dir: RuntimeDir) -> None:
    with pytest.raises(BusUnavailable, match=str(runtime_dir.bus_socket)):
        await client(BusProcess(runtime_dir)).connect(0.05)


async def test_a_publish_in_flight_returns_soon_after_the_bus_is_back(bus: BusProcess) -> None:
    async with joined(bus, "a") as writer, joined(bus, "b") as reader:
        await writer.publish(new_assertion(), b"before")
        bus.kill()
        publishing = asyncio.create_task(writer.publish(new_assertion(), b"during"))
        await asyncio.sleep(0.05)
        assert not publishing.done()
        await asyncio.to_thread(bus.start)
        began = time.monotonic()
        await publishing
        assert time.monotonic() - began < 1.0
        assert [each.record for each in await take(reader, 2)] == [b"before", b"during"]


async def test_deliveries_go_on_over_restarts_without_repeating(bus: BusProcess) -> None:
    async with joined(bus, "a") as writer, joined(bus, "b") as reader:
        got: list[bytes] = []
        for number in range(4):
            await writer.publish(new_assertion(), b"%d" % number)
            got += [each.record for each in await take(reader, 1)]
            bus.kill()
            await asyncio.to_thread(bus.start)
        await until(lambda: all(each.pending == 0 for each in status(bus.socket).members))
        assert got == [b"0", b"1", b"2", b"3"]


async def test_the_position_decides_where_a_member_goes_on(bus: BusProcess) -> None:
    identity = make_identity("b")
    intro = make_introduction("b", identity=identity)
    async with joined(bus, "a") as writer:
        reader = BusClient(bus.socket, intro)
        epoch = (await reader.connect()).epoch
        for number in range(3):
            await writer.publish(new_assertion(), b"%d" % number)
        await take(reader, 3)
        await reader.close()
        again = BusClient(bus.socket, intro, position=lambda: (epoch, 1))
        assert (await again.connect()).cursor == 1
        assert [each.record for each in await take(again, 2)] == [b"1", b"2"]
        await again.close()


async def test_a_second_process_of_a_node_gets_a_collision(bus: BusProcess) -> None:
    intro = make_introduction("a")
    first, second = BusClient(bus.socket, intro), BusClient(bus.socket, intro)
    await first.connect()
    with pytest.raises(CollisionError) as caught:
        await second.connect()
    assert "fix:" in str(caught.value)
    assert await first.publish(new_assertion(), b"undisturbed") == 1
    await first.close()


async def test_a_process_that_follows_a_closed_or_lost_one_is_let_in(bus: BusProcess) -> None:
    intro = make_introduction("a")
    first = BusClient(bus.socket, intro)
    await first.connect()
    first._end(BusError("as if killed"))
    second = BusClient(bus.socket, intro)
    began = time.monotonic()
    await second.connect()
    assert time.monotonic() - began < 0.4
    await second.close()
    await first.close()


async def test_a_member_that_was_superseded_while_stopped_is_told(bus: BusProcess) -> None:
    intro = make_introduction("a")
    first, second = BusClient(bus.socket, intro), BusClient(bus.socket, intro)
    await first.connect()
    bus.kill()
    taking_over = asyncio.create_task(second.connect())
    await asyncio.to_thread(bus.start)
    results = await asyncio.gather(
        taking_over, first.publish(new_assertion(), b"x"), return_exceptions=True
    )
    await until(lambda: isinstance(first._ended or second._ended, CollisionError))
    assert any(isinstance(result, CollisionError) for result in results)
    loser = first if first._ended else second
    if loser is first:  # the other was told when it wanted in, and is closed
        with pytest.raises(CollisionError):
            await anext(loser.deliveries())
    with pytest.raises(CollisionError):
        await loser.publish(new_assertion(), b"x")
    await first.close()
    await second.close()


async def test_final_refusals_are_raised_with_their_code(bus: BusProcess) -> None:
    async with joined(bus, "a") as writer:
        with pytest.raises(PublishRefused) as large:
            await writer.publish(new_assertion(), bytes(262_145))
        with pytest.raises(PublishRefused) as lost:
            await writer.publish(new_assertion(), b"", to="nobody")
        assert (large.value.code, lost.value.code) == ("too-large", "unknown-recipient")
        assert await writer.publish(new_assertion(), bytes(262_144)) == 1


async def test_an_introduction_that_is_not_signed_ends_connecting(bus: BusProcess) -> None:
    intro = make_introduction("a")
    forged = Introduction(
        **{**{f: getattr(intro, f) for f in intro.__struct_fields__}, "name": "z"}
    )
    with pytest.raises(BusError, match="bad-introduction"):
        await BusClient(bus.socket, forged).connect()


async def test_everybody_is_announced_before_they_are_heard(bus: BusProcess) -> None:
    heard: list[str] = []
    async with joined(bus, "a", on_introduced=lambda intro: heard.append(intro.name)) as reader:
        async with joined(bus, "pub", role="publisher") as publisher:
            await publisher.publish(new_assertion(), b"x")
        await take(reader, 1)
        assert heard == ["a", "pub"]


async def test_what_the_hook_raises_reaches_the_caller(bus: BusProcess) -> None:
    def refuse(_: Introduction) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await client(bus, "a", on_introduced=refuse).connect()


async def test_many_at_once_are_all_accepted_in_their_order(bus: BusProcess) -> None:
    async with joined(bus, "a") as writer, joined(bus, "b", window=8) as reader:
        records = [b"%d" % number for number in range(700)]
        tasks = [asyncio.create_task(writer.publish(new_assertion(), each)) for each in records]
        got = await take(reader, 700)
        assert await asyncio.gather(*tasks) == list(range(1, 701))
        assert [each.record for each in got] == records


async def test_a_cancelled_publish_is_forgotten(bus: BusProcess) -> None:
    async with joined(bus, "a") as writer:
        os.kill(bus.pid, signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await writer.publish(new_assertion(), b"x")
        os.kill(bus.pid, signal.SIGCONT)
        assert await writer.publish(new_assertion(), b"y") == 2


async def test_closing_ends_deliveries_and_refuses_what_is_unanswered(bus: BusProcess) -> None:
    writer = client(bus, "a")
    await writer.connect()
    waiting = asyncio.create_task(anext(writer.deliveries(), None))
    await asyncio.sleep(0)
    bus.kill()
    publishing = asyncio.create_task(writer.publish(new_assertion(), b"x"))
    await asyncio.sleep(0)
    await writer.close()
    assert await waiting is None
    for ended in (publishing, writer.publish(new_assertion(), b"x")):
        with pytest.raises(BusError, match="closed"):
            await ended


async def test_a_clean_goodbye_delivers_the_last_acknowledgement(bus: BusProcess) -> None:
    async with joined(bus, "a") as writer:
        async with joined(bus, "b") as reader:
            await writer.publish(new_assertion(), b"x")
            await take(reader, 1)
        (member,) = [each for each in status(bus.socket).members if each.name == "b"]
        assert (member.cursor, member.pending, member.connected) == (1, 0, False)


async def test_a_tail_sees_all_of_its_group_and_survives_a_restart(bus: BusProcess) -> None:
    async with joined(bus, "a") as writer, joined(bus, "b") as other:
        addressee = next(each for each in other.members.values() if each.name == "b").node_id
        await writer.publish(new_assertion(), b"1")
        async with aclosing(tail(bus.socket, GROUP, since=0)) as lines:
            seen = [await anext(lines) for _ in range(3)]
            assert [each.name for each in seen[:2] if isinstance(each, Introduction)]
            bus.kill()
            await asyncio.to_thread(bus.start)
            await writer.publish(new_assertion(), b"2", to=addressee)
            async with asyncio.timeout(10):
                last = await anext(lines)
            assert isinstance(last, Delivery)
            assert last.record == b"2"


async def test_a_member_that_the_operator_removed_is_none(bus: BusProcess) -> None:
    async with joined(bus, "a") as member:
        (node_id,) = member.members
        assert remove(bus.socket, node_id) is True
        assert remove(bus.socket, node_id) is False
        assert status(bus.socket).members == []


async def test_a_bus_that_forgot_the_session_is_greeted_again(bus: BusProcess) -> None:
    async with joined(bus, "a") as writer:
        (node_id,) = writer.members
        remove(bus.socket, node_id)
        assert await writer.publish(new_assertion(), b"x") == 1
        assert [each.name for each in status(bus.socket).members] == ["a"]


async def test_an_idle_client_costs_next_to_nothing(bus: BusProcess) -> None:
    async with joined(bus, "a"):
        before = time.process_time()
        await asyncio.sleep(0.2)
        assert time.process_time() - before < 0.05
