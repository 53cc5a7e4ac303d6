"""Two nodes through a relay: everybody begins plain, and ours go on as Core Secure.

A relay brings frames of strangers, in any order, and can put in its own. So our handshake says in
its extensions that we can do more; where the other's says so too, the lower node id begins a Core
Secure handshake, and nothing else is taken any more. A session stands until another is proven.
"""

from collections.abc import Callable
from typing import Final

from xmesh_mesh.gateway.talk import Brought, Counterpart, PlainTalk, SecureTalk, Turn
from xmesh_mesh.introduction import Introduction
from xmesh_mesh.record import Record
from xmesh_mesh.wire import frames
from xmesh_mesh.wire.errors import WireError
from xmesh_mesh.wire.frames import Frame, Unknown
from xmesh_mesh.wire.secure import SEALED, Role
from xmesh_mesh.wire.secure_terms import ProofRequest

__all__ = ["AGAIN_MS", "RelayTalk"]

AGAIN_MS: Final = 2_000  # between two Core Secure handshakes that we begin

_GREETINGS: Final = (frames.ClientHello, frames.ServerHello, frames.ClientFinish)


class RelayTalk:
    """``secure(role, now_ms)`` makes the talk of a new Core Secure handshake."""

    def __init__(
        self,
        plain: PlainTalk,
        secure: Callable[[Role, int], SecureTalk],
        *,
        begins: bool,
    ) -> None:
        self._plain = plain
        self._secure = secure
        self._begins = begins  # our node id is the lower
        self._session: SecureTalk | None = None
        self._pending: SecureTalk | None = None
        self._ours = False
        self._begun_ms: int | None = None
        self._announcement = Turn()
        self._announced_ms = 0

    @property
    def counterpart(self) -> Counterpart | None:
        talk = self._session if self._ours else self._plain
        return talk.counterpart if talk else None

    @property
    def proof_request(self) -> ProofRequest | None:
        return self._pending.proof_request if self._pending else None

    def start(self) -> Turn:
        self._announcement = self._plain.start()
        return self._announcement

    def receive(self, frame: Frame | Unknown, now_ms: int) -> Turn:
        if isinstance(frame, _GREETINGS):
            return self._greeted(frame, now_ms)
        if isinstance(frame, frames.Handshake):
            return self._shaken(frame, now_ms)
        if self.counterpart is None:
            # Nobody can be held to it.
            raise WireError("malformed", "a frame came before the handshake")
        if self._session is None:
            return self._plain.receive(frame, now_ms)
        return self._through(self._session, frame, now_ms)

    def proved(self, proof: str) -> Turn:
        if self._pending is None:
            raise WireError("handshake-timeout", "the proof came too late")
        return self._moved(self._pending.proved(proof))

    def tick(self, now_ms: int) -> Turn:
        """End a handshake that takes too long; WireError where there is no session beside it."""
        if self._pending is None:
            return Turn()
        try:
            return self._pending.tick(now_ms)
        except WireError:
            self._pending = None
            if self._session is None:
                raise
            return Turn()

    def pack(self, record: Record, author: str) -> Frame:
        """As ``Talk.pack``; WireError ``no-secret`` where only less than was announced is there."""
        if self._ours and self._session is None:
            raise WireError("no-secret", "the Core Secure handshake is not through")
        return (self._session or self._plain).pack(record, author)

    def unpack(self, frame: Frame) -> Brought | None:
        return (self._session or self._plain).unpack(frame)

    def present(self, operator: Introduction) -> Frame | None:
        return (self._session or self._plain).present(operator)

    def presented(self, frame: frames.Operator) -> Introduction:
        return (self._session or self._plain).presented(frame)

    def _shaken(self, frame: frames.Handshake, now_ms: int) -> Turn:
        if SEALED not in (frame.extensions or ()):
            if self._ours:
                raise WireError("malformed", "a plain handshake where Core Secure was announced")
            return self._plain.receive(frame, now_ms)
        self._ours = True
        return self._begin(now_ms) if self._begins else self._announce(now_ms)

    def _announce(self, now_ms: int) -> Turn:
        """Say again what we can do, to one that begins anew and has to begin the handshake."""
        if self._session is None or now_ms - self._announced_ms < AGAIN_MS:
            return Turn()
        self._announced_ms = now_ms
        return self._announcement

    def _begin(self, now_ms: int) -> Turn:
        if self._begun_ms is not None and now_ms - self._begun_ms < AGAIN_MS:
            return Turn()
        self._begun_ms = now_ms
        self._pending = self._secure("client", now_ms)
        return self._pending.start()

    def _greeted(self, frame: Frame, now_ms: int) -> Turn:
        if isinstance(frame, frames.ClientHello):
            if self._begins:
                raise WireError("malformed", "the lower node id begins the handshake")
            self._ours = True
            self._pending = self._secure("server", now_ms)
        if self._pending is None:
            raise WireError("malformed", "an answer to no handshake of ours")
        try:
            return self._moved(self._pending.receive(frame, now_ms))
        except WireError:
            self._pending = None
            raise

    def _moved(self, turn: Turn) -> Turn:
        if turn.opened:
            self._session, self._pending = self._pending, None
        return turn

    def _through(self, session: SecureTalk, frame: Frame | Unknown, now_ms: int) -> Turn:
        """Hand on what belongs on a secure link; what a relay may have put in ends nothing."""
        try:
            return session.receive(frame, now_ms)
        except WireError as error:
            raise WireError("malformed", str(error)) from None
