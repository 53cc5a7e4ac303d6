"""What is said on one link, without its socket: the handshake, and records in and out of frames.

``PlainTalk`` is with deployed nodes, ``SecureTalk`` among ours. A shell feeds frames and does what
the ``Turn`` says. Where ``proof_request`` is set, it asks the local peer and calls ``proved``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from xmesh_mesh.introduction import Introduction
from xmesh_mesh.record import Record
from xmesh_mesh.wire import e2e, frames, records
from xmesh_mesh.wire.errors import WireError
from xmesh_mesh.wire.frames import Frame, Unknown
from xmesh_mesh.wire.operators import introduction_of, operator_frame
from xmesh_mesh.wire.plain import PlainHandshake
from xmesh_mesh.wire.sealed import SecureSession
from xmesh_mesh.wire.secure import Role
from xmesh_mesh.wire.secure_handshake import SecureHandshake
from xmesh_mesh.wire.secure_terms import ProofRequest, Terms
from xmesh_mesh.wire.trust import read_key
from xmesh_mesh.wire.types import Transport

__all__ = ["Brought", "Counterpart", "PlainTalk", "SecureTalk", "Talk", "Turn", "shown_in"]

MMP = "mmp"
OURS = "xmesh"


@dataclass(frozen=True, slots=True)
class Counterpart:
    """Who is at the other end, as far as the handshake shows it."""

    node_id: str
    name: str
    public_key: bytes | None
    secure: bool  # it has proven to hold the key

    @property
    def implementation(self) -> str:
        return OURS if self.secure else MMP


class Brought(NamedTuple):
    """A record that came over a link, and its author, as the other end says."""

    record: Record
    author: str


def shown_in(frame: Frame | Unknown) -> Counterpart | None:
    """Return whom a handshake's first frame names, nothing of it proven; None for other frames."""
    match frame:
        case frames.Handshake():
            text = frame.public_key or ""
        case frames.ClientHello() | frames.ServerHello():
            text = frame.identity_public_key
        case _:
            return None
    try:
        key: bytes | None = read_key(text)
    except WireError:
        key = None
    return Counterpart(frame.node_id, frame.name, key, secure=False)


@dataclass(frozen=True, slots=True)
class Turn:
    """What to do after a frame: send these, hand that on. ``opened``: the link begins anew."""

    send: tuple[Frame, ...] = ()
    deliver: Frame | Unknown | None = None
    opened: bool = False


class Talk(Protocol):
    """One side of one link. WireError as ``wire.errors`` says; fatal ones end the link."""

    @property
    def counterpart(self) -> Counterpart | None:
        """Who is there; None until the handshake is through."""

    @property
    def proof_request(self) -> ProofRequest | None:
        """What the local peer is to prove now."""

    def start(self) -> Turn: ...

    def receive(self, frame: Frame | Unknown, now_ms: int) -> Turn: ...

    def proved(self, proof: str) -> Turn: ...

    def tick(self, now_ms: int) -> Turn: ...

    def pack(self, record: Record, author: str) -> Frame:
        """Return the frame that carries a record; ``author`` is the local peer's node id.

        Where the link is secure it may be the operator's, who was presented on it.
        """

    def unpack(self, frame: Frame) -> Brought | None:
        """Return the record that a frame carries, unverified; None where it carries none.

        RecordError where it is no record.
        """

    def present(self, operator: Introduction) -> Frame | None:
        """Return the frame that presents the operator of this host; None where it is known.

        A new session knows nobody. WireError ``not-sendable`` where the link is not secure.
        """

    def presented(self, frame: frames.Operator) -> Introduction:
        """Return whom the other side presents; the signature is still to be checked.

        WireError ``malformed`` where it is not the other side that does, over a secure link.
        """


