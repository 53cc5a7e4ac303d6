"""Frames: what is let in, byte by byte what goes out, and payloads that stay as they are."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmesh_mesh.errors import RecordError
from xmesh_mesh.relay import frames
from xmesh_mesh.relay.frames import Envelope, Listed, News, WakeChannel

AUTH = {"type": "relay-auth", "nodeId": "n1", "name": "one"}


def login(**changes: object) -> str:
    return json.dumps({**AUTH, **changes})


def test_a_login_is_read() -> None:
    found = frames.decode_login(login(token="t", wakeChannel={"a": 1}, more=[1]))
    assert (found.node_id, found.name, found.token) == ("n1", "one", "t")
    assert bytes(found.wake_channel) == b'{"a": 1}'
    assert frames.decode_login(login(token=None, wakeChannel=None)).token is None
    assert frames.decode_login(login().encode()).name == "one"


@pytest.mark.parametrize(
    "text",
    [
        *("null", "5", "[]", '"relay-auth"', "{}", '{"type":"relay-pong"}'),
        *(login(type="relay-peers"), login(nodeId=""), login(nodeId=5), login(nodeId=None)),
        *(login(name=""), login(name=[]), login(token=5), login(name="a\nb"), login(name="a\x7f")),
        *(login(nodeId="x" * 129), login(name="x" * 257), login(token="x" * 1025)),
        *(login(nodeId="a\n"), login(nodeId="\x00")),
    ],
)
def test_other_json_is_no_login(text: str) -> None:
    with pytest.raises(RecordError) as caught:
        frames.decode_login(text)
    assert caught.value.code == "no-login"


def test_the_longest_login_is_taken() -> None:
    found = frames.decode_login(login(nodeId="x" * 128, name="é" * 256, token="x" * 1024))
    assert len(found.name) == 256


@pytest.mark.parametrize(
    "text", ["", "{", "hello", "\ufeff{}", b"\xff", '{"x":' + "[" * 99_999, "NaN"]
)
def test_what_is_no_json_is_told_apart(text: str | bytes) -> None:
    with pytest.raises(RecordError) as caught:
        frames.decode_login(text)
    assert caught.value.code == "unparsable"


@pytest.mark.parametrize(
    ("text", "to", "payload"),
    [
        ('{"payload":{"a":1}}', None, b'{"a":1}'),
        ('{"to":"n2","payload":{"a":1}}', "n2", b'{"a":1}'),
        ('{"to":null,"payload":[1]}', None, b"[1]"),
        ('{"to":"","payload":"x"}', None, b'"x"'),
        ('{"to":"n2"}', "n2", b""),
        ('{"to":"n2","payload":null}', "n2", b""),
        ('{"payload":false}', None, b""),
        ('{"payload":0}', None, b""),
        ('{"payload":""}', None, b""),
        ('{"payload":true}', None, b"true"),
        ('{"payload":{}}', None, b"{}"),
        ('{"from":"evil","fromName":"e","payload":{"from":"x"}}', None, b'{"from":"x"}'),
        ("{}", None, b""),
        ('{"type":7,"payload":[2]}', None, b"[2]"),
        ('{"payload":1,"payload":2}', None, b"2"),
    ],
)
def test_an_envelope_is_read(text: str, to: str | None, payload: bytes) -> None:
    assert frames.decode_envelope(text) == Envelope(False, to, payload)
    assert frames.decode_envelope(text.encode()) == Envelope(False, to, payload)


def test_only_a_pong_is_a_pong() -> None:
    assert frames.decode_envelope('{"type":"relay-pong"}') == Envelope(True, None, b"")
    for text in ('{"type":"relay-ping"}', '{"payload":{"type":"relay-pong"}}', '{"type":null}'):
        assert not frames.decode_envelope(text).pong


def test_a_payload_goes_on_as_it_came_spaces_numbers_escapes_and_all() -> None:
    payload = (
        r'{ "z" : 1.0, "a":1e400 ,"big":123456789012345678901234567890, "e":"\u00e9\/é",  "z":2 }'
    )
    assert frames.decode_envelope(f'{{"payload": {payload} ,"x":1}}').payload == payload.encode()


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "5", "[]", "{", "hello", '{"to":5}', '{"to":[],"payload":1}'),
        *('{"payload":NaN}', '{"payload":01}', '{"payload":"\x01"}', '{"payload":{}} x'),
        *('{"payload":' + "[" * 100_000 + "]" * 100_000 + "}", '{"payload":' + "[" * 100_000),
        *(b"\xff\xfe", b'{"payload":"\xff"}', b"\x00" * 64, '{"payload":"\ud800"}'),
        *(r'{"to":5,"payload":"\ud800"}', r'{"payload":"\ud800",}', r'["\ud800"]'),
        *(r'{"payload":["\ud800",NaN]}', r'{"payload":["\uD800",1e999]}', r'{"payload":"\u12"}'),
        r'{"payload":["\ud800",' + "[" * 100_000 + "]" * 100_000 + "]}",
        r'{"payload":["\ud800",' + "9" * 10_000 + "]}",
    ],
)
def test_anything_else_is_malformed_and_nothing_worse(text: str | bytes) -> None:
    with pytest.raises(RecordError) as caught:
        frames.decode_envelope(text)
    assert caught.value.code == "malformed"


@pytest.mark.parametrize("escape", [r"\ud83d", r"\uD83D", r"\udc00"])
def test_text_that_was_cut_within_a_character_is_forwarded_too(escape: str) -> None:
    text = f'{{"type":"x","to":"n2","payload":{{"t":"ab{escape}","n":1.5}}}}'
    expected = f'{{"t":"ab{escape.lower()}","n":1.5}}'.encode()
    assert frames.decode_envelope(text) == Envelope(False, "n2", expected)
    assert frames.decode_envelope(f'{{"type":"relay-pong","x":"{escape}"}}').pong


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for decode in (frames.decode_login, frames.decode_envelope):
        with contextlib.suppress(RecordError):
            decode(data)
    frames.decode_news(data, 4)
    frames.decode_wake(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)


@given(json_values, st.text(min_size=1, max_size=5), st.text(min_size=1, max_size=5))
def test_the_envelope_that_goes_out_is_json_with_the_senders_stamp(
    payload: object, node_id: str, name: str
) -> None:
    text = json.dumps({"payload": [payload]})
    out = frames.stamp(node_id, name) + frames.decode_envelope(text).payload + b"}"
    assert json.loads(out) == {"from": node_id, "fromName": name, "payload": [payload]}


def test_the_relays_own_frames_are_as_deployed() -> None:
    wake = WakeChannel("apns", "tok", "production")
    listed = [Listed("n1", "one"), Listed("n2", "two", wake, offline=True)]
    assert json.loads(frames.peers(listed)) == {
        "type": "relay-peers",
        "peers": [
            {"nodeId": "n1", "name": "one"},
            {
                "nodeId": "n2",
                "name": "two",
                "wakeChannel": {"platform": "apns", "token": "tok", "environment": "production"},
                "offline": True,
            },
        ],
    }
    assert (
        frames.joined("n", "é") == '{"type":"relay-peer-joined","nodeId":"n","name":"é"}'.encode()
    )
    assert frames.left("n", "m") == b'{"type":"relay-peer-left","nodeId":"n","name":"m"}'
    assert frames.error("no") == b'{"type":"relay-error","message":"no"}'
    assert frames.PING == b'{"type":"relay-ping"}'


@pytest.mark.parametrize(
    ("text", "wake"),
    [
        ('{"platform":"apns","token":"t"}', WakeChannel("apns", "t")),
        ('{"platform":"a","token":"t","environment":"e","x":1}', WakeChannel("a", "t", "e")),
        ('{"platform":"a","token":"t","environment":null}', WakeChannel("a", "t")),
        ('{"platform":"none","token":"t"}', None),
        ('{"platform":"","token":"t"}', None),
        ('{"platform":"apns","token":""}', None),
        ('{"platform":"apns"}', None),
        ('{"platform":1,"token":"t"}', None),
        ('{"platform":"a","token":"t\\n"}', None),
        ('{"platform":"a","token":"t","environment":5}', None),
        (
            json.dumps({"platform": "p" * 32, "token": "t" * 1024}),
            WakeChannel("p" * 32, "t" * 1024),
        ),
        (json.dumps({"platform": "p" * 33, "token": "t"}), None),
        (json.dumps({"platform": "p", "token": "t" * 1025}), None),
        (json.dumps({"platform": "p", "token": "t", "environment": "e" * 65}), None),
        *(("null", None), ("[]", None), ("5", None), ("", None), ("[" * 99_999, None)),
    ],
)
def test_a_wake_channel_is_read_or_there_is_none(text: str, wake: WakeChannel | None) -> None:
    assert frames.decode_wake(text.encode()) == wake


def entry(node_id: object, name: object = "n", **wake: object) -> dict[str, object]:
    channel = {"platform": "fcm", "token": "t", **wake}
    return {"nodeId": node_id, "name": name, "wakeChannel": channel}


def news(payload: object, most: int = 9) -> list[News]:
    return frames.decode_news(json.dumps(payload, separators=(",", ":")).encode(), most)


def test_a_wake_channel_frame_is_the_senders_own_word() -> None:
    payload = {"type": "wake-channel", "platform": "fcm", "token": "t"}
    assert news(payload) == [News(WakeChannel("fcm", "t"))]
    assert news({**payload, "platform": "none"}) == []
    assert news({"type": "cmb", "x": payload}) == []


def test_of_gossip_the_good_entries_are_taken_and_the_rest_is_nothing() -> None:
    bad: list[object] = [None, [], 5, "x", {}, entry(None), entry(""), entry(5), entry("a", None)]
    bad += [entry("a", ""), entry("a", platform="none"), entry("a", token=7), {"nodeId": "a"}]
    payload = {"type": "peer-info", "peers": [*bad, entry("b")]}
    assert news(payload, 99) == [News(WakeChannel("fcm", "t"), "b", "n")]


@pytest.mark.parametrize("peers", [None, {}, 5, "x", [[[]]], [None]])
def test_gossip_of_another_shape_is_nothing(peers: object) -> None:
    assert news({"type": "peer-info", "peers": peers}) == []
    assert news({"type": "peer-info"}) == []


def test_only_the_first_entries_of_gossip_count() -> None:
    payload = {"type": "peer-info", "peers": [None, entry("a"), entry("b"), entry("c")]}
    assert [each.node_id for each in news(payload, 3)] == ["a", "b"]


@pytest.mark.parametrize("payload", [{"type": ["wake-channel"]}, {"t": "peer-info"}, ["peer-info"]])
def test_a_payload_that_only_mentions_them_tells_nothing(payload: object) -> None:
    assert news(payload) == []
