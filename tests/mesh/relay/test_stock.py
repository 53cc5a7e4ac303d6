"""The same script against ``xmesh-relay`` and against a stock relay: clients see no difference.

Each test says what a client of either hears. For the stock one, XMESH_STOCK_RELAY names a checkout
of sym-relay in which ``npm install`` has run.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

WAKE = {"platform": "apns", "token": "tok", "environment": "sandbox"}
SETTINGS = ("SYM_RELAY_TOKEN", "SYM_RELAY_CHANNELS", "PORT", "LOG_LEVEL", "SYM_DEMO_TOKEN")


def stock_command() -> list[str]:
    checkout = os.environ.get("XMESH_STOCK_RELAY")
    if not checkout:
        pytest.skip("XMESH_STOCK_RELAY names no checkout of sym-relay")
    if shutil.which("node") is None:
        pytest.skip("node is not here to run the stock relay")
    if not (Path(checkout) / "node_modules" / "ws").is_dir():
        pytest.skip(f"'npm install' has not run in {checkout}")
    return ["node", str(Path(checkout) / "server.js")]


COMMANDS = {
    "xmesh-relay": lambda: [sys.executable, "-m", "xmesh_mesh.relay.server"],
    "sym-relay": stock_command,
}


class Relay:
    """A running relay of either kind."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def health(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=1) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def connect(self) -> "Client":
        url = f"ws://127.0.0.1:{self.port}/any"
        options: dict[str, Any] = {"compression": None, "max_size": None, "close_timeout": 1}
        return Client(self._stack.enter_context(connect(url, **options)))

    def join(self, node: str, **auth: object) -> "Client":
        client = self.connect()
        client.login(node, **auth)
        assert client.hear()["type"] == "relay-peers"
        return client


class Client:
    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.pings: list[float] = []

    def say(self, message: object) -> None:
        self.socket.send(message if isinstance(message, str | bytes) else json.dumps(message))

    def login(self, node: object, **auth: object) -> None:
        self.say({"type": "relay-auth", "nodeId": node, "name": f"name of {node}", **auth})

    def hear(self, timeout_s: float = 5) -> Any:
        """Return the next message but pings, or the code with which the relay closed."""
        try:
            message = json.loads(self.socket.recv(timeout_s))
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006
        if message == {"type": "relay-ping"}:
            self.pings.append(time.monotonic())
            return self.hear(timeout_s)
        return message

    def hears_nothing(self, other: "Client") -> bool:
        """Whether nothing came before what ``other`` sends now."""
        other.say({"payload": "a mark"})
        return bool(self.hear().get("payload") == "a mark")


Start = Callable[..., Relay]


