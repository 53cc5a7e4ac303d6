"""The relay's decisions, on a virtual clock: what each message and each moment leads to."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmesh_mesh.relay.access import Access
from xmesh_mesh.relay.core import Relay
from xmesh_mesh.relay.effects import Abort, Close, Code, Effect, Note, Send
from xmesh_mesh.relay.limits import Limits

LIMITS = Limits(peers=4, messages_per_s=10, messages_burst=1_000)
WAKE = {"platform": "apns", "token": "tok"}
DAY_MS = 24 * 3_600_000


class Bench:
    """A relay, its clock, and what each connection was told, as JSON or as a close code."""

    def __init__(self, access: Access | None = None, limits: Limits = LIMITS) -> None:
        self.relay = Relay(access or Access(), limits)
        self.now = 1_000
        self.heard: dict[int, list[Any]] = {}
        self.notes: list[Note] = []

    def run(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(to, data):
                    for conn in to:
                        self.heard.setdefault(conn, []).append(json.loads(data))
                case Close(conn, code, reason):
                    assert reason
                    self.heard.setdefault(conn, []).append(code)
                case Abort(conn):
                    self.heard.setdefault(conn, []).append("abort")
                case Note():
                    self.notes.append(effect)

    def say(self, conn: int, message: object) -> None:
        text = message if isinstance(message, str | bytes) else json.dumps(message)
        self.run(self.relay.received(conn, text, self.now))

    def join(self, conn: int, node: str, *, quiet: bool = True, **auth: object) -> None:
        self.relay.connected(conn, self.now)
        self.say(conn, {"type": "relay-auth", "nodeId": node, "name": node.upper(), **auth})
        if quiet:
            self.heard.clear()

    def tick(self, now: int) -> None:
        self.now = now
        self.run(self.relay.tick(now))

    def told(self, conn: int) -> list[Any]:
        return self.heard.pop(conn, [])


def joined(node: str) -> dict[str, str]:
    return {"type": "relay-peer-joined", "nodeId": node, "name": node.upper()}


def left(node: str) -> dict[str, str]:
    return {"type": "relay-peer-left", "nodeId": node, "name": node.upper()}


def listed(*nodes: str) -> dict[str, object]:
    peers = [{"nodeId": node, "name": node.upper()} for node in nodes]
    return {"type": "relay-peers", "peers": peers}


def relay_error(message: str) -> dict[str, str]:
    return {"type": "relay-error", "message": message}


def envelope(node: str, payload: object) -> dict[str, object]:
    return {"from": node, "fromName": node.upper(), "payload": payload}


def test_the_limits_are_the_stated_ones() -> None:
    """They are a promise to clients, the deployed ones and those who read the help."""
    kib, mib = 1024, 1024 * 1024
    assert asdict(Limits()) == {
        "login_ms": 10_000,
        "keepalive_ms": 10_000,
        "fresh_ms": 5_000,
        "closing_ms": 5_000,
        "wake_ms": 7 * DAY_MS,
        "wake_entries": 128,
        "gossip_entries": 64,
        "gossip_bytes": 64 * kib,
        "login_bytes": 64 * kib,
        "message_bytes": 1536 * kib,
        "messages_per_s": 1_000,
        "messages_burst": 2_000,
        "bytes_per_s": 8 * mib,
        "bytes_burst": 16 * mib,
        "control_per_s": 10,
        "control_burst": 100,
        "queue_bytes": 32 * mib,
        "queues_bytes": 256 * mib,
        "connections": 1_024,
        "per_address": 256,
        "peers": 256,
    }


# Login


def test_who_joins_hears_who_is_there_and_they_hear_of_it() -> None:
    bench = Bench()
    bench.join(1, "a", quiet=False)
    assert bench.heard == {1: [listed()]}
    bench.join(2, "b", quiet=False)
    bench.join(3, "c", quiet=False)
    assert bench.told(1) == [listed(), joined("b"), joined("c")]
    assert bench.told(2) == [listed("a"), joined("c")]
    assert bench.told(3) == [listed("a", "b")]
    assert bench.relay.connections == 3
    assert bench.relay.is_member(1)


@pytest.mark.parametrize(
    "text",
    [
        *("null", "[]", "5", '"x"', "{}", '{"type":"relay-pong"}', '{"payload":{"a":1}}'),
        *('{"type":"relay-auth"}', '{"type":"relay-auth","nodeId":"n"}'),
        '{"type":"relay-auth","nodeId":{"a":[null]},"name":"n"}',
    ],
)
def test_another_first_message_is_the_end(text: str) -> None:
    bench = Bench()
    bench.relay.connected(1, bench.now)
    bench.say(1, text)
    bench.say(1, {"type": "relay-auth", "nodeId": "a", "name": "A"})
    assert bench.heard == {1: [Code.BAD_LOGIN]}
    assert not bench.relay.is_member(1)
    assert bench.relay.connections == 0


def test_what_is_no_json_is_passed_over_before_the_login() -> None:
    bench = Bench()
    bench.relay.connected(1, bench.now)
    for data in ("", "{", b"\xff\xff", '{"x":' + "[" * 50_000):
        bench.say(1, data)
    bench.say(1, {"type": "relay-auth", "nodeId": "a", "name": "A"})
    assert bench.heard == {1: [listed()]}


@pytest.mark.parametrize("token", [None, "", "wrong", "right "])
def test_a_wrong_token_is_told_and_is_the_end(token: str | None) -> None:
    bench = Bench(Access({"right": "default"}))
    bench.join(1, "a", token="right")
    bench.join(2, "b", quiet=False, token=token)
    assert bench.heard == {2: [relay_error("Invalid token"), Code.BAD_TOKEN]}
    assert bench.notes[-1].level == "warning"
    assert bench.relay.connections == 1


def test_no_login_in_ten_seconds_is_the_end() -> None:
    bench = Bench()
    bench.relay.connected(1, 1_000)
    assert bench.relay.due_ms == 11_000
    bench.tick(10_999)
    assert bench.heard == {}
    bench.tick(11_000)
    assert bench.heard == {1: [Code.NO_LOGIN]}


def test_a_client_that_is_told_to_go_and_stays_is_cut_off() -> None:
    bench = Bench()
    bench.relay.connected(1, 0)
    bench.say(1, "null")
    assert bench.relay.due_ms == 6_000
    bench.tick(5_999)
    assert bench.told(1) == [Code.BAD_LOGIN]
    bench.tick(6_000)
    assert bench.told(1) == ["abort"]
    bench.tick(60_000)
    assert bench.heard == {}
    assert bench.relay.due_ms is None


def test_what_is_due_first_is_what_the_shell_is_told() -> None:
    bench = Bench()
    bench.join(1, "a")
    bench.now = 2_000
    bench.relay.connected(2, bench.now)
    assert bench.relay.due_ms == 11_000
    bench.say(2, "null")
    assert bench.relay.due_ms == 7_000
    bench.run(bench.relay.lost(2, bench.now))
    assert bench.relay.due_ms == 11_000


def test_the_codes_are_the_deployed_ones() -> None:
    assert {code.name: code.value for code in Code} == {
        "GOING_AWAY": 1001,
        "TRY_AGAIN_LATER": 1013,
        "NO_LOGIN": 4001,
        "BAD_LOGIN": 4002,
        "BAD_TOKEN": 4003,
        "REPLACED": 4004,
        "NO_PONG": 4005,
        "TOO_FRESH": 4006,
    }


def test_a_full_channel_takes_nobody_more_but_lets_its_own_come_back() -> None:
    bench = Bench()
    for conn, node in enumerate("abcd", start=1):
        bench.join(conn, node)
    bench.join(5, "e", quiet=False)
    assert bench.heard == {5: [relay_error("The channel is full"), Code.TRY_AGAIN_LATER]}
    bench.heard.clear()
    bench.now += 5_000
    bench.join(6, "a", quiet=False)
    assert bench.told(6) == [listed("b", "c", "d")]
    bench.run(bench.relay.lost(2, bench.now))
    bench.heard.clear()
    bench.join(7, "e", quiet=False)
    assert bench.told(7) == [listed("c", "d", "a")]


def test_a_second_login_on_one_connection_is_nothing() -> None:
    bench = Bench()
    bench.join(1, "a")
    bench.join(2, "b")
    bench.say(1, {"type": "relay-auth", "nodeId": "c", "name": "C"})
    assert bench.heard == {}
    assert bench.relay.connections == 2


# Duplicates


@pytest.mark.parametrize("age", [0, 1, 4_999])
def test_a_fresh_login_stands_and_the_newcomer_is_refused(age: int) -> None:
    bench = Bench()
    bench.join(1, "a")
    bench.join(2, "b")
    bench.now += age
    bench.join(3, "a", quiet=False)
    assert bench.heard == {3: [relay_error("This node is connected already"), Code.TOO_FRESH]}
    bench.told(3)
    bench.run(bench.relay.lost(3, bench.now))
    bench.say(2, {"to": "a", "payload": 1})
    assert bench.heard == {1: [envelope("b", 1)]}


@pytest.mark.parametrize("age", [5_000, 5_001, 3_600_000])
def test_an_older_login_is_replaced_without_a_peer_left(age: int) -> None:
    bench = Bench()
    bench.join(1, "a")
    bench.join(2, "b")
    bench.now += age
    bench.join(3, "a", quiet=False)
    assert bench.told(1) == [Code.REPLACED]
    assert bench.told(2) == [joined("a")]
    assert bench.told(3) == [listed("b")]
    bench.say(1, {"payload": "late"})
    bench.run(bench.relay.lost(1, bench.now))
    assert bench.heard == {}
    bench.say(2, {"to": "a", "payload": 2})
    assert bench.heard == {3: [envelope("b", 2)]}
    assert bench.relay.connections == 2


def test_the_age_counts_from_the_newest_login() -> None:
    bench = Bench()
    bench.join(1, "a")
    bench.now += 5_000
    bench.join(2, "a")
    bench.now += 4_999
    bench.join(3, "a", quiet=False)
    assert bench.told(3)[-1] == Code.TOO_FRESH
    assert bench.told(2) == []


def test_the_replaced_connection_is_not_pinged_and_the_new_one_is() -> None:
    bench = Bench()
    bench.join(1, "a")
    bench.now = 6_000
    bench.join(2, "a")
    bench.tick(11_000)
    assert bench.told(1) == ["abort"]
    assert bench.told(2) == []
    bench.tick(16_000)
    assert bench.heard == {2: [{"type": "relay-ping"}]}


def test_after_a_clean_leave_a_node_comes_back_at_once() -> None:
    bench = Bench()
    bench.join(1, "a")
    bench.run(bench.relay.lost(1, bench.now))
    bench.join(2, "a", quiet=False)
    assert bench.heard == {2: [listed()]}


# Channels


def two_channels() -> Bench:
    bench = Bench(Access({"r": "red", "b": "blue"}))
    bench.join(1, "a", token="r", wakeChannel=WAKE)
    bench.join(2, "b", token="r")
    bench.join(3, "c", token="b")
    return bench


def test_channels_never_hear_of_each_other() -> None:
    bench = two_channels()
    bench.join(4, "d", quiet=False, token="b")
    assert bench.heard == {4: [listed("c")], 3: [joined("d")]}
    bench.heard.clear()
    bench.say(1, {"payload": "all"})
    bench.say(1, {"to": "c", "payload": "one"})
    assert bench.heard == {2: [envelope("a", "all")]}
    bench.heard.clear()
    bench.run(bench.relay.lost(1, bench.now))
    assert bench.heard == {2: [left("a")]}
    bench.join(5, "e", quiet=False, token="b")
    assert bench.told(5) == [listed("c", "d")]


def test_a_node_of_one_channel_cannot_be_ousted_from_another() -> None:
    bench = two_channels()
    bench.now += 60_000
    bench.join(4, "a", quiet=False, token="b")
    assert bench.heard == {4: [listed("c")], 3: [joined("a")]}
    bench.heard.clear()
    bench.say(2, {"to": "a", "payload": 1})
    bench.say(3, {"to": "a", "payload": 2})
    assert bench.heard == {1: [envelope("b", 1)], 4: [envelope("c", 2)]}


def test_channels_fill_up_each_for_itself() -> None:
    bench = Bench(Access({"r": "red", "b": "blue"}), replace(LIMITS, peers=1))
    bench.join(1, "a", token="r")
    bench.join(2, "b", token="b")
    assert bench.relay.connections == 2


# Forwarding


def test_a_broadcast_reaches_everybody_else_and_a_directed_one_its_addressee() -> None:
    bench = Bench()
    for conn, node in enumerate("abc", start=1):
        bench.join(conn, node)
    bench.say(1, {"payload": {"type": "cmb"}})
    assert bench.heard == {2: [envelope("a", {"type": "cmb"})], 3: [envelope("a", {"type": "cmb"})]}
    bench.heard.clear()
    bench.say(1, {"to": "c", "payload": 7})
    bench.say(1, {"to": "a", "payload": 8})
    assert bench.heard == {3: [envelope("a", 7)], 1: [envelope("a", 8)]}


def test_who_a_message_is_from_is_said_by_the_relay() -> None:
    bench = Bench()
    bench.join(1, "a")
    bench.join(2, "b")
    bench.say(1, {"from": "b", "fromName": "evil", "to": "b", "payload": {"from": "x"}})
    assert bench.heard == {2: [envelope("a", {"from": "x"})]}


@pytest.mark.parametrize(
    "data",
    [
        *("null", "[]", "5", "{}", '{"to":"b"}', '{"to":"b","payload":null}', '{"payload":0}'),
        *('{"to":"nobody","payload":1}', '{"to":["b"],"payload":1}', '{"to":5,"payload":1}'),
        *(
            "",
            "{",
            "\ufeff",
            b"\xff",
            b"\x00\x01",
            '{"payload":{"type":"peer-info","peers":[null]}}x',
        ),
        '{"payload":' + "[" * 50_000 + "]" * 50_000 + "}",
    ],
)
def test_what_makes_no_sense_is_passed_over_and_the_client_stays(data: str | bytes) -> None:
    bench = Bench()
    bench.join(1, "a")
    bench.join(2, "b")
    bench.say(1, data)
    assert bench.heard == {}
    bench.say(1, b'{"payload":"bytes"}')
    assert bench.heard == {2: [envelope("a", "bytes")]}


def test_a_stranger_and_a_connection_that_is_gone_are_not_listened_to() -> None:
    bench = Bench()
    bench.join(1, "a")
    bench.join(2, "b")
    bench.run(bench.relay.lost(2, bench.now))
    assert bench.told(1) == [left("b")]
    bench.run(bench.relay.lost(2, bench.now))
    bench.say(2, {"payload": 1})
    bench.say(9, {"payload": 1})
    assert bench.heard == {}
    assert bench.relay.put_off_ms(9, bench.now) == 0
    assert not bench.relay.is_member(9)


def test_a_stranger_that_goes_is_no_news() -> None:
    bench = Bench()
    bench.join(1, "a")
    bench.relay.connected(2, bench.now)
    bench.run(bench.relay.lost(2, bench.now))
    assert bench.heard == {}
    bench.tick(11_000)
    assert bench.heard == {1: [{"type": "relay-ping"}]}


# Keepalive


def test_a_client_that_never_answers_is_pinged_at_ten_and_closed_at_twenty_seconds() -> None:
    bench = Bench()
    bench.join(1, "a")
    bench.now = 3_000
    bench.join(2, "b")
    bench.tick(10_999)
    assert bench.heard == {}
    bench.tick(11_000)
    assert bench.told(1) == [{"type": "relay-ping"}]
    bench.tick(13_000)
    bench.say(2, {"type": "relay-pong"})
    bench.heard.clear()
    bench.tick(20_999)
    assert bench.heard == {}
    bench.tick(21_000)
    assert bench.heard == {1: [Code.NO_PONG], 2: [left("a")]}
    bench.run(bench.relay.lost(1, bench.now))
    assert bench.told(2) == [left("a")]
    assert bench.relay.connections == 1


def test_only_a_pong_keeps_a_client() -> None:
    bench = Bench()
    bench.join(1, "a")
    bench.tick(11_000)
    bench.say(1, {"payload": {"type": "relay-pong"}})
    bench.say(1, {"type": "relay-ping"})
    bench.tick(21_000)
    assert bench.told(1) == [{"type": "relay-ping"}, Code.NO_PONG]


def test_an_unasked_pong_counts_for_the_next_ping_only_when_it_comes_after() -> None:
    bench = Bench()
    bench.join(1, "a")
    bench.say(1, {"type": "relay-pong"})
    bench.tick(11_000)
    bench.tick(21_000)
    assert bench.told(1)[-1] == Code.NO_PONG


def test_a_client_that_answers_stays_for_good() -> None:
    bench = Bench()
    bench.join(1, "a")
    for second in range(11, 200, 10):
        bench.tick(second * 1_000)
        assert bench.told(1) == [{"type": "relay-ping"}]
        bench.say(1, {"type": "relay-pong"})


def test_a_client_whose_pong_the_relay_put_off_itself_is_not_closed() -> None:
    bench = Bench(limits=replace(LIMITS, messages_burst=1))
    bench.join(1, "a")
    bench.tick(11_000)
    bench.now = 20_901
    for _ in range(2):
        bench.say(1, "")
    assert bench.relay.put_off_ms(1, bench.now) == 100
    bench.tick(21_000)
    assert bench.told(1) == [{"type": "relay-ping"}] * 2
    bench.tick(31_000)
    assert bench.told(1) == [Code.NO_PONG]


def test_a_client_is_judged_from_the_moment_its_reading_goes_on() -> None:
    bench = Bench(limits=replace(LIMITS, messages_burst=1))
    bench.join(1, "a")
    bench.tick(11_000)
    bench.now = 20_900
    for _ in range(2):
        bench.say(1, "")
    bench.tick(21_000)
    assert bench.told(1)[-1] == Code.NO_PONG


# Rates


def test_a_client_above_its_rate_is_put_off_and_loses_nothing() -> None:
    bench = Bench(limits=replace(LIMITS, messages_burst=3))
    bench.join(1, "a")
    bench.join(2, "b")
    waits = []
    for number in range(4):
        bench.say(1, {"payload": [number]})
        waits.append(bench.relay.put_off_ms(1, bench.now))
    assert waits == [0, 0, 100, 200]
    assert [each["payload"] for each in bench.told(2)] == [[0], [1], [2], [3]]
    assert bench.relay.put_off_ms(1, bench.now + 199) == 1
    assert bench.relay.put_off_ms(1, bench.now + 200) == 0
    assert bench.relay.put_off_ms(2, bench.now) == 0


def test_strangers_have_a_rate_too() -> None:
    bench = Bench(limits=replace(LIMITS, messages_burst=1))
    bench.relay.connected(1, bench.now)
    bench.say(1, "")
    bench.say(1, "")
    assert bench.relay.put_off_ms(1, bench.now) == 100


def test_a_broadcast_costs_its_fan_out_and_what_leads_nowhere_its_own_size() -> None:
    bench = Bench(limits=replace(LIMITS, bytes_per_s=1_000, bytes_burst=1_000))
    for conn, node in enumerate("abc", start=1):
        bench.join(conn, node)
    bench.now += 10_000
    frame = len(json.dumps(envelope("a", "x" * 600), separators=(",", ":")))
    bench.say(1, {"payload": "x" * 600})
    assert bench.relay.put_off_ms(1, bench.now) == 2 * frame - 1_000
    bench.say(2, "y" * 1_000)
    assert bench.relay.put_off_ms(2, bench.now) == 0
    bench.say(2, "y")
    assert bench.relay.put_off_ms(2, bench.now) == 1


# Slow readers


def test_a_slow_client_is_closed_and_the_others_hear_that_it_left() -> None:
    bench = Bench()
    bench.join(1, "a")
    bench.join(2, "b")
    bench.run(bench.relay.slow(2, bench.now))
    assert bench.heard == {2: [Code.TRY_AGAIN_LATER], 1: [left("b")]}
    bench.heard.clear()
    bench.run(bench.relay.slow(2, bench.now))
    bench.run(bench.relay.slow(9, bench.now))
    bench.run(bench.relay.lost(2, bench.now))
    assert bench.heard == {}


def test_a_slow_stranger_is_closed_too() -> None:
    bench = Bench()
    bench.relay.connected(1, bench.now)
    bench.run(bench.relay.slow(1, bench.now))
    assert bench.heard == {1: [Code.TRY_AGAIN_LATER]}


# Draining


def test_draining_says_goodbye_to_everybody_and_of_nobody() -> None:
    bench = Bench()
    bench.join(1, "a")
    bench.join(2, "b")
    bench.relay.connected(3, bench.now)
    bench.relay.connected(4, bench.now)
    bench.say(4, "null")
    bench.heard.clear()
    bench.run(bench.relay.drain(bench.now))
    assert bench.heard == {conn: [Code.GOING_AWAY] for conn in (1, 2, 3)}
    assert bench.relay.connections == 0
    bench.heard.clear()
    bench.say(1, {"payload": 1})
    bench.run(bench.relay.lost(1, bench.now))
    assert bench.heard == {}
    bench.tick(bench.now + 5_000)
    assert bench.heard == {conn: ["abort"] for conn in (2, 3, 4)}


# Wake channels


def asleep(*nodes: str) -> list[dict[str, object]]:
    return [
        {"nodeId": node, "name": node.upper(), "wakeChannel": WAKE, "offline": True}
        for node in nodes
    ]


def list_for(bench: Bench, conn: int, node: str, **auth: object) -> list[dict[str, object]]:
    bench.join(conn, node, quiet=False, **auth)
    peers: list[dict[str, object]] = bench.told(conn)[0]["peers"]
    bench.run(bench.relay.lost(conn, bench.now))
    bench.heard.clear()
    return peers


def test_a_wake_channel_is_listed_while_its_node_is_there_and_when_it_sleeps() -> None:
    bench = Bench()
    bench.join(1, "a", wakeChannel=WAKE)
    there = {"nodeId": "a", "name": "A", "wakeChannel": WAKE}
    assert list_for(bench, 2, "b") == [there]
    bench.now += 30 * DAY_MS
    assert list_for(bench, 3, "b") == [there]
    bench.run(bench.relay.lost(1, bench.now))
    bench.now += 7 * DAY_MS
    assert list_for(bench, 4, "b") == asleep("a")
    bench.now += 1
    assert list_for(bench, 5, "b") == []


def test_nodes_without_a_wake_channel_are_forgotten_when_they_leave() -> None:
    bench = Bench()
    for number, wake in enumerate([None, {}, {"platform": "none", "token": "x"}, [None], 5]):
        bench.join(10 + number, "a", wakeChannel=wake)
        bench.run(bench.relay.lost(10 + number, bench.now))
    assert list_for(bench, 2, "b") == []


def test_a_wake_channel_frame_counts_as_the_login_does_and_is_forwarded_too() -> None:
    bench = Bench()
    bench.join(1, "a")
    bench.join(2, "b")
    frame = {"type": "wake-channel", **WAKE}
    bench.say(1, {"payload": frame})
    assert bench.told(2) == [envelope("a", frame)]
    bench.run(bench.relay.lost(1, bench.now))
    assert list_for(bench, 3, "c") == [{"nodeId": "b", "name": "B"}, *asleep("a")]


def test_a_node_that_comes_back_without_one_keeps_its_wake_channel() -> None:
    bench = Bench()
    for conn, wake in ((1, WAKE), (2, None)):
        bench.join(conn, "a", wakeChannel=wake)
        bench.run(bench.relay.lost(conn, bench.now))
    assert list_for(bench, 3, "b") == asleep("a")


def gossip(*nodes: str) -> dict[str, object]:
    peers = [{"nodeId": node, "name": node.upper(), "wakeChannel": WAKE} for node in nodes]
    return {"payload": {"type": "peer-info", "peers": peers}}


def test_gossip_tells_of_nodes_that_are_not_there_and_of_its_own_channel_only() -> None:
    bench = two_channels()
    bench.say(3, gossip("x", "c", "a"))
    assert list_for(bench, 8, "n", token="b") == [{"nodeId": "c", "name": "C"}, *asleep("x", "a")]
    bench.run(bench.relay.lost(3, bench.now))
    assert list_for(bench, 9, "n", token="b") == asleep("x", "a")
    assert list_for(bench, 10, "n", token="r")[1:] == [{"nodeId": "b", "name": "B"}]


def test_gossip_that_is_too_long_or_too_much_is_not_looked_into() -> None:
    limits = replace(LIMITS, gossip_entries=2, gossip_bytes=300)
    bench = Bench(limits=limits)
    bench.join(1, "a")
    message = gossip("x")
    exact = json.dumps(message, separators=(",", ":"))
    room = 300 - len(json.dumps(message["payload"], separators=(",", ":")))
    bench.say(1, exact.replace('"X"', '"X",' + '"p":' + json.dumps("y" * (room - 7))))
    assert list_for(bench, 2, "b")[1:] == asleep("x")
    bench.say(1, exact.replace('"nodeId":"x"', '"nodeId":"z","p":' + json.dumps("y" * (room - 6))))
    assert list_for(bench, 3, "b")[1:] == asleep("x")
    bench.say(1, json.dumps(gossip("q", "r", "s"), separators=(",", ":")))
    assert list_for(bench, 4, "b")[1:] == asleep("x", "q", "r")


def test_the_directory_is_bounded() -> None:
    bench = Bench(limits=replace(LIMITS, wake_entries=2))
    bench.join(1, "a")
    bench.say(1, gossip("x", "y", "z"))
    assert list_for(bench, 2, "b")[1:] == asleep("y", "z")


def test_the_fullest_list_fits_into_one_message() -> None:
    limits = Limits()
    bench = Bench(limits=replace(limits, messages_burst=10_000))
    wake = {"platform": '"' * 32, "token": "\U0001f600" * 1_024, "environment": "\U0001f600" * 64}
    for number in range(limits.peers - 1):
        node = f"{number:04}".rjust(128, "\U0001f600")
        auth = {"type": "relay-auth", "nodeId": node, "name": "\U0001f600" * 256}
        bench.relay.connected(number, bench.now)
        bench.say(number, {**auth, "wakeChannel": wake})
    bench.relay.connected(999, bench.now)
    login = '{"type":"relay-auth","nodeId":"n","name":"n"}'
    sent = [e for e in bench.relay.received(999, login, bench.now) if isinstance(e, Send)]
    assert len(sent[0].data) < limits.message_bytes


# Anything at all

TEXTS = st.sampled_from(
    [
        *('{"type":"relay-auth","nodeId":"a","name":"A"}', '{"type":"relay-pong"}', "null", "[]"),
        *('{"type":"relay-auth","nodeId":"b","name":"B","wakeChannel":[null]}', '{"payload":1}'),
        *('{"to":"a","payload":{}}', '{"payload":{"type":"peer-info","peers":[null]}}', "{"),
        '{"payload":{"type":"wake-channel","platform":{},"token":[]}}',
    ]
)
STEPS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(1, 4), TEXTS, st.integers(0, 12_000)), max_size=40
)


@settings(max_examples=200)
@given(STEPS)
def test_whatever_happens_in_whatever_order_presence_stays_true(
    steps: list[tuple[int, int, str, int]],
) -> None:
    """Each joins before it leaves, and who is there is who joined and did not leave."""
    bench = Bench()
    open_conns: dict[int, int] = {}
    number = 0
    for kind, slot, text, wait in steps:
        bench.tick(bench.now + (wait if kind == 0 else 0))
        conn = open_conns.get(slot)
        if conn is None:
            number += 1
            open_conns[slot] = number
            bench.relay.connected(number, bench.now)
        elif kind == 1:
            del open_conns[slot]
            bench.run(bench.relay.lost(conn, bench.now))
        elif kind == 2:
            bench.run(bench.relay.slow(conn, bench.now))
        else:
            bench.say(conn, text)
    for told in bench.heard.values():
        check_presence(told)
    for conn in open_conns.values():
        bench.run(bench.relay.lost(conn, bench.now))
    assert bench.relay.connections == 0
    assert bench.relay.due_ms is None


def check_presence(told: list[Any]) -> None:
    """Nobody leaves who is not there, and nothing follows a close but being cut off."""
    present: set[str] = set()
    for index, frame in enumerate(told):
        if isinstance(frame, int):
            assert told[index + 1 :] in ([], ["abort"])
        elif isinstance(frame, dict) and frame.get("type") == "relay-peers":
            present |= {peer["nodeId"] for peer in frame["peers"]}
        elif isinstance(frame, dict) and frame.get("type") == "relay-peer-joined":
            present.add(frame["nodeId"])
        elif isinstance(frame, dict) and frame.get("type") == "relay-peer-left":
            present.remove(frame["nodeId"])
