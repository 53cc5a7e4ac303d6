"""The relay's protocol from the client's side, and when it goes back there."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmesh_mesh.wire import frames
from xmesh_mesh.wire.codec import MAX_PAYLOAD
from xmesh_mesh.wire.errors import WireError
from xmesh_mesh.wire.relay import (
    MAX_MESSAGE,
    RULES,
    Arrived,
    Leave,
    PeerJoined,
    PeerLeft,
    Phase,
    Present,
    RelayClient,
    RelayPeer,
    Report,
    Rule,
    Send,
)
from xmesh_mesh.wire.relay_retry import CLOSE_CODES, Next, Retry

LOW = "01930f1e-0000-7000-8000-00000000000a"
HIGH = "01930f1e-0000-7000-8000-00000000000b"
BOB = RelayPeer(HIGH, "bob")


def said(**message: Any) -> bytes:
    return json.dumps(message).encode()


def joined() -> RelayClient:
    client = RelayClient(LOW, "alice", None, 0)
    client.opened(0)
    client.receive(said(type="relay-peers", peers=[]), 0)
    assert client.phase is Phase.JOINED
    return client


def refused(client: RelayClient, text: bytes) -> str:
    with pytest.raises(WireError) as error:
        client.receive(text, 1)
    assert not error.value.fatal
    return error.value.code


@pytest.mark.parametrize(("token", "more"), [(None, {}), ("", {}), ("t", {"token": "t"})])
def test_login_is_the_first_message(token: str | None, more: dict[str, str]) -> None:
    client = RelayClient(LOW, "alice", token, 0)
    assert not client.registered
    sent = json.loads(client.opened(0).text)
    assert sent == {"type": "relay-auth", "nodeId": LOW, "name": "alice", **more}
    assert client.registered


def test_the_list_of_peers_lets_us_in() -> None:
    client = RelayClient(LOW, "alice", None, 0)
    client.opened(0)
    peers = [
        {"nodeId": HIGH, "name": "bob", "wakeChannel": {"platform": "x"}},
        {"nodeId": LOW, "name": "alice"},
        {"nodeId": HIGH[:-1] + "c", "name": "asleep", "offline": True},
        {"nodeId": {"strange": 1}, "name": "x"},
        {"nodeId": "undefined", "name": "x"},
        None,
    ]
    events = client.receive(said(type="relay-peers", peers=peers), 0)
    assert events == [Present((BOB,))]
    assert client.phase is Phase.JOINED


def test_peers_come_and_go() -> None:
    client = joined()
    assert client.receive(said(type="relay-peer-joined", nodeId=HIGH, name="bob"), 1) == [
        PeerJoined(BOB)
    ]
    assert client.receive(said(type="relay-peer-joined", nodeId=LOW, name="alice"), 1) == []
    assert client.receive(said(type="relay-peer-left", nodeId=HIGH, name="b"), 1) == [
        PeerLeft(HIGH)
    ]


def test_every_ping_is_answered_before_and_after_login() -> None:
    waiting = RelayClient(LOW, "alice", None, 0)
    waiting.opened(0)
    for client in (waiting, joined()):
        assert client.receive(said(type="relay-ping"), 1) == [Send(b'{"type":"relay-pong"}')]


def test_an_envelope_goes_to_one_node_and_comes_from_one() -> None:
    sent = json.loads(joined().send(HIGH, frames.Ping()).text)
    assert sent == {"to": HIGH, "payload": {"type": "ping"}}
    text = b'{"from":"%b","fromName":"bob","payload":{"type":"ping"}}' % HIGH.encode()
    assert joined().receive(text, 1) == [Arrived(BOB, b'{"type":"ping"}')]


def test_nothing_is_sent_before_the_relay_let_us_in() -> None:
    client = RelayClient(LOW, "alice", None, 0)
    client.opened(0)
    with pytest.raises(WireError) as error:
        client.send(HIGH, frames.Ping())
    assert error.value.code == "not-sendable"


def test_complaints_are_reported_and_a_lost_login_is_left() -> None:
    client = joined()
    assert client.receive(said(type="relay-error", message="no"), 1) == [Report("no")]
    (event,) = client.receive(said(type="relay-reauth"), 1)
    assert isinstance(event, Leave)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "bad-json"),
        (b"null", "bad-json"),
        (b"[1]", "bad-json"),
        (b'{"type":5}', "bad-json"),
        (b"{}", "malformed"),
        (b'{"type":"relay-peers"}', "malformed"),
        (b'{"type":"relay-peers","peers":[%b0]}' % (b"0," * 4096), "malformed"),
        (b'{"type":"relay-peer-left"}', "malformed"),
        (b'{"from":5,"fromName":"b","payload":{}}', "malformed"),
        (b'{"from":"x","fromName":"b","payload":{}}', "malformed"),
        (b'{"from":"%b","fromName":"b"}' % HIGH.encode(), "malformed"),
        (b" " * MAX_MESSAGE + b"1", "malformed"),
    ],
)
def test_what_makes_no_sense_is_dropped_by_name(text: bytes, code: str) -> None:
    assert refused(joined(), text) == code


def test_a_payload_over_the_limit_is_dropped() -> None:
    def envelope(size: int) -> bytes:
        filler = b'"' + b"x" * (size - 2) + b'"'
        return b'{"from":"%b","fromName":"b","payload":%b}' % (HIGH.encode(), filler)

    (event,) = joined().receive(envelope(MAX_PAYLOAD), 1)
    assert isinstance(event, Arrived)
    assert len(event.payload) == MAX_PAYLOAD
    assert refused(joined(), envelope(MAX_PAYLOAD + 1)) == "malformed"


def test_the_longest_list_and_the_longest_message_are_read() -> None:
    client = joined()
    peers = b'{"type":"relay-peers","peers":[%b0]}' % (b"0," * 4_095)
    assert client.receive(peers, 1) == [Present(())]
    ping = b'{"type":"relay-ping"}'
    assert client.receive(ping.ljust(MAX_MESSAGE), 1) == client.receive(ping, 1)


def test_a_list_that_is_none_does_not_let_us_in() -> None:
    client = RelayClient(LOW, "alice", None, 0)
    client.opened(0)
    assert refused(client, said(type="relay-peers", peers=5)) == "malformed"
    assert client.phase is Phase.LOGIN


def test_before_login_and_after_the_end_nothing_is_delivered() -> None:
    envelope = said(**{"from": HIGH, "fromName": "b", "payload": {}})
    waiting = RelayClient(LOW, "alice", None, 0)
    waiting.opened(0)
    gone = joined()
    gone.closed()
    assert not gone.registered
    for client in (waiting, gone, RelayClient(LOW, "a", None, 0)):
        assert client.receive(envelope, 1) == []
    assert joined().receive(said(type="relay-new"), 1) == []


def test_a_silent_relay_is_left() -> None:
    waiting = RelayClient(LOW, "alice", None, 0)
    assert waiting.tick(10**9) == []
    waiting.opened(5)
    assert waiting.tick(10_004) == []
    assert len(waiting.tick(10_005)) == 1
    client = joined()
    client.receive(said(type="relay-ping"), 10_000)
    assert client.tick(34_999) == []
    assert len(client.tick(35_000)) == 1
    client.closed()
    assert client.tick(10**9) == []


def test_the_rules_are_those_of_one_login() -> None:
    both = {("relay-peers", Rule.JOIN), ("relay-ping", Rule.PONG), ("relay-error", Rule.REPORT),
            ("relay-reauth", Rule.LEAVE)}  # fmt: skip
    in_it = {("relay-peer-joined", Rule.PEER_JOINED), ("relay-peer-left", Rule.PEER_LEFT),
             ("", Rule.DELIVER)}  # fmt: skip
    assert {(t, r) for (p, t), r in RULES.items() if p is Phase.LOGIN} == both
    assert {(t, r) for (p, t), r in RULES.items() if p is Phase.JOINED} == both | in_it
    assert {p for p, _ in RULES} == {Phase.LOGIN, Phase.JOINED}


@settings(max_examples=300)
@given(
    st.binary(max_size=60)
    | st.dictionaries(
        st.sampled_from(["type", "from", "fromName", "payload", "peers", "nodeId", "name"]),
        st.none()
        | st.integers()
        | st.sampled_from(["relay-peers", "relay-peer-joined", "relay-peer-left", HIGH, "x"])
        | st.lists(st.none() | st.integers(), max_size=2),
    ).map(lambda m: json.dumps(m).encode())
)
def test_any_message_is_read_or_refused_as_documented(text: bytes) -> None:
    for client in (joined(), RelayClient(LOW, "alice", None, 0)):
        assert outcome(client, text) in {"", "bad-json", "malformed"}


def outcome(client: RelayClient, text: bytes) -> str:
    try:
        client.receive(text, 1)
    except WireError as error:
        return error.code
    return ""


def lost(retry: Retry, code: int | None = 1006, **changes: Any) -> int | None:
    values = {"clean": True, "registered": True, "now_ms": 0, "jitter": 0.0}
    return retry.lost(code, **(values | changes))


@pytest.mark.parametrize("code", [4004, 4006])
def test_a_collision_ends_it_for_good(code: int) -> None:
    assert lost(Retry(), code) is None
    assert lost(Retry(), code, clean=False) is None


def test_what_the_close_codes_mean() -> None:
    assert {
        4001: Next.RETRY,
        4002: Next.SLOW,
        4003: Next.SLOW,
        4004: Next.STOP,
        4005: Next.RETRY,
        4006: Next.STOP,
    } == CLOSE_CODES


def test_after_a_clean_close_it_may_come_back_at_once() -> None:
    assert lost(Retry(), 1000, now_ms=7) == 7
    assert lost(Retry(), 1000, now_ms=0) == 0


@pytest.mark.parametrize("code", [None, 1006])
def test_after_an_unclean_loss_not_before_25_seconds(code: int | None) -> None:
    assert lost(Retry(), code, clean=False, now_ms=7) == 25_007
    assert lost(Retry(), code, clean=False, registered=False, now_ms=7) == 7


def test_a_failed_attempt_meanwhile_does_not_shorten_that() -> None:
    retry = Retry()
    lost(retry, clean=False, now_ms=0)
    assert lost(retry, registered=False, now_ms=3_000) == 25_000
    assert lost(retry, registered=False, now_ms=26_000) == 26_000


def test_jitter_is_full_and_its_bound_doubles_up_to_30_seconds() -> None:
    retry = Retry()
    bounds = [lost(retry, jitter=0.5) for _ in range(8)]
    assert bounds == [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]


def test_a_refused_token_is_tried_again_seldom() -> None:
    assert lost(Retry(), 4003) == 30_000
    assert lost(Retry(), 4003, jitter=0.5) == 165_000
    assert lost(Retry(), 4003, jitter=1.0) == 300_000


def test_only_a_stable_session_resets_the_patience() -> None:
    retry = Retry()
    for _ in range(4):
        lost(retry)
    retry.joined(50_000)
    assert lost(retry, jitter=0.5, now_ms=109_999) == 109_999 + 8_000
    retry.joined(50_000)
    assert lost(retry, jitter=0.5, now_ms=110_000) == 110_500
    assert lost(retry, jitter=0.5, now_ms=200_000) == 201_000  # it joined no second time
