"""Every frame of MMP as a type: what a deployed node may send, and 2.0 Core Secure.

A payload is hostile until ``decode`` has returned it. What is not named here is ignored, and so is
a type that nobody knows (``Unknown``). Raw parts are checked JSON that ``records`` reads further.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, field

from xmesh_mesh.wire.attestation import Attestation, Checkpoint, Grant, Witness
from xmesh_mesh.wire.errors import WireError
from xmesh_mesh.wire.types import (
    MAX_CONTENT,
    Content,
    Count,
    Given,
    Label,
    Labels,
    Name,
    NodeId,
    Numbers,
)

VERSION = "0.2.3"  # what deployed nodes say in a plain handshake, and never read
SECURE_VERSION = "2.0"

Direction = Literal["client-to-server", "server-to-client"]


class Frame(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    rename="camel",
    tag_field="type",
):
    """Its tag is MMP's ``type``."""


class Handshake(Frame, frozen=True, kw_only=True, tag="handshake"):
    node_id: NodeId
    name: Name
    version: Label | None = None
    extensions: Labels | None = None
    room: Label | None = None
    public_key: Label | None = None
    e2e_public_key: Label | None = None
    lifecycle_role: Label | None = None


class Sealing(msgspec.Struct, frozen=True):
    nonce: Label


class CmbBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A record: in clear, or with ``sealing``, where ``categories`` is base64 ciphertext.

    The unsigned top-level ``lineage`` and ``payload`` of deployed nodes are not read.
    """

    categories: Raw
    metadata: Raw
    sealing: Sealing | None = field(default=None, name="_e2e")


class Cmb(Frame, frozen=True, kw_only=True, tag="cmb"):
    """``to`` and ``directed`` are the sender's word; what counts is the signed ``metadata.to``."""

    cmb: CmbBody
    timestamp: Count | None = None
    to: NodeId | None = None
    directed: bool = False
    anchor: bool = field(default=False, name="_anchor")


class CmbFetch(Frame, frozen=True, kw_only=True, tag="cmb-fetch"):
    req_id: Given
    key: Given
    sender: Label | None = field(default=None, name="from")
    timestamp: Count | None = None


class CmbFetchResult(Frame, frozen=True, kw_only=True, tag="cmb-fetch-result"):
    req_id: Given
    key: Given
    found: bool
    cmb: Raw = Raw(b"null")
    timestamp: Count | None = None


class Ping(Frame, frozen=True, kw_only=True, tag="ping"):
    pass


class Pong(Frame, frozen=True, kw_only=True, tag="pong"):
    pass


class Message(Frame, frozen=True, kw_only=True, tag="message"):
    content: Content
    sender: Label | None = field(default=None, name="from")
    from_name: Label | None = None
    timestamp: Count | None = None


class AttestationFrame(Frame, frozen=True, kw_only=True, tag="attestation"):
    attestation: Attestation


class CheckpointFrame(Frame, frozen=True, kw_only=True, tag="checkpoint"):
    checkpoint: Checkpoint


class WitnessFrame(Frame, frozen=True, kw_only=True, tag="witness"):
    witness: Witness


class RoleGrant(Frame, frozen=True, kw_only=True, tag="role-grant"):
    grant: Grant


class RoleRevoke(Frame, frozen=True, kw_only=True, tag="role-revoke"):
    grant: Grant


