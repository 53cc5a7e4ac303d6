"""Somebody with a key of its own who speaks Core Secure, and may say over it whatever it likes."""

import asyncio
import secrets
import time
from typing import Any, Self

import msgspec
from helpers.gateway import GROUP, LOOPBACK, until

from xmesh_mesh.canonical import b64u
from xmesh_mesh.identity import Identity
from xmesh_mesh.introduction import Introduction
from xmesh_mesh.record import Record
from xmesh_mesh.signing import sign_bytes
from xmesh_mesh.wire import frames, trust
from xmesh_mesh.wire.codec import FrameReader, pack
from xmesh_mesh.wire.frames import Implementation
from xmesh_mesh.wire.operators import operator_frame
from xmesh_mesh.wire.sealed import SecureSession
from xmesh_mesh.wire.secure import proof_payload
from xmesh_mesh.wire.secure_handshake import SecureHandshake
from xmesh_mesh.wire.secure_terms import Terms
from xmesh_mesh.wire.trust import KeyVerdict


class Insider:
    """``got`` holds the frames that came once the handshake was through."""

    def __init__(self, identity: Identity, group: str = GROUP) -> None:
        self.identity = identity
        self.got: list[frames.Frame | frames.Unknown] = []
        self.closed = asyncio.Event()
        private = secrets.token_bytes(32)
        own = trust.Self(identity.node_id, identity.name, group, identity.public_key, private)
        terms = Terms(
            own=own,
            e2e_private=private,
            nonce=secrets.token_bytes(32),
            implementation=Implementation("xmesh", "1"),
            check=lambda *_: KeyVerdict.TRUSTED,
            is_ours=lambda _: False,
        )
        self._handshake = SecureHandshake("client", terms, now_ms=0)

    async def greet(self, port: int) -> Self:
        """Connect, and return once the handshake is through."""
        self._reader, self._writer = await asyncio.open_connection(LOOPBACK, port)
        self.send(self._handshake.start())
        self._task = asyncio.create_task(self._read())
        await until(lambda: self._handshake.session, "a secure link")
        return self

    @property
    def session(self) -> SecureSession:
        assert self._handshake.session is not None
        return self._handshake.session

    def send(self, *said: frames.Frame) -> None:
        for frame in said:
            self._writer.write(pack(msgspec.json.encode(frame)))

    def present(self, *operators: Introduction) -> None:
        self.send(*(operator_frame(each, self.session) for each in operators))

    def say(self, record: Record, author: str) -> None:
        self.send(self.session.seal(record, author))

    async def heard(self) -> None:
        """Return once all that was sent has been read."""
        before = len(self.of(frames.Pong))
        self.send(frames.Ping())
        await until(lambda: len(self.of(frames.Pong)) > before, "a pong")

    def of(self, kind: type[frames.Frame]) -> list[Any]:
        return [each for each in self.got if isinstance(each, kind)]

    async def close(self) -> None:
        self._writer.close()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> None:
        reader = FrameReader()
        try:
            while data := await self._reader.read(65_536):
                for payload in reader.receive(data):
                    self._take(frames.decode(payload))
        except ConnectionError:
            pass
        finally:
            self.closed.set()

    def _take(self, frame: frames.Frame | frames.Unknown) -> None:
        if self._handshake.session is not None:
            self.got.append(frame)
            if isinstance(frame, frames.Ping):
                self.send(frames.Pong())
            return
        self._handshake.receive(frame)
        request = self._handshake.proof_request
        if request is not None:
            payload = proof_payload(request.role, request.transcript)
            proof = b64u(sign_bytes(payload, self.identity.seed))
            self.send(self._handshake.proved(proof))


def now_ms() -> int:
    return time.time_ns() // 1_000_000
