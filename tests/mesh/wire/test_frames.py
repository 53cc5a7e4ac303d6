"""Payloads to types: everything a deployed node may send is read, everything else refused."""

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmesh_mesh.wire import errors, frames
from xmesh_mesh.wire.codec import MAX_PAYLOAD
from xmesh_mesh.wire.errors import WireError

NODE = "01930f1e-0000-7000-8000-00000000000a"
SIG = {"sig": "s", "sigAlg": "ed25519"}
ATTESTATION = {
    "of": "cmb-" + "a" * 64,
    "by": NODE,
    "at": 1,
    "roster": "lab",
    "verdict": "aligned",
    "categories": {"focus": "admit"},
    "role": "participant",
    "seq": 1,
    "prev": "genesis",
    **SIG,
}
GRANT = {"type": "role-grant", "grantee": NODE, "role": "anchor", "grantedBy": NODE, "grantedAt": 1}
HELLO = {
    "protocolVersion": "2.0",
    "room": "lab",
    "nodeId": NODE,
    "name": "a",
    "identityPublicKey": "k",
    "e2ePublicKey": "e",
    "nonce": "n",
    "implementation": {"name": "i", "version": "1"},
    "extensions": [],
}
# Each type's frame as a deployed node (the last four: one of the 2.0 suite) sends it.
SAMPLES: dict[str, dict[str, Any]] = {
    "handshake": {"nodeId": NODE, "name": "n", "version": "0.2.3", "extensions": [], "room": "lab"},
    "cmb": {"timestamp": 1, "cmb": {"categories": {}, "metadata": {}}},
    "cmb-fetch": {"reqId": "1", "key": "cmb-x", "from": NODE, "timestamp": 1},
    "cmb-fetch-result": {"reqId": "1", "key": "k", "found": False, "cmb": None, "timestamp": 1},
    "ping": {},
    "pong": {},
    "message": {"from": NODE, "fromName": "n", "content": "hi", "timestamp": 1},
    "attestation": {"attestation": ATTESTATION},
    "checkpoint": {
        "checkpoint": {"type": "checkpoint", "by": NODE, "upto_seq": 8, "root": "a" * 64, "at": 1}
    },
    "witness": {
        "witness": {
            "type": "witness",
            "attester": NODE,
            "upto_seq": 8,
            "root": "a" * 64,
            "by": NODE,
            "role": "anchor",
            "at": 1,
        }
    },
    "role-grant": {"grant": GRANT},
    "role-revoke": {"grant": GRANT | {"type": "role-revoke"}},
    "node-stats": {"stats": {"name": "n", "nodeId": NODE, "emitted": 1, "memory": 2, "at": 3}},
    "mood": {"from": NODE, "fromName": "n", "mood": "calm", "context": None, "timestamp": 1},
    "xmesh-insight": {"trajectory": [0.5], "anomaly": 0.1, "remixScore": 0, "coherence": 1},
    "wake-channel": {"platform": "apns", "token": "t", "environment": "e"},
    "peer-info": {"peers": [{"nodeId": NODE, "name": "n", "wakeChannel": {}, "lastSeen": 1.5}]},
    "error": {"code": "x", "message": "m", "detail": {"any": 1}},
    "client-hello": HELLO,
    "server-hello": HELLO
    | {"clientNonce": "c", "selectedExtensions": [], "proof": "p", "keyConfirmation": "k"},
    "client-finish": {"transcriptHash": "t", "proof": "p", "keyConfirmation": "k"},
    "xmesh-operator": {
        "nodeId": NODE,
        "name": "operator",
        "room": "lab",
        "publicKey": "k",
        "implementation": "xmesh",
        "issuedMs": 1,
        "sig": "s",
        "voucher": "v",
    },
    "cmb-encrypted": {
        "protocolVersion": "2.0",
        "suite": "s",
        "sessionId": "i",
        "sequence": "0",
        "direction": "client-to-server",
        "metadata": {},
        "sealed": "s",
    },
}


def payload(tag: str, **changes: Any) -> bytes:
    return json.dumps({"type": tag, **SAMPLES[tag], **changes}).encode()


def outcome(data: bytes) -> frames.Frame | frames.Unknown | WireError:
    try:
        return frames.decode(data)
    except WireError as error:
        return error


def code_of(data: bytes) -> str:
    with pytest.raises(WireError) as refused:
        frames.decode(data)
    return refused.value.code


def test_samples_cover_every_type() -> None:
    assert set(SAMPLES) == set(frames._DECODERS)


@pytest.mark.parametrize("tag", SAMPLES)
def test_every_type_is_read_and_unknown_keys_are_ignored(tag: str) -> None:
    frame = frames.decode(payload(tag, surprise={"deep": [1]}))
    assert not isinstance(frame, frames.Unknown)
    assert frames.type_of(frame) == tag