class Stats(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    name: Label | None = None
    node_id: Label | None = None
    emitted: float | None = None
    admitted: float | None = None
    memory: float | None = None
    at: float | None = None


class NodeStats(Frame, frozen=True, kw_only=True, tag="node-stats"):
    stats: Stats


class Mood(Frame, frozen=True, kw_only=True, tag="mood"):
    mood: Content
    context: Content | None = None
    sender: Label | None = field(default=None, name="from")
    from_name: Label | None = None


class Insight(Frame, frozen=True, kw_only=True, tag="xmesh-insight"):
    anomaly: float
    remix_score: float
    coherence: float
    trajectory: Numbers | None = None
    patterns: Numbers | None = None
    sender: Label | None = field(default=None, name="from")
    from_name: Label | None = None


class WakeChannel(Frame, frozen=True, kw_only=True, tag="wake-channel"):
    platform: Label
    token: Content | None = None
    environment: Label | None = None


class KnownPeer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    node_id: Label
    name: Label | None = None
    last_seen: float | None = None


class PeerInfo(Frame, frozen=True, kw_only=True, tag="peer-info"):
    peers: Annotated[list[KnownPeer], Meta(max_length=1024)]


class Error(Frame, frozen=True, kw_only=True, tag="error"):
    code: Label | int
    message: Content | None = None


class Implementation(msgspec.Struct, frozen=True):
    name: Label
    version: Label


class ClientHello(Frame, frozen=True, kw_only=True, tag="client-hello"):
    protocol_version: Label
    room: Given
    node_id: NodeId
    name: Name
    identity_public_key: Label
    e2e_public_key: Label
    nonce: Label
    implementation: Implementation
    extensions: Labels


class ServerHello(Frame, frozen=True, kw_only=True, tag="server-hello"):
    protocol_version: Label
    room: Given
    node_id: NodeId
    name: Name
    identity_public_key: Label
    e2e_public_key: Label
    nonce: Label
    implementation: Implementation
    extensions: Labels
    client_nonce: Label
    selected_extensions: Labels
    proof: Label
    key_confirmation: Label


class ClientFinish(Frame, frozen=True, kw_only=True, tag="client-finish"):
    transcript_hash: Label
    proof: Label
    key_confirmation: Label


class CmbEncrypted(Frame, frozen=True, kw_only=True, tag="cmb-encrypted"):
    protocol_version: Label
    suite: Label
    session_id: Label
    sequence: Annotated[str, Meta(pattern=r"^(0|[1-9][0-9]{0,18})\Z", max_length=19)]
    direction: Direction
    metadata: Raw
    sealed: Annotated[str, Meta(max_length=16 * MAX_CONTENT)]


class Operator(Frame, frozen=True, kw_only=True, tag="xmesh-operator"):
    """Of ours, on a secure link: the signed introduction of the operator of the sender's host.

    ``voucher`` binds it to the session, so that nobody in between can put one in.
    """

    node_id: NodeId
    name: Name
    room: Given
    public_key: Label
    implementation: Label
    issued_ms: Count
    sig: Label
    voucher: Label


class Unknown(msgspec.Struct, frozen=True):
    """A frame of a type that has no meaning here. It is a sign of life, and nothing more."""

    type: str


class _Header(msgspec.Struct):
    type: str | None = None


_TYPES: tuple[type[Frame], ...] = (
    Handshake,
    Cmb,
    CmbFetch,
    CmbFetchResult,
    Ping,
    Pong,
    Message,
    AttestationFrame,
    CheckpointFrame,
    WitnessFrame,
    RoleGrant,
    RoleRevoke,
    NodeStats,
    Mood,
    Insight,
    WakeChannel,
    PeerInfo,
    Error,
    ClientHello,
    ServerHello,
    ClientFinish,
    CmbEncrypted,
    Operator,
)
_header = msgspec.json.Decoder(_Header)


def type_of(frame: Frame | type[Frame]) -> str:
    """Return the frame's ``type`` on the wire."""
    return str(frame.__struct_config__.tag)


_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    type_of(frame): msgspec.json.Decoder(frame) for frame in _TYPES
}


def decode(payload: bytes) -> Frame | Unknown:
    """Read one payload; WireError ``bad-json``, ``no-type`` or ``malformed`` where it is none."""
    tag = _tag(payload)
    decoder = _DECODERS.get(tag)
    if decoder is None:
        return Unknown(tag[:64])
    try:
        frame: Frame = decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise WireError("malformed", f"{tag}: {error}"[:200]) from None
    return frame


def _tag(payload: bytes) -> str:
    try:
        tag = _header.decode(payload).type
    except msgspec.ValidationError as error:
        raise WireError("no-type", str(error)[:200]) from None
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise WireError("bad-json", str(error)[:200]) from None
    if tag is None:
        raise WireError("no-type")
    return tag
