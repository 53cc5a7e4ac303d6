"""Frames: what is said is what is heard, and anything else is one documented error."""

import contextlib

import msgspec
import pytest
from helpers.bus_service import assertion, introduction
from hypothesis import given
from hypothesis import strategies as st

from xmesh_mesh import record
from xmesh_mesh.bus import edge_frames, frames
from xmesh_mesh.errors import RecordError

REQUESTS = [
    frames.Hello("s", "member", introduction("a"), ("e", 5), 1, own=True),
    frames.Hello("s", "tail", group="g", since=0),
    frames.Publish(1, assertion(1), b"\x00\xff", "n"),
    frames.Ack(2**63 - 1),
    frames.Ping(),
    frames.Status(),
    frames.Leave(),
    frames.Remove("n"),
    frames.Hello("s", "gateway", position=("e", 5), group="g"),
    frames.Publish(1, assertion(1), b"\x00", None, "author", history=True),
    edge_frames.Introduce(1, introduction("a")),
    edge_frames.Prove(1, "n", "client", b"transcript"),
    edge_frames.Proof("token", "sig"),
    edge_frames.Collide("n", "text"),
    edge_frames.Attest(b"{}"),
]
ANSWERS = [
    frames.Welcome("e", 2, 1, [introduction("a")]),
    frames.Introduced(introduction("a")),
    frames.Accepted(1, 2),
    frames.Refused(None, "collision", "text"),
    frames.Deliver(1, "n", assertion(1), b"\xff", 5),
    frames.Deliver(1, "n", assertion(1), b"\xff", 5, history=True),
    edge_frames.ProofAsked("token", "server", b"transcript"),
    edge_frames.Proved(1, "sig"),
    edge_frames.Unproved(1, "declined"),
    edge_frames.Attested("n", b"{}"),
    frames.Pong(),
    frames.Left(),
    frames.Removed("n", found=True),
    frames.StatusReply("e", 1, 2, [frames.MemberStatus("n", "a", "g", 1, 0, True, 0)], 1),
]


@pytest.mark.parametrize("frame", REQUESTS, ids=lambda frame: type(frame).__name__)
def test_a_request_is_read_as_it_was_written(frame: frames.Request) -> None:
    assert frames.decode_request(frames.encode(frame)) == frame


@pytest.mark.parametrize("frame", ANSWERS, ids=lambda frame: type(frame).__name__)
def test_an_answer_is_read_as_it_was_written(frame: frames.Answer) -> None:
    assert frames.decode_answer(frames.encode(frame)) == frame


HELLO = {"t": "hello", "session": "s", "role": "member"}
PROVE = {"t": "prove", "proof": 1, "node_id": "n", "role": "client", "transcript": b""}
PUBLISH = {"t": "publish", "request": 1, "assertion": assertion(1), "record": b""}


@pytest.mark.parametrize(
    ("frame", "change", "good"),
    [
        (HELLO, {"window": 1}, True),
        (HELLO, {"window": 0}, False),
        (HELLO, {"window": 1_024}, True),
        (HELLO, {"window": 1_025}, False),
        (HELLO, {"session": ""}, False),
        (HELLO, {"session": "s" * 64}, True),
        (HELLO, {"session": "s" * 65}, False),
        (HELLO, {"role": "owner"}, False),
        (HELLO, {"since": -1}, False),
        (HELLO, {"since": 0}, True),
        (HELLO, {"position": ["e", -1]}, False),
        (HELLO, {"position": ["e" * 65, 1]}, False),
        (HELLO, {"group": "g" * 65}, False),
        (HELLO, {"unknown": 1}, True),
        (PUBLISH, {"assertion": "A" * 64}, False),
        (PUBLISH, {"assertion": "a" * 63}, False),
        (PUBLISH, {"assertion": "a" * 64 + "\n"}, False),
        (PUBLISH, {"request": -1}, False),
        (PUBLISH, {"request": 2**53}, True),
        (PUBLISH, {"request": 2**53 + 1}, False),
        (PUBLISH, {"to": ""}, False),
        (PUBLISH, {"to": "n" * 64}, True),
        (PUBLISH, {"to": "n" * 65}, False),
        (PUBLISH, {"record": "text"}, False),
        (PUBLISH, {"author": "n" * 64, "history": True}, True),
        (PUBLISH, {"author": "n" * 65}, False),
        (PROVE, {}, True),
        (PROVE, {"role": "author"}, False),
        (PROVE, {"transcript": bytes(16_384)}, True),
        (PROVE, {"transcript": bytes(16_385)}, False),
        ({"t": "proof", "token": "t"}, {"sig": "s" * 128}, True),
        ({"t": "proof", "token": "t"}, {"sig": "s" * 129}, False),
        ({"t": "attest"}, {"statement": bytes(8_192)}, True),
        ({"t": "attest"}, {"statement": bytes(8_193)}, False),
        ({"t": "collide", "node_id": "n"}, {"text": "x" * 1_024}, True),
        ({"t": "collide", "node_id": "n"}, {"text": "x" * 1_025}, False),
        ({"t": "ack"}, {"seq": -1}, False),
        ({"t": "ack"}, {"seq": 2**63}, False),
        ({"t": "ack"}, {}, False),
        ({"t": "reboot"}, {}, False),
        ({}, {}, False),
    ],
)
def test_values_are_held_to_their_bounds(
    frame: dict[str, object], change: dict[str, object], good: bool
) -> None:
    data = msgspec.msgpack.encode({**frame, **change})
    expected = contextlib.nullcontext() if good else pytest.raises(RecordError, match=r".")
    with expected:
        frames.decode_request(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for decode in (frames.decode_request, frames.decode_answer):
        with contextlib.suppress(RecordError):
            decode(data)


@given(st.sampled_from(REQUESTS), st.integers(0), st.integers(0, 255))
def test_a_damaged_frame_is_read_or_refused(frame: frames.Request, where: int, value: int) -> None:
    data = bytearray(frames.encode(frame))
    data[where % len(data)] = value
    with contextlib.suppress(RecordError):
        frames.decode_request(bytes(data))


@pytest.mark.parametrize("data", [b"\x91" * 100_000, b"\x82\xa1t\xa4ping\xa1x" + b"\x91" * 100_000])
def test_depth_is_bounded(data: bytes) -> None:
    with pytest.raises(RecordError) as caught:
        frames.decode_request(data)
    assert caught.value.code == "malformed"


def test_a_record_of_any_allowed_size_fits_a_frame() -> None:
    assert frames.MAX_RECORD_BYTES == record.MAX_RECORD_BYTES
    assert frames.MAX_FRAME_BYTES > 2 * frames.MAX_RECORD_BYTES
