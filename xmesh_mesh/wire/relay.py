"""The relay's protocol, the client's side: log in, know who is there, route frames by envelope.

A relay is a stranger too: what it says is checked, and what a peer says through it twice. Ours
sends each frame to one node, never to all. States and rules stand in ``RULES``.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta, Raw, field

from xmesh_mesh.wire.codec import MAX_PAYLOAD
from xmesh_mesh.wire.errors import WireError
from xmesh_mesh.wire.frames import Frame
from xmesh_mesh.wire.sending import encode
from xmesh_mesh.wire.types import Label, Name, NodeId

MAX_MESSAGE: Final = MAX_PAYLOAD + 4_096  # an envelope around the largest payload
MAX_PEERS: Final = 4_096
LOGIN_MS: Final = 10_000
SILENT_AFTER_MS: Final = 25_000  # a relay pings every 10 s


class Phase(Enum):
    CONNECTING = "connecting"
    LOGIN = "login"
    JOINED = "joined"
    CLOSED = "closed"


class Rule(Enum):
    """What happens to a message of the relay."""

    JOIN = "join"
    PEER_JOINED = "peer-joined"
    PEER_LEFT = "peer-left"
    PONG = "pong"
    REPORT = "report"
    LEAVE = "leave"  # the relay has lost us, and a second login on one socket is ignored
    DELIVER = "deliver"
    IGNORE = "ignore"


# (phase, type); an envelope has none. What is not here is ignored.
RULES: Final[dict[tuple[Phase, str], Rule]] = {
    (Phase.LOGIN, "relay-peers"): Rule.JOIN,
    (Phase.LOGIN, "relay-ping"): Rule.PONG,
    (Phase.LOGIN, "relay-error"): Rule.REPORT,
    (Phase.LOGIN, "relay-reauth"): Rule.LEAVE,
    (Phase.JOINED, "relay-peers"): Rule.JOIN,
    (Phase.JOINED, "relay-peer-joined"): Rule.PEER_JOINED,
    (Phase.JOINED, "relay-peer-left"): Rule.PEER_LEFT,
    (Phase.JOINED, "relay-ping"): Rule.PONG,
    (Phase.JOINED, "relay-error"): Rule.REPORT,
    (Phase.JOINED, "relay-reauth"): Rule.LEAVE,
    (Phase.JOINED, ""): Rule.DELIVER,
}


@dataclass(frozen=True, slots=True)
class RelayPeer:
    """A node on the channel; nobody has checked that it is who it says."""

    node_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Present:
    """All who are there now. Each is to get a handshake."""

    peers: tuple[RelayPeer, ...]


@dataclass(frozen=True, slots=True)
class PeerJoined:
    """Perhaps one that was there already, and has lost its connection: it gets a new handshake."""

    peer: RelayPeer


@dataclass(frozen=True, slots=True)
class PeerLeft:
    node_id: str


@dataclass(frozen=True, slots=True)
class Arrived:
    """A payload for ``frames.decode``. The relay vouches for the sender's login, for no more."""

    sender: RelayPeer
    payload: bytes


@dataclass(frozen=True, slots=True)
class Send:
    """Text to send to the relay."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Report:
    """What the relay complains of; a close code follows."""

    text: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Close the WebSocket properly, then come again by ``relay_retry``'s leave."""

    reason: str


Event = Present | PeerJoined | PeerLeft | Arrived | Send | Report | Leave


class _Peer(msgspec.Struct, rename="camel"):
    node_id: NodeId
    name: Name
    offline: bool = False


class _Peers(msgspec.Struct):
    # Each is read for itself: a stranger with a strange name does not keep us out.
    peers: Annotated[list[Raw], Meta(max_length=MAX_PEERS)]


class _Left(msgspec.Struct, rename="camel"):
    node_id: NodeId


class _Complaint(msgspec.Struct):
    message: Label = ""


class _Arriving(msgspec.Struct, rename="camel"):
    sender: NodeId = field(name="from")
    from_name: Name
    payload: Raw


class _Header(msgspec.Struct):
    type: str = ""


class _Login(msgspec.Struct, rename="camel", tag_field="type", tag="relay-auth"):
    node_id: str
    name: str
    token: str | msgspec.UnsetType = msgspec.UNSET


class _Envelope(msgspec.Struct):
    to: str
    payload: Raw


