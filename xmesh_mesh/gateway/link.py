"""One link at work: its wire, its talk, and what is done with each frame that comes.

Frames are handled one after the other. A ping is answered when all before it is in the journal, so
our pong says the truth.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from xmesh_mesh.errors import ProofRefused, PublishRefused, RecordError
from xmesh_mesh.gateway.clock import now_ms
from xmesh_mesh.gateway.conversation import Line
from xmesh_mesh.gateway.talk import Brought, Counterpart, Talk, Turn
from xmesh_mesh.introduction import Introduction
from xmesh_mesh.wire import frames
from xmesh_mesh.wire.errors import WireError
from xmesh_mesh.wire.frames import Frame, Unknown
from xmesh_mesh.wire.secure_terms import ProofRequest
from xmesh_mesh.wire.types import Transport

__all__ = ["Host", "Link", "Wire"]


class Wire(Protocol):
    """The way to one remote; ``address`` is for people."""

    @property
    def transport(self) -> Transport: ...

    @property
    def outbound(self) -> bool: ...

    @property
    def address(self) -> str: ...

    def send(self, frame: Frame) -> None:
        """WireError ``not-sendable``, ``too-large``."""

    async def drained(self) -> None:
        """Wait for room; OSError where there will be none."""

    def close(self) -> None: ...


class Host(Protocol):
    """What a link asks of the endpoint that it belongs to."""

    async def prove(self, request: ProofRequest) -> str: ...

    async def opened(self, link: "Link", counterpart: Counterpart) -> None:
        """The handshake is through, or has begun anew; WireError where it leads to nothing."""

    async def received(self, link: "Link", brought: Brought, *, anchor: bool) -> None:
        """Return when the record is in the journal; RecordError where it will never be."""

    async def presented(self, link: "Link", operator: Introduction) -> None:
        """The other host presents its operator; RecordError where it is not to be believed."""

    def heard(self, link: "Link", frame: Frame | Unknown) -> None: ...

    def fetch(self, link: "Link", request: frames.CmbFetch) -> None: ...

    def told(self, link: "Link", text: str) -> None: ...

    def refused(self, link: "Link", code: str, text: str) -> None: ...

    def impostor(self, frame: Frame | Unknown) -> None:
        """A handshake presented the local peer's own node id, and proved nothing."""

    def pace(self, link: "Link", size: int) -> int:
        """Return how many milliseconds to wait before the next frame."""


_MS: Final = 1_000


class Link:
    """``line`` is its place in the conversation with the remote ``node_id``, once it is let in.

    ``on_opened`` is called when the handshake is through and the remote is let in.
    """

    def __init__(
        self,
        wire: Wire,
        talk: Talk,
        host: Host,
        on_opened: Callable[[], None] = lambda: None,
    ) -> None:
        self.wire = wire
        self.talk = talk
        self.node_id = ""
        self.line: Line | None = None
        self.opened_ms: int | None = None
        self.closed = False
        self.mute = False  # closed because the remote does not speak to us any more
        self.busy = False  # with a frame that has come
        self._host = host
        self._on_opened = on_opened

    @property
    def counterpart(self) -> Counterpart | None:
        return self.talk.counterpart

    def start(self) -> None:
        """Speak first where that is for us to do."""
        self._send_all(self.talk.start())

    async def take(self, payload: bytes) -> None:
        """Handle one payload; a fatal WireError ends the link."""
        self.busy = True
        try:
            await self._take(payload)
            wait_ms = self._host.pace(self, len(payload))
            if wait_ms:
                await asyncio.sleep(wait_ms / _MS)
        finally:
            self.busy = False

    def tick(self) -> None:
        """WireError where a handshake takes too long."""
        self._send_all(self.talk.tick(now_ms()))

    def send(self, frame: Frame) -> None:
        self.wire.send(frame)

    def close(self) -> None:
        self.closed = True
        self.wire.close()

    async def _take(self, payload: bytes) -> None:
        try:
            frame = frames.decode(payload)
            turn = self._receive(frame)
            await self._follow(turn)
            if turn.deliver is not None and not self.closed:
                self._host.heard(self, turn.deliver)
                await self._deliver(turn.deliver)
        except WireError as error:
            if error.fatal:
                raise
            self._host.refused(self, error.code, str(error))
        except (RecordError, PublishRefused) as error:
            self._host.refused(self, error.code, str(error))

    def _receive(self, frame: Frame | Unknown) -> Turn:
        try:
            return self.talk.receive(frame, now_ms())
        except WireError as error:
            if error.code == "own-node-id":
                self._host.impostor(frame)
            raise

    async def _follow(self, turn: Turn) -> None:
        self._send_all(turn)
        opened = turn.opened
        if self.talk.proof_request is not None:
            opened = await self._prove(self.talk.proof_request) or opened
        if opened and self.talk.counterpart is not None:
            await self._host.opened(self, self.talk.counterpart)
            self.opened_ms = self.opened_ms or now_ms()
            self._on_opened()

    async def _prove(self, request: ProofRequest) -> bool:
        try:
            proof = await self._host.prove(request)
        except ProofRefused as error:
            raise WireError("bad-proof", f"the local peer gives no proof: {error}") from None
        turn = self.talk.proved(proof)
        self._send_all(turn)
        return turn.opened

    def _send_all(self, turn: Turn) -> None:
        for frame in turn.send:
            self.send(frame)

    async def _deliver(self, frame: Frame | Unknown) -> None:
        match frame:
            case frames.Ping():
                self.send(frames.Pong())
            case frames.Cmb() | frames.CmbEncrypted():
                await self._record(frame)
            case frames.Operator():
                await self._host.presented(self, self.talk.presented(frame))
            case frames.CmbFetch():
                self._host.fetch(self, frame)
            case frames.Message():
                self._host.told(self, frame.content)
            case frames.Error():
                self._host.told(self, f"error {frame.code}: {frame.message or ''}")
            case _:
                pass

    async def _record(self, frame: frames.Cmb | frames.CmbEncrypted) -> None:
        brought = self.talk.unpack(frame)
        if brought is not None:
            is_anchor = isinstance(frame, frames.Cmb) and frame.anchor
            await self._host.received(self, brought, anchor=is_anchor)