@pytest.mark.parametrize("tag", SAMPLES)
def test_no_key_of_any_type_takes_a_wrongly_typed_value(tag: str) -> None:
    for key in SAMPLES[tag]:
        if key in {"timestamp", "context"} and tag in {"message", "mood", "xmesh-insight"}:
            continue
        if (tag, key) in {("cmb-fetch-result", "cmb"), ("cmb-encrypted", "metadata")}:
            continue  # raw: ``records`` and ``sealed`` read them
        if (tag, key) == ("error", "detail"):
            continue
        assert code_of(payload(tag, **{key: [[True]]})) == "malformed", key


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "bad-json"),
        (b"{", "bad-json"),
        (b"\xff", "bad-json"),
        (b'{"type":"ping"} x', "bad-json"),
        (b'{"type":"\xff"}', "bad-json"),
        (b'{"type":"\\ud800"}', "bad-json"),
        (b"null", "no-type"),
        (b"[]", "no-type"),
        (b"7", "no-type"),
        (b"{}", "no-type"),
        (b'{"type":null}', "no-type"),
        (b'{"type":5}', "no-type"),
        (b'{"type":"message"}', "malformed"),
        (b'{"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}", "bad-json"),
    ],
)
def test_what_is_no_frame_is_refused_by_name(data: bytes, code: str) -> None:
    assert code_of(data) == code


def test_unknown_types_are_ignored_and_their_name_is_bounded() -> None:
    assert frames.decode(b'{"type":"state-sync"}') == frames.Unknown("state-sync")
    long = frames.decode(b'{"type":"%b"}' % (b"x" * 1000))
    assert long == frames.Unknown("x" * 64)


@pytest.mark.parametrize(
    "changes",
    [
        {"nodeId": NODE.upper()},
        {"nodeId": NODE + "0"},
        {"nodeId": "undefined"},
        {"name": ""},
        {"name": "a\nb"},
        {"name": "a\x9bb"},
        {"name": "x" * 65},
        {"room": "x" * 257},
        {"extensions": ["x"] * 33},
    ],
)
def test_a_handshake_out_of_bounds_is_malformed(changes: dict[str, Any]) -> None:
    assert code_of(payload("handshake", **changes)) == "malformed"


@pytest.mark.parametrize(
    "changes",
    [{"name": "x" * 64}, {"room": "x" * 256}, {"extensions": ["x"] * 32}, {"publicKey": None}],
)
def test_a_handshake_at_its_bounds_is_read(changes: dict[str, Any]) -> None:
    assert isinstance(frames.decode(payload("handshake", **changes)), frames.Handshake)


@pytest.mark.parametrize("sequence", ["00", "01", "-1", "1.0", "", " 1", "1" * 20, 0])
def test_a_sequence_has_one_spelling(sequence: object) -> None:
    assert code_of(payload("cmb-encrypted", sequence=sequence)) == "malformed"


@pytest.mark.parametrize("number", [-1, 2**53, 1.5])
def test_times_are_whole_numbers_that_javascript_has(number: float) -> None:
    assert code_of(payload("cmb", timestamp=number)) == "malformed"
    assert isinstance(frames.decode(payload("cmb", timestamp=2**53 - 1)), frames.Cmb)


def test_error_codes_stand_in_one_table_each_and_say_if_the_link_goes_on() -> None:
    assert not errors.FATAL.keys() & errors.DROPPED.keys()
    assert WireError("bad-length").fatal
    assert not WireError("malformed").fatal
    assert str(WireError("bad-seal")) == errors.FATAL["bad-seal"]
    with pytest.raises(KeyError):
        WireError("no such code")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Return a sample with a value replaced, or with bytes changed, cut or repeated."""
    tag = draw(st.sampled_from(sorted(SAMPLES)))
    frame = {"type": tag, **SAMPLES[tag]}
    if draw(st.booleans()):
        frame[draw(st.sampled_from(sorted(frame)))] = draw(json_values)
    data = bytearray(msgspec.json.encode(frame))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data) - 1))
        data[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
        data = data or bytearray(b"x")
    return bytes(data)


@settings(max_examples=600)
@given(mutated() | st.binary(max_size=64) | json_values.map(lambda v: json.dumps(v).encode()))
def test_any_payload_is_read_or_refused_with_a_documented_error(data: bytes) -> None:
    result = outcome(data)
    if isinstance(result, WireError):
        assert result.code in {"bad-json", "no-type", "malformed"}
        assert not result.fatal
        assert len(str(result)) <= 200
    else:
        assert isinstance(result, frames.Frame | frames.Unknown)


@pytest.mark.parametrize(
    "filler",
    [
        b'{"type":"x","a":[%b0]}' % (b"0," * 400_000),
        b'{"a":%b,"type":"ping"}' % (b"9" * 900_000),
        b'{"type":"handshake",%b"a":1}' % (b'"nodeId":1,' * 80_000),
        b"[" * MAX_PAYLOAD,
    ],
)
def test_the_costliest_payloads_cost_bounded_time(filler: bytes) -> None:
    started = time.process_time()
    outcome(filler)
    assert time.process_time() - started < 0.5