class PlainTalk:
    """With a deployed node. ``nonce`` gives 12 random bytes, new ones at each call."""

    def __init__(
        self, handshake: PlainHandshake, transport: Transport, nonce: Callable[[], bytes]
    ) -> None:
        self._handshake = handshake
        self._transport = transport
        self._nonce = nonce

    @property
    def counterpart(self) -> Counterpart | None:
        peer = self._handshake.peer
        if peer is None:
            return None
        return Counterpart(peer.node_id, peer.name, peer.public_key, secure=False)

    @property
    def proof_request(self) -> ProofRequest | None:
        return None

    def start(self) -> Turn:
        return Turn(self._handshake.start().send)

    def receive(self, frame: Frame | Unknown, _now_ms: int) -> Turn:
        was_open = self._handshake.peer is not None
        step = self._handshake.receive(frame)
        return Turn(step.send, step.deliver, opened=not was_open)

    def proved(self, _proof: str) -> Turn:
        raise WireError("out-of-order", "a plain handshake proves nothing")

    def tick(self, now_ms: int) -> Turn:
        self._handshake.tick(now_ms)
        return Turn()

    def pack(self, record: Record, _author: str) -> Frame:
        """As ``Talk.pack``; WireError ``no-secret`` where a relay would read the words."""
        secret = self._handshake.peer.secret if self._handshake.peer else None
        if secret is None:
            if self._transport == "relay":
                raise WireError("no-secret", "it has no key to hide words from the relay with")
            return records.cmb(record)
        body = e2e.seal(records.body_of(record), secret, self._nonce())
        return records.cmb(record, body=body)

    def unpack(self, frame: Frame) -> Brought | None:
        peer = self._handshake.peer
        if peer is None or not isinstance(frame, frames.Cmb):
            return None
        return Brought(records.record_of(e2e.unseal(frame.cmb, peer.secret)), peer.node_id)

    def present(self, _operator: Introduction) -> Frame | None:
        raise WireError("not-sendable", "an operator is presented over Core Secure only")

    def presented(self, _frame: frames.Operator) -> Introduction:
        raise WireError("malformed", "an operator is presented over Core Secure only")


class SecureTalk:
    """Among ours."""

    def __init__(self, role: Role, terms: Terms, now_ms: int) -> None:
        self._handshake = SecureHandshake(role, terms, now_ms=now_ms)
        self._presented: set[Introduction] = set()

    @property
    def counterpart(self) -> Counterpart | None:
        peer = self._handshake.peer
        if peer is None or self._handshake.session is None:
            return None
        return Counterpart(peer.node_id, peer.name, peer.public_key, secure=True)

    @property
    def proof_request(self) -> ProofRequest | None:
        return self._handshake.proof_request

    def start(self) -> Turn:
        return Turn((self._handshake.start(),)) if self._handshake.role == "client" else Turn()

    def receive(self, frame: Frame | Unknown, _now_ms: int) -> Turn:
        if self._handshake.session is not None:
            self._handshake.session.check(frame)
            return Turn(deliver=frame)
        self._handshake.receive(frame)
        return Turn(opened=self._handshake.session is not None)

    def proved(self, proof: str) -> Turn:
        frame = self._handshake.proved(proof)
        return Turn((frame,), opened=self._handshake.session is not None)

    def tick(self, now_ms: int) -> Turn:
        self._handshake.tick(now_ms)
        return Turn()

    def pack(self, record: Record, author: str) -> Frame:
        return self._session.seal(record, author)

    def unpack(self, frame: Frame) -> Brought | None:
        if not isinstance(frame, frames.CmbEncrypted):
            return None
        opened = self._session.open(frame)
        return Brought(opened.record, opened.node_id)

    def present(self, operator: Introduction) -> Frame | None:
        if operator in self._presented:
            return None
        self._presented.add(operator)
        return operator_frame(operator, self._session)

    def presented(self, frame: frames.Operator) -> Introduction:
        return introduction_of(frame, self._session)

    @property
    def _session(self) -> SecureSession:
        assert self._handshake.session is not None
        return self._handshake.session
