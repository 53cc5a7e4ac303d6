"""The handshake of deployed nodes: one frame each way, and no proof of anything.

Identity is what the other side says, held against the pins; only a signed record shows more. On
the LAN the first frame must be the handshake. Through a relay frames may come before it, and are
handed on with ``peer`` still unknown. A handshake may come again: the newest X25519 key counts,
one left out changes nothing. States and rules stand in ``RULES``.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from xmesh_mesh.canonical import b64u
from xmesh_mesh.wire import e2e
from xmesh_mesh.wire.errors import WireError
from xmesh_mesh.wire.frames import VERSION, Frame, Handshake, Unknown
from xmesh_mesh.wire.trust import (
    Floor,
    KeyCheck,
    Self,
    check_group,
    check_key,
    check_name,
    read_key,
)
from xmesh_mesh.wire.types import Transport

TIMEOUT_MS: Final = 10_000


class Phase(Enum):
    WAITING = "waiting"
    OPEN = "open"
    CLOSED = "closed"


class Rule(Enum):
    """What happens to a frame."""

    ACCEPT = "accept"  # read the handshake, answer if that is still to do
    DELIVER = "deliver"
    REFUSE = "refuse"
    GONE = "gone"


# (phase, transport, is it a handshake?)
RULES: Final[dict[tuple[Phase, Transport, bool], Rule]] = {
    (Phase.WAITING, "lan", True): Rule.ACCEPT,
    (Phase.WAITING, "lan", False): Rule.REFUSE,
    (Phase.WAITING, "relay", True): Rule.ACCEPT,
    (Phase.WAITING, "relay", False): Rule.DELIVER,
    (Phase.OPEN, "lan", True): Rule.ACCEPT,
    (Phase.OPEN, "lan", False): Rule.DELIVER,
    (Phase.OPEN, "relay", True): Rule.ACCEPT,
    (Phase.OPEN, "relay", False): Rule.DELIVER,
    (Phase.CLOSED, "lan", True): Rule.GONE,
    (Phase.CLOSED, "lan", False): Rule.GONE,
    (Phase.CLOSED, "relay", True): Rule.GONE,
    (Phase.CLOSED, "relay", False): Rule.GONE,
}


@dataclass(frozen=True, slots=True)
class PlainPeer:
    """Who the other side says it is."""

    node_id: str
    name: str
    public_key: bytes | None  # the one that was held against the pins
    secret: bytes | None  # for ``e2e``; None: its words go in clear
    role: str
    extensions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """What to do now: frames to send, and the frame to hand on, if any."""

    send: tuple[Frame, ...] = ()
    deliver: Frame | Unknown | None = None


class PlainHandshake:
    """One link to one node. After a fatal WireError it takes nothing more; close the link.

    ``expected``: the node id that was dialled, or that the relay vouches for.
    """

    def __init__(
        self,
        own: Self,
        *,
        transport: Transport,
        dialled: bool,
        check: KeyCheck,
        now_ms: int,
        floor: Floor | None = None,
        expected: str | None = None,
        extensions: tuple[str, ...] = (),
    ) -> None:
        self.peer: PlainPeer | None = None
        self.phase = Phase.WAITING
        self._own = own
        self._extensions = extensions
        self._transport: Transport = transport
        # A listener on the LAN shows itself only to somebody who came with a good handshake.
        self._speaks_first = dialled or transport == "relay"
        self._sent = False
        self._check = check
        self._floor = floor or Floor()
        self._expected = expected
        self._deadline_ms = now_ms + TIMEOUT_MS

    def start(self) -> Step:
        """Return our handshake where it is for us to speak first."""
        return self._answer() if self._speaks_first else Step()

    def receive(self, frame: Frame | Unknown) -> Step:
        """Take one frame; WireError as ``errors`` says."""
        match RULES[self.phase, self._transport, isinstance(frame, Handshake)]:
            case Rule.ACCEPT:
                return self._accept(frame)
            case Rule.DELIVER:
                return self._deliver(frame)
            case Rule.REFUSE:
                raise self._fail(WireError("handshake-expected"))
            case Rule.GONE:
                raise WireError("out-of-order", "the link is closed")

    def tick(self, now_ms: int) -> None:
        """WireError ``handshake-timeout`` once it is too late; a relay has no deadline."""
        late = now_ms >= self._deadline_ms and self._transport == "lan"
        if late and self.phase is Phase.WAITING:
            raise self._fail(WireError("handshake-timeout"))

    def _accept(self, frame: Frame | Unknown) -> Step:
        assert isinstance(frame, Handshake)
        try:
            self.peer = self._read(frame)
        except WireError as error:
            if error.fatal:
                raise self._fail(error) from None
            raise self._fail(WireError("bad-handshake", str(error))) from None
        self.phase = Phase.OPEN
        return self._answer()

    def _deliver(self, frame: Frame | Unknown) -> Step:
        """Hand on a frame; before the handshake only from a node that need not be secure."""
        if self.peer is None and self._expected is not None:
            try:
                self._floor.check(self._expected, secure=False)
            except WireError as error:
                raise self._fail(error) from None
        return Step(deliver=frame)

    def _read(self, frame: Handshake) -> PlainPeer:
        self._check_who(frame)
        check_group(self._own.group, frame.room)
        check_name(frame.name)
        self._floor.check(frame.node_id, secure=False)
        key = read_key(frame.public_key) if frame.public_key else None
        peer = PlainPeer(
            node_id=frame.node_id,
            name=frame.name,
            public_key=key,
            secret=self._secret(frame),
            role=frame.lifecycle_role or "participant",
            extensions=tuple(frame.extensions or ()),
        )
        check_key(self._check, frame.node_id, key, frame.name)
        return self._kept(peer)

    def _check_who(self, frame: Handshake) -> None:
        if frame.node_id == self._own.node_id:
            raise WireError("own-node-id")
        known = self.peer.node_id if self.peer else self._expected
        if known is not None and frame.node_id != known:
            raise WireError("node-changed", f"{frame.node_id} speaks on the link of {known}")

    def _kept(self, peer: PlainPeer) -> PlainPeer:
        """Return ``peer`` with what an earlier handshake said and this one leaves out."""
        if self.peer is None:
            return peer
        key = peer.public_key or self.peer.public_key
        return replace(peer, public_key=key, secret=peer.secret or self.peer.secret)

    def _secret(self, frame: Handshake) -> bytes | None:
        if not (frame.e2e_public_key and self._own.e2e_private and e2e.AVAILABLE):
            return None
        return e2e.shared_secret(self._own.e2e_private, e2e.from_spki(frame.e2e_public_key))

    def _answer(self) -> Step:
        if self._sent:
            return Step()
        self._sent = True
        return Step(send=(self._handshake(),))

    def _handshake(self) -> Handshake:
        private = self._own.e2e_private
        offered = private is not None and e2e.AVAILABLE
        return Handshake(
            node_id=self._own.node_id,
            name=self._own.name,
            version=VERSION,
            extensions=list(self._extensions),
            room=self._own.group,
            public_key=b64u(self._own.public_key),
            e2e_public_key=e2e.to_spki(e2e.public_key(private)) if private and offered else None,
            lifecycle_role="participant",
        )

    def _fail(self, error: WireError) -> WireError:
        self.phase = Phase.CLOSED
        return error
