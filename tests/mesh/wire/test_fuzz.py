"""Mutated streams through the whole of it: read or refused as documented, however they are cut."""

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from xmesh_mesh.errors import RecordError
from xmesh_mesh.wire import e2e, errors, frames, records, sending
from xmesh_mesh.wire.codec import FrameReader, pack
from xmesh_mesh.wire.errors import WireError
from xmesh_mesh.wire.plain import PlainHandshake
from xmesh_mesh.wire.secure_handshake import SecureHandshake
from xmesh_mesh.wire.trust import KeyVerdict

SECRET = bytes(range(32))
CPU_S = 0.25  # for one input; the machine may be busy, and none needs a tenth of it


class Target:
    """Everything of a node that reads what strangers send."""

    def __init__(self, alice: Any, bob: Any, record: Any, opened: Any) -> None:
        self._alice, self._bob, self._opened = alice, bob, opened
        client = SecureHandshake("client", alice.terms(), now_ms=0)
        server = SecureHandshake("server", bob.terms(), now_ms=0)
        hello = client.start()
        server.receive(hello)
        answer = server.proved(bob.prove(server.proof_request))
        client.receive(answer)
        finish = client.proved(alice.prove(client.proof_request))
        assert client.session is not None
        body = records.body_of(record)
        sent = [
            plain(alice).start().send[0],
            records.cmb(record),
            records.fetch_answer(frames.CmbFetch(req_id="1", key=record.key), record, 1),
            hello,
            answer,
            finish,
            client.session.seal(record, alice.own.node_id),
        ]
        if e2e.AVAILABLE:
            sent.append(records.cmb(record, body=e2e.seal(body, SECRET, bytes(12))))
        self.payloads = [sending.encode(frame, "lan") for frame in sent]

    def outcome(self, pieces: list[bytes]) -> list[str]:
        """Return what becomes of a stream: a word for each frame, and one for its end."""
        reader = FrameReader()
        link, server = plain(self._bob), SecureHandshake("server", self._bob.terms(), now_ms=0)
        words = [
            self._word(payload, link, server)
            for piece in pieces
            for payload in reader.receive(piece)
        ]
        return [*words, reader.error.code if reader.error else f"{reader.pending} pending"]

    def _word(self, payload: bytes, link: PlainHandshake, server: SecureHandshake) -> str:
        try:
            frame = frames.decode(payload)
        except WireError as error:
            return error.code if error.code in errors.DROPPED else f"undocumented {error.code}"
        words = [type(frame).__name__]
        words += [refusal(lambda: link.receive(frame)), refusal(lambda: server.receive(frame))]
        words += [refusal(lambda: read(frame))]
        return " ".join(words)


def plain(node: Any) -> PlainHandshake:
    return PlainHandshake(
        node.own,
        transport="lan",
        dialled=True,
        check=lambda *_: KeyVerdict.TRUSTED,
        now_ms=0,
    )


def read(frame: Any) -> None:
    if isinstance(frame, frames.Cmb):
        records.record_of(e2e.unseal(frame.cmb, SECRET))
    elif isinstance(frame, frames.CmbFetchResult):
        records.fetched(frame, frame.key)


def refusal(call: Any) -> str:
    try:
        call()
    except (WireError, RecordError) as error:
        return error.code
    return "taken"


def streams(target: Target, seed: int, count: int) -> Iterator[bytes]:
    """Yield streams of frames with bytes changed, cut out, repeated, or strangers put in."""
    rng = random.Random(seed)
    for _ in range(count):
        chosen = rng.choices(target.payloads, k=rng.randint(1, 3))
        stream = bytearray(b"".join(pack(mutated(p, rng)) for p in chosen))
        if rng.random() < 0.3:
            stream = bytearray(mutated(bytes(stream), rng))
        yield bytes(stream)


TOKENS = (b"null", b"[", b"{", b'"', b"\\ud800", b"\xff", b"1e999", b"-0", b"9" * 40, b'"type":')


def mutated(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(0, 3)):
        at = rng.randrange(len(changed) + 1)
        size = rng.choice((0, 1, 1, 4, 32))
        piece = rng.choice((b"", rng.randbytes(size), rng.choice(TOKENS), bytes(changed[:size])))
        changed[at : at + size] = piece
    return bytes(changed) or b"x"


def fuzz(target: Target, seed: int, count: int) -> set[str]:
    seen: set[str] = set()
    for stream in streams(target, seed, count):
        started = time.process_time()
        whole = target.outcome([stream])
        assert time.process_time() - started < CPU_S, stream
        seen.update(whole)
    assert not any("undocumented" in word for word in seen)
    return seen


@pytest.fixture
def target(alice: Any, bob: Any, record: Any, opened: Any) -> Target:
    return Target(alice, bob, record, opened)


def test_mutated_streams_are_read_or_refused_as_documented(target: Target) -> None:
    seen = fuzz(target, 1, 3_000)
    assert {"malformed", "bad-json", "bad-length"} <= seen
    assert any(word.startswith("Cmb") and word.endswith("taken") for word in seen)


def test_mutated_streams_read_the_same_whole_and_byte_by_byte(target: Target) -> None:
    for stream in streams(target, 2, 150):
        single = [stream[i : i + 1] for i in range(len(stream))]
        assert target.outcome([stream]) == target.outcome(single)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_mutated_streams_in_the_long_form(target: Target) -> None:
    assert fuzz(target, random.randrange(2**32), 10_000_000)
