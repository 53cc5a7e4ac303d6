"""Mutated streams through the whole of it: read or refused as documented, however they are cut."""

import copy
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from xmesh_mesh.errors import RecordError
from xmesh_mesh.identity import Identity
from xmesh_mesh.introduction import introduce
from xmesh_mesh.wire import e2e, errors, frames, records, sending
from xmesh_mesh.wire.codec import FrameReader, pack
from xmesh_mesh.wire.errors import WireError
from xmesh_mesh.wire.operators import introduction_of, operator_frame
from xmesh_mesh.wire.plain import PlainHandshake
from xmesh_mesh.wire.secure_handshake import SecureHandshake
from xmesh_mesh.wire.trust import KeyVerdict

SECRET = bytes(range(32))
CPU_S = 0.25  # for one input; the machine may be busy, and none needs a tenth of it
CUT_EVERY = 16  # one input in so many is read once more, in pieces
DOCUMENTED = {**errors.FATAL, **errors.DROPPED}

Taker = Callable[[Any], Any]


class Target:
    """Everything of a node that reads what strangers send."""

    def __init__(self, alice: Any, bob: Any, record: Any, opened: Any) -> None:
        self._bob = bob
        self._session = opened[1].session
        client = SecureHandshake("client", alice.terms(), now_ms=0)
        server = SecureHandshake("server", bob.terms(), now_ms=0)
        hello = client.start()
        self._client = copy.copy(client)
        server.receive(hello)
        answer = server.proved(bob.prove(server.proof_request))
        self._server = copy.copy(server)
        client.receive(answer)
        finish = client.proved(alice.prove(client.proof_request))
        sealing = opened[0].session
        body = records.body_of(record)
        own = alice.own
        operator = Identity(own.node_id, "operator", own.public_key, alice.seed, 0)
        introduced = introduce(operator, "lab", implementation="xmesh", now_ms=1)
        sent = [
            plain(alice).start().send[0],
            records.cmb(record),
            records.fetch_answer(frames.CmbFetch(req_id="1", key=record.key), record, 1),
            hello,
            answer,
            finish,
            *(sealing.seal(record, alice.own.node_id) for _ in range(2)),
            operator_frame(introduced, sealing),
        ]
        if e2e.AVAILABLE:
            sent.append(records.cmb(record, body=e2e.seal(body, SECRET, bytes(12))))
        self.payloads = [sending.encode(frame, "lan") for frame in sent]

    def outcome(self, pieces: list[bytes]) -> list[str]:
        """Return what becomes of a stream: a word for each frame, and one for its end."""
        reader = FrameReader()
        takers = self._takers()
        words = [_word(payload, takers) for piece in pieces for payload in reader.receive(piece)]
        return [*words, reader.error.code if reader.error else f"{reader.pending} pending"]

    def _takers(self) -> list[Taker]:
        """Return whatever takes frames, as it is just before the one that it waits for."""
        client, server, session = map(copy.copy, (self._client, self._server, self._session))
        waiting = SecureHandshake("server", self._bob.terms(), now_ms=0)
        return [
            plain(self._bob).receive,
            waiting.receive,
            only(frames.ServerHello, client.receive),
            only(frames.ClientFinish, server.receive),
            only(frames.CmbEncrypted, session.open),
            read,
            only(frames.Operator, lambda frame: introduction_of(frame, session)),
        ]


def _word(payload: bytes, takers: list[Taker]) -> str:
    try:
        frame = frames.decode(payload)
    except WireError as error:
        return error.code if error.code in errors.DROPPED else f"undocumented {error.code}"
    return " ".join([type(frame).__name__, *(refusal(take, frame) for take in takers)])


def only(kind: type, take: Taker) -> Taker:
    """Leave to ``take`` frames of one kind: any other one is out of order, and ends it."""
    return lambda frame: take(frame) if isinstance(frame, kind) else None


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


def refusal(take: Taker, frame: Any) -> str:
    try:
        take(frame)
    except RecordError as error:
        return error.code
    except WireError as error:
        return error.code if error.code in DOCUMENTED else f"undocumented {error.code}"
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


def cut(stream: bytes, rng: random.Random) -> list[bytes]:
    """Return the stream in pieces: every byte by itself, or cut at up to four places."""
    if rng.random() < 0.1:
        return [stream[i : i + 1] for i in range(len(stream))]
    marks = sorted(rng.randrange(len(stream) + 1) for _ in range(rng.randint(1, 4)))
    return [stream[a:b] for a, b in zip([0, *marks], [*marks, len(stream)], strict=True)]


class Fuzz:
    """A run of mutated streams: what became of them, and the CPU time (s) of the slowest."""

    def __init__(self, target: Target, seed: int) -> None:
        self.seen: set[str] = set()
        self.worst_s = 0.0
        self._target = target
        self._seed = seed
        self._rng = random.Random(seed)

    def run(self, count: int) -> None:
        for number, stream in enumerate(streams(self._target, self._seed, count)):
            words = self._timed(stream)
            if number % CUT_EVERY == 0:
                pieces = cut(stream, self._rng)
                assert self._target.outcome(pieces) == words, (self._seed, stream)
            self.seen.update(words)
        assert not any("undocumented" in word for word in self.seen), self._seed

    def _timed(self, stream: bytes) -> list[str]:
        started = time.process_time()
        words = self._target.outcome([stream])
        took_s = time.process_time() - started
        assert took_s < CPU_S, (self._seed, stream)
        self.worst_s = max(self.worst_s, took_s)
        return words


@pytest.fixture
def target(alice: Any, bob: Any, record: Any, opened: Any) -> Target:
    return Target(alice, bob, record, opened)


def test_mutated_streams_are_read_or_refused_as_documented(target: Target) -> None:
    fuzz = Fuzz(target, 1)
    fuzz.run(6_000)
    assert {"malformed", "bad-json", "bad-length"} <= fuzz.seen
    for kind, place in (("Handshake", 1), ("ClientHello", 2), ("ServerHello", 3)):
        assert {"taken"} < outcomes(fuzz, kind, place), kind
    for kind, place in (
        ("ClientFinish", 4),
        ("CmbEncrypted", 5),
        ("Cmb", 6),
        ("Operator", 7),
    ):
        assert {"taken"} < outcomes(fuzz, kind, place), kind


def outcomes(fuzz: Fuzz, kind: str, place: int) -> set[str]:
    """Return what became of frames of one kind at the one who waits for it."""
    return {word.split()[place] for word in fuzz.seen if word.startswith(f"{kind} ")}


def test_mutated_streams_read_the_same_whole_and_byte_by_byte(target: Target) -> None:
    for stream in streams(target, 2, 150):
        single = [stream[i : i + 1] for i in range(len(stream))]
        assert target.outcome([stream]) == target.outcome(single)


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_mutated_streams_in_the_long_form(target: Target) -> None:
    count = int(os.environ.get("XMESH_FUZZ_COUNT", "10_000_000"))
    fuzz = Fuzz(target, random.randrange(2**32))
    began = time.process_time()
    fuzz.run(count)
    took_s = time.process_time() - began
    sys.stderr.write(
        f"\n{count:,} inputs in {took_s:.0f} s of CPU, {1e6 * took_s / count:.0f} µs each, "
        f"the slowest {fuzz.worst_s * 1000:.1f} ms, {len(fuzz.seen)} different outcomes\n"
    )
