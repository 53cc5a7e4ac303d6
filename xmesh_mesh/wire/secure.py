"""MMP 2.0 Core Secure, the bytes: transcript, proof, key schedule and key confirmation.

The client is who dialled. All keys come from X25519 and the hash of everything both sides said, so
a changed byte anywhere in the three frames changes every key.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Literal

from xmesh_mesh.canonical import counted, lp
from xmesh_mesh.wire.frames import SECURE_VERSION, ClientHello, ServerHello

Role = Literal["client", "server"]

SEALED: Final = "cmb-encrypted-v2"  # the extension that ours all offer and demand

TRANSCRIPT = b"mmp-handshake-transcript-v2\n"
_PROOF = b"mmp-handshake-proof-v2\n"
_CONFIRM = b"mmp-key-confirm-v2\n"


@dataclass(frozen=True, slots=True)
class Keys:
    """What both sides derive; every key has 32 bytes."""

    session_id: str
    client_to_server: bytes = field(repr=False)
    server_to_client: bytes = field(repr=False)
    client_finished: bytes = field(repr=False)
    server_finished: bytes = field(repr=False)


def transcript(client: ClientHello, server: ServerHello, chosen: Sequence[str]) -> bytes:
    """Return the bytes that both sides hash; ``chosen`` are the selected extensions."""
    head = (SECURE_VERSION, client.room, client.nonce, server.nonce)
    parties = _party(client) + _party(server)
    return TRANSCRIPT + b"".join(map(lp, head)) + parties + counted(chosen)


def transcript_hash(transcript_bytes: bytes) -> bytes:
    """Return the 32 bytes that stand for the whole handshake."""
    return sha256(transcript_bytes).digest()


def proof_payload(role: Role, transcript_bytes: bytes) -> bytes:
    """Return what the identity key of ``role`` signs, and all that a peer signs for a gateway.

    ValueError unless the bytes are a transcript: a peer cannot be led to sign anything else.
    """
    if not transcript_bytes.startswith(TRANSCRIPT):
        raise ValueError("no handshake transcript")
    return _PROOF + lp(role) + lp(transcript_hash(transcript_bytes).hex())


def schedule(secret: bytes, transcript_bytes: bytes) -> Keys:
    """Derive a session's keys: HKDF-SHA256 (RFC 5869), the transcript's hash as salt."""
    digest = transcript_hash(transcript_bytes)
    extracted = hmac.digest(digest, secret, "sha256")
    return Keys(
        session_id=digest[:16].hex(),
        client_to_server=_expand(extracted, b"mmp-aead-v2 client-to-server"),
        server_to_client=_expand(extracted, b"mmp-aead-v2 server-to-client"),
        client_finished=_expand(extracted, b"mmp-finished-v2 client"),
        server_finished=_expand(extracted, b"mmp-finished-v2 server"),
    )


def confirmation(role: Role, keys: Keys, transcript_bytes: bytes) -> bytes:
    """Return the 32 bytes with which ``role`` shows that it has the keys."""
    key = keys.client_finished if role == "client" else keys.server_finished
    body = _CONFIRM + lp(role) + lp(transcript_hash(transcript_bytes).hex())
    return hmac.digest(key, body, "sha256")


def _party(hello: ClientHello | ServerHello) -> bytes:
    parts = (
        hello.node_id,
        hello.identity_public_key,
        hello.e2e_public_key,
        hello.name,
        hello.implementation.name,
        hello.implementation.version,
    )
    return b"".join(map(lp, parts)) + counted(hello.extensions)


def _expand(extracted: bytes, info: bytes) -> bytes:
    # One block of HMAC-SHA256 is all that 32 bytes need.
    return hmac.digest(extracted, info + b"\1", "sha256")
