"""What a relay and its clients say to each other: one JSON object a WebSocket message.

A client says ``relay-auth`` first, then ``relay-pong`` and envelopes ``{to?, payload}``. A payload
is never taken apart and never encoded anew: its bytes go on as they came. The one exception is the
wake-channel directory, for which ``peer-info`` and ``wake-channel`` payloads are looked into.
"""

import json
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Meta, Raw

from xmesh_mesh.errors import RecordError

__all__ = [
    "PING",
    "Envelope",
    "Listed",
    "Login",
    "News",
    "WakeChannel",
    "decode_envelope",
    "decode_login",
    "decode_news",
    "decode_wake",
    "error",
    "joined",
    "left",
    "peers",
    "stamp",
]

T = TypeVar("T")

# One line, so that no name can disguise anything in a list or a log.
_LINE = r"\A[^\x00-\x1f\x7f]+\Z"
NodeId = Annotated[str, Meta(min_length=1, max_length=128, pattern=_LINE)]
Name = Annotated[str, Meta(min_length=1, max_length=256, pattern=_LINE)]


class WakeChannel(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a push service reaches a node that sleeps."""

    platform: Annotated[str, Meta(max_length=32, pattern=_LINE)]
    token: Annotated[str, Meta(max_length=1_024, pattern=_LINE)]
    environment: Annotated[str, Meta(max_length=64, pattern=_LINE)] | None = None


class Login(msgspec.Struct, frozen=True, rename="camel"):
    """``relay-auth``. ``wake_channel`` is still raw: a bad one is no reason to refuse a login."""

    type: Literal["relay-auth"]
    node_id: NodeId
    name: Name
    token: Annotated[str, Meta(max_length=1_024)] | None = None
    wake_channel: Raw = Raw(b"null")


class Envelope(NamedTuple):
    """``to`` None: for everybody. ``payload`` empty: there is nothing to forward."""

    pong: bool
    to: str | None
    payload: bytes


class News(msgspec.Struct, frozen=True, rename="camel"):
    """A wake channel that a payload tells of; ``node_id`` and ``name`` None: the sender's own."""

    wake_channel: WakeChannel
    node_id: NodeId | None = None
    name: Name | None = None


class Listed(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One entry of ``relay-peers``."""

    node_id: str
    name: str
    wake_channel: WakeChannel | None = None
    offline: bool = False


class _Outer(msgspec.Struct, frozen=True):
    type: Raw = Raw(b"")
    to: str | None = None
    payload: Raw = Raw(b"")


class _Loose(msgspec.Struct, frozen=True):
    type: Any = None
    to: str | None = None
    payload: Any = None


class _Kind(msgspec.Struct, frozen=True):
    type: str = ""


class _PeerInfo(msgspec.Struct, frozen=True):
    peers: list[Raw]


class _Peers(msgspec.Struct, frozen=True, tag_field="type", tag="relay-peers"):
    peers: list[Listed]


class _Joined(
    msgspec.Struct, frozen=True, rename="camel", tag_field="type", tag="relay-peer-joined"
):
    node_id: str
    name: str


class _Left(msgspec.Struct, frozen=True, rename="camel", tag_field="type", tag="relay-peer-left"):
    node_id: str
    name: str


class _Error(msgspec.Struct, frozen=True, tag_field="type", tag="relay-error"):
    message: str


_encode = msgspec.json.Encoder().encode
_logins = msgspec.json.Decoder(Login)
_outers = msgspec.json.Decoder(_Outer)
_kinds = msgspec.json.Decoder(_Kind)
_infos = msgspec.json.Decoder(_PeerInfo)
_news = msgspec.json.Decoder(News)
_wakes = msgspec.json.Decoder(WakeChannel)

_BAD = (msgspec.MsgspecError, ValueError, RecursionError)
# What JavaScript takes for no payload.
_NOTHING = frozenset({b"null", b"false", b"0", b'""'})

PING = b'{"type":"relay-ping"}'


def decode_login(data: str | bytes) -> Login:
    """Return the login; RecordError ``unparsable`` for no JSON, ``no-login`` for other JSON."""
    try:
        return _logins.decode(data)
    except msgspec.ValidationError as problem:
        raise RecordError("no-login", str(problem)) from None
    except _BAD as problem:
        raise RecordError("unparsable", str(problem)) from None


def decode_envelope(data: str | bytes) -> Envelope:
    """Return what a client that is in says; raise RecordError ``malformed`` for anything else."""
    try:
        # Raw parts are not looked into, so UTF-8 is checked here: receivers hang up on bad text.
        outer = _outer(data if isinstance(data, str) else data.decode())
    except _BAD as problem:
        raise RecordError("malformed", str(problem)) from None
    pong = bytes(outer.type) == b'"relay-pong"'
    payload = bytes(outer.payload)
    return Envelope(pong, outer.to or None, b"" if payload in _NOTHING else payload)


def decode_news(payload: bytes, most: int) -> list[News]:
    """Return what a payload tells of wake channels: of its first ``most`` entries the good ones.

    A payload that is not well-formed tells nothing.
    """
    kind = _decode(_kinds, payload) if _may_tell(payload) else None
    if kind is not None and kind.type == "wake-channel":
        wake = decode_wake(payload)
        return [News(wake)] if wake else []
    if kind is not None and kind.type == "peer-info":
        return _gossip(payload, most)
    return []


def decode_wake(raw: bytes | Raw) -> WakeChannel | None:
    """Return the wake channel, or None where there is none that could wake anybody."""
    wake = _decode(_wakes, raw)
    return wake if wake and _is_useful(wake) else None


def peers(listed: list[Listed]) -> bytes:
    return _encode(_Peers(listed))


def joined(node_id: str, name: str) -> bytes:
    return _encode(_Joined(node_id, name))


def left(node_id: str, name: str) -> bytes:
    return _encode(_Left(node_id, name))


def error(message: str) -> bytes:
    return _encode(_Error(message))


def stamp(node_id: str, name: str) -> bytes:
    """Return how every envelope of a sender begins; its payload and ``}`` end it."""
    return b'{"from":%b,"fromName":%b,"payload":' % (_encode(node_id), _encode(name))


def _outer(text: str) -> _Outer:
    try:
        return _outers.decode(text)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if "\\ud" not in text and "\\uD" not in text:
            raise
        return _loosely(text)


def _loosely(text: str) -> _Outer:
    """Read what JavaScript writes of text that was cut within a character: a lone ``\\ud83d``.

    Only such a message is encoded anew, with the same escape in the same place.
    """
    loose = msgspec.convert(json.loads(text), _Loose)
    return _Outer(_again(loose.type), loose.to, _again(loose.payload))


def _again(value: Any) -> Raw:
    return Raw(json.dumps(value, separators=(",", ":"), allow_nan=False).encode())


def _may_tell(payload: bytes) -> bool:
    """Spare nearly every payload a second look."""
    return b'"wake-channel"' in payload or b'"peer-info"' in payload


def _gossip(payload: bytes, most: int) -> list[News]:
    info = _decode(_infos, payload)
    heard = [_decode(_news, raw) for raw in info.peers[:most]] if info else []
    named = [news for news in heard if news and news.node_id and news.name]
    return [news for news in named if _is_useful(news.wake_channel)]


def _is_useful(wake: WakeChannel) -> bool:
    return wake.platform != "none"


def _decode(decoder: msgspec.json.Decoder[T], raw: bytes | Raw) -> T | None:
    try:
        return decoder.decode(raw)
    except _BAD:
        return None