@pytest.fixture(params=list(COMMANDS))
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    command = COMMANDS[request.param]()
    with contextlib.ExitStack() as stack:

        def begin(**env: str) -> Relay:
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            inherited = {key: value for key, value in os.environ.items() if key not in SETTINGS}
            process = subprocess.Popen(
                command,
                env={**inherited, **env, "PORT": str(port)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait, 10)
            stack.callback(process.terminate)
            relay = stack.enter_context(Relay(port))
            wait_for_health(relay)
            return relay

        yield begin


def wait_for_health(relay: Relay) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            relay.health()
            return
        except OSError:
            assert time.monotonic() < deadline, "the relay did not start"
            time.sleep(0.05)


def peer(node: str) -> dict[str, str]:
    return {"nodeId": node, "name": f"name of {node}"}


def joined(node: str) -> dict[str, str]:
    return {"type": "relay-peer-joined", **peer(node)}


def left(node: str) -> dict[str, str]:
    return {"type": "relay-peer-left", **peer(node)}


def envelope(node: str, payload: object) -> dict[str, object]:
    return {"from": node, "fromName": f"name of {node}", "payload": payload}


def listed(*peers: dict[str, object] | dict[str, str]) -> dict[str, object]:
    return {"type": "relay-peers", "peers": list(peers)}


def test_presence(start: Start) -> None:
    relay = start()
    one = relay.join("a")
    two = relay.connect()
    two.login("b")
    assert two.hear() == listed(peer("a"))
    assert one.hear() == joined("b")
    two.socket.close()
    assert one.hear() == left("b")
    relay.join("b").socket.close()
    assert [one.hear(), one.hear()] == [joined("b"), left("b")]


def test_routing(start: Start) -> None:
    relay = start()
    one, two, three = relay.join("a"), relay.join("b"), relay.join("c")
    assert [one.hear(), one.hear(), two.hear()] == [joined("b"), joined("c"), joined("c")]
    one.say({"payload": {"type": "cmb", "n": [1, None]}, "from": "x", "fromName": "x"})
    one.say({"to": "c", "payload": "only c"})
    one.say({"to": "a", "payload": "myself"})
    one.say({"to": None, "payload": "all"})
    one.say({"to": "", "payload": "all again"})
    assert two.hear() == envelope("a", {"type": "cmb", "n": [1, None]})
    assert [two.hear(), two.hear()] == [envelope("a", "all"), envelope("a", "all again")]
    assert [three.hear() for _ in range(2)][1] == envelope("a", "only c")
    assert one.hear() == envelope("a", "myself")


def test_what_is_passed_over(start: Start) -> None:
    relay = start()
    one, two = relay.join("a"), relay.join("b")
    for message in (
        *(
            "",
            "{",
            "no JSON",
            "5",
            "[]",
            '"x"',
            "{}",
            '{"to":"nobody","payload":1}',
            '{"to":5,"payload":1}',
        ),
        *('{"payload":null}', '{"payload":0}', '{"payload":""}', '{"payload":false}', b"\xff"),
        *('{"type":"relay-auth","nodeId":"z","name":"z"}', '{"type":"other"}'),
        '{"type":"relay-pong","payload":"with a pong"}',
    ):
        one.say(message)
    assert two.hears_nothing(one)


def test_bytes_and_cut_text(start: Start) -> None:
    relay = start()
    one, two = relay.join("a"), relay.join("b")
    one.say(b'{"payload":"\xc3\xa9"}')
    one.say(r'{"payload":"cut \ud83d"}')
    one.say({"payload": {"type": 5}, "type": 7})
    heard = [two.hear()["payload"] for _ in range(3)]
    assert heard == ["é", "cut \ud83d", {"type": 5}]


def test_a_big_message(start: Start) -> None:
    relay = start()
    one, two = relay.join("a"), relay.join("b")
    one.say({"to": "b", "payload": "x" * 1_500_000})
    assert two.hear() == envelope("a", "x" * 1_500_000)


@pytest.mark.parametrize(
    "message",
    ["{}", "5", '{"payload":1}', '{"type":"relay-auth"}', '{"type":"relay-auth","nodeId":"a"}'],
)
def test_another_first_message(start: Start, message: str) -> None:
    client = start().connect()
    client.say("no JSON")
    client.say(message)
    assert client.hear() == 4002


def test_a_token(start: Start) -> None:
    relay = start(SYM_RELAY_TOKEN="right")
    for auth in ({"token": "wrong"}, {}, {"token": None}, {"token": ""}):
        client = relay.connect()
        client.login("a", **auth)
        assert client.hear() == {"type": "relay-error", "message": "Invalid token"}
        assert client.hear() == 4003
    relay.join("a", token="right")
    assert relay.health()["connections"] == 1


def test_channels(start: Start) -> None:
    relay = start(SYM_RELAY_TOKEN="old", SYM_RELAY_CHANNELS="r:red, b:blue")
    client = relay.connect()
    client.login("a", token="old")
    assert client.hear()["type"] == "relay-error"
    red, blue = relay.join("a", token="r"), relay.join("b", token="b")
    third = relay.connect()
    third.login("c", token="r")
    assert third.hear() == listed(peer("a"))
    assert red.hear() == joined("c")
    red.say({"to": "b", "payload": 1})
    red.say({"payload": 2})
    assert third.hear() == envelope("a", 2)
    third.socket.close()
    relay.join("d", token="b")
    assert blue.hear() == joined("d")


def test_a_fresh_duplicate(start: Start) -> None:
    relay = start()
    one = relay.join("a")
    second = relay.connect()
    second.login("a")
    assert second.hear()["type"] == "relay-error"
    assert second.hear() == 4006
    other = relay.join("b")
    other.say({"to": "a", "payload": 1})
    assert [one.hear(), one.hear()] == [joined("b"), envelope("b", 1)]
    one.socket.close()
    assert other.hear() == left("a")
    relay.join("a")


def test_wake_channels(start: Start) -> None:
    relay = start()
    watcher = relay.join("w")
    one, two = relay.join("a", wakeChannel=WAKE), relay.join("b")
    two.say({"payload": {"type": "wake-channel", **WAKE}})
    relay.join("c", wakeChannel={"platform": "none", "token": "x"}).socket.close()
    third = relay.connect()
    third.login("d")
    here = [peer("w"), {**peer("a"), "wakeChannel": WAKE}, {**peer("b"), "wakeChannel": WAKE}]
    assert third.hear() == listed(*here)
    for client in (one, two, third):
        client.socket.close()
    heard: list[Any] = []
    while left("d") not in heard:
        heard.append(watcher.hear())
    fourth = relay.connect()
    fourth.login("e")
    away = [{**each, "offline": True} for each in here[1:]]
    assert fourth.hear() == listed(here[0], *away)


def test_gossip(start: Start) -> None:
    relay = start()
    one = relay.join("a")
    known = {**peer("x"), "wakeChannel": WAKE}
    bad = [{}, {"nodeId": "y"}, {**peer("z"), "wakeChannel": {"platform": "none", "token": "t"}}]
    one.say({"payload": {"type": "peer-info", "peers": [*bad, known]}})
    one.say({"to": "a", "payload": "done"})
    assert one.hear() == envelope("a", "done")
    two = relay.connect()
    two.login("b")
    assert two.hear() == listed(peer("a"), {**known, "offline": True})


def test_health(start: Start) -> None:
    relay = start()
    relay.join("a")
    relay.connect()
    found = relay.health()
    assert (found["status"], found["connections"]) == ("ok", 1)
    assert isinstance(found["uptime"], int)
    assert set(found) == {"status", "connections", "uptime"}


@pytest.mark.slow
def test_an_older_duplicate(start: Start) -> None:
    relay = start()
    watcher, one = relay.join("w"), relay.join("a")
    time.sleep(5.1)
    two = relay.connect()
    two.login("a")
    assert two.hear() == listed(peer("w"))
    assert one.hear() == 4004
    assert [watcher.hear(), watcher.hear()] == [joined("a"), joined("a")]
    assert watcher.hears_nothing(two)


@pytest.mark.slow
def test_keepalive_and_login_time(start: Start) -> None:
    relay = start()
    silent, mute = relay.connect(), relay.join("mute")
    begun = time.monotonic()
    assert silent.hear(15) == 4001
    assert 9 < time.monotonic() - begun < 11.5
    mute.say({"payload": {"type": "relay-pong"}})
    assert mute.hear(15) == 4005
    assert len(mute.pings) == 1
    assert 18 < time.monotonic() - begun < 21.5
