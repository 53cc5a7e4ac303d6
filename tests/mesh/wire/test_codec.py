"""Bytes to payloads: any cut, the same result; a bad length ends the stream."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmesh_mesh.wire.codec import MAX_PAYLOAD, FrameReader, pack
from xmesh_mesh.wire.errors import WireError


def test_limit_is_one_mebibyte() -> None:
    assert MAX_PAYLOAD == 1_048_576
    assert pack(b"{}") == b"\x00\x00\x00\x02{}"


def test_largest_payload_passes_and_one_byte_more_is_not_sent() -> None:
    reader = FrameReader()
    assert reader.receive(pack(b"x" * MAX_PAYLOAD)) == [b"x" * MAX_PAYLOAD]
    assert reader.error is None
    with pytest.raises(WireError) as refused:
        pack(b"x" * (MAX_PAYLOAD + 1))
    assert refused.value.code == "too-large"


@pytest.mark.parametrize("size", [0, MAX_PAYLOAD + 1, 2**32 - 1])
def test_bad_length_ends_the_stream_for_good(size: int) -> None:
    reader = FrameReader()
    assert reader.receive(pack(b"one") + size.to_bytes(4) + pack(b"two")) == [b"one"]
    assert reader.error is not None
    assert (reader.error.code, reader.error.fatal) == ("bad-length", True)
    assert reader.receive(pack(b"three")) == []
    assert reader.pending == 0


def test_bad_length_is_refused_before_its_bytes_come() -> None:
    reader = FrameReader()
    reader.receive((MAX_PAYLOAD + 1).to_bytes(4))
    assert reader.error is not None


def test_one_byte_payload_is_complete_with_its_byte_and_not_before() -> None:
    reader = FrameReader()
    assert reader.receive(b"\0\0\0\x01") == []
    assert reader.pending == 4
    assert reader.receive(b"x") == [b"x"]
    assert reader.pending == 0


@given(st.binary(max_size=400), st.lists(st.integers(1, 50), max_size=30))
def test_any_stream_reads_the_same_however_it_is_cut(tail: bytes, cuts: list[int]) -> None:
    stream = pack(b"first") + pack(b"second") + tail
    whole, pieces, single = FrameReader(), FrameReader(), FrameReader()
    expected = whole.receive(stream)
    got: list[bytes] = []
    start = 0
    for cut in [*cuts, len(stream)]:
        got += pieces.receive(stream[start : start + cut])
        start += cut
    one_by_one = [p for i in range(len(stream)) for p in single.receive(stream[i : i + 1])]
    assert got == one_by_one == expected
    assert bool(whole.error) == bool(pieces.error) == bool(single.error)
    assert whole.pending == pieces.pending == single.pending


def test_a_megabyte_in_tiny_pieces_or_tiny_frames_costs_linear_time() -> None:
    started = time.process_time()
    reader = FrameReader()
    big = pack(b"x" * MAX_PAYLOAD)
    got = [p for i in range(0, len(big), 16) for p in reader.receive(big[i : i + 16])]
    assert len(got) == 1
    assert len(FrameReader().receive(pack(b"y") * 100_000)) == 100_000
    assert time.process_time() - started < 3.0
