"""The encryption of deployed nodes: AES-256-GCM under the raw X25519 secret of two nodes.

No key derivation, no binding to record or direction, and one secret for all sessions: it hides
words from a relay and proves nothing. Open first, verify the signature then. Our own nodes use
2.0 Core Secure with each other. The cipher needs AES in hardware: see ``AVAILABLE``.
"""

import binascii
from base64 import b64decode, b64encode

import msgspec
from msgspec import Raw
from nacl import bindings
from nacl.exceptions import CryptoError

from xmesh_mesh.wire.errors import WireError
from xmesh_mesh.wire.frames import CmbBody, Sealing

KEY_BYTES = 32
NONCE_BYTES = 12

_SPKI = bytes.fromhex("302a300506032b656e032100")  # RFC 8410: an X25519 key follows
_raw = msgspec.json.Decoder(Raw)
_text = msgspec.json.Decoder(str)
_encode = msgspec.json.Encoder().encode


def _probe() -> bool:
    """Return whether this machine can seal at all."""
    try:
        bindings.crypto_aead_aes256gcm_encrypt(b"", None, bytes(NONCE_BYTES), bytes(KEY_BYTES))
    except (AttributeError, CryptoError):
        return False
    return True


AVAILABLE = _probe()


def public_key(private: bytes) -> bytes:
    """Return the X25519 public key of a 32-byte private one."""
    return bindings.crypto_scalarmult_base(private)


def shared_secret(private: bytes, public: bytes) -> bytes:
    """Return the 32-byte X25519 secret; WireError ``weak-key`` for a public key of low order."""
    try:
        return bindings.crypto_scalarmult(private, public)
    except (CryptoError, RuntimeError) as error:
        raise WireError("weak-key") from error


def to_spki(public: bytes) -> str:
    """Return the key as ``e2ePublicKey`` says it: DER, in padded base64."""
    return b64encode(_SPKI + public).decode()


def from_spki(text: str) -> bytes:
    """Return the key that an ``e2ePublicKey`` says; WireError ``malformed``."""
    der = _unb64(text)
    if der is None or len(der) != len(_SPKI) + KEY_BYTES or not der.startswith(_SPKI):
        raise WireError("malformed", "e2ePublicKey is no X25519 key in DER")
    return der[len(_SPKI) :]


def seal(body: CmbBody, secret: bytes, nonce: bytes) -> CmbBody:
    """Return the record with its words hidden. A nonce is random, and never used twice.

    WireError ``no-encryption`` where the machine cannot.
    """
    if not AVAILABLE:
        raise WireError("no-encryption")
    plain = bytes(body.categories)
    sealed = bindings.crypto_aead_aes256gcm_encrypt(plain, None, nonce, secret)
    return CmbBody(
        categories=Raw(_encode(b64encode(sealed).decode())),
        metadata=body.metadata,
        sealing=Sealing(b64encode(nonce).decode()),
    )


def unseal(body: CmbBody, secret: bytes | None) -> CmbBody:
    """Return the record in clear, as it came if it was so.

    WireError ``no-secret``, ``no-encryption``, ``cannot-open``, ``malformed``.
    """
    if body.sealing is None:
        return body
    if secret is None:
        raise WireError("no-secret")
    if not AVAILABLE:
        raise WireError("no-encryption")
    sealed, nonce = sealed_parts(body)
    try:
        plain = bindings.crypto_aead_aes256gcm_decrypt(sealed, None, nonce, secret)
    except CryptoError as error:
        raise WireError("cannot-open") from error
    return CmbBody(categories=_json(plain), metadata=body.metadata)


def sealed_parts(body: CmbBody) -> tuple[bytes, bytes]:
    """Return ciphertext and nonce; WireError ``malformed`` where they are none."""
    try:
        sealed = _unb64(_text.decode(body.categories))
    except (msgspec.MsgspecError, ValueError):
        sealed = None
    nonce = _unb64(body.sealing.nonce) if body.sealing else None
    if sealed is None or nonce is None or len(nonce) != NONCE_BYTES:
        raise WireError("malformed", "an encrypted record has ciphertext and a nonce in base64")
    return sealed, nonce


def _json(plain: bytes) -> Raw:
    """Check that what was sealed is one JSON value, so that it can stand among others."""
    try:
        return _raw.decode(plain)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise WireError("malformed", "what was sealed is no JSON") from error


def _unb64(text: str) -> bytes | None:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
