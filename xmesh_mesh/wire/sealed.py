"""MMP 2.0 Core Secure, after the handshake: records sealed with ChaCha20-Poly1305, in order.

Each direction has its own key and counts from zero; the next frame carries exactly the next
number. The seal binds what identifies the record (its metadata travel in clear) to the session.
"""

import hmac
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw
from nacl.bindings import (
    crypto_aead_chacha20poly1305_ietf_decrypt,
    crypto_aead_chacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from xmesh_mesh.canonical import b64u, lp, unb64u
from xmesh_mesh.errors import RecordError
from xmesh_mesh.record import MAX_RECORD_BYTES, Record, to_wire
from xmesh_mesh.signing import assertion_id
from xmesh_mesh.wire import frames, records
from xmesh_mesh.wire.errors import WireError
from xmesh_mesh.wire.frames import SECURE_VERSION, CmbEncrypted, Direction
from xmesh_mesh.wire.secure import Keys, Role
from xmesh_mesh.wire.types import Label, NodeId

SUITE: Final = "X25519-HKDF-SHA256-ChaCha20-Poly1305"

# What may cross an open secure link. A record in clear is not among it.
ALLOWED: Final[frozenset[type[frames.Frame]]] = frozenset(
    {
        frames.CmbEncrypted,
        frames.Operator,
        frames.Ping,
        frames.Pong,
        frames.Error,
        frames.AttestationFrame,
        frames.CheckpointFrame,
        frames.WitnessFrame,
    }
)

_DOMAIN = b"mmp-aead-aad-v2\n"
_VOUCHER = b"xmesh-voucher-v1\n"
_ASSERTION = "asrt-"
_NONCE_BYTES = 12
_SENDS: Final[dict[Role, Direction]] = {
    "client": "client-to-server",
    "server": "server-to-client",
}
_RECEIVES: Final[dict[Role, Direction]] = {
    "client": "server-to-client",
    "server": "client-to-server",
}


class _Metadata(msgspec.Struct, rename="camel"):
    """The part of a record's metadata that a seal binds."""

    key: Label
    assertion_id: Annotated[str, Meta(pattern=r"^asrt-[0-9a-f]{64}\Z", max_length=69)]
    created_by_node_id: NodeId
    room: Label | None = None
    to: Label | None = None


class _Plain(msgspec.Struct, rename="camel", omit_defaults=True):
    categories: Raw
    application_data: Annotated[str, Meta(max_length=MAX_RECORD_BYTES)] | None = None


_metadata = msgspec.json.Decoder(_Metadata)
_plain = msgspec.json.Decoder(_Plain)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Opened:
    """A record out of a seal. Its signature is still to be verified."""

    record: Record
    node_id: str  # its author, as the sealing node says
    assertion: str  # 64 hex digits; they are this record's


class SecureSession:
    """What both sides seal and open with. After a WireError nothing more is taken."""

    def __init__(self, role: Role, keys: Keys) -> None:
        self.id = keys.session_id
        self._keys: dict[Direction, bytes] = {
            "client-to-server": keys.client_to_server,
            "server-to-client": keys.server_to_client,
        }
        self._sends = _SENDS[role]
        self._receives = _RECEIVES[role]
        self._next_out = 0
        self._next_in = 0
        self._broken = False

    def check(self, frame: frames.Frame | frames.Unknown) -> None:
        """WireError ``out-of-order`` for a frame that has no place on a secure link."""
        if type(frame) not in ALLOWED and not isinstance(frame, frames.Unknown):
            raise WireError("out-of-order", f"{type(frame).__name__} in clear on a secure link")

    def seal(self, record: Record, node_id: str) -> CmbEncrypted:
        """Return the next frame to send; ``node_id`` is the record's author's."""
        metadata, plain = _parts(record, node_id)
        bound = _metadata.decode(metadata)
        aad = self._aad(self._sends, self._next_out, bound)
        nonce = self._next_out.to_bytes(_NONCE_BYTES)
        key = self._keys[self._sends]
        sealed = crypto_aead_chacha20poly1305_ietf_encrypt(plain, aad, nonce, key)
        frame = CmbEncrypted(
            protocol_version=SECURE_VERSION,
            suite=SUITE,
            session_id=self.id,
            sequence=str(self._next_out),
            direction=self._sends,
            metadata=Raw(metadata),
            sealed=b64u(sealed),
        )
        self._next_out += 1
        return frame

    def open(self, frame: CmbEncrypted) -> Opened:
        """Return the record; WireError closes the session, RecordError only drops the record."""
        if self._broken:
            raise WireError("out-of-order", "the session is closed")
        self._broken = True
        plain, bound = self._unseal(frame)
        self._next_in += 1
        self._broken = False
        return _opened(plain, bytes(frame.metadata), bound)

    def voucher(self, data: bytes) -> str:
        """Return what shows the other side that ``data``, sent in clear, is from this one."""
        return b64u(_mac(self._keys[self._sends], data))

    def is_vouched(self, data: bytes, voucher: str) -> bool:
        """Return whether the other side has made this voucher, in this session, for ``data``."""
        wanted = b64u(_mac(self._keys[self._receives], data))
        return hmac.compare_digest(wanted.encode(), voucher.encode())

    def _unseal(self, frame: CmbEncrypted) -> tuple[bytes, _Metadata]:
        if (frame.protocol_version, frame.suite) != (SECURE_VERSION, SUITE):
            raise WireError("version-mismatch")
        if (frame.session_id, frame.direction) != (self.id, self._receives):
            raise WireError("wrong-session")
        if frame.sequence != str(self._next_in):
            raise WireError("bad-sequence", f"{frame.sequence} instead of {self._next_in}")
        try:
            bound = _metadata.decode(frame.metadata)
            sealed = unb64u(frame.sealed, len(frame.sealed) * 3 // 4)
            aad = self._aad(self._receives, self._next_in, bound)
            nonce, key = self._next_in.to_bytes(_NONCE_BYTES), self._keys[self._receives]
            return crypto_aead_chacha20poly1305_ietf_decrypt(sealed, aad, nonce, key), bound
        except (CryptoError, msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise WireError("bad-seal", str(error)[:200]) from None

    def _aad(self, direction: Direction, sequence: int, bound: _Metadata) -> bytes:
        parts = (
            SECURE_VERSION,
            self.id,
            direction,
            str(sequence),
            bound.key,
            bound.assertion_id,
            bound.created_by_node_id,
            bound.room or "",
            bound.to or "",
        )
        return _DOMAIN + b"".join(map(lp, parts))


def _mac(key: bytes, data: bytes) -> bytes:
    """Under a key of its own: the direction's key seals, and does nothing else."""
    return hmac.digest(hmac.digest(key, _VOUCHER, "sha256"), data, "sha256")


def _parts(record: Record, node_id: str) -> tuple[bytes, bytes]:
    """Return the metadata in clear, and what is to be sealed: the words and the payload."""
    data = record.application.data if record.application else None
    if record.application is not None:
        record = replace(record, application=replace(record.application, data=None))
    wire: dict[str, Any] = to_wire(record)
    named = {"createdByNodeId": node_id, "assertionId": _ASSERTION + assertion_id(record)}
    plain = _Plain(Raw(_encode(wire["categories"])), data)
    return _encode(wire["metadata"] | named), _encode(plain)


def _opened(plain: bytes, metadata: bytes, bound: _Metadata) -> Opened:
    try:
        content = _plain.decode(plain)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise RecordError("malformed", str(error)[:200]) from None
    record = _with_payload(records.joined(bytes(content.categories), metadata), content)
    if assertion_id(record) != bound.assertion_id.removeprefix(_ASSERTION):
        raise RecordError("malformed", "the seal names another assertion than the record's")
    return Opened(record, bound.created_by_node_id, assertion_id(record))


def _with_payload(record: Record, content: _Plain) -> Record:
    """Put the sealed payload back; ``verify`` holds it against its descriptor."""
    if content.application_data is None:
        return record
    if record.application is None:
        raise RecordError("malformed", "a payload came without its descriptor")
    return replace(record, application=replace(record.application, data=content.application_data))
