"""The relay on real sockets: what clients see, what hostile ones can do, and what they cost."""

import asyncio
import contextlib
import json
import random
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any, Self

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.frames import PING, TEXT, Frame

from xmesh_mesh.relay.access import Access
from xmesh_mesh.relay.limits import Limits
from xmesh_mesh.relay.service import RelayServer

MIB = 1024 * 1024
PONG = {"type": "relay-pong"}


class Relay:
    """A relay in this process, with its log."""

    def __init__(self, limits: Limits, access: Access, proxies: frozenset[str]) -> None:
        self.lines: list[tuple[str, str, str]] = []
        self.server = RelayServer(access, self._say, limits=limits, proxies=proxies)
        self.port = 0

    def _say(self, level: str, event: str, text: str) -> None:
        self.lines.append((level, event, text))

    async def start(self) -> Self:
        self.port = await self.server.start("127.0.0.1", 0)
        return self

    async def http(self, request: str) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        await writer.wait_closed()
        return answer.decode()

    async def health(self) -> dict[str, Any]:
        answer = await self.http("GET /health HTTP/1.1\nHost: x")
        found: dict[str, Any] = json.loads(answer.rpartition("\r\n\r\n")[2])
        return found


class Client:
    """A node on the relay. ``heard`` holds what came since the login, without pings."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, message: object) -> None:
        await self.socket.send(message if isinstance(message, str | bytes) else json.dumps(message))

    async def raw(self) -> str:
        message = await asyncio.wait_for(self.socket.recv(), 5)
        assert isinstance(message, str)
        return message

    async def hear(self) -> Any:
        """Return the next message; an int where the relay closed the connection instead."""
        try:
            message = json.loads(await self.raw())
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006
        return await self.hear() if message == {"type": "relay-ping"} else message

    async def login(self, node: str, **auth: object) -> Any:
        await self.say({"type": "relay-auth", "nodeId": node, "name": node.upper(), **auth})
        return await self.hear()

    def reset(self) -> None:
        """Lose the connection without a word."""
        sock = self.socket.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.transport.abort()


Start = Callable[..., Awaitable[Relay]]
Join = Callable[..., Awaitable[Client]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    async with contextlib.AsyncExitStack() as stack:

        async def begin(
            access: Access | None = None,
            *,
            proxies: frozenset[str] = frozenset(),
            **limits: int,
        ) -> Relay:
            relay = Relay(replace(Limits(closing_ms=500), **limits), access or Access(), proxies)
            await stack.enter_async_context(relay.server)
            return await relay.start()

        yield begin


@pytest.fixture
async def join() -> AsyncIterator[Join]:
    """Connect to a relay, and log in where a node is named."""
    async with contextlib.AsyncExitStack() as stack:

        async def begin(relay: Relay, node: str = "", **options: Any) -> Client:
            options = {"max_size": 4 * MIB, "compression": None, "close_timeout": 0.5, **options}
            url = f"ws://127.0.0.1:{relay.port}/any/path"
            client = Client(await connect(url, **options))
            stack.push_async_callback(client.socket.close)
            if node:
                assert (await client.login(node))["type"] == "relay-peers"
            return client

        yield begin


async def until(condition: Callable[[], object], timeout_s: float = 5) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.01)


async def check_alive(relay: Relay, join: Join) -> None:
    """Two new nodes can talk: whatever was done to the relay, it works."""
    one, two = await join(relay, "check-1"), await join(relay, "check-2")
    await one.say({"to": "check-2", "payload": "well?"})
    heard = await two.hear()
    assert heard == {"from": "check-1", "fromName": "CHECK-1", "payload": "well?"}
    await one.socket.close()
    await two.socket.close()


def joined(node: str) -> dict[str, str]:
    return {"type": "relay-peer-joined", "nodeId": node, "name": node.upper()}


def left(node: str) -> dict[str, str]:
    return {"type": "relay-peer-left", "nodeId": node, "name": node.upper()}


# What clients see


async def test_nodes_meet_talk_and_part(start: Start, join: Join) -> None:
    relay = await start()
    one = await join(relay, "a")
    two = await join(relay)
    assert (await two.login("b"))["peers"] == [{"nodeId": "a", "name": "A"}]
    assert await one.hear() == joined("b")
    await one.say('{"to":"b","payload":{ "spaced" : 1.0 }}')
    assert await two.raw() == '{"from":"a","fromName":"A","payload":{ "spaced" : 1.0 }}'
    await two.say({"payload": "to all"})
    assert await one.hear() == {"from": "b", "fromName": "B", "payload": "to all"}
    await two.socket.close()
    assert await one.hear() == left("b")
    assert (await relay.health())["connections"] == 1
    assert [event for _, event, _ in relay.lines] == ["joined", "joined", "left"]


async def test_a_connection_that_is_reset_is_announced_as_left(start: Start, join: Join) -> None:
    relay = await start()
    one, two = await join(relay, "a"), await join(relay, "b")
    two.reset()
    assert await one.hear() == joined("b")
    assert await one.hear() == left("b")
    await join(relay, "b")
    assert await one.hear() == joined("b")


async def test_a_wrong_token_is_told_before_the_close(start: Start, join: Join) -> None:
    relay = await start(Access({"right": "default"}))
    client = await join(relay)
    assert await client.login("a", token="wrong") == {
        "type": "relay-error",
        "message": "Invalid token",
    }
    assert await client.hear() == 4003
    assert "wrong" not in str(relay.lines)
    assert (await (await join(relay)).login("a", token="right"))["peers"] == []


async def test_the_first_message_has_to_be_a_login(start: Start, join: Join) -> None:
    client = await join(await start())
    await client.say({"payload": 1})
    assert await client.hear() == 4002


async def test_the_login_has_to_come(start: Start, join: Join) -> None:
    silent = await join(await start(login_ms=100))
    with contextlib.suppress(ConnectionClosed):  # on a busy machine its time is up before it speaks
        await silent.say("no JSON")
    assert await silent.hear() == 4001


async def test_two_logins_of_one_node(start: Start, join: Join) -> None:
    relay = await start(fresh_ms=300)
    watcher, old = await join(relay, "w"), await join(relay, "a")
    early = await join(relay)
    assert (await early.login("a"))["type"] == "relay-error"
    assert await early.hear() == 4006
    await asyncio.sleep(0.15)
    await asyncio.sleep(0.16)
    new = await join(relay, "a")
    assert await old.hear() == 4004
    assert [await watcher.hear(), await watcher.hear()] == [joined("a"), joined("a")]
    await watcher.say({"to": "a", "payload": 1})
    assert (await new.hear())["payload"] == 1
    assert (await relay.health())["connections"] == 2


async def test_who_answers_pings_stays_and_who_does_not_is_closed(start: Start, join: Join) -> None:
    relay = await start(keepalive_ms=60)
    good, bad = await join(relay, "good"), await join(relay, "bad")
    pings = 0
    while pings < 6:
        message = json.loads(await good.raw())
        if message == {"type": "relay-ping"}:
            pings += 1
            await good.say(PONG)
    assert await bad.hear() == 4005
    assert (await relay.health())["connections"] == 1


async def test_a_half_open_connection_is_found_and_announced(start: Start, join: Join) -> None:
    relay = await start(keepalive_ms=60, closing_ms=100)
    good, gone = await join(relay, "good"), await join(relay, "gone")
    gone.socket.transport.pause_reading()
    heard = []
    while left("gone") not in heard:
        heard.append(json.loads(await good.raw()))
        await good.say(PONG)
    await until(lambda: len(relay.server._links) == 1)


async def test_a_wake_channel_survives_its_node(start: Start, join: Join) -> None:
    relay = await start()
    wake = {"platform": "apns", "token": "tok", "environment": "sandbox"}
    sleeper = await join(relay)
    await sleeper.login("a", wakeChannel=wake)
    await sleeper.socket.close()
    await until(lambda: not relay.server._links)
    listed = (await (await join(relay)).login("b"))["peers"]
    assert listed == [{"nodeId": "a", "name": "A", "wakeChannel": wake, "offline": True}]


# HTTP


async def test_health_says_how_many_are_in(start: Start, join: Join) -> None:
    relay = await start()
    await join(relay)
    await join(relay, "a")
    answer = await relay.http("GET /health HTTP/1.1\nHost: x")
    assert answer.startswith("HTTP/1.1 200 OK\r\n")
    assert "Content-Type: application/json\r\n" in answer
    assert await relay.health() == {"status": "ok", "connections": 1, "uptime": 0}


@pytest.mark.parametrize(
    "line", ["GET /", "GET /demo/mood?token=x", "HEAD /health", "GET /healthy"]
)
async def test_other_pages_are_not_there(start: Start, line: str) -> None:
    relay = await start()
    assert "404 Not Found" in (await relay.http(f"{line} HTTP/1.1\nHost: x")).splitlines()[0]


@pytest.mark.parametrize(
    "request_text",
    [
        *("nonsense", "GET", "POST /health HTTP/1.1\nContent-Length: 5", "GET / HTTP/9.9", "\x00"),
        *("GET / HTTP/1.1\nUpgrade: h2c", "GET / HTTP/1.1\nUpgrade: websocket\nConnection: x"),
        *("GET / HTTP/1.1\n" + "A: b\n" * 1_000, "GET /" + "x" * 100_000 + " HTTP/1.1"),
    ],
)
async def test_http_that_is_none_does_no_harm(start: Start, join: Join, request_text: str) -> None:
    relay = await start()
    with contextlib.suppress(ConnectionError):
        assert " 101 " not in await relay.http(request_text)
    await check_alive(relay, join)


# Hostile input

HOSTILE: list[str | bytes] = [
    *("null", "[]", "5", '""', "{", "", "\ufeff{}", "{}" * 1_000, "nul", "[[[[", "\x00", "NaN"),
    *('{"payload":null}', '{"to":null}', '{"to":{"a":null},"payload":{}}', '{"type":null}'),
    *('{"payload":{"type":"peer-info","peers":[null]}}', '{"payload":{"type":"peer-info"}}'),
    *('{"payload":{"type":"peer-info","peers":[[null],{"wakeChannel":null}]}}', '{"to":"\ud800"}'),
    *('{"payload":{"type":"wake-channel","platform":null}}', '{"type":"relay-auth"}'),
    '{"payload":{"type":"peer-info","peers":{"length":1e9}}}',
    '{"payload":' + "[" * 200_000 + "]" * 200_000 + "}",
    '{"a":' * 50_000 + "1" + "}" * 50_000,
    '{"payload":{"type":"peer-info","peers":[' + "null," * 10_000 + "null]}}",
    *(b"", b"\xff\xff\xff", b"\x00" * 1_000, bytes(range(256)), b'{"payload":"\xff"}'),
]


def encodable(message: str | bytes) -> str | bytes:
    return message if isinstance(message, bytes) else message.encode(errors="surrogatepass")


@pytest.mark.parametrize("authenticated", [False, True])
async def test_nothing_that_a_client_says_ends_the_relay(
    start: Start, join: Join, authenticated: bool
) -> None:
    relay = await start()
    for number, message in enumerate(HOSTILE):
        client = await join(relay, f"evil-{number}" if authenticated else "")
        with contextlib.suppress(ConnectionClosed):
            await client.socket.send(encodable(message), text=isinstance(message, str))
            await client.socket.send(encodable(message), text=False)
        await client.socket.close()
    await check_alive(relay, join)
    assert not [line for line in relay.lines if line[1] == "library"]


async def test_bad_input_does_not_cost_a_client_its_place(start: Start, join: Join) -> None:
    relay = await start()
    evil, other = await join(relay, "evil"), await join(relay, "other")
    assert await evil.hear() == joined("other")
    for message in HOSTILE:
        if not (isinstance(message, str) and "\ud800" in message):
            await evil.say(message)
    await evil.say({"to": "other", "payload": "still here"})
    heard = None
    while heard != {"from": "evil", "fromName": "EVIL", "payload": "still here"}:
        heard = await other.hear()


async def test_text_that_is_no_utf8_is_not_passed_on(start: Start, join: Join) -> None:
    relay = await start()
    evil, victim = await join(relay, "evil"), await join(relay, "victim")
    await evil.hear()
    await evil.socket.send(b'{"payload":"\xff"}', text=True)
    assert await evil.hear() == 1007
    assert await victim.hear() == left("evil")


async def test_a_binary_message_counts_as_text(start: Start, join: Join) -> None:
    relay = await start()
    one, two = await join(relay, "a"), await join(relay, "b")
    await one.say(b'{"payload":"\xc3\xa9"}')
    assert await two.raw() == '{"from":"a","fromName":"A","payload":"é"}'


def sized(size: int) -> str:
    """An envelope of exactly ``size`` bytes."""
    frame = '{"to":"b","payload":"%s"}'
    return frame % ("x" * (size - len(frame) + 2))


async def test_a_message_of_the_stated_size_passes_and_one_byte_more_is_the_end(
    start: Start, join: Join
) -> None:
    relay = await start()
    one, two = await join(relay, "a"), await join(relay, "b")
    await one.hear()
    await one.say(sized(3 * MIB // 2))
    assert len(await two.raw()) > 3 * MIB // 2
    await one.say(sized(3 * MIB // 2 + 1))
    assert await one.hear() == 1009
    assert await two.hear() == left("a")


async def test_a_stranger_may_send_less(start: Start, join: Join) -> None:
    relay = await start()
    client, other = await join(relay), await join(relay)
    await client.say("x" * 65_536)
    assert (await client.login("a"))["type"] == "relay-peers"
    await other.say("x" * 65_537)
    assert await other.hear() == 1009


async def test_a_message_in_very_many_fragments_is_the_end_of_its_sender_only(
    start: Start, join: Join
) -> None:
    relay = await start()
    client = await join(relay, "a")
    with contextlib.suppress(ConnectionClosed):
        await client.socket.send("" for _ in range(20_000))
    assert await client.hear() in {1009, 1006}
    await check_alive(relay, join)


async def test_a_flood_of_control_frames_is_cut_off(start: Start, join: Join) -> None:
    relay = await start()
    client = await join(relay, "a")
    ping = Frame(PING, b"x" * 125).serialize(mask=True)
    for _ in range(90):
        client.socket.transport.write(ping)
    await client.say({"to": "a", "payload": 1})
    assert (await client.hear())["payload"] == 1
    for _ in range(100):
        client.socket.transport.write(ping)
    assert await client.hear() == 1006
    await check_alive(relay, join)


async def test_answers_to_pings_that_nobody_reads_do_not_fill_memory(
    start: Start, join: Join
) -> None:
    relay = await start(message_bytes=1_000, control_per_s=10**6, control_burst=10**6)
    client = await join(relay, "a")
    client.socket.transport.pause_reading()
    pings = Frame(PING, b"x" * 125).serialize(mask=True) * 500
    sent = 0
    while relay.server._links:
        assert sent < 64 * MIB, "the relay kept all of it"
        client.socket.transport.write(pings)
        sent += len(pings)
        await asyncio.sleep(0)
    await check_alive(relay, join)


async def test_random_bytes_do_no_harm(start: Start, join: Join) -> None:
    relay = await start()
    rng = random.Random(7)
    upgrade = await join(relay, "a")
    for _ in range(100):
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        writer.write(rng.randbytes(rng.randrange(1, 2_000)))
        writer.close()
        del reader
    upgrade.socket.transport.write(rng.randbytes(5_000))
    await upgrade.socket.wait_closed()
    await check_alive(relay, join)


async def test_mutated_frames_do_no_harm(start: Start, join: Join) -> None:
    relay = await start(per_address=10_000)
    rng = random.Random(11)
    for _ in range(60):
        client = await join(relay, f"m{rng.random()}")
        data = bytearray()
        for text in ('{"payload":{"a":1}}', '{"type":"relay-pong"}', '{"to":"x","payload":[]}'):
            data += Frame(TEXT, text.encode()).serialize(mask=True)
        for _ in range(3):
            data[rng.randrange(len(data))] = rng.randrange(256)
        client.socket.transport.write(bytes(data))
        client.socket.transport.close()
    await check_alive(relay, join)


# What a client may cost


async def test_a_slow_reader_is_closed_and_nobody_waits_for_it(start: Start, join: Join) -> None:
    relay = await start(queue_bytes=2 * MIB, bytes_per_s=10**9, bytes_burst=10**9)
    fast, slow, good = [await join(relay, node) for node in ("fast", "slow", "good")]
    slow.socket.transport.pause_reading()
    assert [await fast.hear(), await fast.hear()] == [joined("slow"), joined("good")]
    payload = {"payload": "x" * 256 * 1024}
    heard: list[Any] = []
    for _ in range(100):
        await fast.say(payload)
        message = await good.hear()
        heard.append(message.get("type", "payload"))
        if heard[-1] == "relay-peer-left":
            break
    assert heard[-1] == "relay-peer-left"
    assert heard.count("payload") == len(heard) - 1 > 8
    await until(lambda: len(relay.server._links) == 2)
    assert [event for _, event, _ in relay.lines].count("slow") == 1
    await until(lambda: relay.server._outboxes.size == 0)


async def test_a_burst_of_one_does_not_close_a_reader_that_reads(start: Start, join: Join) -> None:
    relay = await start()
    one, two = await join(relay, "a"), await join(relay, "b")

    async def send() -> None:
        for number in range(24):
            await one.say({"to": "b", "payload": [number, "x" * MIB]})

    sender = asyncio.create_task(send())
    assert [(await two.hear())["payload"][0] for _ in range(24)] == list(range(24))
    await sender


async def test_a_flood_is_slowed_down_whole_and_in_order_and_others_go_on(
    start: Start, join: Join
) -> None:
    relay = await start(messages_per_s=200, messages_burst=20)
    flood, sink, one, two = [await join(relay, node) for node in ("f", "s", "a", "b")]
    begun = time.monotonic()
    for number in range(100):
        await flood.say({"to": "s", "payload": [number]})
    await one.say({"to": "b", "payload": "quick"})
    quick = None
    while not quick:
        quick = (await two.hear()).get("payload")
    assert time.monotonic() - begun < 0.3
    numbers: list[int] = []
    while len(numbers) < 100:
        numbers += (await sink.hear()).get("payload", [])
    assert numbers == list(range(100))
    assert time.monotonic() - begun > 0.35


async def test_a_client_that_is_put_off_and_goes_is_missed_at_once(
    start: Start, join: Join
) -> None:
    relay = await start(bytes_per_s=1_000, bytes_burst=1_000)
    one, two = await join(relay, "a"), await join(relay, "b")
    assert await one.hear() == joined("b")
    await two.say("x" * 10_000)
    await two.say({"to": "b", "payload": 1})
    two.reset()
    begun = time.monotonic()
    assert await one.hear() == left("b")
    assert time.monotonic() - begun < 2


async def test_one_address_has_only_its_share_of_connections(start: Start, join: Join) -> None:
    relay = await start(per_address=2)
    named = {"additional_headers": {"X-Forwarded-For": "203.0.113.9, 192.0.2.1"}}
    one = await join(relay, "a", **named)
    await join(relay, "b", **named)
    with pytest.raises(InvalidStatus) as caught:
        await join(relay, "c", **named)
    assert caught.value.response.status_code == 429
    await join(relay, "d", additional_headers={"X-Forwarded-For": "192.0.2.2"})
    await one.socket.close()
    await until(lambda: len(relay.server._links) == 2)
    await join(relay, "c", **named)


async def test_there_are_never_more_connections_than_stated(start: Start, join: Join) -> None:
    relay = await start(connections=3)
    for node in "ab":
        await join(relay, node)
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    with pytest.raises((ConnectionError, WebSocketException)):
        await join(relay, "c")
    writer.close()
    assert await reader.read() == b""
    await until(lambda: len(relay.server._gate.sockets) == 2)
    await join(relay, "c")


async def test_a_connection_that_never_asks_for_anything_ends(start: Start) -> None:
    relay = await start(login_ms=100)
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    await writer.wait_closed()


async def test_nothing_is_kept_of_clients_that_are_gone(start: Start, join: Join) -> None:
    relay = await start()
    for number in range(30):
        client = await join(relay, f"n{number}")
        await client.socket.close()
    server = relay.server
    await until(lambda: not server._links and not server._gate.sockets)
    core = server._relay
    assert not core._sessions
    assert core.due_ms is None
    assert (server._outboxes.size, server._outboxes._queues) == (0, {})
    assert not server._gate.door._by_party


# The end


async def test_draining_sends_what_waits_and_then_says_goodbye(start: Start, join: Join) -> None:
    relay = await start()
    one, two = await join(relay, "a"), await join(relay, "b")
    assert await one.hear() == joined("b")
    two.socket.transport.pause_reading()
    for number in range(12):
        await one.say({"to": "b", "payload": [number, "x" * 512 * 1024]})
    await one.say({"to": "a", "payload": "all said"})
    assert (await one.hear())["payload"] == "all said"
    drained = asyncio.create_task(relay.server.drain())
    await asyncio.sleep(0)
    two.socket.transport.resume_reading()
    heard = [await two.hear() for _ in range(13)]
    assert [each["payload"][0] for each in heard[:12]] == list(range(12))
    assert heard[12] == 1001
    assert await one.hear() == 1001
    await drained


async def test_draining_waits_for_nobody_for_long(start: Start, join: Join) -> None:
    relay = await start(closing_ms=100)
    stuck = await join(relay, "a")
    stuck.socket.transport.pause_reading()
    _, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    begun = time.monotonic()
    await relay.server.drain()
    assert time.monotonic() - begun < 2
    writer.close()
    stuck.reset()
