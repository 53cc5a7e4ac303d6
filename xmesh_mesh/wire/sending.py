"""What we may send, and where. Everything that leaves for the world is encoded here.

Not in the table, and so never sent: ``mood`` (ends stock nodes on a relay), ``xmesh-insight`` and
``peer-info`` (a wrong value in them ends a stock node or relay), ``wake-channel``, ``node-stats``,
role grants and countersignatures (nothing of ours needs them). ``message`` is for the LAN only:
over a relay it ends the stock daemon. ``cmb-encrypted`` and ``xmesh-operator`` can be made by a
secure session only. What is encoded is read back, so that a wrongly typed value
cannot leave either.
"""

from typing import Final

import msgspec

from xmesh_mesh.errors import RecordError
from xmesh_mesh.wire import e2e, frames, records
from xmesh_mesh.wire.codec import MAX_PAYLOAD
from xmesh_mesh.wire.errors import WireError
from xmesh_mesh.wire.types import Transport

_LAN: Final[frozenset[Transport]] = frozenset({"lan"})
_BOTH: Final[frozenset[Transport]] = frozenset({"lan", "relay"})

OUTGOING: Final[dict[type[frames.Frame], frozenset[Transport]]] = {
    frames.Handshake: _BOTH,
    frames.Cmb: _BOTH,
    frames.CmbFetch: _BOTH,
    frames.CmbFetchResult: _BOTH,
    frames.Ping: _BOTH,
    frames.Pong: _BOTH,
    frames.Message: _LAN,
    frames.AttestationFrame: _BOTH,
    frames.Error: _BOTH,
    frames.ClientHello: _BOTH,
    frames.ServerHello: _BOTH,
    frames.ClientFinish: _BOTH,
    frames.CmbEncrypted: _BOTH,
    frames.Operator: _BOTH,
}

_encoder = msgspec.json.Encoder()


def encode(frame: frames.Frame, over: Transport) -> bytes:
    """Return the payload; WireError ``not-sendable`` or ``too-large`` where it may not leave."""
    if over not in OUTGOING.get(type(frame), ()):
        raise WireError("not-sendable", f"{type(frame).__name__} is not sent over {over}")
    try:
        payload = _encoder.encode(frame)
        _check(frames.decode(payload))
    except (WireError, RecordError, msgspec.MsgspecError, TypeError, ValueError) as error:
        raise WireError("not-sendable", f"{type(frame).__name__}: {error}"[:200]) from None
    if len(payload) > MAX_PAYLOAD:
        raise WireError("too-large", f"a frame of {len(payload)} bytes is over the limit")
    return payload


def _check(frame: frames.Frame | frames.Unknown) -> None:
    """Raise what a receiver would raise who reads the frame's record."""
    if isinstance(frame, frames.Cmb):
        _check_body(frame.cmb)
    elif isinstance(frame, frames.CmbFetchResult):
        records.fetched(frame, frame.key)


def _check_body(body: frames.CmbBody) -> None:
    if body.sealing is None:
        records.record_of(body)
        return
    e2e.sealed_parts(body)
    records.joined(b"{}", bytes(body.metadata))