_encode = msgspec.json.Encoder().encode
_PONG = b'{"type":"relay-pong"}'


class RelayClient:
    """One connection to a relay, for one local peer. Times are monotonic milliseconds."""

    def __init__(self, node_id: str, name: str, token: str | None, now_ms: int) -> None:
        self.phase = Phase.CONNECTING
        self._node_id = node_id
        self._name = name
        self._token = token
        self._heard_ms = now_ms

    @property
    def registered(self) -> bool:
        """Whether the relay may hold a session of ours; ask before ``closed``."""
        return self.phase in {Phase.LOGIN, Phase.JOINED}

    def opened(self, now_ms: int) -> Send:
        """Return the login, for a WebSocket that has just opened."""
        self.phase = Phase.LOGIN
        self._heard_ms = now_ms
        login = _Login(self._node_id, self._name, self._token or msgspec.UNSET)
        return Send(_encode(login))

    def closed(self) -> None:
        self.phase = Phase.CLOSED

    def receive(self, text: bytes, now_ms: int) -> list[Event]:
        """Take one message; WireError ``bad-json``, ``malformed`` where it is to be dropped."""
        self._heard_ms = now_ms
        if len(text) > MAX_MESSAGE:
            raise WireError("malformed", f"a message of {len(text)} bytes")
        rule = RULES.get((self.phase, _read(_header, text, "bad-json").type), Rule.IGNORE)
        return self._apply(rule, text)

    def tick(self, now_ms: int) -> list[Event]:
        """Say whether the relay has been silent for too long."""
        limit = {Phase.LOGIN: LOGIN_MS, Phase.JOINED: SILENT_AFTER_MS}.get(self.phase)
        if limit is not None and now_ms - self._heard_ms >= limit:
            return [Leave("the relay is silent")]
        return []

    def send(self, to: str, frame: Frame) -> Send:
        """Return the envelope for one node; WireError ``not-sendable``, ``too-large``."""
        if self.phase is not Phase.JOINED:
            raise WireError("not-sendable", "the relay has not let us in yet")
        return Send(_encode(_Envelope(to, Raw(encode(frame, "relay")))))

    def _apply(self, rule: Rule, text: bytes) -> list[Event]:
        events: list[Event] = []
        match rule:
            case Rule.JOIN:
                events = [Present(self._others(_read(_peers, text).peers))]
                self.phase = Phase.JOINED
            case Rule.PEER_JOINED:
                events = [PeerJoined(peer) for peer in self._others([text])]
            case Rule.PEER_LEFT:
                events = [PeerLeft(_read(_left, text).node_id)]
            case Rule.PONG:
                events = [Send(_PONG)]
            case Rule.REPORT:
                events = [Report(_read(_complaint, text).message)]
            case Rule.LEAVE:
                events = [Leave("the relay has lost this login")]
            case Rule.DELIVER:
                events = [_arrived(_read(_arriving, text))]
            case Rule.IGNORE:
                pass
        return events

    def _others(self, entries: list[bytes] | list[Raw]) -> tuple[RelayPeer, ...]:
        """Return those who are there, ourselves and what is no peer left out."""
        peers = [peer for entry in entries if (peer := _peer(entry)) is not None]
        return tuple(peer for peer in peers if peer.node_id != self._node_id)


_header = msgspec.json.Decoder(_Header)
_peers = msgspec.json.Decoder(_Peers)
_one_peer = msgspec.json.Decoder(_Peer)
_left = msgspec.json.Decoder(_Left)
_complaint = msgspec.json.Decoder(_Complaint)
_arriving = msgspec.json.Decoder(_Arriving)
_T = TypeVar("_T")


def _read(decoder: msgspec.json.Decoder[_T], text: bytes, code: str = "malformed") -> _T:
    try:
        return decoder.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise WireError(code, str(error)[:200]) from None


def _peer(entry: bytes | Raw) -> RelayPeer | None:
    try:
        peer = _one_peer.decode(entry)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return None if peer.offline else RelayPeer(peer.node_id, peer.name)


def _arrived(arriving: _Arriving) -> Arrived:
    payload = bytes(arriving.payload)
    if len(payload) > MAX_PAYLOAD:
        raise WireError("malformed", f"a payload of {len(payload)} bytes")
    return Arrived(RelayPeer(arriving.sender, arriving.from_name), payload)
